-- ping.lua: asks a host for echoes (ICMP, ICMPv6) as a host that exists nowhere in the operating system.
--
--   etherlua run ping --lab 10.0.0.1
--   etherlua run ping -i eth1 --vlan 100.200 --ip 10.0.0.5/24 --count 5 10.0.0.1

local ether = require "etherlua"
local ping = require "etherlua.role.ping"
local script = require "etherlua.script"
local script_host = require "etherlua.program.script_host"

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
  parser:epilog("Exit status: 0 every request was answered with its own data, 3 not all were, or the host got no " ..
    "address, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()
local quiet = opts.quiet or opts.flood or opts.rate ~= nil

-- ---- the host -----------------------------------------------------------------------------------------------------

local relay = script.relay(opts)
local host = script_host.host_of(opts, relay, opts.target)
local asker = script.check(ping.new, host, { target = opts.target, size = opts.size, ttl = opts.ttl, tos = opts.tos,
  df = opts.df, quiet = quiet, count = opts.count, interval = opts.interval, rate = opts.rate, flood = opts.flood,
  timeout = opts.timeout })
if opts.size > asker:room() then
  script.exit(script.USAGE, ("%d octets of data do not fit the MTU of %s: up to %d do"):format(opts.size, relay.name,
    asker:room()))
end

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER = { "icmp_seq", "from", "bytes", "ttl", "rtt_ms", "duplicate", "error", "notice" }
local SUMMARY = { "target", "source", "transmitted", "received", "duplicates", "corrupted", "errors", "unsent",
  "loss_percent", "seconds", "rtt_ms" }

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
  if pong.damaged then
    print_reply(pong)
    return print(words)
  end
  print(("%sicmp_seq=%d %s"):format(pong.from and ("From %s "):format(pong.from) or "", pong.sequence, words))
end

local function values()
  local all = asker:summary()
  all.rtt_ms = script.milliseconds(all.rtt)
  all.rtt_ms.mdev = all.rtt.mdev and math.floor(all.rtt.mdev * 1e6 + 0.5) / 1000
  return all
end

local function extra(word, number)
  return number > 0 and (", +%d %s"):format(number, word) or ""
end

local function print_summary(all)
  print(("\n--- %s ping statistics ---"):format(all.target))
  print(("%d packets transmitted, %d received%s%s%s, %.6g%% packet loss, time %.0fms"):format(all.transmitted,
    all.received, extra("duplicates", all.duplicates), extra("corrupted", all.corrupted),
    extra("errors", all.errors + all.unsent), all.loss_percent, all.seconds * 1000))
  for reason, number in pairs(quiet and all.reasons or {}) do print(("%d not sent: %s"):format(number, reason)) end
  local rtt = all.rtt_ms
  if rtt.count == 0 then return end
  print(("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms"):format(rtt.min, rtt.mean, rtt.max, rtt.mdev))
  print("rtt ms  " .. script.times_text(rtt))
end

-- ---- asking -------------------------------------------------------------------------------------------------------

-- Also after Ctrl-C.
ether.defer(function()
  local all = values()
  if opts.json then script.print_json(SUMMARY, all) else print_summary(all) end
  script.status = all.transmitted > 0 and all.received == all.transmitted and all.corrupted == 0 and script.DONE
    or script.REFUSED
end)

if not opts.json then
  print(("PING %s from %s (%s): %d(%d) bytes of data."):format(asker:summary().target, host:source(opts.target) or "?",
    script_host.name_of(host), opts.size, asker:packet_size()))
end
io.stdout:setvbuf("line")
if quiet then
  script.progress(function()
    local all = asker:summary()
    return ("%d sent, %d received, %d errors"):format(all.transmitted, all.received, all.errors)
  end)
end
asker:run(show)
