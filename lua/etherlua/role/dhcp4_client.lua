-- role/dhcp4_client.lua: a DHCP client (RFC 2131) on an EtherConn: leases an address, keeps it, gives it back. Nothing
-- in here prints or parses options of a command line.
--
--   local lease, reason = dhcp4_client.lease(conn, { probe = "quick" })
--   lease:hold()       -- renews and rebinds until the lease is lost or the task cancelled
--   lease:close()      -- DHCPRELEASE
--
-- Replies to the client's own MAC address arrive at its own RUDPConn; those that a server broadcasts are read once for
-- all clients of a relay and VLAN stack, and handed to the one whose hardware address they carry.

local addr = require "etherlua.addr"
local channel = require "etherlua.channel"
local dhcp4 = require "etherlua.proto.dhcp4"
local neighbour = require "etherlua.role.neighbour"
local random = require "etherlua.random"
local sched = require "etherlua.sched"

local M = {}

local SERVERS = addr.addr("255.255.255.255:67")
local ANY = "0.0.0.0"
local PARAMETERS = { 1, 3, 6, 12, 15, 28, 42, 51, 58, 59 }

-- RFC 2131 4.1: the first retransmission after 4 s, then twice as long each time up to 64 s, each +- 1 s at random.
local FIRST_TIMEOUT, MAX_TIMEOUT, JITTER = 4, 64, 1
local TRIES = 4
local MIN_RENEW_PAUSE = 60 -- RFC 2131 4.4.5
local DECLINE_PAUSE = 10   -- RFC 2131 3.1: the least time to wait after a DECLINE
local NAK_PAUSE = 1
local INFINITE = 0xffffffff

local Client = {}
Client.__index = Client

-- ---- replies to everybody -----------------------------------------------------------------------------------------

local listeners = setmetatable({}, { __mode = "k" }) -- relay -> VLAN stack -> listener

local function read_broadcasts(listener)
  while true do
    local message = listener.udp:recv()
    if not message then return end
    local client = #message >= 34 and listener.clients[message:sub(29, 34)]
    if client then client.mailbox:send(message, 0) end
  end
end

local function listener_of(relay, vlans)
  local of_relay = listeners[relay] or {}
  listeners[relay] = of_relay
  local key = addr.vlans_key(vlans)
  local listener = of_relay[key]
  if listener and listener.udp.ep.relay ~= nil then return listener end
  local conn = relay:conn { mac = "ff:ff:ff:ff:ff:ff", vlans = vlans, ethertypes = { 0x0800 } }
  listener = { udp = conn:udp(ANY .. ":68"), clients = {} }
  sched.spawn_background(read_broadcasts, listener)
  of_relay[key] = listener
  return listener
end

-- ---- one exchange -------------------------------------------------------------------------------------------------

local function message_of(client, kind, fields, options)
  for name, value in pairs(client.opts.options or {}) do
    if options[name] == nil then options[name] = value end
  end
  options.message_type = kind
  if kind == "DISCOVER" or kind == "REQUEST" then
    options.parameter_request_list = options.parameter_request_list or PARAMETERS
    options.max_message_size = options.max_message_size or 1500
  end
  fields.op, fields.xid, fields.chaddr, fields.options = 1, client.xid, client.mac, options
  fields.broadcast = client.opts.broadcast
  return dhcp4.build(fields)
end

-- Whether the reply is for this client and of a kind that it waits for.
local function accept(client, message, kinds)
  local reply = dhcp4.parse(message)
  if not reply or reply.op ~= 2 or reply.xid ~= client.xid or reply.chaddr ~= client.mac or
    not kinds[reply.options.message_type] then
    client.ignored = client.ignored + 1
    return nil
  end
  return reply
end

-- The next message of either way in, with the MAC address that it came from.
local function next_message(client, deadline)
  local source, reason = sched.select { client.udp, client.mailbox, timeout = math.max(0, deadline - sched.now()) }
  if not source then return nil, reason end
  if source == client.mailbox then return source:recv() end
  local frame, why = client.udp:recv_frame(0)
  if not frame then return nil, why end
  return frame.body, frame.src_mac
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
  local requested = client.opts.requested_address
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

local Lease = {}
Lease.__index = Lease

-- What an ACK says. Times in seconds; T1 and T2 as in RFC 2131 4.4.5 unless the server gave them.
local function take_terms(lease, ack, server_mac)
  local options = ack.options
  lease.mask, lease.router = options.subnet_mask, options.routers and options.routers[1]
  lease.server, lease.server_mac = options.server_id, server_mac or lease.server_mac
  lease.lease_time = options.lease_time or INFINITE
  lease.renewal_time = options.renewal_time or math.floor(lease.lease_time / 2)
  lease.rebinding_time = options.rebinding_time or math.floor(lease.lease_time * 7 / 8)
  lease.options, lease.since = options, sched.now()
