-- ping.lua: asks a host for echoes (ICMP, ICMPv6) as a host that exists nowhere in the operating system.
--
--   etherlua run ping --lab 10.0.0.1
--   etherlua run ping -i eth1 --vlan 100.200 --ip 10.0.0.5/24 --count 5 10.0.0.1

local ether = require "etherlua"
local ping = require "etherlua.role.ping"
local script = require "etherlua.script"
local script_host = require "etherlua.program.script_host"

local FLOOD_PAUSE = 0.01 -- seconds: so long a flood waits for an answer

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("ping", "Ask a host for echoes (RFC 792, RFC 4443), as a host of its own.")
  parser:argument("target", "IPv4 or IPv6 address."):convert(script.accepted_by(script_host.target))
  script_host.add(parser)
  parser:option("-c --count", "Requests to send (default: until Ctrl-C)."):argname("N")
    :convert(script.number(1, 1e15, true))
  parser:mutex(
    parser:option("--interval", "Seconds between two requests.", "1"):argname("SECONDS")
      :convert(script.number(0.001, 1e6)),
    parser:option("--rate", "Requests a second, whether they are answered or not, without a line for each.")
      :argname("PER_SECOND"):convert(script.number(0.001, 1e9)),
    parser:flag("-f --flood", "A request as soon as the one before is answered, or after 10 ms, without a line for " ..
      "each."))
  parser:option("-s --size", "Octets of data in a request.", "56"):argname("N"):convert(script.number(0, 65507, true))
  parser:option("-t --ttl", "Time to live, or hop limit."):argname("N"):convert(script.number(1, 255, true))
  parser:option("--tos", "Type of service, or traffic class."):argname("N"):convert(script.number(0, 255, true))
  parser:flag("--df", "Do not fragment (IPv4).")
  parser:option("-W --timeout", "Seconds to wait for an answer.", "1"):argname("SECONDS")
    :convert(script.number(0.001, 1e6))
  parser:flag("-q --quiet", "Print no line for each answer.")
  parser:epilog("Exit status: 0 every request was answered, 3 not all were, or the host got no address, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()
local quiet = opts.quiet or opts.flood or opts.rate ~= nil
local count = opts.count or math.huge

-- ---- the host -----------------------------------------------------------------------------------------------------

local relay = script.relay(opts)
local host = script_host.host_of(opts, relay, opts.target)
local times = ether.histogram()
local asker = ping.new(host, opts.target, { size = opts.size, ttl = opts.ttl, tos = opts.tos, df = opts.df,
  quiet = quiet, times = times })
if opts.size > asker:room() then
  script.exit(script.USAGE, ("%d octets of data do not fit the MTU of %s: up to %d do"):format(opts.size, relay.name,
    asker:room()))
end

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER = { "icmp_seq", "from", "bytes", "ttl", "rtt_ms", "duplicate", "error", "notice" }
local SUMMARY = { "target", "source", "transmitted", "received", "duplicates", "errors", "unsent", "loss_percent",
  "seconds", "rtt_ms" }

local tried, unsent = 0, {} -- requests; by reason
local first_at, last_at

local function print_reply(pong)
  print(("%d bytes from %s: icmp_seq=%d ttl=%d%s%s"):format(pong.size, pong.from, pong.sequence, pong.ttl,
    pong.rtt and (" time=%.3f ms"):format(pong.rtt * 1000) or "", pong.duplicate and " (DUP!)" or ""))
end

local function show(pong)
  if opts.json then
    return script.print_json(ANSWER, { icmp_seq = pong.sequence, from = pong.from, bytes = pong.size, ttl = pong.ttl,
      rtt_ms = pong.rtt and pong.rtt * 1000, duplicate = pong.duplicate, error = pong.error, notice = pong.notice })
  end
  local words = pong.error or pong.notice
  if not words then return print_reply(pong) end
  print(("From %s icmp_seq=%d %s"):format(pong.from, pong.sequence, words))
end

-- What nobody on the wire says.
local function show_failure(sequence, reason)
  if quiet then return end
  if opts.json then return script.print_json(ANSWER, { icmp_seq = sequence, error = reason }) end
  print(("icmp_seq=%d %s"):format(sequence, reason))
end

local function values()
  local not_sent = 0
  for _, number in pairs(unsent) do not_sent = not_sent + number end
  local rtt = script.milliseconds(times)
  rtt.mdev = times.count > 0 and math.floor(asker:deviation() * 1e6 + 0.5) / 1000 or nil
  return { target = asker.to, source = asker.source, transmitted = tried, received = asker.received,
    duplicates = asker.duplicates, errors = asker.errors, unsent = not_sent,
    loss_percent = tried > 0 and (tried - asker.received) * 100 / tried or 0,
    seconds = first_at and last_at - first_at or 0, rtt_ms = rtt }
end

local function extra(word, number)
  return number > 0 and (", +%d %s"):format(number, word) or ""
end

local function print_summary(all)
  print(("\n--- %s ping statistics ---"):format(all.target))
  print(("%d packets transmitted, %d received%s%s, %.6g%% packet loss, time %.0fms"):format(all.transmitted,
    all.received, extra("duplicates", all.duplicates), extra("errors", all.errors + all.unsent), all.loss_percent,
    all.seconds * 1000))
  for reason, number in pairs(quiet and unsent or {}) do print(("%d not sent: %s"):format(number, reason)) end
  local rtt = all.rtt_ms
  if rtt.count == 0 then return end
  print(("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms"):format(rtt.min, rtt.mean, rtt.max, rtt.mdev))
  print("rtt ms  " .. script.times_text(rtt))
end

-- ---- asking -------------------------------------------------------------------------------------------------------

-- Returns whether an answer may come.
local function request()
  tried = tried + 1
  last_at = ether.now()
  first_at = first_at or last_at
  local ok, reason = asker:send(tried)
  last_at = ether.now()
  if ok then return true end
  unsent[reason] = (unsent[reason] or 0) + 1
  show_failure(tried % 0x10000, reason)
  return false
end

local waiting, order, oldest = {}, {}, 1 -- by sequence; in the order of sending, of which the oldest is at [oldest]

local function take(pong)
  if not pong.notice then waiting[pong.sequence] = nil end
  show(pong)
end

-- Says so when no answer came in time. Returns when the next one is late.
local function expire()
  while oldest <= tried do
    local one = order[oldest]
    if one and waiting[one.sequence] == one then
      if one.late_at > ether.now() then return one.late_at end
      waiting[one.sequence] = nil
      show_failure(one.sequence, "no answer")
    end
    order[oldest] = nil
    oldest = oldest + 1
  end
end

-- A line for each.
local function ask_with_lines()
  local due = ether.now()
  while true do
    local late_at = expire()
    if tried == count and not late_at then return end
    local now = ether.now()
    if tried < count and now >= due then
      due = math.max(due + opts.interval, now)
      if request() then
        local one = { sequence = tried % 0x10000, late_at = last_at + opts.timeout }
        waiting[one.sequence], order[tried] = one, one
      end
    else
      local pong = asker:recv(math.min(tried < count and due or math.huge, late_at or math.huge) - now)
      if pong then take(pong) end
    end
  end
end

local function ask_quietly()
  local pacer = not opts.flood and ether.pacer { rate = opts.rate or 1 / opts.interval }
  while tried < count do
    if pacer then pacer:wait() end
    local sent = request()
    if opts.flood and not (sent and asker:wait(tried, FLOOD_PAUSE)) then ether.sleep(sent and 0 or FLOOD_PAUSE) end
  end
  asker:drain(opts.timeout)
end

-- Also after Ctrl-C.
ether.defer(function()
  local all = values()
  if opts.json then script.print_json(SUMMARY, all) else print_summary(all) end
  script.status = tried > 0 and asker.received == tried and script.DONE or script.REFUSED
end)

if not opts.json then
  print(("PING %s from %s (%s): %d(%d) bytes of data."):format(asker.to, host:source(asker.to) or "?",
    script_host.name_of(host), opts.size, asker:packet_size()))
end
io.stdout:setvbuf("line")
if quiet then
  script.progress(function()
    return ("%d sent, %d received, %d errors"):format(tried, asker.received, asker.errors)
  end)
  ask_quietly()
else
  ask_with_lines()
end
