-- proto/icmp.lua: ICMP for IPv4 (RFC 792, RFC 1191 section 4).
-- The packet that an error message quotes stays in payload, for proto.dissect(payload, "ipv4", true).
-- icmp6.lua shares the kinds of message and the functions named *_with.

local bytes = require "etherlua.net.bytes"
local layout = require "etherlua.proto.layout"

local byte, format, sub = string.byte, string.format, string.sub
local u16, put8, put16 = bytes.u16, bytes.put8, bytes.put16

local M = {}

M.ECHO_REPLY, M.DESTINATION_UNREACHABLE, M.SOURCE_QUENCH, M.REDIRECT, M.ECHO_REQUEST = 0, 3, 4, 5, 8
M.TIME_EXCEEDED, M.PARAMETER_PROBLEM, M.TIMESTAMP_REQUEST, M.TIMESTAMP_REPLY = 11, 12, 13, 14
M.FRAGMENTATION_NEEDED = 4 -- a code

M.derived = { "checksum" }

-- A kind of message says what follows type, code and checksum: parse(message, fields) fills in fields and returns them
-- (or nil, reason), build(fields) returns the bytes, describe(fields) the end of a line; quotes: payload is the
-- beginning of a packet. parse gets 8 bytes or more.

-- identifier, sequence, payload
M.echo = {
  parse = function(message, fields)
    fields.identifier, fields.sequence, fields.payload = u16(message, 5), u16(message, 7), sub(message, 9)
    return fields
  end,
  build = function(fields)
    return put16("icmp identifier", fields.identifier or 0) .. put16("icmp sequence", fields.sequence or 0)
      .. bytes.string("icmp payload", fields.payload)
  end,
  describe = function(fields) return format(" id %d seq %d", fields.identifier, fields.sequence) end,
}

-- The kind of message that has some fields at fixed places and then a payload.
---@param protocol string
---@param entries table[] as for layout.new; 4 octets or more
---@param text? fun(fields: table): string the end of a line
---@param quotes? boolean
---@return table kind
function M.fixed(protocol, entries, text, quotes)
  local fixed = layout.new(protocol, entries)
  local size = 4 + fixed.size
  return {
    parse = function(message, fields)
      if #message < size then return bytes.short(protocol, #message, size) end
      fixed:parse(message, 5, fields).payload = sub(message, size + 1)
      return fields
    end,
    build = function(fields) return fixed:build(fields) .. bytes.string(protocol .. " payload", fields.payload) end,
    describe = text or function() return "" end,
    quotes = quotes,
  }
end

-- rest (the second word as a number), payload
M.other = M.fixed("icmp", { { "rest", "u32" } })
M.error = M.fixed("icmp", { { "rest", "u32" } }, nil, true)

local unreachable = M.fixed("icmp", { { "reserved", "u16" }, { "next_hop_mtu", "u16" } }, function(fields)
  return fields.code == M.FRAGMENTATION_NEEDED and format(" mtu %d", fields.next_hop_mtu or 0) or ""
end, true)

local redirect = M.fixed("icmp", { { "gateway", "ip4" } }, function(fields) return " to " .. fields.gateway end, true)

local parameter_problem = M.fixed("icmp", { { "pointer", "u8" }, { "reserved", "u24" } },
  function(fields) return format(" at %d", fields.pointer) end, true)

-- Milliseconds since midnight UT.
local timestamp = M.fixed("icmp", { { "identifier", "u16" }, { "sequence", "u16" }, { "originate_timestamp", "u32" },
  { "receive_timestamp", "u32" }, { "transmit_timestamp", "u32" } }, M.echo.describe)

-- Type -> name, kind of message (default other), names of codes; answer: the type of message that answers this one.
M.types = {
  [0] = { name = "echo reply", kind = M.echo },
  [3] = { name = "destination unreachable", kind = unreachable,
    codes = { [0] = "net", "host", "protocol", "port", "fragmentation needed", "source route failed" } },
  [4] = { name = "source quench", kind = M.error },
  [5] = { name = "redirect", kind = redirect, codes = { [0] = "net", "host", "net and tos", "host and tos" } },
  [8] = { name = "echo request", kind = M.echo, answer = 0 },
  [11] = { name = "time exceeded", kind = M.error, codes = { [0] = "in transit", "in reassembly" } },
  [12] = { name = "parameter problem", kind = parameter_problem },
  [13] = { name = "timestamp request", kind = timestamp, answer = 14 },
  [14] = { name = "timestamp reply", kind = timestamp },
}

