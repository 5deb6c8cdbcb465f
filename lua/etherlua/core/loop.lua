-- core/loop.lua: what makes tasks wait, and the loop that resumes them. A task parks by yielding a sentinel that only
-- this file and park.lua know; the engine, or another task, makes it ready again.
--
-- To the loop a task is a table: id, its number; co, its coroutine, or its function while call says what that is to be
-- called with, which it does until the task begins; background, cancelled, done; and task:ended(ok, ...), which is
-- called when its coroutine has ended, or when it was cancelled before it began. task.lua makes them.
--
-- All state is in upvalues of this one file: what parks and wakes is the hottest Lua there is.
local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local failures = require "etherlua.core.failure"
local misuse = require "etherlua.core.misuse"
local park = require "etherlua.core.park"

local C = effi.C
local create, resume, yield, status = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status
local PARK, check_parkable = park.PARK, park.check

local M = {}

-- Operations after which a task that never had to wait gives way.
local BUDGET = 256
-- A cancelled task that goes on blocking regardless is abandoned after so many tries.
local STUBBORN = 100
local BUSY = -errno.EBUSY

local ARGUMENTS = {} -- metatable of a task's call that is a list of n values; any other is the one value itself
local CANCELLED = setmetatable({}, { __tostring = function() return "cancelled" end })
M.ARGUMENTS, M.CANCELLED = ARGUMENTS, CANCELLED

local engine
local current            -- the task that runs now
local budget = BUDGET
local tasks = {}         -- id -> task, all that have not ended
local queue, queued = {}, 0 -- ready tasks
local spare = {}
local foreground = 0     -- tasks that keep the run going
local waiting = 0        -- tasks parked for something that only the engine can bring: a frame, a time, a file
local signals_seen, ends_seen = 0, 0 -- all of them, those that ask for the end
local ready_ids = ffi.new("const uint32_t *[1]")
local run                -- in progress, see serve()
local tracer             -- see trace()

---@type table<integer, etherlua.task> by number, all that have not ended; only to be looked at
M.tasks = tasks

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

-- ---- tracing ------------------------------------------------------------------------------------------------------

-- Each event, see program/trace.lua, is handed to fn, which may not wait. An error in it ends the tracing and is
-- printed on standard error.
---@param fn? fun(event: etherlua.task_event) nil: no more
function M.trace(fn)
  tracer = fn
end

local function tell(event)
  event.time = M.now()
  local ok, failure = pcall(tracer, event)
  if ok then return end
  tracer = nil
  io.stderr:write("etherlua: tasks are traced no more: ", failures.text(failure), "\n")
end

local function tell_park(task, what, object, deadline)
  tell { kind = "park", task = task, what = what, object = object, deadline = deadline and deadline >= 0 and deadline
    or nil }
end

local function tell_wake(task)
  if not task.queued and not task.done then tell { kind = "wake", task = task, by = current or "engine" } end
end

-- ---- parking and waking -------------------------------------------------------------------------------------------

-- The task gets its turn.
local function enqueue(task)
  if task.queued or task.done then return end
  task.queued = true
  queued = queued + 1
  queue[queued] = task
end
M.enqueue = enqueue

-- The task, which another one made wait, or cancels, gets its turn.
function M.wake(task)
  if tracer then tell_wake(task) end
  return enqueue(task)
end

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
  if current then return current end
  misuse.raise(park.OUTSIDE)
end

---@return table? task that runs now; nil outside of one
function M.running()
  return current
end

---@return boolean whether a call may block the running task, and need not block the thread
function M.may_wait()
  return current ~= nil and not park.is_held()
end

-- Gives up the processor until somebody calls wake(task). It may return early: callers check what they waited for.
function M.park(task)
  check_cancelled(task) -- else one that was cancelled before would wait for ever
  check_parkable()
  if tracer then tell_park(task, "wake") end
  yield(PARK)
  check_cancelled(task)
end

-- Parks for what the engine brings; without any such waiter and nothing ready, tasks wait for each other for ever. The
-- caller withdraws what it waits for and then calls check_cancelled.
local function park_for_engine()
  waiting = waiting + 1
  yield(PARK)
  waiting = waiting - 1
end

-- Gives up the processor, for something that the engine can bring or only another task can. For select.lua, which
-- withdraws what it waits for before it looks whether the task was cancelled.
---@param by_engine boolean
---@param sources table what is waited for
---@param deadline number negative: none
function M.suspend(by_engine, sources, deadline)
  if tracer then tell_park(current, "select", sources, deadline) end
  if by_engine then park_for_engine() else yield(PARK) end
end

-- Everybody else runs once before the task does again.
local function take_turns(task)
  if task.cancelled then check_cancelled(task) end
  if tracer then tell_park(task, "turn") end
  enqueue(task)
  yield(PARK)
  if task.cancelled then check_cancelled(task) end
end

-- Lets everybody else run once, and the engine look at relays and timers; returns when it is this task's turn again.
function M.give_way()
  budget = BUDGET
  if not current then return C.el_wait(engine or M.engine(), 0) end
  check_parkable()
  take_turns(current)
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
    misuse.raise("bad sleep %s: seconds as a number are needed", tostring(seconds))
  end
  check_parkable()
  if seconds <= 0 then return take_turns(task) end
  check_cancelled(task)
  local deadline = M.now() + seconds
  repeat
    if tracer then tell_park(task, "time", nil, deadline) end
    C.el_timer(engine, task.id, deadline)
    park_for_engine()
    check_cancelled(task)
  until C.el_now(engine) >= deadline
end

