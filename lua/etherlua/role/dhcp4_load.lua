-- role/dhcp4_load.lua: very many DHCPv4 clients (RFC 2131) that lease an address each, as fast as a window of sessions
-- in progress lets them, or at a rate. Each client has an EtherConn and a RUDPConn of its own, made before the first
-- session starts; a task leads its session, and then that of the next one that has none yet, so that there are no more
-- tasks than sessions in progress. A client here keeps no lease alive and checks no address: that is
-- role/dhcp4_client.lua.
--
--   local load = dhcp4_load.new(relay, { count = 1000 })
--   load:run()
--   print(load:summary().bound, load:summary().dora.p99)
--   load:release()
--
-- No allocation, string or closure a packet (JIT 3, JIT 5); what shall be compiled stands apart from waiting (JIT 4).

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local broadcast = require "etherlua.host.broadcast"
local dhcp4_fast = require "etherlua.proto.dhcp4_fast"
local effi = require "etherlua.core.ffi"
local group = require "etherlua.net.group"
local histogram = require "etherlua.core.histogram"
local load_release = require "etherlua.role.dhcp4.load_release"
local load_summary = require "etherlua.role.dhcp4.load_summary"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local pacer = require "etherlua.core.pacer"
local random = require "etherlua.net.random"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local tally = require "etherlua.core.tally"
local vlan_stack = require "etherlua.net.vlan_stack"

local C = effi.C
assert(C.el_recv and C.el_frame_free) -- JIT 7
local tobit, bswap = bit.tobit, bit.bswap
local native32, store_native32, same_mac = memory.native32, memory.store_native32, memory.same_mac
local OFFER, ACK, NAK = dhcp4_fast.OFFER, dhcp4_fast.ACK, dhcp4_fast.NAK

local M = {}

local LOCAL, SERVERS = addr.addr("0.0.0.0:68"), addr.addr(group.BROADCAST4 .. ":67")
local PARAMETERS = { 1, 3, 6, 51, 54 }
local IPV4 = { numbers.ethertype.IPV4 }
local UNTAGGED = vlan_stack.new()

-- began, asked, deadline: times of the session's start, of the present message's first transmission, and of its next.
-- tries: its transmissions. naks: refusals so far. awaited: the kind of reply that the client waits for, 0: none.
-- arrived: the kind of one that was broadcast. ip, server_id, server_mac: those of the offer, then of the lease.
local clients_t = ffi.typeof [[struct {
  double began, asked, deadline;
  int32_t xid, ip, server_id;
  struct el_mac mac, server_mac;
  uint8_t awaited, arrived, tries, naks, bound;
}[?] ]]

-- See dhcp4_load.new.
---@class etherlua.dhcp4_load
local Load = {}
Load.__index = Load

-- What was read last. Nobody yields while it is looked at.
local reply = dhcp4_fast.reply()

-- ---- one message --------------------------------------------------------------------------------------------------

-- Whether what was read comes from the server that the client asks; a NAK that does not say so is told by its source.
local function is_of_server(client, frame)
  if reply.server_id ~= 0 then return reply.server_id == client.server_id end
  return reply.kind == ACK or same_mac(frame.data + 6, client.server_mac.byte)
end

-- Whether what was read is for this client and what it waits for, if for anything: an offer that says of whom, with an
-- address that a host can have; then what the server of that offer says of that address.
local function is_wanted(client, frame)
  local kind, awaited = reply.kind, client.awaited
  if awaited == 0 or reply.op ~= 2 or reply.xid ~= client.xid then return false end
  if not same_mac(reply.chaddr, client.mac.byte) then return false end
  if kind == NAK then return awaited == ACK and is_of_server(client, frame) end
  if kind ~= awaited or not group.is_host4(reply.yiaddr) then return false end
  if kind == OFFER then return reply.server_id ~= 0 end
  return reply.yiaddr == client.ip and is_of_server(client, frame)
end

