-- endpoints.lua: what many endpoints cost: EtherConn + RUDPConn + a task blocked in recv each. The time to make them,
-- the memory of the process, and the CPU time of a frame on its whole way over a wire in memory: send, demux, queue,
-- task, recv. Frames go to one of the endpoints, which tells what finding it costs, or to all in turn, where nothing of
-- an endpoint is in the processor's caches when its frame comes. The cost with a single endpoint, or another number, is
-- measured in processes of their own: what making many leaves behind, in the JIT too, is a part of theirs. The floor of
-- making them is as many bare coroutines. Needs no privileges.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local cjson = require "cjson"
local ether = require "etherlua"
local files = require "etherlua.core.files"
local plot = require "plot"
local proto = require "etherlua.proto"
local script = require "etherlua.script"

local BURST = 64 -- frames on their way at a time
local SENDER = "02:00:00:00:00:02"

local parser = bench.parser("endpoints", "Measure what endpoints with blocked tasks cost.")
parser:option("--count", "Endpoints to make.", "100000"):argname("N"):convert(script.number(1, 1000000, true))
parser:option("--plot", "Write a plot of the cost of a frame against the number of endpoints to this file (SVG).")
  :argname("FILE")
parser:flag("--alone", "Do not compare with a single endpoint.")
local opts = script.parse(parser, arg)
bench.pin(0)

local datagram = proto.ipv4.build { src = "10.0.0.2", dst = "10.0.0.1", protocol = 17,
  payload = proto.udp.build({ src_port = 7, dst_port = 1000, payload = ("x"):rep(18) },
    { src = "10.0.0.2", dst = "10.0.0.1" }) }

-- ---- endpoints ----------------------------------------------------------------------------------------------------

local received = 0

local function reader(udp)
  while udp:recv() do received = received + 1 end
end

-- Endpoints on one end of a wire, the seconds that making them took and the memory of the process then.
local function make(count)
  local a, b = ether.wire()
  local start = ether.now()
  for _, udp in ipairs(bench.hosts(b, count)) do ether.spawn(reader, udp) end
  ether.sleep(0)
  return { near = a, far = b, count = count, seconds = ether.now() - start, memory = bench.memory() }
end

-- Hosts as of make(), and someone at the other end who sends to them.
local function make_with_sender(count)
  local world = make(count)
  world.sender, world.macs, world.next = world.near:conn { mac = SENDER }, {}, 1
  for i = 1, count do world.macs[i] = ether.mac(ether.mac_add(bench.NEAR_MAC, i - 1)) end
  return world
end

local function close(world)
  world.near:close()
  world.far:close()
  ether.sleep(0)
end

-- ---- frames -------------------------------------------------------------------------------------------------------

local function send_burst(world, first, step)
  local sender, macs, count, at = world.sender, world.macs, #world.macs, first
  for _ = 1, BURST do
    sender:send(datagram, macs[at])
    at = at + step
    if at > count then at = 1 end
  end
  return at
end

-- Bursts for so many seconds; step 0: all to the endpoint in the middle, 1: to all in turn.
local function send_for(world, step, seconds)
  local before, sent, deadline = received, 0, ether.now() + seconds
  local at = step == 0 and math.ceil(#world.macs / 2) or world.next
  repeat
    at = send_burst(world, at, step)
    sent = sent + BURST
    while received - before < sent do ether.sleep(0) end
  until ether.now() >= deadline
  world.next = at
  return sent
end

local function frame_cost(world, step)
  send_for(world, step, math.min(bench.WARM_UP, opts.seconds))
  local result = bench.measure(send_for, world, step, opts.seconds)
  result.cost = result.cpu / result.count * 1e9
  return result
end

-- ---- cases --------------------------------------------------------------------------------------------------------

local function named(text)
  return text:format(opts.count)
end

local function make_and_close()
  local cpu = os.clock()
  local world = make(opts.count)
  close(world)
  return { count = opts.count, seconds = world.seconds, memory = world.memory, cpu = os.clock() - cpu }
end

-- As many coroutines that have begun, with a table each.
local function make_coroutines()
  local start, cpu, list = ether.now(), os.clock(), {}
  for i = 1, opts.count do
    local co = coroutine.create(coroutine.yield)
    coroutine.resume(co)
    list[i] = { co = co }
  end
  return { count = #list, seconds = ether.now() - start, memory = 0, cpu = os.clock() - cpu }
end

-- Other numbers of endpoints have no goal of their own.
local function at_most(limit)
  return opts.count == 100000 and bench.at_most(limit) or nil
end

local function make_cases()
  local memory, rounds
  bench.case(opts, { case = named "%d endpoints with tasks, memory", unit = "MB", goal = at_most(120) },
    function()
      rounds = bench.rounds(opts, make_and_close, make_coroutines)
      memory = rounds[1].ours.memory -- later ones also hold what the first left behind
      return { value = memory, memory = memory }
    end)
  bench.case(opts, { case = named "%d endpoints with tasks, making", unit = "s", goal = at_most(12) },
    function()
      if not rounds then error("none could be made", 0) end
      return bench.summary(rounds, "seconds")
    end)
end

-- Costs of a frame with another number of endpoints: the rows of frame_cases() of this script, run again.
---@return table to_one, table in_turn rows
local function measure_elsewhere(count, rounds)
  local pipe = io.popen(("%s run %s --json --alone --count %d --rounds %d --seconds %g 2>&1"):format(bench.program(),
    files.quote(arg[0]), count, rounds, opts.seconds))
  local rows = {}
  for line in pipe:lines() do
    if line:sub(1, 1) ~= "{" then error(line, 0) end
    rows[#rows + 1] = cjson.decode(line)
  end
  pipe:close()
  return rows[#rows - 1], rows[#rows]
end

-- Many against one. step as of send_for.
local function frame_fields(world, step)
  local rounds = bench.rounds(opts, function() return frame_cost(world, step) end, function()
    if opts.alone then return { cost = 0, cpu = 0 } end
    local row = select(step + 1, measure_elsewhere(1, 1))
    return { cost = row.value, cpu = row.cpu }
  end)
  local fields = bench.summary(rounds, "cost")
  if opts.alone then
    for _, name in ipairs { "floor", "floor_cpu", "ratio", "ratio_low", "ratio_high" } do fields[name] = nil end
  end
  return fields
end

local function frame_cases()
  local world, goal = make_with_sender(opts.count), not opts.alone and bench.at_most(1.5) or nil
  bench.case(opts, { case = named "frame to one of %d endpoints", unit = "ns", goal = goal },
    function() return frame_fields(world, 0) end)
  bench.case(opts, { case = named "frames to %d endpoints in turn", unit = "ns" },
    function() return frame_fields(world, 1) end)
  close(world)
end

local function draw(path)
  local to_one, in_turn, count = {}, {}, 1
  while count <= opts.count do
    local one, all = measure_elsewhere(count, opts.rounds)
    to_one[#to_one + 1], in_turn[#in_turn + 1] = { count, one.value }, { count, all.value }
    count = count * 10
  end
  plot.write(path, {
    title = "A frame's way over a wire: send, demux, task, recv", x = "endpoints, each with a task blocked in recv",
    y = "CPU time of a frame, ns",
    series = { { name = "frames to all endpoints in turn", points = in_turn },
      { name = "frames to one of the endpoints", points = to_one } },
  })
end

make_cases()
frame_cases()
if opts.plot then draw(opts.plot) end
