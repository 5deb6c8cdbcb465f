-- net/bytes.lua: what every protocol module does with bytes. Numbers in network byte order, the internet checksum, hex
-- text, and the checks of a caller's values. Positions count from 1, as in string.byte.
-- The readers do not check bounds: a parser checks the length of a header once and then reads.

local bit = require "bit"
local addr = require "etherlua.net.addr"
local misuse = require "etherlua.core.misuse"
local show = require("etherlua.core.literal").show

local band, rshift = bit.band, bit.rshift
local byte, char, sub, format, floor = string.byte, string.char, string.sub, string.format, math.floor

local M = {}

-- Octets and their text, because formatting the addresses of a message would take longer than all the rest of it.
local DECIMAL, HEX = {}, {}
for octet = 0, 255 do
  DECIMAL[octet], HEX[octet] = format("%d", octet), format("%02x", octet)
end

-- ---- What is wrong ------------------------------------------------------------------------------------------------

-- The second result of a parser that ran out of bytes: short("ipv4", 12, 20) is nil, "ipv4: 12 of 20 header bytes".
---@param protocol string
---@param have integer
---@param need integer
---@param what? string default "header bytes"
---@return nil
---@return string reason
function M.short(protocol, have, need, what)
  return nil, format("%s: %d of %d %s", protocol, have, need, what or "header bytes")
end

---@param what string names the value in the error
---@param value any
---@param low integer
---@param high integer
---@return integer value; raises unless it is a whole number from low to high
function M.check(what, value, low, high)
  if type(value) ~= "number" or value ~= floor(value) or value < low or value > high then
    misuse.raise("bad %s %s: %d to %d is allowed", what, show(value), low, high)
  end
  return value
end

---@param what string
---@param value any nil and 0 are false, 1 is true
---@return boolean value; raises unless it is one, 0 or 1
function M.flag(what, value)
  if value == nil or value == false or value == 0 then return false end
  if value ~= true and value ~= 1 then misuse.raise("bad %s %s: true or false is allowed", what, show(value)) end
  return true
end

