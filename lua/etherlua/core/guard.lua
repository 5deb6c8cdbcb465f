-- core/guard.lua: whoever serves others outlives an error in the answer to one frame: it is counted, the first one is
-- told on standard error, since the frame that brings it about may come a million times, and the next frame is served.

local failures = require "etherlua.core.failure"
local loop = require "etherlua.core.loop"
local outside = require "etherlua.core.outside"

local M = {}

-- An answer could not be made or sent.
---@param server table whoever serves: failed, how often; last_error, why the last time; tostring() is its name
---@param reason string
function M.fail(server, reason)
  server.failed, server.last_error = server.failed + 1, reason
  if server.failed == 1 then io.stderr:write(("etherlua: %s: %s\n"):format(tostring(server), outside.lines(reason))) end
end

-- What an error looks like; the end of a task is none.
local function traced(failure)
  if failure == loop.CANCELLED then return failure end
  return debug.traceback(failures.text(failure), 2)
end

-- Calls fn, which answers one frame.
---@param server table as for fail()
---@param fn function
---@param ... any that it is called with
---@return boolean ok false: it raised an error, which is counted
---@return any result of fn
function M.call(server, fn, ...)
  local ok, result = xpcall(fn, traced, ...)
  if ok then return true, result end
  if result == loop.CANCELLED then error(result, 0) end
  M.fail(server, result)
  return false
end

return M
