-- proto/arp_fast.lua: ARP (RFC 826) for who asks or is answered very often: a packet that arp.lua built once and that
-- is patched in place for each send, and the fields of one of Ethernet and IPv4 read where the frame lies. No string
-- and no table a packet. IPv4 addresses are numbers as of addr.ip4_number.

local ffi = require "ffi"
local arp = require "etherlua.proto.arp"
local memory = require "etherlua.net.memory"

local load16, load32, store32 = memory.load16, memory.load32, memory.store32

local M = {}

local SIZE, OP, SHA, SPA, THA, TPA = 28, 6, 8, 14, 18, 24

local packet_t = ffi.typeof "struct { uint32_t spa, tpa; uint16_t op; uint8_t sha[6], tha[6]; }"

-- What parse() fills in: op, sha, spa, tha, tpa. The caller's memory.
---@return ffi.cdata* packet
function M.packet()
  return packet_t()
end

-- Reads a packet of Ethernet and IPv4. Allocates nothing, trusts nothing.
---@param data ffi.cdata* uint8_t pointer
---@param len integer octets, padding allowed
---@param packet ffi.cdata* from packet(); as it was when false is returned
---@return boolean ok
function M.parse(data, len, packet)
  if len < SIZE or load32(data, 0) ~= 0x00010800 or data[4] ~= 6 or data[5] ~= 4 then return false end
  packet.op = load16(data, OP)
  packet.spa, packet.tpa = load32(data, SPA), load32(data, TPA)
  ffi.copy(packet.sha, data + SHA, 6)
  ffi.copy(packet.tha, data + THA, 6)
  return true
end

-- See arp_fast.template.
---@class etherlua.arp_template
---@field data ffi.cdata* uint8_t pointer
---@field size integer octets
local Template = {}
Template.__index = Template

-- A packet to be patched and sent again and again: `data` and `size` are what goes to a send call.
---@param fields table as for arp.build, of Ethernet and IPv4
---@return etherlua.arp_template
function M.template(fields)
  local data = ffi.new("uint8_t[?]", SIZE)
  ffi.copy(data, arp.build(fields), SIZE)
  return setmetatable({ data = data, size = SIZE }, Template)
end

-- Makes it somebody's question for an address.
---@param sha ffi.cdata* six octets: who asks
---@param tpa integer
function Template:ask(sha, tpa)
  ffi.copy(self.data + SHA, sha, 6)
  store32(self.data, TPA, tpa)
end

return M
