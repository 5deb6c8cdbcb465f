-- proto/schema.lua: which fields a protocol has, and how they are checked: a name that nobody knows is a mistake, and
-- so is a table of another shape than the field has. The error says what there may be. Single values are checked by
-- those who build them.
--
--   M.fields = schema.new("udp", { "src_port", "dst_port", "length", "checksum", "payload" },
--     { aliases = { sport = "src_port", dport = "dst_port" }, defaults = { src_port = 0 },
--       derived = { "length", "checksum" } })
--   M.fields:check(given) -- first of all in build()
--
-- In a pattern, which packets are compared with, a function or false may stand for any value.

local literal = require "etherlua.core.literal"
local misuse = require "etherlua.core.misuse"
local shape = require "etherlua.core.shape"
local suggest = require "etherlua.core.suggest"

local M = {}

local next, type = next, type

-- What there is to say about the fields of one protocol, or of the tables in a field that is a list.
---@class etherlua.proto.schema
---@field protocol string as messages name it
---@field names string[] in wire order; those that only build() takes come last
---@field known table<string, true> these
---@field aliases table<string, string> short name -> name, in layers and in patterns
---@field defaults table<string, any> what a layer has where nobody says otherwise
---@field derived string[] those that build() fills in unless given
---@field inside table<string, etherlua.proto.list|function> field that holds a table -> its list, or a function that
---  checks its value (value, is_pattern)
---@field orders table<string, fun(fields: table): any[]> field -> the names in the table that it holds, in wire order
local Schema = {}
Schema.__index = Schema

local function lists_of(inside)
  local lists = {}
  for name, value in pairs(inside) do
    lists[name] = getmetatable(value) ~= Schema and value
      or M.list("a list of tables with fields is needed", { "table" }, { fields = value })
  end
  return lists
end

---@param protocol string as messages name it
---@param names string[] in wire order; those that only build() takes come last
---@param more? table aliases, defaults, derived, inside, orders: see etherlua.proto.schema. In inside, a schema stands
---  for a list of tables with its fields
---@return etherlua.proto.schema
function M.new(protocol, names, more)
  more = more or {}
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  return setmetatable({ protocol = protocol, names = names, known = known, aliases = more.aliases or {},
    defaults = more.defaults or {}, derived = more.derived or {},
    inside = lists_of(more.inside or {}), orders = more.orders or {} }, Schema)
end

-- The names of several lists, each once.
---@param ... string[]
---@return string[]
function M.union(...)
  local all, seen = {}, {}
  for _, names in ipairs { ... } do
    for _, name in ipairs(names) do
      if not seen[name] then all[#all + 1] = name end
      seen[name] = true
    end
  end
  return all
end

local function refuse(self, name)
  local words = suggest.words(self.aliases[name] or name, self.names)
  misuse.raise("unknown field %q of %s%s", tostring(name), self.protocol, words)
end

-- ---- lists --------------------------------------------------------------------------------------------------------

-- What a field or an option that is a list may hold. See schema.list.
---@class etherlua.proto.list
---@field allowed string what it may be, in words
---@field items table<string, true> types of Lua that its items have
---@field fields? etherlua.proto.schema|fun(item: table): etherlua.proto.schema of items that are tables
---@field instead? string type of Lua of what may be given instead, to build
---@field compared? string type of Lua of what may be given instead, in a pattern
---@field filled? boolean it has one item at the least
local List = {}
List.__index = List

---@param allowed string what it may be, in words: "a list of addresses is needed"
---@param items string[] types of Lua that its items have
---@param more? table fields, instead, compared, filled: see etherlua.proto.list
---@return etherlua.proto.list
function M.list(allowed, items, more)
  more = more or {}
  local types = {}
  for _, name in ipairs(items) do types[name] = true end
  return setmetatable({ allowed = allowed, items = types, fields = more.fields, instead = more.instead,
    compared = more.compared, filled = more.filled }, List)
end

local function refuse_value(what, owner, value, allowed)
  misuse.raise("bad %s %s%s: %s", what, literal.show(value), owner and " of " .. owner or "", allowed)
end

-- Stands for any value in a pattern.
local function is_open(value, is_pattern)
  return is_pattern and (value == false or type(value) == "function")
end

-- Which fields an item has; that may depend on what it is.
local function fields_of(list, item)
  local fields = list.fields
  if type(fields) == "function" then return fields(item) end
  return fields
end

-- Whether all items from this one on are allowed. No loop (JIT 1).
local function has_good_items(list, value, is_pattern, i)
  local item = value[i]
  if item == nil then return true end
  if not is_open(item, is_pattern) then
    if not list.items[type(item)] then return false end
    if type(item) == "table" and list.fields then fields_of(list, item):check(item, is_pattern) end
  end
  return has_good_items(list, value, is_pattern, i + 1)
end

-- Raises an error unless a value is such a list. Makes nothing.
---@param what string what it is: "vlans"
---@param owner? string whose it is: "ethernet"
---@param value any
---@param is_pattern? boolean
function List:check(what, owner, value, is_pattern)
  local kind = type(value)
  if kind == (is_pattern and self.compared or not is_pattern and self.instead) then return end
  if not shape.is_list(value) or self.filled and #value == 0 or not has_good_items(self, value, is_pattern, 1) then
    refuse_value(what, owner, value, self.allowed)
  end
end

-- What a table in a field is made of.
---@param inside? etherlua.proto.list|function as a schema has it for the field
---@param item table the one in the field, or one of the list there
---@return string[]? names in wire order; nil: not known
---@return table inside of these
function M.inner(inside, item)
  local fields = type(inside) == "table" and fields_of(inside, item) or nil
  return fields and fields.names, fields and fields.inside or {}
end

-- ---- fields -------------------------------------------------------------------------------------------------------

local function check_inside(self, name, value, is_pattern)
  local inside = self.inside[name]
  if type(inside) == "function" then return inside(value, is_pattern) end
  return inside:check(name, self.protocol, value, is_pattern)
end

-- From the name behind this one on. No loop (JIT 1).
local function check(self, given, is_pattern, name)
  local value
  name, value = next(given, name)
  if name == nil then return end
  if not self.known[name] then refuse(self, name) end
  if value ~= false and not is_open(value, is_pattern) then
    if self.inside[name] then
      check_inside(self, name, value, is_pattern)
    elseif is_pattern and type(value) == "table" then
      refuse_value(name, self.protocol, value, "a single value is needed")
    end
  end
  return check(self, given, is_pattern, name)
end

-- Raises an error for a name that is not known, and a table of a shape that is not. Makes nothing.
---@param given table fields as build() takes them
---@param is_pattern? boolean
function Schema:check(given, is_pattern)
  if type(given) ~= "table" then
    misuse.raise("bad fields %s of %s: a table is needed", tostring(given), self.protocol)
  end
  return check(self, given, is_pattern)
end

-- The fields of a layer or of a pattern, checked, with their names instead of short ones.
---@param given table
---@param is_pattern? boolean
---@return table fields a new one
function Schema:renamed(given, is_pattern)
  local fields = {}
  for key, value in pairs(given) do
    local name = self.aliases[key] or key
    if fields[name] ~= nil then misuse.raise("field %q of %s is given twice", name, self.protocol) end
    fields[name] = value
  end
  check(self, fields, is_pattern)
  return fields
end

return M
