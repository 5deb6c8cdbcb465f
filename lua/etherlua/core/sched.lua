-- core/sched.lua: tasks. A task is a coroutine that this file resumes; blocking calls park it and the engine's loop, or
-- another task, makes it ready again. Only park() yields to the scheduler, with a private sentinel that also passes
-- through coroutines that a user made inside a task. No task runs while another one does; each gives way when it parks
-- or after a budget of operations.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local ids = require "etherlua.core.ids"

local C = effi.C
local create, resume, yield, status = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status

local M = {}

-- Operations after which a task that never had to wait gives way.
local BUDGET = 256
-- A cancelled task that goes on blocking regardless is abandoned after so many tries.
local STUBBORN = 100

local PARK = {}
local CANCELLED = setmetatable({}, { __tostring = function() return "cancelled" end })
M.CANCELLED = CANCELLED

-- A coroutine that blocks by itself while it waits: see ether.spawn.
---@class etherlua.task
local Task = {}
Task.__index = Task
M.Task = Task -- for select.lua, which adds methods

local engine
local current            -- the task that runs now
local budget = BUDGET
local tasks = {}         -- id -> task, all that have not ended
local ids_of_tasks = ids.new()
local queue, queued = {}, 0 -- ready tasks
local spare = {}
local foreground = 0     -- tasks that keep the run going
local waiting = 0        -- tasks parked for something that only the engine can bring: a frame, a time, a file
local run                -- the run in progress: { failure =, closables = {} }
local signals_seen = 0
local ready_ids = ffi.new("const uint32_t *[1]")

-- The engine of this Lua state, made when first needed.
function M.engine()
  if not engine then
    engine = C.el_engine_open()
    if engine == nil then error("cannot open an engine: out of memory or file descriptors", 0) end
    ffi.gc(engine, C.el_engine_close)
  end
  return engine
end

-- The time.
---@return number seconds of the engine's clock
function M.now()
  return C.el_now(engine or M.engine())
end

-- ---- coroutines that users make inside tasks ----------------------------------------------------------------------

-- While the inner coroutine parks, the outer one parks too and hands on what comes back.
local function pass_on(co, ok, value, ...)
  if ok and value == PARK then
    return pass_on(co, resume(co, yield(PARK, ...)))
  end
  return ok, value, ...
end

local function resume_through(co, ...)
  return pass_on(co, resume(co, ...))
end

