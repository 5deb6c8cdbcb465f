-- core/options.lua: the tables of options that users give: which names are known, what each may be, and what it is when
-- it is left out. A name that is not known, and a value that is not allowed, is an error that says what is.
--
--   local OPTIONS = options.new("pacer", { rate = options.number(1e-6, 1e9):needed(), burst = options.whole(1) })
--   local opts = OPTIONS:read(given)
--
-- Values that another module knows all about, such as addresses, are options.any here: who uses them raises the error.

local misuse = require "etherlua.core.misuse"
local suggest = require "etherlua.core.suggest"

local M = {}

local next, type, floor, huge = next, type, math.floor, math.huge

-- ---- kinds of values ----------------------------------------------------------------------------------------------

-- What one option may be: accepts(value) tells, allowed says so in words.
---@class etherlua.option
---@field accepts function|true
---@field allowed string
---@field default any
local Option = {}
Option.__index = Option

local function option(accepts, allowed, default)
  return setmetatable({ accepts = accepts, allowed = allowed, default = default }, Option)
end

-- It cannot be left out.
---@return etherlua.option itself
function Option:needed()
  self.is_needed = true
  return self
end

-- Anything: who uses it checks it.
---@param default? any
---@return etherlua.option
function M.any(default)
  return option(true, "anything", default)
end

---@param default? boolean
---@return etherlua.option
function M.boolean(default)
  return option(function(value) return type(value) == "boolean" end, "true or false is allowed", default)
end

local function number_words(prefix, low, high)
  if high == huge then return ("%s from %.14g is needed"):format(prefix, low) end
  return prefix == "a number" and ("%.14g to %.14g is allowed"):format(low, high)
    or ("%s from %.14g to %.14g is needed"):format(prefix, low, high)
end

-- A number from low to high.
---@param low number
---@param high? number (no limit)
---@param default? number
---@return etherlua.option
function M.number(low, high, default)
  high = high or huge
  return option(function(value) return type(value) == "number" and value >= low and value <= high end,
    number_words("a number", low, high), default)
end

-- A whole number from low to high.
---@param low integer
---@param high? integer (2^31 - 1)
---@param default? integer
---@return etherlua.option
function M.whole(low, high, default)
  local most = high or 0x7fffffff
  return option(function(value)
    return type(value) == "number" and value >= low and value <= most and value == floor(value)
  end, high and ("%.14g to %.14g is allowed"):format(low, high) or number_words("a whole number", low, huge), default)
end

-- A time to wait.
---@param default? number
---@return etherlua.option
function M.seconds(default)
  return option(function(value) return type(value) == "number" and value >= 0 and value < huge end,
    "seconds as a number are needed", default)
end

---@param default? string
---@return etherlua.option
function M.text(default)
  return option(function(value) return type(value) == "string" end, "a text is needed", default)
end

-- The path of a file.
---@return etherlua.option
function M.path()
  return option(function(value) return type(value) == "string" and value ~= "" end, "the path of a file is needed")
end

-- A value of one of these types of Lua.
---@param words string what is allowed, such as "a function or a table is needed"
---@param ... string types
---@return etherlua.option
function M.of_type(words, ...)
  local types = {}
  for _, name in ipairs { ... } do types[name] = true end
  return option(function(value) return types[type(value)] end, words)
end

local function in_words(values)
  local texts = {}
  for i, value in ipairs(values) do texts[i] = type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local last = table.remove(texts)
  return (#texts > 0 and table.concat(texts, ", ") .. " or " or "") .. last .. " is allowed"
end

-- One of some values.
---@param values any[]
---@param default? any
---@return etherlua.option
function M.one_of(values, default)
  local allowed = {}
  for _, value in ipairs(values) do allowed[value] = true end
  return option(function(value) return allowed[value] end, in_words(values), default)
end

-- Another name of an option, such as one that it had before: read() gives its value the other one.
---@param name string
---@return etherlua.option
function M.alias(name)
  local one = M.any()
  one.stands_for = name
  return one
end

-- ---- tables of them -----------------------------------------------------------------------------------------------

-- The options of one thing.
---@class etherlua.options
---@field owner string whose they are, for messages: "relay:conn"
---@field known table<string, etherlua.option>
local Options = {}
Options.__index = Options

---@param owner string whose they are, for messages: "relay:conn", "a pacer"
---@param known table<string, etherlua.option>
---@param base? etherlua.options whose options it has, too
---@return etherlua.options
function M.new(owner, known, base)
  local all = {}
  for name, one in pairs(base and base.known or {}) do all[name] = one end
  for name, one in pairs(known) do all[name] = one end
  return setmetatable({ owner = owner, known = all }, Options)
end

---@return string[] their names, sorted; of one with several the one that it has now
function Options:names()
  local names = {}
  for name, one in pairs(self.known) do
    if not one.stands_for then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function refuse(self, name, value)
  local one = self.known[name]
  if one then misuse.raise("bad %s %s: %s", name, tostring(value), one.allowed) end
  misuse.raise("unknown option %q of %s%s", tostring(name), self.owner, suggest.words(name, self:names()))
end

-- From the name behind this one on. No loop (JIT 1).
local function check(self, given, name)
  local value
  name, value = next(given, name)
  if name == nil then return end
  local one = self.known[name]
  if not one or one.accepts ~= true and not one.accepts(value) then refuse(self, name, value) end
  return check(self, given, name)
end

-- Raises an error unless all that is given is known and allowed. Makes nothing: for what is called very often.
---@param given table
function Options:check(given)
  if type(given) ~= "table" then
    misuse.raise("bad options %s of %s: a table is needed", tostring(given), self.owner)
  end
  return check(self, given)
end

-- What is given, each under the name that it has now.
local function renamed(self, given)
  local opts = {}
  for name, value in pairs(given) do
    local one = self.known[name]
    opts[one and one.stands_for or name] = value
  end
  return opts
end

-- What is given, checked, and defaults for the rest.
---@param given? table
---@return table opts a new one
function Options:read(given)
  local opts = type(given) == "table" and renamed(self, given) or given == nil and {} or given
  self:check(opts)
  for name, one in pairs(self.known) do
    if opts[name] == nil then opts[name] = one.default end
    if opts[name] == nil and one.is_needed then
      misuse.raise("no %s given to %s: %s", name, self.owner, one.allowed)
    end
  end
  return opts
end

return M
