-- host/autoconf.lua: the IPv6 addresses of one host: its link-local address, one that it was given, and those that it
-- makes of routers' prefixes (RFC 4862). Each is tried for duplicates before it is used. It is told what routers say by
-- router_news.lua; where packets go by them is routes6.lua, how long an address lasts is address6.lua. It does not
-- follow redirects, and does not look whether a router is still there.

local address6 = require "etherlua.host.address6"
local channel = require "etherlua.core.channel"
local effi = require "etherlua.core.ffi"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local misuse = require "etherlua.core.misuse"
local nd = require "etherlua.host.nd"
local neighbour = require "etherlua.host.neighbour"
local prefix = require "etherlua.net.prefix"
local routes6 = require "etherlua.host.routes6"
local sched = require "etherlua.core.sched"
local segment = require "etherlua.host.segment"
local select = require "etherlua.core.select"

local C = effi.C

local M = {}

local LINK_LOCAL, ALL_ROUTERS, ALL_ROUTERS_MAC = prefix.new "fe80::/64", "ff02::2", group.mac_text "ff02::2"
local SOLICITATIONS, SOLICITATION_INTERVAL = 3, 4 -- RFC 4861 section 10
local ADDRESSES_MAX = 16

-- See autoconf.open.
---@class etherlua.autoconf
---@field managed boolean a router says that DHCPv6 has addresses
---@field other boolean a router says that DHCPv6 has other things
---@field mtu? integer of the link, as a router names it
local Autoconf = {}
Autoconf.__index = Autoconf

-- Whoever waits for something to be different now looks again.
local function changed(self)
  local event = self.event
  self.event = channel.new()
  self.routes:forget()
  event:close()
end

-- ---- addresses ----------------------------------------------------------------------------------------------------

-- Its lifetime may have ended while others were asked.
local function finish(self, address, free, other)
  if self.closed then return end
  if self.host.addresses[address.ip] ~= address then return self.host.neighbours:release(address.ip) end
  if free then
    address:set_state(sched.now())
    self.host.neighbours:claim(address.ip)
  else
    address.state, address.duplicate = "duplicate", other
  end
  changed(self)
end

local function join_group(self, address)
  nd.report_group(self.host.conn, (icmp6.solicited_node(address.ip)), (self:source "fe80::"))
end

-- Joining comes first (RFC 4862 section 5.4.2); then nobody else may have it.
local function detect(self, address)
  join_group(self, address)
  if not self.dad then return finish(self, address, true) end
  finish(self, address, self.host.neighbours:probe(address.ip, neighbour.detection(self.host.segment)))
end

-- A task of its own, whose EtherConn may be closed at any time.
local function in_background(self, fn, ...)
  sched.spawn_background(function(...)
    local ok, reason = pcall(fn, ...)
    if not ok and not self.closed then error(reason, 0) end
  end, self, ...)
end

-- said: what a router says of it.
local function add(self, ip, length, said)
  local address = address6.new(ip, length, said)
  self.host.addresses[ip] = address
  table.insert(self.order, address)
  if said then self.of_prefixes[said.text] = address end
  return address
end

local function remove(self, address)
  self.host.addresses[address.ip] = nil
  if address.news then self.of_prefixes[address.news.text] = nil end
  for i, one in ipairs(self.order) do
    if one == address then table.remove(self.order, i) end
  end
  if address.state ~= "duplicate" then self.host.neighbours:release(address.ip) end
end

-- The address to send from; see host:source.
---@param to string
---@return string|nil ip
---@return string|nil reason
function Autoconf:source(to)
  local key = segment.key(to)
  local scoped = LINK_LOCAL:contains_bytes(key) or key:sub(1, 2) == "\xff\2"
  local found
  for _, address in ipairs(self.order) do
    if address:is_usable() and LINK_LOCAL:contains(address.ip) == scoped then
      if address.state == "preferred" then return address.ip end
      found = found or address.ip
    end
  end
  if found then return found end
  return nil, self.mode and "the host has no IPv6 address for that yet" or "the host has no IPv6 address"
