-- relay/frame.lua: a frame in the engine's memory as a script sees it. It is lent: its reader gives it back, by asking
-- for the next one at the latest. What is done with one that is gone is an error, as long as the engine can tell: its
-- memory may have become another frame's.

local ffi = require "ffi"
local bit = require "bit"
local addr = require "etherlua.net.addr"
local effi = require "etherlua.core.ffi"
local misuse = require "etherlua.core.misuse"
local suggest = require "etherlua.core.suggest"
require "etherlua.net.vlan_stack" -- whose methods frame.vlans has

local C = effi.C
local band, cast = bit.band, ffi.cast

local M = {}

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

-- A frame in the engine's memory, lent to its reader. tostring(frame) copies the whole frame. When it was given back,
-- and when its endpoint or relay is closed, all but release() is an error.
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
---@field cut integer bytes behind len that are missing, which it had on the wire
---@field fragment boolean one of several: no UDP header is looked for
---@field body string what recv would return, copied: Ethernet payload, or UDP payload at a RUDPConn
---@field data ffi.cdata* pointer to its first byte
---@field payload integer where the body begins, from data
---@field payload_len integer bytes of the body
---@field release fun(self: etherlua.frame) gives it back before the next recv_frame does
M.fields = {
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

local MEMBERS = { "len", "timestamp", "ethertype", "cut", "data", "payload", "payload_len", "release" }

---@return string[] names of all that a frame has
function M.names()
  local names = { unpack(MEMBERS) }
  for name in pairs(M.fields) do names[#names + 1] = name end
  return names
end

local function unknown(key)
  misuse.raise("unknown member %q of a frame%s", tostring(key), suggest.words(key, M.names()))
end

effi.metatype("struct el_frame", {
  __index = function(frame, key)
    local field = M.fields[key]
    if field then return field(frame) end
    return unknown(key)
  end,
})

local frame_t = ffi.typeof "struct el_frame *"

-- The frame itself, for functions of the engine. Raises an error when it is gone.
---@param lent etherlua.frame
---@return ffi.cdata* a struct el_frame *
function M.of(lent)
  local frame = cast(frame_t, lent)
  if frame.state == C.EL_FRAME_UNUSED then misuse.raise "this frame was given back, or its endpoint is closed" end
  return frame
end

---@param lent etherlua.frame
---@return boolean
function M.is_gone(lent)
  return cast(frame_t, lent).state == C.EL_FRAME_UNUSED
end

local function release(lent)
  C.el_frame_free(cast(frame_t, lent))
end

effi.metatype("struct el_lent", {
  __index = function(lent, key)
    if key == "release" then return release end
    return M.of(lent)[key]
  end,
  __tostring = function(lent)
    local frame = M.of(lent)
    return ffi.string(frame.data, frame.len)
  end,
})

local scratch = addr_t()

-- The sender's address of a UDP datagram.
---@param frame etherlua.frame
---@return etherlua.addr constant
function M.source(frame)
  C.el_frame_source(frame, scratch)
  return addr.constant(scratch)
end

return M
