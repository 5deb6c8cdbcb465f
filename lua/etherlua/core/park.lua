-- core/park.lua: the value that a task yields to the scheduler when it waits, and how it passes through coroutines that
-- a user made inside the task: while an inner coroutine waits, the outer one waits too. So coroutine.resume and
-- coroutine.wrap are others while a run is in progress. Functions that were taken from `coroutine` before the run are
-- the usual ones: a task cannot wait inside of what they resume.
--
-- A yield cannot pass through a function of C, either. `dofile` and `require` are Lua while a run is in progress: see
-- loading.lua. For all others check() says what is wrong; LuaJIT's own words for it help nobody.
--
-- Another task that resumes a coroutine in which a task waits would take the wait over: what then comes is the first
-- one's, and the other never wakes. It is refused, as resuming a coroutine that runs is.

local misuse = require "etherlua.core.misuse"

local can_yield = coroutine.isyieldable
local create, resume, running, yield = coroutine.create, coroutine.resume, coroutine.running, coroutine.yield

local M = {}

local PARK = {}
M.PARK = PARK

M.OUTSIDE = "this call blocks: it is possible only inside ether.run or a script of etherlua run"

local function refuse()
  if not running() then misuse.raise(M.OUTSIDE) end
  misuse.raise("this call waits, which is not possible inside a function that string.gsub, table.sort, load, a " ..
    "handler of xpcall, or another function of C calls: let it only note what there is to do, and wait afterwards")
end

local barred = false -- whether the running coroutine was resumed where one cannot park

-- Raises an error where the running coroutine cannot park, before anything is registered for what it waits for. To be
-- called where its stack is not deep yet: a function of C that is called further down, and is not compiled, makes the
-- stack of every task that waits there twice as large.
function M.check()
  if barred or not can_yield() then refuse() end
end

local held = 0

-- Until release() no task should wait, since the thread has been changed for what is done meanwhile.
function M.hold() held = held + 1 end
function M.release() held = held - 1 end
function M.is_held() return held > 0 end

local BUSY = "cannot resume a coroutine in which a task waits"

-- Coroutines in which a task waits: to another task that has them too they are as if they ran.
local waits = setmetatable({}, { __mode = "k" })

local go_on

-- While the inner coroutine parks, the outer one parks too and hands on what comes back.
local function pass_on(co, ok, value, ...)
  if ok and value == PARK then
    waits[co] = true
    return go_on(co, yield(PARK, ...))
  end
  return ok, value, ...
end

go_on = function(co, ...)
  waits[co] = nil
  return pass_on(co, resume(co, ...))
end

local function unbar(before, ...)
  barred = before
  return ...
end

local function resume_through(co, ...)
  if waits[co] then return false, BUSY end
  if barred or not can_yield() then
    local before = barred
    barred = true
    return unbar(before, resume(co, ...))
  end
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

local before -- what coroutine.resume and coroutine.wrap were; nil outside a run

-- A run begins.
function M.install()
  before = { resume = coroutine.resume, wrap = coroutine.wrap }
  coroutine.resume, coroutine.wrap = resume_through, wrap_through -- luacheck: ignore 122
end

-- It has ended: what was there is put back.
function M.uninstall()
  coroutine.resume, coroutine.wrap = before.resume, before.wrap -- luacheck: ignore 122
  before = nil
end

return M
