-- RUDPConns: which of them a datagram reaches, and what the datagrams that they send look like.

local bytes = require "etherlua.net.bytes"
local frames = require "support.frames"
local kinds = require "support.kinds"
local proto = require "etherlua.proto"
local settle = require("support.wait").settle

local A, B = frames.MAC_A, frames.MAC_B

-- An EtherConn that sends packets to another one.
local function pair(a, b)
  local from, to = a:conn { mac = A }, b:conn { mac = B }
  return function(fields) from:send(frames.udp(fields), B) end, to
end

-- The layers of the frame that the endpoint receives next, by name.
local function layers_of(endpoint)
  local layers = {}
  for _, layer in ipairs(proto.dissect(assert(frames.whole(endpoint)))) do layers[layer.name] = layer.fields end
  return layers
end

local function received(...)
  local counts = {}
  for i, endpoint in ipairs { ... } do counts[i] = endpoint:stats().received end
  return counts
end

kinds.each("a RUDPConn", function(it)
  it("receives the payload of datagrams to its address, and from whom", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("10.0.0.2:2000")
    send { src = "10.9.8.7", src_port = 6, payload = "hello" }
    local payload, from = udp:recv(1)
    assert.equal("hello", payload)
    assert.equal("10.9.8.7:6", tostring(from))
  end)

  it("receives over IPv6, too", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("[2001:db8::2]:547")
    send { src = "fe80::1", dst = "2001:db8::2", dst_port = 547, payload = "hello" }
    local payload, from = udp:recv(1)
    assert.equal("hello", payload)
    assert.equal("[fe80::1]:1000", tostring(from))
  end)

  it("leaves what is for another address, port or protocol to its EtherConn", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("10.0.0.2:2000")
    for _, fields in ipairs { { dst = "10.0.0.3" }, { dst_port = 2001 }, { protocol = 6 },
      { src = "::1", dst = "::10.0.0.2" } } do
      send(fields)
      assert.equal(frames.udp(fields), (conn:recv(1)))
    end
    assert.equal(0, udp:stats().received)
  end)

  it("is one of any number on an EtherConn, each with its own datagrams", function(a, b)
    local send, conn = pair(a, b)
    local udps = {}
    for i = 1, 100 do udps[i] = conn:udp(("10.0.%d.2:%d"):format(i % 10, 2000 + i)) end
    for i = 1, 100 do send { dst = ("10.0.%d.2"):format(i % 10), dst_port = 2000 + i, payload = "to " .. i } end
    for i = 1, 100 do assert.equal("to " .. i, (udps[i]:recv(1))) end
    assert.equal(0, conn:stats().received)
  end)

  it("is told from one with the same address on another EtherConn", function(a, b)
    local from, udps = a:conn { mac = A }, {}
    for vid = 1, 3 do udps[vid] = b:conn({ mac = B, vlans = vid }):udp("10.0.0.2:2000") end
    for vid = 1, 3 do from:send(frames.udp { payload = "vlan " .. vid }, B, { vlans = vid }) end
    for vid = 1, 3 do assert.equal("vlan " .. vid, (udps[vid]:recv(1))) end
  end)

  it("of the exact address comes before the wildcard one, and that before accept_any", function(a, b)
    local send, conn = pair(a, b)
    local any = conn:udp("10.0.0.9:9", { accept_any = true })
    local wild, exact = conn:udp("0.0.0.0:2000"), conn:udp("10.0.0.2:2000")
    send { dst = "10.0.0.2", payload = "exact" }
    send { dst = "10.0.0.3", payload = "wild" }
    send { dst = "10.0.0.2", dst_port = 2001, payload = "any" }
    assert.equal("exact", (exact:recv(1)))
    assert.equal("wild", (wild:recv(1)))
    assert.equal("any", (any:recv(1)))
    exact:close()
    send { dst = "10.0.0.2", payload = "now wild" }
    assert.equal("now wild", (wild:recv(1)))
    wild:close()
    send { dst = "10.0.0.2", payload = "now any" }
    assert.equal("now any", (any:recv(1)))
    any:close()
    send { dst = "10.0.0.2" }
    assert.equal(frames.udp(), (conn:recv(1)))
  end)

  it("at 0.0.0.0 receives IPv4 alone, at :: IPv6 alone", function(a, b)
    local send, conn = pair(a, b)
    local four, six = conn:udp("0.0.0.0:2000"), conn:udp("[::]:2000")
    send { payload = "four" }
    send { src = "::1", dst = "::2", payload = "six" }
    assert.equal("six", (six:recv(1)))
    assert.equal("four", (four:recv(1)))
    assert.same({ 1, 1 }, received(four, six))
  end)

  it("with accept_any stands beside exact ones of other hosts' addresses, as a DHCP client does", function(a, b)
    local send, conn = pair(a, b)
    local client, other = conn:udp("0.0.0.0:68", { accept_any = true }), conn:udp("10.0.0.2:2000")
    send { dst = "10.77.0.1", dst_port = 68, payload = "offer" }
    send { payload = "other" }
    assert.equal("other", (other:recv(1)))
    assert.equal("offer", (client:recv(1)))
    assert.same({ 1, 1, 0 }, received(client, other, conn))
  end)

  it("receives broadcasts that its EtherConn receives", function(a, b)
    local from, udp = a:conn { mac = A }, b:conn({ mac = B, multicast = true }):udp("0.0.0.0:68")
    from:send(frames.udp { dst = "255.255.255.255", dst_port = 68, payload = "offer" }, frames.BROADCAST)
    assert.equal("offer", (udp:recv(1)))
  end)

  it("receives from its peer alone after connect, until connect(nil)", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("10.0.0.2:2000")
    udp:connect("10.0.0.1:1000")
    send { src = "10.0.0.3", payload = "another address" }
    send { src_port = 1001, payload = "another port" }
    send { payload = "peer" }
    assert.equal("peer", (udp:recv(1)))
    settle()
    assert.same({ 1, 2 }, received(udp, conn))
    udp:connect(nil)
    send { src_port = 1001, payload = "anyone" }
    assert.equal("anyone", (udp:recv(1)))
  end)

  it("sends to its peer after connect", function(a, b)
    local udp, far = a:conn({ mac = A }):udp("10.0.0.1:1000"), b:conn({ mac = B }):udp("10.0.0.2:2000")
    assert.error_matches(function() udp:send("x") end, "no destination")
    udp:connect("10.0.0.2:2000")
    udp:send("x", nil, { mac = B })
    assert.equal("x", (far:recv(1)))
  end)

  it("receives datagrams behind IPv4 options", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("10.0.0.2:2000")
    for _, size in ipairs { 4, 8, 40 } do
      send { options = ("\1"):rep(size), payload = size .. " bytes" }
      assert.equal(size .. " bytes", (udp:recv(1)))
    end
  end)

  local HOP, DESTINATION, ROUTING = { type = 0 }, { type = 60, data = ("\0"):rep(20) }, { type = 43 }
  local AH, ATOMIC = { type = 51, data = ("a"):rep(22) }, { type = 44, identification = 7 }
  local CHAINS = {
    ["hop-by-hop options"] = { HOP }, ["destination options"] = { DESTINATION }, ["a routing header"] = { ROUTING },
    ["an authentication header"] = { AH }, ["the fragment header of an atomic fragment"] = { ATOMIC },
    ["all IPv6 extension headers"] = { HOP, DESTINATION, ROUTING, ATOMIC, AH, DESTINATION },
  }
  local UNREADABLE = "cards may drop what they cannot read"
  local VETH = { ["an authentication header"] = UNREADABLE, ["all IPv6 extension headers"] = UNREADABLE }
  for words, chain in pairs(CHAINS) do
    it("receives datagrams behind " .. words, { veth = VETH[words] }, function(a, b)
      local send, conn = pair(a, b)
      local udp = conn:udp("[2001:db8::2]:2000")
      send { src = "2001:db8::1", dst = "2001:db8::2", extension_headers = chain, payload = "hello" }
      assert.equal("hello", (udp:recv(1)))
    end)
  end

  it("receives no fragments, for they are no datagrams", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("0.0.0.0:2000", { accept_any = true })
    send { mf = true }
    send { fragment_offset = 8 }
    send { src = "::1", dst = "::2", extension_headers = { { type = 44, mf = true } } }
    send { payload = "whole" }
    assert.equal("whole", (udp:recv(1)))
    settle()
    assert.same({ 1, 3 }, received(udp, conn))
  end)

  it("receives as much as the UDP length says", function(a, b)
    local send, conn = pair(a, b)
    local udp = conn:udp("10.0.0.2:2000")
    send { payload = "hello, this is behind", udp_length = 8 + 5 }
    send { payload = "nothing of this", udp_length = 8 }
    assert.equal("hello", (udp:recv(1)))
    assert.equal("", (udp:recv(1)))
  end)

  it("receives datagrams with any checksum, for those of this machine may lack theirs", function(a, b)
    local send, conn = pair(a, b)
    local udp, packet = conn:udp("10.0.0.2:2000"), frames.udp { payload = "hello" }
    send(nil)
    assert(udp:recv(1))
    a:conn({ mac = "02:00:00:00:00:0d" }):send(packet:sub(1, 26) .. "\18\52" .. packet:sub(29), B)
    assert.equal("hello", (udp:recv(1)))
  end)

  it("sends and receives at ports 0 and 65535", function(a, b)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    for _, ports in ipairs { { 0, 65535 }, { 65535, 0 } } do
      local udp = near:udp("10.0.0.1:" .. ports[1])
      local to = far:udp("10.0.0.2:" .. ports[2])
      udp:send("x", "10.0.0.2:" .. ports[2], { mac = B })
      local payload, from = to:recv(1)
      assert.same({ "x", "10.0.0.1:" .. ports[1] }, { payload, tostring(from) })
    end
  end)

  it("moves with set_addr: it is reached and sends at the new address, not at the old", function(a, b)
    local send, conn = pair(a, b)
    local udp, rest = conn:udp("0.0.0.0:68"), a:default_conn()
    udp:set_addr("10.0.0.2:2000")
    assert.equal("10.0.0.2:2000", tostring(udp:addr()))
    send { dst_port = 68 }
    send { payload = "new" }
    assert.equal("new", (udp:recv(1)))
    assert.equal(frames.udp { dst_port = 68 }, (conn:recv(1)))
    udp:send("x", "10.0.0.1:1000", { mac = "02:00:00:00:00:0d" })
    local sent = layers_of(rest)
    assert.same({ "10.0.0.2", 2000 }, { sent.ipv4.src, sent.udp.src_port })
  end)

  it("cannot move to an address that another one has, but to its own", function(_, b)
    local conn = b:conn { mac = B }
    local udp, other = conn:udp("10.0.0.2:1"), conn:udp("10.0.0.2:2")
    assert.error_matches(function() udp:set_addr("10.0.0.2:2") end, "10.0.0.2:2.*in use")
    udp:set_addr("10.0.0.2:1")
    other:close()
    udp:set_addr("10.0.0.2:2")
  end)

  it("cannot be opened at an address that another one has, nor accept any beside another", function(_, b)
    local conn = b:conn { mac = B }
    conn:udp("10.0.0.2:1", { accept_any = true })
    assert.error_matches(function() conn:udp("10.0.0.2:1") end, "has this address and port")
    assert.error_matches(function() conn:udp("10.0.0.2:2", { accept_any = true }) end, "accepts any already")
    conn:udp("0.0.0.0:1")
    conn:udp("[::]:1")
  end)

  it("takes the place of a closed one that accepted any", function(a, b)
    local send, conn = pair(a, b)
    conn:udp("0.0.0.0:1", { accept_any = true }):close()
    local udp = conn:udp("0.0.0.0:1", { accept_any = true })
    send { payload = "hello" }
    assert.equal("hello", (udp:recv(1)))
  end)

  it("refuses what is no address or option", function(_, b)
    local conn = b:conn { mac = B }
    assert.error_matches(function() conn:udp("10.0.0.256:1") end, 'bad address "10.0.0.256:1"')
    assert.error_matches(function() conn:udp("10.0.0.2:65536") end, "port 0 to 65535")
    assert.error_matches(function() conn:udp("10.0.0.2:1", { ttl = 256 }) end, "bad ttl 256: 0 to 255")
    assert.error_matches(function() conn:udp("10.0.0.2:1", { resolve = "dns" }) end, "bad resolve dns")
    assert.equal("RUDPConn 10.0.0.2:1", tostring(conn:udp("10.0.0.2:1")))
  end)
end)

