-- The IPv6 router of the emulated access network: message by message on a wire, and with the kernel as a host of it.

local access = require "etherlua.lab.access"
local dhcp4_server = require "etherlua.role.dhcp4_server"
local ether = require "etherlua"
local gateway = require "etherlua.role.gateway"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"

local A, ROUTER, IP, HOST = "02:00:00:00:00:0a", "fe80::1", "2001:db8::1", "2001:db8::a"
local ALL_NODES_MAC, ALL_ROUTERS_MAC = "33:33:00:00:00:01", "33:33:00:00:00:02"

-- fn(gateway, ask, near) as a task; ask(payload, fields) sends an IPv6 packet from A and returns the frame that comes
-- back, decoded by layers, or nil.
local function with_gateway(fn, given)
  return function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local gw = access.new(far, given)
      sched.spawn_background(function() gw:serve() end)
      local conn
      fn(gw, function(payload, fields)
        fields = fields or {}
        conn = conn or near:default_conn()
        conn:send(payload, fields.to or gw.mac, { src_mac = A, vlans = fields.vlans })
        local frame = conn:recv_frame(0.02)
        if not frame then return nil end
        local layers = {}
        for _, layer in ipairs(proto.dissect(tostring(frame))) do layers[layer.name] = layer.fields end
        return layers
      end, near)
    end)
  end
end

local function icmp6(message, fields)
  local all = { src = "fe80::a", dst = ROUTER, hop_limit = 255, protocol = 58 }
  for name, value in pairs(fields or {}) do all[name] = value end
  all.payload = proto.icmp6.build(message, all)
  return proto.ipv6.build(all)
end

local RS, TO_ROUTERS = { type = 133, source_link_layer_address = A }, { dst = "ff02::2" }

local function solicit(target, fields)
  return icmp6({ type = 135, target = target, source_link_layer_address = A }, fields)
end

