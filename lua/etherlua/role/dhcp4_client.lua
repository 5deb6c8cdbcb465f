-- role/dhcp4_client.lua: a DHCP client (RFC 2131) on an EtherConn: leases an address, keeps it, gives it back. Nothing
-- in here prints or parses options of a command line.
--
--   local lease, reason = dhcp4_client.lease(conn, { probe = "quick" })
--   lease:hold()       -- renews and rebinds until the lease is lost or the task cancelled
--   lease:close()      -- DHCPRELEASE
--
-- As a role, dhcp4_client.new(conn, opts):run() does both: it leases an address and keeps it until it is lost.

local exchange = require "etherlua.role.dhcp4_exchange"
local leases = require "etherlua.role.dhcp4_lease"
local neighbour = require "etherlua.host.neighbour"
local options = require "etherlua.core.options"
local outside = require "etherlua.core.outside"
local random = require "etherlua.net.random"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"

local M = {}

local DECLINE_PAUSE = 10 -- RFC 2131 3.1: the least time to wait after a DECLINE
local NAK_PAUSE = 1

-- See dhcp4_client.new.
---@class etherlua.dhcp4_client
local Client = {}
Client.__index = Client

-- ---- getting a lease ----------------------------------------------------------------------------------------------

local function discover(client)
  client.xid = random.u32()
  local started = sched.now()
  local requested = client.requested
  return exchange.exchange(client, function()
    client.secs = math.floor(sched.now() - started)
    local asked = { requested_address = requested }
    return client.udp:send(exchange.message(client, "DISCOVER", { secs = client.secs }, asked), exchange.SERVERS)
  end, { kinds = { OFFER = true } }, exchange.back_off(client.opts))
end

-- Others than the server that was chosen may answer, too: they know nothing of the address that it offered.
local function request(client, offer, mac)
  local asked = { requested_address = offer.yiaddr, server_id = offer.options.server_id }
  local message = exchange.message(client, "REQUEST", { secs = client.secs }, asked)
  return exchange.exchange(client, function() return client.udp:send(message, exchange.SERVERS) end,
    { kinds = { ACK = true, NAK = true }, server = offer.options.server_id, mac = mac, ip = offer.yiaddr },
    exchange.back_off(client.opts))
end

local function decline(client, ack)
  client.udp:send(exchange.message(client, "DECLINE", {}, { requested_address = ack.yiaddr,
    server_id = ack.options.server_id }), exchange.SERVERS)
end

-- What a NAK says, in words of the server's.
local function refusal(nak)
  local words = nak.options.message
  return "refused (NAK)" .. (words and words ~= "" and ": " .. outside.shown(words) or "")
end

-- One round of DISCOVER to ACK. Returns ack, mac, server; nil, reason, and whether another round may help.
local function round(client)
  local offer, from = discover(client)
  if not offer then return nil, from == "timeout" and exchange.why(client, "no offer") or from end
  local ack, mac = request(client, offer, from)
  if not ack then return nil, mac == "timeout" and exchange.why(client, "no answer to the request") or mac end
  if ack.options.message_type == "ACK" then return ack, mac, offer.options.server_id end
  client.requested, client.pause = nil, NAK_PAUSE
  return nil, refusal(ack), true
end

-- Whether nobody else uses the address; if so a DECLINE has been sent.
local function address_is_free(client, ack)
  local timing = neighbour.PROBES[client.opts.probe]
  if not timing then return true end
  local free, mac = neighbour.of(client.conn):probe(ack.yiaddr, timing)
  if client.closed then return false, "closed" end
  if free then return true end
  decline(client, ack)
  client.requested, client.pause = nil, client.opts.decline_pause
  return false, ("%s is in use by %s (declined)"):format(ack.yiaddr, mac)
end

-- Whoever closes the client while the address is probed gives it back.
local function settle(client, ack, server_mac, server, started)
  local lease = leases.new(client, ack, server_mac, server, started)
  client.lease = lease
  local free, reason = address_is_free(client, ack)
  if not free then
    client.lease = nil
    return nil, reason
  end
  if client.opts.probe then lease:announce() end
  return lease
