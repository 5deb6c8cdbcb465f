-- net/addr.lua: addresses as people write them and as the engine wants them. MAC addresses, IP addresses with ports,
-- and VLAN stacks. A text that is no address is the caller's mistake and raises an error that says what is allowed.

local ffi = require "ffi"
local bit = require "bit"
local effi = require "etherlua.core.ffi"
local misuse = require("etherlua.core.misuse").raise

local C = effi.C
local band, bxor, rshift = bit.band, bit.bxor, bit.rshift
local tobit, bswap = bit.tobit, bit.bswap

local M = {}

-- A MAC address; tostring() is its text, == compares.
---@class etherlua.mac

-- An IP address and port; tostring() is its text such as "10.0.0.1:67", == compares.
---@class etherlua.addr
---@field ip_text string the IP address alone
---@field port integer
---@field version integer 4 or 6

local mac_t = ffi.typeof("struct el_mac")
local int32_p = ffi.typeof("int32_t *")
local addr_t = ffi.typeof("struct el_addr")
local text_buffer = ffi.new("char[64]")
local ip_buffer = ffi.new("uint8_t[16]")

-- ---- MAC addresses ------------------------------------------------------------------------------------------------

---@param mac etherlua.mac that is set
---@param text string "aa:bb:cc:dd:ee:ff" or "aa-bb-cc-dd-ee-ff"
---@return etherlua.mac mac
local function set_mac(mac, text)
  text = tostring(text)
  if #text ~= 17 or C.el_mac_parse(text, mac) == 0 then
    misuse("bad MAC address %q: six pairs of hex digits are needed, such as 02:00:00:11:22:33", text)
  end
  return mac
end

local scratch = mac_t()

---@param text string "aa:bb:cc:dd:ee:ff" or "aa-bb-cc-dd-ee-ff"
---@return string bytes six
function M.mac_bytes(text)
  return ffi.string(set_mac(scratch, text), 6)
end

---@param bytes string six
---@return string "aa:bb:cc:dd:ee:ff"
function M.mac_text(bytes)
  return string.format("%02x:%02x:%02x:%02x:%02x:%02x", bytes:byte(1, 6))
end

local macs = setmetatable({}, { __mode = "v" })

---@param x string|etherlua.mac text; an object is returned as it is
---@return etherlua.mac
function M.mac(x)
  if ffi.istype(mac_t, x) then return x end
  local mac = macs[x]
  if not mac then
    mac = set_mac(mac_t(), x)
    if type(x) == "string" then macs[x] = mac end
  end
  return mac
end

-- Sets a MAC address in place, so that no new object is made.
---@param mac etherlua.mac that is set
---@param x string|etherlua.mac
function M.copy_mac(mac, x)
  if ffi.istype(mac_t, x) then ffi.copy(mac, x, 6) else set_mac(mac, x) end
end

---@param mac string|etherlua.mac
---@param n integer
---@return string the n-th address after mac; it wraps within the last four octets
function M.mac_add(mac, n)
  M.copy_mac(scratch, mac)
  local low = ffi.cast(int32_p, scratch.byte + 2)
  low[0] = bswap(tobit(bswap(low[0]) + n))
  return tostring(scratch)
end

effi.metatype("struct el_mac", {
  __tostring = function(mac)
    C.el_mac_format(mac, text_buffer)
    return ffi.string(text_buffer, 17)
  end,
  __eq = function(a, b) return tostring(a) == tostring(b) end,
})

-- ---- IP addresses -------------------------------------------------------------------------------------------------

---@param text string IPv4 or IPv6 address
---@return string bytes 4 or 16
function M.ip_bytes(text)
  local version = C.el_ip_parse(tostring(text), ip_buffer)
  if version == 0 then
    misuse("bad IP address %q: such as 10.0.0.1 or 2001:db8::1 is needed", tostring(text))
  end
  return ffi.string(ip_buffer, version == 4 and 4 or 16)
end

