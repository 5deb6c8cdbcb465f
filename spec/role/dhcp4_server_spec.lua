-- The emulated DHCP server's decisions, message by message, and the gateway that speaks for it on every VLAN stack.

local dhcp4_server = require "etherlua.role.dhcp4_server"
local ether = require "etherlua"
local gateway = require "etherlua.role.gateway"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"
local settle = require("support.wait").settle

local A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
local BROADCAST, ANY = "ff:ff:ff:ff:ff:ff", "0.0.0.0"

-- ---- decisions ------------------------------------------------------------------------------------------------------

-- What the server would read: built and parsed, as from the wire.
local function message(kind, mac, options, fields)
  local all = { xid = 7, chaddr = mac, options = { message_type = kind } }
  for name, value in pairs(options or {}) do all.options[name] = value end
  for name, value in pairs(fields or {}) do all[name] = value end
  return assert(proto.dhcp4.parse(proto.dhcp4.build(all)))
end

local function new(more)
  local opts = { pool = "10.0.0.10-10.0.0.12", lease_time = 1000 }
  for name, value in pairs(more or {}) do opts[name] = value end
  return dhcp4_server.new(opts)
end

-- "ACK 10.0.0.10", "NAK", or nil.
local function says(server, kind, mac, options, fields, vlans)
  local reply = server:answer(message(kind, mac, options, fields), vlans or "")
  if not reply then return nil end
  return reply.options.message_type .. (reply.yiaddr and " " .. reply.yiaddr or "")
end

-- A client that has an address already.
local function bound(server, mac, vlans)
  local ip = says(server, "DISCOVER", mac, nil, nil, vlans):match("OFFER (.*)")
  assert(says(server, "REQUEST", mac, { server_id = "10.0.0.1", requested_address = ip }, nil, vlans) == "ACK " .. ip)
  return ip
end

