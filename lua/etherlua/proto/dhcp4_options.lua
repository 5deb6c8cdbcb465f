-- proto/dhcp4_options.lua: the table of DHCP options (RFC 2132 and later): their names, codes and types, and how a
-- value of each type is read and written. A new option is one line in the table at the end.
-- Knows nothing of messages: long options, their order and overload are dhcp4.lua's, which exports what users need.

local bytes = require "etherlua.net.bytes"
local literal = require "etherlua.core.literal"
local misuse = require "etherlua.core.misuse"
local relay_agent = require "etherlua.proto.dhcp4_relay_agent"
local routes = require "etherlua.proto.dhcp4_routes"
local schema = require "etherlua.proto.schema"
local suggest = require "etherlua.core.suggest"

local byte, concat, sub = string.byte, table.concat, string.sub
local u16, u32, put8, put32, check = bytes.u16, bytes.u32, bytes.put8, bytes.put32, bytes.check
local ip4_at = bytes.ip4_at

local M = {}

---@type table<string, integer> name -> code
M.codes = {}

-- ---- Types of options ---------------------------------------------------------------------------------------------
-- parse(raw) -> value, or nil if the bytes do not fit. build(value, label) -> raw, raises for a bad value; the label
-- names the option. shape(value, label, is_pattern), of those that are tables, raises unless a value is one of its
-- shape; in a pattern, which options are compared with, a function or false may stand for what is in it. size: octets
-- of a type that has always as many.

local types = {}

local function number_type(size, low, high)
  return {
    size = size,
    parse = function(raw)
      local value = size == 1 and byte(raw) or size == 2 and u16(raw, 1) or u32(raw, 1)
      return value > high and value - 0x100000000 or value
    end,
    build = function(value, label)
      return sub(put32(label, check(label, value, low, high) % 0x100000000), 5 - size)
    end,
  }
end

types.u8, types.u16 = number_type(1, 0, 0xff), number_type(2, 0, 0xffff)
types.u32, types.i32 = number_type(4, 0, 0xffffffff), number_type(4, -0x80000000, 0x7fffffff)

-- Opaque bytes.
types.raw = {
  parse = function(raw) return raw end,
  build = function(value, label) return bytes.string(label, value) end,
}

-- Text, without the NULs that some put behind it (RFC 2132 section 2).
types.text = {
  parse = function(raw)
    local size = #raw
    while size > 0 and byte(raw, size) == 0 do size = size - 1 end
    return sub(raw, 1, size)
  end,
  build = types.raw.build,
}

types.ip = {
  size = 4,
  parse = function(raw) return ip4_at(raw, 1) end,
  build = function(value, label) return bytes.ip(label, value, 4) end,
}

local BOOLEANS = { ["\0"] = false, ["\1"] = true }

types.boolean = {
  size = 1,
  parse = function(raw) return BOOLEANS[raw] end,
  build = function(value, label)
    if type(value) ~= "boolean" then misuse.raise("bad %s %s: true or false is needed", label, tostring(value)) end
    return value and "\1" or "\0"
  end,
}

-- There without a value.
types.flag = {
  parse = function(raw) return raw == "" or nil end,
  build = function(value, label)
    if value ~= true then misuse.raise("bad %s %s: true is the only value", label, tostring(value)) end
    return ""
  end,
}

-- A list of single values, which their own type checks. None at all is no value, and its bytes do not fit.
local function list_type(item, size, example)
  local allowed = schema.list(("a table with at least one value is needed, a list such as { %s }"):format(example),
    { "number", "string" }, { filled = true })
  local function shape(value, label, is_pattern)
    allowed:check(label, nil, value, is_pattern)
    return value
  end
  return {
    shape = shape,
    parse = function(raw)
      if raw == "" or #raw % size ~= 0 then return nil end
      local list = {}
      for at = 1, #raw, size do list[#list + 1] = item.parse(sub(raw, at, at + size - 1)) end
      return list
    end,
    build = function(list, label)
      local parts = {}
      for i, value in ipairs(shape(list, label)) do parts[i] = item.build(value, label) end
      return concat(parts)
    end,
  }
end

types.ips, types.u16s = list_type(types.ip, 4, '"10.0.0.1"'), list_type(types.u16, 2, "0, 7")

-- Codes of options.
types.codes = list_type(types.u8, 1, "1, 3, 6")

local TYPE_NAMES = { "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM" }
local TYPE_NUMBERS = {}
for number, name in ipairs(TYPE_NAMES) do TYPE_NUMBERS[name] = number end

types.message_type = {
  size = 1,
  parse = function(raw) return TYPE_NAMES[byte(raw)] or byte(raw) end,
  build = function(value, label)
    local number = TYPE_NUMBERS[value] or type(value) == "number" and value
    if not number then
      misuse.raise("bad %s %q: 0 to 255 or one of %s is needed", label, tostring(value), concat(TYPE_NAMES, ", "))
    end
    return put8(label, number)
  end,
}

