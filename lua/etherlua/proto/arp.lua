-- proto/arp.lua: the Address Resolution Protocol (RFC 826), field names from there without their "ar$".
-- Ethernet and IPv4 addresses are text; those of any other hardware or protocol are raw bytes.
-- Padding behind the packet is dropped. Caches are a role's business.

local bytes = require "etherlua.net.bytes"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local schema = require "etherlua.proto.schema"

local byte, format, sub = string.byte, string.format, string.sub
local u16 = bytes.u16
local IPV4 = numbers.ethertype.IPV4

local M = {}

M.REQUEST, M.REPLY = 1, 2

M.value_names = { op = { "request", "reply" }, hrd = { "Ethernet" }, pro = { [0x0800] = "ip4" } }
M.fields = schema.new("arp", { "hrd", "pro", "hln", "pln", "op", "sha", "spa", "tha", "tpa" })

local function hardware_text(raw)
  return #raw == 6 and bytes.mac_at(raw, 1) or raw
end

local function protocol_text(pro, raw)
  return pro == IPV4 and #raw == 4 and bytes.ip4_at(raw, 1) or raw
end

---@param packet string
---@return table? fields hrd, pro, hln, pln, op, sha, spa, tha, tpa
---@return string? reason
function M.parse(packet)
  if #packet < 8 then return bytes.short("arp", #packet, 8) end
  local hln, pln = byte(packet, 5, 6)
  local size = 8 + 2 * (hln + pln)
  if #packet < size then return bytes.short("arp", #packet, size, "bytes") end
  local pro = u16(packet, 3)
  local spa_at, tha_at, tpa_at = 9 + hln, 9 + hln + pln, 9 + 2 * hln + pln
  return {
    hrd = u16(packet, 1),
    pro = pro,
    hln = hln,
    pln = pln,
    op = u16(packet, 7),
    sha = hardware_text(sub(packet, 9, spa_at - 1)),
    spa = protocol_text(pro, sub(packet, spa_at, tha_at - 1)),
    tha = hardware_text(sub(packet, tha_at, tpa_at - 1)),
    tpa = protocol_text(pro, sub(packet, tpa_at, size)),
  }
end

local function raw_address(what, value, size)
  if type(value) ~= "string" or #value ~= size then
    misuse.raise("bad %s %q: %d raw octets are needed", what, tostring(value), size)
  end
  return value
end

local function hardware_bytes(what, value, size)
  if size == 6 then return bytes.mac(what, value or "00:00:00:00:00:00") end
  return raw_address(what, value, size)
end

local function protocol_bytes(what, value, size, pro)
  if pro == IPV4 and size == 4 then return bytes.ip(what, value or "0.0.0.0", 4) end
  return raw_address(what, value, size)
end

---@param fields table as from parse; the defaults are a request for Ethernet and IPv4, and addresses of zeros
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local hln, pln, pro = fields.hln or 6, fields.pln or 4, fields.pro or IPV4
  return bytes.put16("arp hrd", fields.hrd or 1) .. bytes.put16("arp pro", pro) .. bytes.put8("arp hln", hln)
    .. bytes.put8("arp pln", pln) .. bytes.put16("arp op", fields.op or M.REQUEST)
    .. hardware_bytes("arp sha", fields.sha, hln) .. protocol_bytes("arp spa", fields.spa, pln, pro)
    .. hardware_bytes("arp tha", fields.tha, hln) .. protocol_bytes("arp tpa", fields.tpa, pln, pro)
end

-- What a request and its answers have in common.
---@param fields table from parse
---@param is_reply? boolean
---@return string
function M.exchange(fields, is_reply)
  return is_reply and fields.spa or fields.tpa
end

-- Whether a reply is about the address that was asked for. Whom it is for is not looked at: what brings it says that.
---@param reply table from parse
---@param request table from parse
---@return boolean
function M.answers(reply, request)
  return request.op == M.REQUEST and reply.op == M.REPLY and reply.spa == request.tpa
end

-- What a reply has where nobody says otherwise.
---@param request table from parse
---@param mac string of the host that answers
---@return table fields
function M.turn(request, mac)
  return { op = M.REPLY, sha = mac, spa = request.tpa, tha = request.sha, tpa = request.spa }
end

---@param fields table from parse
---@return string
function M.describe(fields)
  if fields.pro ~= IPV4 or fields.pln ~= 4 or fields.hln ~= 6 then
    return format("ARP op %d hardware %d protocol 0x%04x", fields.op, fields.hrd, fields.pro)
  elseif fields.op == M.REQUEST then
    return format("ARP who-has %s tell %s", fields.tpa, fields.spa)
  elseif fields.op == M.REPLY then
    return format("ARP %s is-at %s", fields.spa, fields.sha)
  end
  return format("ARP op %d %s %s > %s %s", fields.op, fields.spa, fields.sha, fields.tpa, fields.tha)
end

return M
