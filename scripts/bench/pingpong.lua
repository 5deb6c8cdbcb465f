-- pingpong.lua: round trip of a RUDPConn with default options, against two C programs on AF_PACKET. Rounds of both in
-- turn, each side on a core of its own.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local lab = require "etherlua.lab"
local script = require "etherlua.script"

local ROUNDS, COUNT, WARM_UP = 5, 20000, 2000
local FAR_MAC, FAR_ADDRESS = "02:00:00:00:00:02", "10.0.0.2:7"

local opts = bench.options("pingpong", "Measure the round trip of a UDP datagram in a lab.")
local permitted, reason = lab.root()
if not permitted then script.exit(script.FAILED, reason) end
bench.pin(0)

local net = ether.lab()
local floor = bench.floor("pingpong")
ether.defer(function()
  net:close()
  os.remove(floor)
end)
net.far:start { "taskset", "-c", "1", floor, "echo", "eth0" }
ether.sleep(0.2)

local relay = net:relay(opts.relay)
local conn = relay:conn { mac = "02:00:00:00:00:01" }
local udp = conn:udp("10.0.0.1:1000", { resolve = function() return FAR_MAC end })

local function measure(count)
  local times, payload, to = {}, ("x"):rep(18), ether.addr(FAR_ADDRESS)
  for i = 1, count do
    local start = ether.now()
    udp:send(payload, to)
    if not udp:recv(1) then script.exit(script.FAILED, "no echo") end
    times[i] = (ether.now() - start) * 1e6
  end
  return bench.percentile(times, 0.5), bench.percentile(times, 0.99)
end

local function measure_floor()
  local median, worst = net.near:run(("%s ping eth0 %d"):format(floor, COUNT)):match("([%d.]+) ([%d.]+)")
  return tonumber(median), tonumber(worst)
end

local ours, theirs = { {}, {} }, { {}, {} }
for i = 1, ROUNDS do
  theirs[1][i], theirs[2][i] = measure_floor()
  measure(WARM_UP) -- also reads away what the relay saw of the floor's frames
  ours[1][i], ours[2][i] = measure(COUNT)
end
for i, name in ipairs { "median", "99th percentile" } do
  bench.report(opts, { case = ("round trip, %s, %s"):format(relay.kind, name), value = bench.median(ours[i]),
    unit = "us", floor = bench.median(theirs[i]), goal = 3 })
end
