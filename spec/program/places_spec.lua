-- Where the program looks for code: in its own places, not in the current directory, whatever lies there.

local files = require "support.files"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"

local ROOT = shell.output_of "pwd":gsub("\n", "")
local ETHERLUA = (os.getenv "ETHERLUA" or "build/etherlua"):gsub("^[^/]", ROOT .. "/%0")
local EVIL = 'io.stderr:write("evil: ", ..., "\\n")'

describe("in a folder full of other people's code", function()
  local folder

  local function write(name, text)
    os.execute(("mkdir -p %s/%s"):format(folder, name:match "^(.*)/" or "."))
    files.write(folder .. "/" .. name, text or EVIL)
  end

  before_each(function()
    folder = shell.output_of "mktemp -d":gsub("\n", "")
    for name in ([[argparse.lua cjson.lua cjson.so etherlua.lua etherlua/init.lua etherlua/core/task.lua ping
        busted/init.lua busted/core.lua busted/runner.lua pl/path.lua lfs.lua jit/opt.lua ls test socket.lua
        etherlua/program/cli.lua .editrc etherlua/role/ping.lua]]):gmatch "%S+" do write(name) end
  end)

  after_each(function() os.execute("rm -rf " .. folder) end)

  local function run(command, environment, at)
    return shell.run(("cd %s/%s && %s %s"):format(folder, at or "", environment or "env -u LUA_PATH -u LUA_CPATH",
      command))
  end

  for _, arguments in ipairs { "--version", "--help", "run --help", "run ping --help",
    "doctor --help", "test --help", "repl --help" } do
    it(("etherlua %s runs none of it"):format(arguments), function()
      local text, status = run(ETHERLUA .. " " .. arguments)
      assert.equal(0, status, text)
      assert.is_nil(text:find("evil", 1, true), text)
    end)
  end

  it("the prompt runs none of it", function()
    files.write(folder .. "/lines", 'print(dhcp4_client ~= nil, pcall(require, "socket"))')
    local text, status = run(ETHERLUA .. " repl <lines")
    assert.equal(0, status, text)
    assert.matches("^true\tfalse\t", text)
  end)

  it("a shipped name wins, and another name is no path without a slash", function()
    write("own", 'print "own"')
    local text, status = run(ETHERLUA .. " run own")
    assert.equal(2, status)
    assert.matches("^etherlua: no such script: own, but there is ./own %(shipped are arp_scan, ", text)
    assert.same({ "own\n", 0 }, { run(ETHERLUA .. " run ./own") })
    write("own.lua", 'print "own too"')
    assert.same({ "own too\n", 0 }, { run(ETHERLUA .. " run own.lua") })
    write("ping.lua", 'print "my ping"')
    assert.same({ "my ping\n", 0 }, { run(ETHERLUA .. " run ping.lua") })
    assert.matches("^Usage: ping ", (run(ETHERLUA .. " run ping --help")))
    assert.matches("^Usage: arping ", (run(ETHERLUA .. " run arping.lua --help")))
  end)

  it("LUA_PATH and package.path may name it, but what etherlua is made of comes from its own places", function()
    write("x/script.lua", [[
      package.path = "./?.lua;./?/init.lua;" .. package.path
      require "mine"
      require "cjson"
      require "etherlua.role.ping"]])
    write("mine.lua", 'print "mine"')
    assert.same({ "mine\n", 0 }, { run(ETHERLUA .. " run x/script.lua") })
    write("x/script.lua", 'require "mine" require "argparse"')
    assert.same({ "mine\n", 0 }, { run(ETHERLUA .. " run x/script.lua", "env LUA_PATH='./?.lua;;'") })
  end)

  it("a script requires what stands beside it, and not what stands here", function()
    write("x/script.lua", 'print((require "beside"), (require "more"), (pcall(require, "mine")))')
    write("x/beside.lua", 'return "beside"')
    write("x/more/init.lua", 'return "more"')
    write "mine.lua"
    assert.same({ "beside\tmore\tfalse\n", 0 }, { run(ETHERLUA .. " run x/script.lua") })
    assert.same({ "beside\tmore\tfalse\n", 0 }, { run(ETHERLUA .. " repl x/script.lua") })
  end)

  it("LUA_PATH's two semicolons stand for the system's places", function()
    write("x/script.lua", 'print((pcall(require, "socket")), package.path)')
    local text = run(ETHERLUA .. " run x/script.lua", "env LUA_PATH='/nowhere/?.lua;;'")
    assert.matches("^false\t.*/nowhere/%?%.lua;/usr/.*/usr/share/lua/5%.1/%?%.lua", text)
  end)

  describe("etherlua test", function()
    local function test(arguments, at)
      return run(("%s test %s -o TAP"):format(ETHERLUA, arguments), nil, at)
    end

    before_each(function()
      write("own/a_spec.lua", 'it("works", function() assert(require "beside") end)')
      write "own/beside.lua"
      write(".busted", EVIL:gsub("%.%.%.", '".busted"') .. " return {}")
      write "src/luassert/init.lua"
      write "src/busted/execute.lua"
    end)

    it("takes nothing from a folder in which the specs are not", function()
      os.execute("mkdir " .. folder .. "/own/elsewhere; cp -r " .. folder .. "/src " .. folder .. "/.busted " ..
        folder .. "/own/elsewhere")
      for _, at in ipairs { "own/elsewhere", "." } do
        local text, status = test(at == "." and folder .. "/own" or "../a_spec.lua", at)
        assert.equal(0, status, text)
        assert.equal("evil: beside", text:match "evil: [^\n]*")
        assert.equal(1, select(2, text:gsub("evil", "")))
      end
    end)

    it("takes nothing from a folder that others may write to", function()
      os.execute("chmod 1777 " .. folder)
      local text, status = test "own"
      assert.equal(0, status, text)
      assert.equal(1, select(2, text:gsub("evil", "")))
    end)

    it("has busted's .busted where the specs are, or where it is named", function()
      os.execute("rm -r " .. folder .. "/src")
      assert.matches("evil: .busted\n", (test "own"))
      assert.matches("evil: .busted\n", (test("-f ./.busted " .. folder .. "/own")))
    end)
  end)
end)

