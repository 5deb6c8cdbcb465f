-- proto/icmp6.lua: ICMPv6 (RFC 4443) with neighbour discovery (RFC 4861 section 4, RFC 4191 section 2.2).
-- The packet that an error message quotes stays in payload, for proto.dissect(payload, "ipv6", true). Other messages
-- come as rest and payload. A new kind of message is an entry in M.types.
-- The checksum covers the IP addresses, so building a message takes them as a context.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local extensions = require "etherlua.proto.icmp_extensions"
local group = require "etherlua.net.group"
local icmp_messages = require "etherlua.proto.icmp_messages"
local layout = require "etherlua.proto.layout"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.proto.icmp6_options"
local schema = require "etherlua.proto.schema"

local format = string.format

local M = {}

local PROTOCOL, ROUTE = numbers.protocol.ICMP6, options.ROUTE_INFORMATION

M.DESTINATION_UNREACHABLE, M.PACKET_TOO_BIG, M.TIME_EXCEEDED, M.PARAMETER_PROBLEM = 1, 2, 3, 4
M.ECHO_REQUEST, M.ECHO_REPLY, M.ROUTER_SOLICITATION, M.ROUTER_ADVERTISEMENT = 128, 129, 133, 134
M.NEIGHBOUR_SOLICITATION, M.NEIGHBOUR_ADVERTISEMENT, M.REDIRECT = 135, 136, 137

-- ---- Kinds of message; see icmp_messages.lua ----------------------------------------------------------------------

-- Fields at fixed places, then options.
local function with_options(entries, text)
  local fixed = layout.new("icmp6", entries)
  local size = 4 + fixed.size
  return {
    names = schema.union(fixed.names, options.names),
    parse = function(message, fields)
      if #message < size then return bytes.short("icmp6", #message, size) end
      return options.parse(message, size + 1, fixed:parse(message, 5, fields))
    end,
    build = function(fields) return fixed:build(fields) .. options.build(fields) end,
    describe = text,
  }
end

local router_solicitation = with_options({ { "reserved", "u32" } }, function() return "" end)

