-- wait.lua: waiting in specs for what happens in its own time: looked for again and again, never slept for, since
-- nobody knows how busy the machine is. Tasks go on meanwhile.

local sched = require "etherlua.core.sched"

local M = {}

local PAUSE, LONGEST, ATTEMPTS = 0.02, 60, 8 -- seconds; attempts

-- On a wire of this machine frames arrive at once; between NICs (nic_lab.lua) they take a while.
local SETTLE = os.getenv "NICS" and 0.02 or 0.001

local function pause()
  if pcall(sched.current) then return sched.sleep(PAUSE) end
  os.execute("sleep " .. PAUSE)
end

-- Calls fn until it returns something true, and returns that; what it returned last when that takes too long.
---@generic T
---@param fn fun(): T
---@param seconds? number how long it may take (60)
---@return T
function M.eventually(fn, seconds)
  for _ = 1, (seconds or LONGEST) / PAUSE do
    local value = fn()
    if value then return value end
    pause()
  end
  return fn()
end

-- Lets what is under way between the tasks and relays of this process arrive. It is turns of the loop that this takes,
-- and of these there are several, also when the machine is so busy that the time is over at once.
function M.settle()
  for _ = 1, 10 do sched.sleep(SETTLE) end
end

-- Waits until a program's log has the text, or raises an error with the log, when it ends without or takes too long.
---@param process etherlua.process started with a log
---@param text string no pattern
---@param seconds? number
function M.for_log(process, text, seconds)
  local function has_it() return process:log():find(text, 1, true) end
  M.eventually(function() return has_it() or process:status() end, seconds)
  if not has_it() then error(("%q was not printed but:\n%s"):format(text, process:log()), 2) end
end

-- For what is only right when nothing was late: the machine may do other things at any time, but not always. attempt()
-- returns nil when all was right, or what was not; one of several has to succeed. attempt(n): n is 1, then twice as
-- much each time, for what may be too early on a machine that is slow.
---@param attempt fun(n: integer): string?
function M.one_works(attempt)
  local problem
  for i = 1, ATTEMPTS do
    problem = attempt(2 ^ (i - 1))
    if not problem then return end
  end
  error(("none of %d attempts worked; the last: %s"):format(ATTEMPTS, problem), 2)
end

return M
