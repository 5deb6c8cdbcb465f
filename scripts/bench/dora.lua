-- dora.lua: the time from DHCPDISCOVER to DHCPACK for one client against the lab's server, over AF_PACKET, both in this
-- process.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local script = require "etherlua.script"

local PER_ROUND = 20 -- leases

local opts = script.parse(bench.parser("dora", "Measure one DHCP lease in a lab."), arg)
local net = bench.lab()
net:serve()

local function lease_times(relay, count)
  local times = {}
  for i = 1, count do
    local conn = relay:conn { mac = ether.mac_add(bench.NEAR_MAC, i), vlans = 100 }
    local lease = assert(dhcp4_client.lease(conn))
    times[i] = lease.elapsed * 1000
    lease:close()
  end
  return times
end

for _, kind in ipairs(bench.kinds(opts, "afpacket")) do
  local count, times = opts.rounds * PER_ROUND, nil
  bench.case(opts, { case = "DORA, first, " .. kind, unit = "ms" }, function()
    times = bench.with_relay(net, kind, function(relay) return lease_times(relay, count + 1) end)
    return { value = table.remove(times, 1), memory = bench.memory() }
  end)
  bench.case(opts, { case = ("DORA, median of %d, %s"):format(count, kind), unit = "ms" }, function()
    if not times then error("there was no first one", 0) end
    return { value = bench.median(times), memory = bench.memory() }
  end)
end