types.routes, types.static_routes, types.relay_agent = routes.classless, routes.static, relay_agent

-- ---- The options --------------------------------------------------------------------------------------------------
-- RFC 2132 unless noted. Option overload (52) is missing on purpose: dhcp4.lua makes and reads it.

local by_code = {}

for name, kind in pairs(types) do kind.name = name end

for _, row in ipairs {
  { 1, "subnet_mask", types.ip },
  { 2, "time_offset", types.i32 },
  { 3, "routers", types.ips },
  { 4, "time_servers", types.ips },
  { 6, "dns_servers", types.ips },
  { 7, "log_servers", types.ips },
  { 12, "host_name", types.text },
  { 13, "boot_file_size", types.u16 },
  { 15, "domain_name", types.text },
  { 16, "swap_server", types.ip },
  { 17, "root_path", types.text },
  { 18, "extensions_path", types.text },
  { 19, "ip_forwarding", types.boolean },
  { 23, "default_ttl", types.u8 },
  { 26, "interface_mtu", types.u16 },
  { 28, "broadcast_address", types.ip },
  { 31, "router_discovery", types.boolean },
  { 33, "static_routes", types.static_routes },
  { 35, "arp_timeout", types.u32 },
  { 40, "nis_domain", types.text },
  { 41, "nis_servers", types.ips },
  { 42, "ntp_servers", types.ips },
  { 43, "vendor_specific", types.raw },
  { 44, "netbios_name_servers", types.ips },
  { 46, "netbios_node_type", types.u8 },
  { 47, "netbios_scope", types.raw },
  { 50, "requested_address", types.ip },
  { 51, "lease_time", types.u32 },
  { 53, "message_type", types.message_type },
  { 54, "server_id", types.ip },
  { 55, "parameter_request_list", types.codes },
  { 56, "message", types.text },
  { 57, "max_message_size", types.u16 },
  { 58, "renewal_time", types.u32 },
  { 59, "rebinding_time", types.u32 },
  { 60, "vendor_class", types.raw },
  { 61, "client_id", types.raw },
  { 66, "tftp_server", types.text },
  { 67, "bootfile", types.text },
  { 77, "user_class", types.raw }, -- RFC 3004, but many send plain text
  { 80, "rapid_commit", types.flag }, -- RFC 4039
  { 81, "client_fqdn", types.raw }, -- RFC 4702
  { 82, "relay_agent", types.relay_agent }, -- RFC 3046
  { 91, "client_last_transaction_time", types.u32 }, -- RFC 4388
  { 92, "associated_addresses", types.ips }, -- RFC 4388
  { 93, "client_architecture", types.u16s }, -- RFC 4578
  { 94, "client_network_interface", types.raw }, -- RFC 4578
  { 97, "client_uuid", types.raw }, -- RFC 4578
  { 100, "posix_timezone", types.text }, -- RFC 4833
  { 101, "tzdb_timezone", types.text }, -- RFC 4833
  { 108, "ipv6_only_preferred", types.u32 }, -- RFC 8925
  { 114, "captive_portal", types.text }, -- RFC 8910
  { 116, "auto_configure", types.u8 }, -- RFC 2563
  { 118, "subnet_selection", types.ip }, -- RFC 3011
  { 119, "domain_search", types.raw }, -- RFC 3397
  { 120, "sip_servers", types.raw }, -- RFC 3361
  { 121, "classless_routes", types.routes }, -- RFC 3442
  { 124, "vendor_identifying_class", types.raw }, -- RFC 3925
  { 125, "vendor_identifying_options", types.raw }, -- RFC 3925
  { 138, "capwap_servers", types.ips }, -- RFC 5417
  { 150, "tftp_servers", types.ips }, -- RFC 5859
  { 249, "ms_classless_routes", types.routes }, -- as 121, what Windows asked for before there was RFC 3442
} do
  local code, name, kind = unpack(row)
  by_code[code] = { name = name, kind = kind, label = "DHCP option " .. name }
  M.codes[name] = code
end

-- ---- One option ---------------------------------------------------------------------------------------------------

-- The value of an option. Of one of fixed size it is the first that fits: some send it twice, or with more behind it.
local function value_of(kind, raw, parts)
  if not kind.size or #raw == kind.size then return kind.parse(raw) end
  for _, part in ipairs(parts or {}) do
    local value
    if #part == kind.size then value = kind.parse(part) end
    if value ~= nil then return value end
  end
  if #raw > kind.size then return kind.parse(sub(raw, 1, kind.size)) end
end

