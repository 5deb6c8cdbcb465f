-- Test traffic: sender and receiver on wires with something between that loses, doubles or swaps packets, and the
-- script as a user runs it: what tshark says of its frames, known losses made by a BPF program, a kernel that routes.

local alone = require "support.alone"
local bytes = require "etherlua.net.bytes"
local cjson = require "cjson"
local endpoint = require "etherlua.relay.endpoint"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"
local servers = require "etherlua.test.servers"
local shell = require "support.shell"
local size_mix = require "etherlua.net.size_mix"
local wait = require "support.wait"
local tc = require "support.tc"
local traffic = require "etherlua.role.traffic"
local traffic_direction = require "etherlua.role.traffic_direction"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local INT = 2

-- ---- the role -----------------------------------------------------------------------------------------------------

local ADDRESSES = { [4] = { "10.1.0.1", "10.2.0.1" }, [6] = { "2001:db8:1::1", "2001:db8:2::1" } }

local function some_flows(count, version, first)
  local ips, untagged = ADDRESSES[version or 4], ether.vlans()
  return traffic.flows { count = count, first = first, vlans = function() return untagged end,
    src = { mac = "02:00:00:00:00:00", mac_step = 1, ip = ips[1], ip_step = 1, port = 5000, port_step = 0 },
    dst = { mac = "02:01:00:00:00:00", mac_step = 1, ip = ips[2], ip_step = 1, port = 5001, port_step = 0 } }
end

-- Forwards frames from one relay to the other. what(frame, n, send) decides about each; nil sends it.
local function join(from, to, what)
  local reader, send, n = from:default_conn { recv_depth = 16384 }, frames.injector(to), 0
  sched.spawn_background(function()
    while true do
      local frame = reader:recv_frame()
      if not frame then return end
      local text = tostring(frame)
      n = n + 1
      if what then what(text, n, send) else send(text) end
    end
  end)
  return send
end

-- One direction over two wires with such a forwarder between, opened. fn(direction, inject) is a task.
local function with_traffic(given, what, fn)
  kinds.run_apart(function()
    local a, b = ether.wire()
    local c, d = ether.wire { mtu = 1600 } -- what injects a frame counts all of it as payload
    local inject = join(b, c, what)
    local one = traffic_direction.new({ from = traffic.endpoints(a, false), to = traffic.endpoints(d, false) },
      { name = "x", flows = given.flows or some_flows(given.count or 4), rate = given.rate or 20000,
        mix = size_mix.new(given.size or "64", given.least) })
    one:open()
    fn(one, inject, d)
    for _, relay in ipairs { a, b, c, d } do relay:close() end
  end)
end

local function send(one, count)
  one.sender:send { count = count }
  one:finish(1)
end

local function results(values)
  return { values.received, values.lost, values.duplicates, values.reordered, values.outside }
end

-- The payload of a test packet.
local function payload(flow, sequence, nanoseconds)
  return "elt" .. bytes.put32("flow", flow):sub(2) .. bytes.put32("sequence", sequence) .. ("\0"):rep(4)
    .. bytes.put32("nanoseconds", nanoseconds or 0)
end

local function endpoints_on(relay)
  local count = 0
  for _, object in pairs(endpoint.objects) do
    if object.ep.relay == relay.handle then count = count + 1 end
  end
  return count
end

