-- proto/layout.lua: fields at fixed places of a header, named once for reading and for writing them.
-- For headers that are read now and then; what comes with every packet is written out in its own module.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"

local byte, sub, floor = string.byte, string.sub, math.floor

local M = {}

-- Fields in the order of the wire; size: their octets; names: theirs.
---@class etherlua.proto.layout
---@field size integer
---@field names string[]
local Layout = {}
Layout.__index = Layout

-- Types: octets, get(message, at) -> value, put(what, value) -> octets, what a missing value stands for.
local types = {
  u8 = { size = 1, get = byte, put = bytes.put8, default = 0 },
  u16 = { size = 2, get = bytes.u16, put = bytes.put16, default = 0 },
  u24 = {
    size = 3,
    get = function(message, at) return byte(message, at) * 0x10000 + bytes.u16(message, at + 1) end,
    put = function(what, value) return sub(bytes.put32(what, bytes.check(what, value, 0, 0xffffff)), 2) end,
    default = 0,
  },
  u32 = { size = 4, get = bytes.u32, put = bytes.put32, default = 0 },
  ip4 = { size = 4, get = bytes.ip4_at, put = function(what, value) return bytes.ip(what, value, 4) end },
  ip6 = {
    size = 16,
    get = function(message, at) return addr.ip_text(sub(message, at, at + 15)) end,
    put = function(what, value) return bytes.ip(what, value, 16) end,
  },
}

-- Reserved bits are fields as well, so that nothing is lost, but ones without a name to be seen when they are zero.
local function is_worth_naming(name, value)
  return not (value == 0 or value == false) or sub(name, 1, 8) ~= "reserved"
end

local function plain_entry(protocol, name, kind)
  local what = protocol .. " " .. name
  return {
    size = kind.size,
    get = function(message, at, fields)
      local value = kind.get(message, at)
      if is_worth_naming(name, value) then fields[name] = value end
    end,
    put = function(fields)
      local value = fields[name]
      if value == nil then value = kind.default end
      return kind.put(what, value)
    end,
  }
end

local function bit_value(what, value, width)
  if width == 1 then return bytes.flag(what, value) and 1 or 0 end
  return bytes.check(what, value or 0, 0, 2 ^ width - 1)
end

-- One bit is a boolean, more are a number; the first is the highest.
local function bits_entry(protocol, parts)
  local total = 0
  for _, part in ipairs(parts) do total = total + part[2] end
  local word = types["u" .. total]
  return {
    size = word.size,
    get = function(message, at, fields)
      local rest = word.get(message, at)
      for i = #parts, 1, -1 do
        local name, width = parts[i][1], parts[i][2]
        local value = rest % 2 ^ width
        rest = floor(rest / 2 ^ width)
        if width == 1 then value = value == 1 end
        if is_worth_naming(name, value) then fields[name] = value end
      end
    end,
    put = function(fields)
      local value = 0
      for _, part in ipairs(parts) do
        local name, width = part[1], part[2]
        value = value * 2 ^ width + bit_value(protocol .. " " .. name, fields[name], width)
      end
      return word.put(protocol, value)
    end,
  }
end

-- A layout from its entries in the order of the wire: { name, type } with type "u8", "u16", "u24", "u32", "ip4" or
-- "ip6", or { bits = { { name, width }, ... } } of 8, 16 or 32 bits together. Fields whose name begins with "reserved"
-- are left out when they are zero.
---@param protocol string for error messages
---@param entries table[]
---@return etherlua.proto.layout
function M.new(protocol, entries)
  local layout = { size = 0, names = {} }
  for i, entry in ipairs(entries) do
    layout[i] = entry.bits and bits_entry(protocol, entry.bits) or plain_entry(protocol, entry[1], types[entry[2]])
    layout.size = layout.size + layout[i].size
    for _, part in ipairs(entry.bits or { entry }) do table.insert(layout.names, part[1]) end
  end
  return setmetatable(layout, Layout)
end

---@param message string with at least .size octets from `at` on
---@param at integer
---@param fields table that is filled in
---@return table fields
function Layout:parse(message, at, fields)
  for i = 1, #self do
    self[i].get(message, at, fields)
    at = at + self[i].size
  end
  return fields
end

---@param fields table; numbers and flags that are missing are 0
---@return string bytes; raises for bad values
function Layout:build(fields)
  local parts = {}
  for i = 1, #self do parts[i] = self[i].put(fields) end
  return table.concat(parts)
end

return M
