-- host/routes4.lua: where the IPv4 packets of one host go next: its link, the routes that it was given, such as those
-- of a DHCP lease, and its gateway. The longest prefix counts (RFC 1122 section 3.3.1.2). That of IPv6 is routes6.lua.

local bit = require "bit"
local misuse = require "etherlua.core.misuse"
local prefix = require "etherlua.net.prefix"
local segment = require "etherlua.host.segment"

local band, bnot, bor = bit.band, bit.bnot, bit.bor

local M = {}

local ANY = "0.0.0.0"

---@class etherlua.route
---@field prefix string such as "10.17.0.0/16"
---@field router string next hop; "0.0.0.0": the destinations are on the link (RFC 3442)

-- See routes4.new.
---@class etherlua.routes4
---@field directed? integer key of the link's own broadcast address
local Routes = {}
Routes.__index = Routes

-- hop: key of a router, false when the destinations are on the link.
local function entry(net, router)
  local hop = router and router ~= ANY and segment.key(router) or false
  return { length = net.length, net = segment.key(net:network()), mask = segment.key(net:mask()), hop = hop }
end

local KNOWN = { prefix = true, router = true }

local function given_entry(route)
  local known = type(route) == "table"
  for name in pairs(known and route or {}) do known = known and KNOWN[name] end
  if not known or not route.prefix or not route.router then
    misuse.raise('bad route: { prefix = "10.17.0.0/16", router = "10.0.0.1" } is needed')
  end
  local net = prefix.new(route.prefix)
  if net.version ~= 4 or prefix.new(route.router).version ~= 4 then
    misuse.raise("bad route %s by %s: IPv4 addresses are needed", route.prefix, route.router)
  end
  return entry(net, route.router)
end

-- Behind those that are as long: the link counts before a gateway, and that before the routes.
local function add(list, one)
  local at = #list + 1
  while at > 1 and list[at - 1].length < one.length do at = at - 1 end
  table.insert(list, at, one)
end

local function new(own, gateway, routes)
  local link = entry(own)
  local list = { link, directed = own.length < 31 and bor(link.net, bnot(link.mask)) or nil }
  if gateway then add(list, entry(prefix.new "0.0.0.0/0", gateway)) end
  for _, route in ipairs(routes or {}) do add(list, given_entry(route)) end
  return setmetatable(list, Routes)
end

local of_links = setmetatable({}, { __mode = "v" }) -- network, length, gateway -> routes

---@param own etherlua.prefix the host's address and the length of its link's prefix
---@param gateway? string next hop of what has no other
---@param routes? etherlua.route[] as of a lease
---@return etherlua.routes4 raises for what is no route; hosts of one link may share it
function M.new(own, gateway, routes)
  if routes and #routes > 0 then return new(own, gateway, routes) end
  local key = ("%s/%d %s"):format(own:network(), own.length, gateway or "")
  of_links[key] = of_links[key] or new(own, gateway)
  return of_links[key]
end

-- From this entry on. No loop (JIT 1).
local function find(self, key, i)
  local one = self[i]
  if not one then return nil end
  if band(key, one.mask) == one.net then return one.hop or key end
  return find(self, key, i + 1)
end

-- Where a packet goes next.
---@param key integer of its destination
---@return integer|nil key of the next hop; nil: there is no route
function Routes:hop(key)
  return find(self, key, 1)
end

return M
