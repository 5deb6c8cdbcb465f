-- host/neighbour.lua: what a host asks its neighbours: which MAC address an IP address has (ARP, RFC 826; neighbour
-- discovery, RFC 4861), and whether an address is free (RFC 5227, RFC 4862 section 5.4). One object an EtherConn, made
-- when first needed. Those of one relay and VLAN stack share a segment: its cache and its requests under way.
-- It keeps no routes: every address is asked for on the link.

local arp = require "etherlua.proto.arp"
local channel = require "etherlua.core.channel"
local effi = require "etherlua.core.ffi"
local endpoint = require "etherlua.relay.endpoint"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local nd = require "etherlua.host.nd"
local numbers = require "etherlua.net.numbers"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"
local select = require "etherlua.core.select"

local C = effi.C

local M = {}

local BROADCAST, ANY4, ANY6 = group.BROADCAST, "0.0.0.0", "::"
local ARP = numbers.ethertype.ARP

local TRIES, TRY_TIMEOUT = 3, 0.5 -- seconds for each request
local NEGATIVE_TIME = 1           -- seconds for which nobody asks again for an address that did not answer
local WAITING_MAX = 65536         -- tasks that wait for one neighbour
local CROWDED = "%d tasks wait for neighbour %s already, no more may"
local TOO_MANY = ("%d neighbours are asked for already, no more may be at once"):format(segment.ASKED_MAX)

-- ---- neighbours of one EtherConn ----------------------------------------------------------------------------------

-- See neighbour.of.
---@class etherlua.neighbours
---@field host? etherlua.host of the EtherConn
---@field closing? function called when its EtherConn is about to be closed
local Neighbours = {}
Neighbours.__index = Neighbours

local of_conns = {} -- id of an EtherConn -> its object

local function close(id)
  of_conns[id]:close()
end

-- The object of an EtherConn, if it was needed.
---@param conn etherlua.conn
---@return etherlua.neighbours?
function M.known(conn)
  return of_conns[conn.ep.id]
end

-- The object of an EtherConn.
---@param conn etherlua.conn
---@return etherlua.neighbours
function M.of(conn)
  local id = conn.ep.id
  if of_conns[id] then return of_conns[id] end
  local self = setmetatable({ conn = conn, mac = tostring(conn.mac), own = {}, segment = segment.of(conn) },
    Neighbours)
  self.segment.tap:add(conn, C.EL_TAP_NEIGHBOUR + C.EL_TAP_COPY, self.segment)
  of_conns[id] = self
  endpoint.before_close(conn, close)
  return self
end

---@private
function Neighbours:close()
  of_conns[self.conn.ep.id] = nil
  if self.closing then self.closing() end
  for key, claim in pairs(self.own) do
    if self.segment.claims[key] == claim then self.segment.claims[key] = nil end
  end
  self.own = {}
  self.segment.tap:remove(self.conn)
end

-- ---- resolving ----------------------------------------------------------------------------------------------------

local function solicit(self, ip, source)
  local to_all, mac = icmp6.solicited_node(ip)
  return nd.send(self.conn, { type = icmp6.NEIGHBOUR_SOLICITATION, target = ip,
    source_link_layer_address = source ~= ANY6 and self.mac or nil }, source, to_all, mac)
end

local function ask(self, ip, source)
  if ip:find(":", 1, true) then return solicit(self, ip, source) end
  return self.conn:send(arp.build { sha = self.mac, spa = source, tpa = ip }, BROADCAST, { ethertype = ARP })
end

local function ask_until_answered(self, ip, source, event)
  for _ = 1, TRIES do
    local sent, reason = ask(self, ip, source)
    if not sent then return reason end
    local timeout = ip:find(":", 1, true) and self.segment.retrans or TRY_TIMEOUT
    if select.wait { event, timeout = timeout } then return end
  end
  return "no answer from neighbour " .. ip
end

-- A task of its own asks on behalf of all that wait, whoever of them gives up meanwhile.
local function request(self, entry, ip, source)
  local event = entry.event
  local ok, reason = pcall(ask_until_answered, self, ip, source, event)
  event.abandoned = not ok -- its EtherConn was closed: others ask again
  if not ok and reason ~= sched.CANCELLED and self.conn:is_open() then
    event.failure = reason -- they raise it, or they would ask for ever
  end
  if not event.closed then
    entry.known, entry.reason = false, reason
    entry.expires = ok and sched.now() + NEGATIVE_TIME or 0
  end
  self.segment:answered(entry)
end

local function outcome(self, key)
  local entry = self.segment.neighbours[key]
  if not entry or entry.expires <= sched.now() then return nil end
  if entry.known then return entry.mac end
  return nil, entry.reason
end

-- Asks, or waits with those who do.
local function wait_for(self, key, source)
  local entry, ip = self.segment.neighbours[key], segment.text(key)
  if not (entry and entry.event) then
    entry = self.segment:expect(key)
    if not entry then return nil, TOO_MANY end
    sched.spawn_background(request, self, entry, ip, source)
  end
  if entry.waiting >= WAITING_MAX then return nil, CROWDED:format(WAITING_MAX, ip) end
  local event = entry.event
  entry.waiting = entry.waiting + 1
  local ok, reason = pcall(select.wait, { event })
  entry.waiting = entry.waiting - 1
  if not ok then error(reason, 0) end
  if not self.conn:is_open() then return nil, "closed" end
  if event.failure then error(event.failure, 0) end
  if event.abandoned then return wait_for(self, key, source) end
  return outcome(self, key)
