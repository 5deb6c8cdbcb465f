-- pacer.lua: a task that sends at a set rate: what rate the interface at the other end saw, and how even the gaps were.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local script = require "etherlua.script"

local RATES = { 1000, 10000, 100000, 500000 } -- packets a second
local GOAL = bench.within(0.005)

local opts = script.parse(bench.parser("pacer", "Measure how well ether.pacer keeps a rate."), arg)
local net = bench.lab { sink = true }

local function send_paced(udp, pacer, count)
  local payload, to = ("x"):rep(18), ether.addr(bench.FAR)
  for _ = 1, count do
    pacer:wait()
    udp:send(payload, to)
  end
end

-- From one slot to one that is so many slots later: the very first is none of them.
local function ours(kind, rate)
  return bench.with_relay(net, kind, function(relay)
    local udp = bench.hosts(relay, 1)[1]
    send_paced(udp, ether.pacer { rate = rate }, math.ceil(rate * bench.WARM_UP))
    relay:flush()
    local pacer = ether.pacer { rate = rate, jitter = true }
    pacer:wait()
    local before = bench.received(net.far)
    local result = bench.measure(function()
      send_paced(udp, pacer, math.ceil(rate * opts.seconds))
      relay:flush()
      return bench.received(net.far) - before
    end)
    result.gaps = pacer.gaps
    return result
  end)
end

local function gaps_text(gaps)
  local parts = {}
  for i, share in ipairs { 0.5, 0.99, 1 } do parts[i] = bench.number(gaps:percentile(share) * 1e6) end
  return ("gaps of the last round: median %s, 99th percentile %s, most %s us"):format(unpack(parts))
end

-- The rate that was asked for stands in the place of a floor.
local function fields_of(kind, rate)
  if not ether.pacer then error("there is no ether.pacer", 0) end
  local rounds = bench.rounds(opts, function() return ours(kind, rate) end,
    function() return { rate = rate / 1e6, cpu = 0 } end)
  local fields = bench.summary(rounds, "rate")
  fields.value, fields.floor, fields.floor_cpu = fields.value * 1e6, rate, nil
  fields.note = gaps_text(rounds[#rounds].ours.gaps)
  return fields
end

for _, kind in ipairs(bench.kinds(opts, "xdp", "afpacket")) do
  for _, rate in ipairs(RATES) do
    bench.case(opts, { case = ("pacer at %d packets/s, %s"):format(rate, kind), unit = "packets/s", goal = GOAL },
      function() return fields_of(kind, rate) end)
  end
end
