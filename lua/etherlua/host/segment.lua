-- host/segment.lua: what the hosts of one relay and VLAN stack share: who of them has which address, what they know
-- about their neighbours, and what arrives for everybody, ARP broadcasts and multicasts of neighbour discovery, which
-- costs the same for one host and for ten thousand. It answers for their addresses (RFC 826, RFC 4861 section 7.2) and
-- notes when somebody else has one (reported, not fought over). Asking is neighbour.lua's business.
--
-- Addresses are keys here: IPv4 as a number, its bytes as they stand in memory; IPv6 as a string of 16 bytes.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local channel = require "etherlua.core.channel"
local effi = require "etherlua.core.ffi"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"
local sched = require "etherlua.core.sched"
local tap = require "etherlua.host.tap"
local vlan_stack = require "etherlua.net.vlan_stack"

local C = effi.C
local native16, native32, same_mac, mac_at = memory.native16, memory.native32, memory.same_mac, memory.mac_at

local M = {}

local ARP, IP6, ICMP6 = numbers.ethertype.ARP, numbers.ethertype.IPV6, numbers.protocol.ICMP6
local HOP_LIMIT = 255
local ANY6, ALL_NODES, ALL_NODES_MAC = ("\0"):rep(16), "ff02::1", group.mac_text "ff02::1"
local ANY_TEXT, ALL_REPORTS, ALL_REPORTS_MAC = "::", "ff02::16", group.mac_text "ff02::16"
local CACHE_TIME = 60   -- seconds that an answer is believed
local CACHE_MAX = 65536 -- neighbours
M.CACHE_MAX = CACHE_MAX

local mac_t, const_uint8_p = ffi.typeof "struct el_mac", ffi.typeof "const uint8_t *"

-- See segment.of.
---@class etherlua.segment
---@field claims table<any, table> addresses of hosts here, by key
---@field neighbours table<any, table> what is known of others, by key
---@field listeners table<table, true> those who want router advertisements: advertised(listener, message, router)
local Segment = {}
Segment.__index = Segment

---@param ip string address text
---@return integer|string key
function M.key(ip)
  local bytes = addr.ip_bytes(ip)
  return #bytes == 4 and native32(ffi.cast(const_uint8_p, bytes), 0) or bytes
end

local uint8_p = ffi.typeof "uint8_t *"

---@param address etherlua.addr
---@return integer|string key
function M.key_of(address)
  local bytes = ffi.cast(uint8_p, address.ip)
  if address.version == 4 then return native32(bytes, 0) end
  return ffi.string(bytes, 16)
end

local word = ffi.new "int32_t[1]"

---@param key integer|string
---@return string ip address text
function M.text(key)
  if type(key) == "string" then return addr.ip_text(key) end
  word[0] = key
  return addr.ip_text(ffi.string(word, 4))
end

-- ---- own addresses ------------------------------------------------------------------------------------------------

-- An address that a host has, once it is defended, or would like to have.
---@param conn etherlua.conn
---@param ip string
---@return table claim; .conflict is the MAC address of another host that has the address, once there is one
function M.claim(conn, ip)
  return { ip = ip, key = M.key(ip), conn = conn, mac = tostring(conn.mac), event = channel.new() }
end

-- Somebody else has the address, too.
local function note_conflict(segment, claim, mac)
  local text = addr.mac_text(ffi.string(mac, 6))
  if claim.conflict ~= text then segment.tap:count("conflicts") end
  claim.conflict = text
  claim.event:close()
end

-- ---- neighbours ---------------------------------------------------------------------------------------------------

-- What is still asked for stays.
local function start_anew(segment)
  local kept, count = {}, 0
  for key, entry in pairs(segment.neighbours) do
    if entry.event then kept[key], count = entry, count + 1 end
  end
  segment.neighbours, segment.count = kept, count
end

-- The entry of a neighbour that is asked for now; nil when too many are.
---@param key integer|string
---@return table? entry
function Segment:expect(key)
  local entry = self.neighbours[key]
  if not entry then
    if self.count >= CACHE_MAX then start_anew(self) end
    if self.count >= CACHE_MAX then return nil end
    self.count = self.count + 1
    entry = { mac = mac_t(), expires = 0, known = false, waiting = 0 }
    self.neighbours[key] = entry
  end
  entry.event = channel.new()
  return entry
end

local function settle(entry, mac)
  ffi.copy(entry.mac, mac, 6)
  entry.known, entry.expires = true, sched.now() + CACHE_TIME
  if entry.event then entry.event:close() end
end

-- A frame says that somebody has an address. What nobody asked for is not kept, so a flood fills nothing.
local function learn(segment, key, mac)
  local claim = segment.claims[key]
  if claim then
    if not same_mac(mac, claim.conn.mac.byte) then note_conflict(segment, claim, mac) end
    return
  end
  local entry = segment.neighbours[key]
  if entry then settle(entry, mac) end
