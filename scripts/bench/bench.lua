-- bench.lua: what the benchmarks share: options, the machine, floor programs in C, and rows of results (rounds.lua has
-- how these come about). The engine is pinned to core 0, what is at the other end of the wire to core 1. Each
-- benchmark runs alone, as root; all.lua runs them all:
--
--   etherlua run scripts/bench/pingpong.lua --json

local ether = require "etherlua"
local files = require "etherlua.core.files"
local lab = require "etherlua.lab.lab"
local rounds = require "rounds"
local script = require "etherlua.script"

local M = {}

M.percentile, M.median, M.rounds, M.summary = rounds.percentile, rounds.median, rounds.rounds, rounds.summary

local folder = arg[0]:match("^(.*/)") or "./"
M.folder = folder

-- The hosts of the floor programs (floor/floor.h): endpoints count up from the first MAC address.
M.NEAR_MAC, M.NEAR = "02:00:00:00:10:00", "10.0.0.1:1000"
M.FAR_MAC, M.FAR = "02:00:00:00:00:02", "10.0.0.2:7"
M.WARM_UP = 0.2 -- seconds in which the JIT compiles

-- ---- options ------------------------------------------------------------------------------------------------------

---@param name string
---@param description string
---@return table parser; more options may be added
function M.parser(name, description)
  local parser = script.parser(name, description)
  parser:option("--rounds", "Rounds of etherlua and floor in turn, of which medians are taken.", "5"):argname("N")
    :convert(script.number(1, 1000, true))
  parser:option("--seconds", "Length of one measurement.", "1"):argname("SECONDS"):convert(script.number(0.01, 3600))
  return parser
end

-- Relay kinds to measure: the one of -i, or those.
function M.kinds(opts, ...)
  return opts.relay and { opts.relay } or { ... }
end

-- ---- the machine --------------------------------------------------------------------------------------------------

