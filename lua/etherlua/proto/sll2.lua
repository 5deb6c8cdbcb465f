-- proto/sll2.lua: the second version of Linux's cooked captures (LINKTYPE_LINUX_SLL2, 276), which knows the interface.

local bytes = require "etherlua.net.bytes"
local cooked = require "etherlua.proto.cooked"
local ethernet = require "etherlua.proto.ethernet"
local layout = require "etherlua.proto.layout"

local M = {}

M.next, M.selectors, M.child = cooked.next, cooked.selectors, cooked.child

M.fields = cooked.fields("sll2", { "protocol", "reserved", "interface_index", "arphrd_type", "packet_type",
  "address_length", "address", "vlans", "payload" })

local middle = layout.new("sll2", { { "reserved", "u16" }, { "interface_index", "u32" }, { "arphrd_type", "u16" },
  { "packet_type", "u8" }, { "address_length", "u8" } })

local VERSION = { name = "sll2", size = 20, layout = middle, layout_at = 3, protocol_at = 1, address_at = 13 }

---@param packet string
---@return table? fields as of sll.parse, and interface_index; reserved if it is not zero. The TPID of the first VLAN
---  tag stands in front of the header, the rest of it behind; protocol is what follows the last
---@return string? reason
function M.parse(packet)
  return cooked.read(packet, VERSION)
end

---@param fields table as from parse; protocol is needed
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local length, address = cooked.address_bytes("sll2", fields.address)
  local tagged = ethernet.build_tags(fields.vlans, fields.protocol)
  return tagged:sub(1, 2) .. middle:build { reserved = fields.reserved, interface_index = fields.interface_index,
    arphrd_type = fields.arphrd_type or 1, packet_type = fields.packet_type,
    address_length = fields.address_length or length } .. address .. tagged:sub(3)
    .. bytes.string("sll2 payload", fields.payload)
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return cooked.describe(("SLL2 interface %d"):format(fields.interface_index), fields)
end

return M
