-- relay/endpoint.lua: what EtherConn and RUDPConn have in common: reading with a timeout, the frames they hand out, and
-- the registry of those that are open. The structs belong to the engine while open; closing hands them to Lua's
-- collector.

local ffi = require "ffi"
local bit = require "bit"
local effi = require "etherlua.core.ffi"
local addr = require "etherlua.net.addr"
local ids = require "etherlua.core.ids"
local sched = require "etherlua.core.sched"

local C = effi.C
local tick = sched.tick
local band = bit.band

local M = {}

-- ---- registry -----------------------------------------------------------------------------------------------------

local objects = {} -- id -> the one cdata object of an open endpoint
local extras = {}  -- id -> what Lua keeps beside the struct, for the few that need it
local ids_of_endpoints = ids.new()
M.objects, M.extras = objects, extras

function M.new_id()
  return ids_of_endpoints:take()
end

-- The endpoint is closed: when nobody refers to it any more the collector frees its struct.
function M.retire(id, free)
  local object = objects[id]
  objects[id], extras[id] = nil, nil
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

-- ---- reading ------------------------------------------------------------------------------------------------------

local function check_timeout(timeout)
  if type(timeout) ~= "number" or timeout ~= timeout then
    error(("bad timeout %s: seconds as a number are needed"):format(tostring(timeout)), 4)
  end
end

-- Why nothing more can come: "interface gone", "closed" at the end of a file, "file broken" where it breaks off, "file
-- gone" where one is followed. 0 is no task: the engine is asked. Another task that waits (-EBUSY) is no reason.
local function ended(ep)
  local code = C.el_wait_frame(ep, 0, -1)
  return code ~= 0 and code ~= -16 and effi.reason(code) or nil
end

-- No loop: the compiler would give up on every function from which it comes to one, recv first of all.
local function wait_until(obj, deadline)
  local reason = sched.wait_frame(obj, deadline)
  sched.unwait_frame(obj)
  if reason or obj.ep.count > 0 or obj.ep.relay == nil then return reason end
  if sched.now() >= deadline then return "timeout" end
  return wait_until(obj, deadline)
end

local function wait_timed(obj, timeout)
  check_timeout(timeout)
  if obj.ep.relay == nil then error("this endpoint is closed", 4) end
  if timeout > 0 then return wait_until(obj, sched.now() + timeout) end
  sched.give_way()
  return obj.ep.count == 0 and (ended(obj.ep) or "timeout") or nil
end

-- The queue was empty: waits until it is not, the timeout passes, or nothing more can come.
---@return string|nil reason why there is no frame
local function wait(obj, timeout)
  if timeout then return wait_timed(obj, timeout) end
  local reason = sched.wait_frame(obj, -1)
  if reason == "closed" and obj.ep.relay == nil then error("this endpoint is closed", 3) end
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
  local reason = wait(obj, timeout)
  local frame = pull(obj.ep)
  if frame ~= nil then return finish(frame) end
  if reason or obj.ep.relay == nil then return nil, reason or "closed" end
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

-- For ether.select: a read would not wait, be it for a frame or because there will be none.
---@private
function M.methods:ready()
  local ep = self.ep
  if ep.count > 0 or ep.relay == nil then return true end
  return ended(ep) ~= nil
end

---@private
function M.methods:watch(task)
  local code = C.el_wait_frame(self.ep, task.id, -1)
  if code == -16 then return nil, "another task is reading this endpoint already" end
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

-- ---- frames -------------------------------------------------------------------------------------------------------

local vlans_t, addr_t = ffi.typeof("struct el_vlans"), ffi.typeof("struct el_addr")

local function address_of(read, part)
  return function(frame)
    local a = addr_t()
    read(frame, a)
    if a.version == 0 then return nil end
    if part == "ip" then return a.ip_text end
    if band(frame.flags, C.EL_FRAME_UDP) == 0 then return nil end
    return a.port
  end
end

