-- role/traffic_receiver.lua: receives the flows of role/traffic.lua and counts. Each host that flows go to is an
-- EtherConn with a task that reads it, so that a packet for another MAC address or VLAN stack is not received; its
-- payload says which flow it belongs to. What is no test packet is counted and ignored: nothing in one is trusted.

local bit = require "bit"
local effi = require "etherlua.core.ffi"
local counts = require "etherlua.role.traffic_counts"
local histogram = require "etherlua.core.histogram"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local traffic = require "etherlua.role.traffic"

local C = effi.C
local band, bswap, rshift = bit.band, bit.bswap, bit.rshift
local load16, native32 = memory.load16, memory.native32
local MAGIC, MAGIC_MASK, WARM_UP = traffic.MAGIC, traffic.MAGIC_MASK, traffic.WARM_UP
local FLOW, SEQUENCE, SECONDS, NANOSECONDS = traffic.FLOW, traffic.SEQUENCE, traffic.SECONDS, traffic.NANOSECONDS
local UDP_FRAME, UDP_HEADER, FCS = C.EL_FRAME_UDP, 8, 4
local ARP, ICMP6 = numbers.ethertype.ARP, numbers.protocol.ICMP6

local M = {}

-- A packet that says to be so many ahead of the last one is not believed, when it is not known how many were sent.
local JUMP = 2 ^ 24
-- Relays whose frames carry the time when the kernel got them. That of others is the time of a turn of the loop, which
-- may be older than a packet that this program sent itself: there the clock is read.
local KERNEL_STAMPS = { afpacket = true, pcap = true }
-- Times outside of this are those of another clock. One may be a bit early: the kernel stamps frames by the wall clock,
-- which runs at another speed while it is being adjusted.
local EARLIEST, LATEST = -1e-3, 3600

-- See traffic_receiver.new.
---@class etherlua.traffic_receiver
local Receiver = {}
Receiver.__index = Receiver

-- ---- one packet ---------------------------------------------------------------------------------------------------

-- How many packets of the flow there can be at the most.
local function bound_of(receiver, i)
  if receiver.sender then return receiver.sender.states[i].sent end
  return receiver.count or receiver.counts[i].next + JUMP
end

local function time(receiver, flow, seconds)
  if not (seconds >= EARLIEST and seconds <= LATEST) then
    receiver.untimed = receiver.untimed + 1
    return
  end
  if seconds < 0 then seconds = 0 end
  receiver.latency:record(seconds)
  counts.time(flow, seconds)
end

-- What a packet is among those of its flow.
local function count(receiver, i, frame, payload)
  local flow = receiver.counts[i]
  local duplicates, outside, reordered = flow.duplicates, flow.outside, flow.reordered
  if counts.arrive(flow, bswap(native32(payload, SEQUENCE)), bound_of(receiver, i)) then
    receiver.received, receiver.bytes = receiver.received + 1, receiver.bytes + frame.len + FCS
    receiver.reordered = receiver.reordered + (flow.reordered - reordered)
    local sent = bswap(native32(payload, SECONDS)) + bswap(native32(payload, NANOSECONDS)) * 1e-9
    return time(receiver, flow, (receiver.kernel_stamps and frame.timestamp or sched.now()) - sent)
  end
  receiver.duplicates = receiver.duplicates + (flow.duplicates - duplicates)
  receiver.outside = receiver.outside + (flow.outside - outside)
end

-- A packet with the magic.
local function hear_test(receiver, frame, payload, len)
  if len < traffic.LENGTH then
    receiver.truncated = receiver.truncated + 1
    return
  end
  if band(bswap(native32(payload, NANOSECONDS)), WARM_UP) ~= 0 then
    receiver.warm_up = receiver.warm_up + 1
    return
  end
  local i = rshift(bswap(native32(payload, FLOW)), 8) - receiver.first
  if i < 0 or i >= receiver.flow_count then
    receiver.unknown = receiver.unknown + 1
    return
  end
  return count(receiver, i, frame, payload)
end

-- Not of a flow. What hosts ask each other is no stranger's.
local function hear_other(receiver, frame)
  if frame.ethertype == ARP or frame.protocol == ICMP6 then return end
  receiver.foreign = receiver.foreign + 1
end