-- Takes over what the reply that was read says, if the client wants it.
---@return boolean
local function accept(client, frame)
  if not is_wanted(client, frame) then return false end
  client.awaited = 0
  if reply.kind == NAK then return true end
  client.ip = reply.yiaddr
  if reply.server_id ~= 0 then client.server_id = reply.server_id end
  ffi.copy(client.server_mac, frame.data + 6, 6)
  return true
end

local function read(load, frame)
  local message, len = frame.data + frame.payload, frame.payload_len
  if dhcp4_fast.parse(message, len, reply) then return true end
  load.misread:note(dhcp4_fast.fault(message, len))
  return false
end

-- The kind of the next reply that the client wants, 0 when there is none yet. No loop (JIT 1).
local function take(load, client, ep)
  local frame = C.el_recv(ep)
  if frame == nil then
    local kind = client.arrived
    client.arrived = 0
    return kind
  end
  local wanted = read(load, frame) and accept(client, frame)
  C.el_frame_free(frame)
  if wanted then return reply.kind end
  load.ignored = load.ignored + 1
  return take(load, client, ep)
end

local function fail(load, reason)
  load.failed = load.failed + 1
  load.failures[reason] = (load.failures[reason] or 0) + 1
end

-- Sends what the client is at, for the first time or again. Returns when to try again; nil if it cannot be sent. A link
-- that is down loses a message like any other: there is time to try again.
local function transmit(load, client, udp, now)
  local template = load.discover
  if client.awaited == ACK then
    template = load.request
    template:request(client.ip, client.server_id)
  end
  template:address(client.xid, client.mac, now - client.began)
  local sent, reason = udp:send(template.data, template.size, SERVERS)
  if not sent and reason ~= "link down" then return fail(load, reason) end
  client.deadline = now + load.timeout * 2 ^ client.tries -- RFC 2131 4.1: twice as long each time
  client.tries = client.tries + 1
  return client.deadline
end

-- No reply came in time.
local function retransmit(load, client, udp, now)
  if client.tries >= load.tries then return fail(load, client.awaited == OFFER and "no offer" or "no ack") end
  load.retransmissions = load.retransmissions + 1
  return transmit(load, client, udp, now)
end

-- ---- replies to everybody -----------------------------------------------------------------------------------------

-- The client's number is told by the hardware address.
local function hear(load, frame)
  local i = read(load, frame) and tobit(bswap(native32(reply.chaddr, 2)) - load.first_mac) or -1
  if i < 0 or i >= load.count or not accept(load.states[i], frame) then
    load.ignored = load.ignored + 1
    return
  end
  load.states[i].arrived = reply.kind
  sched.wake(load.tasks[i])
end

-- One reader a VLAN stack, for all clients there.
local function listeners(load)
  return broadcast.readers(numbers.ethertype.IPV4, function(conn)
    return { udp = conn:udp(LOCAL) }
  end, function(listener)
    for frame in listener.udp:frames() do hear(load, frame) end
  end, function(...) return role.help(load, ...) end)
end

-- ---- one client ---------------------------------------------------------------------------------------------------

-- A message that was not sent before. Returns as transmit().
local function ask(load, client, udp, awaited, now)
  client.awaited, client.asked, client.tries = awaited, now, 0
  return transmit(load, client, udp, now)
end

local function request(load, client, udp, now)
  load.offer:record(now - client.asked)
  return ask(load, client, udp, ACK, now)
end

local function bind(load, client, now)
  load.ack:record(now - client.asked)
  load.dora:record(now - client.began)
  load.finished, client.bound = now, 1
  load.bound = load.bound + 1
end

-- After a NAK a client begins anew (RFC 2131 3.1.5), some time later: a server that does not reserve what it offers,
-- such as dnsmasq, offers the same to many that ask at once, refuses all but one, and would do so again.
local function refused(load, client, now)
  load.naks = load.naks + 1
  client.naks = client.naks + 1
  if client.naks >= load.tries then return fail(load, "nak") end
  client.xid = tobit(client.xid + load.count)
  client.deadline = now + random.between(0, load.timeout)
  return client.deadline
