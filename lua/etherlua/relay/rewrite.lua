-- relay/rewrite.lua: other MAC addresses and VLAN tags for frames that were recorded somewhere else. What is behind the
-- tags stays as it is, so no checksum changes. An object has a buffer for one frame; nothing is allocated for each.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local ethernet = require "etherlua.proto.ethernet"
local ffi = require "ffi"
local memory = require "etherlua.net.memory"
local vlan_stack = require "etherlua.net.vlan_stack"

local load16, load32 = memory.load16, memory.load32

local M = {}

local MACS, TAG, HEADER = 12, 4, 14 -- bytes
local LONGEST = 65535

-- See rewrite.new.
---@class etherlua.rewrite
local Rewrite = {}
Rewrite.__index = Rewrite

-- Six bytes as a number.
local function mac_number(data, at)
  return load16(data, at) * 0x100000000 + load32(data, at + 2)
end

local function mac_bytes(mac)
  return mac and ffi.new("uint8_t[6]", addr.mac_bytes(mac)) or nil
end

local function tag_bytes(vlans)
  local parts = {}
  for i = 0, vlans.count - 1 do
    parts[i + 1] = bytes.put16("TPID", vlans.tag[i].tpid) .. bytes.put16("TCI", vlans.tag[i].tci)
  end
  return table.concat(parts)
end

---@class etherlua.rewrite_opts
---@field src_mac? string
---@field dst_mac? string
---@field map? table<string, string> MAC address -> the one in its place, as source and as destination; src_mac and
---  dst_mac come after it
---@field pop? integer so many outer tags are taken off, as far as there are any; math.huge: all (0)
---@field push? integer|string|table|etherlua.vlans tags put around what is left, outer tag first (none)

---@param opts etherlua.rewrite_opts
---@return etherlua.rewrite raises for what is no MAC address or VLAN stack
function M.new(opts)
  local push = tag_bytes(vlan_stack.new(opts.push))
  local self = setmetatable({ buffer = ffi.new("uint8_t[?]", LONGEST + #push), src = mac_bytes(opts.src_mac),
    dst = mac_bytes(opts.dst_mac), pop = opts.pop or 0, push = push, map = next(opts.map or {}) and {} }, Rewrite)
  for old, new in pairs(opts.map or {}) do self.map[mac_number(mac_bytes(old), 0)] = mac_bytes(new) end
  return self
end

-- Where what is left of a frame begins when its outer tags are gone.
local function behind_tags(data, len, pop)
  local at = MACS
  while pop > 0 and at + TAG + 2 <= len and ethernet.tpids[load16(data, at)] do
    at, pop = at + TAG, pop - 1
  end
  return at
end

local function put_mac(self, at, fixed)
  local mac = fixed or self.map and self.map[mac_number(self.buffer, at)]
  if mac then ffi.copy(self.buffer + at, mac, 6) end
end

-- The frame with all of it done; one that is shorter than an Ethernet header stays as it is.
---@param data ffi.cdata* pointer to its first byte
---@param len integer up to 65535
---@return ffi.cdata* data valid until the next call
---@return integer len
function Rewrite:apply(data, len)
  if len < HEADER then return data, len end
  local buffer, at, push = self.buffer, behind_tags(data, len, self.pop), #self.push
  ffi.copy(buffer, data, MACS)
  put_mac(self, 0, self.dst)
  put_mac(self, 6, self.src)
  ffi.copy(buffer + MACS, self.push, push)
  ffi.copy(buffer + MACS + push, data + at, len - at)
  return buffer, len - at + MACS + push
end

return M
