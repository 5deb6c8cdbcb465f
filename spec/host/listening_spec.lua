-- Whoever listens to a host: ether.sr, responders and expectations of tests see what the host hears, also what it
-- answers by itself and what is sent to groups, and the host goes on answering.

local ether = require "etherlua"
local frames = require "support.frames"
local p = require "etherlua.proto.packet"
local test = require "etherlua.test"

local A, B, ALL = frames.MAC_A, frames.MAC_B, frames.BROADCAST
local IP_A, IP_B, FAR = "10.0.0.1", "10.0.0.2", "192.0.2.1"

-- What fn(...) fails with.
local function failure_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(type(failure) == "table" and failure.message or failure)
end

-- A host, and an EtherConn at the other end of a wire, with the address of the host's gateway.
local function neighbours(opts)
  local a, b = test.wire()
  opts = opts or { ip = IP_A .. "/24", gateway = IP_B }
  opts.mac = A
  return a:host(opts), b:conn { mac = B, multicast = true }, a, b
end

local function answer_arp(far)
  return far:answer { match = { arp = { tpa = IP_B, op = 1 } }, reply = p.arp {} }
end

-- Who has an address of the host: what everybody hears.
local function question(ip)
  return p.arp { sha = B, spa = IP_B, tpa = ip }:build()
end

local function datagram(port)
  return (p.ip4 { src = IP_B, dst = IP_A } / p.udp { src_port = 1000, dst_port = port } / "x"):build()
end

describe("ether.sr with a host", function()
  it("sends from its address to its next hop, and hears the answer", function()
    local host, far = neighbours()
    answer_arp(far)
    far:answer { match = { icmp = { type = 8 } }, reply = p.icmp {} }
    for _, on in ipairs { host, host.conn } do
      local answer, rtt = ether.sr1(on, p.ip4 { dst = FAR } / p.icmp { type = 8, identifier = 1 })
      assert.same({ FAR, IP_A, 0 }, { answer.ip4.src, answer.ip4.dst, answer.icmp.type })
      assert.is_true(rtt < 1)
      assert.equal(B, answer.ether.src)
    end
  end)

  it("has an answer to a datagram for itself: the host does not refuse it", function()
    local host, far, near = neighbours()
    answer_arp(far)
    far:answer { match = { udp = { dst_port = 53 } }, reply = "answer" }
    assert.equal("answer", ether.sr1(host, p.ip4 { dst = FAR } / p.udp { dst_port = 53 } / "x").data.payload)
    ether.sleep(0.01)
    assert.equal(0, host.segment.tap.counters.unreachable)
    assert.is_true(near:stats().tx_frames >= 2)
  end)

  it("asks by ARP and neighbour discovery, and is asked meanwhile", function()
    local host, far = neighbours { ip = IP_A .. "/24", ip6 = "2001:db8::1/64", dad = false }
    assert(host:ready(1))
    answer_arp(far)
    far:answer { match = { icmp6 = { type = 135 } }, reply = function(request)
      return p.ip6 { src = request.icmp6.target } / p.icmp6 { type = 136, solicited = true, override = true,
        target = request.icmp6.target, target_link_layer_address = B }
    end }
    assert.equal(B, ether.sr1(host, p.arp { tpa = IP_B }).arp.sha)
    local echo = p.ip6 { dst = "2001:db8::2" } / p.icmp6 { type = 128 }
    local _, unanswered, reason = ether.sr(host, echo, { timeout = 0 })
    assert.same({ 1, "2001:db8::1", B }, { #unanswered, unanswered[1].ip6.src, unanswered[1].ether.dst })
    assert.is_nil(reason)
  end)

  it("says what is missing: a route, an address, a neighbour", function()
    local host = neighbours { ip = IP_A .. "/24" }
    local function sr(fields) return ether.sr(host, p.ip4(fields) / p.icmp { type = 8 }, { timeout = 0 }) end
    assert.matches("no route to 192.0.2.1", (select(3, sr { dst = FAR })))
    assert.matches("ip6 has no src, and the host has no IPv6 address", failure_of(ether.sr1, host,
      p.ip6 { dst = "2001:db8::1" } / p.icmp6 { type = 128 }))
  end)

  it("leaves the host as it was", function()
    local host, far = neighbours()
    ether.sr(host, p.arp { tpa = IP_B }, { timeout = 0 })
    far:send(question(IP_A), A, { ethertype = 0x0806 })
    test.expect(far):to_receive { arp = { op = 2, spa = IP_A } }
    assert.same({ 0, "timeout" }, { host.conn:stats().received, select(2, host.conn:recv(0)) })
  end)
end)

describe("test.expect with a host", function()
  for _, name in ipairs { "host", "host.conn" } do
    it("sees what the host answers by itself, and the host answers: " .. name, function()
      local host, far = neighbours()
      local expected = test.expect(name == "host" and host or host.conn)
      far:send(question(IP_A), A, { ethertype = 0x0806 })
      expected:to_receive { arp = { tpa = IP_A } }
      test.expect(far):to_receive { arp = { op = 2, spa = IP_A, sha = A } }
    end)

    it("sees what is sent to all, and fails where it should not come: " .. name, function()
      local host, far = neighbours { ip6 = "auto", dad = false }
      local expected = test.expect(name == "host" and host or host.conn)
      far:send((p.ip6 { src = "fe80::66", dst = "ff02::1", hop_limit = 255 } / p.icmp6 { type = 134,
        router_lifetime = 1800, cur_hop_limit = 64 }):build(), "33:33:00:00:00:01")
      assert.matches("received what it should not: .*router advertisement", failure_of(function()
        expected:to_receive_nothing(1, { icmp6 = { type = 134 } })
      end))
    end)
  end

  it("sees datagrams for ports that nobody has, which the host refuses as ever", function()
    local host, far = neighbours()
    answer_arp(far):close()
    local expected = test.expect(host)
    far:send(datagram(9), A)
    expected:to_receive { udp = { dst_port = 9 } }
    test.expect(far):to_receive { icmp = { type = 3, code = 3 } }
  end)

  it("names the host when nothing came", function()
    local host = neighbours()
    assert.matches("host 02:00:00:00:00:0a 10.0.0.1 received no frame", failure_of(function()
      test.expect(host):to_receive({ icmp = {} }, 0)
    end), 1, true)
  end)
end)

describe("host:answer", function()
  it("answers for a host what that does not, and the host goes on with the rest", function()
    local host, far = neighbours()
    local responder = host:answer { match = { udp = { dst_port = 53 } }, reply = "answer" }
    far:send(datagram(53), A)
    far:send(question(IP_A), ALL, { ethertype = 0x0806 })
    assert.equal("answer", test.expect(far):to_receive({ udp = { src_port = 53 } }).udp.payload)
    far:send(question(IP_A), ALL, { ethertype = 0x0806 })
    test.expect(far):to_receive { arp = { op = 2, spa = IP_A } }
    assert.equal(1, responder.answered)
    assert.equal(0, host.segment.tap.counters.unreachable)
    responder:close()
    far:send(datagram(53), A)
    test.expect(far):to_receive { icmp = { type = 3, code = 3 } }
  end)
end)
