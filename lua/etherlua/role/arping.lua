-- role/arping.lua: one host asks for one address again and again: by ARP (RFC 826), for an IPv6 address by neighbour
-- solicitation (RFC 4861). Without a source address of its own it probes, which changes nobody's cache (RFC 5227 2.1.1,
-- RFC 4862 5.4.2).
--
--   local asker = arping.new(conn, { target = "10.0.0.1", count = 3 })
--   asker:run(function(answer) print(answer.mac, answer.seconds) end)
--
-- Who keeps a schedule of his own calls asker:ask() and asker:answer(timeout) instead of run().
--
-- The caller owns the EtherConn, which has to hear group frames: answers to IPv6 probes are multicast.

local addr = require "etherlua.net.addr"
local arp = require "etherlua.proto.arp"
local group = require "etherlua.net.group"
local histogram = require "etherlua.core.histogram"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"

local M = {}

local BROADCAST, ALL_NODES = group.BROADCAST, "ff02::1"
local ARP, IP6, ICMP6 = numbers.ethertype.ARP, numbers.ethertype.IPV6, numbers.protocol.ICMP6
local HOP_LIMIT = 255 -- RFC 4861 7.1.2: nobody beyond a router can have sent it
local OWNERS_MAX = 64

-- See arping.new.
---@class etherlua.arping
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
---@field question integer which question it answers, from 1
---@field duplicate boolean several MAC addresses have answered

local function accept(self, frame, mac)
  self.answers = self.answers + 1
  if self.open then self.answered = self.answered + 1 end
  self.open = false
  note_owner(self, mac)
  local seconds = math.max(0, frame.timestamp - self.asked)
  self.times:record(seconds)
  return { mac = mac, seconds = seconds, broadcast = addr.mac_bytes(frame.dst_mac):byte() % 2 == 1,
    question = self.sent, duplicate = #self.owners > 1 }
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

-- ---- the run ------------------------------------------------------------------------------------------------------

-- A link may come back; what else keeps a question from being sent ends it.
local function count_unsent(self, reason)
  self.unsent, self.reason = self.unsent + 1, reason
  return reason ~= "link down" and reason or nil
end

-- Tells what comes until the time is over. Returns whether that was all that was wanted, or nil and why nothing more
-- can come.
local function listen(self, tell, seconds)
  local deadline = sched.now() + seconds
  while sched.now() < deadline do
    local answer, reason = self:answer(deadline - sched.now())
    if not answer then
      if reason ~= "timeout" then return nil, reason end
      return false
    end
    if tell then tell(answer) end
    if self.first then return true end
  end
  return false
end

local function run(self, tell)
  for i = 1, self.count do
    local sent, reason = self:ask(not self.broadcast and self.owners[1] or nil)
    reason = not sent and count_unsent(self, reason)
    if reason then return nil, reason end
    local over, ended = listen(self, tell, i == self.count and self.timeout or self.interval)
    if over == nil then return nil, ended end
    if over then break end
  end
  self.finished = true
  return true
end

local function run_announcements(self)
  for i = 1, self.count do
    if i > 1 then sched.sleep(self.interval) end
    local sent, reason = self:announce()
    if sent then self.sent = self.sent + 1 else reason = count_unsent(self, reason) end
    if not sent and reason then return nil, reason end
  end
  self.finished = true
  return true
end

-- Asks `count` times, or announces, and listens behind the last question. Blocks until that is done.
---@param tell? fun(answer: etherlua.arping_answer)
---@return true|nil
---@return string|nil reason why it could not go on, such as "interface gone"
function Asker:run(tell)
  return role.run(self, self.announces and run_announcements or run, tell)
end

-- It asks no more. The EtherConn stays open.
function Asker:close()
  role.close(self)
end

---@class etherlua.arping_summary
---@field target string
---@field source string
---@field mac string own MAC address
---@field vlans string
---@field sent integer questions
---@field broadcasts integer of these, to a group address
---@field unsent integer for the reason that is in `reason`
---@field reason? string
---@field answered integer questions
---@field answers integer
---@field owners integer MAC addresses that have answered
---@field macs string[] these, the first 64
---@field ignored integer frames that are no answers
---@field finished boolean run() did all that it was to do
---@field times etherlua.summary

---@return etherlua.arping_summary
function Asker:summary()
  return { target = self.target, source = self.source, mac = self.mac, vlans = tostring(self.conn.vlans),
    sent = self.sent, broadcasts = self.broadcasts, unsent = self.unsent, reason = self.reason,
    answered = self.answered, answers = self.answers, owners = #self.owners, macs = role.copy(self.owners),
    ignored = self.ignored, finished = self.finished, times = self.times:summary() }
end

-- ---- making it ----------------------------------------------------------------------------------------------------

-- The version of an address that a single host may have.
local function version_of(target)
  local bytes = addr.ip_bytes(target)
  local first = bytes:byte()
  if bytes:find("^%z+$") or #bytes == 4 and first >= 224 or #bytes == 16 and first == 0xff then
    misuse.raise("bad target %s: it is no host's address", target)
  end
  return #bytes == 4 and 4 or 6
end

-- The defaults are in brackets.
---@class etherlua.arping_opts
---@field target string IPv4 or IPv6 address to ask for
---@field source? string own address of the same version (none: it probes)
---@field count? integer questions, math.huge: for ever (3)
---@field interval? number seconds from one question to the next (1)
---@field timeout? number seconds to listen behind the last one (1)
---@field broadcast? boolean ask everybody each time, and not only until the first answer (false)
---@field first? boolean end at the first answer (false)
---@field announce? boolean tell everybody that this host has the address, instead of asking (false)

local OPTIONS = options.new("an asker for one address", {
  target = options.text():needed(), source = options.any(), count = options.number(1, math.huge, 3),
  interval = options.seconds(1), timeout = options.seconds(1), broadcast = options.boolean(false),
  first = options.boolean(false), announce = options.boolean(false),
})

---@param conn etherlua.conn with EtherTypes ARP and IPv6, and multicast = true
---@param given etherlua.arping_opts
---@return etherlua.arping raises when the addresses are none, or not of one version
function M.new(conn, given)
  role.check("an asker for one address", conn, "conn")
  local opts = OPTIONS:read(given)
  local version = version_of(opts.target)
  local source = opts.source or (version == 4 and "0.0.0.0" or "::")
  if #addr.ip_bytes(source) ~= #addr.ip_bytes(opts.target) then
    misuse.raise("bad source %s: an IPv%d address is needed, as %s is one", source, version, opts.target)
  end
  return setmetatable({ conn = conn, mac = tostring(conn.mac), version = version,
    ethertype = version == 4 and ARP or IP6, target = addr.ip_text(addr.ip_bytes(opts.target)),
    source = addr.ip_text(addr.ip_bytes(source)), count = opts.count, interval = opts.interval,
    timeout = opts.timeout, broadcast = opts.broadcast, first = opts.first, announces = opts.announce, sent = 0,
    broadcasts = 0, unsent = 0, answered = 0, answers = 0, ignored = 0, owners = {}, known = {}, finished = false,
    times = histogram.new() }, Asker)
end

return M
