-- proto/icmp6.lua: ICMPv6 (RFC 4443) with neighbour solicitation and advertisement (RFC 4861 sections 4.3, 4.4).
-- Other messages come as rest and payload. A new kind of message is an entry in M.types.
-- The checksum covers the IP addresses, so building a message takes them as a context.

local bit = require "bit"
local addr = require "etherlua.addr"
local bytes = require "etherlua.bytes"
local icmp = require "etherlua.proto.icmp"

local band, bor = bit.band, bit.bor
local byte, format, sub = string.byte, string.format, string.sub
local put8 = bytes.put8

local M = {}

local PROTOCOL = 58

M.ECHO_REQUEST, M.ECHO_REPLY, M.NEIGHBOUR_SOLICITATION, M.NEIGHBOUR_ADVERTISEMENT = 128, 129, 135, 136

-- ---- Neighbour discovery options (RFC 4861 section 4.6) -----------------------------------------------------------

local LINK_LAYER = { "source_link_layer_address", "target_link_layer_address" }

-- From position `at` to the end into fields; an option of length zero makes the message invalid.
local function parse_options(message, at, fields)
  local options, have = {}, #message
  while at <= have do
    local kind, units = byte(message, at, at + 1)
    local size = (units or 1) * 8
    if size == 0 then return nil, format("icmp6: option %d has length 0", kind) end
    if at + size - 1 > have then
      return bytes.short("icmp6", have - at + 1, size, format("bytes of option %d", kind))
    end
    local name, data = LINK_LAYER[kind], sub(message, at + 2, at + size - 1)
    if name and size == 8 and not fields[name] then
      fields[name] = bytes.mac_at(data, 1)
    else
      options[#options + 1] = { type = kind, data = data }
    end
    at = at + size
  end
  fields.options = options
  return fields
end

local function build_option(kind, data)
  local body = bytes.pad_to("??" .. bytes.string("icmp6 option data", data), 8)
  return put8("icmp6 option type", kind) .. put8("icmp6 option length", #body / 8) .. sub(body, 3)
end

local function build_options(fields)
  local parts = {}
  for kind, name in ipairs(LINK_LAYER) do
    if fields[name] then parts[#parts + 1] = build_option(kind, bytes.mac("icmp6 " .. name, fields[name])) end
  end
  for _, option in ipairs(fields.options or {}) do parts[#parts + 1] = build_option(option.type, option.data) end
  return table.concat(parts)
end

-- ---- Kinds of message; see icmp.lua -------------------------------------------------------------------------------

local function parse_target(message, fields)
  if #message < 24 then return bytes.short("icmp6", #message, 24) end
  fields.target = addr.ip_text(sub(message, 9, 24))
  return parse_options(message, 25, fields)
end

local solicitation = {
  parse = parse_target,
  build = function(fields)
    return "\0\0\0\0" .. bytes.ip("icmp6 target", fields.target, 16) .. build_options(fields)
  end,
  describe = function(fields) return " who-has " .. fields.target end,
}

local advertisement = {
  parse = function(message, fields)
    local flags = byte(message, 5)
    fields.router, fields.solicited = band(flags, 0x80) ~= 0, band(flags, 0x40) ~= 0
    fields.override = band(flags, 0x20) ~= 0
    return parse_target(message, fields)
  end,
  build = function(fields)
    local flags = bor(fields.router and 0x80 or 0, fields.solicited and 0x40 or 0, fields.override and 0x20 or 0)
    return put8("icmp6 flags", flags) .. "\0\0\0" .. bytes.ip("icmp6 target", fields.target, 16)
      .. build_options(fields)
  end,
  describe = function(fields)
    return format(" %s is-at %s%s%s%s", fields.target, fields.target_link_layer_address or "?",
      fields.router and " router" or "", fields.solicited and " solicited" or "", fields.override and " override" or "")
  end,
}

local too_big = {
  parse = icmp.other.parse,
  build = icmp.other.build,
  describe = function(fields) return format(" mtu %d", fields.rest) end,
}

-- Type -> name, kind of message, names of codes, as in icmp.lua.
M.types = {
  [1] = { name = "destination unreachable", codes = { [0] = "no route", "prohibited", "scope", "address", "port" } },
  [2] = { name = "packet too big", kind = too_big },
  [3] = { name = "time exceeded", codes = { [0] = "in transit", "in reassembly" } },
  [4] = { name = "parameter problem" },
  [128] = { name = "echo request", kind = icmp.echo },
  [129] = { name = "echo reply", kind = icmp.echo },
  [133] = { name = "router solicitation" },
  [134] = { name = "router advertisement" },
  [135] = { name = "neighbour solicitation", kind = solicitation },
  [136] = { name = "neighbour advertisement", kind = advertisement },
  [143] = { name = "multicast listener report v2" },
}

---@param message string
---@return table? fields type, code, checksum and: identifier, sequence, payload (echo); target,
--- source_link_layer_address, target_link_layer_address, options = list of { type, data }, in advertisements router,
--- solicited, override (neighbour discovery); or rest, the second word as a number, and payload
---@return string? reason
function M.parse(message)
  return icmp.parse_with("icmp6", M.types, message)
end

---@param fields table as from parse; type is needed
---@param context? { src: string, dst: string } IPv6 addresses; needed unless checksum is given
---@return string message
function M.build(fields, context)
  local before, after = icmp.parts_with(M.types, fields)
  local start = not fields.checksum and bytes.pseudo_sum(context, PROTOCOL, 4 + #after) or nil
  return bytes.with_checksum(before, after, fields.checksum, start)
end

---@param message string
---@param context { src: string, dst: string } IPv6 addresses
---@return boolean false also for a truncated message
function M.checksum_ok(message, context)
  return #message >= 8 and bytes.checksum(message, bytes.pseudo_sum(context, PROTOCOL, #message)) == 0
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return icmp.describe_with("ICMPv6", M.types, fields)
end

return M
