-- recv.lua: how fast RUDPConns receive, fed by the kernel itself (floor/blast.c) as fast as it goes, against AF_XDP or
-- the best of three ways to receive on AF_PACKET. That below that rate nothing is lost, and what a frame costs then,
-- against tcpdump.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local script = require "etherlua.script"
local cpu_of = require("rounds").cpu_of

local FLOORS = {
  xdp = { "xdp recv" },
  afpacket = { "packet v3", "packet v2", "packet mmsg" },
  pcap = { "packet v3", "packet v2", "packet mmsg" },
}
local MANY = 10000
local CLOCK_EVERY = 256 -- packets between two looks at the clock
local PROBE = 0.3       -- seconds to find the best floor
local QUIET = 0.2       -- seconds without a frame: the last one was received
local SHARES = { 0.2, 0.4, 0.6, 0.8 } -- of the receive rate, without loss

local opts = script.parse(bench.parser("recv", "Measure how fast datagrams are received."), arg)
local net = bench.lab()

-- ---- one endpoint, read by this task ------------------------------------------------------------------------------

-- udp[method] for so many seconds. Functions of their own are compiled on their own.
local function reader_of(method)
  return function(udp, seconds)
    local recv, count, deadline = udp[method], 0, ether.now() + seconds
    repeat
      for _ = 1, CLOCK_EVERY do
        if not recv(udp, 1) then error("no frame for a second", 0) end
      end
      count = count + CLOCK_EVERY
    until ether.now() >= deadline
    return count
  end
end

-- What fn(...) takes, and the rate that the feed offers meanwhile: one that is no higher is itself the limit.
local function measure(fn, ...)
  local args, before, after = { ... }, bench.received(net.near), nil
  local result = bench.measure(function()
    local count = fn(unpack(args))
    after = bench.received(net.near)
    return count
  end)
  result.offered = (after - before) / result.seconds / 1e6
  return result
end

local function receive_one(kind, method)
  return bench.with_relay(net, kind, function(relay)
    local udp, read = bench.hosts(relay, 1)[1], reader_of(method)
    read(udp, bench.WARM_UP)
    return measure(read, udp, opts.seconds)
  end)
end

-- ---- many endpoints, each with a task blocked in recv -------------------------------------------------------------

local received = 0

local function reader(udp)
  while udp:recv() do received = received + 1 end
end

local function receive_many(kind)
  return bench.with_relay(net, kind, function(relay)
    for _, udp in ipairs(bench.hosts(relay, MANY)) do ether.spawn(reader, udp) end
    ether.sleep(bench.WARM_UP)
    return measure(function()
      local before = received
      ether.sleep(opts.seconds)
      return received - before
    end)
  end)
end

-- ---- the floor ----------------------------------------------------------------------------------------------------

local function run_floor(name, seconds)
  return bench.run_floor(net, ("%s eth0 %g"):format(name, seconds))
end

local best = {} -- by kind

local function best_floor(kind)
  local names = FLOORS[kind] or error(("no floor program for relay kind %q"):format(kind), 0)
  if #names == 1 or best[kind] then return best[kind] or names[1] end
  local most = 0
  for _, name in ipairs(names) do
    local probe = run_floor(name, PROBE)
    local rate = probe.count / probe.seconds
    if rate > most then best[kind], most = name, rate end
  end
  return best[kind]
end

