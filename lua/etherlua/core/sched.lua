-- core/sched.lua: the scheduler as everybody above core/ uses it: nothing but names. A task is a coroutine that
-- loop.lua resumes; a blocking call parks it, and the engine's loop or another task makes it ready again. No task runs
-- while another one does; each gives way when it parks or after a budget of operations.

local loop = require "etherlua.core.loop"
local park = require "etherlua.core.park"
local run = require "etherlua.core.run"
local task = require "etherlua.core.task"

return {
  -- time, waiting and waking: loop.lua
  CANCELLED = loop.CANCELLED,
  engine = loop.engine,
  now = loop.now,
  current = loop.current,
  check_cancelled = loop.check_cancelled,
  hold = park.hold,
  release = park.release,
  may_wait = loop.may_wait,
  check_parkable = park.check,
  park = loop.park,
  wake = loop.wake,
  sleep = loop.sleep,
  give_way = loop.give_way,
  tick = loop.tick,
  spin = loop.spin,
  wait_frame = loop.wait_frame,
  unwait_frame = loop.unwait_frame,
  wait_fd = loop.wait_fd,
  trace = loop.trace,
  -- tasks: task.lua
  spawn = task.spawn,
  spawn_background = task.spawn_background,
  defer = task.defer,
  cancel_all = task.cancel_all,
  list = task.list,
  live_tasks = task.live_tasks,
  -- runs: run.lua
  run = run.run,
  close_at_end = run.close_at_end,
  forget = run.forget,
  attend = run.attend,
  answer_with = run.answer_with,
  failure = run.failure,
  was_interrupted = run.was_interrupted,
  drive = run.drive,
  take_failure = run.take_failure,
  end_run = run.end_run,
  inventory = run.inventory,
}
