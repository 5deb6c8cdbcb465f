-- vlan_probe.lua: on which VLANs of a range somebody answers: ARP for given addresses, or DHCP.
--
--   etherlua run vlan_probe -i eth1 --vlan-range 1-4094
--   etherlua run vlan_probe -i eth1 --vlan-range 100.1-4094 --arp 10.0.0.1 --dhcp

local addr = require "etherlua.net.addr"
local arp_scan = require "etherlua.role.arp_scan"
local dhcp4_discover = require "etherlua.role.dhcp4_discover"
local ether = require "etherlua"
local ip_range = require "etherlua.net.ip_range"
local random = require "etherlua.net.random"
local script = require "etherlua.script"
local vlan_range = require "etherlua.net.vlan_range"

local function options()
  local parser = script.parser("vlan_probe", "Tell on which VLANs somebody answers ARP or DHCP.")
  parser:option("--vlan-range --vlan", "VLAN stacks to ask on, such as 1-4094, 100-199 or 100.1-4094.", "1-4094")
    :argname("RANGES"):convert(script.accepted_by(vlan_range.new))
  parser:option("--arp --target", "Ask for this address by ARP, or for a range such as 10.0.0.1-10.0.0.9. May be " ..
    "given several times."):argname("IP"):count("*"):convert(script.accepted_by(ip_range.new))
  parser:flag("--dhcp", "Ask for DHCP servers; nothing is leased (the default without --arp).")
  parser:option("--rate", "Questions a second.", "1000"):argname("PER_SECOND"):convert(script.number(0.001, 1e9))
  parser:option("--retry", "How often it is asked again: by ARP where nobody answered, by DHCP everywhere.", "1")
    :argname("N"):convert(script.number(0, 100, true))
  parser:option("--timeout", "Seconds that an answer may take (default: 0.5 by ARP, 3 by DHCP)."):argname("SECONDS")
    :convert(script.number(0.001, 3600))
  parser:option("--mac", "MAC address of the first host; there is one on each VLAN stack, and they count up " ..
    "(default: a random one)."):argname("MAC"):convert(script.accepted_by(script.host_mac))
  parser:option("--ip", "Own address in ARP. 0.0.0.0 asks as probes do, which change nobody's cache.", "0.0.0.0")
    :argname("IP"):convert(script.accepted_by(addr.ip4_number))
  parser:epilog("Answers that come with another VLAN stack than asked are told as leaks. Exit status: 0 somebody " ..
    "answered, 3 nobody did, 1 the interface is gone, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()
local vlans = vlan_range.new(opts.vlan_range)
local mac = opts.mac or random.mac()

-- ---- what is asked ------------------------------------------------------------------------------------------------

local by_arp = #opts.arp > 0 and { targets = ip_range.new(opts.arp), vlans = vlans, mac = mac, source = opts.ip,
  rate = opts.rate, tries = opts.retry + 1, timeout = opts.timeout }
local by_dhcp = (opts.dhcp or not by_arp) and { vlans = vlans, mac = mac, tries = opts.retry + 1, rate = opts.rate,
  timeout = opts.timeout }
if by_arp then script.check(arp_scan.check, by_arp) end
if by_dhcp then script.check(dhcp4_discover.check, by_dhcp) end

local relay = script.relay(opts)
local scan = by_arp and script.check(arp_scan.new, relay, by_arp)
local discover = by_dhcp and script.check(dhcp4_discover.new, relay, by_dhcp)

-- ---- output -------------------------------------------------------------------------------------------------------

local ROW = { "vlans", "protocol", "ip", "mac", "sent_by", "ms", "came_with", "offer" }
local SUMMARY = { "vlan_stacks", "answered", "rows", "leaks", "sent", "unsent", "ignored", "unlisted", "seconds" }

