-- host/segment.lua: what the hosts of one relay and VLAN stack share: who of them has which address, what they know
-- about their neighbours, and what arrives for everybody, ARP broadcasts and multicasts of neighbour discovery, which
-- costs the same for one host and for ten thousand. It answers for their addresses (RFC 826, RFC 4861 section 7.2) and
-- notes when somebody else has one (reported, not fought over). Asking is neighbour.lua's business.
--
-- Addresses are keys here: IPv4 as a number, its bytes as they stand in memory; IPv6 as a string of 16 bytes.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local channel = require "etherlua.core.channel"
local effi = require "etherlua.core.ffi"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local memory = require "etherlua.net.memory"
local nd = require "etherlua.host.nd"
local numbers = require "etherlua.net.numbers"
local ownership = require "etherlua.host.ownership"
local random = require "etherlua.net.random"
local router_news = require "etherlua.host.router_news"
local sched = require "etherlua.core.sched"
local tap = require "etherlua.host.tap"
local vlan_stack = require "etherlua.net.vlan_stack"

local C = effi.C
local load32, native32, same_mac, mac_at = memory.load32, memory.native32, memory.same_mac, memory.mac_at

local M = {}

local ARP, IP6 = numbers.ethertype.ARP, numbers.ethertype.IPV6
local ANY6, ALL_NODES, ALL_NODES_MAC = ("\0"):rep(16), "ff02::1", group.mac_text "ff02::1"
local CACHE_TIME = 60 -- seconds that an answer is believed

local mac_t, const_uint8_p = ffi.typeof "struct el_mac", ffi.typeof "const uint8_t *"

-- See segment.of.
---@class etherlua.segment
---@field claims table<any, table> addresses of hosts here, by key
---@field neighbours table<any, table> what is known of others, by key
---@field news etherlua.router_news what routers say, and who wants to be told
---@field reachable? number seconds that an IPv6 neighbour is believed, as routers say
---@field retrans? number seconds to wait for an IPv6 neighbour's answer, as routers say
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
---@return table claim; .conflict is the MAC address of another host that has the address, once there is one; .event is
---  closed then, if somebody waits for it
function M.claim(conn, ip)
  return { ip = ip, conn = conn }
end

-- Somebody else has the address, too.
---@param claim table
---@param mac string
function M.note_conflict(claim, mac)
  claim.conflict = mac
  if claim.event then claim.event:close() end
end

local function hear_of_conflict(segment, claim, mac)
  local text = addr.mac_text(ffi.string(mac, 6))
  if claim.conflict ~= text then segment.tap:count("conflicts") end
  M.note_conflict(claim, text)
end

-- What a frame says of who has which address (ownership.lua) concerns our own: what we have, and what we would like to
-- have, nobody else may have; and two who would like to have an address both do without.
local function look_for_conflict(segment, has, wants, mac)
  local claim = segment.claims[has or wants]
  if claim and (has or not claim.defended) and not same_mac(mac, claim.conn.mac.byte) then
    hear_of_conflict(segment, claim, mac)
  end
end

-- ---- neighbours ---------------------------------------------------------------------------------------------------

-- Neighbours that are asked for at once; and twice as many that may be known, so that forgetting the others is rare.
local ASKED_MAX = 65536
local KNOWN_MAX = 2 * ASKED_MAX
M.ASKED_MAX, M.KNOWN_MAX = ASKED_MAX, KNOWN_MAX

-- What is still asked for stays.
local function start_anew(segment)
  local kept, count = {}, 0
  for key, entry in pairs(segment.neighbours) do
    if entry.event then kept[key], count = entry, count + 1 end
  end
  segment.neighbours, segment.count = kept, count
end

-- The entry of a neighbour that is asked for from now on; nil when too many are.
---@param key integer|string
---@return table? entry
function Segment:expect(key)
  if self.asked >= ASKED_MAX then return nil end
  local entry = self.neighbours[key]
  if not entry then
    if self.count >= KNOWN_MAX then start_anew(self) end
    self.count = self.count + 1
    entry = { mac = mac_t(), expires = 0, known = false, waiting = 0 }
    self.neighbours[key] = entry
  end
  entry.event, self.asked = channel.new(), self.asked + 1
  return entry
