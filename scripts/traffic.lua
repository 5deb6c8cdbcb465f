-- traffic.lua: sends UDP flows and receives them: loss, duplicates, reordering and latency of each.
--
--   etherlua run traffic -i eth1 --to eth2 --flows 1000 --rate 100k --size imix --vlan-range 100.1-1000
--   etherlua run traffic --lab --flows 1000 --rate 50Mbit --duration 5
--   etherlua run traffic -i eth2 --receive --flows 10        and, elsewhere:
--   etherlua run traffic -i eth1 --send --flows 10 --gateway 10.1.0.254

local addr = require "etherlua.net.addr"
local ether = require "etherlua"
local neighbour = require "etherlua.role.neighbour"
local prefix = require "etherlua.net.prefix"
local rate = require "etherlua.net.rate"
local report = require "etherlua.program.report"
local script = require "etherlua.script"
local size_mix = require "etherlua.net.size_mix"
local traffic = require "etherlua.role.traffic"
local traffic_direction = require "etherlua.role.traffic_direction"
local vlan_range = require "etherlua.net.vlan_range"
local vlan_stack = require "etherlua.net.vlan_stack"

local WORST = 5 -- flows that are shown when there was trouble

-- ---- options ------------------------------------------------------------------------------------------------------

local BIG = 2 ^ 40

local function add_places(parser)
  parser:mutex(
    parser:option("--to", "Receive on this relay, in the same program."):argname("SPEC"),
    parser:flag("--send", "Only send: another program receives."),
    parser:flag("--receive", "Only receive what another program sends with the same --flows and addresses. Latency " ..
      "is measured when that runs on this machine; clocks of two machines cannot be compared. Loss is exact with " ..
      "--count; without it, what is missing between a flow's first and last packet."))
  parser:flag("--both", "Send both ways, with --to or --lab.")
end

local function add_load(parser)
  parser:option("--flows", "Number of flows.", "1"):argname("N"):convert(script.number(1, traffic.MAX_FLOWS, true))
  parser:option("--rate", "Of all flows together, evenly spread: packets a second (5000, 100k, 2Mpps) or bits a " ..
    "second of the frames (50Mbit, 1Gbit).", "1k"):argname("RATE")
    :convert(script.accepted_by(rate.new))
  parser:option("--size", "Bytes of a frame with its check sequence and without VLAN tags, which come on top: 64, a " ..
    "mix with shares such as 64:7,570:4,1518:1, or imix, which is that mix (default: 64; over IPv6 84, also in imix).")
    :argname("SIZES"):convert(script.accepted_by(size_mix.new))
  parser:option("--duration", "Seconds to send (default 10, without --count). With --receive: to listen after the " ..
    "first packet."):argname("SECONDS"):convert(script.number(0.001, 1e9))
  parser:option("--count", "Packets of each flow to send; with --receive: that are sent."):argname("N")
    :convert(script.number(1, BIG, true))
  parser:option("--warm-up", "Seconds to send before, without counting.", "0"):argname("SECONDS")
    :convert(script.number(0, 3600))
  parser:option("--wait", "Seconds to wait at the end for what is on its way; with --receive: end when nothing has " ..
    "come for so long.", "2"):argname("SECONDS"):convert(script.number(0, 3600))
end

local ENDS = { src = { "source", "02:00:00:00:00:00", "10.1.0.1", 5000 },
  dst = { "destination", "02:01:00:00:00:00", "10.2.0.1", 5001 } }

local function add_end(parser, name)
  local what, mac, ip, port = unpack(ENDS[name])
  local step = script.number(-BIG, BIG, true)
  local function option(part, text, default, argname)
    return parser:option(("--%s-%s"):format(name, part), text:format(what), tostring(default)):argname(argname)
  end
  option("ip", "First %s IP address, IPv4 or IPv6.", ip, "IP"):convert(script.accepted_by(addr.ip_bytes))
  option("ip-step", "What the %s IP address grows by from flow to flow.", 1, "N"):convert(step)
  option("port", "First %s UDP port.", port, "PORT"):convert(script.number(0, 65535, true))
  option("port-step", "What the %s port grows by.", 0, "N"):convert(script.number(-65535, 65535, true))
  option("mac", "First %s MAC address.", mac, "MAC"):convert(script.accepted_by(script.host_mac))
  option("mac-step", "What the %s MAC address grows by.", 1, "N"):convert(step)
end

