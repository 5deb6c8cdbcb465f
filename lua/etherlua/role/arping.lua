-- role/arping.lua: one host asks for one address again and again: by ARP (RFC 826), for an IPv6 address by neighbour
-- solicitation (RFC 4861). Without a source address of its own it probes, which changes nobody's cache (RFC 5227 2.1.1,
-- RFC 4862 5.4.2). With `dad` it wants to know whether the address is free: then not only an answer says that somebody
-- has it, but whatever its owner sends, and so does somebody else's probe for it (host/ownership.lua).
--
--   local asker = arping.new(conn, { target = "10.0.0.1", count = 3 })
--   asker:run(function(answer) print(answer.mac, answer.seconds) end)
--
-- Who keeps a schedule of his own calls asker:ask() and asker:answer(timeout) instead of run().
--
-- The caller owns the EtherConn, which has to hear group frames: answers to IPv6 probes are multicast.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local arp = require "etherlua.proto.arp"
local group = require "etherlua.net.group"
local histogram = require "etherlua.core.histogram"
local icmp6 = require "etherlua.proto.icmp6"
local memory = require "etherlua.net.memory"
local misuse = require "etherlua.core.misuse"
local nd = require "etherlua.host.nd"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local ownership = require "etherlua.host.ownership"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"

local M = {}

local BROADCAST, ALL_NODES = group.BROADCAST, "ff02::1"
local ARP, IP6 = numbers.ethertype.ARP, numbers.ethertype.IPV6
local OWNERS_MAX = 64
local THA = 18 -- where an ARP packet has its target hardware address
local same_mac = memory.same_mac

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
  return nd.send(self.conn, { type = icmp6.NEIGHBOUR_SOLICITATION, target = self.target,
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
  return nd.send(self.conn, { type = icmp6.NEIGHBOUR_ADVERTISEMENT, override = true, target = self.target,
    target_link_layer_address = self.mac }, self.target, ALL_NODES, group.mac_text(ALL_NODES))
end

-- ---- answers ------------------------------------------------------------------------------------------------------

-- Whether a reply is for this host and not for another that asks the same. RFC 826 looks at the target hardware address
-- nowhere, and some leave it empty.
local function is_for_us(self, tha)
  return same_mac(tha, self.conn.mac.byte) or ownership.is_nobody(tha)
end

-- What the sender of an ARP packet says about the target: "reply", "request" when it says by one that it has it, and
-- "probe" when it would like to have it.
local function said_by_arp(self, frame)
  if not ownership.is_arp(frame) then return nil end
  local packet, has, wants, mac = frame.data + frame.payload, ownership.arp(frame)
  if (has or wants) ~= self.key then return nil end
  if wants then return "probe", mac end
  local is_reply = packet[6] == 0 and packet[7] == arp.REPLY
  if is_reply and (self.dad or is_for_us(self, packet + THA)) then return "reply", mac end
  return not is_reply and "request" or nil, mac
end

local function said_by_nd(self, frame)
  local message = nd.is(frame) and nd.read(frame)
  if not message then return nil end
  local has, wants, mac = ownership.nd(frame, message, ffi.string(frame.data + frame.l3 + 8, 16))
  if (has or wants) ~= self.key then return nil end
  if wants then return "probe", mac end
  return message.type == icmp6.NEIGHBOUR_ADVERTISEMENT and "reply" or "request", mac
end

local SAID = { [ARP] = said_by_arp, [IP6] = said_by_nd }

-- How a frame says that somebody has the target, and the MAC address of that one; nil when it says nothing of the kind.
-- Unless the question is whether the address is free only replies count; then what comes back of one's own does not.
local function owner_of(self, frame)
  if frame.ethertype ~= self.ethertype then return nil end
  local said, mac = SAID[self.ethertype](self, frame)
  local counts = said == "reply" or self.dad
  if not said or not counts or self.dad and same_mac(mac, self.conn.mac.byte) then return nil end
  return said, addr.mac_text(ffi.string(mac, 6))
end

local function note_owner(self, mac)
  if self.known[mac] or #self.owners == OWNERS_MAX then return end
  self.known[mac] = true
  self.owners[#self.owners + 1] = mac
end

-- One answer.
---@class etherlua.arping_answer
---@field mac string
---@field sent_by? string source of the frame, where that is another MAC address (as VRRP routers have it)
---@field said "reply"|"request"|"probe" how; with `dad` alone it is not always a reply
---@field seconds number since the last question
---@field broadcast boolean it was sent to everybody
---@field question integer which question it answers, from 1
---@field duplicate boolean several MAC addresses have answered

local function accept(self, frame, said, mac)
  self.answers = self.answers + 1
  if self.open then self.answered = self.answered + 1 end
  self.open = false
  note_owner(self, mac)
  local seconds, source = math.max(0, frame.timestamp - self.asked), frame.src_mac
  self.times:record(seconds)
  return { mac = mac, sent_by = source ~= mac and source or nil, said = said, seconds = seconds,
    broadcast = memory.is_group_mac(frame.data), question = self.sent, duplicate = #self.owners > 1 }
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
    local said, mac = owner_of(self, frame)
    if said then return accept(self, frame, said, mac) end
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

-- Whoever asks whether an address is free wants to hear what is sent to its group (RFC 4862 5.4.2).
local function join_group(self)
  if self.dad and self.version == 6 then nd.report_group(self.conn, (icmp6.solicited_node(self.target))) end
end

local function run(self, tell)
  join_group(self)
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
---@field dad? boolean is the address free? Whatever says that somebody has it, or wants it, is an answer (false)
---@field announce? boolean tell everybody that this host has the address, instead of asking (false)

local OPTIONS = options.new("an asker for one address", {
  target = options.text():needed(), source = options.any(), count = options.number(1, math.huge, 3),
  interval = options.seconds(1), timeout = options.seconds(1), broadcast = options.boolean(false),
  first = options.boolean(false), dad = options.boolean(false), announce = options.boolean(false),
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
    timeout = opts.timeout, broadcast = opts.broadcast, first = opts.first, dad = opts.dad,
    key = segment.key(opts.target), announces = opts.announce, sent = 0, broadcasts = 0, unsent = 0, answered = 0,
    answers = 0, ignored = 0, owners = {}, known = {}, finished = false, times = histogram.new() }, Asker)
end

return M
