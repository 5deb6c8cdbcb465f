-- host/routes6.lua: where the IPv6 packets of one host go next: the routers, routes and prefixes that it has heard of
-- (RFC 4861 section 6.3, RFC 4191 section 3), and those that it was given. What is over is forgotten. Who hears them is
-- autoconf.lua; what is heard is shared with other hosts, see router_news.lua.

local news = require "etherlua.host.router_news"
local prefix = require "etherlua.net.prefix"
local segment = require "etherlua.host.segment"

local M = {}

local LINK_LOCAL = prefix.new "fe80::/10"
local ROUTERS_MAX, ROUTES_MAX, PREFIXES_MAX, CACHE_MAX = 8, 32, 16, 1024

-- See routes6.new.
---@class etherlua.routes6
---@field routers etherlua.news[] default routers
---@field routes etherlua.news[] routes that are not for everything
---@field prefixes etherlua.news[] on the link
local Routes = {}
Routes.__index = Routes

---@param gateway? string key of a router that was given
---@param source fun(to: string): string|nil the address to send from
---@return etherlua.routes6
function M.new(gateway, source)
  return setmetatable({ gateway = gateway, source = source, routers = {}, routes = {}, prefixes = {}, cache = {},
    count = 0 }, Routes)
end

-- ---- the way ------------------------------------------------------------------------------------------------------

-- The router to use: of those that were heard of the one of the highest preference (RFC 4191 section 3.2).
---@return string|nil key
function Routes:router()
  local best
  for _, one in ipairs(self.routers) do
    if not best or one.rank > best.rank then best = one end
  end
  return best and best.router or self.gateway
end

-- How many bits of a key the longest prefix has that is on the link; -1 for none.
local function bits_on_link(self, key)
  if LINK_LOCAL:contains_bytes(key) then return 128 end
  local bits = self.own and self.own:contains_bytes(key) and self.own.length or -1
  for _, one in ipairs(self.prefixes) do
    if one.prefix.length > bits and one.prefix:contains_bytes(key) then bits = one.prefix.length end
  end
  return bits
end

-- The longest prefix decides, then the preference (RFC 4191 section 3.2). What is on the link needs no router.
local function next_hop(self, key)
  local bits, best = bits_on_link(self, key), nil
  for _, one in ipairs(self.routes) do
    local length = one.prefix.length
    if (length > bits or best and length == bits and one.rank > best.rank) and one.prefix:contains_bytes(key) then
      bits, best = length, one
    end
  end
  if best then return best.router end
  return bits >= 0 and key or self:router()
end

-- Something that the ways depend on is different now.
function Routes:forget()
  self.cache, self.count = {}, 0
end

-- Where a packet goes next, and from which address that neighbour is asked for.
---@param key string 16 bytes
---@return string|nil key of the next hop; nil: there is no route
---@return string|nil source
function Routes:hop(key)
  local route = self.cache[key]
  if not route then
    local hop = next_hop(self, key)
    local source = hop and (self.source(segment.text(hop)) or self.source "fe80::")
    if not source then return nil end
    if self.count >= CACHE_MAX then self:forget() end
    route = { hop = hop, source = source }
    self.cache[key], self.count = route, self.count + 1
  end
  return route.hop, route.source
end

-- ---- what is heard ------------------------------------------------------------------------------------------------

local function place_of(list, key)
  for i, one in ipairs(list) do
    if one.key == key then return i end
  end
end

-- Puts it in the place of what was said before about the same; a lifetime of 0 takes it away. Returns whether anything
-- is different now.
local function note(list, one, max)
  local i = place_of(list, one.key)
  if one.lifetime == 0 then return i ~= nil and table.remove(list, i) ~= nil end
  if list[i] == one or not i and #list >= max then return false end
  list[i or #list + 1] = one
  return true
end

-- A router says that packets for a prefix may go by it (RFC 4191 section 3.1).
---@param one etherlua.news
---@return boolean changed
function Routes:note_route(one)
  if one.prefix.length == 0 then return note(self.routers, one, ROUTERS_MAX) end
  return note(self.routes, one, ROUTES_MAX)
end

-- A prefix is on the link.
---@param one etherlua.news
---@return boolean changed
function Routes:note_prefix(one)
  return note(self.prefixes, one, PREFIXES_MAX)
end

-- ---- time ---------------------------------------------------------------------------------------------------------

-- Forgets what is over.
---@param now number
---@param next_at number
---@return number next_at when the next thing will be, if that is earlier
---@return boolean forgot something was over
function Routes:expire(now, next_at)
  local forgot = false
  for _, list in ipairs { self.routers, self.routes, self.prefixes } do
    for i = #list, 1, -1 do
      local ends = news.deadline(list[i].at, list[i].lifetime)
      if ends <= now then
        table.remove(list, i)
        forgot = true
      else
        next_at = math.min(next_at, ends)
      end
    end
  end
  self:forget()
  return next_at, forgot
end

return M