end

-- What a client does when it wakes up: takes its reply, or finds that none came. Returns until when it waits then, nil
-- when its session is over. Apart from waiting (JIT 4).
local function step(load, client, udp)
  local kind, now = take(load, client, udp.ep), sched.now()
  if kind == OFFER then return request(load, client, udp, now) end
  if kind == ACK then return bind(load, client, now) end
  if kind == NAK then return refused(load, client, now) end
  if now < client.deadline then return client.deadline end
  if client.awaited == 0 then return ask(load, client, udp, OFFER, now) end
  return retransmit(load, client, udp, now)
end

local function lead_session(load, i)
  local client, udp = load.states[i], load.udps[i]
  load.tasks[i], client.began = sched.current(), sched.now()
  local deadline = ask(load, client, udp, OFFER, client.began)
  while deadline do
    local reason = sched.wait_frame(udp, deadline)
    if reason then deadline = fail(load, reason) else deadline = step(load, client, udp) end
  end
  client.awaited = 0
  load.tasks[i] = false
end

-- The body of a task: one session after another, while there are any that may begin.
local function lead(load)
  while load.started < load.allowed do
    load.started = load.started + 1
    lead_session(load, load.started - 1)
  end
  load.leaders = load.leaders - 1
  sched.wake(load.starter)
end

-- ---- all of them --------------------------------------------------------------------------------------------------

local function set_mac(mac, first, i)
  ffi.copy(mac, first, 6)
  store_native32(mac.byte, 2, bswap(tobit(bswap(native32(mac.byte, 2)) + i)))
end

-- opts: of an EtherConn, set for each client.
local function open_client(load, i, listener_of, opts)
  local relay, client, vlans = load.relay, load.states[i], load.vlans(i)
  set_mac(client.mac, load.mac, i)
  client.xid = tobit(load.xid + i)
  opts.mac, opts.vlans = client.mac, vlans
  local conn = relay:conn(opts)
  if not load.heard[vlans] then load.heard[vlans] = listener_of(relay, vlans) end
  load.udps[i], load.tasks[i] = conn:udp(LOCAL), false
end

local function templates(load)
  load.discover = dhcp4_fast.template { options = { message_type = "DISCOVER", parameter_request_list = PARAMETERS } }
  load.request = dhcp4_fast.template { options = { message_type = "REQUEST", requested_address = "0.0.0.0",
    server_id = "0.0.0.0", parameter_request_list = PARAMETERS } }
end

-- The defaults are in brackets.
---@class etherlua.dhcp4_load_opts
---@field count integer clients
---@field mac string of the first; the others count up in the last four octets
---@field vlans? function from a client's number, from 0, to its VLAN stack (untagged)
---@field window? integer sessions in progress at once (128)
---@field rate? number new sessions a second (as the window allows)
---@field timeout? number seconds before the first retransmission of a message, doubled each time (1)
---@field tries? integer transmissions of each message, and beginnings of one that gets NAKs (5)

local OPTIONS = options.new("a load of DHCP clients", {
  count = options.whole(1):needed(), clients = options.alias "count", mac = options.any():needed(),
  vlans = options.of_type("a function is needed", "function"), window = options.whole(1, nil, 128),
  rate = options.number(1e-6, 1e9), timeout = options.seconds(1), tries = options.whole(1, 255, 5),
})

-- Many clients at once; nothing is opened yet.
---@param relay etherlua.relay
---@param given etherlua.dhcp4_load_opts
---@return etherlua.dhcp4_load
function M.new(relay, given)
  role.check("a load of DHCP clients", relay, "relay")
  local opts = OPTIONS:read(given)
  local load = setmetatable({ relay = relay, count = opts.count, window = opts.window, rate = opts.rate,
    timeout = opts.timeout, tries = opts.tries, vlans = opts.vlans or function() return UNTAGGED end,
    mac = addr.mac(opts.mac), xid = random.u32(), heard = {}, states = clients_t(opts.count), udps = {}, tasks = {},
    opened = 0, allowed = 0, started = 0, leaders = 0, bound = 0, failed = 0, failures = {}, retransmissions = 0,
    naks = 0, ignored = 0, misread = tally.new(), released = 0, dora = histogram.new(), offer = histogram.new(),
    ack = histogram.new() }, Load)
  load.first_mac = bswap(native32(load.mac.byte, 2))
  templates(load)
  return load
