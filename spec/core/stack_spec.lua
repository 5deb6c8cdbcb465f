-- Of many tasks that wait each has a coroutine with a stack: that it does not grow is worth half of their memory.

local ether = require "etherlua"
local one_works = require("support.wait").one_works
local sched = require "etherlua.core.sched"

local TASKS = 2000

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

-- Bytes of a task and what it waits with. fn: makes the function of the i-th task.
local function size_of(fn)
  local bytes
  ether.run(function()
    local relay, fns = ether.wire(), {}
    for i = 1, 2 * TASKS do fns[i] = fn(i, relay) end
    local function begin(first)
      for i = first, first + TASKS - 1 do ether.spawn(fns[i]) end
      ether.sleep(0)
    end
    begin(1) -- what is compiled by then takes no stack
    local before = memory()
    begin(TASKS + 1)
    bytes = (memory() - before) / TASKS
    sched.cancel_all()
  end)
  return bytes
end

-- most: bytes; a stack that has grown takes from 100 to 400 more. What is compiled meanwhile takes memory, too, once.
describe("a task that waits has a stack as it was made,", function()
  local WAITS = {
    ["for a frame"] = { most = 700, fn = function(i, relay)
      local conn = relay:conn { mac = ether.mac_add("02:00:00:00:00:00", i) }
      return function() conn:recv() end
    end },
    ["for a value in a channel"] = { most = 900, fn = function()
      local channel = ether.channel()
      return function() channel:recv() end
    end },
    ["for a time"] = { most = 700, fn = function()
      return function() ether.sleep(100) end
    end },
    ["for another task"] = { most = 700, fn = function()
      return function() sched.park(sched.current()) end
    end },
  }
  for name, case in pairs(WAITS) do
    it(name, function()
      one_works(function()
        local bytes = size_of(case.fn)
        return bytes >= case.most and bytes .. " bytes" or nil
      end)
    end)
  end
end)
