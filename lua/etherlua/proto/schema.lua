-- proto/schema.lua: which fields a protocol has, and how they are checked: a name that nobody knows is a mistake, and
-- the error says which names there are. Values are checked by those who build them.
--
--   M.fields = schema.new("udp", { "src_port", "dst_port", "length", "checksum", "payload" },
--     { aliases = { sport = "src_port", dport = "dst_port" }, defaults = { src_port = 0 },
--       derived = { "length", "checksum" } })
--   M.fields:check(given) -- first of all in build()

local misuse = require "etherlua.core.misuse"
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
---@field inside table<string, etherlua.proto.schema|function> field -> the fields of each table in its list, or a
---  function that checks its value
local Schema = {}
Schema.__index = Schema

---@param protocol string as messages name it
---@param names string[] in wire order; those that only build() takes come last
---@param more? table aliases, defaults, derived, inside: see etherlua.proto.schema
---@return etherlua.proto.schema
function M.new(protocol, names, more)
  more = more or {}
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  return setmetatable({ protocol = protocol, names = names, known = known, aliases = more.aliases or {},
    defaults = more.defaults or {}, derived = more.derived or {}, inside = more.inside or {} }, Schema)
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

local function check_inside(inside, value)
  if type(inside) == "function" then return inside(value) end
  for _, item in ipairs(value) do
    if type(item) == "table" then inside:check(item) end
  end
end

-- From the name behind this one on. No loop (JIT 1).
local function check(self, given, name)
  local value
  name, value = next(given, name)
  if name == nil then return end
  if not self.known[name] then refuse(self, name) end
  if type(value) == "table" and self.inside[name] then check_inside(self.inside[name], value) end
  return check(self, given, name)
end

-- Raises an error for a name that is not known. Makes nothing.
---@param given table fields as build() takes them
function Schema:check(given)
  if type(given) ~= "table" then
    misuse.raise("bad fields %s of %s: a table is needed", tostring(given), self.protocol)
  end
  return check(self, given)
end

-- The fields of a layer or of a pattern, checked, with their names instead of short ones.
---@param given table
---@return table fields a new one
function Schema:renamed(given)
  local fields = {}
  for key, value in pairs(given) do
    local name = self.aliases[key] or key
    if fields[name] ~= nil then misuse.raise("field %q of %s is given twice", name, self.protocol) end
    fields[name] = value
  end
  check(self, fields)
  return fields
end

return M
