-- core/channel.lua: passes values from task to task, in order. A bounded buffer: send blocks when it is full, recv when
-- it is empty. Both ends may be used by any number of tasks.

local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"
local waiters = require "etherlua.core.waiters"

local M = {}

-- See ether.channel.
---@class etherlua.channel
local Channel = {}
Channel.__index = Channel

-- A channel: values go in at one end and come out at the other, in order.
---@param capacity? integer values that fit without a reader, 1 when not given
---@return etherlua.channel
function M.new(capacity)
  capacity = capacity or 1
  if type(capacity) ~= "number" or capacity < 1 or capacity % 1 ~= 0 then
    misuse.raise("bad channel capacity %s: a whole number from 1 is needed", tostring(capacity))
  end
  return setmetatable({ capacity = capacity, first = 1, last = 0, waiters = waiters.new() }, Channel)
end

---@return integer values that are inside
function Channel:count() return self.last - self.first + 1 end

-- For ether.select: something can be received.
---@private
function Channel:ready() return self.last >= self.first or self.closed end

---@private
function Channel:watch(task) self.waiters:add(task) end

---@private
function Channel:unwatch(task) self.waiters:remove(task) end

-- One end's view for select: ready when there is room.
local function room(channel)
  return setmetatable({
    ready = function() return channel.closed or channel:count() < channel.capacity end,
    watch = function(_, task) channel:watch(task) end,
    unwatch = function(_, task) channel:unwatch(task) end,
  }, { __tostring = function() return "room in " .. tostring(channel) end })
end

-- Puts a value in. Blocks while there is no room.
---@param value any not nil
---@param timeout? number seconds to wait for room
---@return true|nil
---@return string|nil reason "timeout" or "closed"
function Channel:send(value, timeout)
  if value == nil then misuse.raise "a channel cannot carry nil" end
  sched.tick()
  if self:count() >= self.capacity and not self.closed then
    sched.check_parkable()
    local ready, reason = select.await { room(self), timeout = timeout }
    if not ready then return nil, reason end
  end
  if self.closed then return nil, "closed" end
  self.last = self.last + 1
  self[self.last] = value
  self.waiters:wake()
  return true
end

-- Takes a value out. Blocks while there is none.
---@param timeout? number seconds to wait for a value
---@return any|nil value
---@return string|nil reason "timeout", or "closed" when it is closed and empty
function Channel:recv(timeout)
  sched.tick()
  if not self:ready() then
    sched.check_parkable()
    local ready, reason = select.await { self, timeout = timeout }
    if not ready then return nil, reason end
  end
  if self.last < self.first then return nil, "closed" end
  local value = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  self.waiters:wake()
  return value
end

-- No more values are taken; those inside can still be received.
function Channel:close()
  self.closed = true
  self.waiters:wake()
end

function Channel.__tostring(self)
  return ("channel (%d of %d%s)"):format(self:count(), self.capacity, self.closed and ", closed" or "")
end

return M
