-- role/dhcp4_lease.lua: an address that a DHCP client (RFC 2131) has: what the server said, and keeping it. Made by
-- dhcp4_client.lua.

local addr = require "etherlua.net.addr"
local exchange = require "etherlua.role.dhcp4_exchange"
local neighbour = require "etherlua.host.neighbour"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"

local M = {}

local MIN_RENEW_PAUSE = 60 -- RFC 2131 4.4.5
local INFINITE = 0xffffffff

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
local function renewal_times(given, lease_time)
  local t1, t2 = given.renewal_time or lease_time / 2, given.rebinding_time or lease_time * 7 / 8
  if t1 > 0 and t1 <= t2 and t2 <= lease_time then return t1, t2 end
  return lease_time / 2, lease_time * 7 / 8
end

-- What an ACK says. Times in seconds.
local function take_terms(lease, ack, server_mac)
  local given = ack.options
  lease.mask, lease.router = given.subnet_mask, given.routers and given.routers[1]
  lease.server, lease.server_mac = given.server_id or lease.server, server_mac
  lease.lease_time = given.lease_time or INFINITE
  lease.renewal_time, lease.rebinding_time = renewal_times(given, lease.lease_time)
  lease.options, lease.since = given, lease.client.sent_at -- RFC 2131 4.4.1: it counts from the request
end

-- What a client has by an ACK.
---@param client table
---@param ack table
---@param server_mac string
---@param server string identifier
---@param started number when it asked first
---@return etherlua.dhcp4_lease
function M.new(client, ack, server_mac, server, started)
  local lease = setmetatable({ client = client, ip = ack.yiaddr, mac = client.mac, vlans = tostring(client.conn.vlans),
    server = server, elapsed = sched.now() - started }, Lease)
  take_terms(lease, ack, server_mac)
  return lease
end

-- From now on the host answers ARP for its address.
---@private
function Lease:claim()
  if self.neighbours then return end
  self.neighbours = neighbour.of(self.client.conn)
  self.neighbours:claim(self.ip)
end

-- Tells the link of it.
---@private
function Lease:announce()
  self:claim()
  self.neighbours:announce(self.ip)
end

-- The host answers ARP for it no more.
---@private
function Lease:disclaim()
  if self.neighbours then self.neighbours:release(self.ip) end
  self.neighbours = nil
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
  local reply, mac = exchange.exchange(client, try, { ACK = true, NAK = true }, halves_until(limit))
  if not reply then return nil, mac end
  if reply.options.message_type == "NAK" then return nil, "refused (NAK)" end
  if reply.yiaddr ~= lease.ip then return nil, "another address was given: " .. reply.yiaddr end
  take_terms(lease, reply, mac)
  return true
end

local function request_again(lease)
  return exchange.message(lease.client, "REQUEST", { ciaddr = lease.ip }, {})
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
    return self.client.udp:send(request_again(self), exchange.SERVERS, { from = self.ip .. ":68" })
  end, self.since + self.lease_time)
end

-- Keeps the lease: renews at T1, rebinds at T2, answers ARP for the address, without which a server on the link cannot
-- reach it. Blocks until it is lost.
---@param on_event? function called with "renewed" or "rebound" and the lease
---@return nil
---@return string reason
function Lease:hold(on_event)
  self:claim()
  while true do
    local wait = self.lease_time == INFINITE and math.huge or self.since + self.renewal_time - sched.now()
    if not exchange.sleep(self.client, wait) then return nil, "closed" end
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
  local message = exchange.message(self.client, "RELEASE", { ciaddr = self.ip }, { server_id = self.server })
  self.client.udp:send(message, self.server .. ":67", { from = self.ip .. ":68", mac = self.server_mac })
end

-- Releases the lease, but for a client with release = false, and closes what the client opened.
function Lease:close()
  self.client:close()
end

---@class etherlua.dhcp4_lease_summary
---@field mac string
---@field vlans string
---@field ip string
---@field mask? string
---@field router? string
---@field server string
---@field lease_time number
---@field elapsed number

---@return etherlua.dhcp4_lease_summary
function Lease:summary()
  return { mac = self.mac, vlans = self.vlans, ip = self.ip, mask = self.mask, router = self.router,
    server = self.server, lease_time = self.lease_time, elapsed = self.elapsed }
end

return M
