-- role/dhcp4_client.lua: a DHCP client (RFC 2131) on an EtherConn: leases an address, keeps it, gives it back. Nothing
-- in here prints or parses options of a command line.
--
--   local lease, reason = dhcp4_client.lease(conn, { probe = "quick" })
--   lease:hold()       -- renews and rebinds until the lease is lost or the task cancelled
--   lease:close()      -- DHCPRELEASE
--
-- Replies to the client's own MAC address arrive at its own RUDPConn; those that a server broadcasts are read once for
-- all clients of a relay and VLAN stack, and handed to the one whose hardware address they carry.

local addr = require "etherlua.net.addr"
local broadcast = require "etherlua.host.broadcast"
local channel = require "etherlua.core.channel"
local dhcp4 = require "etherlua.proto.dhcp4"
local group = require "etherlua.net.group"
local neighbour = require "etherlua.host.neighbour"
local numbers = require "etherlua.net.numbers"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"

local M = {}

local SERVERS = addr.addr(group.BROADCAST4 .. ":67")
local ANY = "0.0.0.0"
local PARAMETERS = { 1, 3, 6, 12, 15, 28, 42, 51, 58, 59 }

-- RFC 2131 4.1: the first retransmission after 4 s, then twice as long each time up to 64 s, each +- 1 s at random.
local FIRST_TIMEOUT, MAX_TIMEOUT, JITTER = 4, 64, 1
local TRIES, ROUNDS = 4, 3
local MIN_RENEW_PAUSE = 60 -- RFC 2131 4.4.5
local DECLINE_PAUSE = 10   -- RFC 2131 3.1: the least time to wait after a DECLINE
local NAK_PAUSE = 1
local INFINITE = 0xffffffff

---@private
local Client = {}
Client.__index = Client

-- ---- replies to everybody -----------------------------------------------------------------------------------------

local function read_broadcasts(listener)
  while listener.udp.ep.relay ~= nil do
    local frame = listener.udp:recv_frame()
    if not frame then return end
    local message = frame.body
    local client = #message >= 34 and listener.clients[message:sub(29, 34)]
    if client then client.mailbox:send({ message, frame.src_mac }, 0) end
  end
end

local listener_of = broadcast.readers(numbers.ethertype.IPV4, function(conn)
  return { udp = conn:udp(ANY .. ":68"), clients = {} }
end, read_broadcasts)

-- ---- one exchange -------------------------------------------------------------------------------------------------

-- What a DECLINE and a RELEASE may carry of the user's options (RFC 2131 table 5; RFC 3046 for the relay agent's).
local ALWAYS = { client_id = true, [61] = true, relay_agent = true, [82] = true }

local function message_of(client, kind, fields, options)
  local asks = kind == "DISCOVER" or kind == "REQUEST"
  for name, value in pairs(client.opts.options or {}) do
    if options[name] == nil and (asks or ALWAYS[name]) then options[name] = value end
  end
  options.message_type = kind
  if asks then
    options.parameter_request_list = options.parameter_request_list or PARAMETERS
    options.max_message_size = options.max_message_size or 1500
  end
  fields.op, fields.xid, fields.chaddr, fields.options = 1, client.xid, client.mac, options
  fields.broadcast = client.opts.broadcast
  return dhcp4.build(fields)
end

-- An offer that does not say of whom, or no address at all, is of no use.
local function is_complete(reply)
  local kind = reply.options.message_type
  return kind == "NAK" or reply.yiaddr ~= ANY and (kind ~= "OFFER" or reply.options.server_id)
end

-- Whether the reply is for this client and of a kind that it waits for.
local function accept(client, message, kinds)
  local reply = dhcp4.parse(message)
  if not reply or reply.op ~= 2 or reply.xid ~= client.xid or reply.chaddr ~= client.mac or
    not kinds[reply.options.message_type] or not is_complete(reply) then
    client.ignored = client.ignored + 1
    return nil
  end
  return reply
