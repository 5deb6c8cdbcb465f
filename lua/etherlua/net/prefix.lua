-- net/prefix.lua: IP prefixes such as "10.0.0.5/24": an address, and the addresses that share its first bits. Counting
-- through addresses. Addresses are text, as people write them.

local addr = require "etherlua.net.addr"
local misuse = require "etherlua.core.misuse"

local M = {}

-- See prefix.new.
---@class etherlua.prefix
---@field ip string the address as it was given, RFC 5952 for IPv6
---@field length integer bits
---@field version integer 4 or 6
local Prefix = {}
Prefix.__index = Prefix

-- The first `length` bits of an address of 4 or 16 bytes; the others are zero.
local function masked(bytes, length)
  local whole, rest = math.floor(length / 8), length % 8
  if whole == #bytes then return bytes end
  local byte = bytes:byte(whole + 1)
  return bytes:sub(1, whole) .. string.char(byte - byte % 2 ^ (8 - rest)) .. ("\0"):rep(#bytes - whole - 1)
end

---@param text string "10.0.0.5/24", "2001:db8::5/64"; without a length all bits count
---@return etherlua.prefix raises when it is none
function M.new(text)
  local ip, length = tostring(text):match("^([^/]+)/(%d+)$")
  local bytes = addr.ip_bytes(ip or text)
  local bits = #bytes * 8
  length = tonumber(length or bits)
  if length > bits then misuse.raise("bad prefix %q: a length of 0 to %d is allowed", text, bits) end
  return setmetatable({ ip = addr.ip_text(bytes), length = length, version = #bytes == 4 and 4 or 6,
    first = masked(bytes, length) }, Prefix)
end

---@param ip string
---@return boolean
function Prefix:contains(ip)
  return self:contains_bytes(addr.ip_bytes(ip))
end

---@param bytes string address of 4 or 16 bytes
---@return boolean
function Prefix:contains_bytes(bytes)
  return #bytes == #self.first and masked(bytes, self.length) == self.first
end

-- The mask of an IPv4 prefix.
---@return string such as "255.255.255.0"
function Prefix:mask()
  return addr.ip4_text(2 ^ 32 - self:size())
end

-- The first address of the prefix, that of the network.
---@return string
function Prefix:network()
  return addr.ip_text(self.first)
end

-- How many addresses it has.
---@return number exact up to 2^53
function Prefix:size()
  return 2 ^ (#self.first * 8 - self.length)
end

-- The length of the prefix that a mask stands for.
---@param mask string IPv4, such as "255.255.255.0"
---@return integer bits 24: the ones in front
function M.mask_length(mask)
  local bits, number = 0, addr.ip4_number(mask)
  while number >= 0x80000000 do bits, number = bits + 1, number * 2 % 0x100000000 end
  return bits
end

-- The length that the class of an address stands for (RFC 791 section 3.2), where a mask is missing.
---@param ip string IPv4
---@return integer bits 8, 16, 24; 32 where there is no class of networks
function M.class_length(ip)
  local first = addr.ip_bytes(ip):byte()
  return first < 0x80 and 8 or first < 0xc0 and 16 or first < 0xe0 and 24 or 32
end

-- The n-th address after one; behind the last one comes the first.
---@param ip string
---@param n integer may be negative
---@return string
function M.ip_add(ip, n)
  local bytes = { addr.ip_bytes(ip):byte(1, -1) }
  for i = #bytes, 1, -1 do
    n = bytes[i] + n
    bytes[i] = n % 256
    n = math.floor(n / 256)
  end
  return addr.ip_text(string.char(unpack(bytes)))
end

-- Links of two hosts have no network and broadcast address (RFC 3021, RFC 6164).
local LAST_BITS = { [4] = 31, [6] = 127 }

-- Raises unless so many hosts can have addresses from this one on: neither that of the network, nor the broadcast
-- address, nor one of another network.
---@param count integer
---@param step integer from each to the next
function Prefix:check_hosts(count, step)
  local last, network = M.ip_add(self.ip, (count - 1) * step), self:network()
  local is_link = self.length >= LAST_BITS[self.version]
  if not is_link and self.ip == network then
    misuse.raise("bad first address %s: it is the network's own", self)
  end
  local broadcast = self.version == 4 and not is_link and M.ip_add(network, self:size() - 1)
  if (count - 1) * step < self:size() and self:contains(last) and last ~= broadcast then return end
  misuse.raise("%d hosts from %s by %d do not fit %s/%d: the last would be %s%s", count, self, step, network,
    self.length, last, last == broadcast and ", the broadcast address" or "")
end

function Prefix:__tostring()
  return ("%s/%d"):format(self.ip, self.length)
end

return M