-- Parks until the object's endpoint has a frame, the deadline passes (negative: none), or it is closed. It may return
-- early. The scheduler registers it, on its own stack. The caller has called check_parkable, or knows that it may wait.
---@param obj any with the struct el_endpoint as its field ep: EtherConn, RUDPConn
---@param deadline number
---@return string|nil reason why it cannot wait
function M.wait_frame(obj, deadline)
  local task = M.current()
  if task.cancelled then check_cancelled(task) end
  waiting = waiting + 1
  local code = yield(PARK, obj, deadline)
  waiting = waiting - 1
  if task.cancelled then
    C.el_unwait(obj.ep, task.id)
    check_cancelled(task)
  end
  if code == BUSY then misuse.raise "another task is reading this endpoint already" end
  return code and errno.reason(code)
end

-- The task waits no more for the endpoint: its time was up.
function M.unwait_frame(obj)
  C.el_unwait(obj.ep, current.id)
end

-- Parks until the file descriptor is readable. One that cannot be waited for (a plain file) is always readable. With a
-- deadline it may return early.
---@param fd integer
---@param deadline? number
function M.wait_fd(fd, deadline)
  local task = M.current()
  check_cancelled(task)
  check_parkable()
  if C.el_wait_fd(M.engine(), fd, task.id) ~= 0 then return take_turns(task) end
  if tracer then tell_park(task, "file", fd, deadline) end
  if deadline then C.el_timer(engine, task.id, deadline) end
  park_for_engine()
  if deadline then C.el_timer(engine, task.id, -1) end
  C.el_unwait_fd(engine, fd)
  check_cancelled(task)
end

-- ---- resuming -----------------------------------------------------------------------------------------------------

local STRAY_YIELD = "coroutine.yield outside of a coroutine that the task made; ether.sleep(0) gives way to other tasks"

local after

-- Of its own, so that a trace begins here (JIT 4). As a part of parked() it would be a side trace, which ends in the
-- loop of run_ready: by bad luck, after many batches of one task, the compiler has given that loop up, and this too.
local function await(task, obj, deadline)
  if tracer then tell_park(task, "frame", obj, deadline) end
  local code = C.el_wait_frame(obj.ep, task.id, deadline)
  if code ~= 0 then return after(task, resume(task.co, code)) end
end

-- The task parked, for a frame when there is an object. What cannot be waited for it hears at once.
local function parked(task, obj, deadline)
  if obj then return await(task, obj, deadline) end
end

after = function(task, ok, value, ...)
  if ok and value == PARK then return parked(task, ...) end
  if ok and status(task.co) ~= "dead" then return task:ended(false, STRAY_YIELD) end
  task:ended(ok, value, ...)
end

-- Its coroutine is made only now, when it also gets the stack that it needs: of many tasks that wait to begin none has
-- a small stack that is thrown away. One that was cancelled before does not begin: its first blocking call may be far.
local function begin(task)
  local call = task.call
  if task.cancelled then return task:ended(false, CANCELLED) end
  task.co, task.call = create(task.co), nil -- both or neither: there may be no memory
  if getmetatable(call) ~= ARGUMENTS then return after(task, resume(task.co, call)) end
  return after(task, resume(task.co, unpack(call, 1, call.n)))
end

local function switch_to(task)
  current, budget = task, BUDGET
  if task.call then return begin(task) end
  return after(task, resume(task.co))
end

-- ---- the loop -----------------------------------------------------------------------------------------------------

local function tell_ready(count)
  for i = 0, count - 1 do
    local task = tasks[ready_ids[0][i]]
    if task then tell_wake(task) end
  end
end

-- Compiled: one table access for each ready task (JIT 9).
local function collect()
  local count = C.el_ready(engine, ready_ids)
  if tracer then tell_ready(count) end
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

-- Whether signals have come that ask for the end and that the loop has not heard of.
---@return boolean
function M.signal_pending()
  return C.el_signals_count() - C.el_signals_asked() ~= ends_seen
end

-- Tells the run of signals that have come.
function M.check_signals()
  local count = C.el_signals_count()
  if count == signals_seen then return end
  signals_seen, ends_seen = count, count - C.el_signals_asked()
  run:signalled(count)
end

-- Sleeps until a task is ready, or a signal has come, and resumes those that are.
local function turn()
  if queued == 0 and waiting == 0 then run:stuck() end
  C.el_wait(engine, queued > 0 and 0 or -1)
  collect()
  M.check_signals()
  run_ready()
end
M.turn = turn

-- Until no task is left that keeps the run going.
function M.turns()
  while foreground > 0 do turn() end
end

-- What was spawned last begins; nobody else has a turn.
function M.begin_spawned()
  for i = 1, queued do
    if queue[i].call then switch_to(queue[i]) end
  end
  current = nil
end

-- After an error in the loop itself, such as no memory: nobody is ready and nobody runs.
function M.recover()
  queue, queued, spare, current = {}, 0, {}, nil
  for _, task in pairs(tasks) do task.queued = false end
end

-- ---- what there is to run -----------------------------------------------------------------------------------------

-- A run begins: run:stuck() is called when nothing can wake any task, run:signalled(count) when signals that the
-- program catches have come: count of el_signals_count.
---@param of table
function M.serve(of)
  M.engine()
  run = of
end

-- A new task gets its turn.
---@param task etherlua.task
function M.add(task)
  tasks[task.id] = task
  if not task.background then foreground = foreground + 1 end
  if tracer then tell { kind = "spawn", task = task, by = current or "engine" } end
  enqueue(task)
end

-- A task has ended.
---@param task etherlua.task
function M.remove(task)
  tasks[task.id] = nil
  if not task.background then foreground = foreground - 1 end
  if tracer then tell { kind = "end", task = task, how = task.reason or "returned" } end
end

---@return integer tasks that keep the run going
function M.foreground()
  return foreground
end

return M
