-- Signals while a lab is made or commands run in it: the run ends in order, at once, and nothing is left.

local files = require "support.files"
local lab_it = require "support.root_it"
local program = require "support.program"
local shell = require "support.shell"
local wait = require "support.wait"

local SCRIPT = [[
local ether = require "etherlua"
ether.defer(function() print "cleaned up" end)
ether.relay()
ether.sleep(10)
print "not cancelled"]]

-- Stands in for ip: at its call number AT the program, whose process id is in a file, gets a signal.
local IP = [[#!/bin/sh
echo >>%s/calls
[ $(wc -l <%s/calls) -ne $AT ] || kill -$SIGNAL $(cat %s/pid)
PATH=${PATH#*:} exec ip "$@"
]]

describe("a signal while a lab is made", function()
  local folder

  setup(function()
    folder = shell.output_of "mktemp -d":gsub("\n", "")
    files.write(folder .. "/ip", IP:format(folder, folder, folder))
    files.write(folder .. "/script.lua", SCRIPT)
    os.execute(("chmod 755 %s/ip"):format(folder))
  end)

  teardown(function() os.execute("rm -rf " .. folder) end)

  for i, name in ipairs { "INT", "TERM", "HUP", "INT", "TERM", "HUP" } do
    lab_it(("(%s, at command %d of ip) cancels the script, whatever is on its way"):format(name, i), function()
      os.remove(folder .. "/calls")
      local run = ("echo $$ >%s/pid; exec %s run --lab %s/script.lua"):format(folder, program.PATH, folder)
      local command = ("AT=%d SIGNAL=%s PATH=%s:$PATH sh -c '%s'"):format(i, name, folder, run)
      assert.same({ "cleaned up\n", 130 }, { shell.run(command) })
    end)
  end

  lab_it("is told by the status also where nothing is cleaned up, so that the loop has no other turn", function()
    os.remove(folder .. "/calls")
    files.write(folder .. "/plain.lua", 'local script = require "etherlua.script"\n' ..
      'script.relay(script.parse(script.parser("plain", "Waits."), arg))\n')
    local run = ("echo $$ >%s/pid; exec %s run %s/plain.lua --lab"):format(folder, program.PATH, folder)
    assert.same({ "", 130 }, { shell.run(("AT=2 SIGNAL=INT PATH=%s:$PATH sh -c '%s'"):format(folder, run)) })
  end)
end)

describe("a command in a namespace", function()
  -- Runs a script in the background that runs this command; check(program, mark) is called when the command runs,
  -- in which the mark stands.
  local function while_it_runs(command, check)
    local mark = os.tmpname()
    local path = files.temporary(([[
      local ether, lab = require "etherlua", require "etherlua.lab.lab"
      local ns = ether.lab().near
      ether.defer(function() print(ns:run "echo cleaned up") end)
      ns:run %q]]):format(("echo >%s; %s"):format(mark, command)))
    local running = program.start(nil, path)
    wait.eventually(function() return files.read_all(mark) ~= "" end)
    local ok, problem = pcall(check, running, mark)
    running:finish()
    os.remove(mark)
    os.remove(path)
    assert(ok, problem)
  end

  lab_it("that takes long is ended by SIGTERM, which cancels its task", function()
    while_it_runs("sleep 100", function(running)
      os.execute("kill " .. running.process.pid)
      assert.equal(130, running.process:wait(5))
      assert.equal("cleaned up\n\n", running:output())
      assert.equal("", files.read_all(running.err))
    end)
  end)

  lab_it("is not there any more when the program was killed", function()
    while_it_runs("while :; do sleep 0.01; done", function(running, mark)
      local function runs() return shell.succeeds(("pgrep -f '%s'"):format(mark:gsub("/lua", "/[l]ua"))) end
      assert.is_true(runs())
      os.execute("kill -9 " .. running.process.pid)
      assert.is_true(wait.eventually(function() return not runs() end, 1))
    end)
  end)
end)

describe("a program that is started with nohup", function()
  it("goes on when the terminal is gone", function()
    local path = files.temporary [[
      os.execute "kill -HUP $PPID"
      require("etherlua").sleep(0.01)
      print "went on"]]
    finally(function() os.remove(path) end)
    assert.equal("went on\n", (shell.run(("nohup %s run %s"):format(program.PATH, path))))
  end)

  it("is not hurried by a SIGHUP behind SIGTERM, as others have it", function()
    local path = files.temporary [[
      local ether = require "etherlua"
      ether.defer(function()
        os.execute "kill -HUP $PPID; kill -HUP $PPID"
        ether.sleep(0.01)
        print "cleaned up"
      end)
      os.execute "kill -TERM $PPID"
      ether.sleep(10)]]
    finally(function() os.remove(path) end)
    assert.same({ "cleaned up\n", 130 }, { shell.run(("%s run %s"):format(program.PATH, path)) })
  end)
end)
