-- core/run.lua: a run: from its first task until that one and all that it spawned have ended and what they opened is
-- closed. It says what ends a run early: an error that no task caught, a signal, tasks that wait for each other. What a
-- run changes in the process (coroutine.resume and coroutine.wrap, see park.lua; dofile and require, see loading.lua)
-- its end puts back.

local closables = require "etherlua.core.closables"
local effi = require "etherlua.core.ffi"
local failures = require "etherlua.core.failure"
local loading = require "etherlua.core.loading"
local loop = require "etherlua.core.loop"
local park = require "etherlua.core.park"
local runaway = require "etherlua.core.runaway"
local task = require "etherlua.core.task"

local C = effi.C

local M = {}

-- closables: what it closes at its end. failure = { message =, traceback = }: the first error that no task caught.
-- driven: the task of drive(). attendant: see attend(). ending: all tasks are cancelled, and those that are spawned.
local Run = {}
Run.__index = Run

local run             -- in progress
local interrupts = 0  -- signals that ask for the end, so far
local questions = 0   -- signals that ask what tasks wait for, so far
local answer          -- see answer_with()

-- ---- what can end it early ----------------------------------------------------------------------------------------

-- An error that no task caught. For tasks.
---@private
function Run:failed(one, failure)
  if self.failure then return end
  local traceback = failures.traceback(one.co, failure)
  if self.attendant then return self.attendant.failed(one, failure, traceback) end
  self.failure = { message = failure, traceback = traceback }
  if self.driven then self.driven:cancel() else task.cancel_all() end
end

-- Nothing can wake any task: all are cancelled, those at their deferred functions too. Not when an attendant takes
-- Ctrl-C: there is that still. For the loop.
---@private
function Run:stuck()
  if self.attendant and self.attendant.interrupted then return end
  self.failure = self.failure or { message = "deadlock", traceback =
    ("deadlock: %d tasks wait for each other, and nothing else can wake them"):format(loop.foreground()) }
  task.cancel_even_ending()
end

local INTERRUPT = 2 -- SIGINT

-- A signal that asks for the end cancels all tasks, but for a Ctrl-C that the attendant takes.
local function interrupt(self)
  local interrupted = self.attendant and self.attendant.interrupted
  if interrupted and C.el_signals_last() == INTERRUPT then
    C.el_signals_forget()
    runaway.heard(false)
    return interrupted()
  end
  runaway.heard(true)
  task.cancel_all()
end

-- Signals that the program catches (el_signals_catch) have come. For the loop.
---@private
---@param count integer of el_signals_count
function Run:signalled(count)
  local asked = C.el_signals_asked()
  if asked ~= questions then
    questions = asked
    if answer then answer() end
  end
  if count - asked <= interrupts then return end
  interrupts = count - asked
  interrupt(self)
end

-- ---- beginning and end --------------------------------------------------------------------------------------------

local function begin()
  run = setmetatable({ closables = closables.new() }, Run)
  loop.serve(run)
  task.belong_to(run)
  park.install()
  loading.install()
end

local function close(self, obj)
  local ok, failure = pcall(obj.close, obj)
  if not ok then self.failure = self.failure or { message = failure, traceback = failures.text(failure) } end
end

local ATTEMPTS = 100 -- of the loop, each after an error in it

-- All tasks are cancelled, and get their turn whatever they wait for: they look.
local function start_again()
  loop.recover()
  task.cancel_all()
  for _, one in pairs(loop.tasks) do loop.enqueue(one) end
end

-- Calls fn, which turns the loop until what it waits for has come. An error in the loop itself, such as no memory, ends
-- the run as one of a task does: all tasks are cancelled, and their deferred functions run.
local function keep_turning(fn)
  for _ = 1, ATTEMPTS do
    local ok, failure = pcall(fn)
    if ok then return end
    run.failure = run.failure or { message = failure, traceback = failures.text(failure) }
    pcall(start_again)
  end
end

local function until_all_have_ended()
  while next(loop.tasks) do loop.turn() end
