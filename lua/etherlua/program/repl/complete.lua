-- program/repl/complete.lua: what Tab completes: names of globals, fields and methods, and inside of quotes interfaces,
-- kinds of relays and scripts. No function of the user's is called for it.

local effi = require "etherlua.core.ffi"
local frames = require "etherlua.relay.frame"
local interfaces = require "etherlua.net.interfaces"

local M = {}

local KEYWORDS = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true " ..
  "until while"):gmatch "%a+" do
  table.insert(KEYWORDS, word)
end

local KINDS = { "afpacket:", "xdp:", "pcap:", "file:" }

-- ---- candidates ---------------------------------------------------------------------------------------------------

local function add_names(found, t)
  for name in pairs(t) do
    if type(name) == "string" and name:match "^[%a_][%w_]*$" then found[name] = rawget(t, name) or false end
  end
end

-- Names in a table and in those behind it.
local function add_fields(found, value)
  if type(value) == "table" then add_names(found, value) end
  local metatable = getmetatable(value)
  local _, of_struct = effi.struct_of(value)
  metatable = of_struct or type(metatable) == "table" and metatable or nil
  local index = metatable and rawget(metatable, "__index")
  if type(index) == "table" and index ~= value then add_fields(found, index) end
  if effi.struct_of(value) == "struct el_lent" then
    for _, name in ipairs(frames.names()) do found[name] = false end
  end
end

local function index(value, name)
  local ok, field = pcall(function() return value[name] end)
  return ok and field or nil
end

-- The value of "a.b.c", or nil.
local function evaluate(path, environment)
  local value = environment
  for name in path:gmatch "[%a_][%w_]*" do
    value = index(value, name)
    if value == nil then return nil end
  end
  return value
end

local function add_interfaces(found)
  for _, one in ipairs(interfaces.list() or {}) do found[one.name] = false end
end

-- Inside of quotes; behind the kind of a relay there are interfaces only.
local function quoted(found, text, scripts)
  add_interfaces(found)
  if text:find ":" then return text:match "[^:]*$" end
  for _, name in ipairs(KINDS) do found[name] = false end
  for _, name in ipairs(scripts) do found[name] = false end
  return text
end

-- What is inside of quotes that are still open.
local function open_quote(text)
  local quote, start
  for at, c in text:gmatch "()([\"'\\])" do
    if quote == c then
      quote = nil
    elseif not quote and c ~= "\\" then
      quote, start = c, at + 1
    end
  end
  return quote and text:sub(start)
end

-- ---- completing ---------------------------------------------------------------------------------------------------

---@class etherlua.completer
---@field environment table where names are looked up
---@field globals function returns a list of names that are loaded when first used
---@field scripts string[]
---@field load? function called with a table whose fields are wanted: makes those that are made when first used

local function candidates(self, text)
  local found = {}
  local inside = open_quote(text)
  if inside then return found, quoted(found, inside, self.scripts) end
  local path, prefix = text:match "([%a_][%w_%.]*)[%.:]([%w_]*)$"
  if path then
    local value = evaluate(path, self.environment)
    if self.load then self.load(value) end
    add_fields(found, value)
    return found, prefix
  end
  if text:match "[%.:%)%]][%w_]*$" and not text:match "%.%.[%w_]*$" then return found, "" end
  add_names(found, _G)
  add_names(found, self.environment)
  for _, name in ipairs(self.globals()) do found[name] = found[name] or false end
  for _, name in ipairs(KEYWORDS) do found[name] = false end
  return found, text:match "[%w_]*$"
end

local function common(a, b)
  local length = 0
  while length < #a and a:byte(length + 1) == b:byte(length + 1) do length = length + 1 end
  return a:sub(1, length)
end

---@param self etherlua.completer
---@param text string what is before the cursor
---@return string insertion
---@return string[] names to choose from, when there are more than one and none of them is meant yet
function M.complete(self, text)
  if text:match "^%s*$" then return "  ", {} end
  local found, prefix = candidates(self, text)
  local names, longest = {}, nil
  for name in pairs(found) do
    if name:sub(1, #prefix) == prefix then
      names[#names + 1] = name
      longest = longest and common(longest, name) or name
    end
  end
  table.sort(names)
  if #names == 0 then return "", {} end
  local insertion = longest:sub(#prefix + 1)
  if #names == 1 and type(found[longest]) == "function" then insertion = insertion .. "(" end
  return insertion, insertion == "" and names or {}
end

-- As many as fit, one below the other.
---@param names string[]
---@param width integer columns
---@return string lines
function M.columns(names, width)
  local longest, lines = 0, {}
  for _, name in ipairs(names) do longest = math.max(longest, #name + 2) end
  local across = math.max(1, math.floor(width / longest))
  local down = math.ceil(#names / across)
  for row = 1, down do
    local cells = {}
    for i = row, #names, down do cells[#cells + 1] = names[i] .. (" "):rep(longest - #names[i]) end
    lines[row] = table.concat(cells):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

return M
