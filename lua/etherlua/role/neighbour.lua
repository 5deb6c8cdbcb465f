-- role/neighbour.lua: what a host does about its neighbours: resolves IP addresses to MAC addresses (ARP, RFC 826;
-- neighbour discovery, RFC 4861), answers for its own addresses, and finds out whether an address is free (RFC 5227).
-- One object an EtherConn, made when first needed. Those of one relay and VLAN stack share a segment: its cache, its
-- requests under way, and one reader of the ARP broadcasts, which costs the same however many hosts there are.
-- It keeps no routes: every address is asked for on the link.

local ffi = require "ffi"
local addr = require "etherlua.addr"
local broadcast = require "etherlua.role.broadcast"
local arp = require "etherlua.proto.arp"
local channel = require "etherlua.channel"
local effi = require "etherlua.ffi"
local endpoint = require "etherlua.endpoint"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local random = require "etherlua.random"
local sched = require "etherlua.sched"
local select = require "etherlua.select"

local C = effi.C

local M = {}

local BROADCAST, ANY4 = broadcast.ADDRESS, "0.0.0.0"
local ARP, ICMP6 = 0x0806, 58
local TAP_DEPTH = 64

local TRIES, TRY_TIMEOUT = 3, 0.5 -- seconds for each request
local CACHE_TIME = 60             -- seconds that an answer is believed
local CACHE_MAX = 65536           -- addresses; beyond, the cache starts anew

-- ---- segments -----------------------------------------------------------------------------------------------------

-- Called for every address that a frame says somebody has.
local function learn(segment, ip, mac)
  local claim = segment.claims[ip]
  if claim and claim.mac ~= mac then
    claim.conflict = mac
    claim.event:close()
    return
  end
  local pending = segment.pending[ip]
  if not pending and not segment.cache[ip] then return end -- never asked for: an unasked flood fills nothing
  segment.cache[ip] = { mac = mac, time = sched.now() }
  if pending then pending:close() end
end

local function arp_reply(segment, claim, request)
  segment.conn:send(arp.build { op = arp.REPLY, sha = claim.mac, spa = request.tpa, tha = request.sha,
    tpa = request.spa }, request.sha, { ethertype = ARP, src_mac = claim.mac })
end

local function hear_arp(segment, payload)
  local packet = arp.parse(payload)
  if not packet or packet.pln ~= 4 or packet.hln ~= 6 then return end
  if packet.spa ~= ANY4 then learn(segment, packet.spa, packet.sha) end
  local claim = segment.claims[packet.tpa]
  if not claim or packet.op ~= arp.REQUEST or packet.sha == claim.mac then return end
  if claim.defended then
    arp_reply(segment, claim, packet)
  elseif packet.spa == ANY4 then -- somebody else probes for the address that we probe for (RFC 5227 2.1.1)
    claim.conflict = packet.sha
    claim.event:close()
  end
end

local function read_broadcasts(segment)
  while segment.conn.ep.relay ~= nil do
    local payload = segment.conn:recv()
    if not payload then return end
    hear_arp(segment, payload)
  end
end

local segment_of = broadcast.readers(ARP, function()
  return { cache = {}, cached = 0, pending = {}, claims = {} }
end, read_broadcasts)

local function cached(segment, ip)
  local entry = segment.cache[ip]
  return entry and sched.now() - entry.time < CACHE_TIME and entry.mac or nil
end

-- Room for one more answer.
local function reserve(segment)
  segment.cached = segment.cached + 1
  if segment.cached > CACHE_MAX then segment.cache, segment.cached = {}, 1 end
end

-- ---- neighbours of one EtherConn ----------------------------------------------------------------------------------

-- See neighbour.of.
---@class etherlua.neighbours
local Neighbours = {}
Neighbours.__index = Neighbours

