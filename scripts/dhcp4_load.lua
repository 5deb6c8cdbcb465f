-- dhcp4_load.lua: leases IPv4 addresses by DHCP for very many hosts as fast as possible, and says how fast it was.
--
--   etherlua run dhcp4_load -i eth1 --clients 100000 --vlan-range 100.1-4094
--   etherlua run dhcp4_load --lab --clients 5000 --rate 2000 --release

local dhcp4_load = require "etherlua.role.dhcp4_load"
local ether = require "etherlua"
local load_summary = require "etherlua.role.dhcp4.load_summary"
local report = require "etherlua.program.report"
local script = require "etherlua.script"
local vlan_range = require "etherlua.net.vlan_range"
local vlan_stack = require "etherlua.net.vlan_stack"

-- The steering table of an xdp relay has room for so many endpoints (bpf/steer.h); with more, it takes all of IPv4.
local STEERED = 200000
local LAB_POOL = "10.0.0.10-10.31.255.254"

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("dhcp4_load", "Lease IPv4 addresses by DHCP (RFC 2131) for very many hosts, fast.")
  parser:option("--clients", "Number of hosts, with MAC addresses that count up.", "1000"):argname("N")
    :convert(script.number(1, 1000000, true))
  parser:option("--rate", "Hosts to start a second, evenly spread (default: as --max-outstanding allows).")
    :argname("PER_SECOND"):convert(script.number(0.001, 1e9))
  parser:option("--max-outstanding", "Hosts that talk to the server at the same time, at most: fewer do not overrun " ..
    "a slow server, more keep a fast one busy.", "128"):argname("N"):convert(script.number(1, 1000000, true))
  parser:option("--mac", "MAC address of the first host.", "02:00:00:00:00:00"):argname("MAC")
    :convert(script.accepted_by(script.host_mac))
  parser:mutex(
    parser:option("--vlan", "VLAN stack of all hosts, outer tag first: 100 or 100.200."):argname("VLANS")
      :convert(script.accepted_by(vlan_stack.new)),
    parser:option("--vlan-range", "VLAN stacks with ranges in them, such as 100-199 or 100.1-4094. Each host takes " ..
      "the next one, counted up from the last tag, and after the last one the first again."):argname("RANGES")
      :convert(script.accepted_by(vlan_range.new)))
  parser:option("--retries", "How often a message is sent again, and a refused host begins anew, at most.", "4")
    :argname("N"):convert(script.number(0, 100, true))
  parser:option("--timeout", "Seconds before the first retransmission, doubled each time.", "1"):argname("SECONDS")
    :convert(script.number(0.001, 64))
  parser:option("--hold", "Seconds to wait at the end, before the release.", "0"):argname("SECONDS")
    :convert(script.number(0, math.huge))
  parser:flag("--release", "Release the leases at the end, at --rate or else at the rate at which they came.")
  parser:epilog("Exit status: 0 each host got a lease, 3 not all did, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

-- The VLAN stack of a host by its number, from 0 for the first one of this rank.
local function vlans_from(first)
  local all, range = ether.vlans(opts.vlan), opts.vlan_range and vlan_range.new(opts.vlan_range)
  return function(i) return range and range:at(first + i) or all end
end

-- ---- output -------------------------------------------------------------------------------------------------------

local SUMMARY = { "clients", "bound", "failed", "unfinished", "failures", "setup_seconds", "seconds", "rate",
  "retransmissions", "naks", "ignored", "released", "dora_ms", "offer_ms", "ack_ms", "memory_mb" }

-- The most memory that the process had so far, in megabytes.
local function memory_mb()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmHWM:%s*(%d+)")
    if kilobytes then return kilobytes / 1024 end
  end
end

local function summary_of(counts)
  local values = load_summary.of(counts)
  for _, name in ipairs { "dora", "offer", "ack" } do values[name .. "_ms"] = script.milliseconds(values[name]) end
  return values
end

local function print_latency(name, times)
  if times.count > 0 then print(("  %-5s ms  %s"):format(name, script.times_text(times))) end
end

local function print_summary(values)
  local setup = values.setup_seconds and ("endpoints made in %.3f s"):format(values.setup_seconds)
    or ("%d endpoints made"):format(values.opened)
  print(("%d of %d bound in %.3f s (%.0f/s); %s, %.0f MB of memory"):format(values.bound, values.clients,
    values.seconds, values.rate, setup, values.memory_mb))
  print(("  %d retransmissions, %d NAKs, %d replies ignored"):format(values.retransmissions, values.naks,
    values.ignored))
  for _, name in ipairs { "dora", "offer", "ack" } do print_latency(name, values[name .. "_ms"]) end
  for reason, count in pairs(values.failures) do print(("  %d failed: %s"):format(count, reason)) end
  script.print_misread(values.misread)
  if values.unfinished > 0 then print(("  %d not finished"):format(values.unfinished)) end
  if opts.release then print(("  %d released"):format(values.released)) end
end

-- ---- the run ------------------------------------------------------------------------------------------------------

opts.lab_network = { pool = LAB_POOL }
local relay = script.relay(opts, { steer = opts.clients > STEERED and { 0x0800 } or nil })
local first, count = report.share(opts.clients, "--clients")
local load = script.check(dhcp4_load.new, relay, { count = count, mac = ether.mac_add(opts.mac, first),
  vlans = vlans_from(first), rate = opts.rate and opts.rate * count / opts.clients,
  window = math.ceil(opts.max_outstanding * count / opts.clients), timeout = opts.timeout, tries = opts.retries + 1 })
local started, began, setup_seconds = ether.now(), nil, nil

local greatest = { "setup_seconds", unpack(load_summary.GREATEST) }

local function counts()
  local values = load:totals()
  values.setup_seconds, values.memory_mb = setup_seconds, memory_mb()
  return values
end

local function line(values)
  if not began then return ("%d of %d endpoints made"):format(values.opened, values.clients) end
  return ("%d of %d bound, %d failed, %d retransmissions, %d released, %.0f s"):format(values.bound, values.clients,
    values.failed, values.retransmissions, values.released, ether.now() - began)
end

local function finish(values)
  if opts.json then script.print_json(script.with_misread(SUMMARY, values), values) else print_summary(values) end
  return values.bound == opts.clients and script.DONE or script.REFUSED
end

report.begin { counts = counts, greatest = greatest, values = summary_of, line = line, finish = finish,
  before = function() if opts.release then load:release() end end }

load:open()
setup_seconds = ether.now() - started
ether.ranks.barrier()
began = ether.now()
load:run()
ether.sleep(opts.hold)