local function hear(receiver, frame)
  if band(frame.flags, UDP_FRAME) == 0 then return hear_other(receiver, frame) end
  local udp = frame.data + frame.l4
  local len = load16(udp, 4) - UDP_HEADER
  if len < 4 or band(native32(udp, UDP_HEADER), MAGIC_MASK) ~= MAGIC then return hear_other(receiver, frame) end
  return hear_test(receiver, frame, udp + UDP_HEADER, len)
end

local function read(receiver, conn)
  while conn:is_open() do
    local frame, reason = conn:recv_frame()
    if not frame then
      receiver.ended = reason
      return
    end
    hear(receiver, frame)
  end
end

-- ---- opening ------------------------------------------------------------------------------------------------------

-- The defaults are in brackets.
---@class etherlua.traffic_receiver_opts
---@field flows etherlua.traffic_flows
---@field sender? etherlua.traffic_sender of these flows, if it is in this program
---@field count? integer packets of each flow, if that is known otherwise. Without both, a flow begins and ends with
---  what came of it
---@field timeout? number run() ends when nothing has come for so many seconds (2)
---@field duration? number run() ends so many seconds after the first packet (no limit)

M.OPTIONS = options.new("a receiver of traffic", {
  flows = options.of_type("what traffic.flows returns is needed", "table"):needed(),
  sender = options.of_type("what traffic_sender.new returns is needed", "table"),
  count = options.number(1, math.huge), timeout = options.seconds(2), duration = options.seconds(),
})

-- A receiver of flows; nothing is opened yet.
---@param endpoints etherlua.traffic_endpoints
---@param given etherlua.traffic_receiver_opts
---@return etherlua.traffic_receiver
function M.new(endpoints, given)
  role.check("a receiver of traffic", endpoints, "endpoints")
  local opts = M.OPTIONS:read(given)
  local flows = opts.flows
  return setmetatable({ flows = flows, flow_count = flows.count, first = flows.first, endpoints = endpoints,
    sender = opts.sender, count = opts.count, timeout = opts.timeout, duration = opts.duration, conns = {}, tasks = {},
    opened = 0, kernel_stamps = KERNEL_STAMPS[endpoints.relay.kind] or false,
    counts = counts.new(flows.count, opts.sender ~= nil or opts.count ~= nil), latency = histogram.new(), received = 0,
    bytes = 0, duplicates = 0, reordered = 0, outside = 0, untimed = 0, foreign = 0, truncated = 0, unknown = 0,
    warm_up = 0 }, Receiver)
end

