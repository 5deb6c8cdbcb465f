-- ping_sweep.lua: which of many IPv4 addresses answer a ping, as a host that exists nowhere in the operating system.
--
--   etherlua run ping_sweep -i eth1 --ip 10.0.0.5/16 --rate 20000 10.0.0.0/16
--   etherlua run ping_sweep -i eth1 --vlan 100 --silent 10.1.0.0/24 10.2.0.1-10.2.0.9

local ether = require "etherlua"
local ip_range = require "etherlua.net.ip_range"
local ping_sweep = require "etherlua.role.ping_sweep"
local script = require "etherlua.script"
local script_host = require "etherlua.program.script_host"

local function options()
  local parser = script.parser("ping_sweep", "Ask many hosts for an echo (RFC 792), as a host of its own.")
  parser:argument("addresses", "Prefixes, whose hosts are asked, ranges and addresses: 10.0.0.0/24, " ..
    "10.0.0.1-10.0.0.99, 10.0.0.7."):args("+"):argname("ADDRESSES"):convert(script.accepted_by(ip_range.new))
  parser:flag("--all", "Ask the network and broadcast address of a prefix too.")
  script_host.add(parser)
  parser:option("--rate", "Addresses a second.", "1000"):argname("PER_SECOND"):convert(script.number(0.001, 1e9))
  parser:option("--retry", "How often an address that did not answer is asked again.", "1"):argname("N")
    :convert(script.number(0, 100, true))
  parser:option("-W --timeout", "Seconds that an answer may take.", "0.5"):argname("SECONDS")
    :convert(script.number(0.001, 3600))
  parser:option("-s --size", "Octets of data in a request.", "56"):argname("N"):convert(script.number(0, 65507, true))
  parser:flag("--silent", "List those that do not answer, not those that do.")
  parser:epilog("Exit status: 0 somebody answered, or with --silent everybody; 3 not so, or the host got no " ..
    "address; 1 the interface is gone; 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()
local targets = ip_range.new(opts.addresses, opts.all)
if targets.count > ping_sweep.QUESTIONS_MAX then
  script.exit(script.USAGE, ("%.0f addresses are too many: up to %d are possible"):format(targets.count,
    ping_sweep.QUESTIONS_MAX))
end

-- ---- the host -----------------------------------------------------------------------------------------------------

local relay = script.relay(opts)
local host = script_host.host_of(opts, relay, "0.0.0.0")
local sweep = script.check(ping_sweep.new, host, { targets = targets, rate = opts.rate, tries = opts.retry + 1,
  timeout = opts.timeout, size = opts.size })
local started = ether.now()

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER, SILENT = { "ip", "rtt_ms" }, { "ip", "neighbour" }
local SUMMARY = { "questions", "answered", "neighbours", "sent", "arp", "unsent", "reason", "repeated", "ignored",
  "seconds", "rtt_ms" }

-- Of these there may be very many, and LuaJIT compiles no print.
local function print_answers()
  for answer in sweep:answers() do
    local ms = answer.rtt * 1000
    if opts.json then
      script.print_json(ANSWER, { ip = answer.ip, rtt_ms = ms })
    else
      io.write(("%-15s  %9.3f ms\n"):format(answer.ip, ms))
    end
  end
end

local function print_silent()
  for one in sweep:silent() do
    if opts.json then
      script.print_json(SILENT, one)
    else
      io.write(("%-15s  %s\n"):format(one.ip, one.neighbour and "answers ARP alone" or "silent"))
    end
  end
end

local function print_summary(values)
  print(("%d of %d answered in %.1f s: %d sent, %d of them ARP"):format(values.answered, values.questions,
    values.seconds, values.sent, values.arp))
  if values.answered > 0 then print("  ms  " .. script.times_text(values.rtt_ms)) end
  if values.unsent > 0 then print(("  %d not sent: %s"):format(values.unsent, values.reason)) end
end

local function values()
  local all = sweep:summary()
  all.seconds, all.rtt_ms = ether.now() - started, script.milliseconds(all.times)
  return all
end

local function line(all)
  return ("pass %d of %d: %d of %d answered, %.0f s"):format(all.pass, opts.retry + 1, all.answered, all.questions,
    all.seconds)
end

-- Also after Ctrl-C.
ether.defer(function()
  local all = values()
  if opts.silent then print_silent() else print_answers() end
  if opts.json then script.print_json(SUMMARY, all) else print_summary(all) end
  local wanted = opts.silent and all.questions or math.min(1, all.questions)
  script.status = all.answered >= wanted and all.questions > 0 and script.DONE or script.REFUSED
end)

if not opts.json then
  print(("asking %d addresses on %s as %s (%s) at %g a second"):format(sweep:summary().questions, relay.name, host.ip,
    script_host.name_of(host), opts.rate))
end
script.progress(function() return line(values()) end)
local ok, reason = sweep:run()
script.end_progress()
if not ok then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