end

-- The MAC address of a neighbour, by key (see segment.lua). Without a string when it is known. Blocks until it answers
-- or the tries are used up.
---@param key integer|string
---@param source string own address text
---@return etherlua.mac|nil mac valid until the task waits for something
---@return string|nil reason
function Neighbours:hop(key, source)
  local mac, reason = outcome(self, key)
  if mac or reason then return mac, reason end
  if self.segment.claims[key] then
    return nil, segment.text(key) .. " is here on this relay itself: no frame would come back"
  end
  if type(key) == "string" then self.segment:use_ip6() end
  return wait_for(self, key, source)
end

-- A neighbour's MAC address as text, by its IP address as text. Blocks while it is asked for.
---@param ip string
---@param source string own address
---@return string|nil mac
---@return string|nil reason
function Neighbours:resolve(ip, source)
  local mac, reason = self:hop(segment.key(ip), source)
  if mac then return tostring(mac) end
  return nil, reason
end

local key_of = segment.key_of

-- For conn:udp{resolve = "arp"}: answers for the local address, asks for the others.
---@param address etherlua.addr the RUDPConn's local address
---@return function struct el_addr -> struct el_mac, or nil and a reason
---@return function to be called when the RUDPConn no longer has the address
function Neighbours:resolver(address)
  local source = address.ip_text
  local own = source ~= ANY4 and source ~= ANY6
  if own then self:claim(source) end
  return function(to) return self:hop(key_of(to), source) end, function() if own then self:release(source) end end
end

-- ---- own addresses ------------------------------------------------------------------------------------------------

local function enter(self, key, claim)
  self.own[key], self.segment.claims[key] = claim, claim
  if type(key) == "string" then self.segment:use_ip6() end
  return claim
end

-- From now on this EtherConn answers for the address, until it was released as often as it was claimed.
---@param ip string
---@return table claim with .conflict (MAC address of another host that has the address) once there is one
function Neighbours:claim(ip)
  local key = segment.key(ip)
  local claim = self.own[key] or segment.claim(self.conn, ip)
  claim.defended = (claim.defended or 0) + 1
  return enter(self, key, claim)
end

-- Undoes one claim.
---@param ip string
function Neighbours:release(ip)
  local key = segment.key(ip)
  local claim = self.own[key]
  if not claim then return end
  claim.defended = claim.defended and claim.defended > 1 and claim.defended - 1 or nil
  if claim.defended then return end
  if self.segment.claims[key] == claim then self.segment.claims[key] = nil end
  self.own[key] = nil
end

-- ---- whether an address is free -----------------------------------------------------------------------------------

-- Timing of address probes in seconds: RFC 5227 section 1.1, and a quick one for links where nobody sleeps.
M.PROBES = {
  rfc = { wait = 1, count = 3, min = 1, max = 2, after = 2 },
  quick = { wait = 0.05, count = 3, min = 0.1, max = 0.1, after = 0.1 },
}

-- Duplicate address detection: RFC 4862 section 5.1 and RFC 4861 section 10.
M.DETECTION = { wait = 1, count = 1, min = 1, max = 1, after = 1 }

-- The same where routers may have named another time.
---@param of etherlua.segment
---@return table timing
function M.detection(of)
  local usual = M.DETECTION
  return of.retrans and { wait = usual.wait, count = usual.count, min = of.retrans, max = of.retrans,
    after = of.retrans } or usual
end

-- The MAC address of another host of this relay that has the address or probes for it: no host hears the others, for
-- what a relay sends does not come back to it.
local function conflict_here(self, key)
  local other = self.segment.claims[key]
  local mac = other and tostring(other.conn.mac)
  if not mac or mac == self.mac then return nil end
  if not other.defended then segment.note_conflict(other, self.mac) end
  return mac
end

-- Asks until the time is over or somebody has it.
local function ask_around(self, claim, timing)
  local source = claim.ip:find(":", 1, true) and ANY6 or ANY4
  select.wait { claim.event, timeout = random.between(0, timing.wait) }
  for i = 1, timing.count do
    if claim.conflict then break end
    ask(self, claim.ip, source)
    local pause = i < timing.count and random.between(timing.min, timing.max) or timing.after
    select.wait { claim.event, timeout = pause }
  end
end

-- Whether nobody else has the address (RFC 5227 section 2.1, RFC 4862 section 5.4). Blocks for the time of the probes.
---@param ip string
---@param timing table one of M.PROBES, M.DETECTION, or of M.detection()
---@return true|nil free
---@return string|nil mac of the host that has the address
function Neighbours:probe(ip, timing)
  local key = segment.key(ip)
  local other = conflict_here(self, key)
  if other then return nil, other end
  local claim = enter(self, key, segment.claim(self.conn, ip))
  claim.event = channel.new()
  local ok, failure = pcall(ask_around, self, claim, timing) -- whoever asked may be cancelled
  claim.event = nil
  if ok and not claim.conflict then return true end
  self:release(ip)
  if not ok then error(failure, 0) end
  return nil, claim.conflict
end

-- Tells the link that this host has the address (RFC 5227 section 2.3).
---@param ip string
function Neighbours:announce(ip)
  self.conn:send(arp.build { sha = self.mac, spa = ip, tpa = ip }, BROADCAST, { ethertype = ARP })
end

return M