describe("the DHCP server", function()
  it("offers the terms that it was told", function()
    local server = new { router = "10.0.0.2", dns = { "10.0.0.53" }, mask = "255.255.255.0",
      options = { domain_name = "x.y" } }
    local reply = server:answer(message("DISCOVER", A, nil, { flags = 0x8000 }), "")
    assert.same({ op = 2, htype = 1, hlen = 6, xid = 7, flags = 0x8000, giaddr = ANY, chaddr = A, yiaddr = "10.0.0.10",
      options = { message_type = "OFFER", server_id = "10.0.0.1", lease_time = 1000, renewal_time = 500,
        rebinding_time = 875, subnet_mask = "255.255.255.0", routers = { "10.0.0.2" }, dns_servers = { "10.0.0.53" },
        domain_name = "x.y" } }, reply)
  end)

  it("offers a new client the next address, a known one its own, or the one that it asks for if free", function()
    local server = new()
    assert.equal("OFFER 10.0.0.10", says(server, "DISCOVER", A))
    assert.equal("OFFER 10.0.0.12", says(server, "DISCOVER", B, { requested_address = "10.0.0.12" }))
    assert.equal("OFFER 10.0.0.10", says(server, "DISCOVER", A, { requested_address = "10.0.0.11" }))
    assert.equal("OFFER 10.0.0.11", says(server, "DISCOVER", C, { requested_address = "10.0.0.12" }))
  end)

  it("offers another address when the one that is asked for is not in the pool", function()
    assert.equal("OFFER 10.0.0.10", says(new(), "DISCOVER", A, { requested_address = "10.0.0.99" }))
  end)

  it("never offers its own address", function()
    local server = new { pool = "10.0.0.1-10.0.0.2" }
    assert.equal("OFFER 10.0.0.2", says(server, "DISCOVER", A, { requested_address = "10.0.0.1" }))
    assert.is_nil(says(server, "DISCOVER", B))
  end)

  it("is silent when the pool is empty, and counts that", function()
    local server = new { pool = "10.0.0.10-10.0.0.10" }
    bound(server, A)
    assert.is_nil(says(server, "DISCOVER", B))
    assert.is_nil(says(server, "DISCOVER", C, { requested_address = "10.0.0.10" }))
    assert.same({ 2, 3, 1 }, { server.counters.exhausted, server.counters.discover, server.counters.offer })
  end)

  -- client's state; options and fields of the REQUEST; answer. A has 10.0.0.10, B nothing.
  for _, case in ipairs {
    { "selecting, of it", A, { server_id = "10.0.0.1", requested_address = "10.0.0.10" }, ANY, "ACK 10.0.0.10" },
    { "selecting, of it, for an address that it did not offer", A,
      { server_id = "10.0.0.1", requested_address = "10.0.0.11" }, ANY, "NAK" },
    { "selecting, of it, without an offer", B,
      { server_id = "10.0.0.1", requested_address = "10.0.0.11" }, ANY, "NAK" },
    { "selecting, of another server", A, { server_id = "10.0.0.9", requested_address = "10.0.0.10" }, ANY, nil },
    { "rebooting, with its address", A, { requested_address = "10.0.0.10" }, ANY, "ACK 10.0.0.10" },
    { "rebooting, with another address", A, { requested_address = "10.0.0.11" }, ANY, "NAK" },
    { "rebooting, unknown", B, { requested_address = "10.0.0.11" }, ANY, nil },
    { "rebooting, with an address of another network", B, { requested_address = "192.168.0.1" }, ANY, "NAK" },
    { "renewing", A, {}, "10.0.0.10", "ACK 10.0.0.10" },
    { "renewing another's address", B, {}, "10.0.0.10", "NAK" },
    { "renewing, unknown", B, {}, "10.0.0.11", "NAK" },
  } do
    local state, mac, options, ciaddr, expected = unpack(case, 1, 5)
    it(("answers a REQUEST of a client that is %s with %s"):format(state, expected or "silence"), function()
      local server = new()
      bound(server, A)
      assert.equal(expected, says(server, "REQUEST", mac, options, { ciaddr = ciaddr }))
    end)
  end

  it("gives an offered address to others when the client takes another server's", function()
    local server = new { pool = "10.0.0.10-10.0.0.10" }
    says(server, "DISCOVER", A)
    says(server, "REQUEST", A, { server_id = "10.0.0.9", requested_address = "10.9.9.9" })
    assert.equal("OFFER 10.0.0.10", says(server, "DISCOVER", B))
  end)

  it("gives a released address to others", function()
    local server = new { pool = "10.0.0.10-10.0.0.10" }
    bound(server, A)
    assert.is_nil(says(server, "RELEASE", A, { server_id = "10.0.0.1" }, { ciaddr = "10.0.0.10" }))
    assert.equal(0, server:bound())
    assert.equal("10.0.0.10", bound(server, B))
  end)

  it("gives addresses that were never used first, then those that came back, the oldest first", function()
    local server, offers = new(), {}
    for _, mac in ipairs { A, B } do bound(server, mac) end
    says(server, "RELEASE", B, nil, { ciaddr = "10.0.0.11" })
    says(server, "RELEASE", A, nil, { ciaddr = "10.0.0.10" })
    for i = 1, 3 do offers[i] = says(server, "DISCOVER", "02:00:00:00:01:0" .. i) end
    assert.same({ "OFFER 10.0.0.12", "OFFER 10.0.0.11", "OFFER 10.0.0.10" }, offers)
  end)

  it("takes no release of an address that is not the client's", function()
    local server = new()
    bound(server, A)
    bound(server, B)
    says(server, "RELEASE", B, nil, { ciaddr = "10.0.0.10" })
    says(server, "RELEASE", C, nil, { ciaddr = "10.0.0.10" })
    assert.equal(2, server:bound())
  end)

  it("keeps a declined address from all, for the time of a lease", function()
    kinds.run_apart(function()
      local server = new { pool = "10.0.0.10-10.0.0.10", lease_time = 0.1 }
      bound(server, A)
      says(server, "DECLINE", A, { requested_address = "10.0.0.10" })
      assert.is_nil(says(server, "DISCOVER", A))
      assert.is_nil(says(server, "DISCOVER", B, { requested_address = "10.0.0.10" }))
      ether.sleep(0.11)
      assert.equal("OFFER 10.0.0.10", says(server, "DISCOVER", B))
    end)
  end)

  it("gives the address to another client when the lease is over, not before, and renewals count", function()
    kinds.run_apart(function()
      local server = new { pool = "10.0.0.10-10.0.0.10", lease_time = 1 }
      bound(server, A)
      ether.sleep(0.6)
      assert.equal("ACK 10.0.0.10", says(server, "REQUEST", A, nil, { ciaddr = "10.0.0.10" }))
      ether.sleep(0.6)
      assert.is_nil(says(server, "DISCOVER", B))
      assert.equal(1, server:bound())
      ether.sleep(0.6)
      assert.equal(0, server:bound())
      assert.equal("NAK", says(server, "REQUEST", A, nil, { ciaddr = "10.0.0.10" }))
      assert.equal("10.0.0.10", bound(server, B))
    end)
  end)

  it("tells a client that has an address of its own everything but an address and its times", function()
    local reply = new():answer(message("INFORM", A, nil, { ciaddr = "10.0.0.200" }), "")
    assert.same({ "ACK", "10.0.0.200", "255.0.0.0" }, { reply.options.message_type, reply.ciaddr,
      reply.options.subnet_mask })
    assert.same({}, { reply.yiaddr, reply.options.lease_time, reply.options.renewal_time })
  end)

  it("answers a client that does not say its address where it sends from, and nowhere when it has none", function()
    local server, inform = new(), message("INFORM", A)
    local reply = server:answer(inform, "", "10.0.0.201")
    assert.equal("ACK", reply.options.message_type)
    assert.same({ "10.0.0.201", 68 }, { dhcp4_server.destination(inform, reply, "10.0.0.201") })
    assert.is_nil(server:answer(inform, "", "0.0.0.0"))
    assert.is_nil(server:answer(inform, ""))
    assert.same({ 1, 2 }, { server.counters.ack, server.counters.ignored })
  end)

  it("returns the client identifier and the relay agent's option, in refusals too", function()
    local relay_agent = message("DISCOVER", A, { [82] = "\1\6port 7" }).options.relay_agent
    local options = { client_id = "\0abc", relay_agent = relay_agent }
    local server = new()
    local offer = server:answer(message("DISCOVER", A, options), "")
    local nak = server:answer(message("REQUEST", B, { client_id = "\0xyz", relay_agent = relay_agent,
      requested_address = "192.168.0.1" }), "")
    assert.same({ "OFFER", "\0abc", relay_agent }, { offer.options.message_type, offer.options.client_id,
      offer.options.relay_agent })
    assert.same({ "NAK", "\0xyz", relay_agent }, { nak.options.message_type, nak.options.client_id,
      nak.options.relay_agent })
  end)

  it("knows a client by its identifier, whatever its MAC address", function()
    local server = new()
    assert.equal("OFFER 10.0.0.10", says(server, "DISCOVER", A, { client_id = "one" }))
    assert.equal("OFFER 10.0.0.10", says(server, "DISCOVER", B, { client_id = "one" }))
    assert.equal("OFFER 10.0.0.11", says(server, "DISCOVER", A, { client_id = "two" }))
    assert.equal("OFFER 10.0.0.12", says(server, "DISCOVER", A))
  end)

  it("takes the same client on another VLAN stack for another", function()
    local server = new()
    assert.equal("10.0.0.10", bound(server, A, "8100:100"))
    assert.equal("10.0.0.11", bound(server, A, "8100:200"))
    says(server, "RELEASE", A, nil, { ciaddr = "10.0.0.10" }, "8100:200")
    assert.equal(2, server:bound())
  end)

  it("counts what it does not answer: replies, other hardware, other kinds of message", function()
    local server = new()
    for _, fields in ipairs { { op = 2 }, { htype = 6 }, { hlen = 5, chaddr = "abcde" }, { hlen = 16,
      chaddr = ("x"):rep(16) } } do
      assert.is_nil(server:answer(message("DISCOVER", A, nil, fields), ""))
    end
    assert.is_nil(server:answer(message("OFFER", A), ""))
    assert.equal(5, server.counters.ignored)
  end)

  it("refuses a pool that is none", function()
    local function words(opts) return misuse.words(select(2, pcall(new, opts))) end
    assert.matches('^bad pool "10.0.0.10": FIRST%-LAST such as ', words { pool = "10.0.0.10" })
    assert.matches('^bad pool "10.0.0.9%-10.0.0.8": the first address is behind the last$',
      words { pool = "10.0.0.9-10.0.0.8" })
    assert.matches('^bad IP address "10.0.0.999"', words { pool = "10.0.0.9-10.0.0.999" })
    assert.matches('^bad IP address "x"', words { server = "x" })
    assert.matches("^unknown option \"lease\" of a DHCP server, did you mean \"lease_time\"%?", words { lease = 5 })
  end)

  -- RFC 2131 4.1: message's fields, kind of the reply; IP address, port, MAC address (nil: where it came from)
  for what, case in pairs {
    ["a relay agent"] = { { giaddr = "10.5.5.5" }, "OFFER", "10.5.5.5", 67, nil },
    ["a relay agent, a NAK"] = { { giaddr = "10.5.5.5" }, "NAK", "10.5.5.5", 67, nil },
    ["everybody, a NAK"] = { { ciaddr = "10.0.0.10" }, "NAK", "255.255.255.255", 68, BROADCAST },
    ["a client that has an address"] = { { ciaddr = "10.0.0.10", broadcast = true }, "ACK", "10.0.0.10", 68, nil },
    ["a client that asks for broadcasts"] = { { broadcast = true }, "OFFER", "255.255.255.255", 68, BROADCAST },
    ["any other client"] = { {}, "OFFER", "10.0.0.11", 68, A },
  } do
    it("sends to " .. what .. " as RFC 2131 4.1 says", function()
      local ip, port, mac = dhcp4_server.destination(message("DISCOVER", A, nil, case[1]), { yiaddr = "10.0.0.11",
        options = { message_type = case[2] } })
      assert.same({ case[3], case[4], case[5] }, { ip, port, mac })
    end)
  end

  it("has a relay agent broadcast its NAK", function()
    local reply = new():answer(message("REQUEST", A, { requested_address = "192.168.0.1" },
      { giaddr = "10.5.5.5" }), "")
    assert.same({ "NAK", true }, { reply.options.message_type, reply.broadcast })
  end)
end)

