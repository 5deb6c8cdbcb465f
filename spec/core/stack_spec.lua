-- Of many tasks that wait each has a coroutine with a stack: that it does not grow is worth half of their memory.

local ether = require "etherlua"
local sched = require "etherlua.core.sched"

local TASKS = 2000

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

-- fn: makes the function of the i-th task. most: bytes of a task and what it waits with; a stack that has grown takes
-- from 100 to 400 more.
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
      local bytes
      ether.run(function()
        local relay, fns = ether.wire(), {}
        for i = 1, 2 * TASKS do fns[i] = case.fn(i, relay) end
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
      assert.is_true(bytes < case.most, bytes .. " bytes")
    end)
  end
end)