end

-- ---- ARP ----------------------------------------------------------------------------------------------------------

local ARP_SIZE = 28
local ETHERNET_IP4 = bit.bswap(0x00010800) -- hardware and protocol
local LENGTHS = 0x0406                     -- 6 and 4, as they stand in memory

local reply = ffi.new("uint8_t[28]", { 0, 1, 8, 0, 6, 4, 0, 2 })

local function answer_arp(segment, claim, request)
  ffi.copy(reply + 8, claim.conn.mac.byte, 6)
  ffi.copy(reply + 14, request + 24, 4)
  ffi.copy(reply + 18, request + 8, 10)
  segment.tap:answer("arp", claim.conn, reply, ARP_SIZE, mac_at(request + 8), ARP)
end

-- An ARP packet came. It is answered whatever network the sender is in (RFC 826).
---@param frame etherlua.frame
function Segment:hear_arp(frame)
  local packet = frame.data + frame.payload
  if frame.payload_len < ARP_SIZE or native32(packet, 0) ~= ETHERNET_IP4
    or native16(packet, 4) ~= LENGTHS or memory.is_group_mac(packet + 8) then
    return self.tap:count("invalid")
  end
  local spa, sha = native32(packet, 14), packet + 8
  if spa ~= 0 then learn(self, spa, sha) end
  local claim = self.claims[native32(packet, 24)]
  if not claim or packet[7] ~= 1 or packet[6] ~= 0 or same_mac(sha, claim.conn.mac.byte) then
    return self.tap:count("ignored")
  end
  if claim.defended then
    answer_arp(self, claim, packet)
  elseif spa == 0 then -- somebody else probes for the address that we probe for (RFC 5227 section 2.1.1)
    note_conflict(self, claim, sha)
  end
end

-- ---- neighbour discovery ------------------------------------------------------------------------------------------

-- Sends a message of neighbour discovery.
---@param conn etherlua.conn
---@param message table as for icmp6.build
---@param src string
---@param dst string
---@param mac string|etherlua.mac
---@return true|nil
---@return string? reason
function M.send_icmp6(conn, message, src, dst, mac)
  return conn:send(ipv6.build { src = src, dst = dst, protocol = ICMP6, hop_limit = HOP_LIMIT,
    payload = icmp6.build(message, { src = src, dst = dst }) }, mac)
end

local ROUTER_ALERT = { type = 5, data = "\0\0" } -- RFC 2711

-- Says that the EtherConn wants what is sent to a group (RFC 3810 section 5.2): switches that listen let it pass then.
---@param conn etherlua.conn
---@param ip string of the group
---@param src? string own link-local address (::, while there is none)
function M.report_group(conn, ip, src)
  src = src or ANY_TEXT
  local record = "\4\0\0\0" .. addr.ip_bytes(ip) -- change to exclude nothing
  local message = icmp6.build({ type = 143, rest = 1, payload = record }, { src = src, dst = ALL_REPORTS })
  conn:send(ipv6.build { src = src, dst = ALL_REPORTS, protocol = ICMP6, hop_limit = 1, payload = message,
    extension_headers = { { type = 0, options = { ROUTER_ALERT } } } }, ALL_REPORTS_MAC)
end

-- RFC 4861 section 7.2.4: to all when the asker has no address yet.
local function advertise(segment, claim, src, mac)
  local has_address = src ~= ANY_TEXT
  M.send_icmp6(claim.conn, { type = icmp6.NEIGHBOUR_ADVERTISEMENT, solicited = has_address, override = true,
    target = claim.ip, target_link_layer_address = claim.mac }, claim.ip, has_address and src or ALL_NODES,
    has_address and mac or ALL_NODES_MAC)
  segment.tap:count("neighbour")
end

local function hear_solicitation(segment, frame, message, src)
  local mac = message.source_link_layer_address
  if src ~= ANY6 and mac then learn(segment, src, ffi.cast(const_uint8_p, addr.mac_bytes(mac))) end
  local claim = segment.claims[M.key(message.target)]
  if not claim then return segment.tap:count("ignored") end
  if claim.defended then
    advertise(segment, claim, addr.ip_text(src), mac or frame.src_mac)
  elseif src == ANY6 and not same_mac(frame.data + 6, claim.conn.mac.byte) then
    note_conflict(segment, claim, frame.data + 6) -- both detect duplicates (RFC 4862 section 5.4.3)
  end
end

