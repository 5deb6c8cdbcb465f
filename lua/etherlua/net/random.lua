-- net/random.lua: random numbers for transaction ids, jitter and invented hosts, from the operating system. Not
-- math.random, whose seed belongs to the script.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local ffi = require "ffi"

local C = effi.C

local M = {}

local CHUNK = 4096
local chunk = ffi.new("uint8_t[?]", CHUNK)
local pool, at = "", 1

---@return integer 0 to 2^32 - 1
function M.u32()
  if at + 3 > #pool then
    local code = C.el_random(chunk, CHUNK)
    if code < 0 then error("no random numbers: " .. errno.reason(code), 0) end
    pool, at = ffi.string(chunk, CHUNK), 1
  end
  at = at + 4
  return bytes.u32(pool, at - 4)
end

---@param low number
---@param high number
---@return number evenly spread from low to high
function M.between(low, high)
  return low + (high - low) * M.u32() / 0xffffffff
end

---@return string MAC address of a host, locally administered (IEEE 802 section 8.4.2)
function M.mac()
  return addr.mac_add(("02:%02x:00:00:00:00"):format(M.u32() % 256), M.u32())
end

return M
