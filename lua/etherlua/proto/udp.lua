-- proto/udp.lua: UDP on IPv4 and IPv6 (RFC 768, RFC 8200 section 8.1).
-- The checksum covers the IP addresses, so building a datagram takes them as a context. No jumbograms.

local bytes = require "etherlua.net.bytes"
local numbers = require "etherlua.net.numbers"
local schema = require "etherlua.proto.schema"

local format, sub = string.format, string.sub
local u16, put16 = bytes.u16, bytes.put16

local M = {}

local PROTOCOL = numbers.protocol.UDP

-- Port -> the module that reads the payload; the destination's is tried first.
M.next = {
  [67] = "dhcp4",
  [68] = "dhcp4",
}

M.selectors = { "dst_port", "src_port" }

-- Port 0 is no port (RFC 768).
M.fields = schema.new("udp", { "src_port", "dst_port", "length", "checksum", "payload" },
  { aliases = { sport = "src_port", dport = "dst_port" }, defaults = { src_port = 0 },
    derived = { "length", "checksum" } })

---@param fields table
---@return string? name of the module for the payload
function M.child(fields)
  return M.next[fields.dst_port] or M.next[fields.src_port]
end

---@param datagram string
---@param quoted? boolean it is quoted by an ICMP error, which may have cut it off behind the header
---@return table? fields src_port, dst_port, length, checksum, payload (without what follows length)
---@return string? reason
function M.parse(datagram, quoted)
  local have = #datagram
  if have < 8 then return bytes.short("udp", have, 8) end
  local length = u16(datagram, 5)
  if length < 8 then return nil, format("udp: length %d is under its 8 header bytes", length) end
  if have < length and not quoted then return bytes.short("udp", have, length, "bytes") end
  return {
    src_port = u16(datagram, 1),
    dst_port = u16(datagram, 3),
    length = length,
    checksum = u16(datagram, 7),
    payload = sub(datagram, 9, length),
  }
end

---@param fields table as from parse; the ports are needed. checksum 0 means none (IPv4 only)
---@param context? { src: string, dst: string } IP addresses; needed unless checksum is given
---@return string datagram
function M.build(fields, context)
  M.fields:check(fields)
  local payload = bytes.string("udp payload", fields.payload)
  local before = put16("udp src_port", fields.src_port) .. put16("udp dst_port", fields.dst_port)
    .. put16("udp length", fields.length or 8 + #payload)
  local checksum = fields.checksum
  if not checksum then
    local start = bytes.pseudo_sum(context, PROTOCOL, 8 + #payload)
    checksum = bytes.checksum(payload, bytes.sum(before, start))
    -- 0 would say "no checksum"; in ones' complement 0xffff is the same number.
    if checksum == 0 then checksum = 0xffff end
  end
  return bytes.with_checksum(before, payload, checksum)
end

---@param datagram string
---@param context { src: string, dst: string } IP addresses
---@return boolean true also for no checksum on IPv4; false also for a truncated datagram
function M.checksum_ok(datagram, context)
  local fields = M.parse(datagram)
  if not fields then return false end
  local start = bytes.pseudo_sum(context, PROTOCOL, fields.length)
  if fields.checksum == 0 then return not context.src:find(":", 1, true) end
  return bytes.checksum(sub(datagram, 1, fields.length), start) == 0
end

-- What a datagram and its answers have in common: the ports.
---@param fields table from parse
---@param is_reply? boolean
---@return integer
function M.exchange(fields, is_reply)
  if is_reply then return fields.dst_port * 0x10000 + fields.src_port end
  return fields.src_port * 0x10000 + fields.dst_port
end

---@param reply table from parse
---@param request table from parse
---@return boolean whether the ports are those of the request, swapped
function M.answers(reply, request)
  return M.exchange(reply, true) == M.exchange(request)
end

-- What a reply has where nobody says otherwise.
---@param request table from parse
---@return table fields
function M.turn(request)
  return { src_port = request.dst_port, dst_port = request.src_port }
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return format("UDP %d > %d length %d", fields.src_port, fields.dst_port, fields.length)
end

return M
