-- Tests that never wait, and signals in the middle of a test run: what is known is said, and the fixtures are closed.

local root_it = require "support.root_it"
local runners = require "support.runners"

describe("etherlua test", function()
  local folder

  before_each(function() folder = runners.new() end)
  after_each(function() folder:close() end)

  local function says(text, ...)
    folder:write("a_spec.lua", runners.HEAD .. text)
    local status, out = folder:shell(runners.TEST .. " --timeout 0.2 a_spec.lua -o TAP")
    assert.equal(1, status, out)
    for _, pattern in ipairs { ... } do assert.matches(pattern, out) end
    return out
  end

  it("fails a test that never waits at its time limit, and says at which line", function()
    local RUNNING = ": still running after 0.2 s, and has never waited\n"
    local out = says([[
      it("spins", function()
        while true do end
      end)
      it("asks for the time", function() while true do ether.now() end end)
      it("prints", function() local null = io.open("/dev/null", "w") while true do null:write("x", "\n") end end)
      it("catches errors", function() while true do pcall(function() while true do end end) end end)
      it("goes on", function() end)
    ]], "not ok 1 .*a_spec.lua:4" .. RUNNING, "stack traceback:\n#%s+a_spec.lua:4: in ", "a_spec.lua:6" .. RUNNING,
      "a_spec.lua:7" .. RUNNING, "a_spec.lua:8" .. RUNNING, "\nok 5 ")
    assert.not_matches("runaway.lua", out)
  end)

  it("ends whatever never waits: tasks beside a test, modules, setup, what is deferred or left", function()
    folder:write("endless.lua", "return function() local n = 0 while true do n = n + 1 end end")
    says([[
      local endless = require "endless"
      it("has a task", function() ether.spawn(endless) ether.sleep(0) ether.sleep(9) end)
      it("defers", function() ether.defer(function() while true do end end) end)
      it("has a coroutine", function() coroutine.wrap(function() pcall(endless) endless() end)() end)
      describe("a block", function()
        setup(endless)
        it("does not run", function() end)
      end)
      it("leaves a task", function()
        ether.spawn(function() ether.defer(endless) ether.sleep(9) end)
        ether.sleep(0)
      end)
      it("goes on", function() end)
    ]], "not ok 1 .*endless.lua:1: still running", "not ok 2 .*a_spec.lua:5: still running",
      "not ok 3 .*endless.lua:1: still running", "setup failed[^\n]*endless.lua:1: still running",
      "not ok 5 [^\n]+\n[^\n]+\n[^\n]+endless.lua:1: a task still runs, and has never waited", "\nok 6 ")
  end)

  root_it("fails a test whose command hangs at its time limit, and the command ends", function()
    says([[
      local lab
      setup(function()
        test.timeout(20)
        lab = test.lab {}
      end)
      it("hangs", function()
        test.timeout(0.2)
        lab:host("far"):run "sleep 100"
      end)
      it("goes on", function()
        assert.not_matches("sleep 100", lab:host("far"):run "ps -o args --ppid $(cut -d' ' -f4 /proc/$$/stat)")
      end)
    ]], "not ok 1 .*a_spec.lua:10: still waiting after 0.2 s", "\nok 2 ")
  end)

  local SPEC = runners.HEAD .. [[
    local function say(word) return function() ether.sleep(0.001) print(word) end end
    it("passes", function() end)
    describe("a block", function()
      teardown(say "torn down")
      after_each(say "cleaned up")
      it("is interrupted", function()
        local wire = test.wire()
        print "waits"
        if os.getenv "SPIN" then while true do end end
        wire:conn {}:recv()
      end)
      it("does not begin", say "wrong")
    end)
    it("does not begin either", say "wrong")
  ]]

  for signal, status in pairs { INT = 130, TERM = 143 } do
    for how, line in pairs { waits = 12, spins = 11 } do
      it(("says what is known when SIG%s comes while a test %s, and cleans up"):format(signal, how), function()
        folder:write("a_spec.lua", SPEC)
        local command = ("env TMPDIR=. %s %s a_spec.lua -o junit -Xoutput report.xml"):format(
          how == "spins" and "SPIN=1" or "", runners.TEST)
        local result, out = folder:interrupted(signal, "waits", command)
        assert.equal(status, result, out)
        assert.matches("waits\ncleaned up\ntorn down\n", out)
        assert.matches("etherlua: interrupted by SIG" .. signal, out)
        local report = folder:read "report.xml"
        assert.matches('tests="2"', report)
        assert.matches(("a_spec.lua:%d: interrupted by SIG%s"):format(line, signal), report)
      end)
    end
  end
end)
