-- role/traceroute.lua: who is on the way from a host to an address: packets with TTLs (hop limits) that count up, and
-- the errors of those who could not pass them on (RFC 792, RFC 4443). The packets are UDP to ports where nobody is, or
-- echo requests. Several are under way at once. It takes no notice of UDP that comes back.
--
--   local trace = traceroute.new(host, { target = "192.0.2.7" })
--   trace:run(function(hop) print(hop.ttl, hop.answers[1] and hop.answers[1].from) end)
--   print(trace:summary().reached)

local addr = require "etherlua.net.addr"
local channel = require "etherlua.core.channel"
local effi = require "etherlua.core.ffi"
local icmp = require "etherlua.proto.icmp"
local icmp6 = require "etherlua.proto.icmp6"
local memory = require "etherlua.net.memory"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local probe = require "etherlua.role.icmp_probe"
local random = require "etherlua.net.random"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"
local select = require "etherlua.core.select"
local udp = require "etherlua.proto.udp"

local C = effi.C

local M = {}

local UDP = numbers.protocol.UDP
local HEADER = 8 -- octets of UDP's header, and of an echo request's
local FIRST_SOURCE, SOURCES = 32768, 28232 -- ports to send from: those that Linux takes
M.PORT = 33434

-- What came back to one packet.
---@class etherlua.trace_answer
---@field from string IP address
---@field rtt number seconds
---@field extensions? table[] what the error has behind the packet that it quotes, such as MPLS labels: see
---  proto/icmp_extensions.lua
---@field mark? string why the way ends there: "!N" network, "!H" host, "!P" protocol unreachable, "!X" prohibited,
---  "!F-1400" fragmentation needed and the MTU, "!S" source route or scope, "!V", "!C" precedence, "!<CODE>" others

-- All answers with one TTL.
---@class etherlua.trace_hop
---@field ttl integer
---@field answers table<integer, etherlua.trace_answer> by number from 1; those that did not come are missing
---@field reached boolean the target answered

-- The defaults are in brackets.
---@class etherlua.trace_opts
---@field target string IP address
---@field icmp? boolean echo requests instead of UDP (false)
---@field first? integer TTL of the first packet (1)
---@field max_ttl? integer (30)
---@field tries? integer packets for each TTL; queries, too (3)
---@field timeout? number seconds to wait for an answer (3)
---@field window? integer packets that are under way at once (16)
---@field port? integer UDP destination of the first packet, counted up with each (33434)
---@field size? integer octets of data (32)

-- See traceroute.new.
---@class etherlua.trace
local Trace = {}
Trace.__index = Trace

-- ---- what errors mean ---------------------------------------------------------------------------------------------

-- RFC 792, RFC 1812 section 5.2.7.1: codes of "destination unreachable"; that of the port means that it was reached.
local MARKS4 = { [0] = "!N", "!H", "!P", false, "!F", "!S", "!N", "!H", "!N", "!X", "!X", "!N", "!H", "!X", "!V", "!C" }
local PORT4, PORT6, NEXT_HEADER = 3, 4, 1
local MARKS6 = { [0] = "!N", "!X", "!S", "!H" } -- RFC 4443 section 3.1

local function other_mark(message)
  return ("!<%d>"):format(message.code)
end

-- nil: it is no error that a packet on the way causes. Else mark (false: none), whether the way ends there.
local function meaning4(message)
  if message.type == icmp.TIME_EXCEEDED and message.code == 0 then return false, false end
  if message.type == icmp.PARAMETER_PROBLEM then return other_mark(message), true end
  if message.type ~= icmp.DESTINATION_UNREACHABLE then return nil end
  if message.code == PORT4 then return false, true end
  if message.code == icmp.FRAGMENTATION_NEEDED then return ("!F-%d"):format(message.next_hop_mtu), true end
  return MARKS4[message.code] or other_mark(message), true
end

local function meaning6(message)
  if message.type == icmp6.TIME_EXCEEDED and message.code == 0 then return false, false end
  if message.type == icmp6.PACKET_TOO_BIG then return ("!F-%d"):format(message.mtu), true end
  if message.type == icmp6.PARAMETER_PROBLEM then
    return message.code == NEXT_HEADER and "!P" or other_mark(message), true
  end
  if message.type ~= icmp6.DESTINATION_UNREACHABLE then return nil end
  if message.code == PORT6 then return false, true end
  return MARKS6[message.code] or other_mark(message), true
