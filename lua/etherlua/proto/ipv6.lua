-- proto/ipv6.lua: the IPv6 header (RFC 8200); its chain of extension headers is in ipv6_extensions.lua.
-- Fragments are not put together, jumbograms (RFC 2675) are not known.

local bit = require "bit"
local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local extensions = require "etherlua.proto.ipv6_extensions"
local group = require "etherlua.net.group"
local numbers = require "etherlua.net.numbers"
local schema = require "etherlua.proto.schema"

local band, rshift = bit.band, bit.rshift
local byte, format, sub = string.byte, string.format, string.sub
local u16, u32, put8, put16, put32 = bytes.u16, bytes.u32, bytes.put8, bytes.put16, bytes.put32
local PROTOCOLS = numbers.protocol

local M = {}

-- Protocol -> the module that reads the payload.
M.next = {
  [PROTOCOLS.TCP] = "tcp",
  [PROTOCOLS.UDP] = "udp",
  [PROTOCOLS.ICMP6] = "icmp6",
}

M.selectors = { "protocol" }
M.short = "ip6"

-- No source is one that a host may have (RFC 4291 section 2.5.2).
M.fields = schema.new("ipv6", { "version", "traffic_class", "flow_label", "payload_length", "next_header", "hop_limit",
  "src", "dst", "extension_headers", "protocol", "payload" },
  { defaults = { src = "::" }, derived = { "version", "payload_length", "next_header" },
    inside = { extension_headers = extensions.list } })

M.UNSPECIFIED = "::"

-- Whether an address stands for several hosts: multicast (RFC 4291 section 2.7).
---@param ip string
---@return boolean
M.is_group = group.is_group_ip

local function fragment_header(fields)
  for _, header in ipairs(fields.extension_headers or {}) do
    if header.type == extensions.FRAGMENT then return header end
  end
end

-- The address that a host makes of a prefix and its MAC address (RFC 4862 section 5.5.3 d, RFC 4291 appendix A).
---@param network string address, of which the first 64 bits count
---@param mac string
---@return string ip
function M.address_of(network, mac)
  local octets = addr.mac_bytes(mac)
  local first = octets:byte()
  local id = string.char(first % 4 >= 2 and first - 2 or first + 2) .. sub(octets, 2, 3) .. "\xff\xfe" .. sub(octets, 4)
  return addr.ip_text(sub(addr.ip_bytes(network), 1, 8) .. id)
end

---@param fields table
---@return string? name of the module for the payload
---@return string? note why there is none
function M.child(fields)
  local fragment = fragment_header(fields)
  -- An atomic fragment (RFC 6946) is a whole datagram.
  if fragment and (fragment.mf or fragment.fragment_offset > 0) then return nil, "fragment" end
  return M.next[fields.protocol]
end

---@param packet string
---@param quoted? boolean it is quoted by an ICMPv6 error, which may have cut it off behind the extension headers
---@return table? fields version, traffic_class, flow_label, payload_length, next_header, hop_limit, src, dst,
---  extension_headers = list, see ipv6_extensions.lua, protocol (at the end of the chain), payload
---@return string? reason
function M.parse(packet, quoted)
  local have = #packet
  if have < 40 then return bytes.short("ipv6", have, 40) end
  local word, length, next_header = u32(packet, 1), u16(packet, 5), byte(packet, 7)
  if rshift(word, 28) ~= 6 then return nil, format("ipv6: version %d", rshift(word, 28)) end
  local stop = 40 + length
  if have < stop and quoted then stop = have end
  if have < stop then return bytes.short("ipv6", have, stop, "bytes") end
  local headers, protocol, at = extensions.parse(packet, next_header, stop)
  if not headers then return nil, protocol end
  return {
    version = 6,
    traffic_class = band(rshift(word, 20), 0xff),
    flow_label = band(word, 0xfffff),
    payload_length = length,
    next_header = next_header,
    hop_limit = byte(packet, 8),
    src = addr.ip_text(sub(packet, 9, 24)),
    dst = addr.ip_text(sub(packet, 25, 40)),
    extension_headers = headers,
    protocol = protocol,
    payload = sub(packet, at, stop),
  }
end

---@param fields table as from parse; src, dst and protocol (or, without extension headers, next_header) are needed.
---  payload_length and all next headers are filled in; payload_length and that of the fixed header may be given
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local headers, payload = fields.extension_headers or {}, bytes.string("ipv6 payload", fields.payload)
  local protocol = fields.protocol or #headers == 0 and fields.next_header or nil
  local chain, first = extensions.build(headers, bytes.check("ipv6 protocol", protocol, 0, 255))
  local word = bytes.check("ipv6 version", fields.version or 6, 0, 15) * 0x10000000
    + bytes.check("ipv6 traffic_class", fields.traffic_class or 0, 0, 0xff) * 0x100000
    + bytes.check("ipv6 flow_label", fields.flow_label or 0, 0, 0xfffff)
  return put32("ipv6 first word", word) .. put16("ipv6 payload_length", fields.payload_length or #chain + #payload)
    .. put8("ipv6 next_header", fields.next_header or first) .. put8("ipv6 hop_limit", fields.hop_limit or 64)
    .. bytes.ip("ipv6 src", fields.src, 16) .. bytes.ip("ipv6 dst", fields.dst, 16) .. chain .. payload
end

-- What a reply has where nobody says otherwise. No source when the request went to a group: who answers has to say.
---@param request table from parse
---@return table fields
function M.turn(request)
  return { src = not M.is_group(request.dst) and request.dst or nil, dst = request.src }
end

---@param fields table from parse
---@return string
function M.describe(fields)
  local fragment, text = fragment_header(fields), ""
  if fragment then
    text = format(" frag id 0x%08x offset %d%s", fragment.identification, fragment.fragment_offset * 8,
      fragment.mf and "+" or "")
  end
  return format("IPv6 %s > %s hlim %d%s%s", fields.src, fields.dst, fields.hop_limit, text,
    M.next[fields.protocol] and "" or format(" protocol %d", fields.protocol))
end

return M
