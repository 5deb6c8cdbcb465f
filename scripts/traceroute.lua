-- traceroute.lua: who is on the way to an address, seen from a host that exists nowhere in the operating system.
--
--   etherlua run traceroute --lab --icmp 10.0.0.1
--   etherlua run traceroute -i eth1 --vlan 100 --ip 10.0.0.5/24 --gateway 10.0.0.1 192.0.2.7

local bytes = require "etherlua.net.bytes"
local cjson = require "cjson"
local ether = require "etherlua"
local extensions = require "etherlua.proto.icmp_extensions"
local json = require "etherlua.program.json"
local outside = require "etherlua.core.outside"
local script = require "etherlua.script"
local script_host = require "etherlua.program.script_host"
local traceroute = require "etherlua.role.traceroute"

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("traceroute", "Find who is on the way to an address: who says that a TTL was used up.")
  parser:argument("target", "IPv4 or IPv6 address."):convert(script.accepted_by(script_host.target))
  script_host.add(parser)
  parser:flag("--icmp", "Send echo requests (default: UDP to ports where nobody is).")
  parser:option("--first", "TTL, or hop limit, of the first packets.", "1"):argname("TTL")
    :convert(script.number(1, 255, true))
  parser:option("--max-ttl", "TTL of the last packets.", "30"):argname("TTL"):convert(script.number(1, 255, true))
  parser:option("--queries", "Packets with each TTL.", "3"):argname("N"):convert(script.number(1, 10, true))
  parser:option("--parallel", "Packets that are under way at once.", "16"):argname("N")
    :convert(script.number(1, 1000, true))
  parser:option("--timeout", "Seconds to wait for an answer.", "3"):argname("SECONDS")
    :convert(script.number(0.001, 1000))
  parser:option("--port", "UDP port of the first packet; each has the next one.", tostring(traceroute.PORT))
    :argname("PORT"):convert(script.number(1, 65535, true))
  parser:option("--size", "Octets of data in a packet.", "32"):argname("N"):convert(script.number(0, 65507, true))
  parser:epilog("Behind a time: !N network, !H host, !P protocol unreachable, !X prohibited, !F-MTU fragmentation " ..
    "needed, !S source route failed or beyond scope, !<CODE> others. Behind an address: the labels " ..
    "that a packet had there, <MPLS:L=label,E=class,S=bottom of the stack,T=ttl>, and other extensions (RFC 4884), " ..
    "<class/type:hex>.\n\nExit status: 0 the target was reached, 3 it was not, or the host got no address, 2 wrong " ..
    "usage.")
  return script.parse(parser, arg)
end

local opts = options()

-- ---- output -------------------------------------------------------------------------------------------------------

local ANSWER = { "from", "rtt_ms", "mark", "extensions" }
local HOP = { "ttl", "answers" }
local SUMMARY = { "target", "source", "reached", "hops", "seconds", "error" }

-- Octets in hex.
local function objects_of(answer)
  local list = {}
  for i, object in ipairs(answer.extensions or {}) do
    list[i] = json.ordered(extensions.fields.names, { class = object.class, type = object.type,
      labels = object.labels, data = object.data and bytes.hex(object.data) })
    for _, label in ipairs(object.labels or {}) do json.ordered(extensions.label_fields.names, label) end
  end
  return list[1] and list or nil
end

local function answers_of(hop)
  local list = {}
  for i = 1, opts.queries do
    local answer = hop.answers[i]
    list[i] = answer and json.ordered(ANSWER, { from = answer.from, rtt_ms = math.floor(answer.rtt * 1e6 + 0.5) / 1000,
      mark = answer.mark, extensions = objects_of(answer) }) or cjson.null
  end
  return list
end

-- An address, and the labels that it tells, where either is another one than before.
local function add_source(words, answer, before)
  local from = answer.from .. extensions.text(answer.extensions)
  if from ~= before then words[#words + 1] = " " .. from end
  return from
end

-- As traceroute prints it.
local function print_hop(hop)
  local words, from = {}, nil
  for i = 1, opts.queries do
    local answer = hop.answers[i]
    if answer then from = add_source(words, answer, from) end
    words[#words + 1] = answer and ("  %.3f ms%s"):format(answer.rtt * 1000, answer.mark and " " .. answer.mark or "")
      or " *"
  end
  print(("%2d %s"):format(hop.ttl, table.concat(words)))
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local relay = script.relay(opts)
local host = script_host.host_of(opts, relay, opts.target)
local trace, problem = script.check(traceroute.new, host, { target = opts.target, icmp = opts.icmp,
  first = opts.first, max_ttl = opts.max_ttl, tries = opts.queries, timeout = opts.timeout, window = opts.parallel,
  port = opts.port, size = opts.size })
if not trace then script.exit(script.REFUSED, problem) end
if trace:packet_size() > trace:mtu() then
  script.exit(script.USAGE, ("packets of %d octets do not fit the MTU of %s: up to %d do"):format(trace:packet_size(),
    relay.name, trace:mtu()))
end

if not opts.json then
  local values = trace:summary()
  print(("traceroute to %s from %s (%s), %d hops max, %d byte packets"):format(values.target, values.source,
    script_host.name_of(host), opts.max_ttl, trace:packet_size()))
end

-- Also after Ctrl-C.
ether.defer(function()
  local values = trace:summary()
  if opts.json then script.print_json(SUMMARY, values) end
  script.status = values.reached and script.DONE or script.REFUSED
end)

local _, failure = trace:run(function(hop)
  if opts.json then script.print_json(HOP, { ttl = hop.ttl, answers = answers_of(hop) }) else print_hop(hop) end
end)
if failure and not opts.json then io.stderr:write("etherlua: ", outside.shown(failure), "\n") end