local function prefixes_text(fields)
  local texts = {}
  for _, option in ipairs(fields.options) do
    if option.prefix then
      local kind = option.type == ROUTE and " route" or ""
      texts[#texts + 1] = format("%s %s/%d", kind, option.prefix, option.prefix_length)
    end
  end
  return table.concat(texts)
end

local router_advertisement = with_options({ { "cur_hop_limit", "u8" },
  { bits = { { "managed", 1 }, { "other", 1 }, { "home_agent", 1 }, { "preference", 2 }, { "reserved", 3 } } },
  { "router_lifetime", "u16" }, { "reachable_time", "u32" }, { "retrans_timer", "u32" } }, function(fields)
  return format(" lifetime %d%s%s%s", fields.router_lifetime, fields.managed and " managed" or "",
    fields.other and " other" or "", prefixes_text(fields))
end)

local solicitation = with_options({ { "reserved", "u32" }, { "target", "ip6" } },
  function(fields) return " who-has " .. fields.target end)

local advertisement = with_options({ { bits = { { "router", 1 }, { "solicited", 1 }, { "override", 1 },
  { "reserved", 29 } } }, { "target", "ip6" } }, function(fields)
  return format(" %s is-at %s%s%s%s", fields.target, fields.target_link_layer_address or "?",
    fields.router and " router" or "", fields.solicited and " solicited" or "", fields.override and " override" or "")
end)

local redirect = with_options({ { "reserved", "u32" }, { "target", "ip6" }, { "destination", "ip6" } },
  function(fields) return format(" %s to %s", fields.destination, fields.target) end)

local too_big = icmp_messages.fixed("icmp6", { { "mtu", "u32" } },
  function(fields) return format(" mtu %d", fields.mtu) end, true)

local parameter_problem = icmp_messages.fixed("icmp6", { { "pointer", "u32" } },
  function(fields) return format(" at %d", fields.pointer) end, true)

local extensible = icmp_messages.fixed("icmp6", { { "rest", "u32" } }, nil, true, icmp_messages.quoted_len6)

-- As of etherlua.proto.icmp_messages.
M.types = {
  [1] = { name = "destination unreachable", kind = extensible,
    codes = { [0] = "no route", "prohibited", "scope", "address", "port" } },
  [2] = { name = "packet too big", kind = too_big },
  [3] = { name = "time exceeded", kind = extensible, codes = { [0] = "in transit", "in reassembly" } },
  [4] = { name = "parameter problem", kind = parameter_problem,
    codes = { [0] = "header field", "next header", "option" } },
  [128] = { name = "echo request", kind = icmp_messages.echo, answer = 129 },
  [129] = { name = "echo reply", kind = icmp_messages.echo },
  [133] = { name = "router solicitation", kind = router_solicitation, answer = 134 },
  [134] = { name = "router advertisement", kind = router_advertisement },
  [135] = { name = "neighbour solicitation", kind = solicitation, answer = 136 },
  [136] = { name = "neighbour advertisement", kind = advertisement },
  [137] = { name = "redirect", kind = redirect },
  [143] = { name = "multicast listener report v2" },
}

local messages = icmp_messages.new("icmp6", "ICMPv6", "ipv6", M.types)

M.value_names = messages:value_names()
M.fields = schema.new("icmp6", messages:names(),
  { derived = { "checksum" }, inside = { options = options.list, extensions = extensions.fields } })

-- Where a neighbour solicitation for an address is sent: the group of its last 24 bits (RFC 4291 section 2.7.1) and the
-- MAC address of that.
---@param ip string
---@return string group
---@return string mac
function M.solicited_node(ip)
  local solicited = addr.ip_text("\xff\2\0\0\0\0\0\0\0\0\0\1\xff" .. bytes.ip("address", ip, 16):sub(14))
  return solicited, group.mac_text(solicited)
end

local DISCOVERY = { hop_limit = 255 }

-- What the IPv6 header of a message has where nobody says otherwise: neighbour discovery is dropped when it could have
-- come from afar (RFC 4861 sections 4.1 to 4.5).
---@param fields table
---@return table? fields of ipv6
function M.carrier(fields)
  local is_discovery = (fields.type or 0) >= M.ROUTER_SOLICITATION and fields.type <= M.REDIRECT
  return is_discovery and DISCOVERY or nil
end

---@param fields table
---@return string? name of the module for the payload
---@return string? note "quoted" if so: the packet may be cut off
---@return string? quoted the payload without extensions
function M.child(fields)
  return messages:child(fields)
end

---@param message string
---@return table? fields type, code, checksum and: identifier, sequence, payload (echo); mtu (packet too big) or pointer
---  (parameter problem), payload; in neighbour discovery options, source_link_layer_address, target_link_layer_address
---  (see icmp6_options.lua) and target (solicitation, advertisement, redirect), destination (redirect), router,
---  solicited, override (advertisement), or cur_hop_limit, managed, other, home_agent, preference (0 medium, 1 high,
---  3 low), router_lifetime (s), reachable_time, retrans_timer (ms); else rest, the second word as a number, and
---  payload; reserved if it is not zero; extensions as those of icmp.parse
---@return string? reason
function M.parse(message)
  return messages:parse(message)
end

---@param fields table as from parse; type is needed, and the addresses of its kind
---@param context? { src: string, dst: string } IPv6 addresses; needed unless checksum is given
---@return string message
function M.build(fields, context)
  M.fields:check(fields)
  local before, after = messages:parts(fields)
  local start = not fields.checksum and bytes.pseudo_sum(context, PROTOCOL, 4 + #after) or nil
  return bytes.with_checksum(before, after, fields.checksum, start)
end

---@param message string
---@param context { src: string, dst: string } IPv6 addresses
---@return boolean false also for a truncated message
function M.checksum_ok(message, context)
  return #message >= 8 and bytes.checksum(message, bytes.pseudo_sum(context, PROTOCOL, #message)) == 0
end

-- Whether a message says that the packet in it went no further.
---@param fields table from parse
---@return boolean
function M.is_error(fields)
  return M.child(fields) ~= nil
end

-- What a request and its answers have in common.
M.exchange = icmp_messages.exchange

---@param reply table from parse
---@param request table from parse
---@return boolean
function M.answers(reply, request)
  return messages:answers(reply, request)
end

-- What a reply has where nobody says otherwise; of an advertisement (RFC 4861 section 7.2.4) all of it.
---@param request table from parse
---@param mac string of the host that answers
---@return table fields
function M.turn(request, mac)
  local fields = messages:turn(request)
  if request.type == M.NEIGHBOUR_SOLICITATION then
    fields.target, fields.target_link_layer_address = request.target, mac
    fields.solicited, fields.override = true, true
  end
  return fields
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return messages:describe(fields)
end

return M