end

local function acquire(client)
  local started, reason = sched.now(), nil
  exchange.begin(client)
  for i = 1, client.opts.rounds do
    if i > 1 and not exchange.sleep(client, client.pause) then return nil, "closed" end
    local ack, mac, server = round(client)
    reason = mac
    if ack then
      local lease
      lease, reason = settle(client, ack, mac, server, started)
      if lease then return lease end
      if client.closed then break end
    elseif not server then
      break
    end
  end
  return nil, reason
end

-- The defaults are in brackets.
---@class etherlua.dhcp4_client_opts
---@field options? table DHCP options to send, by name or code as in proto.dhcp4
---@field requested_address? string ask for this one
---@field broadcast? boolean ask the server to broadcast its replies (false)
---@field probe? "rfc"|"quick"|false ARP probe of the address (RFC 5227), then answer ARP for it (false)
---@field tries? integer transmissions of each message (4)
---@field timeout? number seconds for the first answer, doubled each time up to 64 (4, RFC 2131 4.1); first_timeout, too
---@field rounds? integer after a NAK or DECLINE (3)
---@field decline_pause? number seconds (10)
---@field release? boolean false: close() does not give the address back (true)

local OPTIONS = options.new("a DHCP client", {
  options = options.of_type("a table of DHCP options is needed", "table"), requested_address = options.text(),
  broadcast = options.boolean(), probe = options.one_of({ "rfc", "quick", false }, false),
  tries = options.whole(1, nil, 4), timeout = options.seconds(exchange.FIRST_TIMEOUT),
  first_timeout = options.alias "timeout", rounds = options.whole(1, nil, 3),
  decline_pause = options.seconds(DECLINE_PAUSE), release = options.boolean(true),
})

-- A client; nothing is sent yet.
---@param conn etherlua.conn with EtherTypes IPv4 and, for the probe, ARP; unicast will do
---@param given? etherlua.dhcp4_client_opts
---@return etherlua.dhcp4_client
function M.new(conn, given)
  role.check("a DHCP client", conn, "conn")
  local opts = OPTIONS:read(given)
  local client = setmetatable({ conn = conn, opts = opts, mac = tostring(conn.mac), ignored = 0, transmissions = 0,
    secs = 0, requested = opts.requested_address }, Client)
  exchange.open(client)
  return client
end

-- Leases an address. Blocks through all retransmissions.
---@param conn etherlua.conn as of new()
---@param opts? etherlua.dhcp4_client_opts
---@return etherlua.dhcp4_lease|nil
---@return string|nil reason
function M.lease(conn, opts)
  local client = M.new(conn, opts)
  local ok, lease, reason = pcall(acquire, client)
  if not ok or not lease then client:close() end
  if not ok then error(lease, 0) end
  return lease, reason
end

-- ---- the role -----------------------------------------------------------------------------------------------------

local function run(self, tell)
  local lease, reason = acquire(self)
  if not lease then return nil, reason end
  if tell then tell("bound", lease) end
  return lease:hold(tell)
end

-- Leases an address and keeps it. Blocks until there is none, or it is lost.
---@param tell? fun(event: string, lease: etherlua.dhcp4_lease) event: "bound", "renewed", "rebound"
---@return nil
---@return string reason
function Client:run(tell)
  return role.run(self, run, tell)
end

-- Counts, and what the lease says once there is one.
---@return etherlua.dhcp4_lease_summary summary with mac, vlans, transmissions, ignored, and unused (how many of these
---  were replies of no use, by the reason) in any case
function Client:summary()
  local summary = self.lease and self.lease:summary() or { mac = self.mac, vlans = tostring(self.conn.vlans) }
  summary.transmissions, summary.ignored, summary.unused = self.transmissions, self.ignored, self.unused:summary()
  return summary
end

-- Gives a lease back and closes what was opened. Also after a cancellation: the EtherConn may be used again.
function Client:close()
  if self.closed then return end
  local lease = self.lease
  if lease and self.udp:is_open() then
    if self.opts.release then lease:release() end
    lease:disclaim()
  end
  role.close(self)
  exchange.close(self)
end

return M
