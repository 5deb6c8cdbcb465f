-- proto/tcp.lua: TCP segments on IPv4 and IPv6 (RFC 9293 section 3.1). No connections: that is a state machine's.
-- The checksum covers the IP addresses, so building a segment takes them as a context.

local bytes = require "etherlua.net.bytes"
local layout = require "etherlua.proto.layout"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.proto.options"
local schema = require "etherlua.proto.schema"
local udp = require "etherlua.proto.udp"

local format, sub = string.format, string.sub
local u16, u32 = bytes.u16, bytes.u32

local M = {}

local PROTOCOL = numbers.protocol.TCP

-- Kinds of options (RFC 9293 section 3.2, RFC 7323, RFC 2018).
M.MAXIMUM_SEGMENT_SIZE, M.WINDOW_SCALE, M.SACK_PERMITTED, M.SACK, M.TIMESTAMPS = 2, 3, 4, 5, 8

-- Port -> the module that reads the payload; the destination's is tried first.
M.next = {}
M.selectors = { "dst_port", "src_port" }

local FLAGS = { "cwr", "ece", "urg", "ack", "psh", "rst", "syn", "fin" }

local control = { { "data_offset", 4 }, { "reserved", 4 } }
for _, name in ipairs(FLAGS) do control[#control + 1] = { name, 1 } end

-- The header as far as the checksum.
local header = layout.new("tcp", { { "src_port", "u16" }, { "dst_port", "u16" }, { "sequence_number", "u32" },
  { "acknowledgment_number", "u32" }, { bits = control }, { "window", "u16" } })

M.fields = schema.new("tcp", schema.union(header.names, { "checksum", "urgent_pointer", "options", "payload" }),
  { aliases = udp.fields.aliases, defaults = udp.fields.defaults, derived = { "data_offset", "checksum" },
    inside = { options = options.list } })

---@param fields table
---@return string? name of the module for the payload
function M.child(fields)
  return M.next[fields.dst_port] or M.next[fields.src_port]
end

---@param segment string
---@param quoted? boolean it is quoted by an ICMP error, which may have cut it off behind the sequence number
---@return table? fields src_port, dst_port, sequence_number, acknowledgment_number, data_offset (units of 4 octets),
---  cwr, ece, urg, ack, psh, rst, syn, fin, window, checksum, urgent_pointer, options = list of { type, data } (no
---  operation without data), payload; reserved if it is not zero
---@return string? reason
function M.parse(segment, quoted)
  local have = #segment
  if quoted and have >= 8 and have < 20 then
    return { src_port = u16(segment, 1), dst_port = u16(segment, 3), sequence_number = u32(segment, 5), payload = "" }
  end
  if have < 20 then return bytes.short("tcp", have, 20) end
  local fields = header:parse(segment, 1, {})
  local size = fields.data_offset * 4
  if size < 20 then return nil, format("tcp: data_offset %d is under 5", fields.data_offset) end
  if have < size then return bytes.short("tcp", have, size) end
  local list, reason = options.parse("tcp", sub(segment, 21, size))
  if not list then return nil, reason end
  fields.checksum, fields.urgent_pointer = u16(segment, 17), u16(segment, 19)
  fields.options, fields.payload = list, sub(segment, size + 1)
  return fields
end

---@param fields table as from parse; the ports are needed. data_offset and checksum are filled in unless given; options
---  may be raw bytes and are padded to a multiple of 4
---@param context? { src: string, dst: string } IP addresses; needed unless checksum is given
---@return string segment
function M.build(fields, context)
  M.fields:check(fields)
  local list, payload = options.build("tcp", fields.options), bytes.string("tcp payload", fields.payload)
  local offset = { data_offset = fields.data_offset or 5 + #list / 4 }
  bytes.check("tcp src_port", fields.src_port, 0, 0xffff)
  bytes.check("tcp dst_port", fields.dst_port, 0, 0xffff)
  local before = header:build(setmetatable(offset, { __index = fields }))
  local after = bytes.put16("tcp urgent_pointer", fields.urgent_pointer or 0) .. list .. payload
  local start = not fields.checksum and bytes.pseudo_sum(context, PROTOCOL, #before + 2 + #after) or nil
  return bytes.with_checksum(before, after, fields.checksum, start)
end

---@param segment string
---@param context { src: string, dst: string } IP addresses
---@return boolean false also for a truncated segment
function M.checksum_ok(segment, context)
  return #segment >= 20 and bytes.checksum(segment, bytes.pseudo_sum(context, PROTOCOL, #segment)) == 0
end

-- ---- Answers ------------------------------------------------------------------------------------------------------

-- What a segment and its answers have in common: the ports, as of UDP.
M.exchange = udp.exchange

-- Sequence numbers that a segment takes (RFC 9293 section 3.4).
local function length_of(fields)
  return #fields.payload + (fields.syn and 1 or 0) + (fields.fin and 1 or 0)
end

-- Whether a segment acknowledges another one, or resets it (RFC 9293 sections 3.4, 3.5.2). One more than there was is
-- acknowledged of a keep-alive, which repeats the last octet.
---@param reply table from parse
---@param request table from parse
---@return boolean
function M.answers(reply, request)
  if not udp.answers(reply, request) or request.rst then return false end
  if reply.syn and not (reply.ack and request.syn) then return false end
  if not reply.ack then
    return reply.rst == true and (not request.ack or reply.sequence_number == request.acknowledgment_number)
  end
  return (reply.acknowledgment_number - request.sequence_number) % 2 ^ 32 <= length_of(request) + 1
end

-- What a reply has where nobody says otherwise: the flags are what it is about.
---@param request table from parse
---@return table fields
function M.turn(request)
  local fields = udp.turn(request)
  fields.sequence_number = request.ack and request.acknowledgment_number or 0
  fields.acknowledgment_number = (request.sequence_number + length_of(request)) % 2 ^ 32
  return fields
end

-- ---- Text ---------------------------------------------------------------------------------------------------------

-- The end of a line that has the ports already.
---@param fields table from parse
---@return string such as " syn ack seq 7 ack 8 win 65535"
function M.details(fields)
  local words = {}
  for _, name in ipairs(FLAGS) do
    if fields[name] then words[#words + 1] = " " .. name end
  end
  words[#words + 1] = format(" seq %d", fields.sequence_number)
  if fields.ack then words[#words + 1] = format(" ack %d", fields.acknowledgment_number) end
  if fields.window then words[#words + 1] = format(" win %d", fields.window) end
  return table.concat(words)
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return format("TCP %d > %d%s", fields.src_port, fields.dst_port, M.details(fields))
end

return M
