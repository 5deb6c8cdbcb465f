-- Composed packets where bytes are sent: conn:send, relay:send and host:send take them, fill in what they leave out,
-- and say when nobody knows where they shall go.

local ether = require "etherlua"
local frames = require "support.frames"
local p = require "etherlua.proto.packet"
local test = require "etherlua.test"

local A, B, ALL = frames.MAC_A, frames.MAC_B, frames.BROADCAST
local IP_A, IP_B = "10.0.0.1", "10.0.0.2"

-- near:conn on a VLAN stack; what hears it; the relay.
local function wire(vlans)
  local a, b = test.wire()
  return a:conn { mac = A, vlans = vlans }, b:conn { mac = B, vlans = vlans, multicast = true }, a
end

-- fn raises these words, among others, at the line that calls.
local function told(fn, words)
  local ok, failure = pcall(fn)
  assert.is_false(ok, "no error was raised")
  assert.matches("^spec/relay/composed_spec.lua:%d+: ", failure)
  assert.matches(words, failure, 1, true)
end

local function icmp(fields)
  return p.ip4 { src = IP_A, dst = fields and fields.dst or IP_B } / p.icmp { type = 8 } / "ping"
end

local function received(far)
  return p.parse(tostring(assert(far:recv_frame(1))))
end

describe("conn:send of a packet", function()
  it("fills in addresses, VLANs and a source port", function()
    local conn, far = wire "5.6"
    assert.is_true(conn:send(p.ip4 { src = IP_A, dst = IP_B } / p.udp { dst_port = 9 } / "text", B))
    local packet = received(far)
    assert.same({ A, B, 5, 6, "text" }, { packet.ether.src, packet.ether.dst, packet.ether.vlans[1].vid,
      packet.ether.vlans[2].vid, packet.data.payload })
    assert.is_true(packet.udp.src_port >= 49152)
  end)

  it("leaves what is given, and what it is called with comes first", function()
    local conn, far = wire()
    local whole = p.ether { src = "02:00:00:00:00:77", dst = B } / icmp()
    conn:send(whole)
    assert.equal("02:00:00:00:00:77", received(far).ether.src)
    conn:send(p.ether { dst = "02:00:00:00:00:99" } / icmp(), ether.mac(B), { src_mac = "02:00:00:00:00:88" })
    assert.equal("02:00:00:00:00:88", received(far).ether.src)
    assert.equal(B, whole.ether.dst) -- the caller's packet stays as it is
  end)

  it("sends groups to their MAC address and ARP to all, when nothing else is said", function()
    local conn, far = wire()
    for dst, mac in pairs { ["224.0.0.251"] = "01:00:5e:00:00:fb", ["239.255.1.2"] = "01:00:5e:7f:01:02",
      ["255.255.255.255"] = ALL } do
      conn:send(icmp { dst = dst })
      assert.equal(mac, received(far).ether.dst)
    end
    conn:send(p.ip6 { src = "fe80::1", dst = "ff02::1:2" } / p.udp { dst_port = 547 })
    assert.equal("33:33:00:01:00:02", received(far).ether.dst)
    conn:send(p.arp { tpa = IP_B })
    assert.equal(ALL, received(far).ether.dst)
  end)

  it("says what is wrong: no destination, no packet, no source, no option", function()
    local conn = wire()
    told(function() conn:send(icmp()) end, "no destination: give its MAC address behind the packet")
    told(function() conn:send "text" end, 'no destination: give a MAC address, such as "02:00:00:11:22:33"')
    told(function() conn:send(p.ether {} / icmp()) end, "no destination")
    told(function() conn:send({ 1 }, B) end, "bad payload table")
    told(function() conn:send(nil, B) end, "bad payload nil")
    told(function() conn:send(p.udp { dst_port = 9 }, B) end, "it begins with udp, not with ether, arp, ip4 or ip6")
    told(function() conn:send(p.ip4 { dst = IP_B } / "x", B) end, "ip4 has no src")
    told(function() conn:send(icmp(), B, { vlan = 1 }) end, 'unknown option "vlan" of conn:send')
  end)
end)

describe("relay:send of a packet", function()
  it("sends whole frames, from its own MAC address where none is given", function()
    local _, far, relay = wire()
    assert.is_true(relay:send(p.ether { dst = B } / icmp()))
    assert.equal(relay.mac, received(far).ether.src)
    relay:send(p.ether { src = A } / icmp { dst = "224.0.0.1" })
    assert.equal("01:00:5e:00:00:01", received(far).ether.dst)
  end)

  it("says what is wrong: no frame, no destination", function()
    local _, _, relay = wire()
    told(function() relay:send(icmp()) end, "it begins with ip4, but a relay sends whole frames")
    told(function() relay:send(p.ether {} / icmp()) end, "no destination: ether has no dst")
    told(function() relay:send { dst = B } end, "bad payload table")
  end)
end)

describe("host:send of a packet", function()
  it("goes to the next hop, from the host's address", function()
    local a, b = test.wire()
    local host = a:host { mac = A, ip = IP_A .. "/24", gateway = IP_B }
    local far = b:host { mac = B, ip = IP_B .. "/24" }
    local expected = test.expect(far)
    assert.is_true(host:send(p.ip4 { dst = "192.0.2.1" } / p.udp { dst_port = 9 } / "text"))
    local frame = expected:to_receive { udp = { dst_port = 9 } }
    assert.same({ B, IP_A }, { frame.ethernet.dst, frame.ipv4.src })
    host:send(p.ether { dst = "ff:ff:ff:ff:ff:ff" } / p.ip4 { dst = IP_B } / p.icmp { type = 8 })
    assert.equal(ALL, expected:to_receive({ icmp = { type = 8 } }).ethernet.dst)
    host:send(p.arp { tpa = "10.0.0.9" })
    assert.equal(IP_A, expected:to_receive({ arp = { tpa = "10.0.0.9" } }).arp.spa)
  end)

  it("says why it cannot be sent", function()
    local a = test.wire()
    local host = a:host { mac = A, ip = IP_A .. "/24" }
    assert.matches("no route to 192.0.2.1", select(2, host:send(p.ip4 { dst = "192.0.2.1" } / p.icmp {})))
    assert.same({ nil, "the host has no IPv6 address" }, { host:send(p.ip6 { dst = "2001:db8::1" } / "x") })
    told(function() host:send { protocol = 1 } end, "no destination: dst is needed")
    told(function() host:send(p.ip4 {} / "x") end, 'bad ipv4 dst "nil"')
    told(function() host:send "text" end, "bad packet text: one of etherlua.proto.packet, or a table of fields")
  end)
end)
