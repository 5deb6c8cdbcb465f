-- rogue_dhcp.lua: which DHCP servers offer addresses on a VLAN, or on each of many, and whether they may. Nothing is
-- ever leased.
--
--   etherlua run rogue_dhcp -i eth1 --allow 10.0.0.1
--   etherlua run rogue_dhcp -i eth1 --vlan-range 1-4094 --allow 10.0.0.1/02:00:00:00:00:01

local addr = require "etherlua.net.addr"
local dhcp4_discover = require "etherlua.role.dhcp4_discover"
local dhcp4_option = require "etherlua.program.dhcp4_option"
local ether = require "etherlua"
local misuse = require "etherlua.core.misuse"
local random = require "etherlua.net.random"
local script = require "etherlua.script"
local view = require "etherlua.proto.view"
local vlan_range = require "etherlua.net.vlan_range"

-- ---- options ------------------------------------------------------------------------------------------------------

-- A known good server: { ip, mac }, one of which may be missing.
local function allowed_server(text)
  local ip, mac = text:match("^([^/]+)/([^/]+)$")
  if not ip then
    local is_mac = #text == 17
    ip, mac = not is_mac and text or nil, is_mac and text or nil
  end
  local ok, reason = pcall(function()
    return { ip = ip and addr.ip4_text(addr.ip4_number(ip)), mac = mac and addr.mac_text(addr.mac_bytes(mac)) }
  end)
  if ok then return reason end
  return nil, ("bad server %q: IP, MAC or IP/MAC is needed: %s"):format(text, misuse.words(reason))
end

