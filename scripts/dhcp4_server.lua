-- dhcp4_server.lua: an emulated DHCP server and gateway. It answers on every VLAN stack that it hears, with the tags
-- that the client used: DHCP, ARP for its address, and ping.
--
--   etherlua run dhcp4_server -i eth1 --pool 10.0.0.10-10.0.255.254

local addr = require "etherlua.net.addr"
local dhcp4_option = require "etherlua.program.dhcp4_option"
local ether = require "etherlua"
local gateway = require "etherlua.role.gateway"
local script = require "etherlua.script"

local function options()
  local ip = script.accepted_by(addr.ip4_number)
  local parser = script.parser("dhcp4_server", "Answer DHCP, ARP and ping on every VLAN stack that is heard.")
  parser:option("--pool", "Addresses to lease, on all VLAN stacks together.", "10.0.0.10-10.0.255.254")
    :argname("FIRST-LAST")
  parser:option("--server", "Own address, which is also the router's unless --router is given.", "10.0.0.1")
    :argname("IP"):convert(ip)
  parser:option("--mask", "Subnet mask.", "255.0.0.0"):argname("MASK"):convert(ip)
  parser:option("--router", "Router that clients are told of."):argname("IP"):convert(ip)
  parser:option("--dns", "DNS server that clients are told of. May be given several times."):argname("IP"):count("*")
    :convert(ip)
  parser:option("--lease", "Lease time in seconds.", "3600"):argname("SECONDS")
    :convert(script.number(1, 0xffffffff, true))
  parser:option("--offer-time", "Seconds that an offered address is kept for its client.", "60"):argname("SECONDS")
    :convert(script.number(0, math.huge))
  parser:option("--decline-time", "Seconds that nobody gets a declined address (default: the lease time).")
    :argname("SECONDS"):convert(script.number(0, math.huge))
  parser:option("--max-leases", "Addresses that one VLAN stack may have at once (default: all).")
    :argname("N"):convert(script.number(1, 0x7fffffff, true))
  parser:option("--max-offers", "Offers to one VLAN stack that are kept when all addresses are taken.", "64")
    :argname("N"):convert(script.number(0, 0x7fffffff, true))
  parser:option("--max-declined", "Addresses that one VLAN stack may have declined at once (default: a quarter of the "
    .. "pool, 64 at most)."):argname("N"):convert(script.number(0, 0x7fffffff, true))
  parser:option("--option", "More DHCP options for clients, such as host_name=x or 43=0x0102."):count("*")
    :argname("NAME=VALUE"):convert(dhcp4_option.convert)
  parser:option("--duration", "Seconds to run (default: until Ctrl-C)."):argname("SECONDS")
    :convert(script.number(0.001, math.huge))
  parser:epilog("With -i only: the lab of --lab has such a server already.")
  return script.parse(parser, arg)
end

local COUNTERS = { "discover", "offer", "request", "ack", "nak", "release", "decline", "inform", "exhausted", "limited",
  "withdrawn", "restored", "ignored", "arp", "ping", "conflicts", "too_long", "bound", "failed" }

local function line_of(all)
  local parts = {}
  for _, name in ipairs(COUNTERS) do
    if all[name] > 0 then parts[#parts + 1] = ("%s %d"):format(name, all[name]) end
  end
  return #parts > 0 and table.concat(parts, ", ") or "nothing heard"
end

local opts = options()
local more = {}
for _, pair in ipairs(opts.option) do more[pair[1]] = pair[2] end
if opts.lab then script.exit(script.USAGE, "the lab has such a server already: give -i SPEC") end

local relay = script.relay(opts)
local gw = script.check(gateway.new, relay, { pool = opts.pool, server = opts.server, mask = opts.mask,
  router = opts.router, dns = #opts.dns > 0 and opts.dns or nil, lease_time = opts.lease, options = more,
  offer_time = opts.offer_time, decline_time = opts.decline_time, max_leases = opts.max_leases,
  max_offers = opts.max_offers, max_declined = opts.max_declined })

ether.defer(function()
  if opts.json then script.print_json(COUNTERS, gw:summary()) else print(line_of(gw:summary())) end
  script.status = script.DONE
end)
if not opts.json then
  print(("serving %s on %s as %s (%s)"):format(opts.pool, relay.name, opts.server, relay.mac))
end
script.progress(function() return line_of(gw:summary()) end)

local server = ether.spawn(function() return gw:serve() end)
local _, problem = server:join(opts.duration)
if problem ~= "timeout" then script.exit(script.FAILED, ("%s: %s"):format(relay.name, problem)) end
server:cancel()
