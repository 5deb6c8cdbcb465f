-- core/runaway.lua: ends code that never waits, so that the scheduler never has its turn: `while true do end`. It does
-- so when a signal asks for the end and the loop does not hear of it, and when a time limit is over. That needs the
-- program (engine/program/interrupt.c); elsewhere nothing is ended.
--
-- Our code and that of libraries is passed over for a second: its loops end, and then what called it is ended. LuaJIT
-- asks nobody in compiled code. So that is not compiled (keep_interpreted) or, where it has to be fast, loops that
-- nothing can end are not. From other compiled loops there is no way out: the process ends at the signal.

local bit = require "bit"
local loop = require "etherlua.core.loop"
local misuse = require "etherlua.core.misuse"

local M = {}

local SPARED = 1      -- seconds that ours and libraries may go on
local CLEANING_UP = 1 -- seconds that a task may go on that a signal has cancelled

local found, native = pcall(require, "etherlua.interrupt")
if not found then
  local function nothing() end
  native = { ask = nothing, after = nothing, cancelled = nothing, watch_signals = nothing }
end

local told          -- see watch_signals()
local limit         -- { at =, over = }, see set_limit()
local ending        -- what ends now: a function that was told so, or is to be
local since         -- when it began to ask
local winding_up    -- a signal has cancelled all tasks
local on_prototype  -- see keep_interpreted()

-- ---- whose code it is ---------------------------------------------------------------------------------------------

-- Libraries that are installed are in .../share/lua/5.1.
local function is_spared(source)
  return misuse.is_own(source) or source:find("/share/lua/", 1, true) ~= nil
end

-- ---- ending it ----------------------------------------------------------------------------------------------------

local function rearm(heard)
  native.after(limit and math.max(limit.at - loop.now(), 0.001) or nil, heard)
end

-- Who is to be told, nil: nobody has a reason to end it.
local function reason()
  if loop.signal_pending() then return told end
  if limit and loop.now() >= limit.at then return limit.over end
  local task = loop.running()
  if winding_up and task and task.cancelled then return told end
end

-- Whether it is too early to end what runs.
local function is_spared_yet(info)
  local passed, lasts = loop.now() - since, 0
  if is_spared(info.source) or info.short_src:find "^%[builtin:" then lasts = SPARED end -- such as table.remove
  if ending == told and not loop.signal_pending() then lasts = CLEANING_UP end
  return passed < lasts
end

-- For interrupt.c, in the coroutine that runs. first: it has just begun to ask.
---@return boolean again true: it has to ask again soon
local function decide(first)
  if first then
    ending, since = reason(), loop.now()
    if not ending then
      rearm()
      return false
    end
  end
  if is_spared_yet(debug.getinfo(2, "S")) then return true end
  local tell = ending
  ending, since = function() end, loop.now() -- ours has time to clean up
  tell(misuse.place() or "?", (debug.traceback("", 2):gsub("^\n", "")))
  error(loop.CANCELLED, 0)
end

native.ask(decide)

-- ---- for programs -------------------------------------------------------------------------------------------------

local GUARD = 0x80 -- of an instruction's type: lj_ir.h

-- The number of the instruction in front of the loop of a trace; not known where LuaJIT's own modules are missing.
local function loop_instruction()
  local known, vmdef = pcall(require, "jit.vmdef")
  local at = known and vmdef.irnames:find("LOOP  ", 1, true)
  return at and (at - 1) / 6
end

-- Whether nothing in the loop of a trace can end it.
local function is_endless(util, trace, marker)
  local info = util.traceinfo(trace)
  for i = info.linktype == "loop" and info.nins or 0, 1, -1 do
    local _, op_and_type = util.traceir(trace, i)
    if bit.rshift(op_and_type, 8) == marker then return true end
    if bit.band(op_and_type, GUARD) ~= 0 then return false end
  end
  return false
end

-- A loop that nothing can end is not left compiled: interpreted it can be interrupted. Where other traces begin is
-- noted, which is all that is known of compiled code that is interrupted.
local function look_at_traces()
  local util, starts, marker = require "jit.util", {}, loop_instruction()
  jit.attach(function(what, trace, fn, pc)
    if what == "start" then
      starts[trace] = { fn = fn, place = util.funcinfo(fn, pc).loc }
    elseif what == "stop" and starts[trace] then
      if is_endless(util, trace, marker) then return jit.off(starts[trace].fn) end
      local code, address = util.tracemc(trace)
      if code then native.compiled(address, #code, starts[trace].place) end
    elseif what == "flush" then
      native.compiled()
    end
  end, "trace")
end

-- Signals that are caught (el_signals_catch) end code that never waits. Of compiled code they end the process, unless
-- patient. fn, which may not wait, is told before.
---@param patient boolean
---@param fn fun(place: string, traceback: string)
function M.watch_signals(patient, fn)
  told = fn
  native.watch_signals(patient)
  if found and not patient and not on_prototype then look_at_traces() end
end

-- The loop has heard of the signals.
---@param all_cancelled boolean
function M.heard(all_cancelled)
  winding_up = all_cancelled
  if all_cancelled then native.cancelled() else rearm(true) end
end

-- Code that runs then without having waited is ended. fn, which may not wait, is told before.
---@param seconds? number by the engine's clock; nil: no limit any more
---@param fn? fun(place: string, traceback: string)
function M.set_limit(seconds, fn)
  limit = seconds and { at = loop.now() + seconds, over = fn } or nil
  rearm()
end

-- Code that is loaded from now on is not compiled, so that it can be ended: all but ours and that of libraries.
function M.keep_interpreted()
  if not found or on_prototype then return end
  on_prototype = function(prototype)
    if not is_spared(require("jit.util").funcinfo(prototype).source) then jit.off(prototype) end
  end
  jit.attach(on_prototype, "bc")
end

return M
