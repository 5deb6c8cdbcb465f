-- ranks/hub.lua: rank 0 of several: all others are connected to it. They meet here: a meeting is over when each rank
-- has come, or cannot come any more. The first one that fails ends the run on all of them, in order.

local ffi = require "ffi"
local channel = require "etherlua.core.channel"
local claims = require "etherlua.ranks.claims"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local link = require "etherlua.ranks.link"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

local GREETING_MAX = 256 -- bytes of a message from somebody who is not known yet
local CONNECT_WITHIN = 30 -- seconds until all are there
local END_WITHIN = 1.5 -- seconds until all have told their last after a failure

-- links: rank -> link. meetings: name -> { rank -> value }. failure: { rank, reason }, the first. owners: of endpoints.
---@class etherlua.ranks.hub
local Hub = {}
Hub.__index = Hub

-- ---- beginning ----------------------------------------------------------------------------------------------------

---@param size integer ranks in all
---@param token string that only these ranks know
---@return etherlua.ranks.hub
---@return integer port where the others find it
function M.new(size, token)
  local port = ffi.new "uint16_t[1]"
  local fd = C.el_socket_listen(port)
  if fd < 0 then error("ranks cannot connect here: " .. errno.reason(fd), 0) end
  return setmetatable({ fd = fd, size = size, token = token, links = {}, joined = 1, meetings = {},
    owners = claims.owners(size) }, Hub), port[0]
end

-- Somebody who knows the token, and whose rank is not there yet, is one of us; everybody else is sent away.
local function admit(self, peer)
  local greeting = peer:receive(sched.now() + CONNECT_WITHIN)
  local rank = greeting and greeting.token == self.token and greeting.rank
  if type(rank) ~= "number" or rank % 1 ~= 0 or rank < 1 or rank >= self.size or self.links[rank] then
    return peer:close()
  end
  peer:trust(rank)
  self.links[rank], self.joined = peer, self.joined + 1
  if self.joined == self.size then self.complete:close() end
end

local function accept_all(self)
  while true do
    local fd = C.el_socket_accept(self.fd)
    if fd >= 0 then
      local peer = link.new(fd, GREETING_MAX)
      peer:send { etherlua = "ranks" } -- who connects waits for this
      sched.spawn_background(admit, self, peer)
    elseif fd == -errno.EAGAIN then
      sched.wait_fd(self.fd)
    else
      sched.sleep(0.1) -- no descriptor is left, or who wanted to connect has gone
    end
  end
end

local function absent(self)
  local list = {}
  for rank = 1, self.size - 1 do
    if not self.links[rank] then list[#list + 1] = rank end
  end
  return table.concat(list, ", ")
end

-- Waits until all are there.
function Hub:join()
  self.complete = channel.new()
  local door = sched.spawn_background(accept_all, self)
  local _, late = self.complete:recv(CONNECT_WITHIN)
  door:cancel()
  C.el_fd_close(self.fd)
  if late == "timeout" then
    error(("after %d s these ranks have not connected: %s"):format(CONNECT_WITHIN, absent(self)), 0)
  end
end

-- ---- failures -----------------------------------------------------------------------------------------------------

-- The run ends on all ranks, because this one has failed. The first failure counts.
---@param rank integer
---@param reason string
function Hub:fail(rank, reason)
  if self.failure then return end
  self.failure = { rank = rank, reason = reason, deadline = sched.now() + END_WITHIN }
  for _, peer in pairs(self.links) do peer:send({ ["end"] = reason, rank = rank }, sched.now()) end
end

---@return { rank: integer, reason: string }? of the rank that failed first
function Hub:first_failure()
  return self.failure
end

---@return string? which rank failed, and why
function Hub:trouble()
  return self.failure and ("rank %d: %s"):format(self.failure.rank, self.failure.reason)
end

-- ---- meetings -----------------------------------------------------------------------------------------------------

local function meeting(self, name)
  local found = self.meetings[name] or {}
  self.meetings[name] = found
  return found
end

-- What a rank has opened and closed. What another one has, too, ends the run.
---@param rank integer
---@param list (string|integer)[] as of claims.lua
function Hub:claim(rank, list)
  local problem = self.owners:note(rank, list)
  if problem then self:fail(rank, problem) end
end

local function heard(self, rank, message)
  if message.at then meeting(self, message.at)[rank] = message end
  if message.now ~= nil then self.links[rank].latest = message.now end
  if message.bye then self.links[rank].left = true end
  if message.claims then self:claim(rank, message.claims) end
  if message.failed then self:fail(rank, message.failed) end
end

-- From now on what the others say is heard.
---@param check fun(trouble?: string) called behind each message: an error in it ends the run
function Hub:listen(check)
  for rank, peer in pairs(self.links) do
    peer:listen(function(message) heard(self, rank, message) end, function(reason)
      if not peer.left then self:fail(rank, reason == "closed" and "it was lost" or reason) end
    end, function() check(self:trouble()) end)
  end
end

-- One that is still to come, or nil.
local function awaited(self, came)
  for rank = 1, self.size - 1 do
    local peer = self.links[rank]
    if not came[rank] and not peer.lost and not peer.left then return peer end
  end
end

-- Waits until all ranks are at the meeting of this name, but for those that have ended or failed.
---@param name string no other meeting has it
---@return table<integer, table> messages by rank from 1
function Hub:meet(name)
  local came = meeting(self, name)
  while true do
    local peer, deadline = awaited(self, came), self.failure and self.failure.deadline
    if not peer or deadline and sched.now() >= deadline then break end
    peer:wait(deadline)
  end
  self.meetings[name] = nil
  return came
end

-- What the others said last when they just told something.
---@return table<integer, any> by rank from 1
function Hub:latest()
  local list = {}
  for rank, peer in pairs(self.links) do list[rank] = peer.latest end
  return list
end

-- Lets those go on that are at a meeting.
---@param name string
---@param value? any for them
function Hub:part(name, value)
  for _, peer in pairs(self.links) do peer:send({ go = name, value = value }) end
end

-- ---- end ----------------------------------------------------------------------------------------------------------

-- Rank 0 ends.
function Hub:leave()
  for _, peer in pairs(self.links) do
    peer:send({ bye = true }, sched.now())
    peer:close()
  end
end

return M