local function kind_of(types, number)
  return types[number] and types[number].kind or M.other
end

-- Read a message by a table such as M.types.
---@param protocol string
---@param types table
---@param message string
---@return table? fields
---@return string? reason
function M.parse_with(protocol, types, message)
  if #message < 8 then return bytes.short(protocol, #message, 8) end
  local number, code = byte(message, 1, 2)
  local fields = { type = number, code = code, checksum = u16(message, 3) }
  return kind_of(types, number).parse(message, fields)
end

-- The parts of a message in front of and behind the checksum.
---@param types table
---@param fields table
---@return string before
---@return string after
function M.parts_with(types, fields)
  local before = put8("icmp type", fields.type) .. put8("icmp code", fields.code or 0)
  return before, kind_of(types, fields.type).build(fields)
end

-- The module of the packet that a message quotes.
---@param types table
---@param name string
---@param fields table
---@return string? name nil if the message is no error
---@return string? note
function M.child_with(types, name, fields)
  if kind_of(types, fields.type).quotes then return name, "quoted" end
end

-- What a request and its answers have in common.
---@param fields table from parse
---@return string
function M.exchange(fields)
  if fields.identifier then return format("%d %d", fields.identifier, fields.sequence) end
  return fields.target or ""
end

---@param types table
---@param reply table
---@param request table
---@return boolean
function M.answers_with(types, reply, request)
  local known = types[request.type]
  return known ~= nil and known.answer == reply.type and M.exchange(reply) == M.exchange(request)
end

-- What a reply has where nobody says otherwise.
---@param types table
---@param request table
---@return table fields
function M.turn_with(types, request)
  local known = types[request.type]
  return { type = known and known.answer, identifier = request.identifier, sequence = request.sequence }
end

---@param label string
---@param types table
---@param fields table
---@return string
function M.describe_with(label, types, fields)
  local known = types[fields.type]
  local code_name = known and known.codes and known.codes[fields.code]
  local code = code_name and format(" (%s)", code_name) or fields.code ~= 0 and format(" code %d", fields.code) or ""
  return label .. " " .. (known and known.name or format("type %d", fields.type)) .. code
    .. kind_of(types, fields.type).describe(fields)
end

---@param fields table
---@return string? name of the module for the payload
---@return string? note "quoted" if so: the packet may be cut off
function M.child(fields)
  return M.child_with(M.types, "ipv4", fields)
end

---@param message string
---@return table? fields type, code, checksum, payload, and: identifier, sequence (echo, timestamp);
---  originate_timestamp, receive_timestamp, transmit_timestamp (milliseconds since midnight UT); next_hop_mtu
---  (destination unreachable); gateway (redirect); pointer (parameter problem); or rest, the second word as a number;
---  reserved if it is not zero
---@return string? reason
function M.parse(message)
  return M.parse_with("icmp", M.types, message)
end

---@param fields table as from parse; type is needed, and gateway for a redirect
---@return string message
function M.build(fields)
  local before, after = M.parts_with(M.types, fields)
  return bytes.with_checksum(before, after, fields.checksum)
end

---@param message string
---@return boolean false also for a truncated message
function M.checksum_ok(message)
  return #message >= 8 and bytes.checksum(message) == 0
end

-- Whether a message says that the packet in it went no further. A redirect did go on.
---@param fields table from parse
---@return boolean
function M.is_error(fields)
  return M.child(fields) ~= nil and fields.type ~= M.REDIRECT
end

---@param reply table from parse
---@param request table from parse
---@return boolean
function M.answers(reply, request)
  return M.answers_with(M.types, reply, request)
end

-- What a reply has where nobody says otherwise.
---@param request table from parse
---@return table fields
function M.turn(request)
  return M.turn_with(M.types, request)
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return M.describe_with("ICMP", M.types, fields)
end

return M