end

-- The next message of either way in, with the MAC address that it came from. The frame goes back to the pool at once:
-- a host that waits for T1 has to hold none of it.
local function next_message(client, deadline)
  local source, reason = select.wait { client.udp, client.mailbox, timeout = math.max(0, deadline - sched.now()) }
  if not source then return nil, reason end
  if source == client.mailbox then return unpack(source:recv()) end
  if client.udp.ep.relay == nil then return nil, "closed" end
  local frame, why = client.udp:recv_frame(0)
  if not frame then return nil, why end
  local message, mac = frame.body, frame.src_mac
  frame:release()
  return message, mac
end

local function wait_reply(client, kinds, deadline)
  while true do
    local message, mac = next_message(client, deadline)
    if not message then return nil, mac end
    local reply = accept(client, message, kinds)
    if reply then return reply, mac end
  end
end

-- Sends until a reply comes: pauses() gives the seconds to wait after each transmission, nil to give up.
local function exchange(client, send, kinds, pauses)
  while true do
    local pause = pauses()
    if not pause then return nil, "timeout" end
    client.sent_at = sched.now()
    local sent, reason = send()
    if not sent then return nil, reason end
    client.transmissions = client.transmissions + 1
    local reply, mac = wait_reply(client, kinds, sched.now() + pause)
    if reply then return reply, mac end
    if mac ~= "timeout" then return nil, mac end
  end
end

local function back_off(opts)
  local pause, left = opts.first_timeout or FIRST_TIMEOUT, opts.tries or TRIES
  return function()
    if left == 0 then return nil end
    left = left - 1
    local now = pause
    pause = math.min(pause * 2, MAX_TIMEOUT)
    return math.max(now / 2, now + random.between(-JITTER, JITTER) * math.min(1, now / FIRST_TIMEOUT))
  end
end

-- ---- getting a lease ----------------------------------------------------------------------------------------------

local function discover(client)
  client.xid = random.u32()
  local started = sched.now()
  local requested = client.requested
  return exchange(client, function()
    client.secs = math.floor(sched.now() - started)
    return client.udp:send(message_of(client, "DISCOVER", { secs = client.secs }, { requested_address = requested }),
      SERVERS)
  end, { OFFER = true }, back_off(client.opts))
end

local function request(client, offer)
  local options = { requested_address = offer.yiaddr, server_id = offer.options.server_id }
  local message = message_of(client, "REQUEST", { secs = client.secs }, options)
  return exchange(client, function() return client.udp:send(message, SERVERS) end, { ACK = true, NAK = true },
    back_off(client.opts))
end

local function decline(client, ack)
  client.udp:send(message_of(client, "DECLINE", {}, { requested_address = ack.yiaddr,
    server_id = ack.options.server_id }), SERVERS)
end

-- See dhcp4_client.lease. Times in seconds.
---@class etherlua.dhcp4_lease
---@field ip string
---@field mask? string
---@field router? string the first, when there are several
---@field server string its identifier
---@field server_mac string
---@field lease_time number
---@field renewal_time number T1
---@field rebinding_time number T2
---@field elapsed number to the ACK
---@field mac string of the host
---@field vlans string of the host
---@field options table all options of the ACK, by name
local Lease = {}
Lease.__index = Lease

-- T1 and T2 in seconds: as the server says when it makes sense, 0 < T1 <= T2 <= the lease's time; else as in RFC 2131
-- 4.4.5.
local function renewal_times(options, lease_time)
  local t1, t2 = options.renewal_time or lease_time / 2, options.rebinding_time or lease_time * 7 / 8
  if t1 > 0 and t1 <= t2 and t2 <= lease_time then return t1, t2 end
  return lease_time / 2, lease_time * 7 / 8
end

