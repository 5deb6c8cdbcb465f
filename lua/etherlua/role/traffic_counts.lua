-- role/traffic_counts.lua: what became of each flow's packets: which sequence numbers came, in which order, and how
-- long they were on their way. Of a flow the last 1,024 numbers before the highest one are remembered one by one, and
-- times as numbers of a logarithmic histogram; so memory is a kilobyte a flow, and nothing is allocated for a packet.
--
-- A packet is reordered when its number is smaller than one that came before (Type-P-Reordered, RFC 4737 section 3.3);
-- a duplicate is one whose number came already, and neither received again nor reordered. A packet so old, or so far
-- ahead, that none of this can be told is `outside`, and not received.

local bit = require "bit"
local ffi = require "ffi"

local band, bor, lshift, rshift, tobit = bit.band, bit.bor, bit.lshift, bit.rshift, bit.tobit
local floor, log, max, min = math.floor, math.log, math.max, math.min

local M = {}

local WINDOW, WORDS = 1024, 32
-- Buckets of times: 24 a decade, so a bound is at most 10.1 % above what is below it; from 100 ns to 100 s, and one
-- more for what is longer.
local BUCKETS, PER_DECADE, SHORTEST = 9 * 24 + 1, 24, 1e-7
local SCALE = PER_DECADE / log(10)

-- next: one more than the highest sequence number so far (NextExp of RFC 4737), counted on past 2^32; first: the
-- lowest; timed, sum, shortest, longest: of the times; begun: next is known.
local counts_t = ffi.typeof(([[struct {
  double next, first, received, duplicates, reordered, outside, timed, sum, shortest, longest;
  int32_t seen[%d];
  uint32_t bucket[%d];
  uint32_t begun;
}[?] ]]):format(WORDS, BUCKETS))

-- Empty counts.
---@param flows integer
---@param from_zero boolean the first packet of each flow has number 0; else it is whichever comes first
---@return ffi.cdata* array, from 0
function M.new(flows, from_zero)
  local counts = counts_t(flows)
  for i = 0, flows - 1 do counts[i].begun = from_zero and 1 or 0 end
  return counts
end

-- ---- sequence numbers ---------------------------------------------------------------------------------------------

local function word_of(number) return rshift(band(number, WINDOW - 1), 5) end
local function mark_of(number) return lshift(1, band(number, 31)) end

-- Numbers that were jumped over have not come. No loop (JIT 1).
local function forget(flow, from, to)
  if from >= to then return end
  local word = word_of(from)
  flow.seen[word] = band(flow.seen[word], bit.bnot(mark_of(from)))
  return forget(flow, from + 1, to)
end

local function take(flow, number)
  local word = word_of(number)
  flow.seen[word] = bor(flow.seen[word], mark_of(number))
  flow.received = flow.received + 1
  return true
end

local function ahead(flow, number, bound)
  if number >= bound then
    flow.outside = flow.outside + 1
    return false
  end
  forget(flow, max(flow.next, number - WINDOW), number)
  flow.next = number + 1
  return take(flow, number)
end

local function behind(flow, number)
  if number < 0 or flow.next - number > WINDOW then
    flow.outside = flow.outside + 1
    return false
  end
  if band(flow.seen[word_of(number)], mark_of(number)) ~= 0 then
    flow.duplicates = flow.duplicates + 1
    return false
  end
  flow.reordered = flow.reordered + 1
  flow.first = min(flow.first, number)
  return take(flow, number)
end

local function begin(flow, sequence)
  flow.begun = 1
  flow.first = sequence % 2 ^ 32
  flow.next = flow.first
end

-- Counts a packet.
---@param flow ffi.cdata* one of new()
---@param sequence integer 32 bits
---@param bound number that numbers have to be below: of packets that were sent, or what can be believed at all
---@return boolean whether it is one that did not come before
function M.arrive(flow, sequence, bound)
  if flow.begun == 0 then begin(flow, sequence) end
  local number = flow.next + tobit(sequence - tobit(flow.next)) -- serial numbers: RFC 1982 section 3
  if number >= flow.next then return ahead(flow, number, bound) end
  return behind(flow, number)
end

-- ---- times --------------------------------------------------------------------------------------------------------

-- Adds how long a packet was on its way.
---@param flow ffi.cdata* one of new()
---@param seconds number from 0
function M.time(flow, seconds)
  local bucket = seconds <= SHORTEST and 0 or min(floor(log(seconds / SHORTEST) * SCALE), BUCKETS - 1)
  flow.bucket[bucket] = flow.bucket[bucket] + 1
  flow.shortest = flow.timed == 0 and seconds or min(flow.shortest, seconds)
  flow.longest = max(flow.longest, seconds)
  flow.timed, flow.sum = flow.timed + 1, flow.sum + seconds
end

-- The time that this share of the packets did not exceed, to 10 %.
---@param flow ffi.cdata* one of new(), with times in it
---@param share number 0 to 1
---@return number seconds
function M.percentile(flow, share)
  local seen, wanted = 0, share * flow.timed
  for i = 0, BUCKETS - 2 do
    seen = seen + flow.bucket[i]
    if seen >= wanted and seen > 0 then
      return max(flow.shortest, min(flow.longest, SHORTEST * 10 ^ ((i + 1) / PER_DECADE)))
    end
  end
  return flow.longest
end

-- What an ether.histogram says of its times, so that both are shown alike.
---@param flow ffi.cdata* one of new()
---@return etherlua.summary min, mean and max exact, percentiles to 10 %
function M.summary(flow)
  if flow.timed == 0 then return { count = 0 } end
  local function at(share) return M.percentile(flow, share) end
  return { count = flow.timed, min = flow.shortest, mean = flow.sum / flow.timed, max = flow.longest, p50 = at(0.5),
    p90 = at(0.9), p99 = at(0.99), p99_9 = at(0.999) }
end

return M