local function hear_icmp6(self, payload)
  local packet = ipv6.parse(payload)
  local message = packet and packet.protocol == ICMP6 and packet.hop_limit == 255 and icmp6.parse(packet.payload)
  if not message then return end
  if message.type == icmp6.NEIGHBOUR_ADVERTISEMENT and message.target_link_layer_address then
    learn(self.segment, message.target, message.target_link_layer_address)
  elseif message.type == icmp6.NEIGHBOUR_SOLICITATION and message.source_link_layer_address then
    local claim = self.segment.claims[message.target]
    if not claim or not claim.defended then return end
    self:send_icmp6({ type = icmp6.NEIGHBOUR_ADVERTISEMENT, solicited = true, override = true,
      target = message.target, target_link_layer_address = self.mac }, message.target, packet.src,
      message.source_link_layer_address)
  end
end

---@private
function Neighbours:send_icmp6(message, src, dst, mac)
  local context = { src = src, dst = dst }
  return self.conn:send(ipv6.build { src = src, dst = dst, protocol = ICMP6, hop_limit = 255,
    payload = icmp6.build(message, context) }, mac)
end

local function message_of(frame)
  local ethertype, payload = frame.ethertype, frame.body
  C.el_frame_free(frame)
  return ethertype, payload
end

-- What arrives for this EtherConn's own MAC address.
local function read_tap(self)
  local tap = { ep = self.tap }
  while self.tap.relay ~= nil do
    local ethertype, payload = endpoint.take(tap, nil, C.el_recv, message_of)
    if not ethertype then return end
    if ethertype == ARP then hear_arp(self.segment, payload) else hear_icmp6(self, payload) end
  end
end

-- The object of an EtherConn.
---@param conn etherlua.conn
---@return etherlua.neighbours
function M.of(conn)
  local id = conn.ep.id
  local extra = endpoint.extras[id] or {}
  endpoint.extras[id] = extra
  if extra.neighbours then return extra.neighbours end
  local self = setmetatable({ conn = conn, mac = tostring(conn.mac), own = {} }, Neighbours)
  self.segment = segment_of(conn:relay(), addr.vlans(conn.vlans))
  self.tap_id = endpoint.new_id()
  self.tap = C.el_tap_open(conn, TAP_DEPTH, self.tap_id)
  if self.tap == nil then error("out of memory", 0) end
  ffi.gc(self.tap, C.el_tap_free)
  sched.spawn_background(read_tap, self)
  extra.neighbours = self
  return self
end

---@private
function Neighbours:close()
  for ip, claim in pairs(self.own) do
    if self.segment.claims[ip] == claim then self.segment.claims[ip] = nil end
  end
  self.own = {}
  C.el_tap_close(self.conn)
  endpoint.retire(self.tap_id)
end

-- ---- resolving ----------------------------------------------------------------------------------------------------

-- RFC 4291 2.7.1 and RFC 2464 7: the group of the last 24 bits of the address.
local function solicited_node(ip)
  local low = addr.ip_bytes(ip):sub(14)
  return addr.ip_text("\xff\2\0\0\0\0\0\0\0\0\0\1\xff" .. low), addr.mac_text("\x33\x33\xff" .. low)
end

local function ask(self, ip, source)
  if ip:find(":", 1, true) then
    local group, mac = solicited_node(ip)
    return self:send_icmp6({ type = icmp6.NEIGHBOUR_SOLICITATION, target = ip, source_link_layer_address = self.mac },
      source, group, mac)
  end
  return self.conn:send(arp.build { sha = self.mac, spa = source, tpa = ip }, BROADCAST, { ethertype = ARP })
end

-- Returns why it could not ask, if so.
local function ask_until_answered(self, ip, source, event)
  for _ = 1, TRIES do
    local sent, reason = ask(self, ip, source)
    if not sent then return reason end
    if select.wait { event, timeout = TRY_TIMEOUT } then return end
  end
end

-- The task that asked first asks on behalf of all that wait for the same address; when it is cancelled meanwhile, one
-- of the others does. Returns why it could not.
local function request(self, ip, source)
  local segment, event = self.segment, channel.new()
  segment.pending[ip] = event
  reserve(segment)
  local ok, reason = pcall(ask_until_answered, self, ip, source, event)
  event.abandoned = not ok
  segment.pending[ip] = nil
  event:close()
  if not ok then error(reason, 0) end
  return reason
