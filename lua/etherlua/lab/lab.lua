-- lab/lab.lua: labs: network namespaces joined by veth pairs, made for a script or a test, gone when the process is.
--
--      this process                                          and programs started here
--   .---------------.                                    .---------------.
--   |   lab.near    |          one veth pair             |    lab.far    |
--   |               | eth0 ------------------------ eth0 |               |
--   | the script's  |                                    | the emulated  |
--   | relay         |                                    | access network|
--   '---------------'                                    '---------------'
--
-- A namespace has no name: it is a file descriptor of this process, so the kernel removes it with everything in it
-- however the process ends, SIGKILL included, and started programs are killed with the process too. Nothing is visible
-- in `ip netns` and no file is left. Devices are made with iproute2, which people can read and repeat by hand.
--
-- All of it raises an error when something fails, for a lab that is half there is of no use. All of it blocks the
-- thread while commands run: labs are made before the traffic, not by tasks in the middle of it.

local addr = require "etherlua.net.addr"
local misuse = require "etherlua.core.misuse"
local netns = require "etherlua.lab.netns"
local options = require "etherlua.core.options"
local relay = require "etherlua.relay.relay"
local sched = require "etherlua.core.sched"

local M = {}

local NAME_MAX = 15 -- IFNAMSIZ - 1

-- Namespaces by themselves, for labs of another shape: see netns.lua.
M.namespace, M.open, M.root = netns.new, netns.open, netns.root

-- ---- veth pairs ---------------------------------------------------------------------------------------------------

local function check_name(name)
  if type(name) ~= "string" or #name > NAME_MAX or not name:match("^[%w_][%w_.-]*$") then
    misuse.raise("bad interface name %q: up to %d letters, digits and any of _ . - are allowed", tostring(name),
      NAME_MAX)
  end
end

-- One end's part of `ip link add`.
local function link_words(name, mac, opts)
  local words = { "name", name }
  if mac then words[#words + 1] = "address " .. tostring(addr.mac(mac)) end
  if opts.mtu then words[#words + 1] = "mtu " .. opts.mtu end
  if opts.queues then words[#words + 1] = ("numtxqueues %d numrxqueues %d"):format(opts.queues, opts.queues) end
  return table.concat(words, " ")
end

-- Turns the kernel's IPv6 on or off on an interface: before it is up, or its MLD reports would be the first frames on
-- it. on: also on those that come later. A namespace of ours has it off already, but it may be another.
---@param ns etherlua.namespace
---@param name string
---@param on boolean
function M.set_ipv6(ns, name, on)
  check_name(name)
  ns:configure(netns.ipv6_command(on and "default " .. name or name, on))
end

local function bring_up(ns, name, opts)
  M.set_ipv6(ns, name, opts.ipv6 == true)
  if opts.checksum == false then ns:configure(("ethtool -K %s tx off"):format(name)) end
  ns:configure(("ip link set dev %s up"):format(name))
end

local UP_TRIES = 150 -- of 20 ms
local WAIT_UP = [[i=0; until ip link show dev %s | grep -q 'state UP'; do
  i=$((i + 1)); [ $i -lt %d ] || exit 1; sleep 0.02; done]]

---@class etherlua.veth_opts
---@field mtu? integer bytes, of both ends
---@field mac_a? string
---@field mac_b? string
---@field queues? integer receive and transmit queues of each end (default 1)
---@field ipv6? boolean true: the kernel's IPv6 is on, on interfaces that come later too. Default: off, so that nothing
---  is sent of its own accord
---@field checksum? boolean false: the kernel's own UDP and TCP leave with complete checksums (needs ethtool)

-- Those of every link.
M.LINK_OPTIONS = options.new("a link of a lab", { mtu = options.whole(68), queues = options.whole(1),
  ipv6 = options.boolean(), checksum = options.boolean() })
local VETH_OPTIONS = options.new("lab.veth", { mac_a = options.any(), mac_b = options.any() }, M.LINK_OPTIONS)
local LAB_OPTIONS = options.new("a lab", { near_mac = options.any(), far_mac = options.any() }, M.LINK_OPTIONS)

-- Joins two namespaces by a veth pair; both ends are up, with carrier, when it returns.
---@param ns_a etherlua.namespace
---@param name_a string
---@param ns_b etherlua.namespace
---@param name_b string
---@param given? etherlua.veth_opts
function M.veth(ns_a, name_a, ns_b, name_b, given)
  local opts = VETH_OPTIONS:read(given)
  check_name(name_a)
  check_name(name_b)
  -- By its path the namespace can be told to `ip` without giving it a name.
  ns_a:configure(("ip link add %s type veth peer %s netns %s"):format(link_words(name_a, opts.mac_a, opts),
    link_words(name_b, opts.mac_b, opts), ns_b:path()))
  bring_up(ns_a, name_a, opts)
  bring_up(ns_b, name_b, opts)
  -- The kernel may tell of the carrier up to a second late, and servers refuse an interface that is not running yet.
  ns_a:configure(WAIT_UP:format(name_a, UP_TRIES))
  ns_b:configure(WAIT_UP:format(name_b, UP_TRIES))
end

-- ---- the lab ------------------------------------------------------------------------------------------------------

-- Two namespaces joined by a veth pair, interface "eth0" in both.
---@class etherlua.lab
---@field near etherlua.namespace where the script's relay is opened
---@field far etherlua.namespace where the access network is
local lab = {}
lab.__index = lab

-- Stops what was started in it and removes it.
function lab:close()
  sched.forget(self)
  if self.far then self.far:close() end
  if self.near then self.near:close() end
end

-- Opens a relay in the near namespace, where a script's relay belongs.
---@param kind? string relay kind, default "afpacket"
---@param opts? etherlua.relay_opts
---@return etherlua.relay
function lab:relay(kind, opts)
  return self.near:enter(relay.open, (kind or "afpacket") .. ":eth0", opts)
end

-- Runs the emulated access network in the far namespace, as a task that ends with the run: on every VLAN stack gateway
-- 10.0.0.1 with DHCP and ARP, router fe80::1 and 2001:db8::1, which advertises 2001:db8::/64, ping and UDP echo.
---@param opts? etherlua.gateway_opts (pool 10.0.0.10-10.0.255.254, ip6 2001:db8::/64)
---@return etherlua.gateway
function lab:serve(opts)
  local access = require "etherlua.lab.access" -- who serves nothing loads no DHCP server
  self.gateway = access.serve(self.far:enter(relay.open, "afpacket:eth0"), opts)
  return self.gateway
end

---@class etherlua.lab_opts as those of lab.veth
---@field mtu? integer
---@field queues? integer
---@field near_mac? string
---@field far_mac? string
---@field ipv6? boolean
---@field checksum? boolean

-- Two new namespaces joined by a veth pair. ether.lab is this function.
---@param given? etherlua.lab_opts
---@return etherlua.lab
function M.new(given)
  local opts = LAB_OPTIONS:read(given)
  local self = setmetatable({}, lab)
  local ok, reason = pcall(function()
    self.near, self.far = M.namespace(), M.namespace()
    M.veth(self.near, "eth0", self.far, "eth0", {
      mtu = opts.mtu, queues = opts.queues, mac_a = opts.near_mac, mac_b = opts.far_mac,
      ipv6 = opts.ipv6, checksum = opts.checksum,
    })
  end)
  if not ok then
    self:close()
    error(reason, 0)
  end
  return self
end

return M
