-- proto/icmp6_options.lua: the options of neighbour discovery (RFC 4861 section 4.6, RFC 4191 section 2.3, RFC 8106
-- section 5.1): type, length in units of 8 octets, data. One of an unknown type, or whose data does not fit its type,
-- is kept as raw data.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local layout = require "etherlua.proto.layout"
local schema = require "etherlua.proto.schema"

local byte, format, sub = string.byte, string.format, string.sub
local put8 = bytes.put8

local M = {}

M.PREFIX_INFORMATION, M.REDIRECTED_HEADER, M.MTU, M.ROUTE_INFORMATION, M.RDNSS = 3, 4, 5, 24, 25

local LINK_LAYER = { "source_link_layer_address", "target_link_layer_address" }

-- Fields of a message with options.
M.names = { LINK_LAYER[1], LINK_LAYER[2], "options" }

-- ---- What is behind type and length -------------------------------------------------------------------------------
-- Type -> parse(data, option), which fills in the option's fields unless the data does not fit and returns whether it
-- does, and build(option) -> data.

local function fixed(header)
  return {
    parse = function(data, option) return #data == header.size and header:parse(data, 1, option) ~= nil end,
    build = function(option) return header:build(option) end,
  }
end

local prefix = layout.new("icmp6", { { "prefix_length", "u8" },
  { bits = { { "on_link", 1 }, { "autonomous", 1 }, { "reserved", 6 } } }, { "valid_lifetime", "u32" },
  { "preferred_lifetime", "u32" }, { "reserved2", "u32" }, { "prefix", "ip6" } })
local mtu = layout.new("icmp6", { { "reserved", "u16" }, { "mtu", "u32" } })
local route = layout.new("icmp6", { { "prefix_length", "u8" },
  { bits = { { "reserved", 3 }, { "preference", 2 }, { "reserved2", 3 } } }, { "lifetime", "u32" } })
local rdnss = layout.new("icmp6", { { "reserved", "u16" }, { "lifetime", "u32" } })

-- Octets of a prefix that are enough for its length (RFC 4191 section 2.3).
local function octets_for(length)
  return length > 64 and 16 or length > 0 and 8 or 0
end

