-- role/ping.lua: echo requests from a host and what comes back (RFC 792, RFC 4443): replies with their round-trip
-- times, duplicates, and errors of those on the way. Any number of requests may be under way. With quiet = true it
-- only counts, and makes no garbage however many packets there are.
--
--   local asker = ping.new(host, { target = "10.0.0.1", count = 3 })
--   asker:run(function(pong) print(pong.sequence, pong.rtt or pong.error) end)
--
-- Who keeps a schedule of his own calls asker:send(sequence) and asker:recv(timeout) instead of run().

local addr = require "etherlua.net.addr"
local histogram = require "etherlua.core.histogram"
local icmp = require "etherlua.proto.icmp"
local memory = require "etherlua.net.memory"
local options = require "etherlua.core.options"
local probe = require "etherlua.role.icmp_probe"
local role = require "etherlua.role.role"
local schedule = require "etherlua.role.ping_schedule"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"
local select = require "etherlua.core.select"
local waiters = require "etherlua.core.waiters"


local M = {}

local WAITING_MAX = 4096 -- replies that nobody has asked for yet
local ANSWERED = -1      -- in place of the time at which a request was sent

-- What came back; of what run() could not send, or has no answer in time, it has only sequence and error.
---@class etherlua.pong
---@field sequence integer
---@field rtt? number seconds; nil when the request had its answer already
---@field from? string IP address of who answered
---@field ttl? integer or hop limit with which it arrived
---@field size? integer octets of the ICMP message
---@field duplicate? boolean there was a reply already
---@field error? string what went wrong, such as "destination unreachable (host)"; of a reply, which has damaged = true,
---  what is wrong with its data, such as "wrong data byte #16 should be 0x10 but was 0xef"
---@field damaged? boolean a reply without the data that was sent
---@field notice? string what somebody on the way has to say, such as "redirect (host) to 10.0.0.2": a reply may follow

