-- ranks/member.lua: a rank that is not the first: its connection to rank 0, where all meet.

local addr = require "etherlua.net.addr"
local effi = require "etherlua.core.ffi"
local link = require "etherlua.ranks.link"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

local TRY_FOR = 3 -- seconds for one address

-- passed: meetings that are over, with rank 0's message. failed, reason: the rank that ends the run, and why.
---@class etherlua.ranks.member
local Member = {}
Member.__index = Member

-- Who answers at an address, if that is a rank 0.
local function try(address)
  local fd = C.el_socket_connect(addr.addr(address))
  if fd < 0 then return nil end
  local peer = link.new(fd)
  local greeting = peer:receive(sched.now() + TRY_FOR)
  if greeting and greeting.etherlua == "ranks" then return peer end
  peer:close()
end

-- Connects to rank 0.
---@param rank integer
---@param token string
---@param addresses string[] of rank 0, with port
---@return etherlua.ranks.member
function M.new(rank, token, addresses)
  for _, address in ipairs(addresses) do
    local peer = try(address)
    if peer and peer:send { token = token, rank = rank } then
      peer:trust(0)
      return setmetatable({ hub = peer, passed = {} }, Member)
    end
  end
  error("cannot reach rank 0 at " .. table.concat(addresses, ", "), 0)
end

---@return string? which rank failed, and why
function Member:trouble()
  return self.reason and ("rank %d: %s"):format(self.failed or 0, self.reason)
end

local function heard(self, message)
  if message.go then self.passed[message.go] = message end
  if message.bye then self.hub.left = true end
  if message["end"] then self.failed, self.reason = message.rank, message["end"] end
end

-- From now on what rank 0 says is heard.
---@param check fun(trouble?: string) called behind each message: an error in it ends the run
function Member:listen(check)
  self.hub:listen(function(message) heard(self, message) end, function(reason)
    if not self.hub.left then self.reason = self.reason or reason == "closed" and "it was lost" or reason end
  end, function() check(self:trouble()) end)
end

-- Comes to a meeting of this name with a value, without waiting for the others.
---@param name string
---@param value any
function Member:come(name, value)
  self.hub:send { at = name, value = value }
end

-- Tells rank 0 what this rank has opened and closed.
---@param list (string|integer)[] as of claims.lua
function Member:claim(list)
  self.hub:send { claims = list }
end

-- Just tells rank 0 something; what was told last counts.
---@param value any
function Member:tell(value)
  self.hub:send { now = value }
end

-- Waits until rank 0 lets those go on that came to the meeting.
---@param name string
---@return any? value that it has for them; nil: none, or rank 0 has ended
function Member:wait(name)
  while not self.passed[name] do
    if self.hub.lost or self.hub.left then return nil end
    self.hub:wait()
  end
  local value = self.passed[name].value
  self.passed[name] = nil
  return value
end

-- The run ends on all ranks, because this one has failed.
---@param reason string
function Member:fail(reason)
  self.hub:send({ failed = reason }, sched.now())
end

-- This rank ends.
function Member:leave()
  self.hub:send({ bye = true }, sched.now())
  self.hub:close()
end

return M
