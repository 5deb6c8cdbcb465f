-- proto/icmp.lua: ICMP for IPv4 (RFC 792).
-- The packet that an error message carries stays in payload. icmp6.lua shares the kinds of message and describe_with.

local bytes = require "etherlua.bytes"

local byte, format, sub = string.byte, string.format, string.sub
local u16, u32, put8, put16, put32 = bytes.u16, bytes.u32, bytes.put8, bytes.put16, bytes.put32

local M = {}

M.ECHO_REPLY, M.ECHO_REQUEST = 0, 8

-- A kind of message says what follows type, code and checksum: parse(message, fields) fills in fields and returns them
-- (or nil, reason), build(fields) returns the bytes, describe(fields) the end of a line. parse gets 8 bytes or more.

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

-- rest (the second word as a number), payload
M.other = {
  parse = function(message, fields)
    fields.rest, fields.payload = u32(message, 5), sub(message, 9)
    return fields
  end,
  build = function(fields)
    return put32("icmp rest", fields.rest or 0) .. bytes.string("icmp payload", fields.payload)
  end,
  describe = function() return "" end,
}

-- Type -> name, kind of message (default other), names of codes.
M.types = {
  [0] = { name = "echo reply", kind = M.echo },
  [3] = { name = "destination unreachable",
    codes = { [0] = "net", "host", "protocol", "port", "fragmentation needed", "source route failed" } },
  [4] = { name = "source quench" },
  [5] = { name = "redirect", codes = { [0] = "net", "host", "net and tos", "host and tos" } },
  [8] = { name = "echo request", kind = M.echo },
  [11] = { name = "time exceeded", codes = { [0] = "in transit", "in reassembly" } },
  [12] = { name = "parameter problem" },
  [13] = { name = "timestamp request", kind = M.echo },
  [14] = { name = "timestamp reply", kind = M.echo },
}

local function kind_of(types, number)
  return types[number] and types[number].kind or M.other
end

--- Read a message by a table such as M.types.
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

--- The parts of a message in front of and behind the checksum.
---@param types table
---@param fields table
---@return string before
---@return string after
function M.parts_with(types, fields)
  local before = put8("icmp type", fields.type) .. put8("icmp code", fields.code or 0)
  return before, kind_of(types, fields.type).build(fields)
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

---@param message string
---@return table? fields type, code, checksum, payload and either identifier and sequence (echo, timestamp) or rest, the
--- second word as a number (in "fragmentation needed" the next hop's MTU, in a redirect the gateway)
---@return string? reason
function M.parse(message)
  return M.parse_with("icmp", M.types, message)
end

---@param fields table as from parse; type is needed
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

---@param fields table from parse
---@return string
function M.describe(fields)
  return M.describe_with("ICMP", M.types, fields)
end

return M
