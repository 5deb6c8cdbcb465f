-- role/traffic_sender.lua: sends the flows of role/traffic.lua in turn, evenly spread, at a rate. Each flow's headers
-- are built once; a packet is a copy of them with length, number, time and checksums patched in, so that nothing is
-- allocated for it. It fragments nothing and reads nothing.

local bit = require "bit"
local bytes = require "etherlua.net.bytes"
local effi = require "etherlua.core.ffi"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local memory = require "etherlua.net.memory"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local pacer = require "etherlua.core.pacer"
local ip = require "etherlua.proto.ip"
local proto = require "etherlua.proto"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local traffic = require "etherlua.role.traffic"

local C = effi.C
local band, bnot, bswap, rshift, tobit = bit.band, bit.bnot, bit.bswap, bit.rshift, bit.tobit
local floor, min = math.floor, math.min
local store_native16, store_native32, now = memory.store_native16, memory.store_native32, sched.now
local SEQUENCE, SECONDS, NANOSECONDS = traffic.SEQUENCE, traffic.SECONDS, traffic.NANOSECONDS

local M = {}

local UDP = numbers.protocol.UDP
-- Offsets in the IP header (RFC 791 3.1, RFC 8200 3) of its length and checksum; in the UDP header (RFC 768) alike.
local IP4_LENGTH, IP4_CHECKSUM, IP6_LENGTH, UDP_LENGTH, UDP_CHECKSUM = 2, 10, 4, 4, 6
local IP_HEADER, HEAD_MAX = { [4] = 20, [6] = 40 }, 40 + 8 + traffic.LENGTH

-- sent: packets, and the next one's number. warmed: the same of those to warm up. ip_sum, udp_sum: one's complement
-- sums of the head without what differs from packet to packet, to which that is added (as RFC 1624); of the machine's
-- 16-bit words, which RFC 1071 section 2 (B) allows.
local states_t = ffi.typeof(([[struct {
  double sent, warmed;
  int32_t ip_sum, udp_sum;
  uint8_t head[%d];
}[?] ]]):format(HEAD_MAX))

-- Lengths of a packet and its headers; these two as they stand in memory.
local sizes_t = ffi.typeof "struct { uint32_t packet, frame; uint16_t ip_length, udp_length; }[?]"
local buffer_t = ffi.typeof "uint8_t[?]"

-- See traffic_sender.new.
---@class etherlua.traffic_sender
local Sender = {}
Sender.__index = Sender

-- ---- one packet ---------------------------------------------------------------------------------------------------

local function swap16(value)
  return rshift(bswap(value), 16)
end

-- Both halves of a word.
local function halves(word)
  return band(word, 0xffff) + rshift(word, 16)
end

-- The checksum of a sum (RFC 1071 section 1).
local function fold(sum)
  return band(bnot(halves(halves(sum))), 0xffff)
end

-- Number and time. Returns their sum.
local function stamp(payload, number, time, flag)
  local whole = floor(time)
  local sequence, seconds = bswap(tobit(number)), bswap(tobit(whole))
  local nanoseconds = bswap(tobit(floor((time - whole) * 1e9) + flag))
  store_native32(payload, SEQUENCE, sequence)
  store_native32(payload, SECONDS, seconds)
  store_native32(payload, NANOSECONDS, nanoseconds)
  return halves(sequence) + halves(seconds) + halves(nanoseconds)
end

local function put_lengths(sender, state, data, size)
  if sender.version == 6 then return store_native16(data, IP6_LENGTH, size.udp_length) end
  store_native16(data, IP4_LENGTH, size.ip_length)
  store_native16(data, IP4_CHECKSUM, fold(state.ip_sum + size.ip_length))
end

-- Makes the packet of the flow in the sender's buffer.
local function make(sender, state, size, number, flag)
  local data = sender.data
  local udp = data + sender.ip_header
  ffi.copy(data, state.head, sender.head)
  put_lengths(sender, state, data, size)
  store_native16(udp, UDP_LENGTH, size.udp_length)
  local checksum = fold(state.udp_sum + 2 * size.udp_length + stamp(udp + 8, number, now(), flag))
  store_native16(udp, UDP_CHECKSUM, checksum == 0 and 0xffff or checksum) -- 0 would mean: none
end

-- Sizes follow each other in each flow; flows begin at different places, so that they alternate on the wire too.
local function size_of(sender, i, number)
  return sender.sizes[(number + i) % sender.size_count]
end

local function transmit(sender, i, size)
  local done, reason = sender.conns[i]:send(sender.data, size.packet, sender.macs[i])
  if done then return true end
  sender.unsent, sender.reason = sender.unsent + 1, reason
  return false
end

