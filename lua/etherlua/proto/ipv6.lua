-- proto/ipv6.lua: the IPv6 header and its chain of extension headers (RFC 8200; authentication header RFC 4302).
-- The content of extension headers stays raw bytes, but for the fragment header. Fragments are not put together,
-- jumbograms (RFC 2675) are not known.

local bit = require "bit"
local addr = require "etherlua.addr"
local bytes = require "etherlua.bytes"

local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local byte, format, sub = string.byte, string.format, string.sub
local u16, u32, put8, put16, put32 = bytes.u16, bytes.u32, bytes.put8, bytes.put16, bytes.put32

local M = {}

-- Protocol -> the module that reads the payload.
M.next = {
  [17] = "udp",
  [58] = "icmp6",
}

M.HOP_BY_HOP, M.ROUTING, M.FRAGMENT, M.AUTHENTICATION, M.DESTINATION_OPTIONS = 0, 43, 44, 51, 60

-- Extension header -> the unit of its length octet, and how many units that octet does not count.
local UNIT = { [0] = 8, [43] = 8, [60] = 8, [51] = 4 }
local UNCOUNTED = { [0] = 1, [43] = 1, [60] = 1, [51] = 2 }

local function fragment_header(fields)
  for _, header in ipairs(fields.extension_headers or {}) do
    if header.type == M.FRAGMENT then return header end
  end
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

local function extension_size(packet, kind, at)
  if kind == M.FRAGMENT then return 8 end
  return (byte(packet, at + 1) + UNCOUNTED[kind]) * UNIT[kind]
end

local function parse_extension(packet, kind, at, size)
  if kind ~= M.FRAGMENT then return { type = kind, data = sub(packet, at + 2, at + size - 1) } end
  local word = u16(packet, at + 2)
  local identification = u32(packet, at + 4)
  return { type = kind, fragment_offset = rshift(word, 3), mf = band(word, 1) ~= 0, identification = identification }
end

-- Follow the chain from position 41: the list, the protocol at its end, and where that begins.
local function parse_chain(packet, kind, stop)
  local headers, at = {}, 41
  while UNIT[kind] or kind == M.FRAGMENT do
    local have = stop - at + 1
    local what = format("bytes of extension header %d", kind)
    if have < 8 then return bytes.short("ipv6", have, 8, what) end
    local size = extension_size(packet, kind, at)
    if have < size then return bytes.short("ipv6", have, size, what) end
    local header = parse_extension(packet, kind, at, size)
    headers[#headers + 1] = header
    kind, at = byte(packet, at), at + size
    -- Behind the header of a later fragment comes data, whatever its next header says (RFC 8200 section 4.5).
    if (header.fragment_offset or 0) > 0 then break end
  end
  return headers, kind, at
end

---@param packet string
---@return table? fields version, traffic_class, flow_label, payload_length, next_header, hop_limit, src, dst,
--- extension_headers = list of { type, data = what follows its first two octets } or, for a fragment header,
--- { type = 44, fragment_offset (units of 8 octets), mf, identification }, protocol (at the end of the chain), payload
---@return string? reason
function M.parse(packet)
  local have = #packet
  if have < 40 then return bytes.short("ipv6", have, 40) end
  local word, length, next_header = u32(packet, 1), u16(packet, 5), byte(packet, 7)
  if rshift(word, 28) ~= 6 then return nil, format("ipv6: version %d", rshift(word, 28)) end
  if have < 40 + length then return bytes.short("ipv6", have, 40 + length, "bytes") end
  local headers, protocol, at = parse_chain(packet, next_header, 40 + length)
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
    payload = sub(packet, at, 40 + length),
  }
end

local function build_fragment(header, next_header)
  local offset = bytes.check("ipv6 fragment_offset", header.fragment_offset or 0, 0, 0x1fff)
  return put8("ipv6 next_header", next_header) .. "\0"
    .. put16("ipv6 fragment word", bor(lshift(offset, 3), header.mf and 1 or 0))
    .. put32("ipv6 fragment identification", header.identification or 0)
end

local function build_extension(header, next_header)
  local kind = header.type
  if kind == M.FRAGMENT then return build_fragment(header, next_header) end
  if not UNIT[kind] then
    bytes.misuse("bad ipv6 extension header type %s: 0, 43, 44, 51 or 60 is allowed", tostring(kind))
  end
  -- Eight octets are the least, also where the unit is four.
  local body = "??" .. bytes.string("ipv6 extension header data", header.data)
  body = bytes.pad_to(body .. ("\0"):rep(8 - #body), UNIT[kind])
  return put8("ipv6 next_header", next_header)
    .. put8("ipv6 extension header length", #body / UNIT[kind] - UNCOUNTED[kind]) .. sub(body, 3)
end

local function build_chain(headers, protocol)
  local chain, next_header = {}, protocol
  for i = #headers, 1, -1 do
    chain[i] = build_extension(headers[i], next_header)
    next_header = headers[i].type
  end
  return table.concat(chain), next_header
end

---@param fields table as from parse; src, dst and protocol (or, without extension headers, next_header) are needed.
--- payload_length and all next headers are filled in; payload_length and that of the fixed header may be given
---@return string packet
function M.build(fields)
  local headers, payload = fields.extension_headers or {}, bytes.string("ipv6 payload", fields.payload)
  local protocol = fields.protocol or #headers == 0 and fields.next_header or nil
  local chain, first = build_chain(headers, bytes.check("ipv6 protocol", protocol, 0, 255))
  local word = bytes.check("ipv6 version", fields.version or 6, 0, 15) * 0x10000000
    + bytes.check("ipv6 traffic_class", fields.traffic_class or 0, 0, 0xff) * 0x100000
    + bytes.check("ipv6 flow_label", fields.flow_label or 0, 0, 0xfffff)
  return put32("ipv6 first word", word) .. put16("ipv6 payload_length", fields.payload_length or #chain + #payload)
    .. put8("ipv6 next_header", fields.next_header or first) .. put8("ipv6 hop_limit", fields.hop_limit or 64)
    .. bytes.ip("ipv6 src", fields.src, 16) .. bytes.ip("ipv6 dst", fields.dst, 16) .. chain .. payload
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