-- What an ACK says. Times in seconds.
local function take_terms(lease, ack, server_mac)
  local options = ack.options
  lease.mask, lease.router = options.subnet_mask, options.routers and options.routers[1]
  lease.server, lease.server_mac = options.server_id or lease.server, server_mac
  lease.lease_time = options.lease_time or INFINITE
  lease.renewal_time, lease.rebinding_time = renewal_times(options, lease.lease_time)
  lease.options, lease.since = options, lease.client.sent_at -- RFC 2131 4.4.1: it counts from the request
end

-- One round of DISCOVER to ACK. Returns ack, mac, server; nil, reason, and whether another round may help.
local function round(client)
  local offer, reason = discover(client)
  if not offer then return nil, reason == "timeout" and "no offer" or reason end
  local ack, mac = request(client, offer)
  if not ack then return nil, mac == "timeout" and "no answer to the request" or mac end
  if ack.options.message_type == "ACK" then return ack, mac, offer.options.server_id end
  client.requested, client.pause = nil, NAK_PAUSE
  return nil, "refused (NAK)" .. (ack.options.message and ": " .. ack.options.message or ""), true
end

-- Whether nobody else uses the address; if so a DECLINE has been sent.
local function address_is_free(client, ack)
  local timing = neighbour.PROBES[client.opts.probe]
  if not timing then return true end
  local free, mac = neighbour.of(client.conn):probe(ack.yiaddr, timing)
  if free then return true end
  decline(client, ack)
  client.requested, client.pause = nil, client.opts.decline_pause or DECLINE_PAUSE
  return false, ("%s is in use by %s (declined)"):format(ack.yiaddr, mac)
end

-- From now on the host answers ARP for its address.
local function claim(lease)
  if lease.neighbours then return end
  lease.neighbours = neighbour.of(lease.client.conn)
  lease.neighbours:claim(lease.ip)
end

local function settle(client, ack, server_mac, server, started)
  local lease = setmetatable({ client = client, ip = ack.yiaddr, mac = client.mac, vlans = tostring(client.conn.vlans),
    server = server, elapsed = sched.now() - started }, Lease)
  take_terms(lease, ack, server_mac)
  local free, reason = address_is_free(client, ack)
  if not free then return nil, reason end
  if client.opts.probe then
    claim(lease)
    lease.neighbours:announce(lease.ip)
  end
  return lease
end

local function acquire(client)
  local started, reason = sched.now(), nil
  for i = 1, client.opts.rounds or ROUNDS do
    if i > 1 then sched.sleep(client.pause) end
    local ack, mac, server = round(client)
    reason = mac
    if ack then
      local lease
      lease, reason = settle(client, ack, mac, server, started)
      if lease then return lease end
    elseif not server then
      break
    end
  end
  return nil, reason
end

-- Also after a cancellation: the EtherConn may be used again.
function Client:close()
  if self.listener.clients[self.chaddr] == self then self.listener.clients[self.chaddr] = nil end
  self.udp:close()
end

-- The defaults are in brackets.
---@class etherlua.dhcp4_client_opts
---@field options? table DHCP options to send, by name or code as in proto.dhcp4
---@field requested_address? string ask for this one
---@field broadcast? boolean ask the server to broadcast its replies (false)
---@field probe? "rfc"|"quick"|false ARP probe of the address (RFC 5227), then answer ARP for it (false)
---@field tries? integer transmissions of each message (4)
---@field first_timeout? number seconds, doubled each time up to 64 (4, RFC 2131 4.1)
---@field rounds? integer after a NAK or DECLINE (3)
---@field decline_pause? number seconds (10)

