-- host/routes6.lua: where the IPv6 packets of one host go next: the routers and prefixes that it has heard of (RFC 4861
-- section 6.3), and those that it was given. What is over is forgotten. Who hears them is autoconf.lua.

local prefix = require "etherlua.net.prefix"
local segment = require "etherlua.host.segment"

local M = {}

local LINK_LOCAL = prefix.new "fe80::/64"
local ROUTERS_MAX, PREFIXES_MAX, CACHE_MAX = 8, 16, 1024
local FOR_EVER = 0xffffffff

-- See routes6.new.
---@class etherlua.routes6
local Routes = {}
Routes.__index = Routes

---@param gateway? string key of a router that was given
---@param source fun(to: string): string|nil the address to send from
---@return etherlua.routes6
function M.new(gateway, source)
  return setmetatable({ gateway = gateway, source = source, routers = {}, prefixes = {}, cache = {}, count = 0 },
    Routes)
end

-- When what is valid for so long is over.
---@param now number
---@param lifetime integer seconds
---@return number
function M.deadline(now, lifetime)
  return lifetime == FOR_EVER and math.huge or now + lifetime
end

-- ---- the way ------------------------------------------------------------------------------------------------------

-- The router to use: of those that were heard of the one of the highest preference (RFC 4191 section 3.2).
---@return string|nil key
function Routes:router()
  local best
  for _, router in ipairs(self.routers) do
    if not best or router.rank > best.rank then best = router end
  end
  return best and best.key or self.gateway
end

local function is_on_link(self, key)
  if LINK_LOCAL:contains_bytes(key) then return true end
  for _, one in ipairs(self.prefixes) do
    if one.prefix:contains_bytes(key) then return true end
  end
  return self.own and self.own:contains_bytes(key)
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
    local hop = is_on_link(self, key) and key or self:router()
    local source = hop and (self.source(segment.text(hop)) or self.source "fe80::")
    if not source then return nil end
    if self.count >= CACHE_MAX then self:forget() end
    route = { hop = hop, source = source }
    self.cache[key], self.count = route, self.count + 1
  end
  return route.hop, route.source
end

-- ---- what is heard ------------------------------------------------------------------------------------------------

-- High, medium, low of RFC 4191 section 2.1; the reserved value counts as medium.
local RANKS = { [1] = 3, [3] = 1 }

-- The entry of a list with this value, or a new one if there is room.
local function entry(list, name, value, max)
  for i, one in ipairs(list) do
    if one[name] == value then return one, i end
  end
  if #list >= max then return nil end
  list[#list + 1] = { [name] = value }
  return list[#list], #list
end

-- A router has advertised itself.
---@param message table
---@param src string its key
---@param now number
function Routes:note_router(message, src, now)
  local router, i = entry(self.routers, "key", src, ROUTERS_MAX)
  if not router then return end
  router.valid_until, router.rank = now + message.router_lifetime, RANKS[message.preference] or 2
  if message.router_lifetime == 0 then table.remove(self.routers, i) end
end

-- A prefix is on the link. The bits behind the length say nothing (RFC 4861 section 4.6.2).
---@param option table
---@param now number
function Routes:note_prefix(option, now)
  local given = prefix.new(("%s/%d"):format(option.prefix, option.prefix_length))
  local one, i = entry(self.prefixes, "text", ("%s/%d"):format(given:network(), given.length), PREFIXES_MAX)
  if not one then return end
  one.prefix, one.valid_until = one.prefix or given, M.deadline(now, option.valid_lifetime)
  if option.valid_lifetime == 0 then table.remove(self.prefixes, i) end
end

local function drop_old(list, now)
  for i = #list, 1, -1 do
    if list[i].valid_until <= now then table.remove(list, i) end
  end
end

-- Forgets what is over.
---@param now number
---@param next_at number
---@return number next_at when the next thing will be, if that is earlier
function Routes:expire(now, next_at)
  for _, list in ipairs { self.routers, self.prefixes } do
    drop_old(list, now)
    for _, one in ipairs(list) do next_at = math.min(next_at, one.valid_until) end
  end
  self:forget()
  return next_at
end

return M
