-- Routes that routers advertise (RFC 4191), and what they say about the link: a host goes by both.

local ether = require "etherlua"
local icmp6 = require "etherlua.proto.icmp6"
local leaks = require "support.leaks"
local link = require "support.router"
local settle = require("support.wait").settle

local PEER, OTHER, ELSEWHERE = "2001:db8:9::9", "2001:db8:9:1::9", "2001:db8:ffff::1"
local MAC, LINK = link.MAC, "fe80::ff:fe00:1"
local option, on_link, quick_host, next_hop = link.option, link.on_link, link.quick_host, link.next_hop
local A, B = { src = "fe80::a" }, { src = "fe80::b" }
local LOW, RESERVED, MEDIUM, HIGH = 3, 2, 0, 1

local function route(fields)
  local all = { type = 24, prefix = "2001:db8:9::", prefix_length = 48, preference = MEDIUM, lifetime = 1800 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

local function says(...)
  return { router_lifetime = 0, options = { option(), ... } }
end

describe("an IPv6 host", function()
  after_each(leaks.check)

  it("sends packets for a prefix to the router that has a route to it", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say({}, A)
    router:say(says(route()), B)
    assert.same({ "fe80::b", "fe80::a" }, { next_hop(host, PEER), next_hop(host, ELSEWHERE) })
    assert.equal("fe80::a", host.autoconf:router())
  end))

  it("takes the route of the longest prefix, and of those the one of the highest preference", on_link(
    function(relay, router)
      local host = quick_host(relay)
      router:say(says(route { preference = LOW }), A)
      router:say(says(route { preference = HIGH }, route { prefix = "2001:db8:9:1::", prefix_length = 64,
        preference = LOW }), B)
      router:say(says(route { prefix = "2001:db8:9:1::", prefix_length = 63, preference = HIGH }), A)
      assert.same({ "fe80::b", "fe80::a", "fe80::b" }, { next_hop(host, "2001:db8:9:8::9"), next_hop(host, PEER),
        next_hop(host, OTHER) })
      router:say(says(route { preference = LOW }), B)
      assert.equal("fe80::a", next_hop(host, "2001:db8:9:8::9"))
    end))

  it("goes by a route only where no prefix on the link is as long", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say(says(route { prefix = "2001:db8::", prefix_length = 64 }, route { prefix = "2001:db8::7:0",
      prefix_length = 112 }), A)
    assert.same({ "2001:db8::8:1", "fe80::a", "fe80::7" }, { next_hop(host, "2001:db8::8:1"),
      next_hop(host, "2001:db8::7:1"), next_hop(host, "fe80::7") })
  end))

  it("forgets a route at lifetime 0, and when its time is over, but not one for ever", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say(says(route()), A)
    router:say(says(route { lifetime = 0 }), B) -- another's
    assert.equal("fe80::a", next_hop(host, PEER))
    router:say(says(route { lifetime = 0 }), A)
    assert.is_nil(next_hop(host, PEER))
    router:say(says(route { lifetime = 1 }, route { prefix = "2001:db8:ffff::", lifetime = 0xffffffff }), A)
    assert.equal("fe80::a", next_hop(host, PEER))
    ether.sleep(1.1)
    assert.same({ [2] = "fe80::a" }, { next_hop(host, PEER), (next_hop(host, ELSEWHERE)) })
    assert.equal(math.huge, require("etherlua.host.router_news").deadline(1, 0xffffffff))
  end))

  it("takes an option for everything for what the header says of the router itself", on_link(function(relay, router)
    local host = quick_host(relay)
    local all = { prefix = "::", prefix_length = 0 }
    router:say({ preference = HIGH, options = { option(), route { prefix = "::", prefix_length = 0,
      preference = LOW } } }, A)
    router:say({}, B)
    assert.equal("fe80::b", next_hop(host, ELSEWHERE)) -- low is less than medium
    all.preference = HIGH
    router:say(says(route(all)), A) -- the header's lifetime is 0, the option's not
    assert.equal("fe80::a", next_hop(host, ELSEWHERE))
    all.lifetime = 0
    router:say({ options = { option(), route(all) } }, A)
    assert.equal("fe80::b", next_hop(host, ELSEWHERE))
  end))

  it("ignores routes of a reserved preference, of wrong lengths, and to no hosts", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say(says(route { preference = RESERVED }, { type = 24, data = "\48\0\0\0\7\8" },
      { type = 24, data = "\65\0\0\0\7\8" .. ("\32"):rep(8) },
      { type = 24, data = "\129\0\0\0\7\8" .. ("\32"):rep(16) },
      route { prefix = "ff05::", prefix_length = 16 }, route { prefix = "fe80::", prefix_length = 10 }), A)
    assert.same({ 0, 0 }, { #host.autoconf.routes.routes, #host.autoconf.routes.routers })
    router:say(says(route { prefix = "2001:db8:9:ffff::", octets = 16 }), A) -- bits behind the length say nothing
    assert.equal("2001:db8:9::/48", host.autoconf.routes.routes[1].text)
  end))

  it("keeps little of a flood of routes", on_link(function(relay, router)
    local host = quick_host(relay)
    for i = 1, 10 do
      local routes = {}
      for j = 1, 30 do routes[j] = route { prefix = ("2001:db8:%x:%x::"):format(i, j), prefix_length = 64 } end
      router:say(says(unpack(routes)), A)
    end
    assert.equal(32, #host.autoconf.routes.routes)
  end))

  -- ---- the link ---------------------------------------------------------------------------------------------------

  it("sends no IPv6 packet that is longer than routers say the link takes", on_link(function(relay, router)
    local host = quick_host(relay, { fragment = false })
    local whole = quick_host(relay, { mac = "02:00:00:00:00:02", fragment = true })
    local function packet(size) return { dst = "fe80::1", protocol = 253, payload = ("x"):rep(size - 40) } end
    router:say { source_link_layer_address = link.ROUTER_MAC, options = { { type = 5, mtu = 1400 } } }
    for _, one in ipairs { host, whole } do one.resolve = function() return link.ROUTER_MAC end end
    router.frames = {}
    assert.is_true(host:send(packet(1400)))
    assert.error_matches(function() host:send(packet(1401)) end,
      "payload of 1401 bytes does not fit: up to 1500 are allowed, of IPv6 1400 as the routers say")
    assert.is_true(whole:send(packet(1500)))
    settle()
    assert.equal(3, #router.frames)
    assert.is_true(host.conn:send("\69" .. ("\0"):rep(1499), link.ROUTER_MAC)) -- IPv4
    router:say { options = { { type = 5, mtu = 9000 } } } -- more than the interface's
    assert.is_true(host:send(packet(1500)))
    assert.error_matches(function() host:send(packet(1501)) end, "does not fit")
  end))

  it("believes a neighbour as long as routers say, and asks as often (RFC 4861 section 6.3.4)", on_link(
    function(relay, router)
      local host = quick_host(relay)
      router.answer = function(layers)
        local message = layers.icmp6
        if not message or message.type ~= icmp6.NEIGHBOUR_SOLICITATION or message.target ~= "fe80::7" then return end
        router.conn:send(link.packet({ type = icmp6.NEIGHBOUR_ADVERTISEMENT, target = "fe80::7", solicited = true,
          override = true, target_link_layer_address = link.ROUTER_MAC }, { src = "fe80::7", dst = LINK }), MAC)
      end
      router:say { reachable_time = 100, retrans_timer = 20 }
      router:say { cur_hop_limit = 7 } -- says nothing about them
      local started = ether.now()
      assert.is_nil(host:resolve("fe80::99"))
      assert.is_true(ether.now() - started < 0.9) -- three times half a second are what is usual
      assert.equal(link.ROUTER_MAC, host:resolve "fe80::7")
      local asked = router:heard(135)
      assert.equal(link.ROUTER_MAC, host:resolve "fe80::7")
      assert.equal(asked, router:heard(135))
      ether.sleep(0.16)
      assert.equal(link.ROUTER_MAC, host:resolve "fe80::7")
      assert.equal(asked + 1, router:heard(135))
    end))

  it("learns from a router that it knows where that is now, and that its own address is another's", on_link(
    function(relay, router)
      local host = quick_host(relay)
      local entry = host.segment:expect(("\xfe\x80" .. ("\0"):rep(13) .. "\1"))
      router:say { source_link_layer_address = "02:dd:00:00:00:09" }
      assert.same({ true, "02:dd:00:00:00:09" }, { entry.known, tostring(entry.mac) })
      router:say({ source_link_layer_address = "02:dd:00:00:00:09" }, { src = LINK })
      assert.same({ [LINK] = "02:dd:00:00:00:09" }, host:duplicates())
    end))
end)
