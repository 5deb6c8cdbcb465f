-- core/task.lua: tasks: functions that wait by themselves. A task begins when the loop first resumes it; when its
-- function has ended, in whatever way, its deferred functions run, and those that join it go on. What an error that no
-- task caught does is the run's business.

local ids = require "etherlua.core.ids"
local loop = require "etherlua.core.loop"
local misuse = require "etherlua.core.misuse"
local park = require "etherlua.core.park"
local select_source = require "etherlua.core.select"
local waiters = require "etherlua.core.waiters"

local ARGUMENTS, CANCELLED = loop.ARGUMENTS, loop.CANCELLED
local tasks = loop.tasks

local M = {}

-- A coroutine that blocks by itself while it waits: see ether.spawn.
---@class etherlua.task
local Task = {}
Task.__index = Task

local numbers = ids.new()
local run -- in progress, see belong_to()

-- From now on tasks are of this run: run:failed(task, failure) hears of an error that no task caught, and run.ending is
-- set when all tasks have been cancelled.
---@param of? table nil: of none
function M.belong_to(of)
  run = of
end

-- ---- beginning ----------------------------------------------------------------------------------------------------

-- The task at its deferred functions that one was spawned by, or that spawned the one that did.
local function helped_by(spawner)
  local owner = spawner and (spawner.ending and spawner or spawner.helps)
  return owner and not owner.done and owner or nil
end

-- A cancellation reaches what is spawned behind it too, else a run might never end. But what cleans up may use helpers:
-- they are cancelled when the deferred functions that they were spawned for have ended. One that serves others is not
-- born cancelled because a single task that it will serve was.
local function inherit(task, spawner)
  if not (run and run.ending) then
    if spawner and spawner.cancelled and not task.background then task.cancelled = 0 end
    return
  end
  local owner = helped_by(spawner)
  if not owner then
    task.cancelled = 0
    return
  end
  owner.helpers = owner.helpers or {}
  table.insert(owner.helpers, task)
  task.helps = owner
end

local NO_ARGUMENTS = setmetatable({ n = 0 }, ARGUMENTS)

-- What the loop is to call a task's function with.
local function pack(...)
  local count, first = select("#", ...), (...)
  if count == 0 then return NO_ARGUMENTS end
  if count == 1 and first then return first end
  return setmetatable({ n = count, ... }, ARGUMENTS)
end

local function spawn(fn, background, ...)
  if type(fn) ~= "function" then
    misuse.raise("bad task %s: a function is needed", tostring(fn))
  end
  local task = setmetatable({ id = numbers:take(), co = fn, call = pack(...), queued = false }, Task)
  if background then task.background = true end
  inherit(task, loop.running())
  loop.add(task)
  return task
end

-- A task of its own for fn. It starts when the caller next waits, unless it is cancelled before. A task that is spawned
-- by a cancelled one, or when all are cancelled, is cancelled too; by a deferred function then, when that has ended.
---@param fn function
---@param ... any that it is called with
---@return etherlua.task
function M.spawn(fn, ...)
  return spawn(fn, false, ...)
end

-- A task that serves others: the run does not wait for it, and cancels it at its end.
---@param fn function
---@param ... any that it is called with
---@return etherlua.task
function M.spawn_background(fn, ...)
  return spawn(fn, true, ...)
end

-- ---- ending -------------------------------------------------------------------------------------------------------

-- fn runs when the current task ends, however it ends; the last one first. It may block.
---@param fn function
function M.defer(fn)
  local task = loop.current()
  task.defers = task.defers or {}
  table.insert(task.defers, fn)
end

local function finish(task)
  task.done = true
  loop.remove(task)
  numbers:give_back(task.id)
  for _, helper in ipairs(task.helpers or {}) do helper:cancel() end
  if task.joiners then task.joiners:wake() end
end

-- The task's function, or one of its deferred functions, has ended. Deferred functions run in coroutines of their own,
-- under the task's number, free of its cancellation. For the loop.
---@private
function Task:ended(ok, ...)
  local failed = not ok and (...) ~= CANCELLED
  local raised = failed and self.crew and self.crew:failed((...)) -- where its helpers are waited for: see crew.lua
  if failed and not raised and run then run:failed(self, (...)) end
  if not self.results then
    self.results = { n = select("#", ...), ... }
    self.reason = failed and "failed" or (not ok or self.cancelled) and "cancelled" or nil
  end
  local deferred = self.defers and self.defers[#self.defers]
  if not deferred then return finish(self) end
  local co = coroutine.create(deferred) -- before anything changes: there may be no memory
  table.remove(self.defers)
  self.co, self.ending, self.cancelled = co, true, nil
  loop.enqueue(self)
end

-- Asks the task to end: its blocking call, and every later one, raises an error; deferred functions run. One that has
-- not begun never does. One that is at its deferred functions already is left to them.
function Task:cancel()
  if self.done or self.cancelled or self.ending then return end
  self.cancelled = 0
  loop.wake(self)
end

-- ---- being waited for ---------------------------------------------------------------------------------------------

-- For ether.select, as of an endpoint: it has ended.
---@private
function Task:ready() return self.done end

---@private
function Task:watch(task)
  self.joiners = self.joiners or waiters.new()
  self.joiners:add(task)
end

---@private
function Task:unwatch(task)
  if self.joiners then self.joiners:remove(task) end
end

-- Waits for the task's end.
---@param timeout? number seconds
---@return any ... what its function returned; nil and "cancelled", "failed" or "timeout"
function Task:join(timeout)
  local task = loop.current()
  if task == self then misuse.raise "a task cannot join itself" end
  if not self.done then
    park.check()
    local ready, reason = select_source.await { self, timeout = timeout }
    if not ready then return nil, reason end
  end
  if self.reason then return nil, self.reason end
  return unpack(self.results, 1, self.results.n)
end

function Task.__tostring(self)
  return ("task %d%s"):format(self.id, self.done and " (ended)" or "")
end

-- ---- all of them --------------------------------------------------------------------------------------------------

-- Those that are spawned from now on are cancelled, too.
function M.cancel_all()
  if run then run.ending = true end
  for _, task in pairs(tasks) do task:cancel() end
end

-- Cancels all tasks, those at their deferred functions too.
function M.cancel_even_ending()
  for _, task in pairs(tasks) do task.ending = nil end
  M.cancel_all()
end

---@return table list of the tasks that have not ended, by number
function M.list()
  local list = {}
  for _, task in pairs(tasks) do list[#list + 1] = task end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

-- For tests: how many tasks exist now.
function M.live_tasks()
  return #M.list()
end

return M
