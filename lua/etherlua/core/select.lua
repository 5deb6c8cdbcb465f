-- core/select.lua: waiting for one of several things: endpoints, channels, tasks. What can be waited for says so
-- itself: ready() tells, watch(task) and unwatch(task) register. Endpoints get theirs in endpoint.lua, channels in
-- channel.lua, tasks here, with join(), which is waiting for one.

local effi = require "etherlua.core.ffi"
local sched = require "etherlua.core.sched"

local C = effi.C

---@class etherlua.task
local Task = sched.Task

local M = {}

local function ready_source(sources)
  for i = 1, #sources do
    if sources[i]:ready() then return sources[i], i end
  end
end

-- ---- tasks as what is waited for ----------------------------------------------------------------------------------

---@private
function Task:ready() return self.done end

---@private
function Task:watch(task)
  self.joiners = self.joiners or {}
  table.insert(self.joiners, task)
end

---@private
function Task:unwatch(task)
  for i, waiter in ipairs(self.joiners or {}) do
    if waiter == task then return table.remove(self.joiners, i) end
  end
end

local function unwatch_all(sources, task)
  for i = 1, #sources do sources[i]:unwatch(task) end
end

-- Whether the engine can wake the task. watch() says so, or returns nil and why it is not possible.
local function watch_all(sources, task)
  local external = false
  for i = 1, #sources do
    local by_engine, problem = sources[i]:watch(task)
    if problem then
      unwatch_all(sources, task)
      error(problem, 4)
    end
    external = by_engine or external
  end
  return external
end

local function wait_sources(sources, task, deadline)
  local external = watch_all(sources, task) or deadline >= 0
  C.el_timer(sched.engine(), task.id, deadline)
  sched.suspend(external)
  unwatch_all(sources, task)
  C.el_timer(sched.engine(), task.id, -1)
  sched.check_cancelled(task)
end

-- Waits until one of several endpoints, channels or tasks is ready: the first in the list wins.
---@param sources table list of endpoints, channels and tasks; timeout = seconds, 0 only looks
---@return any|nil source
---@return integer|string index in the list, or "timeout"
function M.wait(sources)
  local task, timeout = sched.current(), sources.timeout
  if timeout ~= nil and (type(timeout) ~= "number" or timeout ~= timeout) then
    error(("bad timeout %s: seconds as a number are needed"):format(tostring(timeout)), 2)
  end
  sched.check_cancelled(task)
  if timeout and timeout <= 0 then sched.give_way() else sched.tick() end
  local deadline = timeout and sched.now() + math.max(timeout, 0) or -1
  while true do
    local source, index = ready_source(sources)
    if source then return source, index end
    if deadline >= 0 and sched.now() >= deadline then return nil, "timeout" end
    wait_sources(sources, task, deadline)
  end
end

-- Waits for the task's end.
---@param timeout? number seconds
---@return any ... what its function returned; nil and "cancelled", "failed" or "timeout"
function Task:join(timeout)
  local task = sched.current()
  if task == self then error("a task cannot join itself", 2) end
  if not self.done then
    local ready, reason = M.wait { self, timeout = timeout }
    if not ready then return nil, reason end
  end
  if self.reason then return nil, self.reason end
  return unpack(self.results, 1, self.results.n)
end

return M