end

-- ---- what comes back ----------------------------------------------------------------------------------------------

local function answer(self, number, frame, mark, ends, extensions)
  local sent = self.sent[number]
  if not sent or sent.answer or sent.late then return end
  sent.answer = { from = frame.src_ip, rtt = math.max(frame.timestamp - sent.time, 0), mark = mark or nil,
    extensions = extensions }
  sent.ends, sent.reached = ends, ends and not mark
  self.event:close()
end

-- The number of the packet that an error quotes; nil when it is none of ours.
local function number_of(self, packet)
  if self.icmp then
    local identifier, sequence = probe.echo_of(self.version, packet)
    return identifier == self.identifier and sequence or nil
  end
  local datagram = packet.protocol == UDP and udp.parse(packet.payload, true)
  return datagram and datagram.src_port == self.from_port and datagram.dst_port - self.port + 1 or nil
end

local function hear_error(self, message, frame)
  local mark, ends = self.meaning(message)
  local packet = mark ~= nil and probe.quoted(self.version, message, self.source, self.to)
  local number = packet and number_of(self, packet)
  if number then answer(self, number, frame, mark, ends, message.extensions) end
end

local function hear_reply(self, frame)
  if not probe.is_from(self.version, frame, self.key) then return end
  local message = frame.data + frame.l4
  answer(self, memory.load16(message, 6), frame, false, true)
end

-- ---- packets ------------------------------------------------------------------------------------------------------

local function payload_of(self, number)
  if self.icmp then
    return self.version.icmp.build({ type = self.version.icmp.ECHO_REQUEST, identifier = self.identifier,
      sequence = number, payload = self.data }, { src = self.source, dst = self.to })
  end
  return udp.build({ src_port = self.from_port, dst_port = self.port + number - 1, payload = self.data },
    { src = self.source, dst = self.to })
end

local function ttl_of(self, number)
  return self.first + math.floor((number - 1) / self.tries)
end

local function send(self, number)
  local mac, reason = self.host:resolve(self.to) -- first, so that it does not count as the round trip
  if not mac then return nil, reason end
  local ttl = ttl_of(self, number)
  self.sent[number] = { time = sched.now(), ttl = ttl }
  return self.host:send { src = self.source, dst = self.to, protocol = self.icmp and self.version.protocol or UDP,
    identification = number, ttl = ttl, payload = payload_of(self, number) }
end

-- ---- the run ------------------------------------------------------------------------------------------------------

-- Packets that still may be answered; those that are too late are noted. Also when the next one will be.
local function under_way(self)
  local count, next_late, now = 0, math.huge, sched.now()
  for _, sent in pairs(self.sent) do
    local late_at = sent.time + self.timeout
    if not sent.answer and late_at <= now then sent.late = true end
    if not (sent.answer or sent.late) then count, next_late = count + 1, math.min(next_late, late_at) end
  end
  return count, next_late
end

-- The hop whose answers are all there, or late; nil while it is not so.
local function hop_of(self, ttl)
  local hop, ends = { ttl = ttl, answers = {}, reached = false }, false
  local before = (ttl - self.first) * self.tries
  for i = 1, self.tries do
    local sent = self.sent[before + i]
    if not sent or not (sent.answer or sent.late) then return nil end
    hop.answers[i] = sent.answer
    hop.reached, ends = hop.reached or sent.reached or false, ends or sent.ends or false
  end
  return hop, ends
end

local function deliver(self, tell)
  while not self.ended and self.next_ttl <= self.max_ttl do
    local hop, ends = hop_of(self, self.next_ttl)
    if not hop then return end
    self.next_ttl, self.ended, self.reached = self.next_ttl + 1, ends, hop.reached
    self.hops = hop.ttl
    if tell then tell(hop) end
  end
end

