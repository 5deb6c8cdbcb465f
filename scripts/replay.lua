-- replay.lua: sends the frames of a capture file on an interface, as they are or with other addresses and VLAN tags.
--
--   etherlua run replay trace.pcap -i eth1
--   etherlua run replay trace.pcap -i eth1 --rate 100Mbit --loop 0 --dst-mac 02:00:00:11:22:33 --vlan 100.200

local addr = require "etherlua.net.addr"
local ether = require "etherlua"
local filter = require "etherlua.relay.filter"
local rate = require "etherlua.net.rate"
local misuse = require "etherlua.core.misuse"
local replay = require "etherlua.role.replay"
local rewrite = require "etherlua.relay.rewrite"
local script = require "etherlua.script"
local vlan_stack = require "etherlua.net.vlan_stack"

-- ---- options ------------------------------------------------------------------------------------------------------

local function mac_pair(text)
  local old, new = text:match("^([^=]+)=([^=]+)$")
  if not old then return nil, ("bad --map-mac %q: OLD=NEW is needed"):format(text) end
  local ok, reason = pcall(function() return addr.mac_bytes(old) .. addr.mac_bytes(new) end)
  if not ok then return nil, misuse.words(reason) end
  return { old, new }
end

local function add_rewrites(parser)
  local mac, vlans = script.accepted_by(addr.mac_bytes), script.accepted_by(vlan_stack.new)
  parser:option("--src-mac", "Source MAC address in place of the frames' own."):argname("MAC"):convert(mac)
  parser:option("--dst-mac", "Destination MAC address in place of the frames' own."):argname("MAC"):convert(mac)
  parser:option("--map-mac", "This MAC address in place of that one, wherever it is source or destination. May be " ..
    "given several times."):count("*"):argname("OLD=NEW"):convert(mac_pair)
  parser:option("--vlan", "VLAN stack in place of the frames' own, outer tag first: 100 or 100.200; \"\" for none.")
    :argname("VLANS"):convert(vlans)
  parser:flag("--pop-vlan", "Take the outer tag off; given twice, two."):count("*")
  parser:option("--push-vlan", "Put these tags around the frame, behind --pop-vlan."):argname("VLANS"):convert(vlans)
end

