-- ranks/link.lua: what two ranks say to each other: tables, a line each, over a socket. A background task reads; who
-- waits for something when that task has been cancelled, as all are at the end of a run, reads by itself.

local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"
local stream = require "etherlua.ranks.stream"
local value = require "etherlua.ranks.value"
local waiters = require "etherlua.core.waiters"

local M = {}

-- What comes is handed to heard(message), the end of it to gone(reason): a task of its own does both.
---@class etherlua.ranks.link
---@field rank integer of the other end
---@field lost? string why nothing comes any more
---@field changed etherlua.waiters tasks that wait until something has come
local Link = {}
Link.__index = Link

---@param fd integer a socket
---@param limit? integer bytes that a message may have, until trust()
---@return etherlua.ranks.link
function M.new(fd, limit)
  return setmetatable({ stream = stream.new(fd, limit), changed = waiters.new(), news = false },
    Link)
end

-- The other end is a rank of this run.
---@param rank integer
function Link:trust(rank)
  self.rank, self.stream.limit = rank, math.huge
end

---@param message table
---@param deadline? number
---@return boolean? sent
---@return string? reason
function Link:send(message, deadline)
  return self.stream:write_line(value.encode(message), deadline)
end

-- The next message. Blocks the task.
---@param deadline? number
---@return table? message
---@return string? reason
function Link:receive(deadline)
  local line, reason = self.stream:read_line(deadline)
  if not line then return nil, reason end
  local message = value.decode(line)
  if type(message) ~= "table" then return nil, "it is no rank of etherlua" end
  return message
end

-- One step of reading. Returns false when there is nothing more to come, or the time is up.
local function read_one(self, deadline)
  local message, reason = self:receive(deadline)
  if not message and reason == "timeout" then return false end
  if message then
    self.heard(message)
  else
    self.lost = reason
    self.gone(reason)
  end
  self.news = true
  self.changed:wake()
  return message ~= nil
end

-- From now on what comes is handed to these functions, which may not wait.
---@param heard fun(message: table)
---@param gone fun(reason: string) nothing more comes
---@param check fun() called behind each of them while the run goes on: an error in it ends the run
function Link:listen(heard, gone, check)
  self.heard, self.gone = heard, gone
  self.reader = sched.spawn_background(function()
    sched.defer(function()
      self.reader = nil
      self.changed:wake()
    end)
    repeat
      local more = read_one(self)
      check()
    until not more
  end)
end

-- Blocks until something has come, nothing more can, or the time is up; it may return early.
---@param deadline? number
function Link:wait(deadline)
  if self.lost then return end
  if not self.reader then return read_one(self, deadline) end
  select.wait { self, timeout = deadline and math.max(0, deadline - sched.now()) }
end

-- For select: whether there is news since the last wait.
---@private
function Link:ready()
  local news = self.news
  self.news = false
  return news or not self.reader
end

---@private
function Link:watch(task) self.changed:add(task) end

---@private
function Link:unwatch(task) self.changed:remove(task) end

function Link:close()
  self.stream:close()
end

return M
