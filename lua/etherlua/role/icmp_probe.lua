-- role/icmp_probe.lua: what ping and traceroute have in common: where IPv4 and IPv6 differ, and which of the packets
-- that were sent an ICMP error is about. It sends nothing.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local effi = require "etherlua.core.ffi"
local icmp = require "etherlua.proto.icmp"
local icmp6 = require "etherlua.proto.icmp6"
local ip_packet = require "etherlua.proto.ip"
local ipv4 = require "etherlua.proto.ipv4"
local ipv6 = require "etherlua.proto.ipv6"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"

local C = effi.C
local store16 = memory.store16

local M = {}

-- What one IP version has: its modules, ICMP's protocol number, the size of a header without options, and where the
-- header has its TTL or hop limit and its source address.
local VERSIONS = {
  [4] = { number = 4, ip = ipv4, icmp = icmp, protocol = numbers.protocol.ICMP, header = 20, ttl_at = 8,
    source_at = 12 },
  [6] = { number = 6, ip = ipv6, icmp = icmp6, protocol = numbers.protocol.ICMP6, header = 40, ttl_at = 7,
    source_at = 8 },
}

-- What there is to know of the IP version of an address.
---@param ip string address text
---@return table version ip and icmp (modules), protocol, header (octets), ttl_at, source_at
function M.version_of(ip)
  return VERSIONS[#addr.ip_bytes(ip) == 4 and 4 or 6]
end

-- Whether a frame comes from an address.
---@param version table
---@param frame etherlua.frame
---@param key integer|string of the address, see segment.key
---@return boolean
function M.is_from(version, frame, key)
  local source = frame.data + frame.l3 + version.source_at
  if version.number == 4 then return memory.native32(source, 0) == key end
  return ffi.string(source, 16) == key
end

-- The TTL or hop limit with which a frame arrived.
---@param version table
---@param frame etherlua.frame
---@return integer
function M.ttl(version, frame)
  return (frame.data + frame.l3)[version.ttl_at]
end

-- The packet that an error quotes, if it is one that went from here to there: anybody can send an error that quotes
-- anything.
---@param version table
---@param message table ICMP message, parsed
---@param from string own address
---@param to string
---@return table? packet fields of the IP header, and payload
function M.quoted(version, message, from, to)
  if not version.icmp.child(message) then return nil end
  local packet = version.ip.parse(message.payload, true)
  if packet and packet.src == from and packet.dst == to then return packet end
end

-- Identifier and sequence of the echo request that a quoted packet is.
---@param version table
---@param packet table from quoted()
---@return integer? identifier nil when it is something else
---@return integer? sequence
function M.echo_of(version, packet)
  local message = packet.protocol == version.protocol and version.icmp.parse(packet.payload)
  if not message or message.type ~= version.icmp.ECHO_REQUEST then return nil end
  return message.identifier, message.sequence
end

-- What an error says, in words.
---@param version table
---@param message table
---@return string such as "destination unreachable (host)"
function M.words(version, message)
  return (version.icmp.describe(message):gsub("^ICMPv?6? ", ""))
end

-- ---- echo requests ------------------------------------------------------------------------------------------------

local ECHO_HEADER = 8

-- An echo request that is sent many times, each time with another sequence. Built once, changed where it lies.
---@class etherlua.echo_request
---@field data ffi.cdata* the IP packet
---@field len integer
local Request = {}
Request.__index = Request

---@param version table
---@param fields table of the IP packet; src and dst are needed
---@param identifier integer
---@param payload string
---@return etherlua.echo_request
function M.request(version, fields, identifier, payload)
  local message = version.icmp.build({ type = version.icmp.ECHO_REQUEST, identifier = identifier, payload = payload },
    fields)
  local packet = { payload = message, protocol = version.protocol }
  for name, value in pairs(fields) do packet[name] = value end
  local text = ip_packet.build(packet)
  local data = ffi.new("uint8_t[?]", #text)
  ffi.copy(data, text, #text)
  return setmetatable({ version = version, data = data, len = #text }, Request)
end

-- The identification of packets that may be fragmented has to differ (RFC 6864 section 4.3).
local function number_ip4(data, sequence)
  store16(data, 4, sequence)
  store16(data, 10, 0)
  store16(data, 10, C.el_checksum(data, VERSIONS[4].header, 0))
end

-- Gives it another destination, of IPv4. set_sequence() makes the checksums right.
---@param ip integer as of addr.ip4_number
function Request:set_destination(ip)
  memory.store32(self.data, self.version.source_at + 4, ip)
end

-- Gives it the sequence, with all checksums.
---@param sequence integer 0 to 65535
function Request:set_sequence(sequence)
  local version, data = self.version, self.data
  local message, size = data + version.header, self.len - version.header
  store16(message, 6, sequence)
  store16(message, 2, 0)
  if version.number == 4 then
    number_ip4(data, sequence)
    store16(message, 2, C.el_checksum(message, size, 0))
  else
    store16(message, 2, memory.icmp6_checksum(data + version.source_at, message, size))
  end
end

-- Data as iputils has it: each octet its place.
---@param size integer
---@return string
function M.data(size)
  local octets = {}
  for i = 1, size do octets[i] = string.char((i - 1) % 256) end
  return table.concat(octets)
end

local function words_of_damage(sent, got)
  for i = 1, math.min(#sent, #got) do
    local should, was = sent:byte(i), got:byte(i)
    if should ~= was then return ("wrong data byte #%d should be 0x%x but was 0x%x"):format(i - 1, should, was) end
  end
  return ("%d bytes of data, %d were sent%s"):format(#got, #sent, #got < #sent and " (truncated)" or "")
end

-- What is wrong with the data of an echo reply: it has to be that of the request (RFC 792, RFC 4443 section 4.2). Makes
-- no garbage where nothing is: a string that is there already is not made again.
---@param frame etherlua.frame
---@param sent string
---@return string|nil words such as "wrong data byte #16 should be 0x10 but was 0xef"
function M.damage(frame, sent)
  local size = frame.l3 + frame.l3_len - frame.l4 - ECHO_HEADER
  local got = ffi.string(frame.data + frame.l4 + ECHO_HEADER, size)
  return got ~= sent and words_of_damage(sent, got) or nil
end

-- Octets in front of the data of a request.
---@param version table
---@return integer
function M.overhead(version)
  return version.header + ECHO_HEADER
end

-- Octets of data that fit one frame.
---@param version table
---@param conn etherlua.conn
---@return integer
function M.room(version, conn)
  return C.el_conn_packet_mtu(conn, version.number) - M.overhead(version)
end

return M
