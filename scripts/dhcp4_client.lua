-- dhcp4_client.lua: leases IPv4 addresses by DHCP for one host or many, each with a MAC address of its own.
--
--   etherlua run dhcp4_client -i eth1 --mac 02:00:00:11:22:33 --vlan 100.200
--   etherlua run dhcp4_client --lab --count 1000 --rate 200 --hold

local addr = require "etherlua.net.addr"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_client = require "etherlua.role.dhcp4_client"
local dhcp4_option = require "etherlua.program.dhcp4_option"
local ether = require "etherlua"
local ethernet = require "etherlua.proto.ethernet"
local outside = require "etherlua.core.outside"
local random = require "etherlua.net.random"
local report = require "etherlua.program.report"
local script = require "etherlua.script"
local vlan_stack = require "etherlua.net.vlan_stack"

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("dhcp4_client", "Lease IPv4 addresses by DHCP (RFC 2131).")
  parser:option("--mac", "MAC address of the first host; more count up from it (default: a random one)."):argname("MAC")
    :convert(script.accepted_by(script.host_mac))
  parser:option("--vlan", "VLAN stack, outer tag first: 100 or 100.200."):argname("VLANS")
    :convert(script.accepted_by(vlan_stack.new))
  parser:option("--count", "Number of hosts, each with a MAC address and a lease of its own.", "1"):argname("N")
    :convert(script.number(1, 1000000, true))
  parser:option("--rate", "Hosts to start a second (default: all at once)."):argname("PER_SECOND")
    :convert(script.number(0.001, math.huge))
  parser:option("--option", "DHCP option to send, by number or name: 60=etherlua, 43=0x0102, host_name=cpe. May be " ..
    "given several times."):count("*"):argname("NAME=VALUE"):convert(dhcp4_option.convert)
  parser:option("--request", "Ask the server for this address; it may give another one."):argname("IP")
    :convert(script.accepted_by(addr.ip4_number))
  parser:option("--arp-probe", "Ask by ARP whether somebody else has the address, before it is used: quick, for up " ..
    "to 0.35 seconds; rfc, with the waits of RFC 5227, up to 7 seconds; off, not at all.", "quick")
    :choices { "quick", "rfc", "off" }
  parser:option("--tries", "How often a message is sent before the host gives up.", "4"):argname("N")
    :convert(script.number(1, 100, true))
  parser:option("--timeout", "Seconds before the first retransmission, doubled each time.", "4"):argname("SECONDS")
    :convert(script.number(0.01, 64))
  parser:flag("--broadcast", "Ask the server to broadcast its replies.")
  parser:flag("--hold", "Keep the leases, renew them and answer ARP, until Ctrl-C (default: end when all have one).")
  parser:flag("--no-release", "Do not release the leases at the end.")
  parser:flag("--trace", "Print every frame, decoded.")
  parser:epilog("What a server leaves out or says wrong is in brackets behind the lease, with what is done instead; " ..
    "with --json in `notes`, and the routes of options 121, 249 or 33 in `routes`. A byte that is no UTF-8 is \\xNN " ..
    "there.\n\nExit status: 0 each host got a lease, 3 not all did or one was lost later, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

local function lease_opts()
  local sent = {}
  for _, pair in ipairs(opts.option) do sent[pair[1]] = pair[2] end
  return { options = sent, requested_address = opts.request, broadcast = opts.broadcast or nil, tries = opts.tries,
    timeout = opts.timeout, probe = opts.arp_probe ~= "off" and opts.arp_probe or nil,
    release = not opts.no_release }
end

-- Bytes of the options that the client adds, and of the headers in front of a message.
local OWN_OPTIONS, HEADERS = 40, 28

-- Options that no message has room for are the user's mistake, told before anything is sent.
local function check_room(relay, vlans, settings)
  local size = #dhcp4.build { options = settings.options } + OWN_OPTIONS
  local room = relay.mtu - HEADERS - ethernet.tags_in_mtu(#vlans, vlans[1] and vlans[1].tpid)
  if size > room then
    script.exit(script.USAGE, ("DHCP messages with these options need up to %d bytes: %d fit the MTU of %s"):format(
      size, room, relay.name))
  end
end

-- ---- output -------------------------------------------------------------------------------------------------------

local LEASE = { "mac", "vlans", "ip", "mask", "router", "server", "lease_time", "elapsed_ms" }
local EXTRA = { "routes", "notes" } -- where there are any
local FAILURE = { "mac", "vlans", "error" }
local SUMMARY = { "clients", "bound", "failed", "seconds", "rate" }

local function seconds_text(seconds)
  if seconds == 0xffffffff then return "for ever" end
  if seconds >= 7200 then return ("%.3g h"):format(seconds / 3600) end
  return ("%d s"):format(seconds)
end

local function lease_json(lease)
  local values, names = lease:summary(), { unpack(LEASE) }
  values.elapsed_ms = values.elapsed * 1000
  for _, name in ipairs(EXTRA) do
    if #values[name] > 0 then names[#names + 1] = name end
  end
  script.print_json(names, values)
end

-- Behind the router: where else packets go.
local function routes_text(lease)
  local words = {}
  for i, route in ipairs(lease.routes) do words[i] = ("%s by %s"):format(route.prefix, route.router) end
  return #words > 0 and "  routes " .. table.concat(words, ", ") or ""
end

local function lease_text(lease)
  local notes = #lease.notes > 0 and ("  (%s)"):format(table.concat(lease.notes, "; ")) or ""
  return ("%s/%d  router %s%s  server %s  lease %s  %.1f ms%s"):format(lease.ip, lease.prefix_length,
    lease.router or "none", routes_text(lease), lease.server, seconds_text(lease.lease_time), lease.elapsed * 1000,
    notes)
end

local function report_lease(mac, vlans, lease, reason)
  if opts.json and lease then
    lease_json(lease)
  elseif opts.json then
    script.print_json(FAILURE, { mac = mac, vlans = vlans, error = reason })
  else
    print(("%s%s  %s"):format(mac, script.tag_text(vlans), outside.shown(lease and lease_text(lease) or
      "no lease: " .. reason)))
  end
end

local function report_event(event, lease)
  if not opts.json then print(("%s%s  %s %s"):format(lease.mac, script.tag_text(lease.vlans), event, lease.ip)) end
end

-- ---- the hosts ----------------------------------------------------------------------------------------------------

local relay = script.relay(opts)
if opts.trace then script.trace(relay, opts.json and io.stderr or io.stdout) end

local vlans = ether.vlans(opts.vlan)
local base = opts.mac or ether.ranks.agree(random.mac())
local first, own = report.share(opts.count, "--count")
local settings = lease_opts()
check_room(relay, vlans, settings)
local counts = { bound = 0, failed = 0, lost = 0 }
ether.ranks.barrier()
local started = ether.now()
local finished_at
local everyone_done = ether.channel()

local function count(name)
  counts[name] = counts[name] + 1
  if counts.bound + counts.failed == own then
    finished_at = ether.now()
    everyone_done:close()
  end
end

local function keep(lease)
  if not opts.hold then return ether.select { everyone_done } end
  local _, reason = lease:hold(report_event)
  counts.lost = counts.lost + 1
  report_lease(lease.mac, lease.vlans, nil, reason)
end

local function host(i)
  local mac = ether.mac_add(base, i)
  local conn = relay:conn { mac = mac, vlans = vlans, reassemble = true }
  local lease, reason = dhcp4_client.lease(conn, settings)
  report_lease(mac, tostring(vlans), lease, reason)
  if lease then ether.defer(function() lease:close() end) end
  count(lease and "bound" or "failed")
  if lease then keep(lease) end
end

local function own_counts()
  return { bound = counts.bound, failed = counts.failed, lost = counts.lost,
    seconds = (finished_at or ether.now()) - started }
end

local function values_of(sums)
  sums.clients, sums.rate = opts.count, sums.bound / sums.seconds
  return sums
end

local function line(values)
  return ("%d of %d bound, %d failed, %.0f s"):format(values.bound, opts.count, values.failed, values.seconds)
end

local function finish(values)
  values.failed = opts.count - values.bound -- those that have not begun, too
  if opts.json then
    script.print_json(SUMMARY, values)
  elseif opts.count > 1 or values.bound == 0 then
    print(("%d of %d bound in %.3f s (%.0f/s)%s"):format(values.bound, opts.count, values.seconds, values.rate,
      values.lost > 0 and (", %d lost later"):format(values.lost) or ""))
  end
  return values.bound == opts.count and values.lost == 0 and script.DONE or script.REFUSED
end

-- The hosts have released their leases when the summary comes.
local tasks = {}
local function join_all()
  for _, task in ipairs(tasks) do task:join() end
end

report.begin { counts = own_counts, greatest = { "seconds" }, values = values_of, line = line, before = join_all,
  finish = finish }

-- With several ranks the hosts begin in the order of their places, one of each rank in turn.
for i = 0, own - 1 do
  if opts.rate then ether.sleep(started + i * opts.count / own / opts.rate - ether.now()) end
  tasks[#tasks + 1] = ether.spawn(host, first + i)
end
join_all()
