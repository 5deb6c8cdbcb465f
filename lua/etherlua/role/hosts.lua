-- role/hosts.lua: many hosts on one relay, numbered from 0: which MAC address, VLAN stack and IP addresses each of them
-- has, opening them, and who else on the wire has their addresses. What a host does is host.lua's business.

local addr = require "etherlua.net.addr"
local prefix = require "etherlua.net.prefix"
local sched = require "etherlua.core.sched"

local M = {}

local BATCH = 100 -- hosts that are opened before others have their turn

-- See hosts.new.
---@class etherlua.hosts
---@field count integer
---@field opened integer how many there are by now
---@field duplicates integer addresses that somebody else has, too, of which each_duplicate has told
---@field list table<integer, etherlua.host> by number, from 0
local Hosts = {}
Hosts.__index = Hosts

-- The defaults are in brackets.
---@class etherlua.hosts_opts
---@field count integer
---@field mac string of the first; the others count up
---@field mac_step? integer (1)
---@field vlans etherlua.vlan_range each host takes the next stack
---@field ip? string of the first, with a length, as for relay:host (none)
---@field ip_step? integer (1)
---@field gateway? string
---@field ip6? string "auto", "link", or the address of the first with a length (none)
---@field ip6_step? integer (1)
---@field gateway6? string
---@field dad? boolean (true)

-- An address for all can be only once on each VLAN stack.
local function check_step(given, what, step)
  if step ~= 0 or given.count <= given.vlans.count then return end
  error(("%d hosts with one %s do not fit %d VLAN stack%s: each needs one of its own"):format(given.count, what,
    given.vlans.count, given.vlans.count == 1 and "" or "s"), 0)
end

-- The first address with its length, when it is one; nil for nothing and for "auto" and "link".
local function range(given, text, version, step)
  if not text or text == "auto" or text == "link" then return nil end
  local first = prefix.new(text)
  if first.version ~= version then error(("bad IPv%d address %q"):format(version, text), 0) end
  check_step(given, "IP address", step)
  first:check_hosts(given.count, step)
  return first
end

-- Nothing is opened yet. Raises when addresses do not fit their network.
---@param given etherlua.hosts_opts
---@return etherlua.hosts
function M.new(given)
  local self = setmetatable({ given = given, count = given.count, opened = 0, duplicates = 0, told = {}, list = {},
    mac_step = given.mac_step or 1, ip_step = given.ip_step or 1, ip6_step = given.ip6_step or 1 }, Hosts)
  check_step(given, "MAC address", self.mac_step)
  self.ip = range(given, given.ip, 4, self.ip_step)
  self.ip6 = range(given, given.ip6, 6, self.ip6_step)
  return self
end

---@param i integer from 0
---@return string
function Hosts:mac(i)
  return addr.mac_add(self.given.mac, i * self.mac_step)
end

local function address(first, i, step)
  return ("%s/%d"):format(prefix.ip_add(first.ip, i * step), first.length)
end

-- Opens one.
---@param relay etherlua.relay
---@param i integer from 0
---@return etherlua.host
function Hosts:open_one(relay, i)
  local given = self.given
  self.list[i] = relay:host { mac = self:mac(i), vlans = given.vlans:at(i), gateway = given.gateway,
    ip = self.ip and address(self.ip, i, self.ip_step), gateway6 = given.gateway6, dad = given.dad,
    ip6 = self.ip6 and address(self.ip6, i, self.ip6_step) or given.ip6 }
  self.opened = self.opened + 1
  return self.list[i]
end

-- Opens them all. Gives way now and then: the first answer already, and Ctrl-C is noticed.
---@param relay etherlua.relay
function Hosts:open(relay)
  for i = 0, self.count - 1 do
    self:open_one(relay, i)
    if i % BATCH == BATCH - 1 then sched.sleep(0) end
  end
end

-- Waits until the addresses of all can be used.
---@param timeout number seconds, for all together
---@param failed fun(host: etherlua.host, reason: string) called for each whose cannot
---@return integer ready how many are
function Hosts:ready(timeout, failed)
  local deadline, ready = sched.now() + timeout, 0
  for i = 0, self.opened - 1 do
    local ok, reason = self.list[i]:ready(math.max(deadline - sched.now(), 0))
    if ok then ready = ready + 1 else failed(self.list[i], reason) end
  end
  return ready
end

-- Calls fn for every address that somebody else has, too, and of which it was not told before.
---@param fn fun(host: etherlua.host, ip: string, mac: string) mac: of who was heard last
function Hosts:each_duplicate(fn)
  for i = 0, self.opened - 1 do
    for ip, mac in pairs(self.list[i]:duplicates()) do
      local key = i .. ip
      if not self.told[key] then
        self.told[key], self.duplicates = true, self.duplicates + 1
        fn(self.list[i], ip, mac)
      end
    end
  end
end

return M
