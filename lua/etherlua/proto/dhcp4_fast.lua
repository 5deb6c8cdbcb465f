-- proto/dhcp4_fast.lua: DHCPv4 for a client among very many: messages that are built once by dhcp4.lua and patched in
-- place for each send, and the few fields of a reply that such a client needs, read where the frame lies. No string and
-- no table a message. What is rare (options in sname and file, options in several parts) is left to dhcp4.parse.
--
-- Addresses and transaction ids are numbers with the bytes as they stand in memory: to be stored, compared and sent.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local dhcp4 = require "etherlua.proto.dhcp4"
local memory = require "etherlua.net.memory"

local native32, store_native32, store16 = memory.native32, memory.store_native32, memory.store16

local M = {}

local HEADER_SIZE, XID, SECS, CIADDR, YIADDR, CHADDR, COOKIE_AT = 240, 4, 8, 12, 16, 28, 236
local COOKIE = bit.bswap(0x63825363)
local REQUESTED, OVERLOAD, MESSAGE_TYPE, SERVER_ID, END = 50, 52, 53, 54, 255

-- Message types (RFC 2132 9.6).
M.OFFER, M.ACK, M.NAK = 2, 5, 6
local KINDS = { DISCOVER = 1, OFFER = M.OFFER, REQUEST = 3, DECLINE = 4, ACK = M.ACK, NAK = M.NAK, RELEASE = 7,
  INFORM = 8 }

local reply_t = ffi.typeof [[struct {
  int32_t xid, yiaddr, server_id;
  uint8_t op, kind, chaddr[6];
  uint8_t has_kind, has_server;
}]]

-- ---- replies ------------------------------------------------------------------------------------------------------

-- What parse() fills in: xid, yiaddr, server_id (0: none), op, kind (0: none) and chaddr. The caller's memory.
---@return ffi.cdata* reply
function M.reply()
  return reply_t()
end

-- Takes the value of an option. False when it is one that comes in several parts or with another length, or moves
-- others elsewhere.
local function note(message, at, code, size, reply)
  if code == MESSAGE_TYPE then
    if reply.has_kind ~= 0 or size ~= 1 then return false end
    reply.has_kind, reply.kind = 1, message[at + 2]
    return true
  end
  if code == OVERLOAD or reply.has_server ~= 0 or size ~= 4 then return false end
  reply.has_server, reply.server_id = 1, native32(message, at + 2)
  return true
end

-- The options from a position up to the end option, or of the message where there is none. nil: one is cut short.
-- false: dhcp4.parse has to decide. It calls itself instead of looping (JIT 1).
local function walk(message, len, at, reply)
  if at >= len then return true end
  local code = message[at]
  if code == END then return true end
  if code == 0 then return walk(message, len, at + 1, reply) end
  if at + 1 == len then return nil end
  local size = message[at + 1]
  if at + 2 + size > len then return nil end
  if code == MESSAGE_TYPE or code == SERVER_ID or code == OVERLOAD then
    if not note(message, at, code, size, reply) then return false end
  end
  return walk(message, len, at + 2 + size, reply)
end

-- Reads message type and server identifier by the whole parser, which copes with overloaded and split options.
local function walk_slowly(message, len, reply)
  local fields = dhcp4.parse(ffi.string(message, len))
  if not fields then return false end
  local kind, server = fields.options.message_type, fields.options.server_id
  reply.kind = KINDS[kind] or kind or 0
  reply.server_id = server and M.ip4(server) or 0
  return true
end

-- Reads a message of hosts on Ethernet (hlen 6). Allocates nothing, trusts nothing; refuses what dhcp4.parse refuses.
---@param message ffi.cdata* uint8_t pointer
---@param len integer octets
---@param reply ffi.cdata* from reply(); of no meaning when false is returned
---@return boolean ok
function M.parse(message, len, reply)
  if len < HEADER_SIZE or native32(message, COOKIE_AT) ~= COOKIE or message[2] ~= 6 then return false end
  reply.op, reply.kind, reply.server_id, reply.has_kind, reply.has_server = message[0], 0, 0, 0, 0
  reply.xid, reply.yiaddr = native32(message, XID), native32(message, YIADDR)
  ffi.copy(reply.chaddr, message + CHADDR, 6)
  local walked = walk(message, len, HEADER_SIZE, reply)
  if walked == false then return walk_slowly(message, len, reply) end
  return walked == true
end

-- Why parse() refuses a message. Makes strings and tables: for what is rare.
---@param message ffi.cdata* uint8_t pointer
---@param len integer octets
---@return string reason
function M.fault(message, len)
  local _, reason = dhcp4.parse(ffi.string(message, len))
  return reason or "dhcp4: no hardware address of Ethernet"
end

---@param text string IPv4 address
---@return integer as the fields of a reply have it
function M.ip4(text)
  return native32(ffi.cast("const uint8_t *", addr.ip_bytes(text)), 0)
end

-- ---- messages -----------------------------------------------------------------------------------------------------

-- Where the value of an option starts, counted from 0, in a message that we built.
local function value_of(message, wanted)
  local at = HEADER_SIZE + 1
  while message:byte(at) ~= END do
    if message:byte(at) == wanted then return at + 1 end
    at = at + 2 + message:byte(at + 1)
  end
end

-- See dhcp4_fast.template.
---@class etherlua.dhcp4_template
---@field data ffi.cdata* uint8_t pointer
---@field size integer octets
local Template = {}
Template.__index = Template

-- A message to be patched and sent again and again: `data` and `size` are what goes to a send call.
---@param fields table as for dhcp4.build; options requested_address and server_id have to be there to be patched
---@return etherlua.dhcp4_template
function M.template(fields)
  local message = dhcp4.build(fields)
  local data = ffi.new("uint8_t[?]", #message)
  ffi.copy(data, message, #message)
  return setmetatable({ data = data, size = #message, requested_at = value_of(message, REQUESTED),
    server_at = value_of(message, SERVER_ID) }, Template)
end

-- Makes it another client's, or another transaction's.
---@param xid integer
---@param chaddr ffi.cdata* six octets
---@param secs number since the client began (RFC 2131 table 1); over 65535 counts as that
function Template:address(xid, chaddr, secs)
  local data = self.data
  store_native32(data, XID, xid)
  store16(data, SECS, math.floor(math.min(secs, 0xffff)))
  ffi.copy(data + CHADDR, chaddr, 6)
end

-- For a REQUEST of an address that was offered.
---@param ip integer
---@param server_id integer
function Template:request(ip, server_id)
  store_native32(self.data, self.requested_at, ip)
  store_native32(self.data, self.server_at, server_id)
end

-- For a RELEASE of an address that is ours.
---@param ip integer
---@param server_id integer
function Template:release(ip, server_id)
  store_native32(self.data, CIADDR, ip)
  store_native32(self.data, self.server_at, server_id)
end

return M
