-- host/router_news.lua: what routers say to the hosts of one segment. An advertisement is parsed once for all of them,
-- and compared with what was said before: what is said again is only young again, for all hosts in one place, and
-- nobody is told. So a flood of advertisements costs the same for one host and for ten thousand. What a host makes of
-- what it is told is the business of autoconf.lua and routes6.lua.
--
-- News are tables that nobody changes but for `at`. Their hosts hold them, and so see how young they are.

local ffi = require "ffi"
local icmp6_options = require "etherlua.proto.icmp6_options"
local nd = require "etherlua.host.nd"
local prefix = require "etherlua.net.prefix"
local sched = require "etherlua.core.sched"

local M = {}

local ROUTERS_MAX, NEWS_MAX = 16, 1024 -- that are remembered; forgetting them only costs telling them again
local MTU_MIN = 1280                   -- RFC 8200 section 5
local LINK_LOCAL, MULTICAST, EVERYTHING = prefix.new "fe80::/10", prefix.new "ff00::/8", prefix.new "::/0"
local FOR_EVER = 0xffffffff

-- Something that a router has said.
---@class etherlua.news
---@field kind "link"|"route"|"on_link"|"address"
---@field key string what it is about
---@field says string all of it: what says the same is the same
---@field at number when it was said last
---@field lifetime? integer seconds from then on; of an address the valid lifetime
---@field preferred? integer seconds, of an address
---@field prefix? etherlua.prefix of all but the link
---@field text? string the same
---@field router? string key of who has the route
---@field rank? integer of the route: 3 high, 2 medium, 1 low
---@field hop_limit? integer of the link: 0 says nothing; so do managed, other (booleans), mtu (nil says nothing)

-- ---- what an advertisement says -----------------------------------------------------------------------------------

-- High, medium, low of RFC 4191 section 2.1.
local RANKS = { [0] = 2, [1] = 3, [3] = 1 }

-- Of two that are about the same the last counts.
local function add(list, news)
  local i = list.places[news.key] or #list + 1
  list[i], list.places[news.key] = news, i
end

local function add_link(list, message)
  local mtu
  for _, option in ipairs(message.options) do
    if option.mtu and option.mtu >= MTU_MIN then mtu = option.mtu end
  end
  add(list, { kind = "link", key = "link", hop_limit = message.cur_hop_limit, managed = message.managed or false,
    other = message.other or false, mtu = mtu, says = ("%d %s %s %s"):format(message.cur_hop_limit,
    tostring(message.managed), tostring(message.other), tostring(mtu)) })
end

local function add_route(list, router, given, rank, lifetime)
  local text = tostring(given)
  add(list, { kind = "route", key = router .. text, says = rank .. " " .. lifetime, prefix = given, text = text,
    router = router, rank = rank, lifetime = lifetime })
end

-- The bits behind the length say nothing (RFC 4861 section 4.6.2, RFC 4191 section 2.3). nil for a prefix that hosts'
-- addresses do not begin with.
local function prefix_of(option)
  if option.prefix_length > 128 then return nil end
  local given = prefix.new(("%s/%d"):format(option.prefix, option.prefix_length))
  given = prefix.new(("%s/%d"):format(given:network(), given.length))
  local is_local = given.length >= 10 and LINK_LOCAL:contains(given.ip) or given.length >= 8
    and MULTICAST:contains(given.ip)
  return not is_local and given or nil
end

local function add_prefix(list, option)
  local given, valid, preferred = prefix_of(option), option.valid_lifetime, option.preferred_lifetime
  if not given then return end
  local text, says = tostring(given), valid .. " " .. preferred
  if option.on_link then
    add(list, { kind = "on_link", key = "on link " .. text, says = tostring(valid), prefix = given, text = text,
      lifetime = valid })
  end
  if not option.autonomous or given.length ~= 64 or preferred > valid then return end -- RFC 4862 section 5.5.3
  add(list, { kind = "address", key = "address " .. text, says = says, prefix = given, text = text, lifetime = valid,
    preferred = preferred })
end

-- What the header says is overridden by an option for everything; one of a reserved preference is none (RFC 4191
-- sections 2.2, 2.3 and 3.1).
local function news_of(message, router)
  local list = { places = {} }
  add_link(list, message)
  add_route(list, router, EVERYTHING, RANKS[message.preference] or 2, message.router_lifetime)
  for _, option in ipairs(message.options) do
    if option.type == icmp6_options.ROUTE_INFORMATION then
      local given, rank = option.prefix and prefix_of(option), RANKS[option.preference]
      if given and rank then add_route(list, router, given, rank, option.lifetime) end
    elseif option.prefix then
      add_prefix(list, option)
    end
  end
  return list
