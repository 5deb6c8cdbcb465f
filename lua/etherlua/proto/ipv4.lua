-- proto/ipv4.lua: the IPv4 header (RFC 791).
-- Fragments are recognised but not put together: child() names no module for them.

local bit = require "bit"
local bytes = require "etherlua.net.bytes"
local group = require "etherlua.net.group"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.proto.options"
local schema = require "etherlua.proto.schema"

local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local byte, format, sub = string.byte, string.format, string.sub
local u16, put8, put16 = bytes.u16, bytes.put8, bytes.put16
local PROTOCOLS = numbers.protocol

local M = {}

-- Protocol -> the module that reads the payload.
M.next = {
  [PROTOCOLS.ICMP] = "icmp",
  [PROTOCOLS.TCP] = "tcp",
  [PROTOCOLS.UDP] = "udp",
}

M.selectors = { "protocol" }
M.short = "ip4"

-- No source is one that a host may have (RFC 1122 section 3.2.1.3).
M.fields = schema.new("ipv4", { "version", "ihl", "tos", "total_length", "identification", "reserved_flag", "df", "mf",
  "fragment_offset", "ttl", "protocol", "header_checksum", "src", "dst", "options", "payload" },
  { defaults = { src = "0.0.0.0" }, derived = { "version", "ihl", "total_length", "header_checksum" },
    inside = { options = options.list } })

-- Types of options: RFC 791 section 3.1, RFC 2113.
M.RECORD_ROUTE, M.TIMESTAMP, M.ROUTER_ALERT = 7, 68, 148

M.UNSPECIFIED = "0.0.0.0"

-- Whether an address stands for several hosts: multicast and the limited broadcast (RFC 1122 section 3.2.1.3). That of
-- a subnet cannot be told without its prefix.
---@param ip string
---@return boolean
M.is_group = group.is_group_ip

local function is_fragment(fields)
  return fields.mf or fields.fragment_offset > 0
end

---@param fields table
---@return string? name of the module for the payload
---@return string? note why there is none
function M.child(fields)
  if is_fragment(fields) then return nil, "fragment" end
  return M.next[fields.protocol]
end

-- The lengths in a header of at least 20 bytes: header size and total length, or nil and why they are wrong.
local function lengths(packet, quoted)
  local have, first = #packet, byte(packet)
  local size, total = band(first, 15) * 4, u16(packet, 3)
  if rshift(first, 4) ~= 4 then return nil, format("ipv4: version %d", rshift(first, 4)) end
  if size < 20 then return nil, format("ipv4: ihl %d is under 5", size / 4) end
  if total < size and quoted then return size, have end -- some who quote have changed it
  if total < size then return nil, format("ipv4: total_length %d is under its %d header bytes", total, size) end
  local needed = quoted and size or total
  if have < needed then return bytes.short("ipv4", have, needed, "bytes") end
  return size, total
end

---@param packet string
---@param quoted? boolean it is quoted by an ICMP error, which may have cut it off behind the header
---@return table? fields version, ihl, tos, total_length, identification, df, mf, fragment_offset (units of 8 octets),
---  ttl, protocol, header_checksum, src, dst, options = list of { type, data } (see options.lua), payload (without what
---  follows total_length); reserved_flag = true if that bit is set
---@return string? reason
function M.parse(packet, quoted)
  if #packet < 20 then return bytes.short("ipv4", #packet, 20) end
  local size, total = lengths(packet, quoted)
  if not size then return nil, total end
  local list, reason = options.parse("ipv4", sub(packet, 21, size))
  if not list then return nil, reason end
  local fragment = u16(packet, 7)
  return {
    version = 4,
    ihl = size / 4,
    tos = byte(packet, 2),
    total_length = u16(packet, 3),
    identification = u16(packet, 5),
    reserved_flag = band(fragment, 0x8000) ~= 0 or nil,
    df = band(fragment, 0x4000) ~= 0,
    mf = band(fragment, 0x2000) ~= 0,
    fragment_offset = band(fragment, 0x1fff),
    ttl = byte(packet, 9),
    protocol = byte(packet, 10),
    header_checksum = u16(packet, 11),
    src = bytes.ip4_at(packet, 13),
    dst = bytes.ip4_at(packet, 17),
    options = list,
    payload = sub(packet, size + 1, total),
  }
end

local function fragment_word(fields)
  local offset = bytes.check("ipv4 fragment_offset", fields.fragment_offset or 0, 0, 0x1fff)
  return bor(bytes.flag("ipv4 reserved_flag", fields.reserved_flag) and 0x8000 or 0,
    bytes.flag("ipv4 df", fields.df) and 0x4000 or 0, bytes.flag("ipv4 mf", fields.mf) and 0x2000 or 0, offset)
end

---@param fields table as from parse; protocol, src and dst are needed. ihl, total_length and header_checksum are filled
---  in unless given; options may be raw bytes and are padded to a multiple of 4
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local list = options.build("ipv4", fields.options)
  local payload = bytes.string("ipv4 payload", fields.payload)
  local ihl = bytes.check("ipv4 ihl", fields.ihl or 5 + #list / 4, 0, 15)
  local version = bytes.check("ipv4 version", fields.version or 4, 0, 15)
  local before = put8("ipv4 version and ihl", lshift(version, 4) + ihl) .. put8("ipv4 tos", fields.tos or 0)
    .. put16("ipv4 total_length", fields.total_length or 20 + #list + #payload)
    .. put16("ipv4 identification", fields.identification or 0) .. put16("ipv4 flags", fragment_word(fields))
    .. put8("ipv4 ttl", fields.ttl or 64) .. put8("ipv4 protocol", fields.protocol)
  local after = bytes.ip("ipv4 src", fields.src, 4) .. bytes.ip("ipv4 dst", fields.dst, 4) .. list
  return bytes.with_checksum(before, after, fields.header_checksum) .. payload
end

---@param packet string
---@return boolean false also for a truncated header
function M.checksum_ok(packet)
  if #packet < 20 then return false end
  local size = band(byte(packet), 15) * 4
  return size >= 20 and #packet >= size and bytes.checksum(sub(packet, 1, size)) == 0
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
  local fragment = ""
  if is_fragment(fields) then
    fragment = format(" frag id 0x%04x offset %d%s", fields.identification, fields.fragment_offset * 8,
      fields.mf and "+" or "")
  end
  return format("IPv4 %s > %s ttl %d%s%s", fields.src, fields.dst, fields.ttl, fragment,
    M.next[fields.protocol] and "" or format(" protocol %d", fields.protocol))
end

return M
