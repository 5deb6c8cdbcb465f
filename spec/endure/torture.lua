-- torture.lua: the scheduler for long: rounds of 100,000 tasks, 1,000 at a time with the judge and all at once without,
-- and cancellations at every wait of a few and of victims.lua, until the time is over. A line for each round; the
-- status is 1 when something was wrong.
--
--   make torture SECONDS=600 [SEED=n]

local chance = require "endure.chance"
local parks = require "endure.parks"
local schedule = require "endure.schedule"
local victims = require "endure.victims"

local SECONDS = tonumber(os.getenv "SECONDS") or 600
local TASKS, AT_ONCE, FEW = tonumber(os.getenv "TASKS") or 100000, 1000, 12

local function fail(seed, words, verdict)
  print(("FAILED: SEED=%d, %s: %s"):format(seed, words, verdict))
  os.exit(1)
end

-- All of one seed. Returns how many tasks lived, how many waits there were, and how many of them were cancelled.
local function round(seed)
  local lived, waits, cancelled = 0, 0, 0
  for _, judged in ipairs { true, false } do
    local world = schedule.run { seed = seed, tasks = TASKS, judged = judged,
      at_once = judged and AT_ONCE or TASKS }
    if world.verdict then fail(seed, judged and "with the judge" or "without the judge", world.verdict) end
    lived, waits = lived + world.born, waits + world.judge.parks
  end
  for moment in pairs(parks.MOMENTS) do
    local hit, verdict = parks.run { seed = seed, tasks = FEW, moment = moment }
    if verdict then fail(seed, "cancelled at the moment " .. moment, verdict) end
    cancelled = cancelled + hit.count
    for name, program in pairs(victims) do
      hit, verdict = parks.victim(program, moment)
      if verdict then fail(seed, ("cancelled while %s, at the moment %s"):format(name, moment), verdict) end
      cancelled = cancelled + hit.count
    end
  end
  return lived, waits, cancelled
end

io.stdout:setvbuf "line"
local seed, begin = chance.seed(), os.time()
print(("SEED=%d, for %d s"):format(seed, SECONDS))
local rounds, all, all_cancelled = 0, 0, 0
repeat
  local lived, waits, cancelled = round(seed + rounds)
  rounds, all, all_cancelled = rounds + 1, all + lived, all_cancelled + cancelled
  print(("%6d s  SEED=%d  %d tasks, %d waits seen, %d waits cancelled one by one"):format(os.time() - begin,
    seed + rounds - 1, lived, waits, cancelled))
until os.time() >= begin + SECONDS
print(("%d rounds, %d tasks, %d cancellations: nothing lost, nothing resumed twice, nothing left"):format(rounds, all,
  all_cancelled))