local function add_arp(rows)
  for answer in scan:answers() do
    rows[#rows + 1] = { stack = answer.stack, protocol = "arp", vlans = answer.vlans, ip = answer.ip,
      mac = answer.mac, sent_by = answer.sent_by, ms = answer.seconds * 1000 }
  end
  for _, leak in ipairs(scan:leaks()) do
    rows[#rows + 1] = { stack = leak.stack, protocol = "arp", vlans = leak.vlans, ip = leak.ip, mac = leak.mac,
      sent_by = leak.sent_by, ms = leak.seconds * 1000, came_with = leak.came_with }
  end
end

local function add_dhcp(rows)
  for _, offer in ipairs(discover:offers()) do
    rows[#rows + 1] = { stack = offer.stack, protocol = "dhcp", vlans = offer.vlans,
      ip = offer.server_id or offer.source, mac = offer.mac, ms = offer.seconds * 1000, came_with = offer.came_with,
      offer = offer.ip }
  end
end

-- All answers by VLAN stack, in the order in which they were found.
local function all_rows()
  local rows = {}
  if scan then add_arp(rows) end
  if discover then add_dhcp(rows) end
  for i, row in ipairs(rows) do row.order = i end
  table.sort(rows, function(a, b)
    if a.stack ~= b.stack then return a.stack < b.stack end
    return a.order < b.order
  end)
  return rows
end

local function print_row(row)
  if opts.json then return script.print_json(ROW, row) end
  print(("%-10s %-4s %-15s  %s  %9.3f ms%s%s%s"):format(row.vlans, row.protocol, row.ip, row.mac, row.ms,
    row.sent_by and "  SENT BY " .. row.sent_by or "", row.offer and "  offers " .. row.offer or "",
    row.came_with and "  LEAK: answered " .. script.vlan_name(row.came_with) or ""))
end

-- What both say together, and the reason of the one that has one.
local function totals()
  local arp, dhcp = scan and scan:summary() or {}, discover and discover:summary() or {}
  local all = { reason = arp.reason or dhcp.reason, arp_answers = arp.answered or 0, dhcp_answers = dhcp.servers or 0,
    misread = dhcp.misread or {} }
  for _, name in ipairs { "sent", "unsent", "ignored", "unlisted" } do
    all[name] = (arp[name] or 0) + (dhcp[name] or 0)
  end
  return all
end

-- Prints all of it; returns how many VLAN stacks have an answer.
local function report(seconds)
  local all = totals()
  local rows, answered, leaks, last = all_rows(), 0, 0, nil
  for _, row in ipairs(rows) do
    print_row(row)
    if row.stack ~= last then answered, last = answered + 1, row.stack end
    if row.came_with then leaks = leaks + 1 end
  end
  if opts.json then
    all.vlan_stacks, all.answered, all.rows, all.leaks, all.seconds = vlans.count, answered, #rows, leaks, seconds
    script.print_json(script.with_misread(SUMMARY, all), all)
    return answered
  end
  print(("answers for %d of %d VLAN stacks in %.1f s: %d sent, %d ignored"):format(answered, vlans.count, seconds,
    all.sent, all.ignored))
  if leaks > 0 then print(("  %d with another VLAN stack than asked"):format(leaks)) end
  if all.unsent > 0 then print(("  %d not sent: %s"):format(all.unsent, all.reason)) end
  script.print_misread(all.misread)
  if all.unlisted > 0 then print(("  %d more, not listed"):format(all.unlisted)) end
  return answered
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local started = ether.now()

-- Also after Ctrl-C.
ether.defer(function()
  script.end_progress()
  script.status = report(ether.now() - started) > 0 and script.DONE or script.REFUSED
end)

script.progress(function()
  local all = totals()
  return ("%d sent, %d answers by ARP, %d by DHCP, %.0f s"):format(all.sent, all.arp_answers, all.dhcp_answers,
    ether.now() - started)
end)

-- One after the other: each has the relay's default endpoint for itself.
for _, one in ipairs { scan or false, discover or false } do
  if one then
    local ok, reason = one:run()
    one:close()
    if not ok then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
  end
end
