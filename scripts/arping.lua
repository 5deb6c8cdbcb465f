-- arping.lua: asks for one address from a host that need not exist: who has it, how fast they answer, and whether
-- several have it.
--
--   etherlua run arping -i eth1 10.0.0.1
--   etherlua run arping -i eth1 --vlan 100.200 --dad 10.0.0.99

local addr = require "etherlua.net.addr"
local arping = require "etherlua.role.arping"
local ether = require "etherlua"
local random = require "etherlua.net.random"
local script = require "etherlua.script"

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
    :convert(script.accepted_by(addr.vlans))
  parser:option("--ip", "Own address (default: none, which is a probe and changes nobody's cache)."):argname("IP")
    :convert(ip)
  parser:flag("--broadcast", "Ask everybody each time (default: after the first answer only who gave it).")
  parser:flag("--first", "End at the first answer.")
  parser:mutex(
    parser:flag("--dad", "Is the address free? End at the first answer with status 3; 0 when there is none."),
    parser:flag("--announce --gratuitous", "Do not ask: say that this host has the address, --count times."))
  parser:epilog("Exit status: 0 one host answered, 3 nobody did or several; with --dad 0 nobody answered, 3 " ..
    "somebody did; with --announce 0 all was sent; 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER = { "ip", "mac", "vlans", "ms", "question", "broadcast", "duplicate" }
local SUMMARY = { "target", "sent", "broadcasts", "unsent", "answered", "answers", "owners", "ignored", "times_ms" }

local times = ether.histogram()
local unsent, reason_unsent, finished = 0, nil, nil

local function print_answer(asker, answer)
  local duplicate = #asker.owners > 1
  if opts.json then
    return script.print_json(ANSWER, { ip = asker.target, mac = answer.mac, vlans = tostring(asker.conn.vlans),
      ms = answer.seconds * 1000, question = asker.sent, broadcast = answer.broadcast, duplicate = duplicate })
  end
  print(("%s reply from %s [%s]  %.3f ms%s"):format(answer.broadcast and "Broadcast" or "Unicast", asker.target,
    answer.mac, answer.seconds * 1000, duplicate and "  DUPLICATE" or ""))
end

local function print_summary(asker, values)
  if opts.announce then
    print(("%d announced"):format(values.sent))
  else
    print(("%d sent (%d to everybody), %d answered, %d answers, MAC addresses: %d"):format(values.sent,
      values.broadcasts, values.answered, values.answers, values.owners))
  end
  if unsent > 0 then print(("  %d not sent: %s"):format(unsent, reason_unsent)) end
  if values.answers > 0 then print("  ms  " .. script.times_text(values.times_ms)) end
  if values.owners > 1 then print("  DUPLICATE: " .. table.concat(asker.owners, ", ")) end
  if opts.dad and finished and unsent == 0 then
    print(("  %s is %s"):format(values.target, #asker.owners > 0 and "in use" or "free"))
  end
end

local function summarize(asker)
  local values = { target = asker.target, sent = asker.sent, broadcasts = asker.broadcasts, unsent = unsent,
    answered = asker.answered, answers = asker.answers, owners = #asker.owners, ignored = asker.ignored,
    times_ms = script.milliseconds(times) }
  if opts.json then script.print_json(SUMMARY, values) else print_summary(asker, values) end
end

local function status_of(asker)
  local good = #asker.owners == 1
  if opts.dad then good = finished and #asker.owners == 0 end
  if opts.announce then good = finished end
  return good and unsent == 0 and script.DONE or script.REFUSED
end

-- ---- the run ------------------------------------------------------------------------------------------------------

-- Counts what cannot be sent; ends the script where it never can again.
local function count_unsent(relay, reason)
  if reason ~= "link down" then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
  unsent, reason_unsent = unsent + 1, reason
end

-- Prints what comes until the time is over. Returns whether that was all that was wanted.
local function listen(relay, asker, seconds)
  local deadline = ether.now() + seconds
  while ether.now() < deadline do
    local answer, reason = asker:answer(deadline - ether.now())
    if not answer then
      if reason ~= "timeout" then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
      return false
    end
    times:record(answer.seconds)
    print_answer(asker, answer)
    if opts.first or opts.dad then return true end
  end
end

local function pause_of(i)
  return i == opts.count and opts.timeout or opts.interval
end

local function ask_all(relay, asker)
  local i = 0
  repeat
    i = i + 1
    local sent, reason = asker:ask(not opts.broadcast and asker.owners[1] or nil)
    if not sent then count_unsent(relay, reason) end
    if listen(relay, asker, pause_of(i)) then return end
  until i == opts.count
end

local function announce_all(relay, asker)
  local i = 0
  repeat
    if i > 0 then ether.sleep(opts.interval) end
    i = i + 1
    local sent, reason = asker:announce()
    if sent then asker.sent = asker.sent + 1 else count_unsent(relay, reason) end
  until i == opts.count
end

local relay = script.relay(opts)
local conn = relay:conn { mac = opts.mac or random.mac(), vlans = opts.vlan, ethertypes = { 0x0806, 0x86dd },
  multicast = true }
local asker = script.check(arping.new, conn, { target = opts.target, source = opts.ip })

-- Also after Ctrl-C.
ether.defer(function()
  summarize(asker)
  script.status = status_of(asker)
end)

if not opts.json then
  print(("ARPING %s from %s %s on %s%s"):format(asker.target, asker.source, asker.mac, relay.name,
    opts.vlan and " vlan " .. opts.vlan or ""))
end
if opts.announce then announce_all(relay, asker) else ask_all(relay, asker) end
finished = true
