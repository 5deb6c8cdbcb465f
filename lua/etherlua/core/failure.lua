-- core/failure.lua: the text of an error value, whatever that is: the one safe way. An error object's __tostring may
-- raise, or return what is no text, and there may be no memory; whoever tells an error must not fail by it.

local M = {}

-- What tostring() says, or that it cannot.
---@param value any what error() was given
---@return string
function M.text(value)
  if type(value) == "string" then return value end
  local ok, text = pcall(tostring, value)
  if ok and type(text) == "string" then return text end
  return ("(an error that is a %s of which no text can be made)"):format(type(value))
end

-- The same with the calls that led to it.
---@param co thread that raised it
---@param value any
---@return string
function M.traceback(co, value)
  local text = M.text(value)
  local ok, traceback = pcall(debug.traceback, co, text)
  return ok and traceback or text
end

-- The exit status that an error object asks for, if it does.
---@param value any
---@return integer|nil
function M.exit_status(value)
  return type(value) == "table" and rawget(value, "exit_status") or nil
end

return M
