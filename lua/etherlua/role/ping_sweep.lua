-- role/ping_sweep.lua: one echo request (RFC 792) for each of many IPv4 addresses, at a rate, from a host, and who
-- answered. There is no task for an address and no table: a question is 20 bytes, and its answer is kept there.
--
--   local sweep = ping_sweep.new(host, { targets = ip_range.new "10.0.0.0/16", rate = 10000 })
--   sweep:run()
--   for answer in sweep:answers() do print(answer.ip, answer.rtt) end
--
-- An address on the link is first asked for by ARP, as fast as the rate allows; the echo request follows as soon as the
-- neighbour has answered. All others go to the router that the host has for them.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local arp_fast = require "etherlua.proto.arp_fast"
local group = require "etherlua.net.group"
local histogram = require "etherlua.core.histogram"
local memory = require "etherlua.net.memory"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local pacer = require "etherlua.core.pacer"
local probe = require "etherlua.role.icmp_probe"
local questions = require "etherlua.role.question"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"

local count_sent, mark, take_turn = questions.count_sent, questions.mark, questions.take_turn
local wait_timeout, waited = questions.wait_timeout, questions.waited
local load16, load32, native32, store32 = memory.load16, memory.load32, memory.native32, memory.store32

local M = {}

local ARP = numbers.ethertype.ARP
local IP4 = probe.version_of "0.0.0.0"
local BROADCAST, ARP_OPTS = addr.mac(group.BROADCAST), { ethertype = ARP }
local NAP = 0.001 -- seconds

-- Addresses that one sweep may have: 320 MB.
M.QUESTIONS_MAX = 2 ^ 24

-- What is known of an address: nothing, or that it is the host's own and not asked; its neighbour's MAC address; that
-- it has answered.
local UNKNOWN, OWN, NEIGHBOUR, ANSWERED = 0, 1, 2, 3

-- asked, took: microseconds, of the last echo request, or ARP request, and until the first answer.
local questions_t = ffi.typeof "struct { uint32_t asked, took; uint8_t mac[6], tries, state; }[?]"
local numbers_t = ffi.typeof "uint32_t[?]"

local word = ffi.new "uint8_t[4]"

-- See ping_sweep.new.
---@class etherlua.ping_sweep
local Sweep = {}
Sweep.__index = Sweep

-- ---- what comes back ----------------------------------------------------------------------------------------------

-- A neighbour says that it has an address. The echo request is sent by the task that asks: nobody waits here.
local function hear_neighbour(self, ip, mac)
  local i = self.targets:index(ip)
  local question = i and self.questions[i]
  if not question or question.tries == 0 or question.state ~= UNKNOWN then return end
  ffi.copy(question.mac, mac, 6)
  question.state = NEIGHBOUR
  self.neighbours = self.neighbours + 1
  self.ready[self.ready_count] = i
  self.ready_count = self.ready_count + 1
end

local function hear_reply(self, frame)
  local i = self.targets:index(load32(frame.data + frame.l3, 12))
  local question = i and self.questions[i]
  if not question or question.tries == 0 or load16(frame.data + frame.l4, 6) ~= i % 0x10000 then
    self.ignored = self.ignored + 1
  elseif question.state == ANSWERED then
    self.repeated = self.repeated + 1
  else
    local rtt = waited(self, question, frame.timestamp)
    question.state, question.took = ANSWERED, rtt * 1e6
    self.answered = self.answered + 1
    self.times:record(rtt)
  end
end

-- ---- asking -------------------------------------------------------------------------------------------------------

-- The functions that send return why it is of no use to go on, if so.

local function send_echo(self, i, mac)
  local question, request = self.questions[i], self.request
  request:set_destination(self.targets:at(i))
  request:set_sequence(i % 0x10000)
  mark(self, question)
  return count_sent(self, self.host.conn:send(request.data, request.len, mac))
end