local function run(self, tell)
  local last, number = (self.max_ttl - self.first + 1) * self.tries, 0
  self.began = sched.now()
  while not self.ended and self.next_ttl <= self.max_ttl do
    self.event = channel.new()
    local count, next_late = under_way(self)
    if number < last and count < self.window then
      number = number + 1
      local ok, reason = send(self, number)
      if not ok then
        self.reason = reason
        return nil, reason
      end
      sched.sleep(0) -- it leaves now: the time counts from here
    elseif count > 0 then
      select.wait { self.event, timeout = next_late - sched.now() }
    end
    under_way(self)
    deliver(self, tell)
  end
  return true
end

-- Asks all on the way. Blocks until the target answers, somebody says that it cannot be reached, or nothing came with
-- the highest TTL: summary().reached tells.
---@param tell? fun(hop: etherlua.trace_hop) called with each hop in order, as soon as it is complete
---@return true|nil
---@return string|nil reason why nothing could be sent
function Trace:run(tell)
  return role.run(self, run, tell)
end

---@class etherlua.trace_summary
---@field target string
---@field source string own address
---@field reached boolean the target answered
---@field hops integer TTL of the last hop that is complete; 0 before the first one
---@field seconds number since the run began
---@field error? string why nothing more could be sent

---@return etherlua.trace_summary
function Trace:summary()
  return { target = self.to, source = self.source, reached = self.reached, hops = self.hops,
    seconds = self.began and sched.now() - self.began or 0, error = self.reason }
end

-- Octets of a packet with its headers.
---@return integer
function Trace:packet_size()
  return self.version.header + HEADER + #self.data
end

-- Octets of the largest packet that fits a frame.
---@return integer
function Trace:mtu()
  return C.el_conn_packet_mtu(self.host.conn, self.version.number)
end

-- It hears no more.
function Trace:close()
  if not role.close(self) then return end
  for _, stop in ipairs(self.stops) do stop() end
end

-- ---- beginning ----------------------------------------------------------------------------------------------------

-- All packets have numbers that are told apart by 16 bits.
local function check(self)
  local count = (self.max_ttl - self.first + 1) * self.tries
  if self.first > self.max_ttl then
    misuse.raise("first TTL %d is above the highest, %d", self.first, self.max_ttl)
  end
  local most = self.icmp and 0xffff or 0x10000 - self.port
  if count > most then misuse.raise("%d packets are too many: up to %d are allowed", count, most) end
end

local OPTIONS = options.new("a traceroute", {
  target = options.text():needed(), icmp = options.boolean(false), first = options.whole(1, 255, 1),
  max_ttl = options.whole(1, 255, 30), tries = options.whole(1, 255, 3), queries = options.alias "tries",
  timeout = options.seconds(3), window = options.whole(1, nil, 16), port = options.whole(1, 65535, M.PORT),
  size = options.whole(0, 65507, 32),
})

-- Who is on the way to an address. The host has to be able to send there already.
---@param host etherlua.host
---@param given string|etherlua.trace_opts the options, or the address before them
---@param more? etherlua.trace_opts
---@return etherlua.trace|nil trace close it in the end
---@return string|nil reason the host has no address to send from
function M.new(host, given, more)
  role.check("a traceroute", host, "host")
  local opts = OPTIONS:read(role.with_target(given, more))
  local version = probe.version_of(opts.target)
  local to = addr.ip_text(addr.ip_bytes(opts.target))
  local source, reason = host:source(to)
  if not source then return nil, reason end
  local self = setmetatable({ host = host, to = to, source = source, version = version, key = segment.key(to),
    icmp = opts.icmp, first = opts.first, next_ttl = opts.first, max_ttl = opts.max_ttl, tries = opts.tries,
    timeout = opts.timeout, window = opts.window, port = opts.port, from_port = FIRST_SOURCE + random.u32() % SOURCES,
    data = ("@"):rep(opts.size), sent = {}, stops = {}, meaning = version.number == 4 and meaning4 or meaning6,
    event = channel.new(), ended = false, reached = false, hops = 0 }, Trace)
  check(self)
  self.stops[1] = host:watch_icmp(function(message, frame) hear_error(self, message, frame) end)
  if self.icmp then
    self.identifier, self.stops[2] = host:watch_echo(nil, function(frame) hear_reply(self, frame) end)
  end
  return self
end

return M
