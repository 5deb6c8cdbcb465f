-- test/lab.lua: the network of one test: hosts that are network namespaces, joined by veth pairs or by a switch (a
-- Linux bridge), with real servers in them. etherlua.test closes it at the end of the test.
--
--   lab.new { links = { { "client:eth0", "agent:down" }, { "agent:up", "server:eth0" } } }
--   lab.new { switch = { red = 100, blue = 200, core = { 100, 200 } } }

local files = require "etherlua.core.files"
local lab = require "etherlua.lab.lab"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local relay = require "etherlua.relay.relay"
local servers = require "etherlua.test.servers"

local M = {}

local PROGRAMS = { dhcrelay = "dhcrelay", dnsmasq = "dnsmasq", kea = "kea-dhcp4" } -- what lab:start starts
local DEFAULT_LINKS = { { "near:eth0", "far:eth0" } }
local SWITCH, BRIDGE, PORT = "switch", "bridge", "eth0" -- host with the bridge, its name, interface of hosts at it

---@class etherlua.test.lab
---@field hosts table<string, etherlua.namespace> by name: run, start, enter
local Lab = {}
Lab.__index = Lab

-- ---- links --------------------------------------------------------------------------------------------------------

---@param text string "host:interface", or "host" alone, which is its eth0
local function split(text)
  local host, interface = tostring(text):match("^([%w_-]+):([^:]+)$")
  if not host then host, interface = tostring(text):match("^[%w_-]+$"), PORT end
  if host then return host, interface end
  misuse.raise('bad end of a link %q: "HOST:INTERFACE" or "HOST" is needed', tostring(text))
end

local function host_of(self, name)
  self.hosts[name] = self.hosts[name] or lab.namespace()
  return self.hosts[name]
end

local function join(self, one, other, opts)
  local host_a, a = split(one)
  local host_b, b = split(other)
  lab.veth(host_of(self, host_a), a, host_of(self, host_b), b,
    { mtu = opts.mtu, ipv6 = opts.ipv6, checksum = opts.checksum, queues = opts.queues })
end

-- ---- the switch ---------------------------------------------------------------------------------------------------

-- One rule for each VLAN: what comes tagged with it from a port that carries it goes to the ports that do.
local VLAN_RULE = "vlan id %d iifname { %s } oifname { %s } accept"
local RULES = [[table bridge vlans {
  chain forward {
    type filter hook forward priority 0; policy drop;
    %s
  }
}]]

local function list_of(value)
  return type(value) == "table" and value or { value }
end

-- VLAN ID -> names of the ports that carry it, quoted.
local function members(ports)
  local of_vlan = {}
  for name, vids in pairs(ports) do
    for _, vid in ipairs(list_of(vids)) do
      if type(vid) ~= "number" or vid < 1 or vid > 4094 or vid % 1 ~= 0 then
        misuse.raise("bad VLAN ID %s of port %s: 1 to 4094 is allowed", tostring(vid), name)
      end
      of_vlan[vid] = of_vlan[vid] or {}
      table.insert(of_vlan[vid], '"' .. name .. '"')
    end
  end
  return of_vlan
end