local function options()
  local parser = script.parser("rogue_dhcp", "Tell which DHCP servers offer addresses, and which of them may not.")
  parser:option("--allow", "A server that may: IP address (its identifier), MAC address (source of its frames), or " ..
    "IP/MAC, where both have to fit. May be given several times; without it none is judged."):argname("SERVER")
    :count("*"):convert(allowed_server)
  parser:option("--vlan-range --vlan", "VLAN stacks to ask on, such as 100, 1-4094 or 100.1-4094 (default: untagged).")
    :argname("RANGES"):convert(script.accepted_by(vlan_range.new))
  parser:option("--tries", "DISCOVERs on each VLAN stack, from different MAC addresses, a second apart.", "2")
    :argname("N"):convert(script.number(1, 1000, true))
  parser:option("--wait", "Seconds to wait for offers behind the last DISCOVER.", "4"):argname("SECONDS")
    :convert(script.number(0.01, 3600))
  parser:option("--rate", "DISCOVERs a second.", "1000"):argname("PER_SECOND"):convert(script.number(0.001, 1e9))
  parser:option("--mac", "MAC address of the first DISCOVER; the others count up (default: a random one).")
    :argname("MAC"):convert(script.accepted_by(script.host_mac))
  parser:option("--option", "DHCP option to send, by number or name: 60=etherlua, host_name=cpe. May be given " ..
    "several times."):count("*"):argname("NAME=VALUE"):convert(dhcp4_option.convert)
  parser:flag("--broadcast", "Ask the servers to broadcast their offers.")
  parser:epilog("Exit status: 0 servers offer, all of them allowed ones (without --allow: any), 3 one that is not " ..
    "allowed offers, or nobody does, 1 the interface is gone, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

local function is_allowed(offer)
  for _, server in ipairs(opts.allow) do
    local ip_fits, mac_fits = (server.ip or offer.server_id) == offer.server_id, (server.mac or offer.mac) == offer.mac
    if ip_fits and mac_fits then return true end
  end
  return false
end

-- nil: nobody is judged.
local function judgement(offer)
  if #opts.allow == 0 then return nil end
  return is_allowed(offer)
end

-- ---- output -------------------------------------------------------------------------------------------------------

-- Options that say where clients are led to; with WPAD, which has no name.
local NOTED = { "domain_name", "ntp_servers", "tftp_server", "tftp_servers", "bootfile", "classless_routes",
  "captive_portal", "domain_search", "vendor_specific", 252 }

local SERVER = { "vlans", "came_with", "server", "mac", "source", "relay", "ip", "mask", "routers", "dns",
  "lease_time", "next_server", "more", "ms", "offers", "allowed" }
local SUMMARY = { "servers", "refused", "discovers", "sent", "unsent", "repeated", "ignored", "unlisted", "seconds" }

local function list_text(list)
  return list and table.concat(list, ",") or nil
end

-- The options of note, as text by name.
local function noted(offer)
  local list = {}
  for _, name in ipairs(NOTED) do
    local value = offer.options[name]
    if value ~= nil then list[#list + 1] = ("%s=%s"):format(name, view.literal(value)) end
  end
  return #list > 0 and table.concat(list, " ") or nil
end

local function fields_of(offer)
  local given, message = offer.options, offer.message
  return { vlans = offer.vlans, came_with = offer.came_with, server = offer.server_id, mac = offer.mac,
    source = offer.source, relay = offer.relay, ip = offer.ip, mask = given.subnet_mask,
    routers = list_text(given.routers), dns = list_text(given.dns_servers), lease_time = given.lease_time,
    next_server = message.siaddr ~= "0.0.0.0" and message.siaddr or nil, more = noted(offer),
    ms = offer.seconds * 1000, offers = offer.count, allowed = judgement(offer) }
end

local function print_server(values)
  local verdict = values.allowed and "  allowed" or values.allowed == false and "  NOT ALLOWED" or ""
  print(("%s  server %s  mac %s  from %s%s%s"):format(script.vlan_name(values.vlans),
    values.server or "without identifier", values.mac, values.source,
    values.relay and "  relay " .. values.relay or "", verdict))
  if values.came_with then
    print(("  LEAK: asked %s, offered %s"):format(script.vlan_name(values.vlans), script.vlan_name(values.came_with)))
  end
  print(("  offers %s  mask %s  router %s  dns %s  lease %s  (%d in all, the first after %.1f ms)"):format(values.ip,
    values.mask or "none", values.routers or "none", values.dns or "none",
    values.lease_time and ("%.0f s"):format(values.lease_time) or "none", values.offers, values.ms))
  if values.next_server then print("  next server " .. values.next_server) end
  if values.more then print("  " .. values.more) end
end

local function print_summary(values)
  print(("servers: %d in %.1f s; %d DISCOVERs sent, %d messages ignored"):format(values.servers, values.seconds,
    values.sent, values.ignored))
  if values.unsent > 0 then print(("  %d not sent: %s"):format(values.unsent, values.reason)) end
  script.print_misread(values.misread)
  if values.unlisted > 0 then print(("  %d more offers, not listed"):format(values.unlisted)) end
  if values.servers == 0 then
    print("  no server offers an address")
  elseif values.refused > 0 then
    print(("  %d of them not allowed"):format(values.refused))
  end
end

local function report(discover, seconds)
  local refused, offers = 0, discover:offers()
  table.sort(offers, function(a, b)
    if a.stack ~= b.stack then return a.stack < b.stack end
    return (a.server_id or "") .. a.mac < (b.server_id or "") .. b.mac
  end)
  for _, offer in ipairs(offers) do
    local values = fields_of(offer)
    if values.allowed == false then refused = refused + 1 end
    if opts.json then script.print_json(SERVER, values) else print_server(values) end
  end
  local values = discover:summary()
  values.refused, values.seconds = refused, seconds
  if opts.json then script.print_json(script.with_misread(SUMMARY, values), values) else print_summary(values) end
  return values
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local sent_options = {}
for _, pair in ipairs(opts.option) do sent_options[pair[1]] = pair[2] end

local given = { vlans = vlan_range.new(opts.vlan_range), mac = opts.mac or random.mac(), tries = opts.tries,
  rate = opts.rate, timeout = opts.wait, broadcast = opts.broadcast, options = sent_options }
script.check(dhcp4_discover.check, given)
local relay = script.relay(opts)
local discover = script.check(dhcp4_discover.new, relay, given)
local started = ether.now()

-- Also after Ctrl-C.
ether.defer(function()
  script.end_progress()
  local values = report(discover, ether.now() - started)
  script.status = values.servers > 0 and values.refused == 0 and script.DONE or script.REFUSED
end)

script.progress(function()
  local values = discover:summary()
  return ("%d of %d DISCOVERs sent, %d servers, %.0f s"):format(values.sent, values.discovers, values.servers,
    ether.now() - started)
end)

local ok, reason = discover:run()
if not ok then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
