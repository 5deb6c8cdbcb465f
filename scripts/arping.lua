-- arping.lua: asks for one address from a host that need not exist: who has it, how fast they answer, and whether
-- several have it.
--
--   etherlua run arping -i eth1 10.0.0.1
--   etherlua run arping -i eth1 --vlan 100.200 --dad 10.0.0.99

local addr = require "etherlua.net.addr"
local arping = require "etherlua.role.arping"
local ether = require "etherlua"
local numbers = require "etherlua.net.numbers"
local random = require "etherlua.net.random"
local script = require "etherlua.script"
local vlan_stack = require "etherlua.net.vlan_stack"

local ETHERTYPE = numbers.ethertype

local function options()
  local ip = script.accepted_by(addr.ip_bytes)
  local parser = script.parser("arping", "Ask for one address by ARP, or by neighbour solicitation if it is IPv6.")
  parser:argument("target", "The address."):argname("TARGET"):convert(ip)
  parser:option("--count", "Questions; 0: until Ctrl-C.", "3"):argname("N"):convert(script.number(0, 1e9, true))
  parser:option("--interval", "Seconds from one question to the next.", "1"):argname("SECONDS")
    :convert(script.number(0.001, 86400))
  parser:option("--timeout", "Seconds to listen behind the last question.", "1"):argname("SECONDS")
    :convert(script.number(0.001, 86400))
  parser:option("--mac", "Own MAC address (default: a random one)."):argname("MAC")
    :convert(script.accepted_by(script.host_mac))
  parser:option("--vlan", "VLAN stack, outer tag first: 100 or 100.200."):argname("VLANS")
    :convert(script.accepted_by(vlan_stack.new))
  parser:option("--ip", "Own address (default: none, which is a probe and changes nobody's cache)."):argname("IP")
    :convert(ip)
  parser:flag("--broadcast", "Ask everybody each time (default: after the first answer only who gave it).")
  parser:flag("--first", "End at the first answer.")
  parser:mutex(
    parser:flag("--dad", "Is the address free? End with status 3 at the first answer, or other sign of somebody " ..
      "who has the address or probes for it; 0 when there is none."),
    parser:flag("--announce --gratuitous", "Do not ask: say that this host has the address, --count times."))
  parser:epilog("Exit status: 0 one host answered, 3 nobody did or several; with --dad 0 nobody answered, 3 " ..
    "somebody did; with --announce 0 all was sent; 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER = { "ip", "mac", "sent_by", "said", "vlans", "ms", "question", "broadcast", "duplicate" }
local SUMMARY = { "target", "sent", "broadcasts", "unsent", "answered", "answers", "owners", "ignored", "times_ms" }

local relay, asker

local function print_answer(answer)
  local all = asker:summary()
  if opts.json then
    return script.print_json(ANSWER, { ip = all.target, mac = answer.mac, sent_by = answer.sent_by, said = answer.said,
      vlans = all.vlans, ms = answer.seconds * 1000, question = answer.question, broadcast = answer.broadcast,
      duplicate = answer.duplicate })
  end
  print(("%s %s %s %s [%s]  %.3f ms%s%s"):format(answer.broadcast and "Broadcast" or "Unicast", answer.said,
    answer.said == "probe" and "for" or "from", all.target, answer.mac, answer.seconds * 1000,
    answer.duplicate and "  DUPLICATE" or "", answer.sent_by and "  SENT BY " .. answer.sent_by or ""))
end

local function print_summary(values)
  if opts.announce then
    print(("%d announced"):format(values.sent))
  else
    print(("%d sent (%d to everybody), %d answered, %d answers, MAC addresses: %d"):format(values.sent,
      values.broadcasts, values.answered, values.answers, values.owners))
  end
  if values.unsent > 0 then print(("  %d not sent: %s"):format(values.unsent, values.reason)) end
  if values.answers > 0 then print("  ms  " .. script.times_text(values.times_ms)) end
  if values.owners > 1 then print("  DUPLICATE: " .. table.concat(values.macs, ", ")) end
  if opts.dad and values.finished and values.unsent == 0 then
    print(("  %s is %s"):format(values.target, values.owners > 0 and "in use" or "free"))
  end
end

local function status_of(values)
  local good = values.owners == 1
  if opts.dad then good = values.finished and values.owners == 0 end
  if opts.announce then good = values.finished end
  return good and values.unsent == 0 and script.DONE or script.REFUSED
end

-- ---- the run ------------------------------------------------------------------------------------------------------

relay = script.relay(opts)
local conn = relay:conn { mac = opts.mac or random.mac(), vlans = opts.vlan, multicast = true,
  ethertypes = { ETHERTYPE.ARP, ETHERTYPE.IPV6 } }
asker = script.check(arping.new, conn, { target = opts.target, source = opts.ip,
  count = opts.count > 0 and opts.count or math.huge, interval = opts.interval, timeout = opts.timeout,
  broadcast = opts.broadcast, first = opts.first or opts.dad, dad = opts.dad, announce = opts.announce })

-- Also after Ctrl-C.
ether.defer(function()
  local values = asker:summary()
  values.times_ms = script.milliseconds(values.times)
  if opts.json then script.print_json(SUMMARY, values) else print_summary(values) end
  script.status = status_of(values)
end)

if not opts.json then
  local values = asker:summary()
  print(("ARPING %s from %s %s on %s%s"):format(values.target, values.source, values.mac, relay.name,
    opts.vlan and " vlan " .. opts.vlan or ""))
end
local done, reason = asker:run(print_answer)
if not done then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
