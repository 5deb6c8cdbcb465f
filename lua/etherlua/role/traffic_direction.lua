-- role/traffic_direction.lua: one way of test traffic: the sender of role/traffic.lua's flows, their receiver, or both
-- when they are in one program, and what can be said of them together. It owns neither relay.

local addr = require "etherlua.net.addr"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local traffic_receiver = require "etherlua.role.traffic_receiver"
local traffic_sender = require "etherlua.role.traffic_sender"

local M = {}

-- See traffic_direction.new.
---@class etherlua.traffic_direction
local Direction = {}
Direction.__index = Direction

-- Those of traffic_sender.new and traffic_receiver.new, and:
---@class etherlua.traffic_direction_opts
---@field name string for people

local ENDS = options.new("the ends of traffic", { from = options.any(), to = options.any() })
local OPTIONS = options.new("a direction of traffic", { name = options.text():needed() },
  options.new("both ends", traffic_receiver.OPTIONS.known, traffic_sender.OPTIONS))
-- Who only receives needs nothing to send.
local RECEIVED = options.new("a direction of traffic", { mix = options.any(), rate = options.any() }, OPTIONS)

-- The options of one end of it.
local function part(known, opts, more)
  local own = more or {}
  for name in pairs(known.known) do
    if own[name] == nil then own[name] = opts[name] end
  end
  return own
end

-- Nothing is opened yet.
---@param ends { from: etherlua.traffic_endpoints?, to: etherlua.traffic_endpoints? } where the flows are sent and where
---  they are received
---@param given etherlua.traffic_direction_opts
---@return etherlua.traffic_direction
function M.new(ends, given)
  ENDS:check(ends)
  if not (ends.from or ends.to) then misuse.raise("no end of traffic given: from, to or both are needed") end
  local opts = (ends.from and OPTIONS or RECEIVED):read(given)
  local one = setmetatable({ name = opts.name, flows = opts.flows }, Direction)
  if ends.from then one.sender = traffic_sender.new(ends.from, part(traffic_sender.OPTIONS, opts)) end
  if ends.to then
    one.receiver = traffic_receiver.new(ends.to, part(traffic_receiver.OPTIONS, opts, { sender = one.sender }))
  end
  return one
end

-- Opens the endpoints and begins to receive. Raises and blocks as the sender's open().
function Direction:open()
  if self.receiver then self.receiver:open() end
  if self.sender then self.sender:open() end
end

-- Sends, if it has a sender; receives, if it is alone. Blocks as run() of that one. finish() comes next.
---@return true|nil
---@return string|nil reason
function Direction:run()
  if self.closed then return nil, "closed" end
  self:open()
  return (self.sender or self.receiver):run()
end

-- The sending is over: sends what is pending, and waits for what is on its way. It goes on receiving when Ctrl-C has
-- cancelled those who read.
---@param seconds number at the most
function Direction:finish(seconds)
  local sender, receiver = self.sender, self.receiver
  if sender then sender:finish() end
  if receiver then receiver:resume() end
  if sender and receiver then receiver:settle(seconds) end
end

-- Neither sends nor receives any more. The endpoints stay open.
function Direction:close()
  if not role.close(self) then return end
  if self.sender then self.sender:close() end
  if self.receiver then self.receiver:close() end
end

-- ---- what can be said ---------------------------------------------------------------------------------------------

-- What the sender says and the receiver says, as far as there are these, and:
---@class etherlua.traffic_summary
---@field direction string
---@field flows integer

-- What of a summary adds up with that of other directions, such as those of the ranks of a run.
---@return { flows: integer, sender: table?, receiver: table? } counts
function Direction:totals()
  local sender = self.sender and self.sender.began and self.sender
  return { flows = self.flows.count, opened = (self.sender or self.receiver).opened,
    sender = sender and sender:totals() or nil, receiver = self.receiver and self.receiver:totals() }
end

-- What follows from counts, or sums of these, which are used up.
---@param counts table
---@return etherlua.traffic_summary
function M.summary(counts)
  local values = {}
  for name, module in pairs { sender = traffic_sender, receiver = traffic_receiver } do
    for key, value in pairs(counts[name] and module.summary(counts[name]) or {}) do
      if key ~= "bytes" and key ~= "warm_up" then values[key] = value end
    end
  end
  values.flows, values.opened = counts.flows, counts.opened
  return values
end

---@return etherlua.traffic_summary
function Direction:summary()
  local values = M.summary(self:totals())
  values.direction, values.reason = self.name, self.sender and self.sender.reason
  return values
end

-- What became of one flow.
---@param i integer from 0
---@return etherlua.traffic_flow flow with its direction, number, src, dst and vlans
function Direction:flow(i)
  local flow, values = self.flows:at(i), self.receiver:flow(i)
  values.direction, values.flow, values.vlans = self.name, self.flows.first + i, tostring(flow.vlans)
  values.src = addr.with_port(flow.src_ip, flow.src_port)
  values.dst = addr.with_port(flow.dst_ip, flow.dst_port)
  return values
end

-- What has happened up to now, and since the last call with the same table.
---@param counts table as of Direction:totals, or sums of these
---@param before table empty at first
---@return { seconds: number, sent: integer?, pps: number?, received: integer?, received_pps: number?, missing:
---  integer?, duplicates: integer?, reordered: integer? } values seconds: since the first call; missing: lost, or on
---  their way
function M.progress(counts, before)
  local sender, receiver, time = counts.sender, counts.receiver, sched.now()
  before.began = before.began or time
  local span = math.max(time - (before.time or time), 1e-3)
  local sent, received = sender and sender.sent, receiver and receiver.received
  local values = { seconds = time - before.began, sent = sent, received = received,
    pps = sent and (sent - (before.sent or 0)) / span,
    received_pps = received and (received - (before.received or 0)) / span,
    missing = receiver and receiver.expected - received, duplicates = receiver and receiver.duplicates,
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
