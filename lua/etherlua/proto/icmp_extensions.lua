-- proto/icmp_extensions.lua: what routers put behind the packet that an ICMP error quotes (RFC 4884): a list of
-- objects, such as the MPLS labels that the packet had (RFC 4950). They stay in the payload of the error. Here they are
-- read. It is no protocol of its own.

local bytes = require "etherlua.net.bytes"
local bit = require "bit"
local schema = require "etherlua.proto.schema"

local band, rshift = bit.band, bit.rshift
local byte, char, concat, format, sub = string.byte, string.char, table.concat, string.format, string.sub
local u16, u32 = bytes.u16, bytes.u32

local M = {}

local VERSION, HEADER = 2, 4
local MPLS, LABEL_STACK = 1, 1
local QUOTED = 128 -- octets that are quoted at the least where there are extensions

-- What a label has.
M.label_fields = schema.new("an MPLS label", { "label", "traffic_class", "bottom", "ttl" })

-- What an object has: data where it is no label stack.
M.fields = schema.new("an icmp extension", { "class", "type", "labels", "data" },
  { inside = { labels = M.label_fields } })

-- ---- reading ------------------------------------------------------------------------------------------------------

local function labels_of(data)
  if #data == 0 or #data % 4 ~= 0 then return nil end
  local labels = {}
  for at = 1, #data, 4 do
    local entry = u32(data, at)
    labels[#labels + 1] = { label = rshift(entry, 12), traffic_class = band(rshift(entry, 9), 7),
      bottom = band(entry, 0x100) ~= 0, ttl = band(entry, 0xff) }
  end
  return labels
end

-- The objects from a position to the end, which they fill; nil if the lengths are others.
local function objects_at(payload, at)
  local objects, have = {}, #payload
  while at <= have do
    local size = at + 3 <= have and u16(payload, at) or 0
    if size < HEADER or at + size - 1 > have then return nil end
    local class, kind = byte(payload, at + 2, at + 3)
    local data = sub(payload, at + HEADER, at + size - 1)
    local labels = class == MPLS and kind == LABEL_STACK and labels_of(data) or nil
    objects[#objects + 1] = { class = class, type = kind, labels = labels, data = not labels and data or nil }
    at = at + size
  end
  return objects[1] and objects or nil
end

-- A checksum of zero is none (RFC 4884 section 7).
local function structure_at(payload, at)
  if #payload < at + HEADER - 1 or rshift(byte(payload, at), 4) ~= VERSION then return nil end
  if u16(payload, at + 2) ~= 0 and bytes.checksum(sub(payload, at)) ~= 0 then return nil end
  return objects_at(payload, at + HEADER)
end

-- The extensions of an error. Routers of old do not say where they begin (RFC 4884 section 5.5), or say it wrong: then
-- it is behind 128 octets.
---@param payload string what follows the error's own header
---@param length integer octets that are quoted, as the header says it; 0: it says nothing
---@return table[]? objects list of { class = 1, type = 1, labels = list of { label, traffic_class, bottom, ttl } }, or
---  { class, type, data }; nil: there are none, or their lengths or checksum are wrong
function M.parse(payload, length)
  return length > 0 and structure_at(payload, length + 1) or structure_at(payload, QUOTED + 1)
end

---@param objects table[] from parse
---@return integer octets that they are at the end of a payload
function M.size(objects)
  local size = HEADER
  for _, object in ipairs(objects) do size = size + HEADER + (object.labels and 4 * #object.labels or #object.data) end
  return size
end

-- ---- writing ------------------------------------------------------------------------------------------------------

local function label_bytes(label)
  M.label_fields:check(label)
  local entry = bytes.check("MPLS label", label.label, 0, 0xfffff) * 0x1000
    + bytes.check("MPLS traffic_class", label.traffic_class or 0, 0, 7) * 0x200 + (label.bottom and 0x100 or 0)
    + bytes.check("MPLS ttl", label.ttl or 1, 0, 0xff)
  return bytes.put32("MPLS label", entry)
end

local function object_bytes(object)
  M.fields:check(object)
  local data = bytes.string("icmp extension data", object.data)
  if object.labels then
    local parts = {}
    for i, label in ipairs(object.labels) do parts[i] = label_bytes(label) end
    data = concat(parts)
  end
  return bytes.put16("icmp extension length", HEADER + #data)
    .. bytes.put8("icmp extension class", object.class or MPLS)
    .. bytes.put8("icmp extension type", object.type or LABEL_STACK) .. data
end

-- The payload of an error with extensions: what is quoted is filled up to 128 octets, or cut off there.
---@param quoted string
---@param objects table[] as from parse; class and type are those of a label stack unless given
---@return string payload 128 octets and the extensions; the header of the error has to say 128 / 4, of ICMPv6 128 / 8
function M.build(quoted, objects)
  local parts = {}
  for i, object in ipairs(objects) do parts[i] = object_bytes(object) end
  quoted = sub(bytes.string("icmp payload", quoted), 1, QUOTED)
  return quoted .. ("\0"):rep(QUOTED - #quoted) .. bytes.with_checksum(char(VERSION * 16, 0), concat(parts))
end

-- ---- text ---------------------------------------------------------------------------------------------------------

local function object_text(object)
  if not object.labels then return format("<%d/%d:%s>", object.class, object.type, bytes.hex(object.data)) end
  local words = {}
  for i, one in ipairs(object.labels) do
    words[i] = format("L=%d,E=%d,S=%d,T=%d", one.label, one.traffic_class, one.bottom and 1 or 0, one.ttl)
  end
  return format("<MPLS:%s>", concat(words, "/"))
end

-- As traceroute -e writes them.
---@param objects? table[] from parse
---@return string such as " <MPLS:L=416240,E=0,S=1,T=1>": label, traffic class, bottom of the stack, TTL; "" for none
function M.text(objects)
  local texts = {}
  for i, object in ipairs(objects or {}) do texts[i] = " " .. object_text(object) end
  return concat(texts)
end

return M