end

-- Opens the clients' endpoints on the relay; nothing is sent yet. Gives way now and then: Ctrl-C is noticed.
function Load:open()
  if self.opened > 0 or self.closed then return end
  local listener_of, opts = listeners(self), { ethertypes = IPV4, reassemble = true }
  for i = 0, self.count - 1 do
    if i % 100 == 0 then sched.sleep(0) end
    open_client(self, i, listener_of, opts)
    self.opened = i + 1
  end
end

-- So many more sessions may begin: each has a task, or that of one that ends.
local function allow(load, count)
  load.allowed = load.allowed + count
  for _ = 1, math.min(count, load.window - load.leaders) do
    load.leaders = load.leaders + 1
    role.help(load, lead, load)
  end
end

local function allow_paced(load)
  local pace = pacer.new { rate = load.rate }
  for _ = 1, load.count do
    pace:wait()
    allow(load, 1)
  end
end

local function run(load)
  load:open()
  load.starter, load.began = sched.current(), sched.now()
  if load.rate then allow_paced(load) else allow(load, load.count) end
  while load.leaders > 0 do sched.park(load.starter) end
  return true
end

-- Runs all sessions. Blocks until each has succeeded or failed.
---@return true|nil
---@return string|nil reason "closed"
function Load:run()
  return role.run(self, run)
end

local function seconds_of(load)
  return load.finished and load.finished - load.began or 0
end

-- Gives all addresses back (RFC 2131 4.4.6). Nothing answers a RELEASE, so there is no window to keep: they go evenly
-- spread, at the rate at which the sessions went, which is more work for a server. Blocks that long.
---@return integer released
function Load:release()
  if self.bound > 0 then load_release.run(self, self.rate or self.bound / seconds_of(self)) end
  return self.released
end

---@class etherlua.dhcp4_load_summary
---@field clients integer
---@field opened integer whose endpoints are open
---@field bound integer
---@field failed integer
---@field unfinished integer
---@field failures table<string, integer> by reason
---@field seconds number from the first DISCOVER to the last ACK; 0 when there was none
---@field rate number bound a second
---@field retransmissions integer
---@field naks integer
---@field ignored integer replies that nobody wants
---@field misread table<string, integer> those that were not understood, by the reason
---@field released integer
---@field dora etherlua.summary times of whole sessions
---@field offer etherlua.summary times to an OFFER
---@field ack etherlua.summary times to an ACK

local COUNTED = { "opened", "bound", "failed", "retransmissions", "naks", "ignored", "released", "dora", "offer",
  "ack" }

-- What this load has counted so far, for role/dhcp4/load_summary.lua: with that of other loads it adds up.
---@return table counts as of a summary, but histograms for dora, offer and ack
function Load:totals()
  local counts, failures = { clients = self.count, seconds = seconds_of(self), misread = self.misread:summary() }, {}
  for reason, count in pairs(self.failures) do failures[reason] = count end
  for _, name in ipairs(COUNTED) do counts[name] = self[name] end
  counts.failures = failures
  return counts
end

---@return etherlua.dhcp4_load_summary
function Load:summary()
  return load_summary.of(self:totals())
end

-- Closes the endpoints; nothing is released.
function Load:close()
  if not role.close(self) then return end
  for i = 0, self.opened - 1 do
    if self.tasks[i] then self.tasks[i]:cancel() end
    if self.udps[i]:is_open() then self.udps[i]:conn():close() end
  end
  for _, listener in pairs(self.heard) do listener.conn:close() end
end

return M
