-- host.lua: any number of hosts that are there to be reached: they answer ARP, neighbour discovery and ping, refuse
-- UDP, and tell when somebody else has one of their addresses.
--
--   etherlua run host -i eth1 --count 10000 --ip 10.7.1.1/16
--   etherlua run host -i eth1 --count 100 --ip 10.7.1.1/16 --ip6 auto --vlan-range 100-199

local ether = require "etherlua"
local fragments = require "etherlua.program.fragments"
local hosts = require "etherlua.role.hosts"
local prefix = require "etherlua.net.prefix"
local random = require "etherlua.net.random"
local report = require "etherlua.program.report"
local script = require "etherlua.script"
local script_host = require "etherlua.program.script_host"
local vlan_range = require "etherlua.net.vlan_range"
local vlan_stack = require "etherlua.net.vlan_stack"

local READY_WITHIN = 15 -- seconds: routers are asked three times, with 4 seconds between

-- ---- options ------------------------------------------------------------------------------------------------------

local function ip_text(version)
  return function(text)
    if prefix.new(text).version ~= version then
      error(("bad address %q: an IPv%d address is needed"):format(text, version), 0)
    end
  end
end

local function ip6_text(text)
  if text ~= "auto" and text ~= "link" then ip_text(6)(text) end
end

local function plain_ip(version)
  return function(text)
    if text:find("/", 1, true) then error(("bad address %q: no length is needed here"):format(text), 0) end
    ip_text(version)(text)
  end
end

local function address_options(parser)
  parser:option("--ip", "IPv4 address of the first host, with the length of its network."):argname("IP/LENGTH")
    :convert(script.accepted_by(ip_text(4)))
  parser:option("--ip-step", "From one host's IPv4 address to the next; 0: all have one, each on a VLAN of its own.",
    "1"):argname("N"):convert(script.number(0, 2 ^ 24, true))
  parser:option("--gateway", "Next hop to other IPv4 networks."):argname("IP"):convert(script.accepted_by(plain_ip(4)))
  parser:option("--ip6", "IPv6 address of the first host, with a length; or auto: from routers (RFC 4862); or link: " ..
    "a link-local address alone."):argname("IP/LENGTH"):convert(script.accepted_by(ip6_text))
  parser:option("--ip6-step", "From one host's IPv6 address to the next.", "1"):argname("N")
    :convert(script.number(0, 2 ^ 32, true))
  parser:option("--gateway6", "Next hop to other IPv6 networks."):argname("IP"):convert(script.accepted_by(plain_ip(6)))
  parser:flag("--no-dad", "Use IPv6 addresses at once, without asking whether somebody has them: that takes 1 to 2 " ..
    "seconds (RFC 4862).")
end

local function options()
  local parser = script.parser("host", "Be any number of hosts that answer ARP, neighbour discovery and ping.")
  parser:option("--count", "Number of hosts.", "1"):argname("N"):convert(script.number(1, 1000000, true))
  parser:option("--mac", "MAC address of the first host (default: a random one)."):argname("MAC")
    :convert(script.accepted_by(script.host_mac))
  parser:option("--mac-step", "From one host's MAC address to the next.", "1"):argname("N")
    :convert(script.number(0, 4096, true))
  parser:mutex(
    parser:option("--vlan", "VLAN stack of all hosts, outer tag first: 100 or 100.200."):argname("VLANS")
      :convert(script.accepted_by(vlan_stack.new)),
    parser:option("--vlan-range", "VLAN stacks with ranges in them, such as 100-199 or 100.1-4094. Each host takes " ..
      "the next one."):argname("RANGES"):convert(script.accepted_by(vlan_range.new)))
  address_options(parser)
  parser:option("--duration", "Seconds to be there (default: until Ctrl-C)."):argname("SECONDS")
    :convert(script.number(0.001, math.huge))
  parser:epilog("Exit status: 0 done, 1 the interface went away, 2 wrong usage, 3 somebody else has one of the " ..
    "addresses, or a host got no IPv6 address.")
  return script.parse(parser, arg)
end

local opts = options()
if not opts.ip and not opts.ip6 then
  script.exit(script.USAGE, "no addresses: give --ip IP/LENGTH, or --ip6 IP/LENGTH, auto or link")
end
if opts.gateway and not opts.ip then script.exit(script.USAGE, "--gateway needs --ip") end
local first, own = report.share(opts.count, "--count")
local given = { count = own, first = first, mac = opts.mac or ether.ranks.agree(random.mac()), mac_step = opts.mac_step,
  vlans = vlan_range.new(opts.vlan_range or opts.vlan), ip = opts.ip, ip_step = opts.ip_step, gateway = opts.gateway,
  ip6 = opts.ip6, ip6_step = opts.ip6_step, gateway6 = opts.gateway6, dad = not opts.no_dad }
