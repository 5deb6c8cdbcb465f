-- core/crew.lua: helpers: background tasks that work for somebody who waits for what comes of them. An error in one
-- ends that wait and is raised there, so that nobody waits for a task that is dead. While nobody waits it is the run's,
-- as that of any task; whoever waits next hears of it at once.

local channel = require "etherlua.core.channel"
local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"

local M = {}

-- Those who help with one thing. failure = { value }: the first error among them. waiting: tasks that wait for them.
---@class etherlua.crew
local Crew = {}
Crew.__index = Crew

-- One without helpers.
---@return etherlua.crew
function M.new()
  return setmetatable({ event = channel.new(), waiting = 0 }, Crew)
end

-- One more helper.
---@param fn function
---@param ... any that it is called with
---@return etherlua.task
function Crew:spawn(fn, ...)
  local helper = sched.spawn_background(fn, ...)
  helper.crew = self
  return helper
end

-- An error that a helper did not catch. For tasks.
---@private
---@param failure any
---@return boolean taken somebody waits, and raises it
function Crew:failed(failure)
  self.failure = self.failure or { failure }
  self.event:close()
  return self.waiting > 0
end

-- Raises the error of a helper, if there was one.
function Crew:check()
  if self.failure then error(self.failure[1], 0) end
end

-- Waits for a task to end, a helper or one that they help. Raises the error of any helper.
---@param one etherlua.task
function Crew:join(one)
  self:check()
  self.waiting = self.waiting + 1
  local ok, reason = pcall(select.wait, { self.event, one })
  self.waiting = self.waiting - 1
  if not ok then error(reason, 0) end
  self:check()
end

return M