end

-- Tasks end, then what the run opened is closed, the last first. What was spawned has begun first, if nothing ended the
-- run early.
---@return table? failure
local function finish()
  local this = run
  loop.check_signals() -- what came behind the last turn may have ended the last task
  if not this.ending then keep_turning(loop.begin_spawned) end
  task.cancel_all()
  keep_turning(until_all_have_ended)
  for obj in this.closables.pop, this.closables do close(this, obj) end
  loading.uninstall()
  park.uninstall()
  task.belong_to(nil)
  run = nil
  return this.failure
end

-- obj:close() is called when the run ends, the last that was opened first. Outside a run nothing happens.
---@param obj table
function M.close_at_end(obj)
  if run then run.closables:add(obj) end
end

-- obj has been closed: the run need not keep it for its end. Of what the run does not keep nothing happens.
---@param obj table
function M.forget(obj)
  if run then run.closables:remove(obj) end
end

-- ---- runs of a program --------------------------------------------------------------------------------------------

local function outcome(main, failure)
  if failure then
    error(failures.exit_status(failure.message) and failure.message or failure.traceback, 0)
  end
  if main.reason then return nil, main.reason end
  return unpack(main.results, 1, main.results.n)
end

-- Runs fn as the first task; returns what it returned when it and all tasks that it spawned have ended. An error that
-- no task caught ends the run and is raised with that task's traceback (one with a field exit_status as it is). Inside
-- a run it just calls fn. Until it returns coroutine.resume, coroutine.wrap, dofile and require are others, so that
-- tasks can wait inside of what they run; those that were taken before it do not serve there.
---@param fn function
---@param ... any that it is called with
---@return any ... what fn returned
function M.run(fn, ...)
  if run then return fn(...) end
  begin()
  local main = task.spawn(fn, ...)
  keep_turning(loop.turns)
  return outcome(main, finish())
end

-- Who is told of what happens in the run in progress, instead of that it ends the run, such as the prompt. Neither
-- function may wait.
---@param attendant { failed: function, interrupted: function? } failed(task, failure, traceback): an error that no task
---  caught; interrupted(): Ctrl-C; without it Ctrl-C cancels all tasks
function M.attend(attendant)
  run.attendant = attendant
end

-- On SIGUSR1, which el_signals_catch catches, fn is called while the run goes on. It may not wait.
---@param fn? function nil: nobody answers
function M.answer_with(fn)
  answer = fn
end

-- The error that ends the run in progress.
---@return any? message what was raised; nil: none has ended it
function M.failure()
  return run and run.failure and run.failure.message
end

-- Whether a signal ended the run in progress or the last one.
function M.was_interrupted()
  return interrupts > 0
end

-- ---- runs that a test runner keeps --------------------------------------------------------------------------------

-- Runs fn as a task and returns when that one has ended, for a caller that is no task: the first call begins a run that
-- end_run() ends. Other tasks go on meanwhile and outlive the call. An error in one of them cancels fn's task alone.
---@param fn function
---@param ... any that it is called with
function M.drive(fn, ...)
  if not run then begin() end
  run.ending = false -- a cancellation of all was of the call before
  local driven = task.spawn(fn, ...)
  run.driven = driven
  keep_turning(function()
    while not driven.done do loop.turn() end
  end)
end

-- The first error that no task caught since the last call.
---@return string? traceback
function M.take_failure()
  local failure = run and run.failure
  if not failure then return nil end
  run.failure = nil
  return failure.traceback
end

-- Ends the run that drive() began: cancels its tasks and closes what it opened.
---@return string? traceback as of take_failure
function M.end_run()
  local failure = run and finish()
  return failure and failure.traceback or nil
end

-- For a test runner, which looks for what was left: both are the scheduler's own.
---@return table<integer, table> tasks by number, all that have not ended
---@return etherlua.closables what the run in progress closes at its end
function M.inventory()
  return loop.tasks, run and run.closables or closables.new()
end

return M