-- The bridge forwards by nftables' rules and not by its own vlan_filtering, which many small kernels lack.
local function filter_vlans(switch, ports)
  local rules = {}
  for vid, names in pairs(members(ports)) do
    local list = table.concat(names, ", ")
    rules[#rules + 1] = VLAN_RULE:format(vid, list, list)
  end
  switch:configure("nft " .. files.quote(RULES:format(table.concat(rules, "\n"))))
end

local function port_names(ports)
  local names = {}
  for key, value in pairs(ports) do names[#names + 1] = type(key) == "string" and key or value end
  return names
end

local function build_switch(self, ports, opts)
  local switch = host_of(self, SWITCH)
  switch:configure(("ip link add %s type bridge mcast_snooping 0"):format(BRIDGE))
  for _, name in ipairs(port_names(ports)) do
    join(self, name, ("%s:%s"):format(SWITCH, name), opts)
    switch:configure(("ip link set dev %s master %s"):format(name, BRIDGE))
  end
  if #ports == 0 then filter_vlans(switch, ports) end
  switch:configure(("ip link set dev %s up"):format(BRIDGE))
end

-- ---- the lab ------------------------------------------------------------------------------------------------------

---@class etherlua.test.lab_opts
---@field links? string[][] pairs of "HOST:INTERFACE" (or "HOST": its eth0) that a veth pair joins; default
---  { { "near:eth0", "far:eth0" } } when there is no switch
---@field switch? table hosts whose eth0 is at a port of one switch: a list of names, or by name the VLAN IDs that the
---  port carries, tagged: { red = 100, core = { 100, 200 } }. It has one table of MAC addresses for all VLANs
---@field addresses? table<string, string|string[]> "HOST:INTERFACE" -> "10.0.0.1/24" or several: of the host's own
---  kernel, whose IPv6 is on where it has an IPv6 address
---@field mtu? integer of all links, default 1500
---@field queues? integer receive and transmit queues of each interface, default 1
---@field ipv6? boolean true: the kernels' IPv6 is on. Default: off but for `addresses`, so that the lab is silent
---@field checksum? boolean false: the kernels' own UDP and TCP leave with complete checksums

local OPTIONS = options.new("test.lab", { links = options.of_type("a list of pairs is needed", "table"),
  switch = options.of_type("a table of ports is needed", "table"),
  addresses = options.of_type("a table of addresses is needed", "table") }, lab.LINK_OPTIONS)

-- nodad: or an IPv6 address could not be used for a second or two.
local function add_address(ns, interface, address)
  local is_ip6 = address:find(":", 1, true)
  if is_ip6 then lab.set_ipv6(ns, interface, true) end
  ns:configure(("ip addr add %s %s dev %s"):format(files.quote(address), is_ip6 and "nodad" or "brd +",
    files.quote(interface)))
end

local function build(self, opts)
  for _, link in ipairs(opts.links or not opts.switch and DEFAULT_LINKS or {}) do join(self, link[1], link[2], opts) end
  if opts.switch then build_switch(self, opts.switch, opts) end
  for at, addresses in pairs(opts.addresses or {}) do
    local host, interface = split(at)
    for _, address in ipairs(list_of(addresses)) do add_address(self:host(host), interface, address) end
  end
end

-- Raises an error when it cannot be made; needs root or a user namespace. Blocks the thread while it is made.
---@param given? etherlua.test.lab_opts
---@param capture? fun(of: string): string names the file that a relay captures to
---@return etherlua.test.lab
function M.new(given, capture)
  local opts = OPTIONS:read(given)
  local permitted, reason = lab.root()
  if not permitted then error(reason, 0) end
  local self = setmetatable({ hosts = {}, started = {}, capture = capture }, Lab)
  local ok, failure = pcall(build, self, opts)
  if ok then return self end
  self:close()
  error(failure, 0)
end

---@param name string
---@return etherlua.namespace
function Lab:host(name)
  if self.hosts[name] then return self.hosts[name] end
  local names = {}
  for known in pairs(self.hosts) do names[#names + 1] = known end
  table.sort(names)
  misuse.raise("no host %q in this lab: there are %s", tostring(name), table.concat(names, ", "))
end

-- Opens a relay on an interface of a host, closed with the lab.
---@param at string "HOST" (its eth0) or "HOST:INTERFACE"
---@param opts? table as of ether.open, and kind = "afpacket", "pcap" or "xdp" (default "afpacket")
---@return table relay
function Lab:relay(at, opts)
  local given = {}
  for name, value in pairs(opts or {}) do given[name] = value end
  given.kind = nil
  given.capture = given.capture or self.capture and self.capture(at)
  local host, interface = split(at)
  local spec = ("%s:%s"):format(opts and opts.kind or "afpacket", interface)
  local one = self:host(host):enter(relay.open, spec, given)
  self.started[#self.started + 1] = one
  return one
end

-- Starts a real server in a host, which has to have its address already or gets it; returns when it serves.
---@param name string one of test.servers: "dnsmasq", "kea", "dhcrelay"
---@param host string
---@param opts table as of that server: see test/servers.lua
---@return etherlua.test.server server log(), stop()
function Lab:start(name, host, opts)
  local ns, program = self:host(host), PROGRAMS[name]
  if not program then
    misuse.raise("no server %q: dhcrelay, dnsmasq or kea is allowed", tostring(name))
  end
  local missing = servers.missing(program)
  if missing then error(("cannot start %s: %s"):format(name, missing), 0) end
  local server = servers[name](ns, opts)
  self.started[#self.started + 1] = { close = function() server:stop() end }
  return server
end

-- An emulated access network at a host's interface: gateway 10.0.0.1 with DHCP, ARP and ping on every VLAN stack, and
-- an IPv6 router, as of lab:serve.
---@param at string "HOST" or "HOST:INTERFACE"
---@param opts? table as of lab:serve: pool, server and so on
---@return table gateway
function Lab:serve(at, opts)
  return require("etherlua.lab.access").serve(self:relay(at), opts) -- who serves nothing loads no DHCP server
end

-- Closes its relays, stops what was started in it and removes it.
function Lab:close()
  for i = #self.started, 1, -1 do self.started[i]:close() end
  self.started = {}
  for _, ns in pairs(self.hosts) do ns:close() end
end

return M