-- To the neighbours that have answered meanwhile.
local function send_ready(self)
  local at, reason = 0, nil
  while at < self.ready_count and not reason do
    local i = self.ready[at]
    reason = send_echo(self, i, memory.mac_at(self.questions[i].mac))
    at = at + 1
  end
  self.ready_count = 0
  return reason
end

local function send_arp(self, question, ip)
  local conn = self.host.conn
  self.template:ask(conn.mac.byte, ip)
  mark(self, question)
  self.arp = self.arp + 1
  return count_sent(self, conn:send(self.template.data, self.template.size, BROADCAST, ARP_OPTS))
end

-- Its MAC address; false: it does not answer. That takes a while, so it is asked for once a pass.
local function router(self, ip, hop)
  local mac = self.routers[hop]
  if mac == nil then
    mac = self.host:next_hop(addr.addr(addr.with_port(addr.ip4_text(ip))))
    mac = mac and addr.mac(tostring(mac)) or false
    self.routers[hop] = mac
  end
  return mac
end

local function send_routed(self, i, ip, hop)
  local mac = hop and router(self, ip, hop)
  if mac then return send_echo(self, i, mac) end
  self.unsent, self.reason = self.unsent + 1, hop and "the router does not answer" or "no route"
end

local function ask(self, i, question)
  local ip, routes = self.targets:at(i), self.host.routes
  if not routes then return "the host has no IPv4 address any more" end
  store32(word, 0, ip)
  local key = native32(word, 0)
  local hop = routes:hop(key)
  question.tries = question.tries + 1
  if hop ~= key then return send_routed(self, i, ip, hop) end
  if question.state == UNKNOWN then return send_arp(self, question, ip) end
  return send_echo(self, i, memory.mac_at(question.mac))
end

local function is_open(question)
  return question.state == UNKNOWN or question.state == NEIGHBOUR
end

-- Asks everybody who has not answered.
local function ask_all(self, pace)
  self.routers = {}
  for i = 0, self.count - 1 do
    local question = self.questions[i]
    if is_open(question) then
      if question.tries > 0 then wait_timeout(self, question) end
      pace:wait()
      take_turn(self)
      local reason = send_ready(self) or is_open(question) and ask(self, i, question)
      if reason then return reason end
    end
  end
end

local function is_done(self)
  return self.answered + self.own == self.count
end

-- Until the last answer may have come.
local function linger(self)
  local deadline = sched.now() + self.timeout
  while sched.now() < deadline and not is_done(self) do
    if self.ready_count > 0 then deadline = sched.now() + self.timeout end
    local reason = send_ready(self)
    if reason then return reason end
    sched.sleep(NAP)
  end
end

-- Those that the host has itself are left out.
local function leave_out_own(self)
  local i = self.targets:index(addr.ip4_number(self.host.ip))
  if i and self.questions[i].state ~= OWN then
    self.questions[i].state, self.own = OWN, 1
  end
end

local function run(self)
  local pace = pacer.new { rate = self.rate }
  self.began = sched.now()
  leave_out_own(self)
  for pass = 1, self.tries do
    if is_done(self) then break end
    self.pass = pass
    local reason = ask_all(self, pace) or linger(self)
    if reason then return nil, reason end
  end
  return true
end

-- Asks, again where nobody answers, and waits for the last answers. Blocks until that is done.
---@return true|nil
---@return string|nil reason why it could not go on, such as "interface gone"
function Sweep:run()
  return role.run(self, run)
end

-- ---- what came of it ----------------------------------------------------------------------------------------------

-- The first question from the i-th on that is in this state. No loop (JIT 1).
local function next_in(self, i, answered)
  if i >= self.count then return i end
  local state = self.questions[i].state
  if state ~= OWN and (state == ANSWERED) == answered then return i end
  return next_in(self, i + 1, answered)
end

-- The addresses that have answered, in order, for a `for` loop; rtt: seconds.
---@return fun(): { ip: string, rtt: number }|nil
function Sweep:answers()
  local i = -1
  return function()
    i = next_in(self, i + 1, true)
    if i >= self.count then return nil end
    return { ip = addr.ip4_text(self.targets:at(i)), rtt = self.questions[i].took / 1e6 }
  end
