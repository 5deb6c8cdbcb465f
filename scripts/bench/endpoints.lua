-- endpoints.lua: what many endpoints cost: EtherConn + RUDPConn + a task blocked in recv each, in time and memory.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local script = require "etherlua.script"

local parser = script.parser("endpoints", "Measure what endpoints with blocked tasks cost.")
parser:option("--count", "Endpoints to make.", "20000"):argname("N"):convert(script.number(1, 1000000, true))
local opts = script.parse(parser, arg)
bench.pin(0)

local function reader(udp)
  udp:recv()
end

local function make(relay, count)
  for i = 1, count do
    local conn = relay:conn { mac = ether.mac_add("02:00:00:00:00:00", i), vlans = 100 }
    ether.spawn(reader, conn:udp("10.0.0.1:68"))
  end
  ether.sleep(0)
end

local relay = ether.wire()
local before, started = bench.memory(), ether.now()
make(relay, opts.count)
local seconds = ether.now() - started
local bytes = bench.memory() - before
local share = opts.count / 20000
bench.report(opts, { case = opts.count .. " endpoints and blocked tasks, time", value = seconds, unit = "s",
  goal = 1 * share })
bench.report(opts, { case = opts.count .. " endpoints and blocked tasks, memory", value = bytes / 1e6, unit = "MB",
  goal = 60 * share })
relay:close()
