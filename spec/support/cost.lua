-- cost.lua: what a call costs, so that what grows faster than its input is found without a clock: instructions of Lua
-- and bytes of new memory. The JIT has to be off: hooks are not called in compiled code.

local M = {}

local STEP = 100 -- instructions

-- What fn(arg) takes. An error in it is raised when all is as it was.
---@param fn function
---@param arg any
---@return integer instructions
---@return number bytes
function M.of(fn, arg)
  local steps = 0
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  debug.sethook(function() steps = steps + STEP end, "", STEP)
  local ok, failure = pcall(fn, arg)
  debug.sethook()
  local memory = (collectgarbage "count" - before) * 1024
  collectgarbage "restart"
  if not ok then error(failure, 0) end
  return steps, memory
end

return M
