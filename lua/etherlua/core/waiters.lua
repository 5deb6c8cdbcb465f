-- core/waiters.lua: the tasks that wait for one thing, in the order in which they came. One leaves in constant time
-- from any place, so that 100,000 that are cancelled at once do not each look for themselves among all others.

local loop = require "etherlua.core.loop"

local M = {}

-- Tasks stand at 1 to last; holes are false. at: task -> its place. count: without the holes.
---@class etherlua.waiters
local Waiters = {}
Waiters.__index = Waiters

local SLACK = 32 -- places that may be holes, beside as many as there are tasks

---@return etherlua.waiters
function M.new()
  return setmetatable({ at = {}, last = 0, count = 0 }, Waiters)
end

-- One that waits already, as for a source that is twice in a select, is there once.
---@param task etherlua.task
function Waiters:add(task)
  if self.at[task] then return end
  self.last, self.count = self.last + 1, self.count + 1
  self[self.last], self.at[task] = task, self.last
end

-- Without the holes.
local function close_up(self)
  local count = 0
  for i = 1, self.last do
    local task = self[i]
    self[i] = nil
    if task then
      count = count + 1
      self[count], self.at[task] = task, count
    end
  end
  self.last = count
end

-- Nothing happens when it is not there.
---@param task etherlua.task
function Waiters:remove(task)
  local place = self.at[task]
  if not place then return end
  self[place], self.at[task], self.count = false, nil, self.count - 1
  if self.last > 2 * self.count + SLACK then close_up(self) end
end

-- All of them get their turn, and wait no more. Nothing is allocated: channels do this with each value.
function Waiters:wake()
  local at, last = self.at, self.last
  self.last, self.count = 0, 0
  for i = 1, last do
    local task = self[i]
    self[i] = nil
    if task then
      at[task] = nil
      loop.wake(task)
    end
  end
end

return M