local function options()
  local parser = script.parser("replay", "Send the frames of a capture file, with its timing.")
  parser:argument("file", "pcap or pcapng file of Ethernet frames."):argname("FILE")
  parser:mutex(
    parser:option("--speed", "So many times as fast as the file."):argname("FACTOR")
      :convert(script.number(1e-6, 1e9)),
    parser:option("--rate", "At a steady rate: frames a second (1000, 10k) or bits of frames a second (100Mbit).")
      :argname("RATE"):convert(script.accepted_by(rate.new)),
    parser:flag("--top-speed", "As fast as they go."))
  parser:option("--loop", "How often the file is sent; 0: until Ctrl-C.", "1"):argname("N")
    :convert(script.number(0, 1e15, true))
  parser:option("--count", "End after so many frames."):argname("N"):convert(script.number(1, 1e15, true))
  parser:option("--filter", "Only frames that this pcap-filter text matches, in VLAN tags or not."):argname("FILTER")
  add_rewrites(parser)
  parser:epilog("Frames are sent as they are, short or malformed ones too; what does not fit the interface's MTU is " ..
    "not sent, and the summary names those frames. `late` is how long after its time a " ..
    "frame was sent.\n\nExit status: 0 all frames were sent, 3 some were too long or short for the interface, cut " ..
    "short in the file or lost, or Ctrl-C came first, 1 the file is broken or the interface gone, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

local function rewriting()
  if opts.vlan and (opts.pop_vlan > 0 or opts.push_vlan) then
    script.exit(script.USAGE, "--vlan replaces all tags: --pop-vlan and --push-vlan are not allowed with it")
  end
  if not (opts.src_mac or opts.dst_mac or opts.vlan or opts.push_vlan or opts.pop_vlan > 0 or opts.map_mac[1]) then
    return nil
  end
  local map = {}
  for _, pair in ipairs(opts.map_mac) do map[pair[1]] = pair[2] end
  return rewrite.new { src_mac = opts.src_mac, dst_mac = opts.dst_mac, map = map,
    pop = opts.vlan and math.huge or opts.pop_vlan, push = opts.vlan or opts.push_vlan }
end

local function replay_opts()
  local given = opts.rate and rate.new(opts.rate) or {}
  return { path = opts.file, filter = opts.filter and script.check(filter.any_vlans, opts.filter),
    loops = opts.loop == 0 and math.huge or opts.loop, count = opts.count, speed = opts.speed,
    rate = given.pps, bits = given.bps, top_speed = opts.top_speed, rewrite = rewriting() }
end

-- ---- output -------------------------------------------------------------------------------------------------------

local SUMMARY = { "frames", "bytes", "seconds", "rate", "bits_per_second", "passes", "lost", "skipped",
  "skipped_frames", "late_ms" }

local relay, player

local function summary()
  local values, stats = player:summary(), relay:stats()
  local per_second = values.seconds > 0 and 1 / values.seconds or 0
  values.frames, values.bytes, values.rate = stats.tx_sent, stats.bytes_tx, stats.tx_sent * per_second
  values.bits_per_second = stats.bytes_tx * 8 * per_second
  values.lost = stats.tx_link_down + stats.tx_refused + stats.tx_error
  values.late_ms = script.milliseconds(values.late)
  return values
end

local UNITS = { { 1e9, "Gbit/s" }, { 1e6, "Mbit/s" }, { 1e3, "kbit/s" }, { 0, "bit/s" } }

local function bits_text(value)
  for _, unit in ipairs(UNITS) do
    if value >= unit[1] then return ("%.4g %s"):format(value / math.max(unit[1], 1), unit[2]) end
  end
end

local SHOWN = 10 -- numbers of frames behind one reason

local function skipped_text(reason, count, numbers)
  local what = reason == "too long" and ("too long for MTU %d"):format(relay.mtu) or reason
  local more = count > SHOWN and ", ..." or ""
  return ("  %d not sent: %s: frame%s %s%s"):format(count, what, count > 1 and "s" or "",
    table.concat(numbers, ", ", 1, math.min(#numbers, SHOWN)), more)
end

local function print_summary(values)
  print(("%d %s, %d bytes in %.3f s (%.0f/s, %s)"):format(values.frames, values.frames == 1 and "frame" or "frames",
    values.bytes, values.seconds, values.rate, bits_text(values.bits_per_second)))
  if values.late_ms.count > 0 then print("  late ms  " .. script.times_text(values.late_ms)) end
  for _, reason in ipairs { "too long", "too short", "cut short" } do
    local count = values.skipped[reason]
    if count then print(skipped_text(reason, count, values.skipped_frames[reason])) end
  end
  if values.lost > 0 then print(("  %d lost on sending"):format(values.lost)) end
end

-- ---- the run ------------------------------------------------------------------------------------------------------

-- What is received is of no interest: no frame is so short.
local NOTHING = "less 1"

local given = replay_opts()
relay = script.relay(opts, { filter = NOTHING, promiscuous = false })
player = script.check(replay.new, relay, given)

script.progress(function()
  local values = player:summary()
  return ("%d frames, pass %d, %.0f s"):format(values.frames, values.passes, values.seconds)
end)

-- Also after Ctrl-C.
ether.defer(function()
  script.end_progress()
  local values = summary()
  if opts.json then script.print_json(SUMMARY, values) else print_summary(values) end
  local all = (values.whole or given.loops == math.huge) and values.lost == 0 and not next(values.skipped)
  script.status = all and script.DONE or script.REFUSED
end)

local _, reason = player:run()
if reason then
  local values = player:summary()
  script.exit(script.FAILED, ("%s: %s behind frame %d%s"):format(opts.file, reason, values.frames,
    values.problem and ": " .. values.problem or ""))
end
