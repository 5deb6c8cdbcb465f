-- proto/cooked.lua: what the two versions of Linux's cooked captures (LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2) have in
-- common. They stand for link layers of any kind, such as those that the interface "any" hears. It is no protocol of
-- its own; sll.lua and sll2.lua are.

local bytes = require "etherlua.net.bytes"
local ethernet = require "etherlua.proto.ethernet"
local schema = require "etherlua.proto.schema"

local format, sub = string.format, string.sub

local M = {}

-- As in frames of Ethernet.
M.next = ethernet.next
M.selectors = { "protocol" }

local PACKET_TYPES = { [0] = "to this host", "broadcast", "multicast", "to another host", "sent" }

-- ARPHRD types where the protocol is no EtherType: 802.11 in three forms, GRE, netlink.
local OTHER_NUMBERS = { [801] = true, [802] = true, [803] = true, [778] = true, [824] = true }

---@param name string of the protocol
---@param names string[] in wire order
---@return etherlua.proto.schema
function M.fields(name, names)
  return schema.new(name, names, { defaults = { packet_type = 0, arphrd_type = 1 }, derived = { "address_length" },
    inside = { vlans = ethernet.fields.inside.vlans } })
end

---@param fields table
---@return string? name of the module for the payload
function M.child(fields)
  return not OTHER_NUMBERS[fields.arphrd_type] and M.next[fields.protocol] or nil
end

-- The sender's address: text if it is a MAC address, else all eight octets of the field.
local function address_at(packet, at, length)
  if length == 6 and sub(packet, at + 6, at + 7) == "\0\0" then return bytes.mac_at(packet, at) end
  return sub(packet, at, at + 7)
end

-- Where a version has what, positions from 1.
---@class etherlua.proto.cooked_version
---@field name string of the protocol
---@field size integer octets of the header
---@field layout etherlua.proto.layout of those fields that are single numbers
---@field layout_at integer
---@field protocol_at integer
---@field address_at integer

---@param packet string
---@param version etherlua.proto.cooked_version
---@return table? fields those of the layout, address (text, or eight octets if it is no MAC address), vlans as of
---  ethernet, protocol behind the last of these, payload
---@return string? reason
function M.read(packet, version)
  local name, size = version.name, version.size
  if #packet < size then return bytes.short(name, #packet, size) end
  local vlans, protocol, at = ethernet.parse_tags(name, packet, bytes.u16(packet, version.protocol_at), size + 1)
  if not vlans then return nil, protocol end
  local fields = version.layout:parse(packet, version.layout_at, { vlans = vlans, protocol = protocol,
    payload = sub(packet, at) })
  fields.address = address_at(packet, version.address_at, fields.address_length)
  return fields
end

---@param name string of the protocol
---@param address? string as from read (none)
---@return integer length
---@return string octets eight
function M.address_bytes(name, address)
  address = address or ""
  if #address <= 8 then return #address, address .. ("\0"):rep(8 - #address) end
  return 6, bytes.mac(name .. " address", address) .. "\0\0"
end

---@param label string
---@param fields table
---@return string
function M.describe(label, fields)
  local from = fields.address
  if #from == 8 then from = fields.address_length == 0 and "" or bytes.hex(sub(from, 1, fields.address_length)) end
  return format("%s %s%s%s%s", label, PACKET_TYPES[fields.packet_type] or "type " .. fields.packet_type,
    from ~= "" and " from " .. from or "", ethernet.vlan_text(fields.vlans),
    M.child(fields) and "" or format(" protocol 0x%04x", fields.protocol))
end

return M
