-- program/trace.lua: what --trace-tasks prints: a line on standard error each time that a task is spawned, parks, is
-- woken or ends, with the engine's time, which is also what ether.now() returns:
--
--   8123.402117 task 2 spawned by task 1
--   8123.402140 task 2 waits for a frame of RUDPConn 10.0.0.1:67, 1.000 s at most
--   8123.402381 task 2 woken by the engine
--   8123.402390 task 2 ends: returned

local outside = require "etherlua.core.outside"
local sched = require "etherlua.core.sched"

local M = {}

-- What happened to a task. A "spawn" is not followed by a "wake" for its beginning, nor an "end" by one for its
-- deferred functions, which have run when it comes.
---@class etherlua.task_event
---@field kind "spawn"|"park"|"wake"|"end"
---@field time number by the engine's clock
---@field task etherlua.task
---@field by? etherlua.task|"engine" spawn, wake: who did it; "engine" brings frames, times, files and signals
---@field what? "frame"|"time"|"file"|"select"|"turn"|"wake" park: what it waits for; "turn": it only gives way; "wake":
---  that another task wakes it
---@field object? any frame: the endpoint; file: the descriptor; select: the list of endpoints, channels and tasks
---@field deadline? number park: until when at the latest
---@field how? "returned"|"failed"|"cancelled" end

-- An endpoint that only etherlua itself knows has no name.
local function name(object)
  local text = tostring(object)
  return text:find "^table: " and "an endpoint" or text
end

local function names(sources)
  local list = {}
  for i, source in ipairs(sources) do list[i] = name(source) end
  return table.concat(list, ", ")
end

local WAITS = {
  frame = function(event) return "waits for a frame of " .. name(event.object) end,
  time = function() return "sleeps" end,
  file = function(event) return "waits for file descriptor " .. event.object end,
  select = function(event) return "waits for " .. (#event.object > 0 and names(event.object) or "nothing") end,
  turn = function() return "gives way" end,
  wake = function() return "waits for another task" end,
}

local function doer(by)
  return by == "engine" and "the engine" or "task " .. by.id
end

local TELL = {
  spawn = function(event) return "spawned by " .. doer(event.by) end,
  wake = function(event) return "woken by " .. doer(event.by) end,
  park = function(event)
    local left = event.deadline and (", %.3f s at most"):format(math.max(0, event.deadline - event.time)) or ""
    return WAITS[event.what](event) .. left
  end,
  ["end"] = function(event) return "ends: " .. event.how end,
}

---@param event etherlua.task_event
---@return string line
function M.line(event)
  return ("%.6f task %d %s"):format(event.time, event.task.id, TELL[event.kind](event))
end

-- Prints them from now on.
function M.start()
  sched.trace(function(event) io.stderr:write(outside.shown(M.line(event)), "\n") end)
end

return M
