-- The IPv6 addresses of a host, on a wire with a router that says what a spec has it say. That kernels and radvd agree
-- is shown in slaac_spec.lua.

local ether = require "etherlua"
local ipv6 = require "etherlua.proto.ipv6"
local leaks = require "support.leaks"
local link = require "support.router"

local MAC, ROUTER, ROUTER_MAC, LINK = link.MAC, link.IP, link.ROUTER_MAC, "fe80::ff:fe00:1"
local GLOBAL, PEER, FOR_EVER, TWO_HOURS = "2001:db8::ff:fe00:1", "2001:db8:0:9::9", 0xffffffff, 7200
local option, packet, on_link, quick_host = link.option, link.packet, link.on_link, link.quick_host
local left, count = link.left, link.count

describe("an IPv6 host", function()
  after_each(leaks.check)

  it("makes addresses of its MAC address (RFC 4291 appendix A)", function()
    assert.equal(GLOBAL, ipv6.address_of("2001:db8::", MAC))
    assert.equal("fe80::21b:44ff:fe11:3ab7", ipv6.address_of("fe80::", "00:1b:44:11:3a:b7"))
  end)

  it("takes an address of each prefix with the autonomous flag, and of no other", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say { options = { option(), option { prefix = "2001:db8:0:1::", on_link = false },
      option { prefix = "2001:db8:0:2::", autonomous = false }, option { prefix = "2001:db8:0:3::",
      prefix_length = 63 }, option { prefix = "fe80::" }, option { prefix = "ff05::" },
      option { prefix = "2001:db8:0:4::", prefix_length = 129 },
      option { prefix = "2001:db8:0:5::", preferred_lifetime = 86401 },
      option { prefix = "2001:db8:0:6::", valid_lifetime = 0, preferred_lifetime = 0 } } }
    assert.is_true(host:ready(1))
    assert.is_truthy(host.addresses[LINK] and host.addresses[GLOBAL]
      and host.addresses["2001:db8:0:1:0:ff:fe00:1"])
    assert.equal(3, count(host.addresses))
    assert.same({ GLOBAL, LINK }, { host:source(PEER), (host:source "fe80::9") })
  end))

  for name, case in pairs {
    ["some time"] = { 86400, 14400 }, ["for ever"] = { FOR_EVER, FOR_EVER }, ["2^32 - 2 s"] = { 2 ^ 32 - 2, 100 },
  } do
    it("keeps an address as long as the router says: " .. name, on_link(function(relay, router)
      local host = quick_host(relay)
      router:say { options = { option { valid_lifetime = case[1], preferred_lifetime = case[2] } } }
      local function expected(seconds) return seconds == FOR_EVER and math.huge or seconds end
      assert.same({ expected(case[1]), expected(case[2]) },
        { left(host, GLOBAL, "valid_until"), left(host, GLOBAL, "preferred_until") })
    end))
  end

  it("deprecates an address, and then forgets it", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say { options = { option { valid_lifetime = 2, preferred_lifetime = 1 } } }
    assert.equal("preferred", host.addresses[GLOBAL].state)
    ether.sleep(1.1)
    assert.equal("deprecated", host.addresses[GLOBAL].state)
    assert.equal(GLOBAL, (host:source(PEER)))
    ether.sleep(1)
    assert.is_nil(host.addresses[GLOBAL])
    assert.same({ nil, "the host has no IPv6 address for that yet" }, { host:source(PEER) })
    local before = router:heard(136)
    router.conn:send(packet({ type = 135, target = GLOBAL, source_link_layer_address = ROUTER_MAC }), MAC,
      { src_mac = ROUTER_MAC })
    ether.sleep(0.05)
    assert.equal(before, router:heard(136))
  end))

  it("prefers an address that is not deprecated", on_link(function(relay, router)
    local host = quick_host(relay)
    router:say { options = { option { preferred_lifetime = 0 }, option { prefix = "2001:db8:0:1::" } } }
    assert.equal("deprecated", host.addresses[GLOBAL].state)
    assert.equal("2001:db8:0:1:0:ff:fe00:1", (host:source(PEER)))
  end))

  -- RFC 4862 section 5.5.3 e: remaining and advertised lifetime, and what is left then.
  for _, case in ipairs {
    { 86400, 90000, 90000, "longer than two hours" }, { 86400, 7201, 7201, "just longer than two hours" },
    { 86400, 7200, TWO_HOURS, "two hours" }, { 86400, 0, TWO_HOURS, "nothing" }, { 3600, 1800, 3600, "shorter" },
    { 3600, 5400, 5400, "longer than what remains" }, { 3600, 0, 3600, "nothing, when little remains" },
    { FOR_EVER, 1, TWO_HOURS, "a second, of for ever" }, { 3600, FOR_EVER, FOR_EVER, "for ever" },
  } do
    local old, new, expected, name = unpack(case)
    it("knows the rule of two hours: the router now says " .. name, on_link(function(relay, router)
      local host = quick_host(relay)
      router:say { options = { option { valid_lifetime = old, preferred_lifetime = math.min(old, 100) } } }
      router:say { options = { option { valid_lifetime = new, preferred_lifetime = math.min(new, 50) } } }
      assert.equal(expected == FOR_EVER and math.huge or expected, left(host, GLOBAL, "valid_until"))
      assert.equal(math.min(new, 50), left(host, GLOBAL, "preferred_until"))
    end))
  end

  it("has one address that it was given, and a link-local one", on_link(function(relay)
    local host = relay:host { mac = MAC, ip6 = "2001:db8::5/64", dad = false }
    assert.is_true(host:ready(1))
    assert.equal(2, count(host.addresses))
    assert.same({ "2001:db8::5", LINK }, { host:source(PEER), (host:source(ROUTER)) })
  end))

  it("listens to no router unless it was told to", on_link(function(relay, router)
    local host = quick_host(relay, { ip6 = "link" })
    router:say()
    assert.is_true(host:ready(1))
    assert.equal(1, count(host.addresses))
    assert.equal(0, router:heard(133))
  end))
end)
