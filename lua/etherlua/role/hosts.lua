-- role/hosts.lua: many hosts on one relay, numbered from 0: which MAC address, VLAN stack and IP addresses each of them
-- has, opening them, and who else on the wire has their addresses. What a host does is host.lua's business.
--
--   local all = hosts.new(relay, { count = 1000, mac = MAC, vlans = vlan_range.new(), ip = "10.7.1.1/16" })
--   all:serve()

local addr = require "etherlua.net.addr"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local prefix = require "etherlua.net.prefix"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local tap = require "etherlua.host.tap"

local M = {}

local BATCH = 100      -- hosts that are opened before others have their turn
local LOOK_EVERY = 0.5 -- seconds between two looks at what was noticed

-- See hosts.new.
---@class etherlua.hosts
local Hosts = {}
Hosts.__index = Hosts

-- The defaults are in brackets.
---@class etherlua.hosts_opts
---@field count integer
---@field first? integer number that the first one here has among all that there are, elsewhere too (0)
---@field mac string of number 0; the others count up
---@field mac_step? integer (1)
---@field vlans etherlua.vlan_range each host takes the next stack
---@field ip? string of number 0, with a length, as for relay:host (none)
---@field ip_step? integer (1)
---@field gateway? string
---@field ip6? string "auto", "link", or the address of number 0 with a length (none)
---@field ip6_step? integer (1)
---@field gateway6? string
---@field dad? boolean (true)

-- An address for all can be only once on each VLAN stack.
local function check_step(given, what, step)
  local count = given.first + given.count
  if step ~= 0 or count <= given.vlans.count then return end
  misuse.raise("%d hosts with one %s do not fit %d VLAN stack%s: each needs one of its own", count, what,
    given.vlans.count, given.vlans.count == 1 and "" or "s")
end

-- The first address with its length, when it is one; nil for nothing and for "auto" and "link".
local function range(given, text, version, step)
  if not text or text == "auto" or text == "link" then return nil end
  local first = prefix.new(text)
  if first.version ~= version then misuse.raise("bad IPv%d address %q", version, text) end
  check_step(given, "IP address", step)
  first:check_hosts(given.first + given.count, step)
  return first
end

local OPTIONS = options.new("hosts", {
  count = options.whole(1):needed(), first = options.whole(0, nil, 0),
  mac = options.any():needed(), mac_step = options.whole(0, nil, 1),
  vlans = options.of_type("what vlan_range.new returns is needed", "table"):needed(), ip = options.text(),
  ip_step = options.number(0, 2 ^ 32, 1), gateway = options.text(), ip6 = options.text(),
  ip6_step = options.number(0, 2 ^ 32, 1), gateway6 = options.text(), dad = options.boolean(true),
})

-- Raises an error for options that are none, and when addresses do not fit their network: without a relay yet.
---@param opts etherlua.hosts_opts
---@return table given all of them
---@return table? ip first address and its length
---@return table? ip6
function M.check(opts)
  local given = OPTIONS:read(opts)
  check_step(given, "MAC address", given.mac_step)
  return given, range(given, given.ip, 4, given.ip_step), range(given, given.ip6, 6, given.ip6_step)
end

-- Nothing is opened yet. Raises as check().
---@param relay etherlua.relay
---@param opts etherlua.hosts_opts
---@return etherlua.hosts
function M.new(relay, opts)
  role.check("hosts", relay, "relay")
  local given, ip, ip6 = M.check(opts)
  return setmetatable({ relay = relay, given = given, count = given.count, opened = 0, duplicates = 0, told = {},
    list = {}, ready_count = 0, counters = tap.of(relay).counters, ip = ip, ip6 = ip6 }, Hosts)
end

---@param i integer from 0
---@return string
function Hosts:mac(i)
  return addr.mac_add(self.given.mac, (self.given.first + i) * self.given.mac_step)
end

local function address(first, i, step)
  return ("%s/%d"):format(prefix.ip_add(first.ip, i * step), first.length)
end

-- Opens one, for who opens them at a pace of his own: each in turn.
---@param i integer from 0
---@return etherlua.host
function Hosts:open_one(i)
  local given = self.given
  local n = given.first + i
  self.list[i] = self.relay:host { mac = self:mac(i), vlans = given.vlans:at(n), gateway = given.gateway,
    ip = self.ip and address(self.ip, n, given.ip_step), gateway6 = given.gateway6, dad = given.dad,
    ip6 = self.ip6 and address(self.ip6, n, given.ip6_step) or given.ip6 }
  self.opened = self.opened + 1
  return self.list[i]
end

-- Opens them all. Gives way now and then: the first answer already, and Ctrl-C is noticed.
function Hosts:open()
  for i = self.opened, self.count - 1 do
    if self.closed then return end
    self:open_one(i)
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
  self.ready_count = ready
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

-- ---- the run ------------------------------------------------------------------------------------------------------

-- What a host does not answer by itself is nobody's business here. Ends with the first host.
local function drain(self)
  local conn = self.list[0].conn
  while not self.closed do
    local frame, reason = conn:recv_frame()
    if not frame then return nil, reason end
  end
end

local function look_for_duplicates(self, tell)
  local seen = -1
  while not self.closed do
    if self.counters.conflicts ~= seen then
      seen = self.counters.conflicts
      self:each_duplicate(tell)
    end
    sched.sleep(LOOK_EVERY)
  end
end

local function serve(self, tell)
  self:open()
  local watcher = tell and role.help(self, look_for_duplicates, self, tell)
  if watcher then sched.defer(function() watcher:cancel() end) end
  return drain(self)
end

-- Is there until it or the relay is closed. Blocks.
---@param tell? fun(host: etherlua.host, ip: string, mac: string) called as of each_duplicate
---@return nil
---@return string reason "closed", "interface gone"
function Hosts:serve(tell)
  return role.run(self, serve, tell)
end

-- All of them leave the wire.
function Hosts:close()
  if not role.close(self) then return end
  for i = 0, self.opened - 1 do self.list[i]:close() end
end

-- What tap.lua counts of all hosts of the relay, and:
---@class etherlua.hosts_summary
---@field hosts integer that there are by now
---@field ready integer whose addresses can be used, as ready() found
---@field duplicates integer addresses that somebody else has, too, of which each_duplicate has told

---@return etherlua.hosts_summary
function Hosts:summary()
  local summary = { hosts = self.opened, ready = self.ready_count, duplicates = self.duplicates }
  for name, value in pairs(self.counters) do summary[name] = value end
  return summary
end

return M