function M.read_all(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function pid()
  return M.read_all("/proc/self/stat"):match("^%d+")
end

-- The program that runs this script, for starting it again.
---@return string path
function M.program()
  return ("/proc/%s/exe"):format(pid())
end

-- Pins this process to a core.
---@param core integer
function M.pin(core)
  if os.execute(("taskset -pc %d %s >/dev/null 2>&1"):format(core, pid())) ~= 0 then
    script.exit(script.FAILED, ("cannot pin to core %d: taskset of util-linux and two cores are needed"):format(core))
  end
end

-- Memory of this process that is in use now, garbage not included.
---@return number MB
function M.memory()
  collectgarbage()
  collectgarbage()
  return M.read_all("/proc/self/status"):match("VmRSS:%s+(%d+)") * 1024 / 1e6
end

-- Drops what arrives, before the kernel's own stack looks at it: a program of classic BPF, "return TC_ACT_SHOT".
local SINK = "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress bpf bytecode '1,6 0 0 2' direct-action"

local EVERYBODY = "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress bpf direct-action object-file %s "
  .. "section tc"

-- From now on this end answers every ARP request and ping, in the kernel (floor/everybody.bpf.c).
---@param ns etherlua.namespace
function M.answer_for_everybody(ns)
  ns:configure(EVERYBODY:format(files.quote(M.floor_bpf "everybody")))
end

-- A lab that is closed at the end of the run. sink = true: what arrives at the far end is dropped there; everybody =
-- true: it is answered, ARP and ping.
---@param given? table
---@return etherlua.lab
function M.lab(given)
  local permitted, reason = lab.root()
  if not permitted then script.exit(script.FAILED, reason) end
  M.pin(0)
  local ok, net = pcall(lab.new)
  if not ok then script.exit(script.FAILED, net) end
  ether.defer(function() net:close() end)
  ok, reason = pcall(function()
    net.near:configure("ethtool -K eth0 gro on") -- else nothing of floor/blast.c arrives
    if given and given.sink then net.far:configure(SINK) end
    if given and given.everybody then M.answer_for_everybody(net.far) end
  end)
  if not ok then script.exit(script.FAILED, reason) end
  return net
end

-- Frames that the namespace's eth0 has received, as its driver counts them.
---@param ns etherlua.namespace
---@return number
function M.received(ns)
  return tonumber(ns:enter(M.read_all, "/proc/thread-self/net/dev"):match("eth0:%s*%d+%s+(%d+)"))
end

-- ---- etherlua's side ----------------------------------------------------------------------------------------------

local SETTLE = 0.2 -- seconds: the kernel takes its time to let go of an AF_XDP socket's queue

-- Calls fn with a relay in the near namespace, and closes it.
---@return any what fn returns
function M.with_relay(net, kind, fn)
  ether.sleep(SETTLE)
  local relay = net:relay(kind)
  local ok, result = pcall(fn, relay)
  relay:close()
  if not ok then error(result, 0) end
  ether.sleep(SETTLE)
  return result
end

-- RUDPConns, each on an EtherConn of its own.
---@param relay table
---@param count integer
---@return ffi.cdata*[]
function M.hosts(relay, count)
  local udps = {}
  for i = 1, count do udps[i] = relay:conn { mac = ether.mac_add(M.NEAR_MAC, i - 1) }:udp(M.NEAR) end
  return udps
end

-- What fn(...), which returns a number of packets, takes.
---@return table { count =, seconds =, cpu = seconds, memory = MB }
function M.measure(fn, ...)
  local start, cpu = ether.now(), os.clock()
  local count = fn(...)
  return { count = count, seconds = ether.now() - start, cpu = os.clock() - cpu, memory = M.memory() }
end

-- ---- floor programs -----------------------------------------------------------------------------------------------

local COMPILE = "cc -O2 -std=c11 -D_GNU_SOURCE -o %s %sfloor/%s.c $(pkg-config --cflags --libs libxdp libbpf)"
local COMPILE_BPF = "clang -O2 -g -target bpf -I/usr/include/$(uname -m)-linux-gnu -c -o %s %sfloor/%s.bpf.c"

local built = {}

local function build(name, command)
  if built[name] then return built[name] end
  local path = os.tmpname()
  ether.defer(function() os.remove(path) end)
  if os.execute((command .. " >&2"):format(files.quote(path), files.quote(folder), name)) ~= 0 then
    script.exit(script.FAILED, ("cannot build %sfloor/%s"):format(folder, name))
  end
  built[name] = path
  return path
end

-- Builds a floor program; it is removed at the end of the run.
---@param name string of scripts/bench/floor/NAME.c
---@return string path
function M.floor(name)
  return build(name, COMPILE)
end

---@param name string of scripts/bench/floor/NAME.bpf.c
---@return string path of the object file
function M.floor_bpf(name)
  return build(name, COMPILE_BPF)
end

-- Runs one on core 0 of the near namespace, in etherlua's place, and waits for it.
---@param net etherlua.lab
---@param words string name and arguments
---@return table as M.measure
function M.run_floor(net, words)
  local name, arguments = words:match("^(%S+)(.*)$")
  local line = net.near:run(("taskset -c 0 %s%s"):format(M.floor(name), arguments))
  local count, seconds, cpu = line:match("^(%d+) ([%d.]+) ([%d.]+)\n$")
  if not count then error(("floor %s printed %q"):format(words, line), 0) end
  if tonumber(count) == 0 then error(("floor %s moved no frame"):format(words), 0) end
  return { count = tonumber(count), seconds = tonumber(seconds), cpu = tonumber(cpu) }
end

local FOR_EVER = 86400

-- Frames sent by the kernel itself from core 1 of the far namespace; it has to be stopped, or ends by itself after
-- given.seconds.
---@param net etherlua.lab
---@param given table endpoints = number of MAC addresses that frames go to in turn (1); rate = packets/s (all that
---  there can be); payload = bytes (18); seconds
---@return etherlua.process
function M.feed(net, given)
  local object = M.floor_bpf "blast"
  local log = os.tmpname()
  ether.defer(function() os.remove(log) end)
  return net.far:start({ "taskset", "-c", "1", build("blaster", COMPILE:gsub("%%s.c", "blast.c", 1)), object, "eth0",
    given.seconds or FOR_EVER, given.payload or 18, given.endpoints or 1, given.rate or 0 }, { log = log })
end

local FEED_TRIES, FEED_STEP = 250, 0.02

-- Starts a feed that does not end and calls fn while it flows.
---@return any what fn returns
function M.with_feed(net, given, fn)
  local before, process = M.received(net.near), M.feed(net, given)
  for _ = 1, FEED_TRIES do
    if M.received(net.near) > before or process:status() then break end
    ether.sleep(FEED_STEP)
  end
  if M.received(net.near) == before then error("no frame comes from floor/blast.c: " .. process:log(), 0) end
  rounds.feed = process
  local ok, result = pcall(fn)
  rounds.feed = nil
  process:stop()
  if not ok then error(result, 0) end
  return result
end

-- ---- rows ---------------------------------------------------------------------------------------------------------

-- Goals, for the ratio of a row with a floor and the value of one without.
function M.at_least(low)
  return { low = low, high = math.huge, text = (">= %g"):format(low) }
end

function M.at_most(high)
  return { low = -math.huge, high = high, text = ("<= %g"):format(high) }
end

function M.within(share)
  return { low = 1 - share, high = 1 + share, text = ("1 +- %g"):format(share) }
end

-- What a row has, in JSON all of it: case; value and floor in `unit`; ratio, and the least and the greatest of all
-- rounds; goal as text; met: true, false, or null when there is no goal, the machine was busy with other things, or the
-- case cannot run, then note says why; busy: the share that it was before a round, at the most; cpu and floor_cpu: CPU
-- seconds for a million packets; memory: MB of etherlua's process; base: value of the version that it is compared with;
-- note.
M.FIELDS = { "case", "value", "floor", "unit", "ratio", "ratio_low", "ratio_high", "goal", "met", "busy", "cpu",
  "floor_cpu", "memory", "base", "note" }

local function is_null(value)
  return value == nil or type(value) == "userdata" -- cjson.null
end

-- A number in three digits, or more when it has more in front of the point.
---@param value number|nil nil, or JSON's null: ""
---@return string
function M.number(value)
  if is_null(value) then return "" end
  return (math.abs(value) >= 999.5 and "%.0f" or "%.3g"):format(value)
end

local MET = { [true] = "met", [false] = "NOT MET" }
local LINE = "%-46s %9s %9s %-10s %6s %-11s %-10s %-7s %7s %7s %7s  %s"

local function line_of(...)
  return (LINE:format(...):gsub("%s+$", ""))
end

local HEADER = line_of("case", "etherlua", "floor", "unit", "ratio", "", "goal", "", "CPU s/M", "floor's", "MB", "")

local function met_text(row)
  return MET[row.met] or not is_null(row.goal) and not is_null(row.busy) and row.busy > rounds.BUSY and "BUSY" or ""
end

local function spread_text(row)
  if is_null(row.ratio_low) then return "" end
  return ("%.3g-%.3g"):format(row.ratio_low, row.ratio_high)
end

local function note_text(row)
  local words = {}
  if not is_null(row.base) then
    local times = row.base ~= 0 and (", x %.3g"):format(row.value / row.base) or ""
    words[1] = "base " .. M.number(row.base) .. times
  end
  if not is_null(row.note) then words[#words + 1] = row.note end
  return table.concat(words, "; ")
end

local function row_text(row)
  local function text(name) return is_null(row[name]) and "" or tostring(row[name]) end
  return line_of(row.case, M.number(row.value), M.number(row.floor), text("unit"), M.number(row.ratio),
    spread_text(row), text("goal"), met_text(row), M.number(row.cpu), M.number(row.floor_cpu), M.number(row.memory),
    note_text(row))
end

local header_printed = false

-- Prints them as a table, or as JSON when that was asked for.
---@param opts table
---@param rows table[] of M.FIELDS
function M.print_rows(opts, rows)
  if script.on_terminal() then io.stderr:write("\r\27[K") end
  if not opts.json and not header_printed then print(HEADER) end
  header_printed = true
  for _, row in ipairs(rows) do
    if opts.json then script.print_json(M.FIELDS, row) else print(row_text(row)) end
  end
end

local current -- case

local function show(name)
  if not current then script.progress(function() return current end) end
  current = name
end

-- Measures and prints one case. An error of fn's is what keeps the case from running.
---@param opts table
---@param row table case, unit, goal of M.at_least and the like
---@param fn function returns the row's other fields
---@return table row
function M.case(opts, row, fn)
  show(row.case)
  local ok, result = pcall(fn)
  if not ok and type(result) == "table" then error(result, 0) end -- cancelled, or the script's end
  local goal = row.goal
  row.goal = goal and goal.text
  if ok then
    for name, value in pairs(result) do row[name] = value end
    local judged = row.ratio or row.value
    if goal and (row.busy or 0) <= rounds.BUSY then row.met = judged >= goal.low and judged <= goal.high end
  else
    row.note = "cannot run: " .. tostring(result):gsub("%s*\n%s*", " ")
  end
  M.print_rows(opts, { row })
  return row
end

return M
