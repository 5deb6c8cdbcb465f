-- relay/endpoint.lua: what EtherConn and RUDPConn have in common: reading with a timeout, sending again when there was
-- no room, and the registry of those that are open. The structs belong to the engine while open; closing hands them to
-- Lua's collector.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local ids = require "etherlua.core.ids"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"
local suggest = require "etherlua.core.suggest"
require "etherlua.relay.frame" -- what is read has its methods

local C = effi.C
local tick = sched.tick
local EAGAIN, EBUSY, EADDRNOTAVAIL = -errno.EAGAIN, -errno.EBUSY, -errno.EADDRNOTAVAIL

local M = {}

-- ---- registry -----------------------------------------------------------------------------------------------------

local objects = {}  -- id -> the one cdata object of an open endpoint
local closings = {} -- id -> function that is called before it closes, by those who keep something for it
local ids_of_endpoints = ids.new()
M.objects = objects

function M.new_id()
  return ids_of_endpoints:take()
end

-- fn is called once, when the endpoint is about to be closed: for whoever keeps something by its id.
---@param obj any with the struct el_endpoint as its field ep
---@param fn fun(id: integer) one for all endpoints costs them no memory
function M.before_close(obj, fn)
  local id = obj.ep.id
  local others = closings[id]
  closings[id] = not others and fn or function()
    fn(id)
    others(id)
  end
end

-- The endpoint is about to be closed.
function M.closing(id)
  local fn = closings[id]
  closings[id] = nil
  if fn then fn(id) end
end

-- The endpoint is closed: when nobody refers to it any more the collector frees its struct.
function M.retire(id, free)
  local object = objects[id]
  objects[id] = nil
  ids_of_endpoints:give_back(id)
  if object then ffi.gc(object, free) end
end

-- Relays by the address of their struct, for the way back from an endpoint.
local relays = {}

local function address_of_struct(pointer)
  return tonumber(ffi.cast("uintptr_t", pointer))
end

function M.set_relay(handle, relay)
  relays[address_of_struct(handle)] = relay
end

function M.relay_of(ep)
  return relays[address_of_struct(ep.relay)]
end

---@param obj any with the struct el_endpoint as its field ep
---@return boolean
local function is_open(obj)
  return obj.ep.relay ~= nil
end

M.is_open = is_open

-- Raises an error for one that is closed.
function M.check_open(obj)
  if not is_open(obj) then misuse.raise("this endpoint is closed") end
end