-- ---- the gateway ----------------------------------------------------------------------------------------------------

local IP = "10.0.0.1"

-- fn(gateway, ask) as a task; ask(payload, fields) sends a frame from A, by default to everybody, and returns the frame
-- that comes back, decoded by layers, or nil.
local function with_gateway(fn, given)
  return function()
    kinds.run_apart(function()
      local near, far = ether.wire(given)
      local gw = gateway.new(far, { pool = "10.0.0.10-10.0.0.250" })
      sched.spawn_background(function() gw:serve() end)
      local conn = near:default_conn()
      gw.ask_conn, gw.near = conn, near
      fn(gw, function(payload, fields)
        fields = fields or {}
        conn:send(payload, fields.to or BROADCAST, { src_mac = fields.from or A, vlans = fields.vlans,
          ethertype = fields.ethertype })
        local frame = conn:recv_frame(0.02)
        if not frame then return nil end
        local layers = {}
        for _, layer in ipairs(proto.dissect(tostring(frame))) do layers[layer.name] = layer.fields end
        return layers
      end)
    end)
  end
end

local function arp(fields)
  local all = { sha = A, spa = "10.0.0.10", tpa = IP }
  for name, value in pairs(fields or {}) do all[name] = value end
  return proto.arp.build(all)
end

local function ping(fields, size)
  local all = { src = "10.0.0.10", dst = IP, protocol = 1,
    payload = proto.icmp.build { type = 8, identifier = 5, sequence = 6, payload = ("p"):rep(size or 20) } }
  for name, value in pairs(fields or {}) do all[name] = value end
  return proto.ipv4.build(all)
