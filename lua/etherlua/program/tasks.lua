-- program/tasks.lua: what tasks wait for, since when, and where in their code, as their stacks and the engine tell
-- it. No task pays for this while nobody asks.

local effi = require "etherlua.core.ffi"
local endpoint = require "etherlua.relay.endpoint"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

-- The API's own rooms are how a task waits, not where.
local OWN = { core = true, relay = true, host = true, ask = true }

local function is_own(source)
  return OWN[source:match "/etherlua/([%w_]+)/[%w_]+%.lua$"]
end

local function place(info)
  return ("%s:%d"):format(info.short_src:match "[^/]*$", info.currentline)
end

-- The call of the API that a suspended task is in, and the place from which it was made.
local function position(co)
  local call, outermost
  for level = 0, math.huge do
    local info = debug.getinfo(co, level, "Sln")
    if not info then return call, outermost or "?" end
    if info.what ~= "C" then
      outermost = place(info)
      if not is_own(info.source) then return call, outermost end
      call = info.name or call
    end
  end
end

-- The endpoints that make it ready.
local function endpoints(task)
  local names = {}
  for _, object in pairs(endpoint.objects) do
    if object:is_open() and object.ep.waiter == task.id then names[#names + 1] = tostring(object) end
  end
  table.sort(names)
  return table.concat(names, ", ")
end

---@class etherlua.task_state
---@field id integer
---@field waits string what for
---@field since number? seconds that it has waited
---@field where string place in its code
---@field background boolean

---@param task table
---@return etherlua.task_state
function M.state(task)
  local state = { id = task.id, waits = "to begin", where = "", background = task.background or false }
  if task.call then return state end
  local call, where = position(task.co)
  local names = endpoints(task)
  state.where = where
  state.waits = task.queued and "its turn" or ((call or "park") .. (names ~= "" and " " .. names or ""))
  state.since = math.max(0, sched.now() - C.el_waits_since(sched.engine(), task.id))
  return state
end

---@param hidden table<table, boolean> tasks to leave out
---@return string lines
function M.list(hidden)
  local states, width = {}, #"waits in"
  for _, task in ipairs(sched.list()) do
    if not hidden[task] then
      states[#states + 1] = M.state(task)
      width = math.max(width, #states[#states].waits)
    end
  end
  if #states == 0 then return "no tasks" end
  local row = "%4s  %9s  %-" .. width .. "s  %s%s"
  local lines = { row:format("task", "for", "waits in", "where", "") }
  for _, state in ipairs(states) do
    lines[#lines + 1] = row:format(state.id, state.since and ("%.1f s"):format(state.since) or "", state.waits,
      state.where, state.background and "  (background)" or "")
  end
  return table.concat(lines, "\n")
end

---@param id integer
---@return string where in its code it is, call by call
function M.traceback(id)
  for _, task in ipairs(sched.list()) do
    if task.id == id then
      return task.call and ("%s has not begun"):format(tostring(task)) or debug.traceback(task.co, tostring(task))
    end
  end
  return ("no such task: %s (tasks() lists them)"):format(tostring(id))
end

return M
