-- schedule.lua: a run of tasks that do what tasks can, by chance (acts.lua), and the judge who watches them. What each
-- does is decided by the seed and its number: sleeps, joins, cancellations, channels, select, endpoints, files, errors,
-- deferred functions, coroutines of its own around all of these.
--
-- Tasks wait without a timeout, too. When all that is left waits for each other, the warden, a task that does nothing
-- else but look, closes something or cancels somebody.

local ether = require "etherlua"
local sched = require "etherlua.core.sched"
local acts = require "endure.acts"
local chance = require "endure.chance"
local worlds = require "endure.world"

local M = {}

local STEPS, KNOWN = 24, 64                  -- of a task; tasks that may be joined and cancelled
local PAUSE, STILL = 2e-4, 3 * acts.SHORT    -- of the warden, or ten times as long as it looked; until it stirs
local BOOM = worlds.BOOM

-- ---- tasks --------------------------------------------------------------------------------------------------------

local function live(self)
  for _ = 1, self.luck:upto(STEPS) do acts.step(self) end
  if self.luck:once_in(12) then
    self.world.fates[self.task] = { failed = true }
    error(BOOM, 0)
  end
  self.world.fates[self.task] = { value = self.number }
  return self.number
end

local spawn

-- The next task; nil when there were enough.
spawn = function(world, depth)
  if world.born >= world.opts.tasks then return nil end
  world.born = world.born + 1
  local self = { world = world, number = world.born, depth = depth, luck = chance.new(world.opts.seed, world.born) }
  self.task = (self.luck:once_in(8) and sched.spawn_background or ether.spawn)(function()
    world.judge:defer(function() spawn(world, 0) end) -- so there are always as many
    local ok, value = pcall(live, self)
    if not ok and value == BOOM then world.fates[self.task] = { failed = true } end
    if not ok then error(value, 0) end
    return value
  end)
  self.task.torture_cancelled = self.task.cancelled ~= nil -- as whoever spawned it was
  world.all[self.task] = true
  world.known[(self.number - 1) % KNOWN + 1] = self.task
  return self.task
end

-- ---- the warden ---------------------------------------------------------------------------------------------------

-- All wait for each other: one of the things that tasks may do is done.
local function stir(world, luck)
  world.stirred = world.stirred + 1
  local i = luck:upto(#world.channels)
  world.channels[i].it:close()
  worlds.new_channel(world, i, luck)
  for _, pipe in ipairs(world.pipes) do worlds.ring(pipe) end
  for _ = 1, 8 do worlds.cancel(world, luck:pick(world.known)) end
  for _, task in pairs(sched.list()) do
    if luck:once_in(4) then worlds.cancel(world, task) end
  end
end

-- There are always as many tasks: one that was cancelled before it began has no successor.
local function top_up(world)
  local count = 0
  for _ in pairs(sched.inventory()) do count = count + 1 end
  for _ = count, math.min(world.opts.at_once, world.opts.tasks - world.born + count - 1) do spawn(world, 0) end
end

local function watch(world)
  local luck, ops, moved, length = chance.new(world.opts.seed, -1), -1, 0, 0
  while world.born < world.opts.tasks or sched.live_tasks() > 1 do
    ether.sleep(math.max(PAUSE, 10 * length))
    local since = ether.now()
    if world.opts.judged then world.judge:look() end
    if world.born < world.opts.tasks then top_up(world) end
    length = ether.now() - since
    if world.ops ~= ops then ops, moved = world.ops, since end
    if since > moved + STILL then stir(world, luck) end
  end
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local function failed(world)
  return function(task, failure, traceback)
    world.failures = world.failures + 1
    if failure ~= BOOM then world.judge:complain("%s: %s", task, traceback) end
  end
end

local function main(world)
  sched.attend { failed = failed(world) }
  worlds.furnish(world, chance.new(world.opts.seed, 0))
  world.warden, world.spawn = sched.current(), spawn
  if world.opts.judged then world.judge:start() end
  world.judge.on_event = world.opts.on_event and world.opts.on_event(world)
  for _ = 1, math.min(world.opts.at_once, world.opts.tasks) do spawn(world, 0) end
  watch(world)
  worlds.check(world)
end

-- One run. judged: with the judge's looks, which the loop's traced ways take; without it, its usual ones.
-- on_event(world) returns what hears of the events of tasks.
---@param opts { seed: integer, tasks: integer, at_once: integer, judged: boolean, on_event?: function }
---@return table world counts of what happened; verdict: nil, or what was wrong
function M.run(opts)
  local world = worlds.new(opts)
  local ok, failure = pcall(ether.run, main, world)
  if not ok then world.judge:complain("%s", failure) end
  worlds.clear(world)
  world.judge.on_event = nil
  world.judge:after(world.all)
  world.verdict = world.judge:verdict()
  return world
end

return M