-- The defaults are in brackets.
---@class etherlua.ping_opts
---@field target string IP address to ask
---@field count? integer requests that run() sends (no limit)
---@field interval? number seconds from one request to the next (1)
---@field timeout? number seconds for an answer (1)
---@field rate? number requests a second instead of the interval, and quiet
---@field flood? boolean a request as soon as the one before is answered, or after 10 ms, and quiet (false)
---@field size? integer octets of data (56)
---@field ttl? integer or hop limit (the host's)
---@field tos? integer or traffic class (0)
---@field df? boolean do not fragment; IPv4 (false)
---@field identifier? integer (a random one)
---@field quiet? boolean only count: recv has nothing (false)
---@field times? etherlua.histogram that gets the round-trip times (of run() its own)

-- See ping.new.
---@class etherlua.ping
local Ping = {}
Ping.__index = Ping

-- ---- what comes back ----------------------------------------------------------------------------------------------

local function wake_waiters(self)
  self.fresh = true
  self.waiters:wake()
end

local function put(self, pong)
  if #self.pongs >= WAITING_MAX then table.remove(self.pongs, 1) end
  table.insert(self.pongs, pong)
end

-- A function of its own: only those that somebody reads are made.
local function pong_of(self, frame, sequence, rtt)
  return { sequence = sequence, rtt = rtt, from = frame.src_ip, ttl = probe.ttl(self.version, frame),
    size = frame.l3 + frame.l3_len - frame.l4 }
end

local function count_reply(self, rtt)
  self.received, self.squares = self.received + 1, self.squares + rtt * rtt
  if self.times then self.times:record(rtt) end
end

local function hear_reply(self, frame)
  if not probe.is_from(self.version, frame, self.key) then return end
  local message = frame.data + frame.l4
  local sequence = memory.load16(message, 6)
  local sent_at = self.sent_at[sequence]
  if not sent_at then return end
  local rtt = sent_at ~= ANSWERED and math.max(frame.timestamp - sent_at, 0) or nil
  if rtt then count_reply(self, rtt) else self.duplicates = self.duplicates + 1 end
  self.sent_at[sequence] = ANSWERED
  local damage = probe.damage(frame, self.data)
  if damage then self.corrupted = self.corrupted + 1 end
  if not self.quiet then
    local pong = pong_of(self, frame, sequence, rtt)
    pong.duplicate, pong.error, pong.damaged = not rtt or nil, damage, damage and true
    put(self, pong)
  end
  wake_waiters(self)
end

local function is_notice(self, message)
  return self.version.number == 4 and (message.type == icmp.SOURCE_QUENCH or message.type == icmp.REDIRECT)
end

local function settle_by_error(self, sequence)
  self.errors, self.sent_at[sequence] = self.errors + 1, ANSWERED
  wake_waiters(self)
end

local function hear_error(self, message, frame)
  local packet = self.source and probe.quoted(self.version, message, self.source, self.to)
  if not packet then return end
  local identifier, sequence = probe.echo_of(self.version, packet)
  local sent_at = identifier == self.identifier and self.sent_at[sequence]
  if not sent_at then return end
  local is_error = not is_notice(self, message)
  if not self.quiet then
    local pong = pong_of(self, frame, sequence, sent_at ~= ANSWERED and math.max(frame.timestamp - sent_at, 0) or nil)
    pong[is_error and "error" or "notice"] = probe.words(self.version, message)
    put(self, pong)
  end
  if is_error then settle_by_error(self, sequence) else wake_waiters(self) end
end

-- ---- asking -------------------------------------------------------------------------------------------------------

local OPTIONS = options.new("a ping", {
  target = options.text():needed(), count = options.number(1, math.huge, math.huge), interval = options.seconds(1),
  timeout = options.seconds(1), rate = options.number(1e-6, 1e9), flood = options.boolean(false),
  size = options.whole(0, 65507, 56), ttl = options.whole(1, 255), tos = options.whole(0, 255),
  df = options.boolean(), identifier = options.whole(0, 65535), quiet = options.boolean(false), times = options.any(),
})

local function set_schedule(self, opts)
  self.count, self.interval, self.timeout, self.rate, self.flood = opts.count, opts.interval, opts.timeout, opts.rate,
    opts.flood
  self.tried, self.unsent = 0, {} -- requests; of those that could not be sent how many, by reason
end

-- Echo requests to one address.
---@param host etherlua.host
---@param given string|etherlua.ping_opts the options, or the address before them
---@param more? etherlua.ping_opts
---@return etherlua.ping close it in the end
function M.new(host, given, more)
  role.check("a ping", host, "host")
  local opts = OPTIONS:read(role.with_target(given, more))
  local version = probe.version_of(opts.target)
  local to = addr.ip_text(addr.ip_bytes(opts.target)) -- as those who answer write it
  local self = setmetatable({ host = host, to = to, version = version, key = segment.key(to), times = opts.times,
    quiet = opts.quiet or opts.flood or opts.rate ~= nil, sent = 0, received = 0, duplicates = 0, corrupted = 0,
    errors = 0, squares = 0, sent_at = {}, pongs = {}, waiters = waiters.new(), fresh = false,
    data = probe.data(opts.size) }, Ping)
  set_schedule(self, opts)
  self.target = addr.addr(addr.with_port(to))
  self.ttl, self.fields = opts.ttl, { dst = to, tos = opts.tos, df = opts.df }
  self.identifier, self.stop_replies = host:watch_echo(opts.identifier, function(frame) hear_reply(self, frame) end)
  self.stop_errors = host:watch_icmp(function(message, frame) hear_error(self, message, frame) end)
  return self
end

-- Whether the address that was sent from last is still one to send from.
local function keeps_source(host, source)
  if not source then return false end
  local address = host.addresses[source]
  return source == host.ip or address ~= nil and address.state == "preferred"
end

-- The request is built anew when the host has another address.
local function renew(self)
  local host, fields = self.host, self.fields
  local source, reason = host:source(self.to)
  if not source then return nil, reason end
  self.source, fields.src = source, source
  fields.ttl = self.ttl or host.hop_limit
  self.request = probe.request(self.version, fields, self.identifier, self.data)
  return true
end

-- Sends one request. Blocks while the next hop is asked for.
---@param sequence integer of it the lowest 16 bits; one that is used again forgets the request before
---@return true|nil
---@return string|nil reason
function Ping:send(sequence)
  sequence = sequence % 0x10000
  if not keeps_source(self.host, self.source) then
    local ok, reason = renew(self)
    if not ok then return nil, reason end
  end
  local mac, reason = self.host:next_hop(self.target) -- first, so that it does not count as the round trip
  if not mac then return nil, reason end
  local request = self.request
  request:set_sequence(sequence)
  self.sent_at[sequence] = sched.now()
  local ok
  ok, reason = self.host.conn:send(request.data, request.len, mac)
  if not ok then
    self.sent_at[sequence] = nil
    return nil, reason
  end
  self.sent = self.sent + 1
  return true
end

-- Octets of a request with its headers.
---@return integer
function Ping:packet_size()
  return #self.data + probe.overhead(self.version)
end

-- Octets of data that fit one frame.
---@return integer
function Ping:room()
  return probe.room(self.version, self.host.conn)
end

-- ---- waiting ------------------------------------------------------------------------------------------------------

-- For ether.select: something came that nobody has looked at.
---@private
function Ping:ready() return self.fresh end

---@private
function Ping:watch(task) self.waiters:add(task) end

---@private
function Ping:unwatch(task) self.waiters:remove(task) end

-- What came back next, in the order in which it came.
---@param timeout? number seconds
---@return etherlua.pong|nil
---@return string|nil reason "timeout", "closed"
function Ping:recv(timeout)
  if self.closed then return nil, "closed" end
  if #self.pongs == 0 then
    self.fresh = false
    select.wait { self, timeout = timeout }
  end
  local pong = table.remove(self.pongs, 1)
  self.fresh = #self.pongs > 0
  if pong then return pong end
  return nil, self.closed and "closed" or "timeout"
end

-- Waits until the request has its answer, a reply or an error.
---@param sequence integer
---@param timeout number seconds
---@return boolean answered
function Ping:wait(sequence, timeout)
  local sources, deadline = self.sources or { self }, sched.now() + timeout
  self.sources = sources -- for ever the same: a flood makes no garbage
  sequence = sequence % 0x10000
  while self.sent_at[sequence] ~= ANSWERED do
    local left = deadline - sched.now()
    if left <= 0 or self.closed then return false end
    self.fresh, sources.timeout = false, left
    select.wait(sources)
  end
  return true
end

-- Waits until every request has its answer. For quiet ones: recv has to see what comes.
---@param timeout number seconds
---@return boolean answered
function Ping:drain(timeout)
  local deadline = sched.now() + timeout
  while self.received + self.errors < self.sent do
    local left = deadline - sched.now()
    if left <= 0 or self.closed then return false end
    self.fresh = false
    select.wait { self, timeout = left }
  end
  return true
end

-- ---- the run ------------------------------------------------------------------------------------------------------

-- Sends `count` requests and waits for the answers. Blocks until that is done.
---@param tell? fun(pong: etherlua.pong) called with each answer, and for each that did not come; not with quiet
---@return true|nil
---@return string|nil reason "closed"
function Ping:run(tell)
  self.times = self.times or histogram.new()
  return role.run(self, schedule.run, tell)
end

-- The mean deviation that ping calls mdev: the standard deviation of the round-trip times.
local function deviation(self, mean)
  return mean and math.sqrt(math.max(self.squares / self.received - mean * mean, 0))
end

-- Counts are of packets.
---@class etherlua.ping_summary
---@field target string
---@field source? string address that was sent from last
---@field transmitted integer that run() tried to send
---@field sent integer
---@field received integer first replies
---@field duplicates integer further replies
---@field corrupted integer replies, of both, without the data that was sent
---@field errors integer
---@field unsent integer
---@field reasons table<string, integer> of these, by reason
---@field loss_percent number
---@field seconds number from the first to the last that run() sent
---@field rtt etherlua.summary with mdev

---@return etherlua.ping_summary
function Ping:summary()
  local unsent, reasons, rtt = 0, {}, self.times and self.times:summary() or { count = 0 }
  for reason, number in pairs(self.unsent) do
    unsent, reasons[reason] = unsent + number, number
  end
  rtt.mdev = deviation(self, rtt.mean)
  local tried = math.max(self.tried, self.sent)
  return { target = self.to, source = self.source, transmitted = tried, sent = self.sent, received = self.received,
    duplicates = self.duplicates, corrupted = self.corrupted, errors = self.errors, unsent = unsent, reasons = reasons,
    loss_percent = tried > 0 and (tried - self.received) * 100 / tried or 0,
    seconds = self.first_at and self.last_at - self.first_at or 0, rtt = rtt }
end

-- It hears no more.
function Ping:close()
  if not role.close(self) then return end
  wake_waiters(self)
  self.stop_replies()
  self.stop_errors()
end

-- ---- once ---------------------------------------------------------------------------------------------------------

local function ask(self, timeout)
  local sent, why = self:send(0)
  if not sent then return nil, why end
  local deadline = sched.now() + timeout
  local pong, reason = self:recv(timeout)
  while pong and pong.notice do pong, reason = self:recv(deadline - sched.now()) end
  if not pong then return nil, reason end
  if pong.error then
    return nil, ("%s %s %s"):format(pong.from, pong.damaged and "answered with" or "says", pong.error)
  end
  return pong.rtt, pong
end

-- See host:ping.
---@param host etherlua.host
---@param to string
---@param opts? etherlua.ping_opts
---@return number|nil seconds
---@return etherlua.pong|string
function M.once(host, to, opts)
  local self = M.new(host, to, opts)
  local ok, rtt, pong = pcall(ask, self, self.timeout)
  self:close()
  if not ok then error(rtt, 0) end
  return rtt, pong
end

return M
