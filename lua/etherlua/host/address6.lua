-- host/address6.lua: an IPv6 address of a host, and how long it lasts (RFC 4862 section 5.5). Which ones a host has is
-- autoconf.lua's business.

local news = require "etherlua.host.router_news"
local prefix = require "etherlua.net.prefix"

local M = {}

local TWO_HOURS = 7200

-- What a router says of its lifetimes is shared with all hosts that were told the same (router_news.lua): it may have
-- become younger meanwhile.
local lifetimes = {
  valid_until = function(said, address) return math.max(address.least, news.deadline(said.at, said.lifetime)) end,
  preferred_until = function(said) return news.deadline(said.at, said.preferred) end,
}

-- An IPv6 address of a host.
---@class etherlua.host_address
---@field ip string
---@field length integer bits of its prefix
---@field state "tentative"|"preferred"|"deprecated"|"duplicate"
---@field valid_until number time; math.huge: for ever
---@field preferred_until number
---@field duplicate? string MAC address of who has it, too
local Address = {}

Address.__index = function(address, name)
  local lifetime = lifetimes[name]
  if lifetime then return lifetime(address.news, address) end
  return Address[name]
end

-- said: what a router says of it (nil: it lasts for ever).
---@param ip string
---@param length integer
---@param said? etherlua.news
---@return etherlua.host_address
function M.new(ip, length, said)
  local address = { ip = ip, length = length, state = "tentative", prefix = prefix.new(("%s/%d"):format(ip, length)) }
  if said then
    address.news, address.least = said, 0
  else
    address.valid_until, address.preferred_until = math.huge, math.huge
  end
  return setmetatable(address, Address)
end

-- A router says something else of it. RFC 4862 section 5.5.3 e: nobody can take an address away at once by an
-- advertisement that is not authenticated. `least` keeps what it lasts at the least, whatever the router says again.
---@param said etherlua.news
---@param now number
function Address:renew(said, now)
  local remaining = self.valid_until - now
  if said.lifetime > TWO_HOURS or said.lifetime > remaining then
    self.least = 0
  else
    self.least = now + math.min(remaining, TWO_HOURS)
  end
  self.news = said
end

---@return boolean
function Address:is_usable()
  return self.state == "preferred" or self.state == "deprecated"
end

-- From now on it may be used.
---@param now number
function Address:set_state(now)
  self.state = self.preferred_until > now and "preferred" or "deprecated"
end

-- When it will be different.
---@param now number
---@return number
function Address:next_change(now)
  return self.preferred_until > now and self.preferred_until or self.valid_until
end

return M