---@param code integer
---@param raw string
---@param parts? string[] that it came in, where these are several
---@return string|integer key name, or code if that or the bytes are not understood
---@return any value typed, or raw
---@return boolean|nil loose true: these bytes are not those that encode() makes of the value
function M.decode(code, raw, parts)
  local known = by_code[code]
  if not known then return code, raw end
  local kind = known.kind
  local value = value_of(kind, raw, parts)
  if value == nil then return code, raw end
  return known.name, value, kind.size and #raw ~= kind.size or kind == types.text and #value ~= #raw
end

---@param key string|integer name or code
---@return integer code; raises for an unknown name or a code out of range
function M.code_of(key)
  local code = M.codes[key] or key
  if type(code) == "number" and code >= 1 and code <= 254 and code % 1 == 0 then return code end
  local names = {}
  for name in pairs(M.codes) do names[#names + 1] = name end
  table.sort(names)
  local near = suggest.nearest(key, names)
  misuse.raise("unknown DHCP option %q%s a code from 1 to 254 is needed, or one of %s", tostring(key),
    near and (", did you mean %q?"):format(near) or ":", concat(names, ", "))
end

---@param key string|integer a name with a typed value, or a code with raw bytes
---@param value any
---@return integer code
---@return string raw; raises for an unknown name or a bad value
function M.encode(key, value)
  local code = M.code_of(key)
  if type(key) == "number" then return code, bytes.string("DHCP option " .. key, value) end
  local known = by_code[code]
  return code, known.kind.build(value, known.label)
end

-- ---- Several parts ------------------------------------------------------------------------------------------------

-- The values that an option is sent in: one of over 255 octets makes several (RFC 3396).
local function split(raw)
  local parts = {}
  for at = 1, math.max(#raw, 1), 255 do parts[#parts + 1] = sub(raw, at, at + 254) end
  return parts
end

local function is_usual_split(parts)
  for i = 1, #parts - 1 do
    if #parts[i] < 255 then return false end
  end
  return parts[#parts] ~= ""
end

-- Notes the parts of an option as they came, where parts() would make others of its value.
---@param kept table<integer, string[]>|nil by code
---@param code integer
---@param raw string
---@param loose boolean|nil from decode()
---@param parts string[]|nil that it came in, where these are several
---@return table<integer, string[]>|nil kept
function M.keep(kept, code, raw, loose, parts)
  if not loose and is_usual_split(parts) then return kept end
  kept = kept or {}
  kept[code] = parts or { raw }
  return kept
end

-- The values that an option is sent in: as they came, if these still mean the same.
---@param code integer
---@param raw string from encode()
---@param kept string[]|nil as keep() has noted them
---@return string[] parts
function M.parts(code, raw, kept)
  if not kept then return split(raw) end
  local _, usual = M.encode(M.decode(code, concat(kept), kept))
  return usual == raw and kept or split(raw)
end

-- What a value of an option has to be.
---@param code integer
---@return string|nil name nil: the option is not known, its value is raw bytes
---@return string|nil kind "u8", "u16", "u32", "i32", "raw", "text", "ip", "boolean", "flag", "ips", "u16s", "codes",
---  "message_type", "routes", "static_routes" or "relay_agent"
function M.kind_of(code)
  local known = by_code[code]
  if known then return known.name, known.kind.name end
end

local function check_value(key, value, is_pattern)
  local known = by_code[M.code_of(key)]
  if is_pattern and (value == false or type(value) == "function") then return end
  if type(key) == "number" then
    if is_pattern then bytes.string("DHCP option " .. key, value) end
  elseif known.kind.shape then
    known.kind.shape(value, known.label, is_pattern)
  elseif is_pattern and type(value) == "table" then
    misuse.raise("bad %s %s: a single value is needed", known.label, literal.show(value))
  end
end

local parts_list = schema.list('a list of the bytes of each part is needed, such as { "..." }', { "string" },
  { filled = true })

-- Raises an error unless parts of options, by code, have the shape that keep() gives them.
local function check_bytes(kept, is_pattern)
  if type(kept) ~= "table" then
    misuse.raise("bad option_bytes %s of dhcp4: a table by code is needed", tostring(kept))
  end
  for code, parts in pairs(kept) do
    if parts and type(parts) ~= "function" then parts_list:check("option_bytes", code, parts, is_pattern) end
  end
end

-- Raises an error for a name that is not known, a code out of range, and a table of another shape than an option has.
---@param options table by name or code
---@param is_pattern? boolean
function M.check(options, is_pattern)
  if type(options) ~= "table" then
    misuse.raise("bad options %s of dhcp4: a table of options by name or code is needed", tostring(options))
  end
  for key, value in pairs(options) do check_value(key, value, is_pattern) end
end

-- What there may be in the fields of a message that are about options.
M.inside = {
  options = M.check,
  option_bytes = check_bytes,
  option_order = schema.list('a list of names or codes of options is needed, such as { "message_type", 61 }',
    { "number", "string" }),
}

return M
