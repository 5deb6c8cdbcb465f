-- An emulated host on the wire: what it answers, what it does not, where it sends. That kernels agree is shown in
-- host_kernel_spec.lua.

local alone = require "support.alone"
local ether = require "etherlua"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local p = require "etherlua.proto.packet"
local prefix = require "etherlua.net.prefix"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"
local told = require "support.told"
local segment = require "etherlua.host.segment"
local settle = require("support.wait").settle

local MAC, MAC2, PEER = "02:00:00:00:00:05", "02:00:00:00:00:06", "02:00:00:00:00:fe"
local BROADCAST = "ff:ff:ff:ff:ff:ff"
local IP, NEAR, GATEWAY, AWAY, LEN = "10.0.0.5", "10.0.0.9", "10.0.0.1", "192.0.2.1", "/24"
local IP6, NEAR6, AWAY6 = "2001:db8::5", "2001:db8::9", "2001:db8:1::1"
local GROUP6, GROUP6_MAC = "ff02::1:ff00:5", "33:33:ff:00:00:05"

-- ---- the other end of a wire ----------------------------------------------------------------------------------------

local Far = {}
Far.__index = Far

-- Everything that was heard so far, dissected: layers by name.
local function listen(far)
  while true do
    local frame = far.conn:recv_frame()
    if not frame then return end
    local layers = { bytes = tostring(frame) }
    for _, layer in ipairs(proto.dissect(layers.bytes)) do layers[layer.name] = layers[layer.name] or layer.fields end
    table.insert(far.frames, layers)
    if far.answer then far.answer(layers) end
  end
end

-- Sends a packet of layers behind an Ethernet header to the host, and returns what came back, at most one frame.
function Far:ask(packet, dst, vlans)
  local before, bytes = #self.frames, packet:build()
  local name = packet[1].name
  self.conn:send(bytes, dst or MAC, { src_mac = PEER, vlans = vlans,
    ethertype = name == "arp" and 0x0806 or name == "ipv4" and 0x0800 or 0x86dd })
  settle()
  assert.is_true(#self.frames <= before + 1)
  return self.frames[before + 1]
end

-- Answers ARP and neighbour solicitations for these addresses: IP -> MAC.
function Far:answer_for(hosts)
  self.answer = function(layers)
    local arp, nd = layers.arp, layers.icmp6
    if arp and arp.op == 1 and hosts[arp.tpa] then
      self.conn:send(proto.arp.build { op = 2, sha = hosts[arp.tpa], spa = arp.tpa, tha = arp.sha, tpa = arp.spa },
        arp.sha, { ethertype = 0x0806, src_mac = hosts[arp.tpa], vlans = layers.ethernet.vlans })
    elseif nd and nd.type == 135 and hosts[nd.target] then
      local reply = p.ip6 { src = nd.target, dst = layers.ipv6.src, hop_limit = 255 } / p.icmp6 { type = 136,
        solicited = true, override = true, target = nd.target, target_link_layer_address = hosts[nd.target] }
      self.conn:send(reply:build(), layers.ethernet.src, { src_mac = hosts[nd.target] })
    end
  end
end

local function on_wire(fn)
  return function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local far = setmetatable({ conn = other:default_conn(), frames = {}, relay = other }, Far)
      sched.spawn_background(listen, far)
      fn(relay, far)
    end)
  end
end

local function host4(relay, more)
  local given = { mac = MAC, ip = IP .. LEN, gateway = GATEWAY }
  for name, value in pairs(more or {}) do given[name] = value end
  return relay:host(given)
end

-- With its addresses usable at once, and the reports of groups that it joined out of the way.
local function host6(relay, far, more)
  local given = { mac = MAC, ip6 = IP6 .. "/64", dad = false }
  for name, value in pairs(more or {}) do given[name] = value end
  local host = relay:host(given)
  assert(host:ready(1))
  settle()
  far.frames = {}
  return host
end

local function arp_request(fields)
  local all = { sha = PEER, spa = NEAR, tpa = IP }
  for name, value in pairs(fields or {}) do all[name] = value end
  return p.arp(all)
end

