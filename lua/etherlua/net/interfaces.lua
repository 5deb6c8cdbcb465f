-- net/interfaces.lua: the network interfaces of the machine, as the operating system tells of them.

require "etherlua.net.addr" -- struct el_addr has its methods from there
local effi = require "etherlua.core.ffi"
local ffi = require "ffi"

local C = effi.C

local M = {}

local MAX = 256

-- Texts are "" where the system does not tell.
---@class etherlua.interface
---@field name string such as "eth1" or "Ethernet 2"
---@field description string Windows: such as the card's maker and model
---@field device string Windows: Npcap's name for it
---@field mac? string nil for what has none
---@field up boolean
---@field mtu integer bytes
---@field addresses string[] IP addresses, the first 8

local function interface_of(one)
  local addresses = {}
  for i = 0, one.addr_count - 1 do addresses[i + 1] = one.addrs[i].ip_text end
  return { name = ffi.string(one.name), description = ffi.string(one.description), device = ffi.string(one.device),
    mac = one.ethernet ~= 0 and tostring(one.mac) or nil, up = one.up ~= 0, mtu = one.mtu, addresses = addresses }
end

-- In the thread's network namespace.
---@return etherlua.interface[]? list
---@return string? reason such as that Npcap is missing
function M.list()
  local found, err = ffi.new("struct el_interface[?]", MAX), ffi.new("char[?]", C.EL_ERR_MAX)
  local count = C.el_interfaces(found, MAX, err)
  if count < 0 then return nil, ffi.string(err) end
  local list = {}
  for i = 0, count - 1 do list[i + 1] = interface_of(found[i]) end
  return list
end

-- What relays of the kind pcap work with, such as "libpcap version 1.10.3".
---@return string? words
---@return string? reason why there is nothing
function M.pcap()
  local line = ffi.new("char[?]", C.EL_ERR_MAX)
  if C.el_pcap_about(line) < 0 then return nil, ffi.string(line) end
  return ffi.string(line)
end

return M