-- Of a frame that has one.
local function mac_at(offset)
  return function(frame) return frame.len >= offset + 6 and addr.mac_text(ffi.string(frame.data + offset, 6)) or nil end
end

-- A frame in the engine's memory, lent to its reader. tostring(frame) copies the whole frame.
---@class etherlua.frame
---@field len integer bytes of the whole frame
---@field src_mac string
---@field dst_mac string
---@field vlans etherlua.vlans
---@field ethertype integer behind the last tag
---@field src_ip? string nil when it is not IP
---@field dst_ip? string
---@field src_port? integer nil when it is not UDP
---@field dst_port? integer
---@field timestamp number when the kernel got it, seconds of the engine's clock
---@field outgoing boolean a mirror's: sent by this relay, or by the host on a relay with `outgoing`
---@field invalid boolean lengths in it cannot be, or it was cut: only data, len, cut and timestamp say something
---@field cut integer bytes behind len that are missing, which it had on the wire; 65535: or more
---@field fragment boolean one of several: no UDP header is looked for
---@field body string what recv would return, copied: Ethernet payload, or UDP payload at a RUDPConn
---@field data ffi.cdata* pointer to its first byte
---@field payload integer where the body begins, from data
---@field payload_len integer bytes of the body
---@field release fun(self: etherlua.frame) gives it back before the next recv_frame does
local frame_fields = {
  dst_mac = mac_at(0),
  src_mac = mac_at(6),
  src_ip = address_of(C.el_frame_source, "ip"),
  dst_ip = address_of(C.el_frame_target, "ip"),
  src_port = address_of(C.el_frame_source, "port"),
  dst_port = address_of(C.el_frame_target, "port"),
  vlans = function(frame)
    local vlans = vlans_t()
    C.el_frame_vlans(frame, vlans)
    return vlans
  end,
  outgoing = function(frame) return band(frame.flags, C.EL_FRAME_OUTGOING) ~= 0 end,
  invalid = function(frame) return band(frame.flags, C.EL_FRAME_INVALID) ~= 0 end,
  fragment = function(frame) return band(frame.flags, C.EL_FRAME_FRAGMENT) ~= 0 end,
  body = function(frame) return ffi.string(frame.data + frame.payload, frame.payload_len) end,
}
M.frame_fields = frame_fields

local frame_methods = {
  release = function(frame) C.el_frame_free(frame) end,
}

effi.metatype("struct el_frame", {
  __index = function(frame, key)
    local method = frame_methods[key]
    if method then return method end
    local field = frame_fields[key]
    return field and field(frame)
  end,
  __tostring = function(frame) return ffi.string(frame.data, frame.len) end,
})

local scratch = addr_t()

-- The sender's address of a UDP datagram.
---@param frame etherlua.frame
---@return etherlua.addr constant
function M.source(frame)
  C.el_frame_source(frame, scratch)
  return addr.constant(scratch)
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- While a relay has no room a sender tries again after so many seconds.
local RETRY = 50e-6

-- What an engine send call's code means: true, nil and a reason, or "again" for a full relay.
local function outcome(code, describe)
  if code == 0 then return true end
  local reason = effi.reason(code)
  if reason == "link down" or reason == "interface gone" then return nil, reason end
  if reason == "closed" then error("this endpoint is closed", 4) end
  if code == -99 then error("the endpoint's own MAC is a group address: opts.src_mac is needed to send", 4) end
  error(describe(reason), 4)
end

-- send() again until there is room. describe(reason) words a misuse.
---@param send function returns a code of the engine
---@param timeout? number seconds to wait for room
function M.send_slowly(code, send, describe, timeout)
  if code ~= -11 then return outcome(code, describe) end
  local deadline = sched.now() + (timeout or math.huge)
  repeat
    if sched.now() >= deadline then return nil, "full" end
    sched.sleep(RETRY)
    code = send()
  until code ~= -11
  return outcome(code, describe)
end

return M
