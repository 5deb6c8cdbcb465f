-- role/traffic_direction.lua: one way of test traffic: the sender of role/traffic.lua's flows, their receiver, or both
-- when they are in one program, and what can be said of them together. It owns neither relay.

local sched = require "etherlua.core.sched"
local traffic_receiver = require "etherlua.role.traffic_receiver"
local traffic_sender = require "etherlua.role.traffic_sender"

local M = {}

-- See traffic_direction.new.
---@class etherlua.traffic_direction
---@field name string
---@field flows etherlua.traffic_flows
---@field sender? etherlua.traffic_sender
---@field receiver? etherlua.traffic_receiver
local Direction = {}
Direction.__index = Direction

-- Nothing is opened yet.
---@param opts { name: string, flows: etherlua.traffic_flows, from: etherlua.traffic_endpoints?, to:
---  etherlua.traffic_endpoints?, mix: etherlua.size_mix?, rate: number?, ttl: integer?, tos: integer?, dst_mac:
---  function?, count: integer? } from: where they are sent, as traffic_sender.new says of the others; to: where they
---  are received; count: packets of each flow that another program sends
---@return etherlua.traffic_direction
function M.new(opts)
  local one = setmetatable({ name = opts.name, flows = opts.flows }, Direction)
  if opts.from then
    one.sender = traffic_sender.new { flows = opts.flows, mix = opts.mix, rate = opts.rate, endpoints = opts.from,
      ttl = opts.ttl, tos = opts.tos, dst_mac = opts.dst_mac }
  end
  if opts.to then
    one.receiver = traffic_receiver.new { flows = opts.flows, endpoints = opts.to, sender = one.sender,
      count = opts.count }
  end
  return one
end

-- Opens the endpoints and begins to receive. Raises and blocks as the sender's open().
function Direction:open()
  if self.receiver then self.receiver:open() end
  if self.sender then self.sender:open() end
end

-- The sending is over: sends what is pending, and waits for what is on its way. It goes on receiving when Ctrl-C has
-- cancelled those who read.
---@param seconds number at the most
function Direction:finish(seconds)
  local sender, receiver = self.sender, self.receiver
  if sender then
    if sender.began then sender.finished = sender.finished or sched.now() end
    sender.endpoints.relay:flush()
  end
  if receiver then receiver:resume() end
  if sender and receiver then receiver:settle(seconds) end
end

-- ---- what can be said ---------------------------------------------------------------------------------------------

-- Frames that a relay itself lost, by its counters.
local SENDER_DROPS, RECEIVER_DROPS = { "tx_link_down", "tx_refused", "tx_error" },
  { "rx_missed", "rx_overflow", "rx_evicted", "rx_no_memory" }

local function drops(endpoints, names)
  local stats, sum = endpoints.relay:stats(), 0
  for _, name in ipairs(names) do sum = sum + stats[name] end
  return sum
end

local function summarize_sender(values, sender)
  local seconds = (sender.finished or sched.now()) - sender.began
  values.seconds, values.sent, values.unsent, values.slipped = seconds, sender.sent, sender.unsent, sender.slipped
  values.pps, values.mbps = sender.sent / seconds, sender.bytes * 8 / seconds / 1e6
  values.sender_drops, values.reason = drops(sender.endpoints, SENDER_DROPS), sender.reason
end

local COUNTED = { "received", "duplicates", "reordered", "outside", "foreign", "truncated", "unknown", "untimed" }

local function summarize_receiver(values, receiver)
  for _, name in ipairs(COUNTED) do values[name] = receiver[name] end
  values.expected, values.silent_flows = receiver:expected(), receiver:silent()
  values.lost = values.expected - values.received
  values.loss = values.expected > 0 and values.lost / values.expected or 0
  values.receiver_drops = drops(receiver.endpoints, RECEIVER_DROPS)
end

-- Of all flows. Those fields that a missing sender or receiver would tell are nil.
---@class etherlua.traffic_summary
---@field direction string
---@field flows integer
---@field seconds? number from the first packet sent to the last
---@field sent? integer
---@field pps? number sent
---@field mbps? number sent, of whole frames
---@field unsent? integer packets that the relay did not take
---@field slipped? integer times of packets that passed unused: this machine was too slow for the rate
---@field sender_drops? integer frames that the sending relay lost later
---@field reason? string why packets were not sent
---@field expected? integer packets that should have come
---@field received? integer packets, each counted once
---@field lost? integer expected, and not received
---@field loss? number lost to expected
---@field duplicates? integer
---@field reordered? integer
---@field outside? integer
---@field silent_flows? integer flows of which nothing came
---@field receiver_drops? integer frames that the receiving relay lost
---@field foreign? integer frames that are no test packets
---@field truncated? integer
---@field unknown? integer packets of flows that there are not
---@field untimed? integer packets with the time of another clock

---@return etherlua.traffic_summary
function Direction:summary()
  local values = { direction = self.name, flows = self.flows.count }
  if self.sender and self.sender.began then summarize_sender(values, self.sender) end
  if self.receiver then summarize_receiver(values, self.receiver) end
  return values
end

-- What has happened up to now, and since the last call with the same table.
---@param before table empty at first
---@return { seconds: number, sent: integer?, pps: number?, received: integer?, received_pps: number?, missing:
---  integer?, duplicates: integer?, reordered: integer? } values seconds: since the first call; missing: lost, or on
---  their way
function Direction:progress(before)
  local sender, receiver, time = self.sender, self.receiver, sched.now()
  before.began = before.began or time
  local span = math.max(time - (before.time or time), 1e-3)
  local sent, received = sender and sender.sent, receiver and receiver.received
  local values = { direction = self.name, seconds = time - before.began, sent = sent, received = received,
    pps = sent and (sent - (before.sent or 0)) / span,
    received_pps = received and (received - (before.received or 0)) / span,
    missing = receiver and receiver:expected() - received, duplicates = receiver and receiver.duplicates,
    reordered = receiver and receiver.reordered }
  before.time, before.sent, before.received = time, sent, received
  return values
end

-- The flows of which most was lost, came twice or out of order.
---@param limit integer how many at the most
---@return integer[] numbers from 0, the worst first; none that was faultless
function Direction:worst(limit)
  local receiver, list, trouble = self.receiver, {}, {}
  for i = 0, receiver.flow_count - 1 do
    trouble[i] = receiver:trouble(i)
    if trouble[i] > 0 then list[#list + 1] = i end
  end
  table.sort(list, function(a, b)
    if trouble[a] ~= trouble[b] then return trouble[a] > trouble[b] end
    return a < b
  end)
  return { unpack(list, 1, limit) }
end

return M