end

-- When what is valid for so long from a time on is over.
---@param from number
---@param lifetime integer seconds
---@return number
function M.deadline(from, lifetime)
  return lifetime == FOR_EVER and math.huge or from + lifetime
end

-- ---- listeners ----------------------------------------------------------------------------------------------------

-- See router_news.new.
---@class etherlua.router_news
---@field told integer how often a host was told something
local News = {}
News.__index = News

---@return etherlua.router_news
function M.new()
  return setmetatable({ listeners = {}, places = {}, routers = {}, routers_count = 0, latest = {}, latest_count = 0,
    told = 0 }, News)
end

-- From now on listener:advertised(list of news) is called when routers say something new, and, for who has not heard it
-- yet, when they say it again.
---@param listener table
function News:join(listener)
  self.listeners[#self.listeners + 1] = listener
  self.places[listener] = #self.listeners
  self:again(listener)
end

-- It is told nothing more.
---@param listener table
function News:leave(listener)
  local i, last = self.places[listener], self.listeners[#self.listeners]
  if not i then return end
  self.listeners[i], self.places[last] = last, i
  self.listeners[#self.listeners], self.places[listener] = nil, nil
end

-- It is told everything again that is said again: it has forgotten something, or heard something else meanwhile.
---@param listener table
function News:again(listener)
  if not self.places[listener] then return end
  for _, one in pairs(self.routers) do
    if not one.untold[listener] then
      one.untold[listener] = true
      table.insert(one.untold, listener)
    end
  end
end

---@return boolean whether nobody listens
function News:is_idle()
  return #self.listeners == 0
end

local function tell(self, list, listeners)
  for _, listener in ipairs(listeners) do
    if self.places[listener] then
      self.told = self.told + 1
      listener:advertised(list)
    end
  end
end

-- ---- hearing ------------------------------------------------------------------------------------------------------

local function remember(self, src, packet, message)
  local old = self.routers[src]
  if not old then
    if self.routers_count >= ROUTERS_MAX then self.routers, self.routers_count = {}, 0 end
    self.routers_count = self.routers_count + 1
  end
  local router = { packet = packet, message = message, list = news_of(message, src), untold = old and old.untold or {},
    is_new = not old }
  self.routers[src] = router
  return router
end

local function set_latest(self, news)
  if not self.latest[news.key] then
    if self.latest_count >= NEWS_MAX then self.latest, self.latest_count = {}, 0 end
    self.latest_count = self.latest_count + 1
  end
  self.latest[news.key] = news
end

-- All that it says is young again. Returns what was not said before, or differently, by whomever.
local function refresh(self, list, now)
  local fresh
  for i, news in ipairs(list) do
    local latest = self.latest[news.key]
    if latest and latest.says == news.says then
      list[i], latest.at = latest, now
    else
      news.at = now
      set_latest(self, news)
      fresh = fresh or {}
      table.insert(fresh, news)
    end
  end
  return fresh
end

-- A router advertisement came for everybody.
---@param frame etherlua.frame
---@return table|nil message nil when it is to be discarded
function News:hear(frame)
  local src, packet = ffi.string(frame.data + frame.l3 + 8, 16), ffi.string(frame.data + frame.l3, frame.l3_len)
  local router = self.routers[src]
  if not router or router.packet ~= packet then
    local message = nd.read(frame)
    if not message then return nil end
    router = remember(self, src, packet, message)
  end
  local fresh, untold = refresh(self, router.list, sched.now()), router.untold
  if router.is_new then
    router.is_new, router.untold = false, {}
    tell(self, router.list, self.listeners)
    return router.message
  end
  if #untold > 0 then
    router.untold = {}
    tell(self, router.list, untold)
  end
  if fresh then tell(self, fresh, self.listeners) end
  return router.message
end

-- One came for this listener alone. It holds news of its own then, until it is told of those that all have.
---@param frame etherlua.frame
---@param listener table
---@return table|nil message nil when it is to be discarded
function News:hear_alone(frame, listener)
  local message = nd.read(frame)
  if not message then return nil end
  local list, now = news_of(message, ffi.string(frame.data + frame.l3 + 8, 16)), sched.now()
  for _, news in ipairs(list) do news.at = now end
  tell(self, list, { listener })
  self:again(listener)
  return message
end

return M
