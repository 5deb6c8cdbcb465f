-- ledger.lua: what has to add up about the frames between two relays: the equations of struct el_stats at each of them,
-- the queues of their endpoints, what one sent against what the other was offered, and, where an interface is between
-- them, the counters of the kernel. Each check returns nil, or what does not add up.

local cjson = require "cjson"
local ether = require "etherlua"

local M = {}

local RX = { "rx_delivered", "rx_queued", "rx_invalid", "rx_filtered", "rx_unclaimed", "rx_overflow", "rx_evicted",
  "rx_no_memory", "rx_closed", "rx_fragments", "rx_merged", "rx_frag_duplicate", "rx_frag_timeout", "rx_frag_overlap",
  "rx_frag_invalid", "rx_frag_limit" }
local TX = { "tx_sent", "tx_pending", "tx_link_down", "tx_refused", "tx_error" }
M.RX, M.TX = RX, TX

local function sum(stats, names)
  local total = 0
  for i = 1, #names do total = total + stats[names[i]] end
  return total
end

-- ---- one relay ------------------------------------------------------------------------------------------------------

-- Both sums of its counters, and that what is queued is what its endpoints, or those of them that are given, have.
---@param relay etherlua.relay
---@param endpoints? table<any, any> by themselves, all that are open on it
---@return string?
function M.check_relay(relay, endpoints)
  local stats = relay:stats()
  local offered, ended = stats.rx_frames + stats.rx_copies + stats.rx_reassembled, sum(stats, RX)
  if offered ~= ended then return ("%s: %d frames came, %d ended"):format(relay.name, offered, ended) end
  local sent = sum(stats, TX)
  if stats.tx_frames ~= sent then
    return ("%s: %d frames were to be sent, %d were"):format(relay.name, stats.tx_frames, sent)
  end
  if not endpoints then return nil end
  local queued = 0
  for endpoint in pairs(endpoints) do queued = queued + endpoint.ep.count end
  if queued ~= stats.rx_queued then
    return ("%s: %d frames are queued, its endpoints have %d"):format(relay.name, stats.rx_queued, queued)
  end
end

-- ---- an interface ---------------------------------------------------------------------------------------------------

-- The kernel's counters of a namespace's eth0. Not those that it dropped coming in: it counts there, too, what packet
-- sockets got and no protocol of its own wanted, and what XDP found no room for, which the relay has missed.
local function kernel(ns)
  local stats = cjson.decode(ns:run "ip -json -s link show dev eth0")[1].stats64
  return { rx = stats.rx.packets, tx = stats.tx.packets, tx_dropped = stats.tx.dropped }
end

-- What the counters say now, of both ends: the beginning of a ledger. lab: nil where there is no interface.
---@param a etherlua.relay
---@param b etherlua.relay
---@param lab? etherlua.lab
function M.open(a, b, lab)
  local function look()
    return { a = a:stats(), b = b:stats(), near = lab and kernel(lab.near), far = lab and kernel(lab.far) }
  end
  return { look = look, first = look(), lab = lab }
end

local function since(now, before)
  local difference = {}
  for name, value in pairs(now) do difference[name] = value - before[name] end
  return difference
end

-- What was sent one way: sent, by the relay; out, by its interface, and refused; into the other one; offered to the
-- relay there, and missed by it.
local function one_way(from, to, out, into)
  local way = { sent = from.tx_sent, offered = to.rx_frames, missed = to.rx_missed }
  if out then way.out, way.refused, way.into = out.tx, out.tx_dropped, into.rx end
  return way
end

local function check_way(words, way)
  if way.out and way.sent ~= way.out + way.refused then
    return ("%s: the relay sent %d frames, its interface %d, and refused %d"):format(words, way.sent, way.out,
      way.refused)
  end
  if way.out and way.out ~= way.into then
    return ("%s: %d frames left one interface, %d came to the other"):format(words, way.out, way.into)
  end
  if way.sent - (way.refused or 0) ~= way.offered + way.missed then
    return ("%s: %d frames were on the way, %d came to the relay, which missed %d"):format(words,
      way.sent - (way.refused or 0), way.offered, way.missed)
  end
end

local function check_ways(ledger)
  local now, first = ledger.look(), ledger.first
  local a, b = since(now.a, first.a), since(now.b, first.b)
  local near, far = now.near and since(now.near, first.near), now.far and since(now.far, first.far)
  local forth, back = one_way(a, b, near, far), one_way(b, a, far, near)
  return check_way("forth", forth) or check_way("back", back), forth, back
end

local ATTEMPTS, PAUSE = 14, 0.01 -- seconds, longer each time: together 1

-- Both ways. What is under way still, in the kernel of a busy machine, too, has time to come.
---@return string? problem
---@return table forth, table back what was counted
function M.check_ways(ledger)
  local problem, forth, back
  for i = 1, ATTEMPTS do
    ether.sleep(i * PAUSE)
    problem, forth, back = check_ways(ledger)
    if not problem then break end
  end
  return problem, forth, back
end

return M