-- ---- what is sent ---------------------------------------------------------------------------------------------------

-- Sends the payload from a new RUDPConn on `a`, returns the layers of the frame that `b` receives.
local function sent(a, b, from, to, payload, opts, send_opts)
  local rest = b:default_conn()
  a:conn({ mac = A }):udp(from, opts):send(payload, to, send_opts)
  local layers = layers_of(rest)
  rest:close()
  return layers
end

kinds.each("a datagram that is sent", function(it)
  it("has the header fields of its RUDPConn, and right checksums, over IPv4", function(a, b)
    local rest = b:default_conn()
    a:conn({ mac = A }):udp("10.0.0.1:1000", { ttl = 3, tos = 0xb8 }):send("hello", "10.0.0.2:2000")
    local frame = frames.whole(rest)
    local ip = proto.ipv4.parse(proto.ethernet.parse(frame).payload)
    assert.is_true(proto.ipv4.checksum_ok(frame:sub(15)))
    assert.is_true(proto.udp.checksum_ok(ip.payload, ip))
    assert.same({ 5, 0xb8, 33, false, false, 0, 3, 17, "10.0.0.1", "10.0.0.2", {} }, { ip.ihl, ip.tos, ip.total_length,
      ip.df, ip.mf, ip.fragment_offset, ip.ttl, ip.protocol, ip.src, ip.dst, ip.options })
    local udp = proto.udp.parse(ip.payload)
    assert.same({ 1000, 2000, "hello" }, { udp.src_port, udp.dst_port, udp.payload })
    assert.not_equal(0, udp.checksum)
  end)

  it("has the header fields of its RUDPConn, and a right checksum, over IPv6", function(a, b)
    local rest = b:default_conn()
    a:conn({ mac = A }):udp("[2001:db8::1]:546", { ttl = 3, tos = 0xb8 }):send("hello", "[2001:db8::2]:547")
    local ip = proto.ipv6.parse(frames.whole(rest):sub(15))
    assert.is_true(proto.udp.checksum_ok(ip.payload, ip))
    assert.same({ 0xb8, 0, 13, 3, 17, "2001:db8::1", "2001:db8::2" }, { ip.traffic_class, ip.flow_label,
      ip.payload_length, ip.hop_limit, ip.protocol, ip.src, ip.dst })
  end)

  for from, to in pairs { ["10.0.0.1:1000"] = "10.0.0.2:2000", ["[::1]:1000"] = "[::2]:2000" } do
    it("has a checksum of 0xffff where the sum is 0, from " .. from, function(a, b)
      local rest, udp = b:default_conn(), a:conn({ mac = A }):udp(from)
      udp:send("\0\0", to)
      local checksum = layers_of(rest).udp.checksum
      -- Two bytes that are what the checksum is without them bring it to 0.
      udp:send(bytes.put16("checksum", checksum), to)
      assert.equal(0xffff, layers_of(rest).udp.checksum)
    end)
  end

  it("has no checksum over IPv4 with checksum = false", function(a, b)
    assert.equal(0, sent(a, b, "10.0.0.1:1000", "10.0.0.2:2000", "hello", { checksum = false }).udp.checksum)
  end)

  it("has a checksum over IPv6 even with checksum = false, since IPv6 demands one", function(a, b)
    local layers = sent(a, b, "[::1]:1000", "[::2]:2000", "hello", { checksum = false })
    assert.not_equal(0, layers.udp.checksum)
  end)

  it("has another IPv4 identification than the one before", function(a, b)
    local rest, udp = b:default_conn(), a:conn({ mac = A }):udp("10.0.0.1:1000")
    udp:send("x", "10.0.0.2:2000")
    udp:send("x", "10.0.0.2:2000")
    assert.not_equal(layers_of(rest).ipv4.identification, layers_of(rest).ipv4.identification)
  end)

  local MACS = {
    ["10.0.0.2:1"] = frames.BROADCAST, ["255.255.255.255:1"] = frames.BROADCAST, ["[2001:db8::2]:1"] = frames.BROADCAST,
    ["224.0.0.251:1"] = "01:00:5e:00:00:fb", ["239.255.129.2:1"] = "01:00:5e:7f:81:02",
    ["[ff02::1:2]:547"] = "33:33:00:01:00:02", ["[ff0e::abcd:ef01:2345]:1"] = "33:33:ef:01:23:45",
  }
  for to, mac in pairs(MACS) do
    it("goes to " .. mac .. " when it is for " .. to, function(a, b)
      local from = to:find("%[") and "[fe80::1]:9" or "10.0.0.1:9"
      assert.equal(mac, sent(a, b, from, to, "x").ethernet.dst)
    end)
  end

  it("goes to the MAC that send is given, whatever the resolver", function(a, b)
    local opts = { resolve = function() error("not asked") end }
    assert.equal(B, sent(a, b, "10.0.0.1:9", "10.0.0.2:9", "x", opts, { mac = B }).ethernet.dst)
  end)

  it("comes from the address that send is given", function(a, b)
    local layers = sent(a, b, "0.0.0.0:68", "10.0.0.2:9", "x", nil, { from = "10.7.7.7:77" })
    assert.same({ "10.7.7.7", 77 }, { layers.ipv4.src, layers.udp.src_port })
  end)

  it("cannot go to an address of the other IP version", function(a)
    local udp = a:conn({ mac = A }):udp("10.0.0.1:9")
    assert.error_matches(function() udp:send("x", "[::2]:9") end, "%[::2%]:9.*address family mismatch")
    assert.error_matches(function() udp:send("x", "10.0.0.2:9", { from = "[::2]:9" }) end, "family mismatch")
  end)
end)
