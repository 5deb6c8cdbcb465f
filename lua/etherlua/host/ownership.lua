-- host/ownership.lua: what a frame says about whose an address is: that its sender has it, or would like to have it.
-- One rule for ARP (RFC 5227 section 2.1.1) and one for neighbour discovery (RFC 4862 section 5.4), for all who want to
-- know: hosts, DHCP clients, arping, the gateway. Whether that is a conflict depends on who asks: what a sender has,
-- nobody else may have; what it would like to have is a conflict for those alone who would like it, too.
--
-- Addresses are keys as of segment.lua.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local icmp6 = require "etherlua.proto.icmp6"
local memory = require "etherlua.net.memory"

local native16, native32, same_mac = memory.native16, memory.native32, memory.same_mac

local M = {}

local ARP_SIZE = 28
local ETHERNET_IP4 = bit.bswap(0x00010800)         -- hardware and protocol
local LENGTHS = 0x0406                             -- 6 and 4, as they stand in memory
local SHA, SPA, TPA = 8, 14, 24
local ANY6 = ("\0"):rep(16)

local sender = ffi.new "uint8_t[6]"

-- ---- ARP ----------------------------------------------------------------------------------------------------------

-- Whether an ARP packet is one of Ethernet and IPv4, from a host. A group is nobody's address (RFC 1812 section 3.3.2).
-- For whom it is, its target hardware address does not say: RFC 826 looks at it nowhere.
---@param frame etherlua.frame
---@return boolean
function M.is_arp(frame)
  local packet = frame.data + frame.payload
  return frame.payload_len >= ARP_SIZE and native32(packet, 0) == ETHERNET_IP4 and native16(packet, 4) == LENGTHS
    and not memory.is_group_mac(packet + SHA)
end

local NOBODY = ffi.new "uint8_t[6]"

-- Whether the target hardware address of a reply names nobody: some leave it empty, or make it everybody's.
---@param mac ffi.cdata* pointer to it
---@return boolean
function M.is_nobody(mac)
  return memory.is_group_mac(mac) or same_mac(mac, NOBODY)
end

-- RFC 5227 section 1.1: a request, broadcast, without a sender address, from the interface that sends it. What switches
-- ask their ports, to know who is there, looks much the same, but is for one host, or sent on behalf of another.
local function is_probe(frame, packet)
  local to = frame.data
  return packet[6] == 0 and packet[7] == 1 and native32(to, 0) == -1 and native16(to, 4) == 0xffff
    and same_mac(packet + SHA, to + 6)
end

-- What an ARP packet says, whether it asks or answers.
---@param frame etherlua.frame for which is_arp() is true
---@return integer|nil has address that the sender has
---@return integer|nil wants address that it would like to have: it probes for it
---@return ffi.cdata* mac pointer to the sender's
function M.arp(frame)
  local packet = frame.data + frame.payload
  local spa = native32(packet, SPA)
  if spa ~= 0 then return spa, nil, packet + SHA end
  return nil, is_probe(frame, packet) and native32(packet, TPA) or nil, packet + SHA
end

-- ---- neighbour discovery ------------------------------------------------------------------------------------------

-- What a message says: an advertisement whose its target is; the others whose their source is. A solicitation without
-- one wants its target (RFC 4862 section 5.4.3). Without an option for it the frame's source is meant.
---@param frame etherlua.frame
---@param message table from nd.read
---@param src string 16 bytes
---@return string|nil has address that the sender has
---@return string|nil wants address that it would like to have
---@return ffi.cdata* mac pointer to the sender's, until the next call
function M.nd(frame, message, src)
  local is_advertisement = message.type == icmp6.NEIGHBOUR_ADVERTISEMENT
  local text = message[is_advertisement and "target_link_layer_address" or "source_link_layer_address"]
  ffi.copy(sender, text and addr.mac_bytes(text) or frame.data + 6, 6)
  if is_advertisement then return addr.ip_bytes(message.target), nil, sender end
  if src ~= ANY6 then return src, nil, sender end
  local wants = message.type == icmp6.NEIGHBOUR_SOLICITATION and addr.ip_bytes(message.target) or nil
  return nil, wants, sender
end

return M
