-- core/select.lua: waiting for one of several things: endpoints, channels, tasks. What can be waited for says so
-- itself: ready() tells, watch(task) and unwatch(task) register.

local effi = require "etherlua.core.ffi"
local loop = require "etherlua.core.loop"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local park = require "etherlua.core.park"

local C = effi.C

local M = {}

local function ready_source(sources)
  for i = 1, #sources do
    if sources[i]:ready() then return sources[i], i end
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
      misuse.raise("%s", problem)
    end
    external = by_engine or external
  end
  return external
end

local function wait_sources(sources, task, deadline)
  local external = watch_all(sources, task) or deadline >= 0
  C.el_timer(loop.engine(), task.id, deadline)
  loop.suspend(external, sources, deadline)
  unwatch_all(sources, task)
  C.el_timer(loop.engine(), task.id, -1)
  loop.check_cancelled(task)
end

local OPTIONS = options.new("ether.select", { timeout = options.any() })

local function check(sources)
  for key, source in pairs(sources) do
    if type(key) ~= "number" then
      if key ~= "timeout" then OPTIONS:check { [key] = true } end
    elseif type(source) ~= "cdata" and not (type(source) == "table" and source.watch) then
      misuse.raise("bad source %s: an endpoint, a channel or a task is needed", tostring(source))
    end
  end
  if sources.timeout ~= nil then misuse.check_seconds("timeout", sources.timeout) end
end

-- As wait.
---@param sources table
---@param must_check? boolean false: the caller has called park.check
function M.await(sources, must_check)
  local task, timeout = loop.current(), sources.timeout
  check(sources)
  loop.check_cancelled(task)
  if timeout and timeout <= 0 then loop.give_way() else loop.tick() end
  local deadline = timeout and loop.now() + math.max(timeout, 0) or -1
  while true do
    local source, index = ready_source(sources)
    if source then return source, index end
    if deadline >= 0 and loop.now() >= deadline then return nil, "timeout" end
    if must_check then park.check() end
    wait_sources(sources, task, deadline)
  end
end

-- Waits until one of several endpoints, channels or tasks is ready: the first in the list wins.
---@param sources table list of endpoints, channels and tasks; timeout = seconds, 0 only looks
---@return any|nil source
---@return integer|string index in the list, or "timeout"
function M.wait(sources)
  return M.await(sources, true)
end

return M
