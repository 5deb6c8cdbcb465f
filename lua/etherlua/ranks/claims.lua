-- ranks/claims.lua: which rank has which endpoint. Each rank tells rank 0 what it opens and closes, many at a time, and
-- rank 0 finds what two have: frames for it would reach both.

local sched = require "etherlua.core.sched"

local M = {}

local PAUSE = 0.02 -- seconds for which changes are gathered
local MESSAGE_MAX = 1000 -- changes in a message

-- ---- of one rank --------------------------------------------------------------------------------------------------

-- pending: what is to be told: endpoint, change, endpoint, change, ...
---@class etherlua.ranks.changes
local Changes = {}
Changes.__index = Changes

---@param tell fun(list: (string|integer)[]) hands a part of them to rank 0; it may block the task
---@return etherlua.ranks.changes
function M.changes(tell)
  return setmetatable({ pending = {}, tell = tell }, Changes)
end

---@param endpoint string
---@param change integer 1: one more was opened, -1: closed
function Changes:add(endpoint, change)
  local pending = self.pending
  pending[#pending + 1] = endpoint
  pending[#pending + 1] = change
  if #pending > 2 then return end
  sched.spawn_background(function()
    sched.sleep(PAUSE)
    self:flush()
  end)
end

-- Tells what is pending. Blocks the task while rank 0 does not read.
function Changes:flush()
  local pending = self.pending
  self.pending = {}
  for i = 1, #pending, 2 * MESSAGE_MAX do
    self.tell { unpack(pending, i, math.min(#pending, i + 2 * MESSAGE_MAX - 1)) }
  end
end

-- ---- of all, at rank 0 --------------------------------------------------------------------------------------------

-- owners: by endpoint, its rank + size * how many are open
---@class etherlua.ranks.owners
local Owners = {}
Owners.__index = Owners

---@param size integer ranks in all
---@return etherlua.ranks.owners
function M.owners(size)
  return setmetatable({ size = size, owners = {} }, Owners)
end

-- What a rank has opened and closed.
---@param rank integer
---@param list (string|integer)[] endpoint, change, endpoint, change, ...
---@return string? trouble what is another rank's
function Owners:note(rank, list)
  for i = 1, #list, 2 do
    local endpoint, change = list[i], list[i + 1]
    local known = self.owners[endpoint] or rank
    if known % self.size ~= rank then
      return ("%s is an endpoint of rank %d, too"):format(endpoint, known % self.size)
    end
    known = known + change * self.size
    self.owners[endpoint] = known >= self.size and known or nil
  end
end

return M
