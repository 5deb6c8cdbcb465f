-- dhcp.lua: sessions a second of scripts/dhcp4_load.lua, a process of its own on core 0, against a responder in C
-- (floor/dhcp_responder.c) and against a real Kea without a lease file, on core 1. The floor is clients in C, over
-- AF_PACKET, that do what a client must, and no more (floor/dhcp_client.c). Clients have other MAC addresses in each
-- round.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local cjson = require "cjson"
local ether = require "etherlua"
local script = require "etherlua.script"
local servers = require "etherlua.test.servers"

local LOAD = bench.folder .. "../dhcp4_load.lua"
local AT_ONCE = 128 -- clients that are busy with the server, as dhcp4_load has it by default
local SERVER, POOL = "10.255.255.254/8", "10.0.0.1-10.31.255.255"
-- One thread, and no line in the log for each lease: what is measured is the server, not its disk.
local KEA = {
  ["multi-threading"] = { ["enable-multi-threading"] = false },
  loggers = {
    { name = "kea-dhcp4", severity = "INFO", output_options = { { output = "stdout" } } },
    { name = "kea-dhcp4.leases", severity = "WARN", output_options = { { output = "stdout" } } },
  },
}

local parser = bench.parser("dhcp", "Measure DHCP sessions a second.")
parser:option("--clients", "Clients of each round.", "100000"):argname("N"):convert(script.number(1, 1000000, true))
local opts = script.parse(parser, arg)
local net = bench.lab()

-- ---- one round ----------------------------------------------------------------------------------------------------

local COMMAND = "taskset -c 0 '%s' run '%s' -i %s:eth0 --clients %d --mac 02:00:%02x:00:00:00 --json; :"

local function check_script()
  local file = io.open(LOAD)
  if not file then error("there is no scripts/dhcp4_load.lua", 0) end
  file:close()
end

local function load_clients(kind, round)
  local text = net.near:run(COMMAND:format(bench.program(), LOAD, kind, opts.clients, round))
  local line = text:match("{[^\n]*}")
  if not line then error("dhcp4_load failed: " .. text, 0) end
  return cjson.decode(line)
end

-- Both begin when the program is there.
local function floor(round)
  local result = bench.run_floor(net, ("dhcp_client eth0 %d %d %d"):format(opts.clients, AT_ONCE, round))
  return { rate = result.count / result.seconds }
end

local function measure(kind)
  local memory, lost, round = {}, 0, 0
  local rounds = bench.rounds(opts, function()
    local result = load_clients(kind, round)
    lost, memory[#memory + 1] = lost + result.clients - result.bound, result.memory_mb * 1.048576
    return { rate = result.rate }
  end, function()
    round = round + 1
    return floor(round % 256)
  end)
  local summary = bench.summary(rounds, "rate")
  summary.lost, summary.memory = lost, bench.median(memory)
  return summary
end

-- ---- servers ------------------------------------------------------------------------------------------------------

-- start() returns what ends the server.
local function with_server(start, fn)
  local stop = start()
  ether.sleep(0.2) -- it comes up
  local ok, result = pcall(fn)
  stop()
  if not ok then error(result, 0) end
  return result
end

local function start_responder()
  local process = net.far:start { "taskset", "-c", "1", bench.floor("dhcp_responder"), "eth0" }
  return function() process:stop() end
end

local function start_kea()
  local missing = servers.missing("kea-dhcp4")
  if missing then error(missing, 0) end
  local kea = servers.kea(net.far, { address = SERVER, pool = POOL, config = KEA })
  net.far:run(("taskset -apc 1 %d"):format(kea.process.pid))
  return function() kea:stop() end
end

-- ---- cases --------------------------------------------------------------------------------------------------------

local RATIO = { "floor", "ratio", "ratio_low", "ratio_high", "busy" } -- fields that are about the rate

-- All rows are of the same rounds.
local function cases(server, kind, start, rows)
  local ok, result = pcall(function()
    check_script()
    return with_server(start, function() return measure(kind) end)
  end)
  if not ok and type(result) == "table" then error(result, 0) end
  for _, row in ipairs(rows) do
    bench.case(opts, { case = ("DHCP, %s, %s, %s"):format(server, row.words, kind), unit = row.unit, goal = row.goal },
      function()
        if not ok then error(result, 0) end
        local fields = { value = result[row.name], memory = result.memory, note = ("%d clients"):format(opts.clients) }
        for _, name in ipairs(row.name == "value" and RATIO or {}) do fields[name] = result[name] end
        return fields
      end)
  end
end

local RATE = { name = "value", words = "rate", unit = "sessions/s", goal = bench.at_least(0.6) }
local LOST = { name = "lost", words = "lost", unit = "sessions", goal = bench.at_most(0) }

for _, kind in ipairs(bench.kinds(opts, "xdp", "afpacket")) do
  cases("C responder", kind, start_responder, { RATE, { name = "memory", words = "memory", unit = "MB" }, LOST })
end
for _, kind in ipairs(bench.kinds(opts, "afpacket")) do
  cases("Kea", kind, start_kea, { RATE, LOST })
end