local function add_headers(parser)
  parser:mutex(
    parser:option("--vlan", "VLAN stack of all flows, outer tag first: 100 or 100.200."):argname("VLANS")
      :convert(script.accepted_by(vlan_stack.new)),
    parser:option("--vlan-range", "VLAN stacks with ranges in them, such as 100-199 or 100.1-4094. Each flow takes " ..
      "the next one, counted up from the last tag, and after the last one the first again."):argname("RANGES")
      :convert(script.accepted_by(vlan_range.new)))
  parser:option("--tos", "Byte of the IPv4 type of service or IPv6 traffic class.", "0"):argname("N")
    :convert(script.number(0, 255, true))
  parser:option("--ttl", "IPv4 time to live or IPv6 hop limit.", "64"):argname("N")
    :convert(script.number(1, 255, true))
  parser:option("--gateway", "Send to the MAC address of this router, asked for by ARP or neighbour discovery on " ..
    "each VLAN stack."):argname("IP"):convert(script.accepted_by(addr.ip_bytes))
  parser:flag("--arp", "Answer ARP and neighbour discovery for the addresses of the flows.")
end

-- "10" packets, or "0.1%" of those sent.
local function max_loss(text)
  local number = tonumber((text:gsub("%%$", "")))
  if not number or number < 0 or text:find "%%" and number > 100 then
    return nil, ("bad loss %q: packets such as 10, or a share such as 0.1%%, are needed"):format(text)
  end
  return { number = number, share = text:find "%%" ~= nil }
end

local function add_output(parser)
  parser:option("--interval", "Print a line every so many seconds."):argname("SECONDS")
    :convert(script.number(0.01, 86400))
  parser:flag("--per-flow", ("Print every flow at the end (default: the %d worst, if any was bad)."):format(WORST))
  parser:option("--max-loss", "So many packets may be lost, and as many duplicated, and reordered: a number, or a " ..
    "share such as 0.1%.", "0"):argname("N"):convert(max_loss)
end