describe("the IPv6 gateway", function()
  after_each(leaks.check)

  it("advertises its prefix to who asks", with_gateway(function(gw, ask)
    local reply = ask(icmp6(RS, TO_ROUTERS), { to = ALL_ROUTERS_MAC })
    assert.same({ A, gw.mac, ROUTER, "fe80::a", 255 }, { reply.ethernet.dst, reply.ethernet.src, reply.ipv6.src,
      reply.ipv6.dst, reply.ipv6.hop_limit })
    assert.same({ 134, 65535, gw.mac }, { reply.icmp6.type, reply.icmp6.router_lifetime,
      reply.icmp6.source_link_layer_address })
    assert.same({ { type = 3, prefix = "2001:db8::", prefix_length = 64, on_link = true, autonomous = true,
      valid_lifetime = 0xffffffff, preferred_lifetime = 0xffffffff } }, reply.icmp6.options)
    assert.equal(1, gw.counters.advertisement)
  end))

  it("advertises it to all when who asks has no address", with_gateway(function(_, ask)
    local reply = ask(icmp6({ type = 133 }, { src = "::", dst = "ff02::2" }), { to = ALL_ROUTERS_MAC })
    assert.same({ ALL_NODES_MAC, "ff02::1" }, { reply.ethernet.dst, reply.ipv6.dst })
  end))

  it("answers neighbour solicitations for its two addresses, and for no other", with_gateway(function(gw, ask)
    for _, target in ipairs { ROUTER, IP } do
      local reply = ask(solicit(target, { dst = "ff02::1:ff00:1" }), { to = "33:33:ff:00:00:01" })
      assert.same({ 136, target, gw.mac, true, true, true }, { reply.icmp6.type, reply.icmp6.target,
        reply.icmp6.target_link_layer_address, reply.icmp6.router, reply.icmp6.solicited, reply.icmp6.override })
      assert.same({ target, "fe80::a", A }, { reply.ipv6.src, reply.ipv6.dst, reply.ethernet.dst })
    end
    assert.is_nil(ask(solicit "2001:db8::2"))
    assert.equal(2, gw.counters.neighbour)
  end))

  it("tells all that an address is taken when somebody is about to take it", with_gateway(function(_, ask)
    local reply = ask(icmp6({ type = 135, target = IP }, { src = "::", dst = "ff02::1:ff00:1" }),
      { to = "33:33:ff:00:00:01" })
    assert.same({ ALL_NODES_MAC, "ff02::1", false }, { reply.ethernet.dst, reply.ipv6.dst, reply.icmp6.solicited })
  end))

  it("answers ping to its two addresses, and to no other", with_gateway(function(gw, ask)
    local echo = { type = 128, identifier = 5, sequence = 6, payload = "data" }
    for _, dst in ipairs { ROUTER, IP } do
      local reply = ask(icmp6(echo, { src = HOST, dst = dst, hop_limit = 1 }))
      assert.same({ 129, 5, 6, "data", dst, HOST }, { reply.icmp6.type, reply.icmp6.identifier, reply.icmp6.sequence,
        reply.icmp6.payload, reply.ipv6.src, reply.ipv6.dst })
    end
    assert.is_nil(ask(icmp6(echo, { dst = "2001:db8::2" })))
    assert.equal(2, gw.counters.ping)
  end))

  it("answers UDP echo, but not another echo service's", with_gateway(function(gw, ask)
    local function echo(port)
      local ends = { src = HOST, dst = IP }
      return proto.ipv6.build { src = HOST, dst = IP, protocol = 17,
        payload = proto.udp.build({ src_port = port, dst_port = 7, payload = "hello" }, ends) }
    end
    local reply = ask(echo(5000))
    assert.same({ "hello", 7, 5000, IP, HOST }, { reply.udp.payload, reply.udp.src_port, reply.udp.dst_port,
      reply.ipv6.src, reply.ipv6.dst })
    assert.is_nil(ask(echo(7)))
    assert.equal(1, gw.counters.echo)
  end))

  it("answers with the tags that it was asked with", with_gateway(function(_, ask)
    local vlans = { { vid = 100, tpid = 0x88a8, pcp = 5, dei = true }, { vid = 200, tpid = 0x8100, pcp = 3,
      dei = false } }
    assert.same(vlans, ask(icmp6(RS, TO_ROUTERS), { to = ALL_ROUTERS_MAC, vlans = vlans }).ethernet.vlans)
    assert.same(vlans, ask(solicit(IP), { vlans = vlans }).ethernet.vlans)
  end))

  it("does not answer what is wrong", with_gateway(function(gw, ask)
    local wrong = { icmp6(RS, { hop_limit = 254, dst = "ff02::2" }), solicit(IP, { hop_limit = 254 }),
      icmp6({ type = 133, checksum = 7 }, TO_ROUTERS), icmp6({ type = 133, code = 1 }, TO_ROUTERS),
      icmp6({ type = 135, target = IP }):sub(1, 50), "\96", "\96" .. ("\255"):rep(60),
      icmp6({ type = 128, identifier = 1, sequence = 1, checksum = 7 }, { dst = IP }) }
    for i, packet in ipairs(wrong) do assert.is_nil(ask(packet), "packet " .. i) end
    assert.is_truthy(ask(solicit(IP)))
    assert.equal(0, gw.counters.ping)
  end))

  it("is not there unless it is wanted", with_gateway(function(gw, ask)
    assert.is_nil(ask(icmp6(RS, TO_ROUTERS), { to = ALL_ROUTERS_MAC }))
    assert.is_nil(ask(solicit(IP)))
    assert.is_nil(gw.ip6)
  end, { ip6 = false }))

  it("is no part of a DHCP server on a real network", function()
    assert.is_nil(dhcp4_server.new({ pool = access.DEFAULTS.pool }).ip6)
    kinds.run_apart(function()
      local _, far = ether.wire()
      assert.is_nil(gateway.new(far, { pool = access.DEFAULTS.pool }).ip6)
    end)
  end)

  it("refuses a prefix that nobody can make addresses of", function()
    kinds.run_apart(function()
      local _, far = ether.wire()
      for _, bad in ipairs { "2001:db8::/48", "10.0.0.0/8", "2001:db8::" } do
        local ok, reason = pcall(gateway.new, far, { pool = access.DEFAULTS.pool, ip6 = bad })
        assert.is_false(ok)
        assert.truthy(reason:find(('bad prefix "%s": an IPv6 prefix of 64 bits is needed'):format(bad), 1, true))
        assert.is_nil(far.default)
      end
    end)
  end)

  it("gives hosts on every VLAN stack an address, and answers their ping", with_gateway(function(_, _, near)
    local hosts = {}
    for i, vlans in ipairs { "", "100", "100.200", "100.201" } do
      hosts[i] = near:host { mac = A, vlans = vlans ~= "" and vlans or nil, ip6 = "auto" }
    end
    for _, host in ipairs(hosts) do
      assert.is_true(host:ready(6))
      assert.same({ "2001:db8::ff:fe00:a", ROUTER }, { host:source(IP), host.autoconf:router() })
      assert.is_number(host:ping(IP))
      assert.is_number(host:ping(ROUTER))
    end
  end))
end)

-- ---- with kernels -------------------------------------------------------------------------------------------------

describe("the IPv6 gateway of a lab", function()
  local permitted, reason = lab.root()

  it("is a router to the kernel", function()
    if not permitted then return pending(reason) end
    local net = lab.new { ipv6 = true }
    finally(function()
      net:close()
      net = nil -- and with it the gateway's endpoint: busted keeps this function
    end)
    kinds.run(function()
      net:serve()
      local done = os.tmpname()
      local asked = net.near:start({ "sh", "-c", "for i in 1 2 3 4 5 6; do ping -6 -c 1 -W 1 2001:db8::1 && break; "
        .. "sleep 1; done; ip -6 route; ip -6 neigh; ping -6 -c 1 fe80::1%eth0" }, { log = done })
      while not asked:status() do ether.sleep(0.05) end
      local said = asked:log()
      os.remove(done)
      for _, line in ipairs { "64 bytes from 2001:db8::1", "2001:db8::/64 dev eth0 proto kernel",
        "default via fe80::1 dev eth0 proto ra", "64 bytes from fe80::1%eth0" } do
        assert.truthy(said:find(line, 1, true), line .. " is not in:\n" .. said)
      end
      assert.truthy(said:find("2001:db8::1 dev eth0 lladdr [%x:]+ router"), said)
    end)
  end)
end)