---@param bytes string 4 or 16
---@return string text RFC 5952 for IPv6
function M.ip_text(bytes)
  if #bytes ~= 4 and #bytes ~= 16 then misuse("bad IP address of %d bytes: 4 or 16 are needed", #bytes) end
  ffi.copy(ip_buffer, bytes, #bytes)
  return ffi.string(text_buffer, C.el_ip_format(ip_buffer, #bytes == 4 and 4 or 6, text_buffer))
end

---@param text string IPv4 address
---@return integer 0 to 2^32 - 1
function M.ip4_number(text)
  local bytes = M.ip_bytes(text)
  if #bytes ~= 4 then misuse("bad IPv4 address %q: such as 10.0.0.1 is needed", tostring(text)) end
  local a, b, c, d = bytes:byte(1, 4)
  return a * 0x1000000 + b * 0x10000 + c * 0x100 + d
end

---@param number integer 0 to 2^32 - 1
---@return string IPv4 address
function M.ip4_text(number)
  return string.format("%d.%d.%d.%d", math.floor(number / 0x1000000) % 256, math.floor(number / 0x10000) % 256,
    math.floor(number / 0x100) % 256, number % 256)
end

local function split_port(text)
  local ip, port = text:match("^%[([^%]]+)%]:(%d+)$")
  if not ip then ip, port = text:match("^([^:]+):(%d+)$") end
  if not ip then ip = text:match("^%[([^%]]+)%]$") or text end
  return ip, port and tonumber(port) or 0
end

local function parse_addr(text)
  local addr = addr_t()
  local ip, port = split_port(text)
  local version = C.el_ip_parse(ip, addr.ip)
  if version == 0 or port > 65535 then
    misuse("bad address %q: IP:PORT such as 10.0.0.1:67 or [2001:db8::1]:547 is needed, port 0 to 65535", text)
  end
  addr.version, addr.port = version, port
  return addr
end

-- Addresses made from text are kept, so that a send to a literal costs one table look-up.
local addrs = setmetatable({}, { __mode = "v" })

---@param x string|etherlua.addr "10.0.0.1:67", "[ff02::1:2]:547"; an object is returned as it is
---@return etherlua.addr
function M.addr(x)
  local addr = addrs[x]
  if addr then return addr end
  if ffi.istype(addr_t, x) then return x end
  if type(x) ~= "string" then misuse("bad address %q: IP:PORT such as 10.0.0.1:67 is needed", tostring(x)) end
  addr = parse_addr(x)
  addrs[x] = addr
  return addr
end

-- Addresses that were met before, so that a datagram from a known sender makes no garbage (JIT 5). A newcomer takes the
-- place of whoever has it.
local KNOWN = 4096
local known, constant_t = {}, ffi.typeof("const struct el_addr")
for place = 0, KNOWN - 1 do known[place] = constant_t() end

---@param addr etherlua.addr which may be overwritten afterwards
---@return etherlua.addr the same as a constant, mostly one that exists already
function M.constant(addr)
  local a = ffi.cast(int32_p, addr)
  local mixed = bxor(a[0], a[3], a[4])
  local place = band(bxor(mixed, rshift(mixed, 12), rshift(mixed, 24)), KNOWN - 1)
  local b = ffi.cast(int32_p, known[place])
  if a[0] ~= b[0] or a[1] ~= b[1] or a[2] ~= b[2] or a[3] ~= b[3] or a[4] ~= b[4] then
    known[place] = constant_t(addr)
  end
  return known[place]
end

local function ip_of(addr)
  return ffi.string(text_buffer, C.el_ip_format(addr.ip, addr.version, text_buffer))
end

---@param ip string IPv4 or IPv6 address
---@param port? integer (0)
---@return string text as ether.addr takes it: "10.0.0.1:67", "[2001:db8::1]:547"
function M.with_port(ip, port)
  return string.format(ip:find(":", 1, true) and "[%s]:%d" or "%s:%d", ip, port or 0)
end

effi.metatype("struct el_addr", {
  __index = function(addr, key)
    if key == "ip_text" then return ip_of(addr) end
  end,
  __tostring = function(addr) return M.with_port(ip_of(addr), addr.port) end,
  __eq = function(a, b) return tostring(a) == tostring(b) end,
})

return M
