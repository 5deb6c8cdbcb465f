-- role/dhcp4_lease.lua: an address that a DHCP client (RFC 2131) has: what the server said, and keeping it. Made by
-- dhcp4_client.lua.

local addr = require "etherlua.net.addr"
local exchange = require "etherlua.role.dhcp4_exchange"
local group = require "etherlua.net.group"
local neighbour = require "etherlua.host.neighbour"
local prefix = require "etherlua.net.prefix"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"

local M = {}

local MIN_RENEW_PAUSE = 60 -- RFC 2131 4.4.5
local INFINITE = 0xffffffff
local ANY = "0.0.0.0"

-- A lease without a time, and the shortest one that is kept, in seconds: of a shorter one a client would do nothing but
-- renew it.
local DEFAULT_TIME, MIN_TIME = 3600, 4

-- See dhcp4_client.lease. Times in seconds.
---@class etherlua.dhcp4_lease
---@field ip string
---@field mask? string as the server gave it
---@field prefix_length integer of the mask; of the address's class without one; 32 where the mask is none
---@field router? string next hop of the default route: of option 121, or the first of option 3
---@field routes etherlua.route[] of option 121 (RFC 3442), the default one among them; else of 249, else of 33
---@field notes string[] what the server left out, or said wrong, and what is done instead
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

-- ---- what the server said -----------------------------------------------------------------------------------------

local function note(lease, ...)
  lease.notes[#lease.notes + 1] = string.format(...)
end

local function lease_time(lease, given)
  local seconds = given.lease_time
  if not seconds then
    note(lease, "no lease time: an hour is assumed")
  elseif seconds < MIN_TIME then
    note(lease, "a lease of %d s is too short to be renewed in time: it is kept for %d s", seconds, MIN_TIME)
    seconds = MIN_TIME
  end
  return seconds or DEFAULT_TIME
end

-- T1 and T2 in seconds: as the server says when it makes sense, 0 < T1 < T2 < the lease's time; else as in RFC 2131
-- 4.4.5. With T1 at T2 there would be no time to renew, and with T2 at the end none to rebind.
local function renewal_times(lease, given)
  local all = lease.lease_time
  local t1, t2 = given.renewal_time or all / 2, given.rebinding_time or all * 7 / 8
  if t1 > 0 and t1 < t2 and t2 < all then return t1, t2 end
  if all ~= INFINITE then
    note(lease, "T1 %g s and T2 %g s do not fit a lease of %d s: %g s and %g s are used", t1, t2, all, all / 2,
      all * 7 / 8)
  end
  return all / 2, all * 7 / 8
end

-- The length of the link's prefix. Without a mask it is that of the class, as hosts always did.
local function prefix_length(lease)
  local mask = lease.mask
  if not mask then
    local length = prefix.class_length(lease.ip)
    note(lease, "no subnet mask: /%d of its class is assumed", length)
    return length
  end
  local length = prefix.mask_length(mask)
  if length > 0 and prefix.new(("%s/%d"):format(lease.ip, length)):mask() == mask then return length end
  note(lease, "%s is no subnet mask: /32 is used", mask)
  return 32
end

-- RFC 2132 section 5.8: a destination is a network of its class, or a host; the default route is not allowed.
local function static_routes(given)
  local routes = {}
  for _, route in ipairs(given or {}) do
    local length = prefix.class_length(route.destination)
    local net = prefix.new(("%s/%d"):format(route.destination, length)):network()
    if route.destination ~= ANY then
      routes[#routes + 1] = { prefix = ("%s/%d"):format(route.destination, net == route.destination and length or 32),
        router = route.router }
    end
  end
  return routes
end

-- Those whose next hop can be one.
local function usable(lease, routes)
  local list = {}
  for _, route in ipairs(routes) do
    local why = route.router ~= ANY and group.no_host(route.router)
    if why then
      note(lease, "router %s of %s is left out (%s)", route.router, route.prefix, why)
    else
      list[#list + 1] = { prefix = route.prefix, router = route.router }
    end
  end
  return list
end

local function first_router(lease, routers)
  for _, router in ipairs(routers or {}) do
    local why = router == lease.ip and "the host's own address" or group.no_host(router)
    if not why then return router end
    note(lease, "router %s is left out (%s)", router, why)
  end
end

-- The default route by its length, whatever stands in front of it.
local function default_router(routes)
  for _, route in ipairs(routes) do
    if route.prefix:match "/0$" and route.router ~= ANY then return route.router end
  end
end

-- RFC 3442: with classless routes, routers (3) and static routes (33) are ignored.
local function take_routes(lease, given)
  local classless = given.classless_routes or given.ms_classless_routes
  lease.routes = usable(lease, classless or static_routes(given.static_routes))
  if classless then
    lease.router = default_router(lease.routes)
  else
    lease.router = first_router(lease, given.routers)
  end
end

-- What an ACK says. Times in seconds.
local function take_terms(lease, ack, server_mac)
  local given = ack.options
  lease.notes, lease.options, lease.since = {}, given, lease.client.sent_at -- RFC 2131 4.4.1: from the request on
  lease.server, lease.server_mac = given.server_id or lease.server, server_mac
  lease.mask = given.subnet_mask
  lease.prefix_length = prefix_length(lease)
  take_routes(lease, given)
  lease.lease_time = lease_time(lease, given)
  lease.renewal_time, lease.rebinding_time = renewal_times(lease, given)
  local unused = lease.client.unused
  if unused.count > 0 then note(lease, "replies of no use: %s", unused:text()) end
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
local function extend(lease, send, limit, wanted)
  local client = lease.client
  exchange.begin(client)
  client.xid = random.u32()
  local function try()
    local sent, reason = send()
    return sent or reason == "link down", reason
  end
  wanted.kinds = { ACK = true, NAK = true }
  local reply, mac = exchange.exchange(client, try, wanted, halves_until(limit))
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
  end, self.since + self.rebinding_time, { server = self.server, mac = self.server_mac })
end

-- Asks any server, by broadcast, until the lease ends.
---@return true|nil
---@return string|nil reason
function Lease:rebind()
  return extend(self, function()
    return self.client.udp:send(request_again(self), exchange.SERVERS, { from = self.ip .. ":68" })
  end, self.since + self.lease_time, { ip = self.ip })
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
    if reason == "timeout" then reason = exchange.why(self.client, "the lease ended: no server answered") end
    if not ok then return nil, reason end
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
---@field prefix_length integer
---@field router? string
---@field routes etherlua.route[]
---@field notes string[]
---@field server string
---@field lease_time number
---@field elapsed number

---@return etherlua.dhcp4_lease_summary
function Lease:summary()
  local routes, notes = {}, {}
  for i, route in ipairs(self.routes) do routes[i] = { prefix = route.prefix, router = route.router } end
  for i, text in ipairs(self.notes) do notes[i] = text end
  return { mac = self.mac, vlans = self.vlans, ip = self.ip, mask = self.mask, prefix_length = self.prefix_length,
    router = self.router, routes = routes, notes = notes, server = self.server, lease_time = self.lease_time,
    elapsed = self.elapsed }
end

return M