end

-- ---- routers ------------------------------------------------------------------------------------------------------

-- Returns whether anything is different now; so do all that hear something.
local function hear_address(self, said, now)
  local address = self.of_prefixes[said.text]
  if address then
    if address.news == said then return false end
    address:renew(said, now)
    return true
  end
  if said.lifetime == 0 or #self.order >= ADDRESSES_MAX then return false end
  local ip = ipv6.address_of(said.prefix.ip, self.host.mac)
  if self.host.addresses[ip] then return false end
  in_background(self, detect, add(self, ip, said.prefix.length, said))
  return true
end

-- A value of 0 or none says nothing (RFC 4861 section 6.3.4). An MTU that is more than the link's changes nothing.
local function hear_link(self, said)
  if self.said_of_link == said then return false end
  self.said_of_link = said
  if said.hop_limit > 0 then self.host.hop_limit = said.hop_limit end
  self.managed, self.other = said.managed, said.other
  if said.mtu then
    self.mtu = said.mtu
    C.el_conn_limit_ip6(self.host.conn, said.mtu)
  end
  return true
end

local hear = {
  link = hear_link,
  address = hear_address,
  route = function(self, said) return self.routes:note_route(said) end,
  on_link = function(self, said) return self.routes:note_prefix(said) end,
}

-- Routers say something, to this host or to all. A host whose link-local address is another's, too, makes no more of
-- its MAC address (RFC 4862 section 5.4.5).
---@param list etherlua.news[]
function Autoconf:advertised(list)
  if self.mode ~= "auto" or self.link.state == "duplicate" then return end
  local now, is_different = sched.now(), not self.heard
  self.heard = true
  for _, said in ipairs(list) do is_different = hear[said.kind](self, said, now) or is_different end
  if is_different then changed(self) end
end

-- ---- time ---------------------------------------------------------------------------------------------------------

-- Returns when it will be different, and whether it is over.
local function age(self, address, now)
  if address.valid_until <= now then
    remove(self, address)
    return math.huge, true
  end
  if address:is_usable() then address:set_state(now) end
  return address:next_change(now), false
end

-- Forgets what is over. Returns when the next thing will be. What was forgotten, or had no room, may be said again.
local function expire(self, now)
  local next_at, forgot = self.routes:expire(now, now + 3600)
  for i = #self.order, 1, -1 do
    local ends, over = age(self, self.order[i], now)
    next_at, forgot = math.min(next_at, ends), forgot or over
  end
  if forgot then self.host.segment.news:again(self) end
  return next_at
end

local function solicit(self)
  local message = { type = icmp6.ROUTER_SOLICITATION, source_link_layer_address = self.host.mac }
  nd.send(self.host.conn, message, self.link.ip, ALL_ROUTERS, ALL_ROUTERS_MAC)
end

-- RFC 4861 section 6.3.7: until a router was heard that others are reached by, and once in any case. That the first one
-- is not sent at once, duplicate address detection has seen to.
local function find_routers(self)
  for _ = 1, SOLICITATIONS do
    solicit(self)
    local until_time = sched.now() + SOLICITATION_INTERVAL
    while #self.routes.routers == 0 and sched.now() < until_time do
      select.wait { self.event, timeout = until_time - sched.now() }
      if self.closed then return end
    end
    if #self.routes.routers > 0 then return end
  end
end

-- With the first address groups are joined once more, for who takes no report without a source (RFC 3590 section 4).
local function begin(self)
  detect(self, self.link)
  if not self.link:is_usable() then return end
  for _, address in ipairs(self.order) do join_group(self, address) end
  if self.mode == "auto" then find_routers(self) end
end

local function keep_time(self)
  while not self.closed do
    local now = sched.now()
    local next_at = expire(self, now)
    if not select.wait { self.event, timeout = next_at - now } then changed(self) end
  end
end

-- ---- beginning and end --------------------------------------------------------------------------------------------