-- Leases an address. Blocks through all retransmissions.
---@param conn etherlua.conn with EtherTypes IPv4 and, for the probe, ARP; unicast will do
---@param opts? etherlua.dhcp4_client_opts
---@return etherlua.dhcp4_lease|nil
---@return string|nil reason
function M.lease(conn, opts)
  opts = opts or {}
  if opts.probe and not neighbour.PROBES[opts.probe] then
    error(('bad probe %s: "rfc", "quick" or false is allowed'):format(tostring(opts.probe)), 2)
  end
  local client = setmetatable({ conn = conn, opts = opts, mac = tostring(conn.mac), ignored = 0, transmissions = 0,
    secs = 0, requested = opts.requested_address, mailbox = channel.new(16) }, Client)
  client.chaddr = addr.mac_bytes(client.mac)
  client.listener = listener_of(conn:relay(), addr.vlans(conn.vlans))
  client.listener.clients[client.chaddr] = client
  client.udp = conn:udp(ANY .. ":68")
  local ok, lease, reason = pcall(acquire, client)
  if not ok or not lease then client:close() end
  if not ok then error(lease, 0) end
  return lease, reason
end

-- ---- keeping it ---------------------------------------------------------------------------------------------------

-- RFC 2131 4.4.5: half of what remains until `limit`, but not less than a minute.
local function halves_until(limit)
  return function()
    local left = limit - sched.now()
    if left <= 0 then return nil end
    return math.min(left, math.max(left / 2, MIN_RENEW_PAUSE))
  end
end

-- A link that is down loses a message like any other: there is time to try again.
local function extend(lease, send, limit)
  local client = lease.client
  client.xid = random.u32()
  local function try()
    local sent, reason = send()
    return sent or reason == "link down", reason
  end
  local reply, mac = exchange(client, try, { ACK = true, NAK = true }, halves_until(limit))
  if not reply then return nil, mac end
  if reply.options.message_type == "NAK" then return nil, "refused (NAK)" end
  if reply.yiaddr ~= lease.ip then return nil, "another address was given: " .. reply.yiaddr end
  take_terms(lease, reply, mac)
  return true
end

local function request_again(lease)
  return message_of(lease.client, "REQUEST", { ciaddr = lease.ip }, {})
end

-- Asks the server that gave the lease, by unicast, until T2.
---@return true|nil
---@return string|nil reason "timeout" or why it was refused
function Lease:renew()
  local server = addr.addr(self.server .. ":67")
  return extend(self, function()
    return self.client.udp:send(request_again(self), server, { from = self.ip .. ":68", mac = self.server_mac })
  end, self.since + self.rebinding_time)
end

-- Asks any server, by broadcast, until the lease ends.
---@return true|nil
---@return string|nil reason
function Lease:rebind()
  return extend(self, function()
    return self.client.udp:send(request_again(self), SERVERS, { from = self.ip .. ":68" })
  end, self.since + self.lease_time)
end

-- Keeps the lease: renews at T1, rebinds at T2, answers ARP for the address, without which a server on the link cannot
-- reach it. Blocks until it is lost.
---@param on_event? function called with "renewed" or "rebound" and the lease
---@return nil
---@return string reason
function Lease:hold(on_event)
  claim(self)
  while true do
    if self.lease_time == INFINITE then return sched.sleep(math.huge) end
    sched.sleep(self.since + self.renewal_time - sched.now())
    local event = "renewed"
    local ok, reason = self:renew()
    if not ok and reason == "timeout" then
      event = "rebound"
      ok, reason = self:rebind()
    end
    if not ok then return nil, reason == "timeout" and "the lease ended: no server answered" or reason end
    if on_event then on_event(event, self) end
  end
end

-- Gives the address back (RFC 2131 4.4.6). The client does not hear whether it was heard.
function Lease:release()
  if self.released then return end
  self.released = true
  local message = message_of(self.client, "RELEASE", { ciaddr = self.ip }, { server_id = self.server })
  self.client.udp:send(message, self.server .. ":67", { from = self.ip .. ":68", mac = self.server_mac })
end

-- Releases the lease and closes what the client opened.
function Lease:close()
  if self.client.udp.ep.relay == nil then return end
  self:release()
  if self.neighbours then self.neighbours:release(self.ip) end
  self.neighbours = nil
  self.client:close()
end

return M
