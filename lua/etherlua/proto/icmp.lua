-- proto/icmp.lua: ICMP for IPv4 (RFC 792, RFC 1191 section 4).
-- The packet that an error message quotes stays in payload, for proto.dissect(payload, "ipv4", true).
-- What it shares with ICMPv6 is in icmp_messages.lua. A new kind of message is an entry in M.types.

local bytes = require "etherlua.net.bytes"
local extensions = require "etherlua.proto.icmp_extensions"
local icmp_messages = require "etherlua.proto.icmp_messages"
local schema = require "etherlua.proto.schema"

local format = string.format

local M = {}

M.ECHO_REPLY, M.DESTINATION_UNREACHABLE, M.SOURCE_QUENCH, M.REDIRECT, M.ECHO_REQUEST = 0, 3, 4, 5, 8
M.TIME_EXCEEDED, M.PARAMETER_PROBLEM, M.TIMESTAMP_REQUEST, M.TIMESTAMP_REPLY = 11, 12, 13, 14
M.FRAGMENTATION_NEEDED = 4 -- a code

local fixed = icmp_messages.fixed

local unreachable = fixed("icmp", { { "reserved", "u16" }, { "next_hop_mtu", "u16" } }, function(fields)
  return fields.code == M.FRAGMENTATION_NEEDED and format(" mtu %d", fields.next_hop_mtu or 0) or ""
end, true, icmp_messages.quoted_len4)

local redirect = fixed("icmp", { { "gateway", "ip4" } }, function(fields) return " to " .. fields.gateway end, true)

local parameter_problem = fixed("icmp", { { "pointer", "u8" }, { "reserved", "u24" } },
  function(fields) return format(" at %d", fields.pointer) end, true, icmp_messages.quoted_len4)

local time_exceeded = fixed("icmp", { { "rest", "u32" } }, nil, true, icmp_messages.quoted_len4)

-- Milliseconds since midnight UT.
local timestamp = fixed("icmp", { { "identifier", "u16" }, { "sequence", "u16" }, { "originate_timestamp", "u32" },
  { "receive_timestamp", "u32" }, { "transmit_timestamp", "u32" } }, icmp_messages.echo.describe)

-- As of etherlua.proto.icmp_messages.
M.types = {
  [0] = { name = "echo reply", kind = icmp_messages.echo },
  [3] = { name = "destination unreachable", kind = unreachable,
    codes = { [0] = "net", "host", "protocol", "port", "fragmentation needed", "source route failed" } },
  [4] = { name = "source quench", kind = icmp_messages.error },
  [5] = { name = "redirect", kind = redirect, codes = { [0] = "net", "host", "net and tos", "host and tos" } },
  [8] = { name = "echo request", kind = icmp_messages.echo, answer = 0 },
  [11] = { name = "time exceeded", kind = time_exceeded, codes = { [0] = "in transit", "in reassembly" } },
  [12] = { name = "parameter problem", kind = parameter_problem },
  [13] = { name = "timestamp request", kind = timestamp, answer = 14 },
  [14] = { name = "timestamp reply", kind = timestamp },
}

local messages = icmp_messages.new("icmp", "ICMP", "ipv4", M.types)

M.value_names = messages:value_names()
M.fields = schema.new("icmp", messages:names(),
  { derived = { "checksum" }, inside = { extensions = extensions.fields } })

---@param fields table
---@return string? name of the module for the payload
---@return string? note "quoted" if so: the packet may be cut off
---@return string? quoted the payload without extensions
function M.child(fields)
  return messages:child(fields)
end

---@param message string
---@return table? fields type, code, checksum, payload, and: identifier, sequence (echo, timestamp);
---  originate_timestamp, receive_timestamp, transmit_timestamp (milliseconds since midnight UT); next_hop_mtu
---  (destination unreachable); gateway (redirect); pointer (parameter problem); or rest, the second word as a number;
---  reserved if it is not zero; extensions (RFC 4884), which are behind what is quoted in payload, if there are some:
---  see icmp_extensions.lua
---@return string? reason
function M.parse(message)
  return messages:parse(message)
end

---@param fields table as from parse; type is needed, and gateway for a redirect; rest may stand for all of the
---  second word; extensions have to be in payload, see icmp_extensions.build
---@return string message
function M.build(fields)
  M.fields:check(fields)
  local before, after = messages:parts(fields)
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

-- What a request and its answers have in common.
M.exchange = icmp_messages.exchange

---@param reply table from parse
---@param request table from parse
---@return boolean
function M.answers(reply, request)
  return messages:answers(reply, request)
end

-- What a reply has where nobody says otherwise.
---@param request table from parse
---@return table fields
function M.turn(request)
  return messages:turn(request)
end

---@param fields table from parse
---@return string
function M.describe(fields)
  return messages:describe(fields)
end

return M