local function send_counted(sender, i)
  local state = sender.states[i]
  local size = size_of(sender, i, state.sent)
  make(sender, state, size, state.sent, 0)
  if not transmit(sender, i, size) then return end
  state.sent = state.sent + 1
  sender.sent, sender.bytes = sender.sent + 1, sender.bytes + size.frame
end

local function send_uncounted(sender, i)
  local state = sender.states[i]
  local size = size_of(sender, i, state.warmed)
  make(sender, state, size, state.warmed, traffic.WARM_UP)
  if transmit(sender, i, size) then state.warmed = state.warmed + 1 end
end

-- ---- opening ------------------------------------------------------------------------------------------------------

local function pseudo_header(flow)
  return addr.ip_bytes(flow.src_ip) .. addr.ip_bytes(flow.dst_ip) .. bytes.put16("protocol", UDP)
end

local function payload_head(number)
  return "elt" .. bytes.put32("flow", number):sub(2) .. ("\0"):rep(traffic.LENGTH - traffic.SEQUENCE)
end

-- The headers of a flow with lengths and checksums of 0, and the payload with number and time 0.
local function head_of(flow, opts, number)
  local datagram = proto.udp.build { src_port = flow.src_port, dst_port = flow.dst_port, payload = payload_head(number),
    length = 0, checksum = 0 }
  local header = ip.build { src = flow.src_ip, dst = flow.dst_ip, protocol = UDP, tos = opts.tos, ttl = opts.ttl,
    df = true, total_length = 0, payload_length = 0, header_checksum = 0 }
  return header .. datagram, datagram
end

local function sum_of(text)
  local sum, words = 0, ffi.cast("const uint16_t *", text)
  for i = 0, #text / 2 - 1 do sum = sum + words[i] end
  return sum
end

