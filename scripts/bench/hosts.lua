-- hosts.lua: how many requests a second 10,000 emulated hosts answer, ARP and ping, on one core: requests go to each
-- in turn at a rate, from another process on the other core, which counts the answers. The highest of the rates at
-- which all were answered is the result. The floor is a kernel that answers for everybody (floor/everybody.bpf.c). And
-- the memory that a host takes.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local cjson = require "cjson"
local ether = require "etherlua"
local prefix = require "etherlua.net.prefix"
local proto = require "etherlua.proto"
local script = require "etherlua.script"

local HOSTS, FIRST, ASKER, LENGTH = 10000, "10.7.1.1", "10.7.0.1", "/16"
local RATES = { 100000, 200000, 300000, 400000, 600000, 800000, 1000000 }
local GOAL = bench.at_least(0.3)
local QUIET = 0.3 -- seconds without an answer: it was the last one
local BURST, DEPTH = 32, 16384

local parser = bench.parser("hosts", "Measure how many requests emulated hosts answer.")
parser:option("--ask", "For the other process: ask for this, arp or echo."):argname("WHAT"):choices { "arp", "echo" }
parser:option("--rate", "For the other process: requests a second."):convert(tonumber)
local opts = script.parse(parser, arg)

-- ---- the other process --------------------------------------------------------------------------------------------

local ASK = {}

function ASK.arp(ip)
  return proto.arp.build { sha = bench.FAR_MAC, spa = ASKER, tpa = ip }, "ff:ff:ff:ff:ff:ff", { ethertype = 0x0806 }
end

function ASK.echo(ip, mac)
  return proto.ipv4.build { src = ASKER, dst = ip, protocol = 1,
    payload = proto.icmp.build { type = 8, identifier = 1, payload = ("x"):rep(56) } }, mac
end

local function requests()
  local list = {}
  for i = 0, HOSTS - 1 do
    local payload, mac, more = ASK[opts.ask](prefix.ip_add(FIRST, i), ether.mac_add(bench.NEAR_MAC, i))
    list[i] = { payload = payload, mac = ether.mac(mac), more = more }
  end
  return list
end

local function send_all(conn, list, count, pacer)
  for i = 0, count - 1 do
    if i % BURST == 0 then pacer:wait() end
    local request = list[i % HOSTS]
    conn:send(request.payload, request.mac, request.more)
  end
end

local answers = 0

local function count_answers(conn)
  while conn:recv_frame() do answers = answers + 1 end
end

local function ask()
  bench.pin(1)
  local conn = script.relay(opts):conn { mac = bench.FAR_MAC, recv_depth = DEPTH }
  ether.spawn(count_answers, conn)
  local list, count = requests(), math.floor(opts.rate * opts.seconds)
  send_all(conn, list, HOSTS, ether.pacer { rate = 50000 / BURST }) -- warms up
  ether.sleep(QUIET)
  local before, started = answers, ether.now()
  send_all(conn, list, count, ether.pacer { rate = opts.rate / BURST, burst = 1 })
  local seconds = ether.now() - started
  ether.sleep(QUIET)
  print(cjson.encode { asked = count, answered = answers - before, rate = count / seconds })
  conn:close()
end

if opts.ask then return ask() end

-- ---- the hosts ----------------------------------------------------------------------------------------------------

local net = bench.lab()

local function run_asker(what, rate)
  local log = os.tmpname()
  local process = net.far:start({ bench.program(), "run", bench.folder .. "hosts.lua", "-i", "afpacket:eth0", "--ask",
    what, "--rate", tostring(rate), "--seconds", tostring(opts.seconds) }, { log = log })
  while not process:status() do ether.sleep(0.05) end
  local text = process:log()
  os.remove(log)
  local ok, said = pcall(cjson.decode, text)
  if not ok then error(text, 0) end
  return said
end

-- The rate of the requests, if every one was answered.
local function answered_rate(what, rate)
  local rates = {}
  for i = 1, opts.rounds do
    local said = run_asker(what, rate)
    if said.answered < said.asked then return nil, said end
    rates[i] = said.rate
  end
  return bench.median(rates)
end

local function make(relay, count)
  for i = 0, count - 1 do
    relay:host { mac = ether.mac_add(bench.NEAR_MAC, i), ip = prefix.ip_add(FIRST, i) .. LENGTH }
  end
end

local function find_limit(what)
  local best, lost = 0, nil
  local cpu, asked = os.clock(), 0
  for _, rate in ipairs(RATES) do
    local answered, said = answered_rate(what, rate)
    if not answered then
      lost = ("at %s M/s %d of %d were answered"):format(bench.number(said.rate / 1e6), said.answered, said.asked)
      break
    end
    best, asked = answered / 1e6, asked + rate * opts.seconds * opts.rounds
  end
  return { value = best, cpu = (os.clock() - cpu) / math.max(asked, 1) * 1e6, memory = bench.memory(), note = lost }
end

local floors = {} -- by what is asked

local function floor(what)
  if floors[what] then return floors[what] end
  bench.answer_for_everybody(net.near)
  local ok, found = pcall(find_limit, what)
  net.near:configure "tc qdisc del dev eth0 clsact"
  if not ok then error(found, 0) end
  floors[what] = found.value
  return found.value
end

bench.case(opts, { case = "an emulated host, memory", unit = "KiB", goal = bench.at_most(2.5) }, function()
  local a, b = ether.wire()
  make(a, HOSTS / 10) -- what is there once
  local before = bench.memory()
  make(b, HOSTS)
  local memory = bench.memory()
  a:close()
  b:close()
  return { value = (memory - before) * 1e6 / 1024 / HOSTS, memory = memory }
end)

for _, kind in ipairs(bench.kinds(opts, "afpacket", "xdp")) do
  for _, what in ipairs { "arp", "echo" } do
    local row = { case = ("10,000 hosts answer %s, %s"):format(what, kind), unit = "M/s", goal = GOAL }
    bench.case(opts, row, function()
      local limit = floor(what)
      local found = bench.with_relay(net, kind, function(relay)
        make(relay, HOSTS)
        return find_limit(what)
      end)
      found.floor, found.ratio = limit, found.value / limit
      return found
    end)
  end
end
