-- roles.lua: the roles that there are, by their files, and how each is made on a wire: for what is asked of all of
-- them.

local ether = require "etherlua"
local ip_range = require "etherlua.net.ip_range"
local pcap = require "support.pcap"
local size_mix = require "etherlua.net.size_mix"
local traffic = require "etherlua.role.traffic"
local vlan_range = require "etherlua.net.vlan_range"

local M = {}

local MAC, ME, PEER = "02:00:00:00:00:01", "10.0.0.5", "10.0.0.9"

local function flows()
  return traffic.flows { count = 2, vlans = function() return ether.vlans() end,
    src = { mac = MAC, mac_step = 1, ip = ME, ip_step = 1, port = 5000, port_step = 0 },
    dst = { mac = "02:01:00:00:00:00", mac_step = 1, ip = PEER, ip_step = 1, port = 5001, port_step = 0 } }
end

local function host(relay)
  return relay:host { mac = MAC, ip = ME .. "/24" }
end

-- By name: what the role is on, and options with which it is busy for long.
M.busy = {
  arp_scan = function(relay)
    return relay, { targets = ip_range.new "10.0.0.0/24", vlans = vlan_range.new(), mac = MAC, rate = 0.1 }
  end,
  arping = function(relay)
    return relay:conn { mac = MAC, multicast = true }, { target = PEER, interval = 60 }
  end,
  dhcp4_client = function(relay) return relay:conn { mac = MAC }, { timeout = 60 } end,
  dhcp4_discover = function(relay) return relay, { vlans = vlan_range.new(), mac = MAC, timeout = 60 } end,
  dhcp4_load = function(relay) return relay, { count = 3, mac = MAC, timeout = 60 } end,
  gateway = function(relay) return relay, { pool = "10.0.0.10-10.0.0.20", ip6 = "2001:db8::/64" } end,
  hosts = function(relay)
    return relay, { count = 3, mac = MAC, vlans = vlan_range.new(), ip = ME .. "/24" }
  end,
  ping = function(relay) return host(relay), { target = PEER, interval = 60 } end,
  ping_sweep = function(relay)
    return host(relay), { targets = ip_range.new "10.0.0.0/24", rate = 0.1 }
  end,
  replay = function(relay) return relay, { path = pcap.file(pcap.many(10)), rate = 0.1 } end,
  traceroute = function(relay) return host(relay), { target = PEER, timeout = 60 } end,
  traffic_direction = function(relay, other)
    return { from = traffic.endpoints(relay, false), to = traffic.endpoints(other, false) },
      { name = "x", flows = flows(), mix = size_mix.new "64", rate = 0.1 }
  end,
  traffic_receiver = function(relay) return traffic.endpoints(relay, false), { flows = flows() } end,
  traffic_sender = function(relay)
    return traffic.endpoints(relay, false), { flows = flows(), mix = size_mix.new "64", rate = 0.1 }
  end,
  udp_echo = function(relay) return host(relay), { ports = { 7, 9 } } end,
}

---@return string[] names of the modules in role/, roles or not
function M.modules()
  local names, listing = {}, assert(io.popen "ls lua/etherlua/role/*.lua")
  for path in listing:lines() do names[#names + 1] = path:match "([%w_]+)%.lua$" end
  listing:close()
  return names
end

return M
