-- role/arping.lua: one host asks for one address again and again: by ARP (RFC 826), for an IPv6 address by neighbour
-- solicitation (RFC 4861). Without a source address of its own it probes, which changes nobody's cache (RFC 5227 2.1.1,
-- RFC 4862 5.4.2). It keeps no schedule: who calls says when to ask and how long to listen.
--
--   local asker = arping.new(conn, { target = "10.0.0.1" })
--   asker:ask()
--   local answer = asker:answer(1)
--
-- The caller owns the EtherConn, which has to hear group frames: answers to IPv6 probes are multicast.

local addr = require "etherlua.net.addr"
local arp = require "etherlua.proto.arp"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local numbers = require "etherlua.net.numbers"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"

local M = {}

local BROADCAST, ALL_NODES = group.BROADCAST, "ff02::1"
local ARP, IP6, ICMP6 = numbers.ethertype.ARP, numbers.ethertype.IPV6, numbers.protocol.ICMP6
local HOP_LIMIT = 255 -- RFC 4861 7.1.2: nobody beyond a router can have sent it
local OWNERS_MAX = 64

-- See arping.new.
---@class etherlua.arping
---@field version integer 4 or 6
---@field sent integer questions
---@field broadcasts integer of these, to a group address
---@field answered integer questions
---@field answers integer
---@field owners string[] MAC addresses that have answered, the first 64
---@field ignored integer frames that are no answers
local Asker = {}
Asker.__index = Asker

-- ---- asking -------------------------------------------------------------------------------------------------------

local function ask_arp(self, mac)
  return self.conn:send(arp.build { sha = self.mac, spa = self.source, tpa = self.target }, mac or BROADCAST,
    { ethertype = ARP })
end

-- RFC 4861 4.3: without a source address the message goes to the group, and does not tell the link-layer address.
local function ask_nd(self, mac)
  local to_all, group_mac = icmp6.solicited_node(self.target)
  local dst = mac and self.source ~= "::" and self.target or to_all
  return segment.send_icmp6(self.conn, { type = icmp6.NEIGHBOUR_SOLICITATION, target = self.target,
    source_link_layer_address = self.source ~= "::" and self.mac or nil }, self.source, dst, mac or group_mac)
end

-- Sends one question.
---@param mac? string to whom (everybody)
---@return true|nil
---@return string|nil reason "link down", "interface gone"
function Asker:ask(mac)
  self.asked, self.open = sched.now(), true
  local sent, reason = (self.version == 4 and ask_arp or ask_nd)(self, mac)
  if not sent then return nil, reason end
  self.sent = self.sent + 1
  if not mac then self.broadcasts = self.broadcasts + 1 end
  return true
end

-- Tells everybody that this host has the IPv4 address (RFC 5227 2.3), or the IPv6 address (RFC 4861 7.2.6).
---@return true|nil
---@return string|nil reason "link down", "interface gone"
function Asker:announce()
  if self.version == 4 then
    return self.conn:send(arp.build { sha = self.mac, spa = self.target, tpa = self.target }, BROADCAST,
      { ethertype = ARP })
  end
  return segment.send_icmp6(self.conn, { type = icmp6.NEIGHBOUR_ADVERTISEMENT, override = true, target = self.target,
    target_link_layer_address = self.mac }, self.target, ALL_NODES, group.mac_text(ALL_NODES))
end

-- ---- answers ------------------------------------------------------------------------------------------------------

local function owner_by_arp(self, frame)
  local packet = arp.parse(frame.body)
  if not packet or packet.op ~= arp.REPLY or packet.spa ~= self.target then return nil end
  return packet.tha == self.mac and packet.sha or nil
end

-- RFC 4861 7.1.2, and 4.4: without the option the frame's source is meant.
local function owner_by_nd(self, frame)
  local packet = ipv6.parse(frame.body)
  if not packet or packet.protocol ~= ICMP6 or packet.hop_limit ~= HOP_LIMIT then return nil end
  local message = icmp6.checksum_ok(packet.payload, packet) and icmp6.parse(packet.payload)
  if not message or message.type ~= icmp6.NEIGHBOUR_ADVERTISEMENT or message.target ~= self.target then return nil end
  return message.target_link_layer_address or frame.src_mac
end

local OWNER = { [ARP] = owner_by_arp, [IP6] = owner_by_nd }

-- The MAC address that a frame says the target has; nil when it says nothing of the kind, or a group address (RFC 1812
-- 3.3.2).
local function owner_of(self, frame)
  if frame.ethertype ~= self.ethertype then return nil end
  local mac = OWNER[self.ethertype](self, frame)
  return mac and addr.mac_bytes(mac):byte() % 2 == 0 and mac or nil
end

local function note_owner(self, mac)
  if self.known[mac] or #self.owners == OWNERS_MAX then return end
  self.known[mac] = true
  self.owners[#self.owners + 1] = mac
end

-- One answer.
---@class etherlua.arping_answer
---@field mac string
---@field seconds number since the last question
---@field broadcast boolean it was sent to everybody

local function accept(self, frame, mac)
  self.answers = self.answers + 1
  if self.open then self.answered = self.answered + 1 end
  self.open = false
  note_owner(self, mac)
  return { mac = mac, seconds = math.max(0, frame.timestamp - self.asked),
    broadcast = addr.mac_bytes(frame.dst_mac):byte() % 2 == 1 }
end

-- The next answer. Blocks until it comes or the time is over, which what is no answer does not prolong.
---@param timeout number seconds
---@return etherlua.arping_answer|nil
---@return string|nil reason "timeout" or what ended the relay
function Asker:answer(timeout)
  local deadline = sched.now() + timeout
  while true do
    local frame, reason = self.conn:recv_frame(math.max(0, deadline - sched.now()))
    if not frame then return nil, reason end
    local mac = owner_of(self, frame)
    if mac then return accept(self, frame, mac) end
    self.ignored = self.ignored + 1
    if sched.now() >= deadline then return nil, "timeout" end
  end
end

-- ---- making it ----------------------------------------------------------------------------------------------------

-- The version of an address that a single host may have.
local function version_of(target)
  local bytes = addr.ip_bytes(target)
  local first = bytes:byte()
  if bytes:find("^%z+$") or #bytes == 4 and first >= 224 or #bytes == 16 and first == 0xff then
    error(("bad target %s: it is no host's address"):format(target), 0)
  end
  return #bytes == 4 and 4 or 6
end

-- The defaults are in brackets.
---@class etherlua.arping_opts
---@field target string IPv4 or IPv6 address to ask for
---@field source? string own address of the same version (none: it probes)

---@param conn etherlua.conn with EtherTypes ARP and IPv6, and multicast = true
---@param opts etherlua.arping_opts
---@return etherlua.arping raises when the addresses are none, or not of one version
function M.new(conn, opts)
  local version = version_of(opts.target)
  local source = opts.source or (version == 4 and "0.0.0.0" or "::")
  if #addr.ip_bytes(source) ~= #addr.ip_bytes(opts.target) then
    error(("bad source %s: an IPv%d address is needed, as %s is one"):format(source, version, opts.target), 0)
  end
  return setmetatable({ conn = conn, mac = tostring(conn.mac), version = version,
    ethertype = version == 4 and ARP or IP6, target = addr.ip_text(addr.ip_bytes(opts.target)),
    source = addr.ip_text(addr.ip_bytes(source)), sent = 0, broadcasts = 0, answered = 0, answers = 0, ignored = 0,
    owners = {}, known = {} }, Asker)
end

return M
