-- core/misuse.lua: a caller's mistake, told at the caller's line: "first.lua:3: bad rate 0: ...". The line is that of
-- the innermost code that is not ours, however deep the call went, so nobody counts levels. Programs that take values
-- from a command line show the words alone.

local failures = require "etherlua.core.failure"
local outside = require "etherlua.core.outside"

local M = {}

local getinfo = debug.getinfo

-- What sources of ours begin with: a folder, or "etherlua/" inside of a portable program.
local OWN = debug.getinfo(1, "S").source:match "^(@.*)core/misuse%.lua$"

local PROGRAM = "=etherlua" -- what engine/program/main.c runs before any script

---@param source string as debug.getinfo has it
---@return boolean whether it is a file of ours
local function is_own(source)
  return source:sub(1, #OWN) == OWN or source == PROGRAM
end
M.is_own = is_own

-- The innermost line that is not ours, of a coroutine that waits or of the caller.
---@param co? thread (the running one)
---@return string|nil place such as "first.lua:3"; nil when all of it is ours
function M.place(co)
  for level = co and 0 or 2, math.huge do
    local info
    if co then info = getinfo(co, level, "Sl") else info = getinfo(level, "Sl") end
    if not info then return nil end
    if info.currentline > 0 and not is_own(info.source) then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
end

local function raise_words(words)
  local place = M.place()
  error(place and place .. ": " .. words or words, 0)
end

-- Raises an error for what the caller did wrong: what was given, what is allowed. It is one line, whatever was given.
---@param format string as for string.format
---@param ... any
function M.raise(format, ...)
  raise_words(outside.shown((format:format(...):gsub("\\\n", "\\n")))) -- %q breaks lines
end

-- The same for what Lua itself says in several lines.
---@param format string
---@param ... any
function M.raise_lines(format, ...)
  raise_words(outside.lines(format:format(...)))
end

-- Raises an error for what is no time to wait; one that has passed already is.
---@param name string what it is for
---@param value any
function M.check_seconds(name, value)
  if type(value) ~= "number" or value ~= value then
    M.raise("bad %s %s: seconds as a number are needed", name, tostring(value))
  end
end

-- What was wrong, without the place.
---@param failure any what pcall returned
---@return string
function M.words(failure)
  return (failures.text(failure):gsub("^[^%s:]+:%d+: ", ""):gsub('^%[string "[^\n]-"%]:%d+: ', ""))
end

return M