local function options()
  local parser = script.parser("traffic", "Send UDP flows and count what arrives: loss, order and latency of each.")
  add_places(parser)
  add_load(parser)
  add_end(parser, "src")
  add_end(parser, "dst")
  add_headers(parser)
  add_output(parser)
  parser:epilog("-i names the relay that sends, or the one of --send or --receive. Reordered is by RFC 4737 section " ..
    "3.3: a number smaller than one before. Exit status: 0 all came, 3 more than --max-loss was lost, duplicated or " ..
    "reordered, or not sent, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

local function wrong(...) script.exit(script.USAGE, string.format(...)) end

local function check_places()
  if opts.lab and (opts.to or opts.send or opts.receive) then
    wrong "--lab has both ends: no --to, --send or --receive"
  end
  if opts.both and (opts.send or opts.receive) then wrong "--both needs --to or --lab" end
  if not (opts.lab or opts.to or opts.send or opts.receive) then
    wrong "where to: give --to SPEC, --send, --receive, or --lab for a network of its own"
  end
  if opts.gateway and opts.both then wrong "--gateway is on one side: no --both" end
end

check_places()
if not opts.count and not opts.duration and not opts.receive then opts.duration = 10 end

-- ---- flows --------------------------------------------------------------------------------------------------------

-- The VLAN stack of a flow by its number from 0.
local function vlans_of()
  local all, range = ether.vlans(opts.vlan), opts.vlan_range and vlan_range.new(opts.vlan_range)
  return function(i) return range and range:at(i) or all end
end

local function end_of(name)
  local function option(part) return opts[name .. "_" .. part] end
  return { mac = option "mac", mac_step = option "mac_step", ip = option "ip", ip_step = option "ip_step",
    port = option "port", port_step = option "port_step" }
end

local all = script.check(traffic.flows, { count = opts.flows, src = end_of "src", dst = end_of "dst",
  vlans = vlans_of() })
local first, own = report.share(opts.flows, "--flows")
local flows = all:slice(first, own)
local least = traffic.least_size(flows.version)
local mix = script.check(size_mix.new, opts.size or tostring(least), least)
local gateway = opts.gateway and prefix.new(opts.gateway)
if gateway and gateway.version ~= flows.version then
  wrong("bad gateway %s: the flows are IPv%d", gateway.ip, flows.version)
end
local packets_per_second = rate.new(opts.rate):packets(mix.mean + 4 * #all:at(0).vlans)
if packets_per_second > 1e9 then wrong("%g packets a second: up to 1e+09 are possible", packets_per_second) end

-- The MAC address of the router on the flow's VLAN stack.
local function router(conn, flow)
  local mac, reason = neighbour.of(conn):resolve(gateway.ip, flow.src_ip)
  if mac then return mac end
  script.exit(script.REFUSED, ("%s%s"):format(reason, #flow.vlans > 0 and " on VLAN " .. tostring(flow.vlans) or ""))
end

-- ---- relays -------------------------------------------------------------------------------------------------------

-- Both ends of a veth pair that is made for this.
local function lab_relays()
  local mtu = math.max(1500, traffic.mtu_for(mix.largest, #flows:at(0).vlans))
  local kind, net = script.lab_kind(opts), script.new_lab { mtu = mtu }
  local near = script.check(net.relay, net, kind, { capture = opts.capture })
  return near, script.check(net.far.enter, net.far, ether.open, (kind or "afpacket") .. ":eth0")
end

local function open_relays()
  if opts.lab then return lab_relays() end
  local near = script.relay(opts, nil, opts.to ~= nil)
  if opts.to then return near, script.relay { relay = opts.to } end
  if opts.receive then return nil, near end
  return near, nil
end

local near, far = open_relays()

local near_side = near and traffic.endpoints(near, opts.arp)
local far_side = far and traffic.endpoints(far, opts.arp)

local function direction(which, from, to)
  local names = { from and from.relay.name, to and to.relay.name }
  return traffic_direction.new({ from = from, to = to }, { flows = which, mix = mix, ttl = opts.ttl, tos = opts.tos,
    rate = packets_per_second * own / opts.flows,
    name = names[2] and from and table.concat(names, " > ") or names[1] or names[2],
    dst_mac = opts.gateway and router or nil, count = opts.count, duration = opts.duration, warm_up = opts.warm_up,
    timeout = opts.wait })
end

local directions = { direction(flows, near_side, far_side) }
local back = opts.both and all:reversed(opts.flows):slice(first, own)
if back then directions[2] = direction(back, far_side, near_side) end

-- ---- what it says -------------------------------------------------------------------------------------------------

local READY = { "type", "relay" }
local INTERVAL = { "type", "direction", "seconds", "sent", "pps", "received", "received_pps", "missing", "duplicates",
  "reordered" }
local FLOW = { "type", "direction", "flow", "src", "dst", "vlans", "expected", "received", "lost", "duplicates",
  "reordered", "outside", "latency_ms" }
local SUMMARY = { "type", "direction", "flows", "seconds", "sent", "pps", "mbps", "unsent", "slipped", "sender_drops",
  "reason", "expected", "received", "lost", "loss", "duplicates", "reordered", "outside", "silent_flows",
  "receiver_drops", "foreign", "truncated", "unknown", "untimed", "latency_ms" }

-- As an object of that type, or as the text that text_of makes of it.
local function say(kind, names, values, text_of)
  values.type = kind
  if opts.json then return script.print_json(names, values) end
  print(text_of(values))
end

local function interval_text(values)
  local parts = { ("%6.1f s"):format(values.seconds) }
  if #directions > 1 then parts[#parts + 1] = values.direction end
  if values.sent then parts[#parts + 1] = ("sent %d (%.0f/s)"):format(values.sent, values.pps) end
  if values.received then
    parts[#parts + 1] = ("received %d (%.0f/s)  missing %d  duplicates %d  reordered %d"):format(values.received,
      values.received_pps, values.missing, values.duplicates, values.reordered)
  end
  return table.concat(parts, "  ")
end

local function sent_text(values)
  if not values.sent then return nil end
  local text = ("sent %d in %.3f s (%.0f/s, %.3g Mbit/s)"):format(values.sent, values.seconds, values.pps, values.mbps)
  if values.unsent > 0 then text = text .. (", %d not sent: %s"):format(values.unsent, values.reason) end
  if values.slipped > 0 then text = text .. (", behind the rate by %d packets"):format(values.slipped) end
  return text
end

local function received_text(values)
  if not values.received then return nil end
  return ("received %d of %d: lost %d (%.4g %%), duplicates %d, reordered %d"):format(values.received, values.expected,
    values.lost, values.loss * 100, values.duplicates, values.reordered)
end

local NOTES = { { "sender_drops", "lost by the sending relay" }, { "receiver_drops", "lost by the receiving relay" },
  { "silent_flows", "flows of which nothing came" }, { "outside", "with numbers too far from the others" },
  { "foreign", "frames of strangers" }, { "truncated", "cut short" }, { "unknown", "of unknown flows" },
  { "untimed", "with the time of another clock: no latency" } }

local function notes_text(values)
  local parts = {}
  for _, note in ipairs(NOTES) do
    local count = values[note[1]] or 0
    if count > 0 then parts[#parts + 1] = ("%d %s"):format(count, note[2]) end
  end
  return #parts > 0 and table.concat(parts, ", ") or nil
end

local function summary_text(values)
  local lines = { ("%s, %d flow%s"):format(values.direction, values.flows, values.flows == 1 and "" or "s") }
  local function add(text) if text then lines[#lines + 1] = "  " .. text end end
  add(sent_text(values))
  add(received_text(values))
  local times = values.latency_ms
  if times and times.count > 0 then add("latency ms  " .. script.times_text(times)) end
  add(notes_text(values))
  return table.concat(lines, "\n")
end

local function flow_text(values)
  local times = values.latency_ms
  return ("  flow %d  %s > %s%s  %d of %d: lost %d, duplicates %d, reordered %d%s"):format(values.flow, values.src,
    values.dst, script.tag_text(values.vlans), values.received, values.expected, values.lost,
    values.duplicates, values.reordered, times.count > 0 and
      ("  ms p50 %.3f p99 %.3f max %.3f"):format(times.p50, times.p99, times.max) or "")
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local function is_bad(values)
  if (values.unsent or 0) + (values.sender_drops or 0) > 0 then return true end
  if not values.received then return false end
  if values.silent_flows > 0 and opts.receive and not opts.count then return true end
  local allowed = opts.max_loss.share and opts.max_loss.number / 100 * values.expected or opts.max_loss.number
  return math.max(values.lost, values.duplicates, values.reordered, values.outside) > allowed
end

-- The flows of one direction that are told at the end, each with how bad it is.
local function told_flows(one)
  local list, numbers = {}, {}
  if not one.receiver then return list end
  if opts.per_flow or opts.json then
    for i = 0, own - 1 do numbers[i + 1] = i end
  else
    numbers = one:worst(WORST)
  end
  for place, i in ipairs(numbers) do
    list[place] = one:flow(i)
    list[place].trouble = one.receiver:trouble(i)
  end
  return list
end

local watcher
local told -- by rank: of each direction flows and reason. At rank 0

local function before()
  if watcher then watcher:cancel() end
  for _, one in ipairs(directions) do one:finish(opts.wait) end
  local list = {}
  for i, one in ipairs(directions) do list[i] = { flows = told_flows(one), reason = one:summary().reason } end
  told = ether.ranks.gather(list)
end

-- Of all ranks: the flows that are told of one direction, and why packets were not sent.
local function told_of(direction_number)
  local list, reason = {}, nil
  for rank = 1, ether.ranks.size do
    local part = told[rank] and told[rank][direction_number] or { flows = {} }
    for _, flow in ipairs(part.flows) do list[#list + 1] = flow end
    reason = reason or part.reason
  end
  if opts.per_flow or opts.json then return list, reason end
  table.sort(list, function(a, b)
    if a.trouble ~= b.trouble then return a.trouble > b.trouble end
    return a.flow < b.flow
  end)
  return { unpack(list, 1, WORST) }, reason
end

local function say_direction(i, values)
  local list, reason = told_of(i)
  values.direction, values.reason = directions[i].name, reason
  if values.latency then
    for _, flow in ipairs(list) do
      flow.latency_ms = script.milliseconds(flow.latency)
      say("flow", FLOW, flow, flow_text)
    end
    values.latency_ms = script.milliseconds(values.latency)
  end
  say("summary", SUMMARY, values, summary_text)
  return is_bad(values)
end

local function finish(counts)
  local status = script.DONE
  for i = 1, #directions do
    if say_direction(i, traffic_direction.summary(counts[i])) then status = script.REFUSED end
  end
  return status
end

local function run_all()
  local tasks = {}
  for i, one in ipairs(directions) do tasks[i] = ether.spawn(one.run, one) end
  for _, task in ipairs(tasks) do task:join() end
end

local function counts()
  local list = {}
  for i, one in ipairs(directions) do list[i] = one:totals() end
  return list
end

local ready, shown = false, {}
local function line(sums)
  if ready then return interval_text(traffic_direction.progress(sums[1], shown)) end
  return ("%d of %d flows made"):format(sums[1].opened, opts.flows)
end

local said = { counts = counts, greatest = { "seconds" }, line = line, before = before, finish = finish }

local function watch(memory)
  while true do
    local sums = report.now(said)
    for i, one in ipairs(directions) do
      memory[i] = memory[i] or {}
      local values = traffic_direction.progress(sums[i], memory[i])
      values.direction = one.name
      if values.seconds > 0 then say("interval", INTERVAL, values, interval_text) end
    end
    ether.sleep(opts.interval)
  end
end

report.live(said)
for _, one in ipairs(directions) do script.check(one.open, one) end
ether.ranks.barrier()
ready = true
report.sum_up(said)
if ether.ranks.rank == 0 then
  if opts.interval then watcher = ether.spawn(watch, {}) end
  if opts.receive then say("ready", READY, { relay = far.name }, function() return "receiving on " .. far.name end) end
end
run_all()