end

-- It is asked for no more. Whoever waits looks what came of it.
---@param entry table of expect()
function Segment:answered(entry)
  local event = entry.event
  entry.event, self.asked = nil, self.asked - 1
  event:close()
end

local function settle(entry, mac, seconds)
  ffi.copy(entry.mac, mac, 6)
  entry.known, entry.expires = true, sched.now() + seconds
  if entry.event then entry.event:close() end
end

-- A neighbour has an address. What nobody asked for is not kept, so a flood fills nothing.
local function learn(segment, key, mac)
  local entry = segment.neighbours[key]
  if not entry or segment.claims[key] then return end
  settle(entry, mac, type(key) == "string" and segment.reachable or CACHE_TIME)
end

-- ---- ARP ----------------------------------------------------------------------------------------------------------

local ARP_SIZE = 28

local reply = ffi.new("uint8_t[28]", { 0, 1, 8, 0, 6, 4, 0, 2 })

local function answer_arp(segment, claim, request)
  ffi.copy(reply + 8, claim.conn.mac.byte, 6)
  ffi.copy(reply + 14, request + 24, 4)
  ffi.copy(reply + 18, request + 8, 10)
  segment.tap:answer("arp", claim.conn, reply, ARP_SIZE, mac_at(request + 8), ARP)
end

