-- Duplicate address detection: whose an address is when two want it.

local addr = require "etherlua.net.addr"
local ether = require "etherlua"
local leaks = require "support.leaks"
local neighbour = require "etherlua.host.neighbour"
local link = require "support.router"

local MAC, OTHER, ALL_NODES_MAC, LINK = link.MAC, "02:00:00:00:00:02", link.ALL_NODES_MAC, "fe80::ff:fe00:1"
local GLOBAL, PEER = "2001:db8::ff:fe00:1", "2001:db8:0:9::9"
local option, packet, on_link, quick_host = link.option, link.packet, link.on_link, link.quick_host

describe("an IPv6 host", function()
  after_each(leaks.check)

  local function answer_for(router, ip)
    router.answer = function(layers)
      local message = layers.icmp6
      if not message or message.type ~= 135 or message.target ~= ip then return end
      router.conn:send(packet({ type = 136, target = ip, override = true, target_link_layer_address = OTHER },
        { src = ip }), ALL_NODES_MAC, { src_mac = OTHER })
    end
  end

  it("asks for an address before it uses it, behind a report of the group (RFC 4862 section 5.4.2)",
    on_link(function(relay, router)
      local host = relay:host { mac = MAC, ip6 = "link" }
      local started = ether.now()
      assert.same({ nil, "the host has no IPv6 address for that yet" }, { host:source "fe80::9" })
      assert.is_true(host:ready(5))
      local took = ether.now() - started
      assert.is_true(took >= 0.9 and took <= 5, took .. " s")
      local report, question = router.frames[1], router.frames[2]
      assert.same({ 143, "::", "ff02::16", 1 }, { report.icmp6.type, report.ipv6.src, report.ipv6.dst,
        report.ipv6.hop_limit })
      assert.same({ 135, "::", "ff02::1:ff00:1", 255, LINK }, { question.icmp6.type, question.ipv6.src,
        question.ipv6.dst, question.ipv6.hop_limit, question.icmp6.target })
      assert.is_nil(question.icmp6.source_link_layer_address)
    end))

  it("reports its groups again once it has a link-local address", on_link(function(relay, router)
    assert.is_true(quick_host(relay, { ip6 = "2001:db8::5/64" }):ready(1))
    local sources = {}
    for _, one in ipairs(router.frames) do
      if one.icmp6.type == 143 then sources[#sources + 1] = one.ipv6.src end
    end
    assert.same({ "::", "::", LINK, LINK }, sources)
  end))

  it("does without its link-local address when another has it, and asks no router", on_link(function(relay, router)
    answer_for(router, LINK)
    local host = relay:host { mac = MAC, ip6 = "auto" }
    assert.same({ nil, ("address %s is in use by %s"):format(LINK, OTHER) }, { host:ready(5) })
    assert.same({ [LINK] = OTHER }, host:duplicates())
    router:say()
    assert.is_nil(host.addresses[GLOBAL])
    ether.sleep(0.1)
    assert.equal(0, router:heard(133))
  end))

  it("does without an address of a prefix that another has", on_link(function(relay, router)
    answer_for(router, GLOBAL)
    local host = relay:host { mac = MAC, ip6 = "auto" }
    router:say { options = { option(), option { prefix = "2001:db8:0:1::" } } }
    assert.same({ nil, ("address %s is in use by %s"):format(GLOBAL, OTHER) }, { host:ready(5) })
    assert.equal("duplicate", host.addresses[GLOBAL].state)
    ether.sleep(2.2) -- the other one may have begun later
    assert.equal("2001:db8:0:1:0:ff:fe00:1", (host:source(PEER)))
  end))

  it("finds that another asks for the address at the same time", on_link(function(relay, router)
    local host = relay:host { mac = MAC, ip6 = "link" }
    ether.sleep(0.05)
    router.conn:send(packet({ type = 135, target = LINK }, { src = "::", dst = "ff02::1:ff00:1" }),
      "33:33:ff:00:00:01", { src_mac = OTHER })
    assert.same({ nil, ("address %s is in use by %s"):format(LINK, OTHER) }, { host:ready(5) })
  end))

  it("finds that another host of its relay has the address", on_link(function(relay)
    assert.is_true(relay:host({ mac = OTHER, ip6 = "2001:db8::5/64", dad = false }):ready(1))
    local host = relay:host { mac = MAC, ip6 = "auto" }
    neighbour.of(relay:conn { mac = "02:00:00:00:00:03" }):claim(LINK)
    assert.same({ nil, ("address %s is in use by 02:00:00:00:00:03"):format(LINK) }, { host:ready(5) })
  end))

  it("knows when another takes its address later", on_link(function(relay, router)
    local host = quick_host(relay)
    router.conn:send(packet({ type = 136, target = LINK, override = true, target_link_layer_address = OTHER },
      { src = LINK }), ALL_NODES_MAC, { src_mac = OTHER })
    ether.sleep(0.05)
    assert.same({ [LINK] = OTHER }, host:duplicates())
    assert.equal(1, host.segment.tap.counters.conflicts)
  end))

  it("takes no address whose lifetime ended while others were asked", on_link(function(relay, router)
    local host = relay:host { mac = MAC, ip6 = "auto" }
    router:say { options = { option { valid_lifetime = 1, preferred_lifetime = 1 } } }
    assert.equal("tentative", host.addresses[GLOBAL].state)
    ether.sleep(2.2)
    assert.is_nil(host.addresses[GLOBAL])
    assert.is_nil(host.segment.claims[addr.ip_bytes(GLOBAL)])
  end))
end)