end

-- The MAC address of a neighbour. Blocks until it answers or the tries are used up.
---@param ip string address text
---@param source string own address text
---@return string|nil mac
---@return string|nil reason
function Neighbours:resolve(ip, source)
  local mac = cached(self.segment, ip)
  if mac then return mac end
  local pending, reason = self.segment.pending[ip], nil
  if pending then
    select.wait { pending, timeout = TRIES * TRY_TIMEOUT + 1 }
    if pending.abandoned then return self:resolve(ip, source) end
  else
    reason = request(self, ip, source)
  end
  mac = cached(self.segment, ip)
  if mac then return mac end
  return nil, reason or ("no answer from neighbour " .. ip)
end

-- For conn:udp{resolve = "arp"}: answers for the local address, asks for the others.
---@param address etherlua.addr the RUDPConn's local address
---@return function ip -> mac
---@return function to be called when the RUDPConn no longer has the address
function Neighbours:resolver(address)
  local source = address.ip_text
  local own = source ~= ANY4 and source ~= "::"
  if own then self:claim(source) end
  return function(ip) return self:resolve(ip, source) end, function() if own then self:release(source) end end
end

-- ---- own addresses ------------------------------------------------------------------------------------------------

-- From now on this EtherConn answers for the address, until it was released as often as it was claimed.
---@param ip string
---@return table claim with .conflict (MAC address of another host that has the address) once there is one
function Neighbours:claim(ip)
  local claim = self.own[ip] or { mac = self.mac, event = channel.new() }
  claim.defended = (claim.defended or 0) + 1
  self.own[ip], self.segment.claims[ip] = claim, claim
  return claim
end

-- Undoes one claim.
---@param ip string
function Neighbours:release(ip)
  local claim = self.own[ip]
  if not claim then return end
  claim.defended = claim.defended and claim.defended > 1 and claim.defended - 1 or nil
  if claim.defended then return end
  if self.segment.claims[ip] == claim then self.segment.claims[ip] = nil end
  self.own[ip] = nil
end

-- Timing of address probes in seconds: RFC 5227 1.1, and a quick one for links where nobody sleeps.
M.PROBES = {
  rfc = { wait = 1, count = 3, min = 1, max = 2, after = 2 },
  quick = { wait = 0.05, count = 3, min = 0.1, max = 0.1, after = 0.1 },
}

local function probe_once(self, ip, claim, pause)
  self.conn:send(arp.build { sha = self.mac, tpa = ip }, BROADCAST, { ethertype = ARP })
  select.wait { claim.event, timeout = pause }
  return claim.conflict
end

-- The MAC address of another host of this relay that has the address or probes for it: no host hears the others, for
-- what a relay sends does not come back to it.
local function conflict_here(self, ip)
  local other = self.segment.claims[ip]
  if not other or other.mac == self.mac then return nil end
  if not other.defended then
    other.conflict = self.mac
    other.event:close()
  end
  return other.mac
end

-- Whether nobody else has the IPv4 address (RFC 5227 2.1). Blocks for the time of the probes.
---@param ip string
---@param timing table one of M.PROBES
---@return true|nil free
---@return string|nil mac of the host that has the address
function Neighbours:probe(ip, timing)
  local other = conflict_here(self, ip)
  if other then return nil, other end
  local claim = { mac = self.mac, event = channel.new() }
  self.own[ip], self.segment.claims[ip] = claim, claim
  select.wait { claim.event, timeout = random.between(0, timing.wait) }
  for i = 1, timing.count do
    local pause = i < timing.count and random.between(timing.min, timing.max) or timing.after
    if claim.conflict or probe_once(self, ip, claim, pause) then break end
  end
  if not claim.conflict then return true end
  self:release(ip)
  return nil, claim.conflict
end

-- Tells the link that this host has the address (RFC 5227 2.3).
---@param ip string
function Neighbours:announce(ip)
  self.conn:send(arp.build { sha = self.mac, spa = ip, tpa = ip }, BROADCAST, { ethertype = ARP })
end

return M
