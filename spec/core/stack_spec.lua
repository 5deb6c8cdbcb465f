-- Of many tasks that wait each has a coroutine with a stack: that it does not grow is worth half of their memory.

local files = require "support.files"
local linux_it = require "support.linux_it"
local one_works = require("support.wait").one_works
local shell = require "support.shell"

-- Prints the bytes of a task and what it waits with. Tables of tasks double at powers of two: none is near.
local CHILD = [[
local ether = require "etherlua"
local sched = require "etherlua.core.sched"
local BEFORE, TASKS = 5000, 2000
local WAITS = {
  ["for a frame"] = function(i, relay)
    local conn = relay:conn { mac = ether.mac_add("02:00:00:00:00:00", i) }
    return function() conn:recv() end
  end,
  ["for a value in a channel"] = function()
    local channel = ether.channel()
    return function() channel:recv() end
  end,
  ["for a time"] = function()
    return function() ether.sleep(100) end
  end,
  ["for another task"] = function()
    return function() sched.park(sched.current()) end
  end,
}

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

ether.run(function(make)
  local relay, fns = ether.wire(), {}
  for i = 1, BEFORE + TASKS do fns[i] = make(i, relay) end
  local function begin(first, last)
    for i = first, last do ether.spawn(fns[i]) end
    ether.sleep(0)
  end
  begin(1, BEFORE) -- what is compiled by then takes no stack
  local before = memory()
  begin(BEFORE + 1, BEFORE + TASKS)
  print((memory() - before) / TASKS)
  sched.cancel_all()
end, WAITS[table.concat(arg, " ")])]]

-- Bytes; a stack that has grown takes from 100 to 400 more.
local MOST = { ["for a frame"] = 700, ["for a value in a channel"] = 900, ["for a time"] = 700,
  ["for another task"] = 700 }

-- In a few of a hundred processes LuaJIT leaves such a call to the interpreter, for which a stack grows: each attempt
-- is a process of its own.
describe("a task that waits has a stack as it was made,", function()
  for name, most in pairs(MOST) do
    linux_it(name, function()
      local path = files.temporary(CHILD)
      finally(function() os.remove(path) end)
      one_works(function()
        local text = shell.output_of(("%s %s %s"):format(shell.LUAJIT, path, name))
        local bytes = assert(tonumber(text), text)
        return bytes >= most and bytes .. " bytes" or nil
      end)
    end)
  end
end)