describe("test traffic", function()
  after_each(leaks.check)

  for version, least in pairs { [4] = 64, [6] = 84 } do
    it(("arrives whole over IPv%d, with sizes as asked for"):format(version), function()
      local lengths = {}
      with_traffic({ flows = some_flows(5, version), size = "imix", least = least }, function(frame, _, forward)
        lengths[#frame + 4] = (lengths[#frame + 4] or 0) + 1
        forward(frame)
      end, function(one)
        send(one, 24)
        assert.same({ 120, 0, 0, 0, 0 }, results(one:summary()))
        assert.same({ [least] = 70, [570] = 40, [1518] = 10 }, lengths)
        assert.same({ one.sender.bytes, 120 }, { one.receiver.bytes, one.receiver.latency.count })
        for i = 0, 4 do
          local flow = one.receiver:flow(i)
          assert.same({ 24, 24, 0, 24 }, { flow.expected, flow.received, flow.lost, flow.latency.count })
        end
      end)
    end)
  end

  it("tells exactly what was lost, of each flow", function()
    with_traffic({ count = 4 }, function(frame, n, forward) -- flows come in turn: 1, 9, 17 ... are of the first
      if n % 8 ~= 1 then forward(frame) end
    end, function(one)
      send(one, 100)
      assert.same({ 350, 50, 0, 0, 0 }, results(one:summary()))
      assert.same({ 50, 50 }, { one.receiver:flow(0).received, one.receiver:flow(0).lost })
      assert.equal(0, one.receiver:flow(1).lost)
      assert.same({ 0 }, one:worst(5))
    end)
  end)

  it("counts duplicates, and none of them as received", function()
    with_traffic({ count = 4 }, function(frame, n, forward)
      forward(frame)
      if n % 10 == 0 then forward(frame) end
      if n % 100 == 0 then forward(frame) end
    end, function(one)
      send(one, 100)
      assert.same({ 400, 0, 44, 0, 0 }, results(one:summary()))
    end)
  end)

  it("counts reordered packets: one for each pair that is swapped", function()
    local held
    with_traffic({ count = 1 }, function(frame, n, forward)
      if n % 10 == 5 then
        held = frame
      else
        forward(frame)
        if held then forward(held) end
        held = nil
      end
    end, function(one)
      send(one, 400)
      assert.same({ 400, 0, 0, 40, 0 }, results(one:summary()))
    end)
  end)

  it("does not count what is sent to warm up", function()
    local seen
    with_traffic({ count = 3, rate = 3000 }, function(frame, n, forward)
      seen = n
      forward(frame)
    end, function(one)
      one.sender:warm_up(0.1)
      wait.settle()
      local warm = seen
      assert.is_true(warm > 0 and warm <= 300, warm) -- 300 unless it was late
      assert.equal(0, one.sender.sent)
      send(one, 10)
      assert.same({ 30, 0, 0, 0, 0 }, results(one:summary()))
      assert.equal(warm, one.receiver.warm_up)
    end)
  end)

  it("goes both ways over the same endpoints, each with numbers of its own", function()
    kinds.run_apart(function()
      local a, b = ether.wire()
      local near, far, flows, list = traffic.endpoints(a, false), traffic.endpoints(b, false), some_flows(3), {}
      for i, way in ipairs { { flows, near, far }, { flows:reversed(3), far, near } } do
        list[i] = traffic_direction.new({ from = way[2], to = way[3] }, { name = tostring(i), flows = way[1],
          rate = 5000, mix = size_mix.new "64" })
        list[i]:open()
      end
      local other = ether.spawn(send, list[2], 50)
      send(list[1], 100)
      other:join()
      assert.same({ 300, 0, 0, 0, 0 }, results(list[1]:summary()))
      assert.same({ 150, 0, 0, 0, 0 }, results(list[2]:summary()))
      assert.same({ 0, 0, 3 }, { list[1].receiver.unknown, list[2].receiver.unknown, endpoints_on(near.relay) })
      a:close()
      b:close()
    end)
  end)

  it("counts what is none of it, and is not led astray", function()
    with_traffic({ count = 2 }, nil, function(one, inject, relay)
      send(one, 10)
      local function hostile(text, fields)
        fields = fields or {}
        fields.payload = text
        inject(frames.frame(frames.udp(fields), { src = "02:00:00:00:00:00", dst = "02:01:00:00:00:00" }))
      end
      hostile "" -- foreign
      hostile "elu"
      hostile("xxx" .. payload(0, 0):sub(4))
      hostile("elt\0\0\0", { mf = true }) -- a fragment is none
      hostile "elt\0" -- truncated
      hostile(payload(0, 5):sub(1, 17))
      hostile(payload(2, 0)) -- unknown
      hostile(payload(0xffffff, 0))
      hostile(payload(0, 10)) -- never sent
      hostile(payload(0, 0xffffffff))
      hostile(payload(0, 0x80000000))
      hostile(payload(0, 5)) -- a duplicate, with no time at all
      hostile(payload(0, 5, 0x80000000)) -- to warm up
      inject(frames.frame("E" .. ("\0"):rep(30), { dst = "02:01:00:00:00:00" })) -- invalid, says the relay
      ether.sleep(0.05)
      local values = one:summary()
      assert.same({ 20, 0, 1, 0, 3 }, results(values))
      assert.same({ 4, 2, 2, 0, 1 }, { values.foreign, values.truncated, values.unknown, values.untimed,
        one.receiver.warm_up })
      assert.equal(1, relay:stats().rx_invalid)
    end)
  end)

  it("has no latency with times of another clock, and says so", function()
    with_traffic({ count = 1 }, function(frame, _, forward)
      forward(frame:sub(1, 52) .. "\127\0\0\0" .. frame:sub(57)) -- the seconds, behind 42 bytes of headers
    end, function(one)
      send(one, 10)
      assert.same({ 10, 10, 0 }, { one.receiver.received, one.receiver.untimed, one.receiver.latency.count })
    end)
  end)

  it("says which addresses do not fit each other", function()
    local function refusal(change)
      local flows = some_flows(10)
      change(flows)
      local given = { count = flows.count, src = flows.src, dst = flows.dst, vlans = flows.vlans }
      return misuse.words(select(2, pcall(traffic.flows, given)))
    end
    assert.equal("bad addresses ::1 and 10.2.0.1: both IPv4 or both IPv6 are needed",
      refusal(function(flows) flows.src.ip = "::1" end))
    assert.equal("bad source ports: flows would use 65530 to 65539, 0 to 65535 is allowed",
      refusal(function(flows) flows.src.port, flows.src.port_step = 65530, 1 end))
    assert.equal("bad destination ports: flows would use 5 to -4, 0 to 65535 is allowed",
      refusal(function(flows) flows.dst.port, flows.dst.port_step = 5, -1 end))
  end)

  alone.it("makes next to no garbage while it is busy", function()
    kinds.run_apart(function()
      local a, b = ether.wire()
      local one = traffic_direction.new({ from = traffic.endpoints(a, false), to = traffic.endpoints(b, false) },
        { name = "x", flows = some_flows(10), rate = 1e9, mix = size_mix.new "imix" })
      one:open()
      send(one, 20000)
      collectgarbage()
      collectgarbage "stop"
      local before, sent = collectgarbage "count", one.sender.sent
      send(one, 20000)
      local garbage = (collectgarbage "count" - before) * 1024 / (one.sender.sent - sent)
      collectgarbage "restart"
      assert.is_true(garbage < 2, ("%.2f bytes a packet"):format(garbage))
      a:close()
      b:close()
    end)
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

local function start(ns, arguments)
  local argv = { ETHERLUA, "run", "traffic" }
  for word in arguments:gmatch("%S+") do argv[#argv + 1] = word end
  local log = os.tmpname()
  shell.keep { close = function() os.remove(log) end }
  return ns:start(argv, { log = log })
end

-- What was printed: the last object of each type, flows in a list by number, and the whole text.
local function said_by(process)
  local said, text = { flows = {}, intervals = 0 }, process:log()
  for line in text:gmatch "{[^\n]*}" do
    local object = cjson.decode(line)
    if object.type == "flow" then said.flows[object.flow] = object else said[object.type] = object end
    if object.type == "interval" then said.intervals = said.intervals + 1 end
  end
  return said, text
end

local function finish(process)
  local status = process:wait(40)
  process:stop()
  return status, said_by(process)
end

local function run(ns, arguments)
  return finish(start(ns, "--json " .. arguments))
end

describe("traffic", function()
  local reason = not lab.root() and "needs root" or nil

  after_each(shell.close_all)

  local function root_it(name, missing, fn)
    it(name, function()
      local why = reason or missing
      if why then return pending(why) end
      fn()
    end)
  end

  -- A namespace with interfaces eth1 and eth2, and what joins them at their other ends, a and b.
  local function two_ports(opts)
    local host, node = shell.keep(lab.namespace()), shell.keep(lab.namespace())
    lab.veth(host, "eth1", node, "a", opts)
    lab.veth(host, "eth2", node, "b", opts)
    return host, node
  end

  local function one_wire()
    local host = shell.keep(lab.namespace())
    lab.veth(host, "eth1", host, "eth2")
    return host
  end

  for _, kind in ipairs { "afpacket", "xdp" } do
    root_it(("loses nothing of 1,000 flows at 10,000 packets/s over %s"):format(kind), nil, function()
      -- Others may keep the processor: what a relay lost is told, and tried again.
      local packets, status, said, text = 20000, nil, nil, nil
      for _ = 1, 5 do
        status, said, text = run(shell.keep(lab.namespace()),
          ("--lab -i %s --flows 1000 --rate 10k --duration 2 --warm-up 0.2"):format(kind))
        local values = said.summary
        assert.is_true(values.lost <= values.receiver_drops, text) -- these count what is sent to warm up, too
        if status == 0 then break end
      end
      assert.equal(0, status, text)
      local summary = said.summary
      assert.same({ 1000, summary.sent, 0, 0, 0 }, { summary.flows, summary.received, summary.lost,
        summary.duplicates, summary.reordered })
      assert.equal(packets, summary.sent + summary.slipped, text)
      assert.equal(said.summary.received, said.summary.latency_ms.count)
      assert.equal(math.floor(said.summary.received / 1000), said.flows[999].latency_ms.count)
    end)

    root_it("knows exactly what a lossy link lost, over " .. kind, tc.missing(), function()
      local host, node = two_ports()
      tc.attach(node, "spec/support/loss.bpf.c", ("-DPEER=%d -DSILENT=3 -DLOSSY=1 -DEVERY=10"):format(
        tc.ifindex(node, "b")), { { "a", "ingress", "loss" } })
      local status, said, text = run(host, ("-i %s:eth1 --to %s:eth2 --flows 20 --count 500 --rate 5k --wait 0.5 "
        .. "--warm-up 0.1"):format(kind, kind))
      assert.equal(3, status, text)
      assert.same({ 10000, 9450, 550, 0, 0, 1, 0 }, { said.summary.sent, said.summary.received, said.summary.lost,
        said.summary.duplicates, said.summary.reordered, said.summary.silent_flows, said.summary.receiver_drops }, text)
      for i = 0, 19 do
        assert.equal(i == 1 and 50 or i == 3 and 500 or 0, said.flows[i].lost, "flow " .. i)
      end
      status = run(host, ("-i %s:eth1 --to %s:eth2 --flows 2 --count 100 --max-loss 5%% --wait 0.5"):format(kind, kind))
      assert.equal(0, status)
      status = run(host, ("-i %s:eth1 --to %s:eth2 --flows 2 --count 100 --max-loss 9 --wait 0.5"):format(kind, kind))
      assert.equal(3, status)
    end)
  end

  local TSHARK = "tshark -r %s -o udp.check_checksum:TRUE -o ip.check_checksum:TRUE -T fields -e frame.len "
    .. "-e vlan.id -e ip.ttl -e ip.dsfield -e ipv6.hlim -e ipv6.tclass -e ip.checksum.status -e udp.checksum.status "
    .. "-e udp.srcport -e udp.dstport -E separator=, -E aggregator=. 2>/dev/null"

  -- The fields above, as often as they differ.
  local function dissect(arguments)
    local capture = os.tmpname()
    shell.keep { close = function() os.remove(capture) end }
    local status, _, text = run(shell.keep(lab.namespace()), "--lab --capture " .. capture .. " " .. arguments)
    assert.equal(0, status, text)
    local seen = {}
    for line in shell.output_of(TSHARK:format(capture)):gmatch "[^\n]+" do
      line = line:gsub("0x0*(%x%x)", "0x%1") -- versions of tshark write more zeros or fewer
      seen[line] = (seen[line] or 0) + 1
    end
    return seen
  end

  root_it("sends what tshark finds right: IPv4, in VLANs, with odd sizes", servers.missing "tshark", function()
    assert.same({ ["60,,9,0xb8,,,1,1,7,9"] = 300, ["61,,9,0xb8,,,1,1,7,9"] = 300, ["60,,9,0xb8,,,1,1,8,9"] = 300,
      ["61,,9,0xb8,,,1,1,8,9"] = 300 }, dissect("--flows 2 --count 600 --size 64,65 --ttl 9 --tos 184 --src-port 7 " ..
      "--src-port-step 1 --dst-port 9 --src-ip 10.255.255.254 --dst-ip 0.0.0.255"))
    local seen = dissect "--flows 4 --count 3 --size 1518 --vlan-range 100.7-8 --arp"
    assert.same({ ["1522,100.7,64,0x00,,,1,1,5000,5001"] = 6, ["1522,100.8,64,0x00,,,1,1,5000,5001"] = 6 }, seen)
  end)

  root_it("sends what tshark finds right: IPv6", servers.missing "tshark", function()
    local seen = dissect("--flows 3 --count 1000 --size 84:3,101:1 --src-ip fe80::ffff:ffff --dst-ip ff:: --ttl 255 " ..
      "--tos 1 --rate 10k")
    assert.same({ ["80,,,,255,0x01,,1,5000,5001"] = 2250, ["97,,,,255,0x01,,1,5000,5001"] = 750 }, seen)
  end)

  root_it("goes both ways at once, with a line for each", nil, function()
    local process = start(one_wire(), "-i eth1 --to eth2 --both --flows 3 --count 50 --vlan 5 --per-flow")
    local status, _, text = finish(process)
    assert.equal(0, status, text)
    assert.matches("afpacket:eth1 > afpacket:eth2, 3 flows\n.*received 150 of 150: lost 0 %(0 %%%), duplicates 0", text)
    assert.matches("afpacket:eth2 > afpacket:eth1, 3 flows\n.*received 150 of 150", text)
    assert.matches("flow 2  10.1.0.3:5000 > 10.2.0.3:5001 vlan 5  50 of 50", text)
    assert.matches("flow 5  10.2.0.3:5001 > 10.1.0.3:5000 vlan 5  50 of 50", text)
  end)

  root_it("runs as two programs: one sends, one receives and times what came", nil, function()
    local host = one_wire()
    local receiver = start(host, "-i eth2 --receive --flows 5 --count 200")
    wait.for_log(receiver, "receiving on afpacket:eth2")
    local status, said, text, _ = run(host, "-i eth1 --send --flows 5 --count 200 --rate 2k")
    assert.same({ 0, 1000, cjson.null }, { status, said.summary.sent, said.summary.received }, text)
    status, _, text = finish(receiver)
    assert.equal(0, status, text)
    assert.matches("received 1000 of 1000: lost 0", text)
    assert.matches("latency ms  min %d+%.%d+", text)
    assert.is_nil(text:find("another clock", 1, true))
  end)

  root_it("knows without --count what is missing between, and which flows were silent", nil, function()
    local host = one_wire()
    local receiver = start(host, "--json -i eth2 --receive --flows 3 --wait 0.5")
    wait.for_log(receiver, '"type":"ready"')
    assert.equal(0, (run(host, "-i eth1 --send --flows 2 --count 10 --rate 1k")))
    local status, said, text = finish(receiver)
    assert.equal(3, status, text)
    assert.same({ 20, 0, 1 }, { said.summary.received, said.summary.lost, said.summary.silent_flows }, text)
  end)

  -- eth1 (10.1.0.0/16) - router a, b - eth2 (10.2.0.0/16); the router asks for every host by ARP or ND.
  local function routed(host, node, version, prefixes)
    node:run(version == 4 and "echo 1 >/proc/sys/net/ipv4/ip_forward"
      or "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
    node:run(("ip addr add %s dev a; ip addr add %s dev b"):format(prefixes[1], prefixes[2]))
    return host
  end

  root_it("sends through a kernel that routes, whose MAC address it asks for, and answers its ARP", nil, function()
    local host, node = two_ports()
    routed(host, node, 4, { "10.1.255.254/16", "10.2.255.254/16" })
    local status, said, text = run(host, "-i eth1 --to eth2 --flows 10 --count 100 --rate 2k --gateway 10.1.255.254 "
      .. "--arp --warm-up 0.5")
    assert.equal(0, status, text)
    assert.same({ 1000, 0, 0 }, { said.summary.received, said.summary.duplicates, said.summary.foreign }, text)
  end)

  root_it("does so over IPv6", nil, function()
    local host, node = two_ports { ipv6 = true }
    routed(host, node, 6, { "2001:db8:1::ff/64 nodad", "2001:db8:2::ff/64 nodad" })
    local status, said, text = run(host, "-i eth1 --to eth2 --flows 10 --count 100 --rate 2k --gateway 2001:db8:1::ff "
      .. "--src-ip 2001:db8:1::1 --dst-ip 2001:db8:2::1 --arp --warm-up 2")
    assert.equal(0, status, text)
    assert.equal(1000, said.summary.received, text)
  end)

  root_it("ends with status 3 when no gateway answers", nil, function()
    local status, _, text = run(one_wire(), "-i eth1 --send --gateway 10.1.0.254 --vlan 7 --count 1")
    assert.equal(3, status)
    assert.equal("etherlua: no answer from neighbour 10.1.0.254 on VLAN 7\n", text)
  end)

  root_it("prints a line every interval", nil, function()
    local status, said, text = run(shell.keep(lab.namespace()), "--lab --flows 2 --duration 1 --interval 0.2")
    assert.equal(0, status, text)
    assert.is_true(said.intervals >= 2 and said.intervals <= 5, text)
    assert.is_true(said.interval.pps > 0 and said.interval.received_pps > 0, text)
  end)

  root_it("tells on Ctrl-C what came until then", nil, function()
    local process = start(shell.keep(lab.namespace()), "--json --lab --flows 100 --rate 5k --interval 0.1")
    wait.for_log(process, "interval")
    os.execute(("sleep 0.5; kill -%d %d"):format(INT, process.pid))
    local status, said, text = finish(process)
    assert.equal(0, status, text)
    assert.is_true(said.summary.sent > 0 and said.summary.sent < 500000, text)
    assert.same({ said.summary.sent, 0 }, { said.summary.received, said.summary.lost }, text)
  end)

  root_it("says what was not sent when the link is down", nil, function()
    local host, node = two_ports()
    node:run "ip link set dev a down"
    local status, said, text = run(host, "-i eth1 --to eth2 --count 20 --wait 0.1")
    assert.equal(3, status, text)
    assert.equal(20, said.summary.sent + said.summary.unsent, text)
    assert.equal(said.summary.sent, said.summary.lost, text)
    assert.equal(said.summary.sent, said.summary.sender_drops, text)
  end)

  local MORE = " (traffic --help tells more)"
  local WRONG = {
    { "-i lo", "where to: give --to SPEC, --send, --receive, or --lab for a network of its own" },
    { "--lab --to lo", "--lab has both ends: no --to, --send or --receive" },
    { "-i lo --send --both", "--both needs --to or --lab" },
    { "-i lo --to lo --both --gateway 10.0.0.1", "--gateway is on one side: no --both" },
    { "-i lo --send --receive", "option '--receive' can not be used together with option '--send'" .. MORE },
    { "--to lo", "no relay: give -i SPEC, such as -i afpacket:eth1, or --lab for a network of its own" },
    { "--lab --flows 0", 'bad value "0": a whole number from 1 to 100000 is allowed' .. MORE },
    { "--lab --rate 1G", 'bad rate "1G": packets a second such as 5000, 100k or 2Mpps, or bits a second such as '
      .. "50Mbit or 1Gbit, are needed" .. MORE },
    { "--lab --rate 9000Gbit", "1.75781e+10 packets a second: up to 1e+09 are possible" },
    { "--lab --size 63", 'bad size "63": 64 to 65000 is allowed' .. MORE },
    { "--lab --size 64 --src-ip ::1 --dst-ip ::2", 'bad size "64": these frames need 84 bytes or more' },
    { "--lab --src-ip ::1", "bad addresses ::1 and 10.2.0.1: both IPv4 or both IPv6 are needed" },
    { "--lab --src-mac 01:00:00:00:00:00", "bad MAC address \"01:00:00:00:00:00\": a host's is no group address"
      .. MORE },
    { "--lab --flows 9 --dst-port 65535 --dst-port-step 1", "bad destination ports: flows would use 65535 to 65543, "
      .. "0 to 65535 is allowed" },
    { "-i lo --send --gateway ::1", "bad gateway ::1: the flows are IPv4" },
    { "--lab --max-loss x", 'bad loss "x": packets such as 10, or a share such as 0.1%, are needed' .. MORE },
  }

  for _, case in ipairs(WRONG) do
    it(("answers %q with one clear line and status 2"):format(case[1]), function()
      local text, status = shell.run(("timeout 20 %s run traffic %s"):format(ETHERLUA, case[1]))
      assert.same({ 2, "etherlua: " .. case[2] .. "\n" }, { status, text })
    end)
  end

  root_it("says which frames fit the interface", nil, function()
    local status, _, text = run(one_wire(), "-i eth1 --to eth2 --size 1518 --vlan 1.2")
    assert.same({ 2, "etherlua: frames of 1518 bytes do not fit the MTU of afpacket:eth1: up to 1514 are possible with "
      .. "these VLAN tags\n" }, { status, text })
  end)
end)