describe("a program that has rights by its file", function()
  root_it("takes no code and no engine from the environment", function()
    local folder = shell.output_of "mktemp -d":gsub("\n", "")
    finally(function() os.execute("rm -rf " .. folder) end)
    shell.output_of(([[mkdir %s/build && cp %s %s/libetherlua.so %s/build/ && cp -r %s/lua %s/scripts %s
      chmod -R go+rX %s
      setcap cap_net_raw+ep %s/build/etherlua]]):format(folder, ETHERLUA, ETHERLUA:match "^(.*)/", folder, ROOT, ROOT,
      folder, folder, folder))
    files.write(folder .. "/mine.lua", EVIL)
    files.write(folder .. "/script.lua", 'print((pcall(require, "mine")))')
    files.write(folder .. "/x.lua", 'print((pcall(require, "mine")))')
    os.execute(("mkdir %s/y && mv %s/script.lua %s/y && chmod -R go+rX %s"):format(folder, folder, folder, folder))
    local environment = ("env LUA_PATH='%s/?.lua;;' LUA_CPATH='%s/?.so;;' "):format(folder, folder)
    local command = ("setpriv --reuid=65534 --regid=65534 --clear-groups %s/build/etherlua run %s/y/script.lua"):format(
      folder, folder)
    assert.same({ "false\n", 0 }, { shell.run(environment .. "ETHERLUA_LIB=/nowhere/lib.so " .. command) })
    shell.output_of(("setcap -r %s/build/etherlua"):format(folder))
    assert.same({ "evil: mine\ntrue\n", 0 }, { shell.run("env -u ETHERLUA_LIB " .. environment .. command) })
    assert.matches("nowhere", (shell.run(environment .. "ETHERLUA_LIB=/nowhere/lib.so " .. command)))
  end)
end)
