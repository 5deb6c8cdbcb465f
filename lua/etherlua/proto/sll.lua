-- proto/sll.lua: the header of Linux's cooked captures (LINKTYPE_LINUX_SLL, 113), which stands for a link layer.

local bytes = require "etherlua.net.bytes"
local cooked = require "etherlua.proto.cooked"
local ethernet = require "etherlua.proto.ethernet"
local layout = require "etherlua.proto.layout"

local M = {}

M.next, M.selectors, M.child = cooked.next, cooked.selectors, cooked.child

M.fields = cooked.fields("sll", { "packet_type", "arphrd_type", "address_length", "address", "vlans", "protocol",
  "payload" })

local start = layout.new("sll", { { "packet_type", "u16" }, { "arphrd_type", "u16" }, { "address_length", "u16" } })

local VERSION = { name = "sll", size = 16, layout = start, layout_at = 1, protocol_at = 15, address_at = 7 }

---@param packet string
---@return table? fields packet_type (0 to this host, 1 broadcast, 2 multicast, 3 to another host, 4 sent), arphrd_type,
---  address_length, address (text, or eight octets if it is no MAC address), vlans as of ethernet, protocol (mostly an
---  EtherType), payload
---@return string? reason
function M.parse(packet)
  return cooked.read(packet, VERSION)
end

---@param fields table as from parse; protocol is needed
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local length, address = cooked.address_bytes("sll", fields.address)
  return start:build { packet_type = fields.packet_type, arphrd_type = fields.arphrd_type or 1,
    address_length = fields.address_length or length } .. address .. ethernet.build_tags(fields.vlans, fields.protocol)
    .. bytes.string("sll payload", fields.payload)
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return cooked.describe("SLL", fields)
end

return M
