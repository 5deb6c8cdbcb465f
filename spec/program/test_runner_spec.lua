-- The test runner on its own failures: spec files that hang, leak or break are run by `etherlua test` and by plain
-- busted, and what these say is looked at.

local files = require "support.files"
local runners = require "support.runners"

local output_of = runners.output_of

local HEAD = runners.HEAD .. "test.timeout(0.3)\n"

describe("a test runner", function()
  local folder

  before_each(function() folder = runners.new() end)
  after_each(function() folder:close() end)

  local function write(name, text) folder:write(name, text) end
  local function shell(command) return folder:shell(command) end

  local RUNNERS = { ["etherlua test"] = runners.TEST, ["plain busted"] = runners.BUSTED }

  for name, command in pairs(RUNNERS) do
    describe("under " .. name, function()
      -- Runs the spec file; returns the exit status and the output.
      local function run(text, arguments)
        write("a_spec.lua", HEAD .. text)
        return shell(("%s a_spec.lua %s"):format(command, arguments or "-o TAP"))
      end

      local function says(text, ...)
        local status, out = run(text)
        assert.equal(1, status, out)
        for _, pattern in ipairs { ... } do assert.matches(pattern, out) end
        return out
      end

      it("lets blocking calls wait in each kind of body", function()
        local status, out = run [[
          local order = {}
          local function note(word) return function() ether.sleep(0.001) order[#order + 1] = word end end
          describe("bodies", function()
            setup(note "setup")
            teardown(note "teardown")
            lazy_setup(note "lazy")
            before_each(note "before")
            after_each(note "after")
            it("waits", function()
              finally(note "finally")
              note "it" ()
            end)
            it("has seen them all", function()
              assert.equal("setup lazy before it finally after before", table.concat(order, " "))
            end)
          end)
        ]]
        assert.equal(0, status, out)
      end)

      it("fails a test that hangs, and says at which line", function()
        local out = says([[
          it("hangs", function()
            local a = test.wire()
            a:conn {}:recv()
          end)
          it("goes on", function() end)
        ]], "not ok 1 %- hangs", "a_spec.lua:6: still waiting after 0.3 s", "stack traceback", "ok 2 %- goes on")
        assert.not_matches("busted/core", out)
      end)

      it("fails a test that hangs and swallows what would end it", function()
        says([[
          it("hangs", function() while true do pcall(ether.sleep, 100) end end)
          it("returns", function() pcall(ether.sleep, 100) end)
          it("goes on", function() end)
        ]], "a_spec.lua:4: still waiting", "not ok 2 %- returns", "a_spec.lua:5: still waiting", "ok 3 %- goes on")
      end)

      it("fails a test that leaves a task, an endpoint or a relay, names it and closes it", function()
        says([[
          local a
          setup(function() a = ether.wire() end)
          teardown(function() a:close() end)
          it("leaves a task", function()
            ether.spawn(function() ether.sleep(100) end)
          end)
          it("leaves an EtherConn", function() a:conn { mac = "02:00:00:00:00:05", vlans = 7 } end)
          it("leaves a relay", function() ether.wire() end)
          it("finds nothing of it", function() a:conn { mac = "02:00:00:00:00:05", vlans = 7 }:close() end)
          it("leaves a RUDPConn", function() a:default_conn():udp "10.0.0.1:9" end)
          it("shares a reader of broadcasts", function()
            local conn = a:conn { mac = "02:00:00:00:00:05" }
            require("etherlua.role.dhcp4_client").lease(conn, { tries = 1, timeout = 0.05 })
            conn:close()
          end)
        ]], "not ok 1", "left open: task %d+ %(waits at a_spec.lua:8%)", "not ok 2",
          "left open: EtherConn 02:00:00:00:00:05 vlan 7", "not ok 3", "left open: relay wire", "ok 4", "not ok 5",
          "left open: EtherConn %S+, RUDPConn 10.0.0.1:9", "ok 6")
      end)

      it("closes what tests leave on a relay or an EtherConn of setup, and each is told of its own", function()
        local out = says([[
          local conn
          setup(function() conn = test.wire():conn {} end)
          it("1", function() conn:udp "10.0.0.1:5" end)
          it("2", function() conn:udp "10.0.0.1:5" end)
          it("3", function() conn:relay():conn { mac = "02:00:00:00:00:09" }:udp "10.0.0.1:5" end)
          it("4", function() conn:relay():host { mac = "02:00:00:00:00:0a", ip = "10.0.0.2/24" } :udp(7) end)
          it("5", function()
            local lab = test.wire():conn { mac = "02:00:00:00:00:01" }
            assert(not require("etherlua.role.dhcp4_client").lease(lab, { tries = 1, timeout = 0.05 }))
            lab:close()
          end)
          it("6", function() conn:udp "10.0.0.1:5":close() end)
        ]], "not ok 1 [^o]+left open: RUDPConn 10.0.0.1:5\n", "not ok 2 [^o]+left open: RUDPConn 10.0.0.1:5\n",
          "not ok 3 ", "not ok 4 ", "\nok 5 ", "\nok 6 ")
        assert.not_matches("attempt to", out)
      end)

      it("counts test.timeout() in a body from there on, for that body too", function()
        says([[
          test.timeout(20)
          it("is shortened", function()
            test.timeout(0.2)
            ether.sleep(9)
          end)
          describe("a block", function()
            it("has the limit of its file", function() ether.sleep(0.3) end)
          end)
          it("is lengthened", function()
            test.timeout(0.1)
            test.timeout(9)
            ether.sleep(0.3)
          end)
          before_each(function() test.timeout(5) end)
        ]], "not ok 1 [^\n]+\n[^\n]+\n[^\n]+a_spec.lua:7: still waiting after 0.2 s", "\nok 2 ", "\nok 3 ")
      end)

      it("ends deferred functions at the limit as well", function()
        says([[
          it("hangs at its end", function() ether.defer(function() ether.sleep(90) end) end)
          it("goes on", function() end)
        ]], "not ok 1 .*a_spec.lua:4: still waiting after 0.3 s", "\nok 2 ")
      end)

      it("says nothing of what a failed test had no time to close", function()
        local out = says([[it("fails", function() ether.wire() error("first") end)]], "first")
        assert.not_matches("left open", out)
      end)

      it("lets a test use what its before_each opened and its after_each closes", function()
        local status, out = run [[
          local a, b
          before_each(function() a, b = ether.wire() end)
          after_each(function() a:close() b:close() end)
          it("opens", function() ether.spawn(function() a:conn {} end) end)
        ]]
        assert.equal(0, status, out)
      end)

      it("fails a describe block that leaves what its setup opened", function()
        says([[
          describe("a block", function()
            setup(function() ether.wire() end)
            it("passes", function() end)
          end)
        ]], "ok 1 %- a block passes", "left open: relay wire")
      end)

      it("keeps what a lazy setup opened for all tests of its block", function()
        local status, out = run [[
          local a
          describe("a block", function()
            lazy_setup(function() a = test.wire() end)
            it("uses it", function() assert(a.handle) end)
            describe("inside", function()
              it("uses it again", function() a:conn {}:close() end)
            end)
          end)
        ]]
        assert.equal(0, status, out)
      end)

      it("fails a test with the traceback of the task that failed beside it, and only that test", function()
        says([[
          local function trip() error("tripped") end
          it("has a failing task", function()
            ether.spawn(function() ether.sleep(0.01) trip() end)
            ether.sleep(0.2)
          end)
          it("goes on", function() end)
        ]], "not ok 1", "another task failed: a_spec.lua:4: tripped\n", "in function 'trip'", "ok 2 %- goes on")
      end)

      it("reports a failing setup as such", function()
        says([[
          describe("a block", function()
            setup(function() error("no server") end)
            it("is not run", function() end)
          end)
          it("goes on", function() end)
        ]], "setup failed, so the tests behind it did not run: a_spec.lua:5: no server", "ok 2 %- goes on")
      end)

      it("names the line of the test when an error comes from inside", function()
        says([[it("opens", function() ether.open("file:/nowhere/x.pcap") end)]], "a_spec.lua:4: .*/nowhere/x.pcap")
      end)

      it("keeps the capture of a test that failed, and of no other", function()
        local out = says([[
          local function talk()
            local a = test.wire()
            a:conn {}:send(("x"):rep(46), "02:00:00:00:00:01", { ethertype = 0x88b5 })
          end
          it("passes", talk)
          it("fails", function() talk() error("for a reason") end)
        ]], "ok 1 %- passes", "not ok 2", "for a reason\n# capture of the wire: /%S+%.pcap")
        local path = out:match("capture of the wire: (%S+)")
        assert.equal(24 + 16 + 60, #files.read_all(path))
        assert.is_nil(out:match("capture.*capture"))
        assert.equal("1\n", output_of(("ls '%s' | grep -c pcap"):format(folder.path)))
      end)

      it("is the same over several files", function()
        write("b_spec.lua", HEAD .. 'it("b", function() ether.sleep(0.001) end)')
        write("c_spec.lua", HEAD .. 'it("c", function() local a = test.wire() a:conn {} end)')
        local status, out = shell(command .. " . -o TAP --repeat 2")
        assert.equal(0, status, out)
        assert.matches("ok 1 %- b\nok 2 %- c\n1..2\nok 1 %- b\nok 2 %- c\n1..2\n", out)
      end)

      it("passes busted's formats, filters and exit status through", function()
        local TWO = 'it("one", function() end) it("two", function() assert.equal(1, 2) end) it("three", function() ' ..
          'pending("later") end)'
        local status, out = run(TWO, "-o junit")
        assert.equal(1, status)
        assert.matches("<testsuites [^>]*failures=['\"]1['\"]", out)
        assert.matches("<testsuites [^>]*tests=['\"]3['\"]", out)
        assert.matches("<failure[^>]*>a_spec.lua:4: Expected objects to be equal", out)
        status, out = run(TWO, "-o json")
        assert.equal(1, status)
        assert.matches('"successes":%[', out)
        status, out = run(TWO, "-o TAP --filter one")
        assert.same({ 0, "ok 1 - one\n1..1\n" }, { status, out })
        assert.equal(1, (run(TWO, "--nosuchoption")))
      end)
    end)
  end

  -- ---- the program's own ------------------------------------------------------------------------------------------

  local PROGRAM = RUNNERS["etherlua test"]

  it("makes tasks of tests that do not require etherlua.test, too", function()
    write("a_spec.lua", 'local ether = require "etherlua" it("sleeps", function() ether.sleep(9) end)')
    local status, out = shell(PROGRAM .. " --timeout=0.2 -o TAP a_spec.lua")
    assert.equal(1, status)
    assert.matches("a_spec.lua:1: still waiting after 0.2 s", out)
  end)

  it("leaves files alone that do not require etherlua.test under plain busted", function()
    write("a_spec.lua", HEAD .. 'it("a", function() end)')
    write("b_spec.lua", 'it("b", function() assert.has_error(function() require("etherlua").sleep(1) end) end)')
    local status, out = shell(runners.BUSTED .. " . -o TAP")
    assert.equal(0, status, out)
  end)

  it("gives the relay of the command line to tests", function()
    local TEST = [[
      local test = require "etherlua.test"
      it("has a relay", function() assert.equal("afpacket", test.relay().kind) end)
    ]]
    write("a_spec.lua", TEST)
    local status, out = shell(PROGRAM .. " -o TAP a_spec.lua")
    assert.equal(1, status)
    assert.matches("a_spec.lua:2: no relay: give %-i SPEC", out)
    if output_of("id -u") ~= "0\n" then return pending("needs root") end
    assert.equal(0, (shell(PROGRAM .. " --lab -o TAP a_spec.lua")))
    assert.equal(0, (shell(PROGRAM .. " -i lo -o TAP a_spec.lua")))
  end)

  it("prints with --trace-tasks what tasks do", function()
    write("a_spec.lua", 'it("a", function() require("etherlua").sleep(0.001) end)')
    local status, out = shell(PROGRAM .. " --trace-tasks a_spec.lua")
    assert.equal(0, status)
    assert.matches("\n%d+%.%d+ task %d+ sleeps, 0%.001 s at most\n", out)
  end)

  it("says what is wrong in its command line, with status 2", function()
    for arguments, message in pairs {
      ["--timeout"] = "option '--timeout' requires an argument",
      ["--timeout 0"] = 'bad --timeout "0": seconds above 0 are needed',
      ["--timeout=x"] = 'bad --timeout "x": seconds above 0 are needed',
      ["--netns nosuch"] = 'cannot enter network namespace "nosuch": no such file',
    } do
      local status, out = shell(PROGRAM .. " " .. arguments)
      assert.equal(2, status)
      assert.equal("etherlua: " .. message, out:sub(1, #message + 10))
      assert.equal(1, select(2, out:gsub("\n", "")))
    end
    local status, out = shell(PROGRAM .. " --help")
    assert.equal(0, status)
    assert.matches("^Usage: etherlua test", out)
  end)

  it("names the package when busted is missing", function()
    os.execute(("ln -s \"$(luajit -e 'print(package.searchpath(\"argparse\", package.path))')\" '%s'"):format(
      folder.path))
    local status, out = shell(("env LUA_PATH='%s/?.lua' %s"):format(folder.path, PROGRAM))
    assert.same({ 1, "etherlua: the test runner needs busted (Debian package lua-busted)\n" }, { status, out })
  end)
end)
