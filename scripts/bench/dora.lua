-- dora.lua: the time from DHCPDISCOVER to DHCPACK for one client against the lab's server, over AF_PACKET, both in this
-- process.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local script = require "etherlua.script"

local ROUNDS = 101

local opts = bench.options("dora", "Measure one DHCP lease in a lab.")
opts.lab = true
bench.pin(0)

local relay = script.relay(opts)
local times = {}
for i = 1, ROUNDS do
  local conn = relay:conn { mac = ether.mac_add("02:00:00:00:00:00", i), vlans = 100 }
  local lease, reason = dhcp4_client.lease(conn)
  if not lease then script.exit(script.FAILED, reason) end
  times[i] = lease.elapsed * 1000
  lease:close()
end
bench.report(opts, { case = "DORA, first", value = times[1], unit = "ms", goal = 2 })
bench.report(opts, { case = ("DORA, median of %d"):format(ROUNDS), value = bench.median(times), unit = "ms", goal = 2 })
