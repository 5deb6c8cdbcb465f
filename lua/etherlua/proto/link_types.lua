-- proto/link_types.lua: which protocol a frame of a capture file begins with. The numbers are libpcap's DLT_ ones, of
-- which struct el_relay_info has one. It is no protocol of its own.

local M = {}

M.ETHERNET = 1

local FIRST = { [M.ETHERNET] = "ethernet", [0] = "loopback", [108] = "loopback", [113] = "sll", [276] = "sll2",
  [228] = "ipv4", [229] = "ipv6" }
local RAW = { [12] = true, [14] = true, [101] = true } -- an IP packet of either version

---@param link_type integer
---@return boolean
function M.is_known(link_type)
  return FIRST[link_type] ~= nil or RAW[link_type] ~= nil
end

---@param link_type integer one that is known
---@param frame string
---@return string name of the first layer
function M.first_layer(link_type, frame)
  if RAW[link_type] then return (frame:byte() or 0) >= 0x60 and frame:byte() < 0x70 and "ipv6" or "ipv4" end
  return FIRST[link_type]
end

return M
