-- net/memory.lua: packets where they lie: numbers and addresses read and written through pointers, for those who hear
-- and send very often. No strings, no tables, and no look at bounds: who calls knows the length. Offsets count from 0.
-- bytes.lua does the same with strings.

local bit = require "bit"
local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local numbers = require "etherlua.net.numbers"

local C = effi.C
local band, rshift = bit.band, bit.rshift
local ICMP6 = numbers.protocol.ICMP6

local M = {}

local mac_p = ffi.typeof "const struct el_mac *"
local uint16_p, int32_p = ffi.typeof "uint16_t *", ffi.typeof "int32_t *"

-- ---- network byte order -------------------------------------------------------------------------------------------

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@return integer 0 to 0xffff
function M.load16(p, at)
  return p[at] * 0x100 + p[at + 1]
end

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@return integer 0 to 2^32 - 1
function M.load32(p, at)
  return p[at] * 0x1000000 + p[at + 1] * 0x10000 + p[at + 2] * 0x100 + p[at + 3]
end

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@param value integer 0 to 0xffff
function M.store16(p, at, value)
  p[at], p[at + 1] = rshift(value, 8), band(value, 0xff)
end

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@param value integer 0 to 2^32 - 1
function M.store32(p, at, value)
  p[at], p[at + 1] = value / 0x1000000, value / 0x10000 % 0x100
  p[at + 2], p[at + 3] = value / 0x100 % 0x100, value % 0x100
end

-- ---- as they stand in memory --------------------------------------------------------------------------------------
-- To be compared and copied. Calculating with them needs bit.bswap, or sums for which the order does not matter.

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@return integer 0 to 0xffff
function M.native16(p, at)
  return ffi.cast(uint16_p, p + at)[0]
end

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@return integer -2^31 to 2^31 - 1
function M.native32(p, at)
  return ffi.cast(int32_p, p + at)[0]
end

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@param value integer as native16 returns it
function M.store_native16(p, at, value)
  ffi.cast(uint16_p, p + at)[0] = value
end

---@param p ffi.cdata* uint8_t pointer
---@param at integer
---@param value integer as native32 returns it
function M.store_native32(p, at, value)
  ffi.cast(int32_p, p + at)[0] = value
end

-- ---- MAC addresses ------------------------------------------------------------------------------------------------

---@param a ffi.cdata* uint8_t pointer
---@param b ffi.cdata* uint8_t pointer
---@return boolean
function M.same_mac(a, b)
  return a[0] == b[0] and a[1] == b[1] and a[2] == b[2] and a[3] == b[3] and a[4] == b[4] and a[5] == b[5]
end

-- Whether a MAC address stands for several hosts (IEEE 802 section 8.2.2).
---@param p ffi.cdata* uint8_t pointer
---@return boolean
function M.is_group_mac(p)
  return band(p[0], 1) ~= 0
end

---@param p ffi.cdata* uint8_t pointer
---@return ffi.cdata* pointer to the same bytes, as the engine wants a MAC address
function M.mac_at(p)
  return ffi.cast(mac_p, p)
end

-- ---- checksums ----------------------------------------------------------------------------------------------------

-- The checksum over an ICMPv6 message and the pseudo header (RFC 4443 section 2.3): 0 when the message has it in place.
---@param addresses ffi.cdata* pointer to the IPv6 packet's source address, which the destination follows
---@param message ffi.cdata* uint8_t pointer
---@param size integer
---@return integer
function M.icmp6_checksum(addresses, message, size)
  return C.el_checksum(message, size, 0xffff - C.el_checksum(addresses, 32, size + ICMP6))
end

return M