-- Makes a member that nobody knows an error.
---@param methods table
---@param what string such as "EtherConn"
---@param fields? string[] of the struct, that users know
---@return table methods
function M.strict(methods, what, fields)
  return setmetatable(methods, { __index = function(_, name)
    local names = { unpack(fields or {}) }
    for known in pairs(methods) do names[#names + 1] = known end
    misuse.raise("unknown member %q of %s%s", tostring(name), what, suggest.words(name, names))
  end })
end

-- ---- reading ------------------------------------------------------------------------------------------------------

-- Why nothing more can come: "interface gone", "closed" at the end of a file, "file broken" where it breaks off, "file
-- gone" where one is followed. nil: more can.
local function ended(ep)
  local code = C.el_ended(ep)
  return code ~= 0 and errno.reason(code) or nil
end

-- No loop (JIT 1): recv comes here.
local function wait_until(obj, deadline)
  local reason = sched.wait_frame(obj, deadline)
  sched.unwait_frame(obj)
  if reason or obj.ep.count > 0 or not is_open(obj) then return reason end
  if sched.now() >= deadline then return "timeout" end
  return wait_until(obj, deadline)
end

local function wait_timed(obj, timeout)
  misuse.check_seconds("timeout", timeout)
  M.check_open(obj)
  if timeout > 0 then return wait_until(obj, sched.now() + timeout) end
  sched.give_way()
  return obj.ep.count == 0 and (ended(obj.ep) or "timeout") or nil
end

-- The queue was empty: waits until it is not, the timeout passes, or nothing more can come.
---@return string|nil reason why there is no frame
local function wait(obj, timeout)
  if timeout then return wait_timed(obj, timeout) end
  local reason = sched.wait_frame(obj, -1)
  if reason == "closed" then M.check_open(obj) end
  return reason
end

-- Passes the next frame to `finish` and returns what that does. The end of a method, so that the stack of a task that
-- waits here stays small.
---@param obj any with the struct el_endpoint as its field ep
---@param timeout? number seconds
---@param pull function C.el_recv: finish has to free the frame; C.el_borrow: it is lent until the next one is asked for
---@param finish function
---@return any|nil
---@return string|nil reason "timeout", "closed" or what ended the relay
local function take(obj, timeout, pull, finish)
  tick()
  do -- what is still in scope when the task parks is made an object, for nothing
    local frame = pull(obj.ep)
    if frame ~= nil then return finish(frame) end
  end
  sched.check_parkable()
  local reason = wait(obj, timeout)
  local frame = pull(obj.ep)
  if frame ~= nil then return finish(frame) end
  if reason or not is_open(obj) then return nil, reason or "closed" end
  return take(obj, timeout, pull, finish)
end
M.take = take

local function lent(frame)
  return frame
end

-- What EtherConn and RUDPConn both have.
---@class etherlua.endpoint
M.methods = {}

-- A borrowed view of the next frame, valid until the next recv_frame on this endpoint or frame:release().
---@param timeout? number seconds
---@return etherlua.frame|nil frame
---@return string|nil reason "timeout" or "closed"
function M.methods:recv_frame(timeout)
  return take(self, timeout, C.el_borrow, lent)
end

---@return boolean
function M.methods:is_open()
  return is_open(self)
end

local function next_frame(obj)
  return is_open(obj) and take(obj, nil, C.el_borrow, lent) or nil
end

-- For a loop over all that comes, until the endpoint is closed or nothing more can come: for frame in conn:frames() do.
-- Each frame is borrowed until the next turn of the loop, which blocks this task.
---@return function next
---@return any self
function M.methods:frames()
  return next_frame, self
end

-- For ether.select: a read would not wait, be it for a frame or because there will be none.
---@private
function M.methods:ready()
  local ep = self.ep
  if ep.count > 0 or not is_open(self) then return true end
  return ended(ep) ~= nil
end

---@private
function M.methods:watch(task)
  local code = C.el_wait_frame(self.ep, task.id, -1)
  if code == EBUSY then return nil, "another task is reading this endpoint already" end
  return true
end

---@private
function M.methods:unwatch(task)
  C.el_unwait(self.ep, task.id)
end

-- How many frames came here, how many of them were lost to a full queue, how many wait.
---@return { received: integer, dropped: integer, queued: integer }
function M.methods:stats()
  local ep = self.ep
  return { received = tonumber(ep.received), dropped = tonumber(ep.dropped), queued = ep.count }
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- While a relay has no room a sender tries again after so many seconds.
local RETRY = 50e-6

-- What an engine send call's code means: true, nil and a reason, or "again" for a full relay.
local function outcome(code, describe)
  if code == 0 then return true end
  local reason = errno.reason(code)
  if reason == "link down" or reason == "interface gone" then return nil, reason end
  if reason == "closed" then misuse.raise("this endpoint is closed") end
  if code == EADDRNOTAVAIL then
    misuse.raise("the endpoint's own MAC is a group address: opts.src_mac is needed to send")
  end
  misuse.raise("%s", describe(reason))
end

-- send() again until there is room. describe(reason) words a misuse.
---@param send function returns a code of the engine
---@param timeout? number seconds to wait for room
function M.send_slowly(code, send, describe, timeout)
  if code ~= EAGAIN then return outcome(code, describe) end
  local deadline = sched.now() + (timeout or math.huge)
  repeat
    if sched.now() >= deadline then return nil, "full" end
    sched.sleep(RETRY)
    code = send()
  until code ~= EAGAIN
  return outcome(code, describe)
end

return M
