-- judge.lua: watches the tasks of a run through sched.trace, and says what the scheduler did to them that it must not:
-- resume one that nobody woke, leave one asleep whose time or thing has come, lose or double a deferred function. It
-- never raises an error itself, which would end what it watches: violations are a list.

local ffi = require "ffi"
local ether = require "etherlua"
local effi = require "etherlua.core.ffi"
local loop = require "etherlua.core.loop"
local sched = require "etherlua.core.sched"

local M = {}

local SHOWN = 20

local Judge = {}
Judge.__index = Judge

-- parked: task -> the event with which it went to sleep. suspect: such an event that look() found without a reason.
-- parks: how many there were. on_event(event): hears of each after the judge. stacks: task -> its deferred functions.
function M.new()
  return setmetatable({ parked = {}, suspect = {}, stacks = {}, violations = {}, found = 0, parks = 0, wakes = 0,
    spawned = 0, ended = 0, deferred = 0, passes = 0 }, Judge)
end

function Judge:complain(...)
  self.found = self.found + 1
  if self.found <= SHOWN then self.violations[self.found] = string.format(...) end
end

-- ---- what is traced -----------------------------------------------------------------------------------------------

local on = {}

function on.spawn(self) self.spawned = self.spawned + 1 end

function on.park(self, event)
  if self.parked[event.task] then self:complain("%s parks, and was not woken", event.task) end
  self.parks = self.parks + 1
  self.parked[event.task] = event.what ~= "turn" and event or nil
end

function on.wake(self, event)
  if not self.parked[event.task] and event.by ~= event.task then
    self:complain("%s is woken by %s, and does not sleep", event.task, tostring(event.by))
  end
  self.wakes = self.wakes + 1
  self.parked[event.task] = nil
end

on["end"] = function(self, event)
  self.ended = self.ended + 1
  self.parked[event.task] = nil
  if self.stacks[event.task] then self:complain("%s ended before its deferred functions", event.task) end
end

-- From now on, until the run's end or stop(). The running task is the first one.
function Judge:start()
  self.spawned = 1
  sched.trace(function(event)
    if event.kind == "wake" and self.waking == event.task then return end -- on_event cancels it, which wakes it
    on[event.kind](self, event)
    self.waking = event.kind == "wake" and event.task
    if self.on_event then self.on_event(event) end
    self.waking = nil
  end)
end

function Judge:stop()
  sched.trace(nil)
  self.parked, self.suspect = {}, {}
end

-- ---- what tasks tell ----------------------------------------------------------------------------------------------

-- The running task came back from a call that blocks, which it made as `task`.
function Judge:resumed(task)
  if sched.current() ~= task then self:complain("%s runs as %s", task, sched.current()) end
  local event = self.parked[task]
  -- An endpoint that is closed cannot be waited for: the loop says so at once, and wakes nobody.
  if event and not (event.what == "frame" and event.object.ep.relay == nil) then
    self:complain("%s was resumed from a %s, and nobody woke it", task, event.what)
  end
end

-- fn is deferred by the running task: it has to be called once, after those that come later.
function Judge:defer(fn)
  local task = sched.current()
  local stack = self.stacks[task] or {}
  self.stacks[task] = stack
  stack[#stack + 1] = fn
  ether.defer(function()
    if table.remove(stack) ~= fn then self:complain("%s: deferred functions out of order", task) end
    if #stack == 0 then self.stacks[task] = nil end
    self.deferred = self.deferred + 1
    return fn()
  end)
end

-- ---- who sleeps without a reason -----------------------------------------------------------------------------------

-- Whether the source of a select is ready; and whether a task that waits for it is woken at once, as by tasks and
-- channels: what the engine brings takes it a turn.
local function ready_source(sources)
  for _, source in ipairs(sources) do
    if source:ready() then return true, type(source) == "table" end
  end
end

-- Why a task that sleeps should not, or nil; and whether that cannot have an excuse.
local function reason_to_wake(event, now)
  if event.what == "select" then
    local ready, at_once = ready_source(event.object)
    if ready then return "what it waits for is ready", at_once end
  end
  if event.what == "frame" and event.object.ep.count > 0 then return "its endpoint is ready" end
  if event.deadline and event.deadline < now then return "its time is over" end
end

-- Looks at all that sleep: one that has a reason to wake, in two looks with a turn of the loop in between, is lost.
function Judge:look()
  local now, suspect = ether.now(), {}
  self.passes = self.passes + 1
  for task, event in pairs(self.parked) do
    local reason, at_once = reason_to_wake(event, now)
    if reason and (at_once or self.suspect[event]) then self:complain("%s sleeps on: %s", task, reason) end
    if reason then suspect[event] = true end
  end
  self.suspect = suspect
end

-- ---- after the run ------------------------------------------------------------------------------------------------

-- How many tasks the loop believes to wait for the engine: else a deadlock would never be found again.
local function waiting()
  for i = 1, math.huge do
    local name, value = debug.getupvalue(loop.wait_frame, i)
    if not name then error "loop.wait_frame has no upvalue `waiting` any more" end
    if name == "waiting" then return value end
  end
end

local function live_objects()
  local live = ffi.new "struct el_live"
  effi.C.el_live(live)
  return { relays = tonumber(live.relays), conns = tonumber(live.conns), udps = tonumber(live.udps),
    taps = tonumber(live.taps) }
end

local function count(set)
  local total = 0
  for _ in pairs(set) do total = total + 1 end
  return total
end

-- What is left when the collector is done: machine code holds what its functions refer to, so that goes first.
local function left_over(tasks)
  local kept, objects, sum
  for _ = 1, 4 do
    collectgarbage()
    kept, objects, sum = count(tasks), live_objects(), 0
    for _, number in pairs(objects) do sum = sum + number end
    if kept + sum == 0 then break end
    jit.flush()
  end
  return kept, objects
end

-- Nothing is left of the run. tasks: all of its, in a table with weak keys: those that somebody knows are found there.
---@param tasks? table
function Judge:after(tasks)
  self:stop()
  if self.spawned ~= self.ended then self:complain("%d tasks began, %d ended", self.spawned, self.ended) end
  if next(self.stacks) then self:complain "deferred functions were never called" end
  if waiting() ~= 0 then self:complain("the loop believes that %d tasks wait", waiting()) end
  if sched.live_tasks() ~= 0 then self:complain("%d tasks live", sched.live_tasks()) end
  local kept, objects = left_over(tasks or {})
  for name, number in pairs(objects) do
    if number > 0 then self:complain("%d %s live", number, name) end
  end
  if kept > 0 then self:complain("%d tasks that have ended are still referred to", kept) end
end

-- One text of all violations, nil when there is none.
---@return string?
function Judge:verdict()
  if self.found == 0 then return nil end
  local more = self.found > SHOWN and ("\nand %d more"):format(self.found - SHOWN) or ""
  return table.concat(self.violations, "\n") .. more
end

return M