local function flood_case(kind, case)
  return bench.case(opts, { case = ("%s, %s"):format(case.name, kind), unit = "M/s", goal = case.goal }, function()
    return bench.with_feed(net, { endpoints = case.endpoints }, function()
      local rounds = bench.rounds(opts, function() return case.ours(kind) end,
        function() return run_floor(best_floor(kind), opts.seconds) end)
      local fields = bench.summary(rounds, "rate")
      fields.note = ("floor: %s; offered %s M/s"):format(best_floor(kind), bench.number(rounds[#rounds].ours.offered))
      return fields
    end)
  end)
end

-- ---- without loss -------------------------------------------------------------------------------------------------

local function receive_all(udp, feed)
  local count = 0
  while true do
    if udp:recv_frame(QUIET) then
      count = count + 1
    elseif feed:status() then
      return count
    end
  end
end

local LOSSES = { "rx_missed", "rx_overflow", "rx_evicted" }

-- Where the relay says that frames were lost, "" when none were.
local function losses(relay)
  local stats, parts = relay:stats(), {}
  for _, name in ipairs(LOSSES) do
    if stats[name] > 0 then parts[#parts + 1] = (" %s %d"):format(name, stats[name]) end
  end
  return table.concat(parts)
end

-- Frames lost behind the interface, and at what rate it received.
local function lost_at(kind, rate)
  return bench.with_relay(net, kind, function(relay)
    local udp, before = bench.hosts(relay, 1)[1], bench.received(net.near)
    local feed = bench.feed(net, { rate = rate, seconds = opts.seconds })
    local count = receive_all(udp, feed)
    local came = bench.received(net.near) - before
    if came == 0 then error("no frame comes from floor/blast.c: " .. feed:log(), 0) end
    return { lost = came - count, text = ("%.3g%s"):format(came / opts.seconds / 1e6, losses(relay)) }
  end)
end

local function loss_case(kind, rate)
  local row = { case = "lost at up to 80 % of that, " .. kind, unit = "frames", goal = bench.at_most(0) }
  bench.case(opts, row, function()
    if not rate then error("the receive rate is not known", 0) end
    local lost, texts = 0, {}
    for i, share in ipairs(SHARES) do
      local result = lost_at(kind, share * rate * 1e6)
      lost = lost + result.lost
      texts[i] = result.text
    end
    return { value = lost, memory = bench.memory(), note = ("at %s M/s"):format(table.concat(texts, ", ")) }
  end)
end

-- ---- the cost of a frame ------------------------------------------------------------------------------------------

local CALM = 100000 -- frames/s that leave a receiver time to sleep

local function cost_of_ours()
  return bench.with_relay(net, "afpacket", function(relay)
    local udp, read = bench.hosts(relay, 1)[1], reader_of "recv_frame"
    read(udp, bench.WARM_UP)
    local result = bench.measure(read, udp, opts.seconds)
    result.cost = result.cpu / result.count * 1e9
    return result
  end)
end

-- Behind its start, which is no frame's.
local function cost_of_tcpdump()
  local process = net.near:start({ "taskset", "-c", "0", "tcpdump", "-i", "eth0", "-w", "/dev/null", "udp" },
    { log = "/dev/null" })
  ether.sleep(bench.WARM_UP)
  if process:status() then error("tcpdump ended at once", 0) end
  local cpu, came = cpu_of(process.pid), bench.received(net.near)
  ether.sleep(opts.seconds)
  cpu, came = cpu_of(process.pid) - cpu, bench.received(net.near) - came
  process:stop()
  return { count = came, seconds = opts.seconds, cpu = cpu / 1e9, cost = cpu / came }
end

local function cost_case()
  local row = { case = "recv_frame, CPU of a frame at 0.1 M/s, afpacket", unit = "ns", goal = bench.at_most(2) }
  bench.case(opts, row, function()
    return bench.with_feed(net, { rate = CALM }, function()
      local fields = bench.summary(bench.rounds(opts, cost_of_ours, cost_of_tcpdump), "cost")
      fields.note = "floor: tcpdump"
      return fields
    end)
  end)
end

for _, kind in ipairs(bench.kinds(opts, "xdp", "afpacket")) do
  local flood = flood_case(kind, { name = "recv_frame, flooded", goal = bench.at_least(0.90),
    ours = function() return receive_one(kind, "recv_frame") end })
  loss_case(kind, flood.value)
  flood_case(kind, { name = "recv (strings), flooded", goal = bench.at_least(0.70),
    ours = function() return receive_one(kind, "recv") end })
  flood_case(kind, { name = "recv, 10,000 endpoints with a task each", endpoints = MANY, goal = bench.at_least(0.60),
    ours = receive_many })
  if kind == "afpacket" then cost_case() end
end
