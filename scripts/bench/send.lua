-- send.lua: how fast RUDPConn sends, against the floor of the relay's kind: AF_XDP, or AF_PACKET with sendmmsg past the
-- queueing discipline. What counts is what the interface at the other end received, of both.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local script = require "etherlua.script"

local FLOORS = { xdp = "xdp", afpacket = "packet", pcap = "packet" }
local CLOCK_EVERY = 1024 -- packets between two looks at the clock
-- endpoints that send in turn, bytes of UDP payload: 18 are a frame of 60
local CASES = {
  { name = "send 60 B", endpoints = 1, payload = 18, goal = bench.at_least(0.92) },
  { name = "send 60 B, 10,000 endpoints", endpoints = 10000, payload = 18, goal = bench.at_least(0.80) },
  { name = "send 1,000 B payload", endpoints = 1, payload = 1000, goal = bench.at_least(0.90) },
}

local opts = script.parse(bench.parser("send", "Measure how fast datagrams are sent."), arg)
local net = bench.lab { sink = true }

-- As long as that, in rounds through all of them.
local function send_for(udps, payload, seconds)
  local to, count, deadline = ether.addr(bench.FAR), #udps, ether.now() + seconds
  local times = math.max(1, CLOCK_EVERY / count)
  repeat
    for _ = 1, times do
      for i = 1, count do udps[i]:send(payload, to) end
    end
  until ether.now() >= deadline
end

local function ours(kind, case)
  return bench.with_relay(net, kind, function(relay)
    local udps, payload = bench.hosts(relay, case.endpoints), ("x"):rep(case.payload)
    send_for(udps, payload, bench.WARM_UP)
    relay:flush()
    local before = bench.received(net.far)
    return bench.measure(function()
      send_for(udps, payload, opts.seconds)
      relay:flush()
      return bench.received(net.far) - before
    end)
  end)
end

local function floor(kind, case)
  local before = bench.received(net.far)
  local result = bench.run_floor(net, ("%s send eth0 %g %d"):format(FLOORS[kind], opts.seconds, case.payload))
  result.count = bench.received(net.far) - before
  return result
end

for _, case in ipairs(CASES) do
  for _, kind in ipairs(bench.kinds(opts, "xdp", "afpacket")) do
    bench.case(opts, { case = ("%s, %s"):format(case.name, kind), unit = "M/s", goal = case.goal }, function()
      if not FLOORS[kind] then error(("no floor program for relay kind %q"):format(kind), 0) end
      return bench.summary(bench.rounds(opts, function() return ours(kind, case) end,
        function() return floor(kind, case) end), "rate")
    end)
  end
end
