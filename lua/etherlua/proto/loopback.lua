-- proto/loopback.lua: the header of captures on BSD's loopback interface: the address family, in the byte order of the
-- machine that captured (LINKTYPE_NULL, 0) or of the network (LINKTYPE_LOOP, 108).

local bytes = require "etherlua.net.bytes"
local schema = require "etherlua.proto.schema"

local M = {}

-- AF_INET is the same everywhere; AF_INET6 is that of NetBSD and OpenBSD, FreeBSD, macOS, Linux and Windows.
M.next = { [2] = "ipv4", [24] = "ipv6", [28] = "ipv6", [30] = "ipv6", [10] = "ipv6", [23] = "ipv6" }
M.selectors = { "family" }
M.fields = schema.new("loopback", { "family", "byte_order", "payload" })

---@param fields table
---@return string? name of the module for the payload
function M.child(fields)
  return M.next[fields.family]
end

-- Families are small numbers, so the order of their octets can be told.
---@param packet string
---@return table? fields family, byte_order ("little" or "big"), payload
---@return string? reason
function M.parse(packet)
  if #packet < 4 then return bytes.short("loopback", #packet, 4) end
  local family, order = bytes.u32(packet, 1), "big"
  if family >= 0x10000 then family, order = bytes.u32(packet:sub(1, 4):reverse(), 1), "little" end
  return { family = family, byte_order = order, payload = packet:sub(5) }
end

---@param fields table as from parse; family is needed; byte_order "big" unless given
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local family = bytes.put32("loopback family", fields.family)
  return (fields.byte_order == "little" and family:reverse() or family)
    .. bytes.string("loopback payload", fields.payload)
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return M.child(fields) and "loopback" or ("loopback family %d"):format(fields.family)
end

return M
