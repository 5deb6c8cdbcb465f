-- proto/dhcp4_options.lua: the table of DHCP options (RFC 2132 and later): their names, codes and types, and how a
-- value of each type is read, written, and taken from a command line. A new option is one line in the table at the end.
-- Knows nothing of messages: long options, their order and overload are dhcp4.lua's, which exports what users need.

local bytes = require "etherlua.net.bytes"

local byte, char, concat, sub = string.byte, string.char, table.concat, string.sub
local u16, u32, put8, put32, check = bytes.u16, bytes.u32, bytes.put8, bytes.put32, bytes.check
local misuse, ip4_at = bytes.misuse, bytes.ip4_at

local M = {}

---@type table<string, integer> name -> code
M.codes = {}

-- A command line's "0x0102" as bytes, anything else as it is.
local function literal(text)
  return text:sub(1, 2) == "0x" and bytes.unhex(text:sub(3)) or text
end

local function split(text)
  local items = {}
  for item in (text .. ","):gmatch("(.-),") do items[#items + 1] = item end
  return items
end

-- ---- Types of options ---------------------------------------------------------------------------------------------
-- parse(raw) -> value, or nil if the bytes do not fit. build(value, label) -> raw, raises for a bad value; the label
-- names the option. text(text, label) -> value, from a command line. hex: a text in hex means a value of this type.

local types = {}

local function number_type(size, low, high)
  return {
    hex = true,
    parse = function(raw)
      if #raw ~= size then return nil end
      local value = size == 1 and byte(raw) or size == 2 and u16(raw, 1) or u32(raw, 1)
      return value > high and value - 0x100000000 or value
    end,
    build = function(value, label)
      return sub(put32(label, check(label, value, low, high) % 0x100000000), 5 - size)
    end,
    text = function(text, label) return check(label, tonumber(text) or text, low, high) end,
  }
end

types.u8, types.u16 = number_type(1, 0, 0xff), number_type(2, 0, 0xffff)
types.u32, types.i32 = number_type(4, 0, 0xffffffff), number_type(4, -0x80000000, 0x7fffffff)

-- Opaque bytes.
types.raw = {
  hex = true,
  parse = function(raw) return raw end,
  build = function(value, label) return bytes.string(label, value) end,
  text = literal,
}

-- Text, without the NULs that some put behind it (RFC 2132 section 2).
types.text = {
  hex = true,
  parse = function(raw)
    local size = #raw
    while size > 0 and byte(raw, size) == 0 do size = size - 1 end
    return sub(raw, 1, size)
  end,
  build = types.raw.build,
  text = literal,
}

types.ip = {
  parse = function(raw) return #raw == 4 and ip4_at(raw, 1) or nil end,
  build = function(value, label) return bytes.ip(label, value, 4) end,
  text = function(text, label) return ip4_at(bytes.ip(label, text, 4), 1) end,
}

local BOOLEANS, BOOLEAN_TEXTS = { ["\0"] = false, ["\1"] = true }, { ["false"] = false, ["true"] = true }

types.boolean = {
  parse = function(raw) return BOOLEANS[raw] end,
  build = function(value, label)
    if type(value) ~= "boolean" then misuse("bad %s %s: true or false is needed", label, tostring(value)) end
    return value and "\1" or "\0"
  end,
  text = function(text, label)
    if BOOLEAN_TEXTS[text] == nil then misuse("bad %s %q: true or false is needed", label, text) end
    return BOOLEAN_TEXTS[text]
  end,
}

-- There without a value.
types.flag = {
  parse = function(raw) return raw == "" or nil end,
  build = function(value, label)
    if value ~= true then misuse("bad %s %s: true is the only value", label, tostring(value)) end
    return ""
  end,
  text = function(text, label)
    types.flag.build(types.boolean.text(text, label), label)
    return true
  end,
}

-- What lists and other values of several parts have in common: none at all is no value (and its bytes do not fit).
local function check_list(value, label)
  if type(value) ~= "table" or next(value) == nil then
    misuse("bad %s %s: a table with at least one value is needed", label, tostring(value))
  end
  return value
end

local function list_type(item, size)
  return {
    parse = function(raw)
      if raw == "" or #raw % size ~= 0 then return nil end
      local list = {}
      for at = 1, #raw, size do list[#list + 1] = item.parse(sub(raw, at, at + size - 1)) end
      return list
    end,
    build = function(list, label)
      local parts = {}
      for i, value in ipairs(check_list(list, label)) do parts[i] = item.build(value, label) end
      return concat(parts)
    end,
    text = function(text, label)
      local list = split(text)
      for i, value in ipairs(list) do list[i] = item.text(value, label) end
      return list
    end,
  }
end

types.ips, types.u16s = list_type(types.ip, 4), list_type(types.u16, 2)

-- Codes of options, which a command line may name.
types.codes = list_type({
  parse = types.u8.parse,
  build = types.u8.build,
  text = function(text, label) return M.codes[text] or types.u8.text(text, label) end,
}, 1)

local TYPE_NAMES = { "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM" }
local TYPE_NUMBERS = {}
for number, name in ipairs(TYPE_NAMES) do TYPE_NUMBERS[name] = number end

types.message_type = {
  hex = true,
  parse = function(raw) return #raw == 1 and (TYPE_NAMES[byte(raw)] or byte(raw)) or nil end,
  build = function(value, label)
    local number = TYPE_NUMBERS[value] or type(value) == "number" and value
    if not number then
      misuse("bad %s %q: 0 to 255 or one of %s is needed", label, tostring(value), concat(TYPE_NAMES, ", "))
    end
    return put8(label, number)
  end,
  text = function(text, label)
    return types.message_type.parse(types.message_type.build(tonumber(text) or text:upper(), label))
  end,
}

local function build_prefix(prefix, label)
  local net, width = tostring(prefix):match("^(.+)/(%d+)$")
  if not net then misuse("bad %s %q: a prefix such as 10.0.0.0/8 is needed", label, tostring(prefix)) end
  width = check(label .. " prefix length", tonumber(width), 0, 32)
  return char(width) .. sub(bytes.ip(label, net, 4), 1, math.ceil(width / 8))
end

-- RFC 3442: as many octets of a destination as its prefix length needs.
types.routes = {
  parse = function(raw)
    local routes, at = {}, 1
    while at <= #raw do
      local width = byte(raw, at)
      local router_at = at + 1 + math.ceil(width / 8)
      if width > 32 or router_at + 3 > #raw then return nil end
      local net = ip4_at(sub(raw, at + 1, router_at - 1) .. "\0\0\0\0", 1)
      routes[#routes + 1] = { prefix = net .. "/" .. width, router = ip4_at(raw, router_at) }
      at = router_at + 4
    end
    return raw ~= "" and routes or nil
  end,
  build = function(routes, label)
    local parts = {}
    for i, route in ipairs(check_list(routes, label)) do
      parts[i] = build_prefix(route.prefix, label) .. bytes.ip(label .. " router", route.router, 4)
    end
    return concat(parts)
  end,
  text = function(text, label)
    local routes = split(text)
    for i, item in ipairs(routes) do
      local prefix, router = item:match("^(.-)=(.*)$")
      if not prefix then misuse("bad %s %q: PREFIX=ROUTER such as 10.0.0.0/8=10.0.0.1 is needed", label, item) end
      routes[i] = { prefix = prefix, router = router }
    end
    types.routes.build(routes, label)
    return routes
  end,
}

local SUB_NAMES = { "circuit_id", "remote_id" }
local SUB_CODES = { circuit_id = 1, remote_id = 2 }

-- RFC 3046 section 2.0: no padding, no end.
local function sub_options(raw)
  local values, at = {}, 1
  while at <= #raw do
    local code, size = byte(raw, at, at + 1)
    local key = SUB_NAMES[code] or code
    if at == #raw or at + 1 + size > #raw or values[key] then return nil end
    values[key] = sub(raw, at + 2, at + 1 + size)
    at = at + 2 + size
  end
  return raw ~= "" and values or nil
end

types.relay_agent = {
  parse = sub_options,
  build = function(values, label)
    local codes, by_code = {}, {}
    for key, value in pairs(check_list(values, label)) do
      local code = check(label .. " sub-option", SUB_CODES[key] or key, 0, 255)
      codes[#codes + 1], by_code[code] = code, bytes.string(label .. " sub-option", value, 255)
    end
    table.sort(codes)
    for i, code in ipairs(codes) do codes[i] = char(code, #by_code[code]) .. by_code[code] end
    return concat(codes)
  end,
  text = function(text, label)
    local values = {}
    for _, item in ipairs(split(text)) do
      local key, value = item:match("^(.-)=(.*)$")
      if not (SUB_CODES[key] or tonumber(key)) then
        misuse("bad %s %q: circuit_id=TEXT, remote_id=TEXT or CODE=TEXT is needed", label, item)
      end
      values[SUB_NAMES[tonumber(key)] or tonumber(key) or key] = literal(value)
    end
    types.relay_agent.build(values, label)
    return values
  end,
}

-- ---- The options --------------------------------------------------------------------------------------------------
-- RFC 2132 unless noted. Option overload (52) is missing on purpose: dhcp4.lua makes and reads it.

local by_code = {}

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
} do
  local code, name, kind = unpack(row)
  by_code[code] = { name = name, kind = kind, label = "DHCP option " .. name }
  M.codes[name] = code
end

-- ---- One option ---------------------------------------------------------------------------------------------------

---@param code integer
---@param raw string
---@return string|integer key name, or code if that or the bytes are not understood
---@return any value typed, or raw
function M.decode(code, raw)
  local known = by_code[code]
  if known then
    local value = known.kind.parse(raw)
    if value ~= nil then return known.name, value end
  end
  return code, raw
end

---@param key string|integer name or code
---@return integer code; raises for an unknown name or a code out of range
function M.code_of(key)
  local code = M.codes[key] or key
  if type(code) == "number" and code >= 1 and code <= 254 and code % 1 == 0 then return code end
  local names = {}
  for name in pairs(M.codes) do names[#names + 1] = name end
  table.sort(names)
  misuse("unknown DHCP option %q: a code from 1 to 254 is needed, or one of %s", tostring(key), concat(names, ", "))
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

---@param code_or_name string|integer "60", 60 or "vendor_class"
---@param text string value; hex such as 0x0102 is raw bytes for any option but a number
---@return string|integer key
---@return any value for the table of options; raises a one-line error that says what is allowed
function M.option(code_or_name, text)
  local code = M.code_of(tonumber(code_or_name) or code_or_name)
  local known, is_hex = by_code[code], text:sub(1, 2) == "0x"
  if not known or (is_hex and not known.kind.hex) then return code, literal(text) end
  return known.name, known.kind.text(text, known.label)
end

return M