local function unwrap(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

local function wrap_through(fn)
  local co = create(fn)
  return function(...) return unwrap(resume_through(co, ...)) end
end

coroutine.resume, coroutine.wrap = resume_through, wrap_through -- luacheck: ignore 122

-- ---- parking and waking -------------------------------------------------------------------------------------------

local function enqueue(task)
  if task.queued or task.done then return end
  task.queued = true
  queued = queued + 1
  queue[queued] = task
end
M.wake = enqueue

local function check_cancelled(task)
  if not task.cancelled then return end
  task.cancelled = task.cancelled + 1
  if task.cancelled > STUBBORN then
    task:ended(false, CANCELLED)
    yield(PARK)
  end
  error(CANCELLED, 0)
end
M.check_cancelled = check_cancelled

-- The running task; blocking calls are possible only inside one.
---@return table task
function M.current()
  if not current then error("this call blocks: it is possible only inside ether.run or a script of etherlua run", 3) end
  return current
end

-- Gives up the processor until somebody calls wake(task). It may return early: callers check what they waited for.
local function park(task)
  yield(PARK)
  check_cancelled(task)
end

function M.park(task)
  check_cancelled(task) -- else one that was cancelled before would wait for ever
  park(task)
end

-- Parks for what the engine brings; without any such waiter and nothing ready, tasks wait for each other for ever. The
-- caller withdraws what it waits for and then calls check_cancelled.
local function park_for_engine()
  waiting = waiting + 1
  yield(PARK)
  waiting = waiting - 1
end

-- Gives up the processor, for something that the engine can bring or only another task can. For callers that withdraw
-- what they wait for before they look whether they were cancelled.
---@param by_engine boolean
function M.suspend(by_engine)
  if by_engine then park_for_engine() else yield(PARK) end
end

-- Lets everybody else run once, and the engine look at relays and timers; returns when it is this task's turn again.
function M.give_way()
  budget = BUDGET
  local task = current
  if not task then return C.el_wait(engine or M.engine(), 0) end
  check_cancelled(task)
  enqueue(task)
  park(task)
end

-- One operation that did not have to wait.
function M.tick()
  budget = budget - 1
  if budget <= 0 then M.give_way() end
end

-- For a task that waits for a time too near to sleep: the engine sends what is pending and looks at relays and timers,
-- and everybody else runs, if there is anybody. Returns soon.
function M.spin()
  budget = budget - 1
  if queued > 0 or budget <= 0 or C.el_wait(engine or M.engine(), 0) > 0 then M.give_way() end
end

-- Blocks this task alone.
---@param seconds number 0 gives way once
function M.sleep(seconds)
  local task = M.current()
  if type(seconds) ~= "number" or seconds ~= seconds then
    error(("bad sleep %s: seconds as a number are needed"):format(tostring(seconds)), 2)
  end
  check_cancelled(task)
  if seconds <= 0 then
    enqueue(task)
    return park(task)
  end
  local deadline = M.now() + seconds
  repeat
    C.el_timer(engine, task.id, deadline)
    park_for_engine()
    check_cancelled(task)
  until C.el_now(engine) >= deadline
end

-- Parks until the object's endpoint has a frame, the deadline passes (negative: none), or it is closed. It may return
-- early. The scheduler registers it, on its own stack: a call of the engine's on top of its caller's here would make
-- the stack of every task that waits twice as large.
---@param obj any with the struct el_endpoint as its field ep: EtherConn, RUDPConn
---@param deadline number
---@return string|nil reason why it cannot wait
function M.wait_frame(obj, deadline)
  local task = M.current()
  check_cancelled(task)
  waiting = waiting + 1
  local code = yield(PARK, obj, deadline)
  waiting = waiting - 1
  if task.cancelled then C.el_unwait(obj.ep, task.id) end
  check_cancelled(task)
  if code == -16 then error("another task is reading this endpoint already", 4) end
  return code and effi.reason(code)
end

-- The task waits no more for the endpoint: its time was up.
function M.unwait_frame(obj)
  C.el_unwait(obj.ep, current.id)
end

-- Parks until the file descriptor is readable. One that cannot be waited for (a plain file) is always readable.
---@param fd integer
function M.wait_fd(fd)
  local task = M.current()
  check_cancelled(task)
  if C.el_wait_fd(M.engine(), fd, task.id) == 0 then
    park_for_engine()
    C.el_unwait_fd(engine, fd)
    check_cancelled(task)
  else
    M.sleep(0)
  end
end

-- ---- tasks --------------------------------------------------------------------------------------------------------

local function spawn(fn, background, ...)
  if type(fn) ~= "function" then
    error(("bad task %s: a function is needed"):format(tostring(fn)), 3)
  end
  local call = { select("#", ...), fn, ... }
  local task = setmetatable({ id = ids_of_tasks:take(), call = call, co = false, queued = false }, Task)
  if run and run.winding_up then task.cancelled = run.winding_up end
  if background then task.background = true else foreground = foreground + 1 end
  tasks[task.id] = task
  enqueue(task)
  return task
end

-- A task of its own for fn. It starts when the caller next waits.
---@param fn function
---@param ... any that it is called with
---@return etherlua.task
function M.spawn(fn, ...)
  return spawn(fn, false, ...)
end

-- A task that serves others: the run does not wait for it, and cancels it at its end.
---@param fn function
function M.spawn_background(fn, ...)
  return spawn(fn, true, ...)
end

-- fn runs when the current task ends, however it ends; the last one first. It may block.
---@param fn function
function M.defer(fn)
  local task = M.current()
  task.defers = task.defers or {}
  table.insert(task.defers, fn)
end

local function fail(task, failure)
  if not run or run.failure then return end
  local traceback = debug.traceback(task.co, tostring(failure))
  if run.attendant then return run.attendant.failed(task, failure, traceback) end
  run.failure = { message = failure, traceback = traceback }
  if run.driven then run.driven:cancel() else M.cancel_all() end
end

local function wake_all(list)
  for _, task in ipairs(list) do enqueue(task) end
end

local function finish(task)
  task.done = true
  tasks[task.id] = nil
  ids_of_tasks:give_back(task.id)
  if not task.background then foreground = foreground - 1 end
  if task.joiners then wake_all(task.joiners) end
end

-- The task's function, or one of its deferred functions, has ended. Deferred functions run in coroutines of their own,
-- under the task's number, free of its cancellation.
---@private
function Task:ended(ok, ...)
  if not self.results then
    self.results = { n = select("#", ...), ... }
    local failed = not ok and (...) ~= CANCELLED
    self.reason = failed and "failed" or (not ok or self.cancelled) and "cancelled" or nil
  end
  local deferred = self.defers and table.remove(self.defers)
  if not deferred then return finish(self) end
  self.co, self.ending, self.cancelled = create(deferred), true, nil
  enqueue(self)
end

local STRAY_YIELD = "coroutine.yield outside of a coroutine that the task made; ether.sleep(0) gives way to other tasks"

local after

-- The task parked, for a frame when there is an object. What cannot be waited for it hears at once.
local function await(task, obj, deadline)
  if not obj then return end
  local code = C.el_wait_frame(obj.ep, task.id, deadline)
  if code ~= 0 then return after(task, resume(task.co, code)) end
end

after = function(task, ok, value, ...)
  if ok and value == PARK then return await(task, ...) end
  if ok and status(task.co) ~= "dead" then return after(task, false, STRAY_YIELD) end
  if not ok and value ~= CANCELLED then fail(task, value) end
  task:ended(ok, value, ...)
end

-- Its coroutine is made only now, when it also gets the stack that it needs: of many tasks that wait to begin none has
-- a small stack that is thrown away.
local function begin(task)
  local call = task.call
  task.co, task.call = create(call[2]), nil
  return after(task, resume(task.co, unpack(call, 3, 2 + call[1])))
end

local function switch_to(task)
  current, budget = task, BUDGET
  if task.call then return begin(task) end
  return after(task, resume(task.co))
end

-- Asks the task to end: its blocking call, and every later one, raises an error; deferred functions run. One that is at
-- its deferred functions already is left to them.
function Task:cancel()
  if self.done or self.cancelled or self.ending then return end
  self.cancelled = 0
  enqueue(self)
end

function Task.__tostring(self)
  return ("task %d%s"):format(self.id, self.done and " (ended)" or "")
end

function M.cancel_all()
  for _, task in pairs(tasks) do task:cancel() end
end

-- ---- the loop -----------------------------------------------------------------------------------------------------

-- Compiled by the JIT: one table access for each ready task.
local function collect()
  local count = C.el_ready(engine, ready_ids)
  local ready = ready_ids[0]
  for i = 0, count - 1 do
    local task = tasks[ready[i]]
    if task then enqueue(task) end
  end
end

local function run_ready()
  local batch, count = queue, queued
  queue, queued, spare = spare, 0, batch
  for i = 1, count do
    local task = batch[i]
    batch[i] = false
    task.queued = false
    if not task.done then switch_to(task) end
  end
  current = nil
end

local INTERRUPT = 2 -- SIGINT

-- A signal that the program catches (el_signals_catch) cancels all tasks, but for a Ctrl-C that the attendant takes.
local function check_signals()
  local count = C.el_signals_count()
  if count == signals_seen then return end
  signals_seen = count
  local interrupted = run.attendant and run.attendant.interrupted
  if interrupted and C.el_signals_last() == INTERRUPT then
    C.el_signals_forget()
    return interrupted()
  end
  M.cancel_all()
end

-- Nothing can wake any task: all are cancelled, those at their deferred functions too. Not when an attendant takes
-- Ctrl-C: there is that still.
local function check_deadlock()
  if queued > 0 or waiting > 0 or run.attendant and run.attendant.interrupted then return end
  run.failure = run.failure or { message = "deadlock", traceback =
    ("deadlock: %d tasks wait for each other, and nothing else can wake them"):format(foreground) }
  for _, task in pairs(tasks) do task.ending = nil end
  M.cancel_all()
end

local function turn()
  check_deadlock()
  C.el_wait(engine, queued > 0 and 0 or -1)
  collect()
  check_signals()
  run_ready()
end

-- Background tasks end, then what the run opened is closed, the last first.
local function wind_up()
  run.winding_up = 0
  M.cancel_all()
  while next(tasks) do turn() end
  for i = #run.closables, 1, -1 do
    local ok, failure = pcall(run.closables[i].close, run.closables[i])
    if not ok then run.failure = run.failure or { message = failure, traceback = tostring(failure) } end
  end
end

-- obj:close() is called when the run ends. Outside a run nothing happens.
function M.close_at_end(obj)
  if run then table.insert(run.closables, obj) end
end

-- Whether a signal ended the run in progress or the last one.
function M.was_interrupted()
  return signals_seen > 0
end

local function finish_run(main)
  local this = run
  wind_up()
  run = nil
  if this.failure then
    local message = this.failure.message
    error(type(message) == "table" and message.exit_status and message or this.failure.traceback, 0)
  end
  if main.reason then return nil, main.reason end
  return unpack(main.results, 1, main.results.n)
end

-- Runs fn as the first task; returns what it returned when it and all tasks that it spawned have ended. An error that
-- no task caught ends the run and is raised with that task's traceback (one with a field exit_status as it is). Inside
-- a run it just calls fn.
---@param fn function
---@param ... any that it is called with
---@return any ... what fn returned
function M.run(fn, ...)
  if run then return fn(...) end
  M.engine()
  run = { closables = {} }
  local main = spawn(fn, false, ...)
  while foreground > 0 do turn() end
  return finish_run(main)
end

-- ---- runs that a test runner keeps --------------------------------------------------------------------------------

-- Runs fn as a task and returns when that one has ended, for a caller that is no task: the first call begins a run that
-- end_run() ends. Other tasks go on meanwhile and outlive the call. An error in one of them cancels fn's task alone.
---@param fn function
function M.drive(fn, ...)
  M.engine()
  run = run or { closables = {} }
  local task = spawn(fn, false, ...)
  run.driven = task
  while not task.done do turn() end
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
  if not run then return nil end
  wind_up()
  local failure = M.take_failure()
  run = nil
  return failure
end

-- For a test runner, which looks for what was left: both are the scheduler's own tables.
---@return table<integer, table> tasks by number, all that have not ended
---@return table[] closables what the run in progress closes at its end, in the order of opening
function M.inventory()
  return tasks, run and run.closables or {}
end

-- Who is told of what happens in the run in progress, instead of that it ends the run, such as the prompt. Neither
-- function may wait.
---@param attendant { failed: function, interrupted: function? } failed(task, failure, traceback): an error that no task
---  caught; interrupted(): Ctrl-C; without it Ctrl-C cancels all tasks
function M.attend(attendant)
  run.attendant = attendant
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
  local count = 0
  for _ in pairs(tasks) do count = count + 1 end
  return count
end

return M
