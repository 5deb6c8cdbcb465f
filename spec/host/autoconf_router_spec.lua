-- The routers that an IPv6 host hears: what it takes from them, what it does not believe, and how much it keeps.

local ether = require "etherlua"
local leaks = require "support.leaks"
local link = require "support.router"
local wait = require "support.wait"

local MAC, OTHER, ROUTER, ALL_NODES_MAC = link.MAC, "02:00:00:00:00:02", link.IP, link.ALL_NODES_MAC
local LINK, GLOBAL, PEER = "fe80::ff:fe00:1", "2001:db8::ff:fe00:1", "2001:db8:0:9::9"
local option, on_link, quick_host = link.option, link.on_link, link.quick_host
local count, next_hop = link.count, link.next_hop

describe("an IPv6 host", function()
  after_each(leaks.check)

  it("forgets a router at lifetime 0, and when its time is over", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say()
    assert.same({ ROUTER, ROUTER }, { host.autoconf:router(), next_hop(host, PEER) })
    router:say { router_lifetime = 0 }
    assert.same({}, { host.autoconf:router(), next_hop(host, PEER) })
    router:say { router_lifetime = 1 }
    assert.equal(ROUTER, next_hop(host, PEER))
    ether.sleep(1.1)
    assert.is_nil(next_hop(host, PEER))
    assert.equal(GLOBAL, (host:source(PEER)))
  end))

  it("takes the router of the highest preference, and a reserved one for a medium one", on_link(function(relay, router)
    local host = quick_host(relay)
    for i, preference in ipairs { 3, 2, 0, 1 } do router:say({ preference = preference }, { src = "fe80::" .. i }) end
    assert.equal("fe80::4", host.autoconf:router())
    router:say({ router_lifetime = 0 }, { src = "fe80::4" })
    assert.equal("fe80::2", host.autoconf:router())
    router:say({ preference = 3 }, { src = "fe80::2" })
    assert.equal("fe80::3", host.autoconf:router())
  end))

  it("sends to what is on the link, and only then to a router", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say { options = { option { on_link = false },
      option { prefix = "2001:db8:0:9::5", autonomous = false, valid_lifetime = 1, preferred_lifetime = 0 } } }
    assert.same({ ROUTER, PEER, "fe80::7" }, { next_hop(host, "2001:db8::7"), next_hop(host, PEER),
      next_hop(host, "fe80::7") })
    ether.sleep(1.1)
    assert.equal(ROUTER, next_hop(host, PEER))
  end))

  it("takes a prefix for the same whatever is behind its length", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say()
    router:say { options = { option { prefix = "2001:db8::7", valid_lifetime = 0, preferred_lifetime = 0 } } }
    assert.equal(ROUTER, next_hop(host, "2001:db8::9"))
    assert.equal(2, count(host.addresses))
  end))

  it("has the gateway that it was given when there is no router", on_link(function(relay, router)
    local host = quick_host(relay, { gateway6 = "fe80::99" })
    assert.equal("fe80::99", next_hop(host, PEER))
    router:say()
    assert.equal(ROUTER, next_hop(host, PEER))
  end))

  it("keeps what else the router says", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say { cur_hop_limit = 17, managed = true, other = true, options = { { type = 5, mtu = 1400 },
      { type = 5, mtu = 1279 } } }
    assert.same({ 17, true, true, 1400 }, { host.hop_limit, host.autoconf.managed, host.autoconf.other,
      host.autoconf.mtu })
    router:say { cur_hop_limit = 0, options = {} }
    assert.same({ 17, false, false }, { host.hop_limit, host.autoconf.managed, host.autoconf.other })
  end))

  it("hears an advertisement that is for it alone", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say({}, { dst = LINK }, MAC)
    assert.is_truthy(host.addresses[GLOBAL])
  end))

  it("says why it is not ready", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say { options = {} }
    assert.same({ nil, "timeout: no router advertises a prefix for addresses" }, { host:ready(0) })
    router:say { options = {}, managed = true }
    assert.same({ nil, "timeout: no router advertises a prefix for addresses, but DHCPv6" }, { host:ready(0) })
    local slow = relay:host { mac = OTHER, ip6 = "auto" }
    assert.same({ nil, "timeout: duplicate address detection of fe80::ff:fe00:2 is not over" }, { slow:ready(0.1) })
    local waiter = ether.spawn(slow.ready, slow, 5)
    ether.sleep(0.05)
    slow:close()
    assert.same({ nil, "closed" }, { waiter:join(1) })
  end))

  -- ---- what is wrong ----------------------------------------------------------------------------------------------

  for name, send in pairs {
    ["a hop limit of 254"] = function(router) router:say({}, { hop_limit = 254 }) end,
    ["a source that is not link-local"] = function(router) router:say({}, { src = "2001:db8::1" }) end,
    ["no source"] = function(router) router:say({}, { src = "::" }) end,
    ["another code"] = function(router) router:say { code = 1 } end,
    ["a wrong checksum"] = function(router) router:say { checksum = 0x1234 } end,
    ["an option of length 0"] = function(router) router:say({ options = { option(), { type = 99, data = "" } } },
      { cut = 16 + 32 + 2 }) end,
    ["a header that is cut off"] = function(router) router:say({}, { cut = 15 }) end,
    ["an option that is cut off"] = function(router) router:say({}, { cut = 40 }) end,
  } do
    it("believes no advertisement with " .. name, on_link(function(relay, router)
      local host = quick_host(relay)
      for _, mac in ipairs { ALL_NODES_MAC, MAC } do
        local bad = host.segment.tap.counters.invalid
        send({ say = function(_, fields, ip_fields) router:say(fields, ip_fields, mac) end })
        assert.equal(bad + 1, host.segment.tap.counters.invalid)
      end
      assert.is_nil(host.autoconf:router())
      assert.equal(1, count(host.addresses))
      router:say()
      assert.is_true(host:ready(1))
    end))
  end

  it("keeps little of a flood of prefixes and routers", on_link(function(relay, router)
    local host = quick_host(relay)
    for i = 1, 300 do
      local options = {}
      for j = 1, 30 do options[j] = option { prefix = ("2001:db8:%x:%x::"):format(i, j) } end
      router:say({ options = options }, { src = ("fe80::%x"):format(i) })
    end
    assert.equal(16, count(host.addresses))
    assert.equal(16, #host.autoconf.routes.prefixes)
    assert.equal(8, #host.autoconf.routes.routers)
    for i = 1, 3000 do next_hop(host, ("2001:db8:ffff::%x"):format(i)) end
    assert.is_true(count(host.autoconf.routes.cache) <= 1024)
    assert.is_true(host:ready(1))
  end))

  it("may be closed at any moment, by itself, with its EtherConn or with its relay", on_link(function(relay, router)
    for i, close in ipairs { function(host) host:close() end, function(host) host.conn:close() end } do
      for j, pause in ipairs { 0, 0.3, 1.2 } do
        local host = relay:host { mac = ether.mac_add(MAC, 10 * i + j), ip6 = "auto" }
        ether.sleep(pause)
        router:say()
        close(host)
        host:close()
        assert.has_error(function() host.conn:recv(0) end, "this endpoint is closed")
      end
    end
    for i = 1, 20 do relay:host { mac = ether.mac_add(MAC, 100 + i), ip6 = "auto" } end
    router:say()
    ether.sleep(0.5)
    relay:close()
    wait.settle()
    local heard = #router.frames
    ether.sleep(2.2) -- in which all would have gone on asking
    assert.equal(heard, #router.frames)
  end))
end)
