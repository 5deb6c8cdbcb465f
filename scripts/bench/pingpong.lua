-- pingpong.lua: round trip of a RUDPConn with default options, against two C programs on AF_PACKET. The other end is
-- the same C program for both.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local script = require "etherlua.script"

local PER_SECOND, WARM_UP, LEAST = 20000, 2000, 100 -- round trips
local GOAL = bench.at_most(1.5)

local opts = script.parse(bench.parser("pingpong", "Measure the round trip of a UDP datagram."), arg)
local net = bench.lab()
local count = math.max(LEAST, math.floor(opts.seconds * PER_SECOND))
net.far:start { "taskset", "-c", "1", bench.floor("pingpong"), "echo", "eth0" }
ether.sleep(0.2) -- it comes up

local function ping(udp, times)
  local payload, to = ("x"):rep(18), ether.addr(bench.FAR)
  for i = 1, #times do
    local start = ether.now()
    udp:send(payload, to)
    if not udp:recv(1) then error("no echo", 0) end
    times[i] = (ether.now() - start) * 1e6
  end
  return 2 * #times
end

local function zeros(length)
  local list = {}
  for i = 1, length do list[i] = 0 end
  return list
end

local function ours(kind)
  return bench.with_relay(net, kind, function(relay)
    local conn = relay:conn { mac = bench.NEAR_MAC }
    local udp = conn:udp(bench.NEAR, { resolve = function() return bench.FAR_MAC end })
    local times = zeros(count)
    ping(udp, zeros(WARM_UP))
    local result = bench.measure(ping, udp, times)
    result.median, result.worst = bench.percentile(times, 0.5), bench.percentile(times, 0.99)
    return result
  end)
end

local function floor()
  local line = net.near:run(("taskset -c 0 %s ping eth0 %d"):format(bench.floor("pingpong"), count))
  local median, worst, cpu = line:match("([%d.]+) ([%d.]+) ([%d.]+)")
  return { median = tonumber(median), worst = tonumber(worst), cpu = tonumber(cpu) / (2 * count) * 1e6 }
end

-- Both cases are of the same rounds.
for _, kind in ipairs(bench.kinds(opts, "afpacket")) do
  local measured, rounds = pcall(bench.rounds, opts, function() return ours(kind) end, floor)
  if not measured and type(rounds) == "table" then error(rounds, 0) end
  for _, case in ipairs { { "median", "median" }, { "99th percentile", "worst" } } do
    bench.case(opts, { case = ("round trip, %s, %s"):format(case[1], kind), unit = "us", goal = GOAL }, function()
      if not measured then error(rounds, 0) end
      return bench.summary(rounds, case[2])
    end)
  end
end
