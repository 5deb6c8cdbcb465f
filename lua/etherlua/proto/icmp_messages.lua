-- proto/icmp_messages.lua: what ICMP and ICMPv6 have in common: type, code and checksum, and behind them what the type
-- says. A protocol is a table of types; icmp.lua and icmp6.lua have theirs.

local bytes = require "etherlua.net.bytes"
local extensions = require "etherlua.proto.icmp_extensions"
local layout = require "etherlua.proto.layout"
local schema = require "etherlua.proto.schema"

local byte, format, sub = string.byte, string.format, string.sub
local u16, put8, put16 = bytes.u16, bytes.put8, bytes.put16

local M = {}

-- ---- kinds of messages --------------------------------------------------------------------------------------------

-- What follows type, code and checksum.
---@class etherlua.proto.icmp_kind
---@field names string[] of the fields, in wire order
---@field parse fun(message: string, fields: table): table?, string? fills fields in and returns them, or nil and the
---  reason; the message has 8 bytes or more
---@field build fun(fields: table): string
---@field describe fun(fields: table): string the end of a line
---@field quotes? boolean the payload is the beginning of a packet
---@field quoted_len? fun(message: string): integer octets of the payload that are quoted, extensions follow (RFC 4884
---  section 4); 0: the message does not say

-- identifier, sequence, payload
---@type etherlua.proto.icmp_kind
M.echo = {
  names = { "identifier", "sequence", "payload" },
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

-- The kind of message that has some fields at fixed places and then a payload. For build, `rest` says the second word
-- of each as a number.
---@param protocol string
---@param entries table[] as for layout.new; 4 octets or more
---@param text? fun(fields: table): string the end of a line
---@param quotes? boolean
---@param quoted_len? fun(message: string): integer
---@return etherlua.proto.icmp_kind
function M.fixed(protocol, entries, text, quotes, quoted_len)
  local fixed = layout.new(protocol, entries)
  local size = 4 + fixed.size
  return {
    names = schema.union(fixed.names, { "payload" }),
    parse = function(message, fields)
      if #message < size then return bytes.short(protocol, #message, size) end
      fixed:parse(message, 5, fields).payload = sub(message, size + 1)
      return fields
    end,
    build = function(fields)
      local header = fixed:build(fields)
      if fields.rest then header = bytes.put32(protocol .. " rest", fields.rest) .. sub(header, 5) end
      return header .. bytes.string(protocol .. " payload", fields.payload)
    end,
    describe = text or function() return "" end,
    quotes = quotes,
    quoted_len = quoted_len,
  }
end

-- rest (the second word as a number), payload
M.other = M.fixed("icmp", { { "rest", "u32" } })
M.error = M.fixed("icmp", { { "rest", "u32" } }, nil, true)

-- For errors that may have extensions: the octet of ICMP or ICMPv6 that says how much is quoted, in units of theirs.
---@param message string
---@return integer octets
function M.quoted_len4(message) return byte(message, 6) * 4 end

---@param message string
---@return integer octets
function M.quoted_len6(message) return byte(message, 5) * 8 end

-- ---- the messages of a protocol -----------------------------------------------------------------------------------

-- The messages of one protocol, by their types.
---@class etherlua.proto.icmp_messages
---@field protocol string its module's name
---@field label string its name for people
---@field quoted string the module of the packets that errors quote
---@field types table<integer, { name: string, kind?: etherlua.proto.icmp_kind, codes?: table, answer?: integer }> type
---  -> name; kind (default other); names of codes; the type of message that answers this one
local Messages = {}
Messages.__index = Messages

---@param protocol string
---@param label string
---@param quoted string
---@param types table see etherlua.proto.icmp_messages
---@return etherlua.proto.icmp_messages
function M.new(protocol, label, quoted, types)
  return setmetatable({ protocol = protocol, label = label, quoted = quoted, types = types }, Messages)
end

-- The names of all fields that its messages have.
---@return string[] in wire order
function Messages:names()
  local lists, numbers = { { "type", "code", "checksum" }, M.other.names }, {}
  for number in pairs(self.types) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for _, number in ipairs(numbers) do lists[#lists + 1] = self:kind_of(number).names end
  local names = schema.union(unpack(lists))
  for i, name in ipairs(names) do
    if name == "payload" then table.insert(names, table.remove(names, i)) break end
  end
  names[#names + 1] = "extensions"
  return names
end

---@param number integer
---@return etherlua.proto.icmp_kind
function Messages:kind_of(number)
  local known = self.types[number]
  return known and known.kind or M.other
end

---@param message string
---@return table? fields
---@return string? reason
function Messages:parse(message)
  if #message < 8 then return bytes.short(self.protocol, #message, 8) end
  local number, code = byte(message, 1, 2)
  local kind = self:kind_of(number)
  local fields, reason = kind.parse(message, { type = number, code = code, checksum = u16(message, 3) })
  if not fields then return nil, reason end
  if kind.quoted_len then fields.extensions = extensions.parse(fields.payload, kind.quoted_len(message)) end
  return fields
end

-- The parts of a message in front of and behind the checksum.
---@param fields table
---@return string before
---@return string after
function Messages:parts(fields)
  local before = put8("icmp type", fields.type) .. put8("icmp code", fields.code or 0)
  return before, self:kind_of(fields.type).build(fields)
end

-- What a message quotes, without the extensions behind it.
local function quoted_of(fields)
  if not fields.extensions then return fields.payload end
  return sub(fields.payload, 1, #fields.payload - extensions.size(fields.extensions))
end

-- The module of the packet that a message quotes.
---@param fields table
---@return string? name nil if the message is no error
---@return string? note
---@return string? quoted what is to be read of the payload
function Messages:child(fields)
  if self:kind_of(fields.type).quotes then return self.quoted, "quoted", quoted_of(fields) end
end

-- What types and codes are called: see value_names in init.lua.
---@return table<string, function>
function Messages:value_names()
  return {
    type = function(number) return self.types[number] and self.types[number].name end,
    code = function(number, fields)
      local known = self.types[fields.type]
      return known and known.codes and known.codes[number]
    end,
  }
end

-- What a request and its answers have in common.
---@param fields table from parse
---@return string
function M.exchange(fields)
  if fields.identifier then return format("%d %d", fields.identifier, fields.sequence) end
  return fields.target or ""
end

---@param reply table
---@param request table
---@return boolean
function Messages:answers(reply, request)
  local known = self.types[request.type]
  return known ~= nil and known.answer == reply.type and M.exchange(reply) == M.exchange(request)
end

-- What a reply has where nobody says otherwise.
---@param request table
---@return table fields
function Messages:turn(request)
  local known = self.types[request.type]
  return { type = known and known.answer, identifier = request.identifier, sequence = request.sequence }
end

---@param fields table
---@return string
function Messages:describe(fields)
  local known = self.types[fields.type]
  local code_name = known and known.codes and known.codes[fields.code]
  local code = code_name and format(" (%s)", code_name) or fields.code ~= 0 and format(" code %d", fields.code) or ""
  return self.label .. " " .. (known and known.name or format("type %d", fields.type)) .. code
    .. self:kind_of(fields.type).describe(fields) .. extensions.text(fields.extensions)
end

return M
