-- net/group.lua: addresses that stand for several hosts: which IP addresses do, and the MAC addresses that go with
-- them. The broadcast address of a subnet cannot be told without its prefix.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"

local band = bit.band

local M = {}

-- All hosts of a link, as a MAC address and as an IPv4 address (RFC 919).
M.BROADCAST, M.BROADCAST4 = "ff:ff:ff:ff:ff:ff", "255.255.255.255"

-- Multicast and the limited broadcast (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7).
---@param to etherlua.addr
---@return boolean
function M.is_group(to)
  local first = to.ip[0]
  if to.version == 6 then return first == 0xff end
  return first >= 0xe0 and first < 0xf0 or first == 0xff and to.ip[1] == 0xff and to.ip[2] == 0xff and to.ip[3] == 0xff
end

-- The same for text.
---@param ip string IPv4 or IPv6 address
---@return boolean
function M.is_group_ip(ip)
  local first = addr.ip_bytes(ip):byte()
  if ip:find(":", 1, true) then return first == 0xff end
  return first >= 0xe0 and first < 0xf0 or ip == M.BROADCAST4
end

-- Why an address cannot be that of a host (RFC 1122 section 3.2.1.3).
---@param ip string IPv4 address
---@return string|nil reason such as "multicast"; nil: a host can have it
function M.no_host(ip)
  local first = addr.ip_bytes(ip):byte()
  if ip == M.BROADCAST4 then return "broadcast" end
  if first == 0 then return ip == "0.0.0.0" and "no address" or "of no network" end
  if first == 127 then return "loopback" end
  return first >= 0xe0 and first < 0xf0 and "multicast" or nil
end

-- Whether an address can be that of a host, the same for numbers.
---@param ip integer IPv4 address, its bytes as they stand in memory
---@return boolean
function M.is_host4(ip)
  local first = band(ip, 0xff)
  return first ~= 0 and first ~= 127 and (first < 0xe0 or first >= 0xf0 and ip ~= -1)
end

-- Whether frames to a MAC address are for several hosts (IEEE 802-2014 section 8.2.2).
---@param mac string
---@return boolean
function M.is_group_mac(mac)
  return addr.mac_bytes(mac):byte() % 2 == 1
end

-- Of the raw octets of a group's IP address, as text (RFC 1112 section 6.4, RFC 2464 section 7).
local function mac_of(raw)
  if #raw == 16 then return addr.mac_text("\x33\x33" .. raw:sub(13)) end
  if raw == "\xff\xff\xff\xff" then return M.BROADCAST end
  return addr.mac_text("\1\0\x5e" .. string.char(raw:byte(2) % 0x80) .. raw:sub(3))
end

-- Where a packet to a group is sent.
---@param to etherlua.addr
---@return etherlua.mac|nil mac nil for an address of one host
function M.mac(to)
  return M.is_group(to) and addr.mac(mac_of(ffi.string(to.ip, to.version == 6 and 16 or 4))) or nil
end

-- The same for text.
---@param ip string IPv4 or IPv6 address
---@return string|nil mac nil for an address of one host
function M.mac_text(ip)
  return M.is_group_ip(ip) and mac_of(addr.ip_bytes(ip)) or nil
end

return M