---@param what string
---@param value any nil is ""
---@param longest? integer octets
---@return string value; raises unless it is a string of at most that many octets
function M.string(what, value, longest)
  if value == nil then return "" end
  if type(value) ~= "string" then misuse.raise("bad %s %s: a string is needed", what, show(value)) end
  if longest and #value > longest then
    misuse.raise("bad %s: %d octets given, at most %d are allowed", what, #value, longest)
  end
  return value
end

---@param what string
---@param text any
---@return string bytes six; raises unless text is a MAC address
function M.mac(what, text)
  local ok, bytes = pcall(addr.mac_bytes, text)
  if not ok then misuse.raise("bad %s %q: a MAC address such as 02:00:00:11:22:33 is needed", what, show(text)) end
  return bytes
end

---@param what string
---@param text any
---@param size integer 4 or 16
---@return string bytes that many; raises unless text is an IP address of that size
function M.ip(what, text, size)
  local ok, bytes = pcall(addr.ip_bytes, text)
  if not ok or #bytes ~= size then
    misuse.raise("bad %s %q: an %s is needed", what, show(text),
      size == 4 and "IPv4 address such as 10.0.0.1" or "IPv6 address such as 2001:db8::1")
  end
  return bytes
end

-- ---- Numbers and addresses ----------------------------------------------------------------------------------------

---@param bytes string
---@param at integer
---@return integer
function M.u16(bytes, at)
  local a, b = byte(bytes, at, at + 1)
  return a * 0x100 + b
end

---@param bytes string
---@param at integer
---@return integer
function M.u32(bytes, at)
  local a, b, c, d = byte(bytes, at, at + 3)
  return a * 0x1000000 + b * 0x10000 + c * 0x100 + d
end

---@param bytes string
---@param at integer
---@return string IPv4 address
function M.ip4_at(bytes, at)
  local a, b, c, d = byte(bytes, at, at + 3)
  return DECIMAL[a] .. "." .. DECIMAL[b] .. "." .. DECIMAL[c] .. "." .. DECIMAL[d]
end

---@param bytes string
---@param at integer
---@return string MAC address
function M.mac_at(bytes, at)
  local a, b, c, d, e, f = byte(bytes, at, at + 5)
  return HEX[a] .. ":" .. HEX[b] .. ":" .. HEX[c] .. ":" .. HEX[d] .. ":" .. HEX[e] .. ":" .. HEX[f]
end

local function pack16(value)
  return char(rshift(value, 8), band(value, 0xff))
end

-- A checked number as one octet.
---@param what string names the value in the error
---@param value any
---@return string
function M.put8(what, value)
  return char(M.check(what, value, 0, 0xff))
end

-- A checked number as two octets, in network byte order.
---@param what string
---@param value any
---@return string
function M.put16(what, value)
  return pack16(M.check(what, value, 0, 0xffff))
end

-- A checked number as four octets, in network byte order.
---@param what string
---@param value any
---@return string
function M.put32(what, value)
  M.check(what, value, 0, 0xffffffff)
  return char(rshift(value, 24), band(rshift(value, 16), 0xff), band(rshift(value, 8), 0xff), band(value, 0xff))
end

-- Fill up with zeros to a multiple of some octets.
---@param bytes string
---@param unit integer
---@return string
function M.pad_to(bytes, unit)
  return bytes .. ("\0"):rep(-#bytes % unit)
end

-- ---- The internet checksum (RFC 1071) -----------------------------------------------------------------------------

-- Add up 16-bit words; not folded, so that sums can be chained. Only the last string of a chain may be of odd length.
---@param bytes string
---@param start? integer a sum to begin with
---@return integer
function M.sum(bytes, start)
  local sum, size = start or 0, #bytes
  for i = 1, size - 1, 2 do
    local a, b = byte(bytes, i, i + 1)
    sum = sum + a * 0x100 + b
  end
  if size % 2 == 1 then sum = sum + byte(bytes, size) * 0x100 end
  return sum
end

---@param bytes string whose own checksum field is zero or left out; 0 is the result if it is right in place
---@param start? integer a sum to begin with, such as that of a pseudo header
---@return integer 0 to 0xffff
function M.checksum(bytes, start)
  local sum = M.sum(bytes, start)
  while sum > 0xffff do sum = sum % 0x10000 + floor(sum / 0x10000) end
  return 0xffff - sum
end

-- A header with its checksum in the middle.
---@param before string of even length
---@param after string
---@param given? integer a checksum to be used instead of the right one
---@param start? integer as for checksum()
---@return string
function M.with_checksum(before, after, given, start)
  if given then return before .. M.put16("checksum", given) .. after end
  return before .. pack16(M.checksum(after, M.sum(before, start))) .. after
end

-- The sum of the pseudo header of TCP, UDP (RFC 768) and everything on IPv6 (RFC 8200 section 8.1).
---@param context { src: string, dst: string } IP addresses
---@param protocol integer
---@param length integer of what the checksum covers
---@return integer sum for checksum()
function M.pseudo_sum(context, protocol, length)
  if type(context) ~= "table" then
    misuse.raise("the checksum of IP protocol %d needs a context { src =, dst = } with the IP addresses", protocol)
  end
  local src, dst = addr.ip_bytes(context.src), addr.ip_bytes(context.dst)
  if #src ~= #dst then misuse.raise("bad context: %s and %s are not of one IP version", context.src, context.dst) end
  return M.sum(src, M.sum(dst, protocol + length))
end

-- ---- Text ---------------------------------------------------------------------------------------------------------

---@param bytes string
---@return string lower-case digits without spaces
function M.hex(bytes)
  return (bytes:gsub(".", function(c) return HEX[byte(c)] end))
end

---@param text string pairs of hex digits; white space and colons are skipped
---@return string bytes; raises if text is something else
function M.unhex(text)
  local digits = text:gsub("[%s:]", "")
  if #digits % 2 == 1 or digits:find("%X") then misuse.raise("bad hex %q: pairs of hex digits are needed", text) end
  return (digits:gsub("%x%x", function(pair) return char(tonumber(pair, 16)) end))
end

---@param bytes string
---@return string the same length, with a dot for what a terminal should not get
function M.printable(bytes)
  return (bytes:gsub("[^\32-\126]", "."))
end

---@param bytes string
---@param offset? integer of the first octet; default 0
---@return string lines of 16 octets: offset, hex, text
function M.dump(bytes, offset)
  local lines = {}
  for at = 1, #bytes, 16 do
    local row = sub(bytes, at, at + 15)
    local digits = M.hex(row):gsub("%x%x", "%0 ")
    lines[#lines + 1] = format("%04x  %-48s %s", at - 1 + (offset or 0), digits, M.printable(row))
  end
  return table.concat(lines, "\n")
end

return M
