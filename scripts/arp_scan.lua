-- arp_scan.lua: which addresses of a link somebody has, by ARP: who, on which VLAN, and who shares one.
--
--   etherlua run arp_scan -i eth1 10.0.0.0/24
--   etherlua run arp_scan -i eth1 --vlan-range 100-199 10.0.0.1-10.0.0.9 192.168.1.1

local addr = require "etherlua.net.addr"
local arp_scan = require "etherlua.role.arp_scan"
local ether = require "etherlua"
local ip_range = require "etherlua.net.ip_range"
local random = require "etherlua.net.random"
local report = require "etherlua.program.report"
local script = require "etherlua.script"
local vlan_range = require "etherlua.net.vlan_range"

-- From so many addresses on, which hosts rarely have, one MAC address looks like proxy ARP (RFC 1027).
local MANY = 8

local function options()
  local parser = script.parser("arp_scan", "Ask by ARP who has the addresses of a link.")
  parser:argument("addresses", "Prefixes, whose hosts are asked for, ranges and addresses: 10.0.0.0/24, " ..
    "10.0.0.1-10.0.0.99, 10.0.0.7."):args("+"):argname("ADDRESSES"):convert(script.accepted_by(ip_range.new))
  parser:flag("--all", "Ask for the network and broadcast address of a prefix too.")
  parser:option("--vlan-range --vlan", "VLAN stacks to ask on, such as 100, 100-199 or 100.1-4094 (default: untagged).")
    :argname("RANGES"):convert(script.accepted_by(vlan_range.new))
  parser:option("--rate", "Questions a second.", "1000"):argname("PER_SECOND"):convert(script.number(0.001, 1e9))
  parser:option("--retry", "How often an address that did not answer is asked for again.", "1"):argname("N")
    :convert(script.number(0, 100, true))
  parser:option("--timeout", "Seconds that an answer may take.", "0.5"):argname("SECONDS")
    :convert(script.number(0.001, 3600))
  parser:option("--mac", "Own MAC address; on more VLAN stacks they count up (default: a random one)."):argname("MAC")
    :convert(script.accepted_by(script.host_mac))
  parser:option("--ip", "Own address. 0.0.0.0 asks as RFC 5227's probes do, which change nobody's ARP cache, but " ..
    "which proxy ARP does not answer everywhere.", "0.0.0.0"):argname("IP"):convert(script.accepted_by(addr.ip4_number))
  parser:epilog("Exit status: 0 somebody answered and no address has two owners, 3 nobody did or one has, 1 the " ..
    "interface is gone, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER = { "ip", "mac", "sent_by", "vlans", "ms", "duplicate" }
local LEAK = { "ip", "mac", "sent_by", "vlans", "came_with", "ms" }
local SUMMARY = { "questions", "sent", "unsent", "answered", "duplicates", "leaks", "repeated", "ignored", "unlisted",
  "proxies", "seconds", "times_ms" }

local function tag_text(vlans)
  return vlans ~= "" and "  vlan " .. vlans or ""
end

local function print_answer(answer)
  local is_duplicate = answer.owners > 1
  if opts.json then
    return script.print_json(ANSWER, { ip = answer.ip, mac = answer.mac, sent_by = answer.sent_by,
      vlans = answer.vlans, ms = answer.seconds * 1000, duplicate = is_duplicate })
  end
  -- Of these there may be very many, and LuaJIT compiles no print.
  io.write(("%-15s  %s%s  %9.3f ms%s%s\n"):format(answer.ip, answer.mac, tag_text(answer.vlans), answer.seconds * 1000,
    is_duplicate and ("  DUPLICATE: %d MAC addresses answer"):format(answer.owners) or "",
    answer.sent_by and "  SENT BY " .. answer.sent_by or ""))
end

local function print_leak(leak)
  if opts.json then
    return script.print_json(LEAK, { ip = leak.ip, mac = leak.mac, sent_by = leak.sent_by, vlans = leak.vlans,
      came_with = leak.came_with, ms = leak.seconds * 1000 })
  end
  print(("%-15s  %s  LEAK: asked %s, answered %s%s"):format(leak.ip, leak.mac, script.vlan_name(leak.vlans),
    script.vlan_name(leak.came_with), leak.sent_by and "  SENT BY " .. leak.sent_by or ""))
end

-- Returns MAC address -> how many addresses it has on one VLAN stack, where these are many. next_answer: in the order
-- of the stacks.
local function print_answers(next_answer)
  local most, counts, stack = {}, nil, nil -- counts: of this stack
  for answer in next_answer do
    print_answer(answer)
    if answer.stack ~= stack then counts, stack = {}, answer.stack end
    local count = (counts[answer.mac] or 0) + 1
    counts[answer.mac] = count
    if count >= MANY then most[answer.mac] = math.max(count, most[answer.mac] or 0) end
  end
  return most
end

local function print_summary(values)
  print(("%d of %d answered in %.1f s: %d sent, %d ignored"):format(values.answered, values.questions, values.seconds,
    values.sent, values.ignored))
  if values.answered > 0 then print("  ms  " .. script.times_text(values.times_ms)) end
  if values.unsent > 0 then print(("  %d not sent: %s"):format(values.unsent, values.reason)) end
  if values.duplicates > 0 then print(("  %d addresses with several owners"):format(values.duplicates)) end
  if values.leaks > 0 then print(("  %d answers with another VLAN stack"):format(values.leaks)) end
  if values.unlisted > 0 then print(("  %d more owners or leaks, not listed"):format(values.unlisted)) end
  for mac, count in pairs(values.proxies) do
    print(("  %s answers for %d addresses: proxy ARP?"):format(mac, count))
  end
end

local function duration(seconds)
  if seconds < 120 then return ("%.3g s"):format(seconds) end
  return seconds < 7200 and ("%.0f minutes"):format(seconds / 60) or ("%.1f hours"):format(seconds / 3600)
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local ranks = ether.ranks
local vlans, all = vlan_range.new(opts.vlan_range), ip_range.new(opts.addresses, opts.all)
local first, own = report.share(all.count, "ADDRESSES")
local base = opts.mac or ranks.agree(random.mac())
local given = { targets = all:slice(first, own), vlans = vlans, mac = ether.mac_add(base, ranks.rank * vlans.count),
  source = opts.ip, rate = opts.rate * own / all.count, tries = opts.retry + 1, timeout = opts.timeout }
script.check(arp_scan.check, given)
local relay = script.relay(opts)
local scan = script.check(arp_scan.new, relay, given)
local started = ether.now()

-- What was found, of all ranks; each has asked for addresses of its own. At rank 0. Who is by itself leaves the answers
-- where they are: they may be many.
local found

local function gather()
  local answers, problem = {}, scan:summary().reason
  for answer in ranks.size > 1 and scan:answers() or function() end do answers[#answers + 1] = answer end
  found = ranks.gather { answers = answers, leaks = scan:leaks(), reason = problem }
end

local function is_before(a, b)
  local p, q = a.place, b.place
  for i = 1, #p do
    if p[i] ~= q[i] then return p[i] < q[i] end
  end
  return false
end

local function by_stack(name)
  local list = {}
  for rank = 1, ranks.size do
    for i, one in ipairs(found[rank] and found[rank][name] or {}) do
      one.place = { one.stack, rank, i }
      list[#list + 1] = one
    end
  end
  table.sort(list, is_before)
  return list
end

local function next_answer()
  if ranks.size == 1 then return scan:answers() end
  local list, i = by_stack "answers", 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function counts()
  local values = scan:totals()
  values.pass, values.seconds = scan:summary().pass, ether.now() - started
  return values
end

local function line(values)
  return ("pass %d of %d: %d sent, %d of %d answered, %.0f s"):format(values.pass, opts.retry + 1, values.sent,
    values.answered, values.questions, values.seconds)
end

local function finish(values)
  values.proxies, values.times_ms = print_answers(next_answer()), script.milliseconds(values.times)
  for _, leak in ipairs(by_stack "leaks") do print_leak(leak) end
  for rank = 1, ranks.size do values.reason = values.reason or found[rank] and found[rank].reason end
  if opts.json then script.print_json(SUMMARY, values) else print_summary(values) end
  return values.answered > 0 and values.duplicates == 0 and script.DONE or script.REFUSED
end

report.begin { counts = counts, greatest = { "pass", "seconds" }, line = line,
  finish = finish, before = gather }

scan:open()
if not opts.json and ranks.rank == 0 then
  local questions = all.count * vlans.count
  print(("asking for %d addresses on %s as %s: %s a pass at %g a second"):format(questions, relay.name, base,
    duration(questions / opts.rate), opts.rate))
end
ranks.barrier()
local ok, reason = scan:run()
if not ok then script.exit(script.FAILED, ("%s: %s"):format(relay.name, reason)) end