end

-- The others; neighbour: whether a neighbour said that it has the address.
---@return fun(): { ip: string, neighbour: boolean }|nil
function Sweep:silent()
  local i = -1
  return function()
    i = next_in(self, i + 1, false)
    if i >= self.count then return nil end
    return { ip = addr.ip4_text(self.targets:at(i)), neighbour = self.questions[i].state == NEIGHBOUR }
  end
end

---@class etherlua.ping_sweep_summary
---@field questions integer addresses, without the host's own
---@field sent integer frames
---@field arp integer of these, and of the unsent ones, ARP requests
---@field unsent integer for the reason that is in `reason`
---@field reason? string
---@field pass integer 1 and up: how often each address was asked so far, the present time included
---@field neighbours integer addresses on the link that somebody has
---@field answered integer addresses
---@field repeated integer echo replies that came again
---@field ignored integer echo replies that answer nothing
---@field times etherlua.summary round trips of echoes

---@return etherlua.ping_sweep_summary
function Sweep:summary()
  return { questions = self.count - self.own, sent = self.sent, arp = self.arp, unsent = self.unsent,
    reason = self.reason, pass = self.pass, neighbours = self.neighbours, answered = self.answered,
    repeated = self.repeated, ignored = self.ignored, times = self.times:summary() }
end

-- ---- opening ------------------------------------------------------------------------------------------------------

-- The defaults are in brackets.
---@class etherlua.ping_sweep_opts
---@field targets etherlua.ip_range who is asked
---@field rate? number addresses a second (1000)
---@field tries? integer how often somebody who does not answer is asked, 1 to 255 (2)
---@field timeout? number seconds that an answer may take (0.5)
---@field size? integer octets of data (56)

local OPTIONS = options.new("a ping sweep", {
  targets = options.of_type("what ip_range.new returns is needed", "table"):needed(),
  rate = options.number(1e-6, 1e9, 1000), tries = options.whole(1, 255, 2), timeout = options.seconds(0.5),
  size = options.whole(0, 65507, 56),
})

local function check_size(host, opts)
  if opts.targets.count > M.QUESTIONS_MAX then
    misuse.raise("%.0f addresses are too many: up to %d are possible", opts.targets.count, M.QUESTIONS_MAX)
  end
  local room = probe.room(IP4, host.conn)
  if opts.size > room then misuse.raise("%d octets of data do not fit the MTU: up to %d do", opts.size, room) end
end

-- A sweep. The host needs an IPv4 address.
---@param host etherlua.host
---@param given etherlua.ping_sweep_opts
---@return etherlua.ping_sweep close it in the end
function M.new(host, given)
  role.check("a ping sweep", host, "host")
  local opts = OPTIONS:read(given)
  check_size(host, opts)
  local ip = host:source("0.0.0.0") or misuse.raise("the host has no IPv4 address")
  local count = opts.targets.count
  local self = setmetatable({ host = host, targets = opts.targets, count = count, rate = opts.rate, tries = opts.tries,
    timeout = opts.timeout, questions = questions_t(count), ready = numbers_t(count), ready_count = 0,
    template = arp_fast.template { spa = ip }, began = sched.now(), own = 0, pass = 0, sent = 0, turned = 0, arp = 0,
    unsent = 0, neighbours = 0, answered = 0, repeated = 0, ignored = 0, times = histogram.new() }, Sweep)
  local identifier
  identifier, self.stop_replies = host:watch_echo(nil, function(frame) hear_reply(self, frame) end)
  self.stop_neighbours = segment.of(host.conn):watch_arp(function(number, mac) hear_neighbour(self, number, mac) end)
  self.request = probe.request(IP4, { src = ip, dst = ip, ttl = host.hop_limit }, identifier,
    probe.data(opts.size))
  return self
end

-- It hears no more.
function Sweep:close()
  if not role.close(self) then return end
  self.stop_replies()
  self.stop_neighbours()
end

return M