local function echo4(fields, data)
  local all = { src = NEAR, dst = IP, identification = 7 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return p.ip4(all) / p.icmp { type = 8, identifier = 77, sequence = 3 } / (data or "what came")
end

local function echo6(fields, data)
  local all = { src = NEAR6, dst = IP6 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return p.ip6(all) / p.icmp6 { type = 128, identifier = 77, sequence = 3 } / (data or "what came")
end

local function solicitation(fields, message)
  local all = { src = NEAR6, dst = GROUP6, hop_limit = 255 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return p.ip6(all) / p.icmp6(message or { type = 135, target = IP6, source_link_layer_address = PEER })
end

describe("an emulated host", function()
  after_each(leaks.check)

  -- ---- ARP --------------------------------------------------------------------------------------------------------

  for what, case in pairs {
    ["a broadcast request"] = { {}, BROADCAST },
    ["a unicast request"] = { {}, MAC },
    ["a probe"] = { { spa = "0.0.0.0" }, BROADCAST },
    ["a request from another network"] = { { spa = AWAY }, BROADCAST },
  } do
    it("answers " .. what, on_wire(function(relay, far)
      host4(relay)
      local answer = assert(far:ask(arp_request(case[1]), case[2]))
      assert.same({ 2, MAC, IP, PEER, case[1].spa or NEAR }, { answer.arp.op, answer.arp.sha, answer.arp.spa,
        answer.arp.tha, answer.arp.tpa })
      assert.same({ MAC, PEER }, { answer.ethernet.src, answer.ethernet.dst })
    end))
  end

  for what, packet in pairs {
    ["a request for another address"] = arp_request { tpa = NEAR },
    ["a reply"] = arp_request { op = 2 },
    ["a request of another hardware"] = arp_request { hrd = 6 },
    ["a request of another protocol"] = p.arp { pro = 0x86dd, sha = PEER, spa = "\10\0\0\9", tpa = "\10\0\0\5" },
    ["an operation of 257, whose low octet is a request's"] = arp_request { op = 257 },
    ["a request from a group address"] = arp_request { sha = "03:00:00:00:00:01" },
    ["its own request that came back"] = arp_request { sha = MAC },
  } do
    it("does not answer " .. what, on_wire(function(relay, far)
      host4(relay)
      assert.is_nil(far:ask(packet, BROADCAST))
    end))
  end

  it("answers on its own VLAN stack alone, with its own tags", on_wire(function(relay, far)
    host4(relay, { vlans = { { vid = 100, pcp = 5 }, 200 } })
    for _, vlans in ipairs { "", "100", "200.100", "100.201" } do
      assert.is_nil(far:ask(arp_request(), BROADCAST, vlans))
    end
    local answer = assert(far:ask(arp_request(), BROADCAST, "100.200"))
    assert.same({ 100, 5, 200 }, { answer.ethernet.vlans[1].vid, answer.ethernet.vlans[1].pcp,
      answer.ethernet.vlans[2].vid })
  end))

  it("of ten thousand alone answers for its address", on_wire(function(relay, far)
    for i = 0, 9999 do
      relay:host { mac = ether.mac_add("02:00:00:01:00:00", i), ip = prefix.ip_add("10.1.0.1", i) .. "/8" }
    end
    for _, i in ipairs { 0, 1, 4095, 4096, 9999 } do
      local answer = assert(far:ask(arp_request { tpa = prefix.ip_add("10.1.0.1", i) }, BROADCAST))
      assert.equal(ether.mac_add("02:00:00:01:00:00", i), answer.arp.sha)
    end
    assert.is_nil(far:ask(arp_request { tpa = prefix.ip_add("10.1.0.1", 10000) }, BROADCAST))
    assert.equal(0, relay:stats().rx_copies)
  end))

  -- ---- ping -------------------------------------------------------------------------------------------------------

  it("answers ping with what came, and a checksum that is right", on_wire(function(relay, far)
    host4(relay)
    for _, data in ipairs { "", "x", "what came", ("long"):rep(350) } do
      local answer = assert(far:ask(echo4({ tos = 0xb8, ttl = 1 }, data)))
      assert.same({ IP, NEAR, 64, 0xb8, 7 }, { answer.ipv4.src, answer.ipv4.dst, answer.ipv4.ttl, answer.ipv4.tos,
        answer.ipv4.identification })
      assert.same({ 0, 0, 77, 3, data }, { answer.icmp.type, answer.icmp.code, answer.icmp.identifier,
        answer.icmp.sequence, answer.icmp.payload })
      assert.is_true(proto.icmp.checksum_ok(answer.ipv4.payload))
      assert.is_true(proto.ipv4.checksum_ok(answer.bytes:sub(15)))
    end
  end))

  it("answers ping of every checksum, the two zeros of RFC 1624 included", on_wire(function(relay, far)
    host4(relay)
    for word = 0xf000, 0xffff, 0x55 do
      local data = string.char(math.floor(word / 256), word % 256)
      local answer = assert(far:ask(echo4({}, data)))
      assert.is_true(proto.icmp.checksum_ok(answer.ipv4.payload), ("%04x"):format(word))
    end
    for sum = 0, 3 do -- the request's checksum is 0x0000, 0xffff, ...
      local bare = echo4({}, "\0\0"):build()
      local needed = (proto.icmp.parse(bare:sub(21)).checksum - sum) % 0xffff
      local answer = assert(far:ask(echo4({}, string.char(math.floor(needed / 256), needed % 256))))
      assert.is_true(proto.icmp.checksum_ok(answer.ipv4.payload))
    end
  end))

  it("answers ping with IP options by one without", on_wire(function(relay, far)
    host4(relay)
    local answer = assert(far:ask(echo4 { options = { { type = 148, data = "\0\0" } } }))
    assert.same({ 5, "what came" }, { answer.ipv4.ihl, answer.icmp.payload })
  end))

  it("answers ping over IPv6", on_wire(function(relay, far)
    host6(relay, far)
    for _, data in ipairs { "", "x", ("long"):rep(300) } do
      local answer = assert(far:ask(echo6({ extension_headers = { { type = 60, options = {} } } }, data)))
      assert.same({ IP6, NEAR6, 129, 77, 3, data }, { answer.ipv6.src, answer.ipv6.dst, answer.icmp6.type,
        answer.icmp6.identifier, answer.icmp6.sequence, answer.icmp6.payload })
      assert.is_true(proto.icmp6.checksum_ok(answer.ipv6.payload, answer.ipv6))
    end
  end))

  for what, packet in pairs {
    ["a wrong checksum"] = p.ip4 { src = NEAR, dst = IP } / p.icmp { type = 8, checksum = 1 } / "x",
    ["another destination"] = echo4 { dst = NEAR },
    ["a code"] = p.ip4 { src = NEAR, dst = IP } / p.icmp { type = 8, code = 1 } / "x",
    ["less than a header"] = p.ip4 { src = NEAR, dst = IP, protocol = 1 } / "\8\0\247\255\0\0\0",
    ["more fragments to come"] = echo4 { mf = true },
  } do
    it("does not answer ping with " .. what, on_wire(function(relay, far)
      host4(relay)
      assert.is_nil(far:ask(packet))
    end))
  end

  for what, packet in pairs {
    ["a wrong checksum"] = p.ip6 { src = NEAR6, dst = IP6 } / p.icmp6 { type = 128, checksum = 1 } / "x",
    ["another destination"] = echo6 { dst = NEAR6 },
    ["less than a header"] = p.ip6 { src = NEAR6, dst = IP6, protocol = 58 } / "\128",
    ["nothing behind IPv6"] = p.ip6 { src = NEAR6, dst = IP6, protocol = 58 } / "",
  } do
    it("does not answer ping over IPv6 with " .. what, on_wire(function(relay, far)
      host6(relay, far)
      assert.is_nil(far:ask(packet))
    end))
  end

  -- ---- UDP --------------------------------------------------------------------------------------------------------

  it("says port unreachable for UDP that nobody takes, with the beginning of the packet", on_wire(function(relay, far)
    host4(relay)
    local packet = p.ip4 { src = NEAR, dst = IP } / p.udp { sport = 1, dport = 9 } / ("x"):rep(1000)
    local answer = assert(far:ask(packet))
    assert.same({ 3, 3, NEAR }, { answer.icmp.type, answer.icmp.code, answer.ipv4.dst })
    assert.equal(packet:build():sub(1, 548), answer.icmp.payload)
    assert.equal(576, answer.ipv4.total_length)
  end))

  it("says so over IPv6, too", on_wire(function(relay, far)
    host6(relay, far)
    local packet = p.ip6 { src = NEAR6, dst = IP6 } / p.udp { sport = 1, dport = 9 } / ("x"):rep(1400)
    local answer = assert(far:ask(packet))
    assert.same({ 1, 4, NEAR6 }, { answer.icmp6.type, answer.icmp6.code, answer.ipv6.dst })
    assert.equal(packet:build():sub(1, 1232), answer.icmp6.payload)
    assert.is_true(proto.icmp6.checksum_ok(answer.ipv6.payload, answer.ipv6))
  end))

  it("gives a datagram to the RUDPConn that claims it, and says nothing", on_wire(function(relay, far)
    local udp = host4(relay):udp(9)
    assert.is_nil(far:ask(p.ip4 { src = NEAR, dst = IP } / p.udp { sport = 1, dport = 9 } / "taken"))
    assert.equal("taken", (udp:recv(0)))
  end))

  for what, src in pairs { ["no address"] = "0.0.0.0", ["a group"] = "224.0.0.1", ["broadcast"] = "255.255.255.255",
    ["loopback"] = "127.0.0.1" } do
    it("does not complain to " .. what, on_wire(function(relay, far)
      host4(relay)
      assert.is_nil(far:ask(p.ip4 { src = src, dst = IP } / p.udp { sport = 1, dport = 9 } / "x"))
    end))
  end

  it("does not complain about what was sent to another address", on_wire(function(relay, far)
    host4(relay)
    assert.is_nil(far:ask(p.ip4 { src = NEAR, dst = NEAR } / p.udp { sport = 1, dport = 9 } / "x"))
  end))

  it("does not complain without end", on_wire(function(relay, far)
    local host = host4(relay)
    local datagram = (p.ip4 { src = NEAR, dst = IP } / p.udp { sport = 1, dport = 9 } / "x"):build()
    for i = 1, 1000 do
      far.conn:send(datagram, MAC, { src_mac = PEER })
      if i % 50 == 0 then ether.sleep(0) end
    end
    settle()
    local counters = host.segment.tap.counters
    assert.is_true(counters.unreachable >= 100 and counters.unreachable < 200, counters.unreachable)
    assert.equal(1000, counters.unreachable + counters.limited)
  end))

  it("leaves other protocols for who reads its EtherConn", on_wire(function(relay, far)
    local host = host4(relay)
    assert.is_nil(far:ask(p.ip4 { src = NEAR, dst = IP } / p.tcp { sport = 1, dport = 80, syn = true }))
    assert.matches("TCP", proto.describe(host.conn:recv(0), "ipv4"))
  end))

  -- ---- neighbour discovery ----------------------------------------------------------------------------------------

  for what, dst in pairs { ["by multicast"] = { GROUP6, GROUP6_MAC }, ["directly"] = { IP6, MAC } } do
    it("tells its MAC address when it is asked " .. what, on_wire(function(relay, far)
      host6(relay, far)
      local answer = assert(far:ask(solicitation { dst = dst[1] }, dst[2]))
      assert.same({ 136, IP6, MAC, true, true, false }, { answer.icmp6.type, answer.icmp6.target,
        answer.icmp6.target_link_layer_address, answer.icmp6.solicited, answer.icmp6.override, answer.icmp6.router })
      assert.same({ IP6, NEAR6, 255, PEER }, { answer.ipv6.src, answer.ipv6.dst, answer.ipv6.hop_limit,
        answer.ethernet.dst })
    end))
  end

  it("tells everybody when who asks has no address yet", on_wire(function(relay, far)
    host6(relay, far)
    local answer = assert(far:ask(solicitation({ src = "::" }, { type = 135, target = IP6 }), GROUP6_MAC))
    assert.same({ 136, false, "ff02::1", "33:33:00:00:00:01" }, { answer.icmp6.type, answer.icmp6.solicited,
      answer.ipv6.dst, answer.ethernet.dst })
  end))

  for what, packet in pairs {
    ["for another address"] = solicitation({}, { type = 135, target = NEAR6 }),
    ["that came through a router"] = solicitation { hop_limit = 254 },
    ["with a code"] = solicitation({}, { type = 135, code = 1, target = IP6 }),
    ["with a wrong checksum"] = solicitation({}, { type = 135, target = IP6, checksum = 1 }),
    ["with an option of no length"] = p.ip6 { src = NEAR6, dst = GROUP6, hop_limit = 255 }
      / p.icmp6 { type = 135, target = IP6, options = { { type = 9, data = "" } } } / "",
    ["that is cut off"] = p.ip6 { src = NEAR6, dst = GROUP6, hop_limit = 255, protocol = 58 } / "\135\0\0\0\0\0\0\0",
  } do
    it("does not answer a solicitation " .. what, on_wire(function(relay, far)
      host6(relay, far)
      local bytes = packet:build()
      if what:find "no length" then bytes = bytes:sub(1, 65) .. "\0" .. bytes:sub(67) end
      far.conn:send(bytes, GROUP6_MAC, { src_mac = PEER })
      settle()
      assert.same({}, far.frames)
    end))
  end

  it("joins the groups of its addresses, so that switches let their solicitations pass", on_wire(function(relay, far)
    assert(relay:host({ mac = MAC, ip6 = IP6 .. "/64", dad = false }):ready(1))
    settle()
    local groups = {}
    for _, layers in ipairs(far.frames) do
      assert.same({ "ff02::16", 1, 143 }, { layers.ipv6.dst, layers.ipv6.hop_limit, layers.icmp6.type })
      assert.is_true(layers.ipv6.src == "::" or layers.ipv6.src == "fe80::ff:fe00:5") -- RFC 3590
      assert.equal(5, layers.ipv6.extension_headers[1].options[1].type)
      groups[layers.bytes:sub(-2):byte(2)] = true
    end
    assert.same({ [5] = true }, groups) -- ff02::1:ff00:5 of both, as the low octets of the MAC address are the same
  end))

  -- ---- next hops --------------------------------------------------------------------------------------------------

  it("asks for a neighbour on the link, and for the gateway elsewhere", on_wire(function(relay, far)
    far:answer_for { [NEAR] = PEER, [GATEWAY] = MAC2 }
    local host = host4(relay)
    assert.equal(PEER, host:resolve(NEAR))
    assert.equal(MAC2, host:resolve(AWAY))
    assert.equal(MAC2, host:resolve "10.0.1.9")
    assert.same({ NEAR, GATEWAY }, { far.frames[1].arp.tpa, far.frames[2].arp.tpa })
    assert.equal(2, #far.frames)
  end))

  it("asks the gateway with a prefix of all bits, and nobody but the destination with one of none",
    on_wire(function(relay, far)
      far:answer_for { [GATEWAY] = MAC2, [AWAY] = PEER }
      assert.equal(MAC2, relay:host({ mac = MAC, ip = IP .. "/32", gateway = GATEWAY }):resolve(NEAR))
      assert.equal(PEER, relay:host({ mac = MAC2, ip = "10.0.0.6/0" }):resolve(AWAY))
    end))

  it("knows the broadcast address of its network, and groups, without asking", on_wire(function(relay, far)
    local host = host4(relay)
    assert.equal(BROADCAST, host:resolve "10.0.0.255")
    assert.equal(BROADCAST, host:resolve "255.255.255.255")
    assert.equal("01:00:5e:01:02:03", host:resolve "239.129.2.3")
    assert.equal(0, #far.frames)
    host = host6(relay, far, { mac = MAC2 })
    assert.equal("33:33:00:01:00:02", host:resolve "ff02::1:2")
    assert.equal(0, #far.frames)
  end))

  it("says when there is no route, or no address", on_wire(function(relay, far)
    local host = relay:host { mac = MAC, ip = IP .. LEN }
    assert.same({ nil, "no route to 192.0.2.1: it is not on the link, and there is no gateway" },
      { host:resolve(AWAY) })
    assert.same({ nil, "the host has no IPv6 address" }, { host:resolve(AWAY6) })
    assert.same({ nil, "the host has no IPv6 address" }, { host:source(AWAY6) })
    host = host6(relay, far, { mac = MAC2 })
    assert.same({ nil, "the host has no IPv4 address" }, { host:resolve(AWAY) })
    assert.same({ nil, "no route to 2001:db8:1::1: it is not on the link, and there is no gateway" },
      { host:resolve(AWAY6) })
    assert.equal(0, #far.frames)
  end))

  it("finds its neighbours and its gateway over IPv6", on_wire(function(relay, far)
    local host = host6(relay, far, { gateway6 = "fe80::1" })
    far:answer_for { [NEAR6] = PEER, ["fe80::1"] = MAC2 }
    assert.equal(PEER, host:resolve(NEAR6))
    assert.equal(MAC2, host:resolve(AWAY6))
    local first, second = far.frames[1], far.frames[2]
    assert.same({ IP6, "ff02::1:ff00:9", "33:33:ff:00:00:09", MAC }, { first.ipv6.src, first.ipv6.dst,
      first.ethernet.dst, first.icmp6.source_link_layer_address })
    assert.same({ "fe80::ff:fe00:5", "fe80::1" }, { second.ipv6.src, second.icmp6.target })
  end))

  it("sends datagrams through the next hop, from its own address", on_wire(function(relay, far)
    far:answer_for { [GATEWAY] = MAC2 }
    local udp = host4(relay):udp(5000)
    assert.is_true(udp:send("x", AWAY .. ":7"))
    settle()
    local datagram = far.frames[2]
    assert.same({ MAC2, IP, AWAY, 5000, 7 }, { datagram.ethernet.dst, datagram.ipv4.src, datagram.ipv4.dst,
      datagram.udp.src_port, datagram.udp.dst_port })
    assert.is_true(udp:send("x", "10.0.0.255:7"))
    settle()
    assert.equal(BROADCAST, far.frames[3].ethernet.dst)
  end))

  it("takes another address, and answers for that alone", on_wire(function(relay, far)
    local host = host4(relay)
    host:set_ip("10.0.9.7/16", "10.0.0.2")
    assert.is_nil(far:ask(arp_request(), BROADCAST))
    assert.is_truthy(far:ask(arp_request { tpa = "10.0.9.7" }, BROADCAST))
    host:set_ip()
    assert.is_nil(far:ask(arp_request { tpa = "10.0.9.7" }, BROADCAST))
    assert.same({ nil, "the host has no IPv4 address" }, { host:source(NEAR) })
  end))

  -- ---- neighbours that do not answer, lie, or are many ------------------------------------------------------------

  it("gives up on a gateway that never answers, at once for some time, and asks anew then", on_wire(function(relay, far)
    local udp = host4(relay):udp(5000)
    local function send()
      local before = ether.now()
      local sent, reason = udp:send("x", AWAY .. ":7")
      assert.same({ nil, "no answer from neighbour 10.0.0.1" }, { sent, reason })
      return ether.now() - before
    end
    assert.is_true(send() > 1.4)
    send()
    assert.equal(3, #far.frames) -- it did not ask again
    far:answer_for { [GATEWAY] = MAC2 }
    ether.sleep(1)
    assert.is_true(udp:send("x", AWAY .. ":7"))
  end))

  it("shares one request with all hosts and tasks that wait for the same neighbour", on_wire(function(relay, far)
    local tasks = {}
    for i = 1, 100 do
      local host = relay:host { mac = ether.mac_add(MAC2, i), ip = ("10.0.0.%d/24"):format(100 + i), gateway = GATEWAY }
      for k = 1, 10 do tasks[#tasks + 1] = ether.spawn(host.resolve, host, k % 2 == 0 and AWAY or GATEWAY) end
    end
    settle()
    far:answer_for { [GATEWAY] = PEER }
    for _, task in ipairs(tasks) do assert.equal(PEER, task:join(2)) end
    assert.equal(2, #far.frames)
  end))

  it("goes on for others when the host that asks is closed", on_wire(function(relay, far)
    local first, second = host4(relay), host4(relay, { mac = MAC2, ip = "10.0.0.6/24" })
    local one, other = ether.spawn(first.resolve, first, NEAR), ether.spawn(second.resolve, second, NEAR)
    settle()
    first:close()
    far:answer_for { [NEAR] = PEER }
    assert.equal(PEER, other:join(2))
    assert.same({ nil, "closed" }, { one:join(2) })
  end))

  it("believes an unasked advertisement about whom it knows, and only if that says so", on_wire(function(relay, far)
    local host = host6(relay, far)
    far:answer_for { [NEAR6] = PEER }
    host:resolve(NEAR6)
    local function advertise(override)
      far:ask(p.ip6 { src = NEAR6, dst = "ff02::1", hop_limit = 255 } / p.icmp6 { type = 136, target = NEAR6,
        override = override, target_link_layer_address = MAC2 }, "33:33:00:00:00:01")
    end
    advertise(false)
    assert.equal(PEER, host:resolve(NEAR6))
    advertise(true)
    assert.equal(MAC2, host:resolve(NEAR6))
  end))

  it("keeps nothing of floods of ARP and neighbour discovery from invented senders", on_wire(function(relay, far)
    host4(relay, { ip6 = IP6 .. "/64", dad = false })
    settle()
    local shared = segment.of(relay:conn { mac = MAC2 })
    for i = 1, 2000 do
      local spa = prefix.ip_add("10.1.0.0", i)
      far.conn:send(arp_request({ spa = spa, op = i % 2 + 1 }):build(), BROADCAST,
        { src_mac = PEER, ethertype = 0x0806 })
      far.conn:send(solicitation({ src = prefix.ip_add(NEAR6, i) }):build(), GROUP6_MAC, { src_mac = PEER })
      if i % 25 == 0 then ether.sleep(0) end
    end
    settle()
    assert.is_nil(next(shared.neighbours))
  end))

  it("remembers a bounded number of those who did not answer", on_wire(function(relay)
    local shared = segment.of(relay:conn { mac = MAC })
    for i = 1, segment.KNOWN_MAX + 10 do shared:answered(shared:expect(i)) end
    local kept = 0
    for _ in pairs(shared.neighbours) do kept = kept + 1 end
    assert.is_true(kept <= segment.KNOWN_MAX and kept > 0)
  end))

  it("refuses at once to ask for more neighbours than it may, and says how many that are", on_wire(function(relay)
    local host = relay:host { mac = MAC, ip = NEAR .. "/8" }
    local shared = host.segment
    for i = 1, segment.ASKED_MAX do shared:expect(i) end
    local known, started = shared.neighbours, ether.now()
    for i = 1, 10 do
      assert.same({ nil, "65536 neighbours are asked for already, no more may be at once" },
        { host:resolve("10.1.0." .. i) })
    end
    assert.is_true(ether.now() - started < 0.5) -- a question that is asked takes this long
    assert.equal(known, shared.neighbours) -- what is known was not gone through in vain
    shared:answered(known[7])
    assert.is_truthy(shared:expect(segment.ASKED_MAX + 1))
    assert.is_nil(shared:expect(segment.ASKED_MAX + 2))
  end))

  local function flood_for_garbage()
    local relay, other = ether.wire()
    local count, rounds = 100, 200
    for i = 0, count - 1 do
      relay:host { mac = ether.mac_add("02:00:00:01:00:00", i), ip = prefix.ip_add("10.1.0.1", i) .. "/8" }
    end
    local peer, requests = other:conn { mac = PEER, recv_depth = 16 }, {}
    for i = 0, count - 1 do
      local ip, mac = prefix.ip_add("10.1.0.1", i), ether.mac(ether.mac_add("02:00:00:01:00:00", i))
      requests[i] = { arp = arp_request({ tpa = ip }):build(), echo = echo4({ dst = ip }):build(), mac = mac }
    end
    local to_all, arp = ether.mac(BROADCAST), { ethertype = 0x0806 }
    local function flood()
      for _ = 1, rounds do
        for i = 0, count - 1 do
          peer:send(requests[i].arp, to_all, arp)
          peer:send(requests[i].echo, requests[i].mac)
        end
        ether.sleep(0)
      end
      settle()
    end
    flood()
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    flood()
    local each = (collectgarbage "count" - before) * 1024 / (2 * count * rounds)
    collectgarbage "restart"
    local counters = require("etherlua.host.tap").of(relay).counters
    assert.same({ 2 * count * rounds, 2 * count * rounds }, { counters.arp, counters.echo })
    assert.is_true(each < 10, ("%g bytes a request"):format(each))
  end

  alone.it("answers floods without garbage", function()
    kinds.run_apart(flood_for_garbage)
  end)

  -- ---- others with its address ------------------------------------------------------------------------------------

  it("reports who else has its address, once, and goes on answering", on_wire(function(relay, far)
    local host = host4(relay, { ip6 = IP6 .. "/64", dad = false })
    assert(host:ready(1))
    settle()
    assert.same({}, host:duplicates())
    for _ = 1, 3 do far:ask(arp_request { op = 2, sha = MAC2, spa = IP }, BROADCAST) end
    assert.same({ [IP] = MAC2 }, host:duplicates())
    far:ask(p.ip6 { src = IP6, dst = "ff02::1", hop_limit = 255 } / p.icmp6 { type = 136, target = IP6,
      override = true, target_link_layer_address = MAC2 }, "33:33:00:00:00:01")
    assert.same({ [IP] = MAC2, [IP6] = MAC2 }, host:duplicates())
    assert.equal(2, host.segment.tap.counters.conflicts)
    assert.is_truthy(far:ask(arp_request(), BROADCAST))
  end))

  it("refuses an address that another host of its relay and VLAN stack has", on_wire(function(relay)
    host4(relay)
    host4(relay, { vlans = 100 })
    assert.has_error(function() host4(relay, { mac = MAC2 }) end,
      "address 10.0.0.5 is in use by host 02:00:00:00:00:05 of this relay")
    relay:host { mac = MAC2, ip = "10.0.0.6/24" }
  end))

  it("does not wait for a host of its own relay, which cannot hear it", on_wire(function(relay, far)
    local host = host4(relay)
    host4(relay, { mac = MAC2, ip = "10.0.0.6/24" })
    assert.same({ nil, "10.0.0.6 is here on this relay itself: no frame would come back" }, { host:resolve "10.0.0.6" })
    assert.equal(0, #far.frames)
  end))

  -- ---- asking -----------------------------------------------------------------------------------------------------

  it("pings, and says how long it took or why there is no answer", function()
    kinds.run_apart(function()
      local a, b = ether.wire()
      local host = host4(a, { ip6 = IP6 .. "/64", dad = false })
      b:host { mac = PEER, ip = NEAR .. LEN, ip6 = NEAR6 .. "/64", dad = false }
      assert(host:ready(1))
      for _, to in ipairs { NEAR, NEAR6 } do
        local rtt, pong = host:ping(to, { size = 100 })
        assert.is_true(rtt >= 0 and rtt < 1)
        assert.same({ to, 64, 108 }, { pong.from, pong.ttl, pong.size })
      end
      assert.same({ nil, "no answer from neighbour 10.0.0.77" }, { host:ping "10.0.0.77" })
      assert.same({ nil, "no route to 2001:db8:1::1: it is not on the link, and there is no gateway" },
        { host:ping(AWAY6) })
    end)
  end)

  it("pings in vain whoever is silent, and hears who says that it is unreachable", on_wire(function(relay, far)
    far:answer_for { [NEAR] = PEER }
    local host = host4(relay)
    assert.same({ nil, "timeout" }, { host:ping(NEAR, { timeout = 0.05 }) })
    local answer = far.answer
    far.answer = function(layers)
      answer(layers)
      if not layers.icmp then return end
      local refusal = p.ip4 { src = GATEWAY, dst = IP } / p.icmp { type = 3, code = 1 } / layers.bytes:sub(15, 42)
      far.conn:send(refusal:build(), MAC, { src_mac = PEER })
    end
    assert.same({ nil, "10.0.0.1 says destination unreachable (host)" }, { host:ping(NEAR, { timeout = 1 }) })
  end))

  -- ---- opening and closing ----------------------------------------------------------------------------------------

  for given, message in pairs {
    [{ ip = "10.0.0/24" }] = 'bad IP address "10.0.0": such as 10.0.0.1 or 2001:db8::1 is needed',
    [{ ip = "10.0.0.5/33" }] = 'bad prefix "10.0.0.5/33": a length of 0 to 32 is allowed',
    [{ ip = IP6 }] = 'bad ip "2001:db8::5": an IPv4 address such as 10.0.0.5/24 is needed',
    [{ ip6 = "10.0.0.5/24" }] = 'bad ip6 "10.0.0.5/24": "auto", "link" or an address such as 2001:db8::5/64 is needed',
    [{ ip = IP .. LEN, gateway = IP6 }] = 'bad gateway "2001:db8::5": an IPv4 address is needed',
    [{ ip6 = "auto", gateway6 = IP }] = 'bad gateway "10.0.0.5": an IPv6 address is needed',
    [{ gateway = GATEWAY }] = "a gateway needs an IPv4 address, ip",
    [{ gatway = IP }] = 'unknown option "gatway" of relay:host, did you mean "gateway"? known are: dad, fragment, ' ..
      "gateway, gateway6, ip, ip6, mac, multicast, reassemble, recv_depth, vlans",
    [{ mac = "2" }] = 'bad MAC address "2": six pairs of hex digits are needed, such as 02:00:00:11:22:33',
  } do
    it("says: " .. message, on_wire(function(relay, far)
      told(function() relay:host(given) end, message)
      assert.is_nil(far:ask(arp_request(), BROADCAST))
      host4(relay) -- what was refused has left nothing
    end))
  end

  it("is silent after close, and its address is free", on_wire(function(relay, far)
    local host = host4(relay)
    local udp = host:udp(9)
    host:close()
    host:close()
    assert.is_nil(far:ask(arp_request(), BROADCAST))
    assert.is_nil(far:ask(echo4()))
    assert.has_error(function() udp:recv(0) end, "this endpoint is closed")
    host4(relay)
    assert.is_truthy(far:ask(arp_request(), BROADCAST))
  end))

  it("ends with its relay while it is flooded", on_wire(function(relay, far)
    local host = host4(relay, { ip6 = "auto" })
    local request, answered = echo4():build(), nil
    for i = 1, 200 do
      if i == 100 then
        settle()
        relay:close()
        answered = #far.frames
      end
      far.conn:send(request, MAC, { src_mac = PEER })
      if i % 20 == 0 then ether.sleep(0) end
    end
    settle()
    assert.is_true(answered >= 99, answered) -- neighbour discovery comes with these
    assert.equal(answered, #far.frames)
    assert.has_error(function() host.conn:recv(0) end, "this endpoint is closed")
  end))

  it("survives each good packet cut short anywhere and with any byte changed", on_wire(function(relay, far)
    host4(relay, { ip6 = "auto", dad = false })
    settle()
    local count = 0
    local function hurt(bytes)
      far.conn:send(bytes, count % 2 == 0 and MAC or GROUP6_MAC, { src_mac = PEER, ethertype = far.ethertype })
      count = count + 1
      if count % 50 == 0 then ether.sleep(0) end
    end
    for ethertype, packets in pairs { [0x0806] = { arp_request() }, [0x0800] = { echo4() },
      [0x86dd] = { solicitation(), echo6 {}, p.ip6 { src = "fe80::1", dst = "ff02::1", hop_limit = 255 }
        / p.icmp6 { type = 134, router_lifetime = 10, options = { { type = 3, prefix_length = 64, autonomous = true,
          on_link = true, valid_lifetime = 100, preferred_lifetime = 100, prefix = "2001:db8::" } } } } } do
      far.ethertype = ethertype
      for _, packet in ipairs(packets) do
        local bytes = packet:build()
        for i = 1, #bytes do
          hurt(bytes:sub(1, i))
          hurt(bytes:sub(1, i - 1) .. string.char((bytes:byte(i) + 1 + i) % 256) .. bytes:sub(i + 1))
        end
      end
    end
    settle()
    assert.is_truthy(far:ask(arp_request(), BROADCAST))
  end))
end)

it("the engine has no tap left when a relay is closed", function()
  kinds.run_apart(function()
    local a = ether.wire()
    a:host { mac = MAC, ip = IP .. LEN }
    assert.has_error(leaks.check)
    a:close()
  end)
  leaks.check() -- counts taps
end)