-- Has fn(ip, mac) called when a neighbour says by ARP that it has an address: ip as of addr.ip4_number, mac a pointer
-- to six octets. fn must not block.
---@param fn fun(ip: integer, mac: ffi.cdata*)
---@return function stop
function Segment:watch_arp(fn)
  local watchers = self.watchers
  watchers[#watchers + 1] = fn
  return function()
    for i, one in ipairs(watchers) do
      if one == fn then return table.remove(watchers, i) end
    end
  end
end

-- From the i-th on. No loop (JIT 1).
local function tell(watchers, i, ip, mac)
  if not watchers[i] then return end
  watchers[i](ip, mac)
  return tell(watchers, i + 1, ip, mac)
end

-- An ARP packet came. It is answered whatever network the sender is in (RFC 826).
---@param frame etherlua.frame
function Segment:hear_arp(frame)
  if not ownership.is_arp(frame) then return self.tap:count("invalid") end
  local packet, has, wants, sha = frame.data + frame.payload, ownership.arp(frame)
  look_for_conflict(self, has, wants, sha)
  if has then
    learn(self, has, sha)
    tell(self.watchers, 1, load32(packet, 14), sha)
  end
  local claim = self.claims[native32(packet, 24)]
  if not claim or not claim.defended or packet[7] ~= 1 or packet[6] ~= 0 or same_mac(sha, claim.conn.mac.byte) then
    return self.tap:count("ignored")
  end
  answer_arp(self, claim, packet)
end

-- ---- neighbour discovery ------------------------------------------------------------------------------------------

-- RFC 4861 section 7.2.4: to all when the asker has no address yet.
local function advertise(segment, claim, src, mac)
  local has_address = src ~= ANY6
  local dst = has_address and addr.ip_text(src) or ALL_NODES
  nd.send(claim.conn, { type = icmp6.NEIGHBOUR_ADVERTISEMENT, solicited = has_address, override = true,
    target = claim.ip, target_link_layer_address = tostring(claim.conn.mac) }, claim.ip, dst,
    has_address and mac or ALL_NODES_MAC)
  segment.tap:count("neighbour")
end

local function hear_solicitation(segment, frame, message, src, mac)
  local told = message.source_link_layer_address
  if src ~= ANY6 and told then learn(segment, src, mac) end
  local claim = segment.claims[M.key(message.target)]
  if not claim or not claim.defended then return segment.tap:count("ignored") end
  advertise(segment, claim, src, told or frame.src_mac)
end

-- RFC 4861 section 7.2.5: what is known changes only if the sender says so.
local function hear_advertisement(segment, _, message, _, mac)
  local key = M.key(message.target)
  local entry = segment.neighbours[key]
  if not entry then return end
  if not message.target_link_layer_address then return segment.tap:count("ignored") end
  if entry.known and entry.expires > sched.now() and not message.override then return end
  learn(segment, key, mac)
end

-- Routers are solicited by others, and redirects not followed.
local function ignore(segment)
  segment.tap:count("ignored")
end

local heard = {
  [icmp6.ROUTER_SOLICITATION] = ignore, [icmp6.REDIRECT] = ignore,
  [icmp6.NEIGHBOUR_SOLICITATION] = hear_solicitation,
  [icmp6.NEIGHBOUR_ADVERTISEMENT] = hear_advertisement,
}

local TARGET = 8 -- where a solicitation or advertisement has it, behind the beginning of ICMPv6

local function is_known(segment, key)
  return segment.claims[key] or segment.neighbours[key]
end

-- Whether it is about an address of ours or one that somebody asked for: looked at before anything is parsed.
local function concerns(segment, message, size, src)
  return size < TARGET + 16 or is_known(segment, src) or is_known(segment, ffi.string(message + TARGET, 16))
end

-- A message of neighbour discovery came that is no router advertisement.
---@param frame etherlua.frame of ICMPv6
function Segment:hear_nd(frame)
  if not nd.is(frame) then return self.tap:count("ignored") end
  local size, src = frame.l3 + frame.l3_len - frame.l4, ffi.string(frame.data + frame.l3 + 8, 16)
  if not concerns(self, frame.data + frame.l4, size, src) then return self.tap:count("ignored") end
  local message = nd.read(frame)
  if not message then return self.tap:count("invalid") end
  local has, wants, mac = ownership.nd(frame, message, src)
  look_for_conflict(self, has, wants, mac)
  heard[message.type](self, frame, message, src, mac)
end

-- ---- routers ------------------------------------------------------------------------------------------------------

-- In seconds; RFC 4861 section 6.2.1 has an hour for the first. Nobody asks all the time, and nobody waits for ever.
local TIMER_MIN, REACHABLE_MAX, RETRANS_MAX = 0.01, 3600, 60

-- What routers say about the link's timers concerns what all here know together (RFC 4861 section 6.3.4); 0 says
-- nothing. For so long a neighbour is believed, not quite the same time everywhere.
local function take_timers(segment, message)
  local reachable, retrans = message.reachable_time, message.retrans_timer
  if reachable > 0 and reachable ~= segment.base_reachable then
    local base = math.max(TIMER_MIN, math.min(reachable / 1000, REACHABLE_MAX))
    segment.base_reachable, segment.reachable = reachable, base * random.between(0.5, 1.5)
  end
  if retrans > 0 then segment.retrans = math.max(TIMER_MIN, math.min(retrans / 1000, RETRANS_MAX)) end
end

-- A router advertisement came for all who want to hear of routers, or for one of them alone.
---@param frame etherlua.frame of ICMPv6
---@param listener? table of router_news.lua
function Segment:hear_router(frame, listener)
  local src = ffi.string(frame.data + frame.l3 + 8, 16)
  if self.news:is_idle() and not is_known(self, src) then return self.tap:count("ignored") end
  local message
  if listener then message = self.news:hear_alone(frame, listener) else message = self.news:hear(frame) end
  if not message then return self.tap:count("invalid") end
  local has, _, mac = ownership.nd(frame, message, src)
  look_for_conflict(self, has, nil, mac)
  if message.source_link_layer_address then learn(self, has, mac) end
  if not self.news:is_idle() then take_timers(self, message) end
end

-- ---- the segment --------------------------------------------------------------------------------------------------

-- What arrives for everybody; also a bare EtherConn's, which has neighbours but is no host.
---@param frame etherlua.frame
function Segment:hear(frame)
  if frame.ethertype == ARP then return self:hear_arp(frame) end
  if frame.data[frame.l4] == icmp6.ROUTER_ADVERTISEMENT then return self:hear_router(frame) end
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
  local segment = setmetatable({ tap = tap.of(relay), claims = {}, neighbours = {}, count = 0, asked = 0,
    watchers = {}, news = router_news.new() }, Segment)
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
