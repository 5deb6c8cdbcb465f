-- parks.lua: a cancellation at every place where a task waits: the program of a seed (schedule.lua) is run again and
-- again, and each time one more of its waits is the one that is cancelled.

local ether = require "etherlua"
local judges = require "endure.judge"
local sched = require "etherlua.core.sched"
local schedule = require "endure.schedule"
local worlds = require "endure.world"

local M = {}

-- When, of a wait, the cancellation comes: name -> function(cancel, world) that returns what hears of the events from
-- the wait on, and cancels the task in the end.
M.MOMENTS = {}

-- As the task goes to sleep.
function M.MOMENTS.park(cancel)
  return cancel
end

-- While it sleeps.
function M.MOMENTS.sleep(cancel)
  return function() ether.spawn(cancel) end
end

-- When what it waits for has come, and before it has its turn.
function M.MOMENTS.wake(cancel)
  return function(event) event.on_wake = cancel end
end

-- Hears of the run's events. At the n-th wait of a task that is_one() approves of, it is cancelled by cancel().
local function canceller(n, moment, hit, is_one, cancel)
  local count, last = 0, nil
  return function(event)
    if event.kind == "wake" and last and last.task == event.task then
      local on_wake = last.on_wake
      last = nil
      if on_wake then on_wake() end
    end
    if event.kind ~= "park" or not is_one(event.task) then return end
    count = count + 1
    if count ~= n then return end
    hit.count, hit[event.what] = hit.count + 1, (hit[event.what] or 0) + 1
    last = event
    M.MOMENTS[moment](function() cancel(event.task) end)(event)
  end
end

-- Cancels at the first wait, the second, ... the last one of the seed's program, or of the first `limit`.
---@param opts { seed: integer, tasks: integer, moment: string, limit?: integer }
---@return table hit waits that were cancelled: count, and how many of them were for what
---@return string? verdict what was wrong
function M.run(opts)
  local hit = { count = 0 }
  for n = 1, opts.limit or math.huge do
    local before = hit.count
    local world = schedule.run { seed = opts.seed, tasks = opts.tasks, at_once = opts.tasks, judged = true,
      on_event = function(of)
        return canceller(n, opts.moment, hit, function(task) return of.all[task] end,
          function(task) worlds.cancel(of, task) end)
      end }
    if world.verdict then return hit, ("cancelled at wait %d: %s"):format(n, world.verdict) end
    if hit.count == before then break end
  end
  return hit
end

-- ---- one task among others ------------------------------------------------------------------------------------------

local LONG = 5 -- seconds, in which all of it is over

-- What a task that ran fn came to, as words, nil when it returned true.
local function outcome(words, task)
  local value, reason = task:join(LONG)
  if value ~= true then return ("%s returned %s, %s"):format(words, tostring(value), tostring(reason)) end
end

local FINE = "fine"

local function cancelled_in(judge, program, n, moment, hit)
  local problem
  sched.attend { failed = function(_, _, traceback)
    problem = problem or traceback
    judge:complain("%s", traceback)
  end }
  judge:start()
  local parts = program(ether.wire())
  local victim = ether.spawn(parts.victim)
  local beside = parts.beside and ether.spawn(parts.beside)
  judge.on_event = canceller(n, moment, hit, function(task) return task == victim end, victim.cancel)
  local _, reason = victim:join(LONG)
  problem = problem or reason == "timeout" and "the victim goes on" or nil
  problem = problem or beside and outcome("the task beside it", beside)
  judge:look()
  return problem or outcome("what came after it", ether.spawn(parts.after)) or FINE
end

-- A task that shares things with others is cancelled at its first wait, its second, ... its last one: the others get
-- what is theirs, and so does who comes after it.
---@param program function as in victims.lua
---@param moment string
---@return table hit as of run
---@return string? verdict what was wrong
function M.victim(program, moment)
  local hit = { count = 0 }
  for n = 1, math.huge do
    local before, judge = hit.count, judges.new()
    local problem
    ether.run(function()
      problem = select(2, pcall(cancelled_in, judge, program, n, moment, hit))
      sched.cancel_all()
    end)
    judge.on_event = nil
    judge:after()
    if problem == FINE then problem = judge:verdict() end
    if problem then return hit, ("cancelled at wait %d: %s"):format(n, problem) end
    if hit.count == before then return hit end
  end
end

return M
