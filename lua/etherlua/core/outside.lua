-- core/outside.lua: text that came from outside, such as the words of a server, made fit for a terminal and for JSON:
-- no escape sequence gets through, no line is forged, and what is no UTF-8 does not break a reader of JSON.
-- A byte that cannot be shown is \xNN, as in "no\x1b[31m". What was made fit stays as it is when that is done again.
-- Fields of packets that are bytes rather than text are shown in hex, or as Lua's notation has them (proto/view.lua).

local byte, find, format, sub = string.byte, string.find, string.format, string.sub

local M = {}

-- UTF-8 that is well-formed (RFC 3629 section 4), by its first bytes; each is one character behind ASCII.
local TAIL = "[\128-\191]"
local CHARACTERS = {
  "^[\194-\223]" .. TAIL, "^\224[\160-\191]" .. TAIL, "^[\225-\236\238\239]" .. TAIL .. TAIL,
  "^\237[\128-\159]" .. TAIL, "^\240[\144-\191]" .. TAIL .. TAIL, "^[\241-\243]" .. TAIL .. TAIL .. TAIL,
  "^\244[\128-\143]" .. TAIL .. TAIL,
}

-- Characters that a terminal takes for commands, or that show others at another place than they are: C1 controls,
-- directions of writing, separators of lines, and those without width.
local UNSEEN = {
  "^\194[\128-\159]", "^\216\156", "^\226\128[\139-\143\168-\174]", "^\226\129[\160-\175]", "^\239\187\191",
  "^\243\160[\128\129]" .. TAIL,
}

local function end_of(patterns, text, at)
  for _, pattern in ipairs(patterns) do
    local _, last = find(text, pattern, at)
    if last then return last end
  end
end

-- Where the character at a position ends; nil if it is to be escaped.
local function character(text, at, unseen)
  if byte(text, at) < 0x80 then return nil end
  local last = end_of(CHARACTERS, text, at)
  return last and not end_of(unseen, text, at) and last or nil
end

-- Runs of bytes that `plain` matches stay, characters of several bytes as well, unless they are among `unseen`.
local function escaped(text, plain, unseen)
  local parts, at = {}, 1
  while at <= #text do
    local _, last = find(text, plain, at)
    last = last or character(text, at, unseen)
    parts[#parts + 1] = last and sub(text, at, last) or format("\\x%02x", byte(text, at))
    at = (last or at) + 1
  end
  return table.concat(parts)
end

-- For a line on a terminal.
---@param text string
---@return string line printable ASCII and UTF-8
function M.shown(text)
  if not find(text, "[^\32-\126]") then return text end
  return escaped(text, "^[\32-\126]+", UNSEEN)
end

-- The same for several lines: newlines and tabs are the caller's own.
---@param text string
---@return string
function M.lines(text)
  if not find(text, "[^\t\n\32-\126]") then return text end
  return escaped(text, "^[\t\n\32-\126]+", UNSEEN)
end

-- For a string of JSON, whose encoder escapes what is ASCII by itself.
---@param text string
---@return string utf8
function M.utf8(text)
  if not find(text, "[\128-\255]") then return text end
  return escaped(text, "^[%z\1-\127]+", {})
end

return M