local function is_settled(self)
  for _, address in ipairs(self.order) do
    if address.state == "duplicate" then
      return nil, ("address %s is in use by %s"):format(address.ip, address.duplicate)
    end
  end
  for _, address in ipairs(self.order) do
    if address.state == "tentative" then return false end
  end
  return self.mode ~= "auto" or (self:source "2000::") ~= nil
end

local function why_not_settled(self)
  for _, address in ipairs(self.order) do
    if address.state == "tentative" then
      return ("timeout: duplicate address detection of %s is not over"):format(address.ip)
    end
  end
  if not self.heard then return "timeout: no router was heard" end
  return "timeout: no router advertises a prefix for addresses" .. (self.managed and ", but DHCPv6" or "")
end

-- See host:ready.
---@param timeout number
---@return true|nil
---@return string|nil reason
function Autoconf:ready(timeout)
  if not self.mode then return true end
  local until_time = sched.now() + timeout
  while true do
    local settled, reason = is_settled(self)
    if settled or reason then return settled, reason end
    if self.closed then return nil, "closed" end
    local left = until_time - sched.now()
    if left <= 0 then return nil, why_not_settled(self) end
    select.wait { self.event, timeout = left }
  end
end

-- The router that packets for elsewhere go to.
---@return string|nil ip
function Autoconf:router()
  local key = self.routes:router()
  return key and segment.text(key)
end

-- See routes6.lua.
---@param key string 16 bytes
---@return string|nil key of the next hop; nil: there is no route
---@return string|nil source
function Autoconf:hop(key)
  return self.routes:hop(key)
end

-- What routers have told.
---@return { router: string?, mtu: integer?, managed: boolean, other: boolean, addresses: { ip: string, length: integer,
---  state: string, duplicate: string? }[] } summary addresses: all but the link-local one, by their text
function Autoconf:summary()
  local list = {}
  for _, address in ipairs(self.order) do
    if address ~= self.link then
      list[#list + 1] = { ip = address.ip, length = address.length, state = address.state,
        duplicate = address.duplicate }
    end
  end
  table.sort(list, function(a, b) return a.ip < b.ip end)
  return { router = self:router(), mtu = self.mtu, managed = self.managed, other = self.other or false,
    addresses = list }
end

-- Nothing more is heard or done.
function Autoconf:close()
  if self.closed or not self.mode then return end
  self.closed = true
  self.host.segment.news:leave(self)
  changed(self)
end

local function new(host, mode, dad)
  return setmetatable({ host = host, mode = mode, dad = dad, order = {}, of_prefixes = {}, event = channel.new(),
    managed = false, other = false }, Autoconf)
end

-- That of hosts without IPv6: nothing is heard or done.
local NONE = new()
NONE.routes = routes6.new()

-- Begins. Its tasks end with close(), or with the host's EtherConn.
---@param host etherlua.host
---@param given { ip6?: string, gateway6?: string, dad?: boolean }
---@return etherlua.autoconf
function M.open(host, given)
  local mode = given.ip6
  if not mode then return NONE end
  local static = mode ~= "auto" and mode ~= "link" and prefix.new(mode)
  if static and static.version ~= 6 then
    misuse.raise("bad ip6 %q: \"auto\", \"link\" or an address such as 2001:db8::5/64 is needed", mode)
  end
  local self = new(host, mode, given.dad ~= false)
  self.routes = routes6.new(given.gateway6 and segment.key(given.gateway6), function(to) return self:source(to) end)
  host.addresses = {}
  host.segment:use_ip6()
  if mode == "auto" then host.segment.news:join(self) end
  host.neighbours.closing = function() self:close() end
  if static then
    local own = add(self, static.ip, static.length)
    self.routes.own = own.prefix
    in_background(self, detect, own)
  end
  self.link = add(self, ipv6.address_of("fe80::", host.mac), 64)
  in_background(self, begin)
  in_background(self, keep_time)
  return self
end

return M