end

-- One round of DISCOVER to ACK. Returns ack, mac; nil, reason, and whether another round may help.
local function round(client)
  local offer, reason = discover(client)
  if not offer then return nil, reason == "timeout" and "no offer" or reason end
  if not offer.options.server_id then return nil, "offer without a server identifier", true end
  local ack, mac = request(client, offer)
  if not ack then return nil, mac == "timeout" and "no answer to the request" or mac end
  if ack.options.message_type == "ACK" then return ack, mac end
  sched.sleep(NAK_PAUSE)
  return nil, "refused (NAK)" .. (ack.options.message and ": " .. ack.options.message or ""), true
end

-- Whether nobody else uses the address; if so a DECLINE has been sent.
local function address_is_free(client, ack)
  local timing = neighbour.PROBES[client.opts.probe]
  if not timing then return true end
  local free, mac = neighbour.of(client.conn):probe(ack.yiaddr, timing)
  if free then return true end
  decline(client, ack)
  sched.sleep(client.opts.decline_pause or DECLINE_PAUSE)
  return false, ("%s is in use by %s (declined)"):format(ack.yiaddr, mac)
end

local function settle(client, ack, server_mac, started)
  local lease = setmetatable({ client = client, ip = ack.yiaddr, mac = client.mac, vlans = tostring(client.conn.vlans),
    elapsed = sched.now() - started }, Lease)
  take_terms(lease, ack, server_mac)
  local free, reason = address_is_free(client, ack)
  if not free then return nil, reason end
  if client.opts.probe then
    local neighbours = neighbour.of(client.conn)
    neighbours:claim(lease.ip)
    neighbours:announce(lease.ip)
  end
  return lease
end

local function acquire(client)
  local started, reason = sched.now(), nil
  for _ = 1, client.opts.rounds or 3 do
    local ack, mac, again = round(client)
    reason = mac
    if ack then
      local lease
      lease, reason = settle(client, ack, mac, started)
      if lease then return lease end
    elseif not again then
      break
    end
  end
  return nil, reason
end

function Client:close()
  if self.listener.clients[self.chaddr] == self then self.listener.clients[self.chaddr] = nil end
  self.udp:close()
end

-- Leases an address. Blocks through all retransmissions.
---@param conn ffi.cdata* EtherConn with EtherTypes IPv4 and, for the probe, ARP; unicast will do
---@param opts? table
---  options: DHCP options to send, as in proto.dhcp4; requested_address; broadcast: ask the server to broadcast;
---  probe: "rfc" or "quick" (ARP probe of the address, RFC 5227, then answers ARP for it), false (default) neither;
---  tries (4) transmissions of each message, first_timeout (4) seconds, doubled each time up to 64 (RFC 2131 4.1);
---  rounds (3) after a NAK or DECLINE; decline_pause (10) seconds
---@return table|nil lease ip, mask, router, server, server_mac, lease_time, renewal_time, rebinding_time (seconds),
---  elapsed (seconds to the ACK), mac, vlans, options; hold(), renew(), rebind(), release(), close()
---@return string|nil reason
function M.lease(conn, opts)
  local client = setmetatable({ conn = conn, opts = opts or {}, mac = tostring(conn.mac), ignored = 0,
    transmissions = 0, secs = 0, mailbox = channel.new(16) }, Client)
  client.chaddr = addr.mac_bytes(client.mac)
  client.listener = listener_of(conn:relay(), addr.vlans(conn.vlans))
  client.listener.clients[client.chaddr] = client
  client.udp = conn:udp(ANY .. ":68")
  local lease, reason = acquire(client)
  if not lease then client:close() end
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

local function extend(lease, send, limit)
  local client = lease.client
  client.xid = random.u32()
  local reply, mac = exchange(client, send, { ACK = true, NAK = true }, halves_until(limit))
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
function Lease:rebind()
  return extend(self, function()
    return self.client.udp:send(request_again(self), SERVERS, { from = self.ip .. ":68" })
  end, self.since + self.lease_time)
end

-- Keeps the lease: renews at T1, rebinds at T2. Blocks until it is lost.
---@param on_event? function called with "renewed" or "rebound" and the lease
---@return nil
---@return string reason
function Lease:hold(on_event)
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
  if self.client.opts.probe then neighbour.of(self.client.conn):release(self.ip) end
  self.client:close()
end

return M