local function set_up(sender, i)
  local flow, state = sender.flows:at(i), sender.states[i]
  local head, datagram = head_of(flow, sender.opts, sender.flows.first + i)
  local reserved = sum_of(head:sub(1, sender.ip_header))
  sender.head = #head
  ffi.copy(state.head, head, #head)
  state.ip_sum, state.udp_sum = reserved, sum_of(pseudo_header(flow) .. datagram)
  sender.conns[i] = sender.endpoints:conn(flow.src_mac, flow.vlans, flow.src_ip)
  sender.macs[i] = addr.mac(sender.opts.dst_mac and sender.opts.dst_mac(sender.conns[i], flow) or flow.dst_mac)
end

local function set_sizes(sender, pattern, tags)
  for i, size in ipairs(pattern) do
    local packet, one = traffic.packet_size(size), sender.sizes[i - 1]
    one.packet, one.frame = packet, size + 4 * tags
    one.ip_length, one.udp_length = swap16(packet), swap16(packet - sender.ip_header)
  end
end

local function check_room(sender, largest)
  local room, needed = C.el_conn_mtu(sender.conns[0]), traffic.packet_size(largest)
  if needed <= room then return end
  misuse.raise("frames of %d bytes do not fit the MTU of %s: up to %d are possible%s", largest,
    sender.endpoints.relay.name, room + largest - needed, #sender.conns[0].vlans > 1 and " with these VLAN tags" or "")
end

-- The defaults are in brackets.
---@class etherlua.traffic_sender_opts
---@field flows etherlua.traffic_flows
---@field mix etherlua.size_mix
---@field rate number packets a second, of all flows
---@field ttl? integer (64)
---@field tos? integer or traffic class (0)
---@field dst_mac? function from a flow's EtherConn and the flow to the MAC address to send to; it may block (the
---  flow's own)
---@field warm_up? number seconds to send before, without counting (0)
---@field count? integer packets of each flow (no limit)
---@field duration? number seconds to send; the first limit that is reached ends it (no limit)

M.OPTIONS = options.new("a sender of traffic", {
  flows = options.of_type("what traffic.flows returns is needed", "table"):needed(),
  mix = options.of_type("what size_mix.new returns is needed", "table"):needed(),
  rate = options.number(1e-6, 1e9):needed(), ttl = options.whole(1, 255, 64), tos = options.whole(0, 255, 0),
  dst_mac = options.of_type("a function is needed", "function"), warm_up = options.seconds(0),
  count = options.number(1, math.huge), duration = options.seconds(),
})

-- A sender of flows; nothing is opened yet.
---@param endpoints etherlua.traffic_endpoints
---@param given etherlua.traffic_sender_opts
---@return etherlua.traffic_sender
function M.new(endpoints, given)
  role.check("a sender of traffic", endpoints, "endpoints")
  local opts = M.OPTIONS:read(given)
  local flows = opts.flows
  return setmetatable({ opts = opts, flows = flows, mix = opts.mix, rate = opts.rate, endpoints = endpoints,
    version = flows.version, ip_header = IP_HEADER[flows.version], conns = {}, macs = {}, opened = 0,
    states = states_t(flows.count), sizes = sizes_t(#opts.mix.pattern), size_count = #opts.mix.pattern,
    data = buffer_t(traffic.packet_size(opts.mix.largest)), sent = 0, bytes = 0, unsent = 0, slipped = 0 }, Sender)
end

-- Opens the endpoints and builds the headers. Gives way now and then; blocks as opts.dst_mac does. Raises when a frame
-- does not fit the relay.
function Sender:open()
  if self.opened > 0 or self.closed then return end
  for i = 0, self.flows.count - 1 do
    set_up(self, i)
    self.opened = i + 1
    if i == 0 then check_room(self, self.mix.largest) end
    if i % 1000 == 999 then sched.sleep(0) end
  end
  set_sizes(self, self.mix.pattern, #self.conns[0].vlans)
end

-- ---- all of them --------------------------------------------------------------------------------------------------

-- Until `total` packets have gone, or so many slots of the rate have passed, or the interface is gone. What comes too
-- late after the end is missed by nobody.
local function send_all(sender, send, total, slots)
  local pace, flows, before, n, slipped = pacer.new { rate = sender.rate }, sender.flows.count, sender.slipped, 0, 0
  while n < total and n + slipped < slots and sender.reason ~= "interface gone" do
    pace:wait()
    slipped = min(pace.slipped, slots - n)
    sender.slipped = before + slipped
    if n + slipped < slots then
      send(sender, n % flows)
      n = n + 1
    end
  end
end

-- Sends packets that are not counted, so that switches learn and this program is compiled (JIT 10). Blocks so long.
---@param seconds number
function Sender:warm_up(seconds)
  send_all(self, send_uncounted, math.huge, seconds * self.rate)
  self.slipped, self.unsent = 0, 0
end

local LIMIT = options.new("what is sent", { count = options.number(1, math.huge), duration = options.seconds() })

-- Sends, for who does so several times. Blocks until so much has gone, or the time is over.
---@param given { count: integer?, duration: number? } count: packets of each flow
---@return true|nil
---@return string|nil reason why it ended before: "interface gone"
function Sender:send(given)
  local limit = LIMIT:read(given)
  self.began = now()
  local slots = limit.duration and math.max(floor(limit.duration * self.rate + 0.5), 1) or math.huge
  send_all(self, send_counted, limit.count and limit.count * self.flows.count or math.huge, slots)
  self.finished = now()
  if self.reason == "interface gone" then return nil, self.reason end
  return true
end

local function run(sender)
  sender:open()
  if sender.opts.warm_up > 0 then sender:warm_up(sender.opts.warm_up) end
  return sender:send { count = sender.opts.count, duration = sender.opts.duration }
end

-- Sends, to `count` or for `duration`, after the warm-up. Blocks until all has gone.
---@return true|nil
---@return string|nil reason why it ended before: "interface gone", "closed"
function Sender:run()
  return role.run(self, run)
end

-- The sending is over, for Ctrl-C, too: what is pending is sent.
function Sender:finish()
  if self.began then self.finished = self.finished or now() end
  self.endpoints.relay:flush()
end

-- It sends no more. The endpoints stay open.
function Sender:close()
  role.close(self)
end

local DROPS = { "tx_link_down", "tx_refused", "tx_error" }

-- Of all flows, without what was sent to warm up.
---@class etherlua.traffic_sender_summary
---@field opened integer flows whose endpoints are open
---@field sent integer packets
---@field bytes integer of these, as frames with their tags and frame check sequences
---@field unsent integer packets that the relay did not take
---@field slipped integer times of packets that passed unused: this machine was too slow for the rate
---@field sender_drops integer frames that the relay lost later
---@field reason? string why packets were not sent
---@field seconds number from the first packet to the last
---@field pps number
---@field mbps number of whole frames

-- What of a summary adds up with that of other senders, but for seconds, of which the greatest counts.
---@return table
function Sender:totals()
  return { opened = self.opened, sent = self.sent, bytes = self.bytes, unsent = self.unsent, slipped = self.slipped,
    sender_drops = self.endpoints:drops(DROPS),
    seconds = self.began and (self.finished or now()) - self.began or 0 }
end

-- What follows from counts, or sums of these, which become what is returned.
---@param counts table
---@return etherlua.traffic_sender_summary
function M.summary(counts)
  local per_second = counts.seconds > 0 and 1 / counts.seconds or 0
  counts.pps, counts.mbps = counts.sent * per_second, counts.bytes * 8 * per_second / 1e6
  return counts
end

---@return etherlua.traffic_sender_summary
function Sender:summary()
  local values = M.summary(self:totals())
  values.reason = self.reason
  return values
end

-- Packets of a flow so far.
---@param i integer from 0
---@return integer
function Sender:sent_of(i)
  return self.states[i].sent
end

return M
