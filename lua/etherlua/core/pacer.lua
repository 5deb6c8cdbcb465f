-- core/pacer.lua: so many of something in a second. Slot i of the schedule is at start + i / rate, however late the
-- slots before it were used, so the mean rate does not drift. The clock is read only when the next slot is later than
-- the last reading: a late task takes its slots for next to nothing, and at most `burst` of them between two readings.

local histogram = require "etherlua.core.histogram"
local options = require "etherlua.core.options"
local sched = require "etherlua.core.sched"

local now, sleep, spin, tick = sched.now, sched.sleep, sched.spin, sched.tick
local floor, min, huge = math.floor, math.min, math.huge

local M = {}

-- The kernel ends a sleep up to 50 us late (its timer slack) and takes its time to switch to us: so long before its
-- slot a task no longer sleeps.
local NEAR = 100e-6
-- The longest sleep: so soon a waiting task follows a new rate.
local NAP = 0.1
-- So many seconds of late slots are made up for, when the caller does not say how many.
local LATE = 0.01
local MIN_RATE, MAX_RATE = 1e-6, 1e9

-- See ether.pacer.
---@class etherlua.pacer
---@field rate number slots a second
---@field burst integer the most slots that go at once after a delay
---@field slipped integer slots that were lost because their task came too late
---@field gaps? etherlua.histogram with jitter: of the times between the ends of two waits
local Pacer = {}
Pacer.__index = Pacer

local OPTIONS = options.new("a pacer", {
  rate = options.number(MIN_RATE, MAX_RATE):needed(), burst = options.whole(1), jitter = options.boolean(false),
})

local function use_rate(pacer, rate)
  pacer.rate = rate
  pacer.burst = pacer.fixed_burst or 1 + math.ceil(LATE * rate)
end

-- A schedule of `rate` slots a second. Its first slot is when it is first waited for. Several tasks may share a pacer:
-- each slot is one task's.
---@param given { rate: number, burst?: integer, jitter?: boolean } rate: slots a second, 1e-6 to 1e9; burst: the
---  most slots that go at once after a delay, older ones are lost (those of 10 ms, and one); jitter: measure the gaps
---@return etherlua.pacer
function M.new(given)
  local opts = OPTIONS:read(given)
  local pacer = setmetatable({ fixed_burst = opts.burst, slipped = 0, slot = 0, due = huge, seen = -huge }, Pacer)
  use_rate(pacer, opts.rate)
  if opts.jitter then pacer.gaps = histogram.new() end
  return pacer
end

-- Of the slots that have passed, the last `burst` are still to be had.
local function lose_slots(pacer, late)
  local lost = floor(late * pacer.rate) + 1 - pacer.burst
  if lost <= 0 then return end
  pacer.slipped = pacer.slipped + lost
  pacer.slot = pacer.slot + lost
  pacer.due = pacer.start + pacer.slot / pacer.rate
end

-- Towards a time that is so many seconds ahead: less than all of it.
local function approach(ahead)
  if ahead > NEAR then sleep(min(ahead - NEAR, NAP)) else spin() end
end

-- Blocks this task until then, and not at all when that has passed. As exact as a pacer's wait, and as busy.
---@param time number by ether.now()
function M.wait_until(time)
  local ahead = time - now()
  while ahead > 0 do
    approach(ahead)
    ahead = time - now()
  end
end

-- Another task may take the slot, or change the rate, meanwhile: so all is looked at again after each sleep.
local function wait_for_slot(pacer)
  while true do
    local time = now()
    if not pacer.start then pacer.start, pacer.due = time, time end
    pacer.seen = time
    local ahead = pacer.due - time
    if ahead <= 0 then return lose_slots(pacer, -ahead) end
    approach(ahead)
  end
end

local function record_gap(pacer)
  local time = now()
  if pacer.released then pacer.gaps:record(time - pacer.released) end
  pacer.released = time
end

-- Blocks this task until its next slot, and not at all when that has passed. What was sent meanwhile has left when the
-- task has to wait. Within the last 100 us it looks at the relays all the time instead of sleeping, which is exact and
-- keeps the processor busy: above 10,000 a second always.
function Pacer:wait()
  tick()
  if self.due > self.seen then
    sched.current()
    wait_for_slot(self)
  end
  self.slot = self.slot + 1
  self.due = self.start + self.slot / self.rate
  if self.gaps then record_gap(self) end
end

-- Another rate from now on. Late slots stay as many, and of the wait for the next one the same share remains: so a ramp
-- of many steps has as many slots as its rates promise.
---@param rate number slots a second
function Pacer:set_rate(rate)
  OPTIONS:check { rate = rate }
  if self.start then
    local time = now()
    self.start, self.slot = time + (self.due - time) * self.rate / rate, 0
    self.due = self.start
  end
  use_rate(self, rate)
end

function Pacer.__tostring(self)
  return ("pacer of %g/s"):format(self.rate)
end

return M