-- Opens the endpoints and begins to receive, in tasks of its own. Gives way now and then.
function Receiver:open()
  if self.opened > 0 or self.closed then return end
  for i = 0, self.flow_count - 1 do
    local flow = self.flows:at(i)
    local conn = self.endpoints:conn(flow.dst_mac, flow.vlans, flow.dst_ip)
    if not self.tasks[conn.ep.id] then
      self.conns[#self.conns + 1] = conn
      self.tasks[conn.ep.id] = role.help(self, read, self, conn)
    end
    self.opened = i + 1
    if i % 1000 == 999 then sched.sleep(0) end
  end
end

-- Goes on receiving where tasks were cancelled, which Ctrl-C does.
function Receiver:resume()
  for _, conn in ipairs(self.conns) do
    local id = conn.ep.id
    if self.tasks[id].done and not self.ended then self.tasks[id] = role.help(self, read, self, conn) end
  end
end

-- ---- what came ----------------------------------------------------------------------------------------------------

-- How many packets of a flow should have come, as far as that is known.
---@param i integer from 0
---@return integer
function Receiver:expected_of(i)
  local flow = self.counts[i]
  return self.sender and self.sender:sent_of(i) or self.count or flow.next - flow.first
end

---@return integer packets of all flows that should have come, as far as that is known
function Receiver:expected()
  if self.sender then return self.sender.sent end
  local sum = 0
  for i = 0, self.flow_count - 1 do sum = sum + self:expected_of(i) end
  return sum
end

-- What became of one flow.
---@class etherlua.traffic_flow
---@field expected integer packets that should have come
---@field received integer
---@field lost integer expected, and not received
---@field duplicates integer
---@field reordered integer
---@field outside integer
---@field latency etherlua.summary percentiles to 10 %

---@param i integer from 0
---@return etherlua.traffic_flow
function Receiver:flow(i)
  local flow, expected = self.counts[i], self:expected_of(i)
  return { expected = expected, received = flow.received, lost = expected - flow.received, duplicates = flow.duplicates,
    reordered = flow.reordered, outside = flow.outside, latency = counts.summary(flow) }
end

-- How bad a flow is: packets that were lost, came twice, out of order, or with numbers that cannot be.
---@param i integer from 0
---@return integer
function Receiver:trouble(i)
  local flow = self.counts[i]
  return self:expected_of(i) - flow.received + flow.duplicates + flow.reordered + flow.outside
end

-- Flows of which nothing came.
---@return integer
function Receiver:silent()
  local silent = 0
  for i = 0, self.flow_count - 1 do
    if self.counts[i].received == 0 then silent = silent + 1 end
  end
  return silent
end

-- Waits for what is on its way, until all that was sent has come and nothing follows, or so long at the most.
---@param seconds number
function Receiver:settle(seconds)
  local deadline, step = sched.now() + seconds, math.min(0.05, seconds)
  repeat
    local complete = self.received >= self:expected()
    sched.sleep(step)
    role.check_help(self)
  until complete or self.ended or sched.now() >= deadline
end

local function run(receiver)
  receiver:open()
  local last, since, began, limit = 0, math.huge, math.huge, receiver.duration or math.huge
  while not receiver.ended do
    local time_now = sched.now()
    local heard = receiver.received + receiver.duplicates + receiver.outside + receiver.warm_up
    if heard > last then last, since, began = heard, time_now, math.min(began, time_now) end
    if time_now - since > receiver.timeout or time_now - began > limit then return true end
    if receiver.count and receiver.received >= receiver.count * receiver.flow_count then return true end
    sched.sleep(0.05)
  end
  return nil, receiver.ended
end

-- Receives. Blocks until all has come when it is known how much that is, until nothing has come for a while after the
-- first packet, or until the time is over.
---@return true|nil
---@return string|nil reason why it ended before: "interface gone", "closed"
function Receiver:run()
  return role.run(self, run)
end

-- It receives no more. The endpoints stay open.
function Receiver:close()
  if not role.close(self) then return end
  for _, task in pairs(self.tasks) do task:cancel() end
end

local COUNTED = { "opened", "received", "bytes", "duplicates", "reordered", "outside", "foreign", "truncated",
  "unknown", "untimed", "warm_up" }
local DROPS = { "rx_missed", "rx_overflow", "rx_evicted", "rx_no_memory" }

-- Packets of all flows together; foreign to warm_up are frames that are not among them.
---@class etherlua.traffic_receiver_summary
---@field opened integer flows whose endpoints are open
---@field expected integer packets that should have come
---@field received integer packets, each counted once
---@field bytes integer of these, as frames with their tags and frame check sequences
---@field lost integer expected, and not received
---@field loss number lost to expected
---@field duplicates integer
---@field reordered integer by RFC 4737 section 3.3
---@field outside integer packets whose number is too far from the others for any of this to be told
---@field silent_flows integer flows of which nothing came
---@field receiver_drops integer frames that the relay lost
---@field foreign integer no test packets
---@field truncated integer test packets that are cut short
---@field unknown integer of flows that there are not
---@field untimed integer of those received: with a time that is not of this machine's clock
---@field warm_up integer sent to warm up
---@field latency etherlua.summary of those received, from the send call to the kernel's reception; over xdp, to when
---  they are read

-- What of a summary adds up with that of other receivers; latency is a histogram.
---@return table
function Receiver:totals()
  local values = { expected = self:expected(), silent_flows = self:silent(), latency = self.latency,
    receiver_drops = self.endpoints:drops(DROPS) }
  for _, name in ipairs(COUNTED) do values[name] = self[name] end
  return values
end

-- What follows from counts, or sums of these, which become what is returned.
---@param values table
---@return etherlua.traffic_receiver_summary
function M.summary(values)
  values.lost = values.expected - values.received
  values.loss = values.expected > 0 and values.lost / values.expected or 0
  values.latency = values.latency:summary()
  return values
end

---@return etherlua.traffic_receiver_summary
function Receiver:summary()
  return M.summary(self:totals())
end

return M