script.check(hosts.check, given)
local relay = script.relay(opts)
local all = script.check(hosts.new, relay, given)

-- ---- output -------------------------------------------------------------------------------------------------------

local DUPLICATE = { "event", "mac", "vlans", "ip", "duplicate" }
local FAILURE = { "event", "mac", "vlans", "error" }
local UP = { "event", "hosts", "ready", "seconds", "mac", "ip", "ip6" }
local ANSWERED = { "arp", "neighbour", "echo", "unreachable" }
local REST = { "conflicts", "ignored", "invalid", "limited", "unsent" }
local LOST = { "rx_overflow", "rx_missed", "rx_no_memory" }
local FRAGMENTS = fragments.COUNTERS -- script.relay tells them to people
local SUMMARY = { "event", "hosts", "ready", "duplicates", "seconds" }
for _, names in ipairs { ANSWERED, REST, LOST, FRAGMENTS } do
  for _, name in ipairs(names) do SUMMARY[#SUMMARY + 1] = name end
end

local WORDS = { rx_overflow = "in full queues", rx_missed = "by the kernel", rx_no_memory = "for lack of memory",
  arp = "ARP", neighbour = "neighbour discovery", echo = "ping", unreachable = "port unreachable" }

-- "3 ARP, 2 ping": those that are not 0, the first in any case.
local function counts_text(names, values)
  local parts = {}
  for i, name in ipairs(names) do
    if i == 1 or values[name] > 0 then parts[#parts + 1] = ("%d %s"):format(values[name], WORDS[name] or name) end
  end
  return table.concat(parts, ", ")
end

local function report_duplicate(host, ip, mac)
  if opts.json then
    return script.print_json(DUPLICATE, { event = "duplicate", mac = host.mac, vlans = tostring(host.conn.vlans),
      ip = ip, duplicate = mac })
  end
  print(("%s  duplicate: %s is also at %s"):format(script_host.name_of(host), ip, mac))
end

local function report_failure(host, reason)
  if opts.json then
    return script.print_json(FAILURE, { event = "failure", mac = host.mac, vlans = tostring(host.conn.vlans),
      error = reason })
  end
  print(("%s  no IPv6: %s"):format(script_host.name_of(host), reason))
end

local function report_up(ready, seconds)
  if opts.json then
    return script.print_json(UP, { event = "up", hosts = opts.count, ready = ready, seconds = seconds,
      mac = all:mac(0), ip = opts.ip, ip6 = opts.ip6 })
  end
  local failed = ready < opts.count and (", %d of them without IPv6"):format(opts.count - ready) or ""
  print(("%d host%s up in %.1f s%s: from %s%s%s"):format(opts.count, opts.count == 1 and "" or "s", seconds, failed,
    all:mac(0), opts.ip and " " .. opts.ip or "", opts.ip6 and " " .. opts.ip6 or ""))
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local started, ready = ether.now(), nil

local function counts()
  local values, stats = all:summary(), relay:stats()
  values.ready, values.seconds = ready or 0, ether.now() - started
  for _, name in ipairs(LOST) do values[name] = stats[name] end
  for _, name in ipairs(FRAGMENTS) do values[name] = stats[name] end
  return values
end

local function summarize(values)
  values.event = "summary"
  if opts.json then return script.print_json(SUMMARY, values) end
  print(("answered in %.1f s: %s; duplicate addresses: %d"):format(values.seconds, counts_text(ANSWERED, values),
    values.duplicates))
  print(("  not answered: %s; lost by the relay: %s"):format(counts_text({ "ignored", "invalid", "limited", "unsent" },
    values), counts_text(LOST, values)))
end

local function finish(values)
  summarize(values)
  local is_well = values.duplicates == 0 and (ready and values.ready or values.hosts) == opts.count
  return is_well and script.DONE or script.REFUSED
end

local function line(values)
  if values.hosts < opts.count then return ("%d of %d hosts up"):format(values.hosts, opts.count) end
  return ("%d hosts, answered %s, %d duplicates, %.0f s"):format(values.hosts, counts_text(ANSWERED, values),
    values.duplicates, values.seconds)
end

report.begin { counts = counts, greatest = { "seconds" }, line = line,
  finish = finish, before = function() all:each_duplicate(report_duplicate) end }

all:open()
ready = opts.ip6 and all:ready(READY_WITHIN, report_failure) or own
local up = ether.ranks.reduce({ ready = ready, seconds = ether.now() - started }, { "seconds" })
if up then report_up(up.ready, up.seconds) end
local task = ether.spawn(function() return all:serve(report_duplicate) end)
local _, problem = task:join(opts.duration)
if problem ~= "timeout" then script.exit(script.FAILED, ("%s: %s"):format(relay.name, problem)) end
task:cancel()