end

local function dhcp(fields)
  local ends = { src = ANY, dst = "255.255.255.255" }
  return proto.ipv4.build { src = ends.src, dst = ends.dst, protocol = 17, payload = proto.udp.build({ src_port = 68,
    dst_port = 67, payload = type(fields) == "string" and fields or proto.dhcp4.build(fields) }, ends) }
end

local DISCOVER = { xid = 9, chaddr = A, options = { message_type = "DISCOVER" } }

describe("the gateway", function()
  after_each(leaks.check)

  it("answers ARP for its address, and for no other", with_gateway(function(gw, ask)
    local reply = ask(arp(), { ethertype = 0x0806 })
    assert.same({ 2, gw.mac, IP, A, "10.0.0.10" }, { reply.arp.op, reply.arp.sha, reply.arp.spa, reply.arp.tha,
      reply.arp.tpa })
    assert.same({ gw.mac, A }, { reply.ethernet.src, reply.ethernet.dst })
    assert.is_nil(ask(arp { tpa = "10.0.0.2" }, { ethertype = 0x0806 }))
    assert.is_nil(ask(arp { op = 2 }, { ethertype = 0x0806 }))
    assert.equal(1, gw.counters.arp)
  end))

  it("answers ping to its address, and to no other", with_gateway(function(gw, ask)
    local reply = ask(ping(), { to = gw.mac })
    assert.same({ 0, 5, 6, ("p"):rep(20) }, { reply.icmp.type, reply.icmp.identifier, reply.icmp.sequence,
      reply.icmp.payload })
    assert.same({ IP, "10.0.0.10", A }, { reply.ipv4.src, reply.ipv4.dst, reply.ethernet.dst })
    assert.is_nil(ask(ping { dst = "10.0.0.2" }, { to = gw.mac }))
    assert.equal(1, gw.counters.ping)
  end))

  it("answers UDP echo to its address, but not another echo service's", with_gateway(function(gw, ask)
    local function echo(port)
      local ends = { src = "10.0.0.10", dst = IP }
      return proto.ipv4.build { src = ends.src, dst = ends.dst, protocol = 17, payload = proto.udp.build({
        src_port = port, dst_port = 7, payload = "hello" }, ends) }
    end
    local reply = ask(echo(5000), { vlans = "100.200" })
    assert.same({ "hello", 7, 5000 }, { reply.udp.payload, reply.udp.src_port, reply.udp.dst_port })
    assert.same({ IP, "10.0.0.10", A }, { reply.ipv4.src, reply.ipv4.dst, reply.ethernet.dst })
    assert.is_nil(ask(echo(7)))
    assert.equal(1, gw.counters.echo)
  end))

  it("answers with the tags that it was asked with, priorities included", with_gateway(function(gw, ask)
    local stacks = { {}, { { vid = 100, tpid = 0x8100, pcp = 0, dei = false } },
      { { vid = 100, tpid = 0x88a8, pcp = 5, dei = true }, { vid = 200, tpid = 0x8100, pcp = 3, dei = false } } }
    for _, vlans in ipairs(stacks) do
      for _, reply in ipairs { ask(arp(), { vlans = vlans, ethertype = 0x0806 }),
        ask(ping(), { to = gw.mac, vlans = vlans }), ask(dhcp(DISCOVER), { vlans = vlans }) } do
        assert.same(vlans, reply.ethernet.vlans)
      end
    end
    assert.same({ 3, 3, 3 }, { gw.counters.arp, gw.counters.ping, gw.server.counters.offer })
  end))

  it("offers from its address and port to the client's MAC address, or to all", with_gateway(function(gw, ask)
    local reply = ask(dhcp(DISCOVER))
    assert.same({ gw.mac, A, IP, "10.0.0.10", 67, 68 }, { reply.ethernet.src, reply.ethernet.dst, reply.ipv4.src,
      reply.ipv4.dst, reply.udp.src_port, reply.udp.dst_port })
    reply = ask(dhcp { xid = 9, chaddr = B, broadcast = true, options = { message_type = "DISCOVER" } })
    assert.same({ BROADCAST, "255.255.255.255" }, { reply.ethernet.dst, reply.ipv4.dst })
  end))

  it("ignores frames to other MAC addresses", with_gateway(function(gw, ask)
    for _, to in ipairs { B, "01:00:5e:00:00:01" } do
      assert.is_nil(ask(arp(), { to = to, ethertype = 0x0806 }))
      assert.is_nil(ask(ping(), { to = to }))
      assert.is_nil(ask(dhcp(DISCOVER), { to = to }))
    end
    assert.same({ 0, 0, 0 }, { gw.counters.arp, gw.counters.ping, gw.server.counters.discover })
  end))

  it("waits for all fragments of a packet", with_gateway(function(gw, ask)
    assert.is_nil(ask(ping { mf = true }, { to = gw.mac }))
    assert.is_nil(ask(ping { fragment_offset = 1 }, { to = gw.mac }))
  end))

  -- Sends the ping in fragments; returns the answer, put together.
  local function ask_in_fragments(gw, size, vlans)
    local mac = "02:00:00:00:00:99"
    local conn = gw.near:conn { mac = mac, vlans = vlans, fragment = true, reassemble = true }
    conn:send(ping({}, size), gw.mac)
    local frame, packet = conn:recv_frame(0.1), nil
    if frame then packet = proto.ipv4.parse(frame.body) end
    conn:close()
    return packet
  end

  it("answers a ping that fits no frame in fragments", with_gateway(function(gw)
    for _, vlans in ipairs { "", "100.200" } do
      for _, size in ipairs { 1472, 3000, 65507 } do
        local packet = assert(ask_in_fragments(gw, size, vlans))
        assert.same({ IP, "10.0.0.10", size + 8 }, { packet.src, packet.dst, #packet.payload })
      end
    end
    assert.equal(6, gw.counters.ping)
  end))

  it("does not mix the fragments of different VLAN stacks", with_gateway(function(gw)
    local one, two = gw.near:conn { mac = A, vlans = 1 }, gw.near:conn { mac = A, vlans = 2 }
    local packet = proto.ipv4.parse(ping({}, 104))
    local function piece(from, to)
      return proto.ipv4.build { src = packet.src, dst = packet.dst, protocol = 1, identification = 7, mf = to < 112,
        fragment_offset = from / 8, payload = packet.payload:sub(from + 1, to) }
    end
    one:send(piece(0, 56), gw.mac)
    two:send(piece(56, 112), gw.mac)
    assert.is_nil((one:recv(0.01)) or (two:recv(0)))
    two:send(piece(0, 56), gw.mac)
    assert.is_string((two:recv(0.1)))
    assert.equal(1, gw.counters.ping)
  end))

  it("counts a ping whose answer has too many fragments for its memory, and goes on", with_gateway(function(gw, ask)
    local from, whole = gw.near:conn { mac = A }, proto.ipv4.parse(ping({}, 60000)).payload
    for at = 0, #whole - 1, 1480 do
      from:send(proto.ipv4.build { src = "10.0.0.10", dst = IP, protocol = 1, mf = at + 1480 < #whole,
        fragment_offset = at / 8, payload = whole:sub(at + 1, at + 1480) }, gw.mac)
    end
    assert.is_nil((from:recv(0.05)))
    assert.equal(1, gw.counters.too_long)
    from:close()
    assert.is_table(ask(ping({}, 1472), { to = gw.mac }))
  end, { frames = 128 }))

  it("survives whatever is sent to it", with_gateway(function(gw, ask)
    math.randomseed(20240229)
    local again = dhcp(proto.dhcp4.build(assert(proto.dhcp4.parse(proto.dhcp4.build { xid = 9, chaddr = A, options = {
      message_type = "REQUEST", [82] = "\1\2ab", [61] = "abc", [50] = "\10\0\0\10" } }))))
    local good = { { arp(), 0x0806 }, { ping(), 0x0800 }, { dhcp(DISCOVER), 0x0800 }, { again, 0x0800 },
      { arp { hln = 8, sha = ("s"):rep(8), tha = ("t"):rep(8) }, 0x0806 },
      { arp { pln = 8, spa = "12345678", tpa = IP }, 0x0806 },
      { dhcp { hlen = 3, chaddr = "abc", options = { message_type = "DISCOVER" } }, 0x0800 } }
    for i = 1, 7000 do
      local payload, ethertype = unpack(good[i % #good + 1])
      for _ = 1, i > #good and math.random(4) or 0 do
        local at = math.random(#payload)
        payload = payload:sub(1, at - 1) .. string.char(math.random(0, 255)) .. payload:sub(at + 1)
      end
      gw.ask_conn:send(payload, i % 2 == 0 and BROADCAST or gw.mac, { src_mac = A, ethertype = ethertype })
      if i % 50 == 0 then ether.sleep(0) end
    end
    settle()
    while gw.ask_conn:recv_frame(0) do end -- no answer is left that could be taken for the last one
    assert.equal(2, assert(ask(arp(), { ethertype = 0x0806 })).arp.op)
    assert.is_true(gw.counters.arp > 100 and gw.counters.ping > 100 and gw.server.counters.discover > 100)
  end))
end)
