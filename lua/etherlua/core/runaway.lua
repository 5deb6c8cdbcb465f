-- core/runaway.lua: ends code that never waits, so that the scheduler never has its turn: `while true do end`. It does
-- so when a signal asks for the end and the loop does not hear of it, and when a time limit is over. That needs the
-- program (engine/program/interrupt.c); elsewhere nothing is ended.
--
-- Our code and that of libraries is passed over for a second: its loops end, and then what called it is ended. LuaJIT
-- asks nobody in compiled code: see keep_interpreted(). Where that is not wanted the process ends at the signal.

local loop = require "etherlua.core.loop"
local misuse = require "etherlua.core.misuse"

local M = {}

local SPARED = 1 -- seconds that ours and libraries may go on

local found, native = pcall(require, "etherlua.interrupt")
if not found then native = { ask = function() end, after = function() end, watch_signals = function() end } end

local told          -- see watch_signals()
local limit         -- { at =, over = }, see set_limit()
local ending        -- what ends now: a function that was told so, or is to be
local spared_until
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
end

-- For interrupt.c, in the coroutine that runs. first: it has just begun to ask.
---@return boolean again true: it has to ask again soon
local function decide(first)
  if first then
    ending, spared_until = reason(), loop.now() + SPARED
    if not ending then
      rearm()
      return false
    end
  end
  local source = debug.getinfo(2, "S").source
  if is_spared(source) and loop.now() < spared_until then return true end
  local tell = ending
  ending = function() end
  tell(misuse.place() or "?", (debug.traceback("", 2):gsub("^\n", "")))
  error(loop.CANCELLED, 0)
end

native.ask(decide)

-- ---- for programs -------------------------------------------------------------------------------------------------

-- Where each trace begins: all that is known of compiled code that is interrupted.
local function note_traces()
  local util, places = require "jit.util", {}
  jit.attach(function(what, trace, fn, pc)
    if what == "start" then
      places[trace] = util.funcinfo(fn, pc).loc
    elseif what == "stop" and places[trace] then
      local code, address = util.tracemc(trace)
      if code then native.compiled(address, #code, places[trace]) end
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
  if found and not patient and not on_prototype then note_traces() end
end

-- The loop has heard of the signals.
function M.heard()
  rearm(true)
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
