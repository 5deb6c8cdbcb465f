-- host/icmp_responder.lua: what a host answers by itself: ping (RFC 792, RFC 4443 section 4.2), and UDP that nobody
-- took, with port unreachable (RFC 1122 section 4.1.3.1, RFC 4443 section 3.1). Frames are read and answers written
-- where they lie: a flood of pings makes no strings (JIT 5). IP options and extension headers of a ping are left out.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local effi = require "etherlua.core.ffi"
local icmp = require "etherlua.proto.icmp"
local icmp6 = require "etherlua.proto.icmp6"
local ipv4 = require "etherlua.proto.ipv4"
local ipv6 = require "etherlua.proto.ipv6"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"
local sched = require "etherlua.core.sched"

local C = effi.C
local band, rshift = bit.band, bit.rshift
local load16, native32, mac_at, store16 = memory.load16, memory.native32, memory.mac_at, memory.store16

local M = {}

local IP4, IP6 = numbers.ethertype.IPV4, numbers.ethertype.IPV6
local ICMP, ICMP6, TTL = numbers.protocol.ICMP, numbers.protocol.ICMP6, 64
local IP4_HEADER, IP6_HEADER = 20, 40

-- An answer is made here and sent before anything else happens. Of 65,535 bytes: what came in one frame fits.
local scratch = ffi.new "uint8_t[65600]"

-- The checksum after a message's type has changed from `old` to `new` (RFC 1624 section 3).
local function changed_checksum(message, old, new)
  local sum = band(bit.bnot(load16(message, 2)), 0xffff) + 0xffff - old * 0x100 + new * 0x100
  sum = band(sum, 0xffff) + rshift(sum, 16)
  sum = band(sum, 0xffff) + rshift(sum, 16)
  return 0xffff - sum
end

-- Writes the reply to an echo request of `size` bytes behind an IP header of the answer.
local function put_reply(at, request, size, old, new)
  ffi.copy(scratch + at, request, size)
  scratch[at] = new
  store16(scratch, at + 2, changed_checksum(request, old, new))
end

-- ---- echo ---------------------------------------------------------------------------------------------------------

-- Answers an ICMP echo request, which is checked already.
---@param owner table with conn and tap
---@param frame etherlua.frame
---@param size integer of the ICMP message
function M.echo4(owner, frame, size)
  local ip = frame.data + frame.l3
  scratch[0], scratch[1] = 0x45, ip[1] -- the type of service is the request's (RFC 1122 section 3.2.2.6)
  store16(scratch, 2, IP4_HEADER + size)
  ffi.copy(scratch + 4, ip + 4, 2)
  store16(scratch, 6, 0)
  scratch[8], scratch[9] = TTL, ICMP
  store16(scratch, 10, 0)
  ffi.copy(scratch + 12, ip + 16, 4)
  ffi.copy(scratch + 16, ip + 12, 4)
  store16(scratch, 10, C.el_checksum(scratch, IP4_HEADER, 0))
  put_reply(IP4_HEADER, frame.data + frame.l4, size, icmp.ECHO_REQUEST, icmp.ECHO_REPLY)
  owner.segment.tap:answer("echo", owner.conn, scratch, IP4_HEADER + size, mac_at(frame.data + 6), IP4)
end

-- Answers an ICMPv6 echo request that has come to a host's address.
---@param owner table
---@param frame etherlua.frame
---@param size integer
function M.echo6(owner, frame, size)
  local ip = frame.data + frame.l3
  scratch[0], scratch[1], scratch[2], scratch[3] = 0x60, 0, 0, 0
  store16(scratch, 4, size)
  scratch[6], scratch[7] = ICMP6, TTL
  ffi.copy(scratch + 8, ip + 24, 16)
  ffi.copy(scratch + 24, ip + 8, 16)
  put_reply(IP6_HEADER, frame.data + frame.l4, size, icmp6.ECHO_REQUEST, icmp6.ECHO_REPLY)
  owner.segment.tap:answer("echo", owner.conn, scratch, IP6_HEADER + size, mac_at(frame.data + 6), IP6)
end

-- ---- port unreachable ---------------------------------------------------------------------------------------------

-- Errors are sent at this rate at most (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f), after a few at once.
local ERROR_RATE, ERROR_BURST = 100, 100

-- Whether the owner may send one more error now.
---@param owner table
---@return boolean
function M.may_complain(owner)
  local now = sched.now()
  local credit = math.min(ERROR_BURST, (owner.error_credit or ERROR_BURST)
    + (now - (owner.error_time or now)) * ERROR_RATE)
  owner.error_time, owner.error_credit = now, credit >= 1 and credit - 1 or credit
  return credit >= 1
end

-- As much of the packet as fits a packet that goes everywhere: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c.
local QUOTE4, QUOTE6 = 576 - IP4_HEADER - 8, 1280 - IP6_HEADER - 8

-- An IPv4 packet that says so to the sender of another.
---@param packet string
---@param src string whose it is
---@param dst string
---@return string
function M.unreachable4(packet, src, dst)
  local message = icmp.build { type = icmp.DESTINATION_UNREACHABLE, code = 3, payload = packet:sub(1, QUOTE4) }
  return ipv4.build { src = dst, dst = src, protocol = ICMP, payload = message }
end

local function unreachable6(packet, src, dst)
  local context = { src = dst, dst = src }
  local message = icmp6.build({ type = icmp6.DESTINATION_UNREACHABLE, code = 4, payload = packet:sub(1, QUOTE6) },
    context)
  return ipv6.build { src = dst, dst = src, protocol = ICMP6, payload = message }
end

-- Whether the source address of a packet is one host's: to others nothing is answered (RFC 1122 section 3.2.2, RFC 4443
-- section 2.4 e).
---@param ip ffi.cdata* the packet
---@param version integer
---@return boolean
function M.is_one_host(ip, version)
  if version == 4 then
    local first = ip[12]
    return first ~= 0 and first ~= 127 and first < 224
  end
  return ip[8] ~= 0xff and not (native32(ip, 8) == 0 and native32(ip, 12) == 0 and native32(ip, 16) == 0
    and native32(ip, 20) == 0)
end

-- Answers a UDP datagram to one of the owner's addresses that nobody took.
---@param owner table
---@param frame etherlua.frame
---@param version integer of IP
function M.unreachable(owner, frame, version)
  local counted = owner.segment.tap
  if not M.is_one_host(frame.data + frame.l3, version) then return counted:count("ignored") end
  if not M.may_complain(owner) then return counted:count("limited") end
  local packet = ffi.string(frame.data + frame.l3, frame.l3_len)
  local answer = (version == 4 and M.unreachable4 or unreachable6)(packet, frame.src_ip, frame.dst_ip)
  counted:answer("unreachable", owner.conn, answer, #answer, addr.mac(frame.src_mac), version == 4 and IP4 or IP6)
end

return M