-- The prefix is as long as it has to be, or longer: only then octets says so.
local function parse_route(data, option)
  if not (#data == 6 or #data == 14 or #data == 22) then return false end
  local needed = octets_for(route:parse(data, 1, option).prefix_length)
  if #data - 6 < needed or option.prefix_length > 128 then return false end
  option.prefix = addr.ip_text(sub(data, 7) .. ("\0"):rep(22 - #data))
  if #data - 6 > needed then option.octets = #data - 6 end
  return true
end

local function build_route(option)
  local octets = option.octets or octets_for(option.prefix_length or 0)
  bytes.check("icmp6 octets", octets, 0, 16)
  return route:build(option) .. sub(bytes.ip("icmp6 prefix", option.prefix or "::", 16), 1, octets)
end

local types = {
  [3] = fixed(prefix),
  [4] = {
    parse = function(data, option)
      option.packet = sub(data, 7)
      return true
    end,
    build = function(option) return ("\0"):rep(6) .. bytes.string("icmp6 packet", option.packet) end,
  },
  [5] = fixed(mtu),
  [24] = { parse = parse_route, build = build_route },
  [25] = {
    parse = function(data, option)
      rdnss:parse(data, 1, option).servers = {}
      for at = 7, #data - 15, 16 do table.insert(option.servers, addr.ip_text(sub(data, at, at + 15))) end
      return true
    end,
    build = function(option)
      local parts = { rdnss:build(option) }
      for i, server in ipairs(option.servers or {}) do parts[i + 1] = bytes.ip("icmp6 server", server, 16) end
      return table.concat(parts)
    end,
  },
}

-- What there may be in an option of each type, and in one of any.
local COMMON, SERVERS = { "type", "data" }, { inside = { servers = schema.list(
  'a list of addresses is needed, such as { "2001:db8::1" }', { "string" }) } }
local NAMES = { [3] = prefix.names, [4] = { "packet" }, [5] = mtu.names,
  [24] = schema.union(route.names, { "prefix", "octets" }), [25] = schema.union(rdnss.names, { "servers" }) }

M.fields = schema.new("an icmp6 option", schema.union(COMMON, NAMES[3], NAMES[4], NAMES[5], NAMES[24],
  NAMES[25]), SERVERS)

local fields_of, of_others = {}, schema.new("an icmp6 option without fields of its own", COMMON)
for number, names in pairs(NAMES) do
  fields_of[number] = schema.new(("icmp6 option %d"):format(number), schema.union(COMMON, names),
    number == 25 and SERVERS or nil)
end

-- What the field with the options holds.
M.list = schema.list("a list of options is needed, such as { { type = 5, mtu = 1500 } }", { "table" },
  { fields = function(option)
    local known = type(option.type) == "number" and (fields_of[option.type] or of_others)
    return known or M.fields
  end })

-- ---- One option ---------------------------------------------------------------------------------------------------

local function data_of(option)
  local kind = types[option.type]
  if option.data or not kind then return bytes.string("icmp6 option data", option.data) end
  return kind.build(option)
end

local function build_option(kind, data)
  local body = bytes.pad_to("??" .. data, 8)
  return put8("icmp6 option type", kind) .. put8("icmp6 option length", #body / 8) .. sub(body, 3)
end

-- Raw if the typed fields do not say it all.
local function typed(kind, data)
  local option = { type = kind }
  if types[kind] and types[kind].parse(data, option) and data_of(option) == data then return option end
  return { type = kind, data = data }
end

-- A link-layer address becomes a field of the message; where it is not in front, an entry without data has its place.
local function parse_link_layer(kind, data, fields, options)
  local name = LINK_LAYER[kind]
  if not name or #data ~= 6 or fields[name] then return false end
  local is_in_front = #options == 0 and not (kind == 1 and fields.target_link_layer_address)
  fields[name] = bytes.mac_at(data, 1)
  if not is_in_front then options[#options + 1] = { type = kind } end
  return true
end

-- ---- The list -----------------------------------------------------------------------------------------------------

-- From position `at` to the end of a message into fields: source_link_layer_address and target_link_layer_address (the
-- first of each, if it is a MAC address), and options = list of
-- { type = 3, prefix_length, on_link, autonomous, valid_lifetime, preferred_lifetime (seconds), prefix },
-- { type = 4, packet } (what a redirect is about), { type = 5, mtu },
-- { type = 24, prefix, prefix_length, preference (0 medium, 1 high, 3 low), lifetime (seconds), octets (of the prefix
-- that are there, if more than need be) }, { type = 25, lifetime (seconds), servers }, { type, data } (all others), and
-- { type = 1 } or { type = 2 } in the place of a link-layer address that is not in front of the list. An option of
-- length zero makes the message invalid (RFC 4861 section 4.6).
---@param message string
---@param at integer
---@param fields table
---@return table? fields
---@return string? reason
function M.parse(message, at, fields)
  local options, have = {}, #message
  while at <= have do
    local kind, units = byte(message, at, at + 1)
    local size = (units or 1) * 8
    if size == 0 then return nil, format("icmp6: option %d has length 0", kind) end
    if at + size - 1 > have then
      return bytes.short("icmp6", have - at + 1, size, format("bytes of option %d", kind))
    end
    local data = sub(message, at + 2, at + size - 1)
    if not parse_link_layer(kind, data, fields, options) then options[#options + 1] = typed(kind, data) end
    at = at + size
  end
  fields.options = options
  return fields
end

local function link_layer_option(kind, fields)
  local name = LINK_LAYER[kind]
  return fields[name] and build_option(kind, bytes.mac("icmp6 " .. name, fields[name])) or ""
end

---@param fields table as from parse
---@return string bytes each option padded with zeros to a multiple of 8; raises for bad values
function M.build(fields)
  local parts, placed = {}, {}
  for _, option in ipairs(fields.options or {}) do
    local kind = option.type
    if LINK_LAYER[kind] and not option.data then
      placed[kind] = true
      parts[#parts + 1] = link_layer_option(kind, fields)
    else
      parts[#parts + 1] = build_option(kind, data_of(option))
    end
  end
  for kind = #LINK_LAYER, 1, -1 do
    if not placed[kind] then table.insert(parts, 1, link_layer_option(kind, fields)) end
  end
  return table.concat(parts)
end

return M