-- RFC 4861 section 7.2.5: what is known changes only if the sender says so.
local function hear_advertisement(segment, _, message)
  local key, mac = M.key(message.target), message.target_link_layer_address
  local entry = segment.neighbours[key]
  if not mac or entry and entry.known and entry.expires > sched.now() and not message.override then return end
  learn(segment, key, ffi.cast(const_uint8_p, addr.mac_bytes(mac)))
end

local heard = {
  [icmp6.NEIGHBOUR_SOLICITATION] = hear_solicitation,
  [icmp6.NEIGHBOUR_ADVERTISEMENT] = hear_advertisement,
}

local TARGET = 8 -- where a solicitation or advertisement has it, behind the beginning of ICMPv6

-- Whether it is about an address of ours or one that somebody asked for: looked at before anything is parsed.
local function concerns(segment, message, src)
  local target = ffi.string(message + TARGET, 16)
  return segment.claims[target] or segment.neighbours[target] or segment.neighbours[src]
end

-- The checks of RFC 4861 sections 6.1 and 7.1 that all messages have in common.
---@param frame etherlua.frame of ICMPv6
---@return table? fields of the message
function M.parse_icmp6(frame)
  local ip, at = frame.data + frame.l3, frame.data + frame.l4
  local size = frame.l3 + frame.l3_len - frame.l4
  if ip[7] ~= HOP_LIMIT or size < 8 or at[1] ~= 0 or memory.icmp6_checksum(ip + 8, at, size) ~= 0 then return nil end
  return (icmp6.parse(ffi.string(at, size)))
end

-- A neighbour solicitation or advertisement came.
---@param frame etherlua.frame of ICMPv6
function Segment:hear_nd(frame)
  local message, size = frame.data + frame.l4, frame.l3 + frame.l3_len - frame.l4
  local hear = size > 0 and heard[message[0]]
  if not hear then return self.tap:count("ignored") end
  if size < TARGET + 16 then return self.tap:count("invalid") end
  local src = ffi.string(frame.data + frame.l3 + 8, 16)
  if not concerns(self, message, src) then return self.tap:count("ignored") end
  local fields = M.parse_icmp6(frame)
  if not fields then return self.tap:count("invalid") end
  hear(self, frame, fields, src)
end

-- ---- routers ------------------------------------------------------------------------------------------------------

-- A router advertisement that is valid (RFC 4861 section 6.1.2).
---@param frame etherlua.frame of ICMPv6
---@return table? fields of the message
---@return string? router key of its address
function M.router_advertisement(frame)
  local ip = frame.data + frame.l3
  local message = ip[8] == 0xfe and bit.band(ip[9], 0xc0) == 0x80 and M.parse_icmp6(frame)
  if not message then return nil end
  return message, ffi.string(ip + 8, 16)
end

local function hear_router(segment, frame)
  if not next(segment.listeners) then return segment.tap:count("ignored") end
  local message, router = M.router_advertisement(frame)
  if not message then return segment.tap:count("invalid") end
  for listener in pairs(segment.listeners) do listener:advertised(message, router) end
end

-- ---- the segment --------------------------------------------------------------------------------------------------

-- What arrives for everybody; also a bare EtherConn's, which has neighbours but is no host.
---@param frame etherlua.frame
function Segment:hear(frame)
  if frame.ethertype == ARP then return self:hear_arp(frame) end
  if frame.data[frame.l4] == icmp6.ROUTER_ADVERTISEMENT then return hear_router(self, frame) end
  self:hear_nd(frame)
end

-- From now on it hears multicasts of IPv6.
function Segment:use_ip6()
  if self.conn6 and self.conn6:is_open() then return end
  self.conn6 = self.conn:relay():conn { mac = group.BROADCAST, vlans = self.conn.vlans, ethertypes = { IP6 },
    multicast = true, recv_depth = 1 }
  self.tap:add(self.conn6, C.EL_TAP_NEIGHBOUR, self)
end

local function open(relay, vlans)
  local segment = setmetatable({ tap = tap.of(relay), claims = {}, neighbours = {}, count = 0, listeners = {} },
    Segment)
  segment.conn = relay:conn { mac = group.BROADCAST, vlans = vlans, ethertypes = { ARP }, recv_depth = 1 }
  segment.tap:add(segment.conn, C.EL_TAP_NEIGHBOUR, segment)
  return segment
end

local of_relays = setmetatable({}, { __mode = "k" }) -- relay -> VLAN stack -> segment

-- The segment that an EtherConn is on, made when first asked for.
---@param conn etherlua.conn
---@return etherlua.segment
function M.of(conn)
  local relay = conn:relay()
  local of_relay, key = of_relays[relay] or {}, vlan_stack.key(conn.vlans)
  of_relays[relay] = of_relay
  of_relay[key] = of_relay[key] or open(relay, conn.vlans)
  return of_relay[key]
end

return M
