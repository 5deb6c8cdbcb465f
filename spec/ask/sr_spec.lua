-- ether.sr and ether.sr1: requests and what answers them, on a wire with responders of our own, and against the kernel.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local p = require "etherlua.proto.packet"
local sched = require "etherlua.core.sched"
local settle = require("support.wait").settle

local A, B, ALL = frames.MAC_A, frames.MAC_B, frames.BROADCAST
local IP_A, IP_B = "10.0.0.1", "10.0.0.2"

-- fn(conn, far, near, other): an EtherConn, and one at the other end of a wire that hears broadcasts.
local function on_wire(fn, vlans)
  return function()
    kinds.run_apart(function()
      local near, other = ether.wire()
      fn(near:conn { mac = A, vlans = vlans }, other:conn { mac = B, vlans = vlans, multicast = true }, near, other)
    end)
  end
end

local function ping(fields)
  local all = { type = 8, identifier = 7 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return p.ether { dst = B } / p.ip4 { src = IP_A, dst = IP_B } / p.icmp(all) / "ping"
end

-- The other end answers pings, but not the first `deaf` of them.
local function answer_pings(far, deaf, pause)
  local heard = 0
  return far:answer { match = { icmp = { type = 8 } }, reply = function(request)
    heard = heard + 1
    if pause then ether.sleep(pause) end
    return heard > (deaf or 0) and request.data.payload or nil
  end }
end

local function raises(text, fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok, "no error: " .. text)
  assert.is_truthy(tostring(failure):find(text, 1, true), tostring(failure))
end

kinds.each("ether.sr", function(it)
  it("sends packets, and returns each answer with its request and time", function(a, b)
    local conn, far = a:conn { mac = A, vlans = "5.6" }, b:conn { mac = B, vlans = "5.6" }
    answer_pings(far)
    local before = ether.now()
    local answered, unanswered, reason = ether.sr(conn, { ping(), ping { sequence = 9 } })
    assert.same({ 2, 0 }, { #answered, #unanswered })
    assert.is_nil(reason)
    for i, one in ipairs(answered) do
      assert.equal(({ 0, 9 })[i], one.received.icmp.sequence)
      assert.equal(one.sent.icmp.sequence or 0, one.received.icmp.sequence)
      assert.same({ 0, "ping", A, B, 6 }, { one.received.icmp.type, one.received.data.payload, one.received.ether.dst,
        one.received.ether.src, one.received.ether.vlans[2].vid })
      assert.is_true(one.time >= before - 0.01 and one.time <= ether.now())
      assert.is_true(one.rtt >= 0 and one.rtt < 1)
    end
  end)
end)

describe("ether.sr", function()
  after_each(leaks.check)

  -- ---- what is filled in ------------------------------------------------------------------------------------------

  it("fills in MAC addresses, VLANs and ARP's sender", on_wire(function(conn, far)
    ether.sr(conn, p.arp { tpa = IP_B }, { timeout = 0 })
    ether.sr(conn, p.arp { tpa = IP_B }, { timeout = 0, src = IP_A, dst_mac = B })
    local first, second = p.parse(tostring(far:recv_frame(1))), p.parse(tostring(far:recv_frame(1)))
    assert.same({ A, ALL, 100, A, "0.0.0.0", IP_B }, { first.ether.src, first.ether.dst, first.ether.vlans[1].vid,
      first.arp.sha, first.arp.spa, first.arp.tpa })
    assert.same({ A, B, IP_A }, { second.ether.src, second.ether.dst, second.arp.spa })
  end, 100))

  it("fills in a source port, another one for each packet, but leaves those of DHCP", on_wire(function(conn, far)
    local query = p.ip4 { dst = "255.255.255.255" } / p.udp { dport = 7 }
    local discover = p.ip4 { dst = "255.255.255.255" } / p.udp {} / p.dhcp4 { options = { message_type = "DISCOVER" } }
    ether.sr(conn, { query / "x", query / "x", discover }, { timeout = 0, src = IP_A })
    local ports = {}
    for i = 1, 3 do ports[i] = p.parse(tostring(far:recv_frame(1))).udp.src_port end
    assert.is_true(ports[1] >= 49152 and ports[2] >= 49152 and ports[1] ~= ports[2])
    assert.equal(68, ports[3])
  end))

  it("leaves what is given, and a whole frame's bytes", on_wire(function(conn, far)
    local frame = (p.ether { src = "02:00:00:00:00:77", dst = B, vlans = { 5 } } / p.arp { tpa = IP_B }):build()
    ether.sr(conn, frame, { timeout = 0 })
    assert.equal("timeout", select(2, far:recv_frame(0.02))) -- another VLAN
    local given = p.ether { src = "02:00:00:00:00:77", dst = B, vlans = {} } / p.arp { sha = B, spa = "10.0.0.9" }
    ether.sr(conn, given, { timeout = 0, src = IP_A })
    local got = p.parse(tostring(far:recv_frame(1)))
    assert.same({ "02:00:00:00:00:77", B, "10.0.0.9" }, { got.ether.src, got.arp.sha, got.arp.spa })
    assert.is_nil(given.arp.tpa) -- the caller's packet is not touched
  end))

  it("sends a group of IP to its MAC address", on_wire(function(conn, far)
    local list = {}
    for i, dst in ipairs { "224.129.2.3", "255.255.255.255" } do list[i] = p.ip4 { dst = dst } / p.udp { dport = 7 } end
    ether.sr(conn, list, { timeout = 0, src = IP_A })
    ether.sr(conn, p.ip6 { dst = "ff02::1:3" } / p.udp { dport = 7 }, { timeout = 0, src = "fe80::1" })
    local macs = {}
    for i = 1, 3 do macs[i] = far:recv_frame(1).dst_mac end
    assert.same({ "01:00:5e:01:02:03", ALL, "33:33:00:01:00:03" }, macs)
  end))

  it("asks for the MAC address of the next hop, once for all packets to it, and answers for its own",
    on_wire(function(conn, far, _, other)
      local peer = other:conn { mac = "02:00:00:00:00:0c" }:udp(IP_B .. ":7", { resolve = "arp" })
      ether.spawn(function()
        for _ = 1, 2 do
          local payload, from = peer:recv(1)
          peer:send(payload:upper(), from) -- asks for 10.0.0.1
        end
      end)
      local query = p.ip4 { dst = IP_B } / p.udp { dport = 7 }
      local answered = ether.sr(conn, { query / "a", query / "b" }, { src = IP_A })
      assert.same({ "A", "B" }, { answered[1].received.data.payload, answered[2].received.data.payload })
      local asked = 0
      for frame in function() return (far:recv_frame(0)) end do
        if frame.ethertype == frames.ARP and frame.src_mac == A then asked = asked + 1 end
      end
      assert.equal(1, asked)
    end))

  it("answers for its source address no longer than it takes", on_wire(function(conn, far)
    local responder = far:answer { match = { arp = { op = 1, tpa = IP_B } }, reply = p.arp {} }
    assert.is_nil((ether.sr1(conn, p.ip4 { dst = IP_B } / p.icmp { type = 8 }, { src = IP_A, timeout = 0.01 })))
    local task = ether.spawn(ether.sr, conn, p.ip4 { dst = "10.0.0.9" } / p.icmp { type = 8 }, { src = IP_A })
    settle()
    task:cancel()
    task:join()
    responder:close()
    far:send((p.arp { sha = B, spa = IP_B, tpa = IP_A }):build(), ALL, { ethertype = frames.ARP })
    settle()
    for frame in function() return (far:recv_frame(0)) end do
      local found = p.parse(tostring(frame))
      assert.is_false(found.arp ~= nil and found.arp.op == 2, found:summary())
    end
  end))

  it("says which next hop does not answer, and sends the others", on_wire(function(conn, far)
    far:answer { match = { arp = { op = 1, tpa = IP_B } }, reply = p.arp {} }
    answer_pings(far)
    local echo = p.icmp { type = 8 } / "x"
    local list = { p.ip4 { dst = "10.0.0.9" } / echo, p.ip4 { dst = IP_B } / echo }
    local answered, unanswered, reason = ether.sr(conn, list, { src = IP_A })
    assert.same({ 1, 1 }, { #answered, #unanswered })
    assert.equal("no answer from neighbour 10.0.0.9", reason)
    assert.equal("10.0.0.9", unanswered[1].ip4.dst)
  end))

  it("asks a function, or all, for the MAC address when told so", on_wire(function(conn, far)
    local asked
    local echo = p.ip4 { src = IP_A, dst = IP_B } / p.icmp { type = 8 }
    ether.sr(conn, echo, { timeout = 0, resolve = function(ip) asked = ip return B end })
    assert.same({ IP_B, B }, { asked, far:recv_frame(1).dst_mac })
    ether.sr(conn, echo, { timeout = 0, resolve = "broadcast" })
    assert.equal(ALL, far:recv_frame(1).dst_mac)
  end))

  -- ---- matching ---------------------------------------------------------------------------------------------------

  it("passes over what answers nothing, and what was there before", on_wire(function(conn, far)
    local stale = p.ip4 { src = IP_B, dst = IP_A } / p.icmp { type = 0, identifier = 7 } / "stale"
    far:send(stale:build(), A)
    far:answer { match = { icmp = { type = 8 } }, reply = { p.icmp { sequence = 5 }, p.icmp {} / "right" } }
    local answered = ether.sr(conn, ping())
    assert.equal("right", answered[1].received.data.payload)
    assert.equal(1, #answered)
  end))

  it("takes one answer for each request, and all of them with multi", on_wire(function(conn, far)
    far:answer { match = { icmp = { type = 8 } }, reply = { "one", "two" } }
    assert.equal(1, #ether.sr(conn, ping(), { timeout = 0.05 }))
    local answered, unanswered = ether.sr(conn, ping(), { timeout = 0.05, multi = true })
    assert.same({ 2, 0 }, { #answered, #unanswered })
    assert.equal("two", answered[2].received.data.payload)
  end))

  it("gives requests that are the same to their answers in order", on_wire(function(conn, far)
    answer_pings(far)
    local answered = ether.sr(conn, { ping(), ping(), ping() })
    assert.equal(3, #answered)
    assert.are_not.equal(answered[1].sent, answered[2].sent)
  end))

  it("takes an ICMP error that quotes the request for its answer", on_wire(function(conn, far)
    far:answer { match = { ip = { ttl = 1 } }, reply = function(request)
      return p.ip4 { src = "10.9.9.9" } / p.icmp { type = 11 } / request:build():sub(15, 42)
    end }
    local received = assert(ether.sr1(conn, p.ether { dst = B } / p.ip4 { src = IP_A, dst = "192.0.2.1", ttl = 1 }
      / p.udp { dport = 33434 } / "traceroute"))
    assert.same({ "10.9.9.9", 11 }, { received.ip4.src, received.icmp.type })
  end))

  it("is not confused by hostile frames", on_wire(function(conn, far, _, other)
    local inject = frames.injector(other)
    answer_pings(far, 0, 0.05)
    ether.spawn(function()
      settle()
      local good = (p.ether { src = B, dst = A } / p.ip4 { src = IP_B, dst = IP_A } / p.icmp { type = 3 }
        / ping():build():sub(15)):build()
      for size = 14, #good - 1 do inject(good:sub(1, math.min(size, 33))) end
      for at = 15, 34 do inject(good:sub(1, at) .. ("\255"):rep(#good - at)) end
    end)
    local answered = ether.sr(conn, ping())
    assert.equal(0, answered[1].received.icmp.type)
  end))

  it("answers ten thousand requests in one call", on_wire(function(conn, far)
    far:answer { match = { arp = { op = 1 } }, reply = p.arp {} }
    local list = {}
    for i = 1, 10000 do list[i] = p.arp { tpa = ("10.1.%d.%d"):format(i / 256, i % 256) } end
    local answered, unanswered = ether.sr(conn, list, { timeout = 10, src = IP_A })
    assert.same({ 10000, 0 }, { #answered, #unanswered })
    for _, one in ipairs(answered) do assert.equal(one.sent.arp.tpa, one.received.arp.spa) end
  end))

  -- ---- time -------------------------------------------------------------------------------------------------------

  it("returns at once when all are answered, and after the timeout when not", on_wire(function(conn, far)
    local responder = answer_pings(far)
    local start = ether.now()
    ether.sr(conn, ping(), { timeout = 60 })
    assert.is_true(ether.now() - start < 30)
    responder:close()
    start = ether.now()
    local answered, unanswered, reason = ether.sr(conn, ping(), { timeout = 0.1 })
    assert.is_true(ether.now() - start >= 0.1)
    assert.same({ 0, 1 }, { #answered, #unanswered })
    assert.is_nil(reason)
  end))

  it("sends again what has no answer, retry times, and nothing else", on_wire(function(conn, far)
    local responder = answer_pings(far, 3)
    local list = { ping { sequence = 1 }, ping { sequence = 2 } }
    local answered, unanswered = ether.sr(conn, list, { timeout = 0.05, retry = 1 })
    assert.same({ 1, 1, 4 }, { #answered, #unanswered, responder.matched })
    assert.equal(2, answered[1].sent.icmp.sequence)
    answered, unanswered = ether.sr(conn, unanswered) -- they can be sent again as they are
    assert.same({ 1, 0 }, { #answered, #unanswered })
  end))

  it("waits between two packets with inter", on_wire(function(conn, far)
    answer_pings(far)
    local start = ether.now()
    assert.equal(3, #ether.sr(conn, { ping(), ping(), ping() }, { inter = 0.05 }))
    assert.is_true(ether.now() - start >= 0.1)
  end))

  it("ends in a flood of other frames", on_wire(function(conn, far)
    local flood = ether.spawn(function()
      while true do
        far:send(frames.udp(), A)
        ether.sleep(0)
      end
    end)
    local start = ether.now()
    local _, unanswered = ether.sr(conn, ping(), { timeout = 0.1 })
    assert.equal(1, #unanswered)
    assert.is_true(ether.now() - start < 10)
    flood:cancel()
  end))

  it("blocks its own task alone, and can be cancelled", on_wire(function(conn, far)
    local task = ether.spawn(ether.sr, conn, p.ip4 { src = IP_A, dst = IP_B } / p.icmp { type = 8 }, { timeout = 60 })
    ether.sleep(0.05)
    assert.is_falsy(task.done)
    task:cancel()
    assert.same({ nil, "cancelled" }, { task:join() })
    far:send(frames.udp(), A)
    assert.is_string((conn:recv(1)))
  end))

  it("ends when the EtherConn is closed", on_wire(function(conn)
    local task = ether.spawn(ether.sr, conn, ping(), { timeout = 60 })
    settle()
    conn:close()
    local answered, unanswered, reason = task:join()
    assert.same({ 0, 1, "closed" }, { #answered, #unanswered, reason })
  end))

  -- ---- results ----------------------------------------------------------------------------------------------------

  it("has lists that tell their packets line by line", on_wire(function(conn, far)
    answer_pings(far)
    local answered = ether.sr(conn, ping())
    assert.matches("^02:00.* ICMP echo request id 7 seq 0 .*  ==>  .* ICMP echo reply id 7 seq 0 .*  [%d.]+ ms$",
      tostring(answered))
    local nothing, unanswered = ether.sr(conn, p.arp { tpa = "10.0.0.9" }, { timeout = 0 })
    assert.equal("none", tostring(nothing))
    assert.matches("ARP who%-has 10.0.0.9", tostring(unanswered))
  end))

  it("sr1 returns the first answer and its time, or nil and the reason", on_wire(function(conn, far)
    answer_pings(far)
    local received, rtt = ether.sr1(conn, ping())
    assert.equal(0, received.icmp.type)
    assert.is_true(rtt >= 0 and rtt < 1)
    assert.same({ nil, "timeout" }, { ether.sr1(conn, p.arp { tpa = "10.0.0.9" }, { timeout = 0 }) })
  end))

  -- ---- misuse -----------------------------------------------------------------------------------------------------

  it("refuses what cannot be sent, before anything is sent", on_wire(function(conn, _, near)
    local sr = ether.sr
    raises("bad conn nil: an EtherConn or a host is needed", sr, nil, ping())
    raises("bad packets 5: a packet, the bytes of a frame, or a list of them is needed", sr, conn, 5)
    raises("bad packets table", sr, conn, { dst = B })
    raises("bad packet 5: one of etherlua.proto.packet", sr, conn, { ping(), 5 })
    raises("bad packet: it begins with udp, not with ether, arp, ip4 or ip6", sr, conn, p.udp { dport = 1 } / "x")
    raises("bad packet: ip4 has no src, and there is none to guess: give it", sr, conn,
      p.ip4 { dst = IP_B } / p.icmp { type = 8 })
    raises('bad ipv6 src "10.0.0.1"', sr, conn, p.ip6 { dst = "ff02::1" } / p.icmp6 { type = 128 }, { src = IP_A })
    for _, dst in ipairs { "10.9.0.0/30", "nonsense", "fe80::1" } do
      raises("10.0.0.1", sr, conn, p.ip4 { src = IP_A, dst = dst } / p.icmp { type = 8 })
    end
    raises('bad ipv4 dst "nil"', sr, conn, p.ip4 { src = IP_A } / p.icmp { type = 8 })
    raises('bad ethernet dst "nil"', sr, conn, { ping(), p.ether {} / p.dhcp4 {} })
    raises("bad timeout -1: seconds as a number are needed", sr, conn, ping(), { timeout = -1 })
    raises("bad retry 0.5: a whole number from 0 is needed", sr, conn, ping(), { retry = 0.5 })
    raises("bad inter x: seconds as a number are needed", sr, conn, ping(), { inter = "x" })
    raises("bad multi 1: true or false is allowed", sr, conn, ping(), { multi = 1 })
    raises('unknown option "timout" of sr, did you mean "timeout"?', sr, conn, ping(), { timout = 1 })
    raises("spec/ask/sr_spec.lua:", sr, conn, ping(), { timout = 1 })
    assert.equal(0, near:stats().tx_frames)
    raises("payload of 3000 bytes does not fit", sr, conn, p.ether { dst = B, ethertype = 0x88b5 } / ("x"):rep(3000))
    local answered, unanswered = sr(conn, {})
    assert.same({ 0, 0 }, { #answered, #unanswered })
    conn:close()
    raises("this endpoint is closed", sr, conn, ping())
  end))

  it("refuses to read along with another task", on_wire(function(conn)
    local task = ether.spawn(function() return conn:recv(1) end)
    ether.sleep(0)
    raises("another task is reading this endpoint already", ether.sr, conn, ping())
    task:cancel()
  end))

  it("is possible in tasks only", function()
    local near, other = ether.wire()
    raises("this call blocks", ether.sr, near:conn {}, ping())
    near:close()
    other:close()
  end)
end)

-- ---- against the kernel ---------------------------------------------------------------------------------------------

describe("the kernel's answers", function()
  local permitted, reason = lab.root()

  -- fn(conn): an EtherConn whose far end is the kernel, 10.0.0.2 and 2001:db8::2.
  local function kernel_it(name, fn)
    it(name, function()
      if not permitted then return pending(reason) end
      kinds.run(function()
        local net = ether.lab { ipv6 = true }
        sched.close_at_end(net)
        net.far:run("ip addr add 10.0.0.2/24 dev eth0 && ip addr add 2001:db8::2/64 dev eth0 nodad")
        fn(net:relay():conn { mac = A }, net)
      end)
      leaks.check()
    end)
  end

  local V4, V6 = { src = IP_A, timeout = 3 }, { src = "2001:db8::1", timeout = 3 }

  kernel_it("to ARP, with and without an address of our own", function(conn)
    local found = assert(ether.sr1(conn, p.arp { tpa = IP_B }, V4))
    assert.same({ 2, IP_B, A, IP_A }, { found.arp.op, found.arp.spa, found.arp.tha, found.arp.tpa })
    assert.equal(found.arp.sha, assert(ether.sr1(conn, p.arp { tpa = IP_B })).arp.sha)
  end)

  kernel_it("to a ping, a datagram and a SYN to closed ports, and ports that are open", function(conn, net)
    local server = net.far:start { "busybox", "nc", "-l", "-p", "8080" }
    for _ = 1, 100 do
      if net.far:run("busybox netstat -ltn"):find ":8080" then break end
      ether.sleep(0.02)
    end
    local to = p.ip4 { dst = IP_B }
    local answered, unanswered = ether.sr(conn, { to / p.icmp { type = 8, identifier = 1 } / "hello",
      to / p.udp { dport = 9 } / "x", to / p.tcp { dport = 9, syn = true, sequence_number = 0xffffffff },
      to / p.tcp { dport = 8080, syn = true, window = 1000 }, to / p.tcp { dport = 9, ack = true,
        acknowledgment_number = 77 } }, V4)
    assert.equal(0, #unanswered)
    local by_port = {}
    for _, one in ipairs(answered) do
      local ports = one.sent.udp or one.sent.tcp
      by_port[#by_port + 1] = one
      if ports and ports.syn then by_port["syn " .. ports.dst_port] = one.received end
      if ports and ports.ack then by_port.ack = one.received end
    end
    assert.same({ true, 0 }, { by_port["syn 9"].tcp.rst, by_port["syn 9"].tcp.acknowledgment_number })
    assert.same({ true, true }, { by_port["syn 8080"].tcp.syn, by_port["syn 8080"].tcp.ack })
    assert.same({ true, 77 }, { by_port.ack.tcp.rst, by_port.ack.tcp.sequence_number })
    for _, one in ipairs(by_port) do
      if one.sent.icmp then assert.same({ 0, "hello" }, { one.received.icmp.type, one.received.data.payload }) end
      if one.sent.udp then assert.same({ 3, 3 }, { one.received.icmp.type, one.received.icmp.code }) end
    end
    server:stop()
  end)

  kernel_it("to neighbour solicitation, ping and closed ports on IPv6", function(conn)
    local node = "ff02::1:ff00:2"
    local found = assert(ether.sr1(conn, p.ip6 { dst = node, hop_limit = 255 }
      / p.icmp6 { type = 135, target = "2001:db8::2", source_link_layer_address = A }, V6))
    assert.same({ 136, "2001:db8::2" }, { found.icmp6.type, found.icmp6.target })
    local to = p.ip6 { dst = "2001:db8::2" }
    local answered = ether.sr(conn, { to / p.icmp6 { type = 128, identifier = 3 } / "hello",
      to / p.udp { dport = 9 } / "x", to / p.tcp { dport = 9, syn = true } }, V6)
    assert.equal(3, #answered)
    local kinds_of = {}
    for _, one in ipairs(answered) do
      local got = one.received
      kinds_of[one.sent[3].name] = got.tcp and { "rst", got.tcp.rst } or { got.icmp6.type, got.icmp6.code }
    end
    assert.same({ icmp6 = { 129, 0 }, udp = { 1, 4 }, tcp = { "rst", true } }, kinds_of)
  end)

  kernel_it("to a packet whose TTL ends, as traceroute wants them", function(conn, net)
    net.far:run("sysctl -qw net.ipv4.ip_forward=1 && ip route add 192.0.2.0/24 via 10.0.0.3")
    local hop = assert(ether.sr1(conn, p.arp { tpa = IP_B }, V4)).arp.sha
    local received = assert(ether.sr1(conn, p.ether { dst = hop } / p.ip4 { src = IP_A, dst = "192.0.2.1", ttl = 1 }
      / p.udp { dport = 33434 } / "x", V4))
    assert.same({ 11, IP_B }, { received.icmp.type, received.ip4.src })
  end)

  kernel_it("are none where the link is down, and that is said", function(conn, net)
    net.near:run("ip link set eth0 down")
    ether.sleep(0.2)
    assert.same({ nil, "link down" }, { ether.sr1(conn, p.arp { tpa = IP_B }, { timeout = 0.2 }) })
  end)
end)
