-- slaac.lua: hosts that take IPv6 addresses from a router's advertisements (RFC 4862), each with a MAC address of its
-- own.
--
--   etherlua run slaac -i eth1 --count 1000
--   etherlua run slaac --lab --count 5 --vlan-range 100-104 --ping-router --hold

local ether = require "etherlua"
local hosts = require "etherlua.role.hosts"
local random = require "etherlua.net.random"
local report = require "etherlua.program.report"
local script = require "etherlua.script"
local vlan_range = require "etherlua.net.vlan_range"
local vlan_stack = require "etherlua.net.vlan_stack"

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("slaac", "Take IPv6 addresses from routers (RFC 4862) for one host or many. A host " ..
    "takes 2 to 5 seconds: it waits up to a second before it says anything, asks a second long whether somebody has " ..
    "its link-local address, asks for routers, and does the same for the address that it makes of a prefix.")
  parser:option("--count", "Number of hosts.", "1"):argname("N"):convert(script.number(1, 100000, true))
  parser:option("--mac", "MAC address of the first host; more count up from it (default: a random one).")
    :argname("MAC"):convert(script.accepted_by(script.host_mac))
  parser:mutex(
    parser:option("--vlan", "VLAN stack of all hosts, outer tag first: 100 or 100.200."):argname("VLANS")
      :convert(script.accepted_by(vlan_stack.new)),
    parser:option("--vlan-range", "VLAN stacks with ranges in them, such as 100-199 or 100.1-4094. Each host takes " ..
      "the next one."):argname("RANGES"):convert(script.accepted_by(vlan_range.new)))
  parser:option("--rate", "Hosts to start a second (default: all at once)."):argname("PER_SECOND")
    :convert(script.number(0.001, 1e6))
  parser:option("--timeout", "Seconds that a host may take. Routers are asked three times, with 4 seconds between.",
    "15"):argname("SECONDS"):convert(script.number(0.1, 3600))
  parser:flag("--no-dad", "Use addresses at once, without asking whether somebody has them.")
  parser:flag("--ping-router", "Ping the router from each host, too.")
  parser:flag("--hold", "Stay and answer neighbour discovery and ping, until Ctrl-C (default: end when all are done).")
  parser:epilog("Exit status: 0 each host got an address (and, with --ping-router, an answer), 3 not all did, or " ..
    "somebody else has one of them, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()
local first, own = report.share(opts.count, "--count")
local given = { count = own, first = first, mac = opts.mac or ether.ranks.agree(random.mac()), ip6 = "auto",
  vlans = vlan_range.new(opts.vlan_range or opts.vlan), dad = not opts.no_dad }
script.check(hosts.check, given)
local relay = script.relay(opts)
local all = script.check(hosts.new, relay, given)

-- ---- output -------------------------------------------------------------------------------------------------------

local HOST = { "mac", "vlans", "addresses", "router", "mtu", "managed", "seconds", "ping_ms", "error" }
local SUMMARY = { "hosts", "configured", "failed", "duplicates", "seconds", "times_ms" }

local function address_text(address)
  local note = address.state ~= "preferred" and (" (%s%s)"):format(address.state, address.duplicate
    and ": " .. address.duplicate .. " has it" or "") or ""
  return ("%s/%d%s"):format(address.ip, address.length, note)
end

local function host_text(values)
  local parts = { values.mac .. script.tag_text(values.vlans) }
  for _, address in ipairs(values.addresses) do parts[#parts + 1] = address_text(address) end
  if values.error then parts[#parts + 1] = "failed: " .. values.error end
  parts[#parts + 1] = "router " .. (values.router or "none")
  if values.ping_ms then parts[#parts + 1] = ("ping %.3f ms"):format(values.ping_ms) end
  parts[#parts + 1] = ("%.1f s"):format(values.seconds)
  return table.concat(parts, "  ")
end

local function report_host(host, values)
  values.mac, values.vlans = host.mac, tostring(host.conn.vlans)
  for name, value in pairs(host.autoconf:summary()) do values[name] = value end
  if not opts.json then return print(host_text(values)) end
  if #values.addresses == 0 then values.addresses = nil end -- an empty table would be written as an object
  script.print_json(HOST, values)
end

-- ---- the hosts ----------------------------------------------------------------------------------------------------

ether.ranks.barrier()
local started, finished_at = ether.now(), nil
local counts, times = { configured = 0, failed = 0 }, ether.histogram()

local function ping_router(host)
  local router = host.autoconf:router()
  if not router then return nil, "no default router" end
  local seconds, reason = host:ping(router)
  if seconds then return seconds * 1000 end
  return nil, ("no ping from %s: %s"):format(router, tostring(reason))
end

local function configure(host)
  local began, values = ether.now(), {}
  local ready
  ready, values.error = host:ready(opts.timeout)
  values.seconds = ether.now() - began
  if ready then
    times:record(values.seconds)
    if opts.ping_router then values.ping_ms, values.error = ping_router(host) end
  end
  report_host(host, values)
  local name = values.error and "failed" or "configured"
  counts[name] = counts[name] + 1
end

-- What somebody took from a host later; what it found before it used it, its own line has said.
local function report_duplicate(host, ip, mac)
  local address = host.addresses[ip]
  if opts.json or address and address.duplicate then return end
  print(("%s  duplicate: %s is also at %s"):format(host.mac, ip, mac))
end

local function own_counts()
  return { configured = counts.configured, failed = counts.failed, duplicates = all:summary().duplicates,
    seconds = (finished_at or ether.now()) - started, times = times }
end

local function values_of(sums)
  sums.hosts, sums.times_ms = opts.count, script.milliseconds(sums.times)
  return sums
end

local function line(values)
  return ("%d of %d configured, %d failed, %.0f s"):format(values.configured, opts.count, values.failed,
    values.seconds)
end

local function finish(values)
  values.failed = opts.count - values.configured -- those that have not begun, too
  if opts.json then
    script.print_json(SUMMARY, values)
  else
    print(("%d of %d hosts have an address after %.1f s; duplicate addresses: %d"):format(values.configured,
      opts.count, values.seconds, values.duplicates))
    if values.times.count > 0 then print("  ms  " .. script.times_text(values.times_ms)) end
  end
  return values.configured == opts.count and values.duplicates == 0 and script.DONE or script.REFUSED
end

report.begin { counts = own_counts, greatest = { "seconds" }, values = values_of, line = line, finish = finish,
  before = function() all:each_duplicate(report_duplicate) end }

local pace = opts.rate and ether.pacer { rate = opts.rate * own / opts.count }
local tasks = {}
for i = 0, own - 1 do
  if pace then pace:wait() end
  tasks[i + 1] = ether.spawn(configure, all:open_one(i))
  if i % 100 == 99 then ether.sleep(0) end
end
for _, task in ipairs(tasks) do task:join() end
finished_at = ether.now()

while opts.hold do
  all:each_duplicate(report_duplicate)
  ether.sleep(1)
end
