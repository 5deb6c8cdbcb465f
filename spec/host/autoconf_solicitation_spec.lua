-- How often an IPv6 host asks for routers.

local ether = require "etherlua"
local leaks = require "support.leaks"
local link = require "support.router"
local wait = require "support.wait"

local MAC, LINK = link.MAC, "fe80::ff:fe00:1"
local on_link, quick_host = link.on_link, link.quick_host

describe("an IPv6 host", function()
  after_each(leaks.check)

  it("asks for routers three times, four seconds apart (RFC 4861 section 6.3.7)", on_link(function(relay, router)
    local host = quick_host(relay)
    assert.equal(1, router:heard(133))
    assert.same({ nil, "timeout: no router was heard" }, { host:ready(3) })
    ether.sleep(9.4) -- a fourth would have come
    assert.equal(3, router:heard(133))
    local times = {}
    for _, one in ipairs(router.frames) do
      if one.icmp6 and one.icmp6.type == 133 then times[#times + 1] = one.at end
    end
    for n = 2, 3 do assert.is_true(times[n] - times[n - 1] > 3.9, times[n] - times[n - 1]) end
    local asked = router.frames[#router.frames]
    assert.same({ LINK, "ff02::2", 255, MAC }, { asked.ipv6.src, asked.ipv6.dst, asked.ipv6.hop_limit,
      asked.icmp6.source_link_layer_address })
  end))

  it("asks no more when a router has answered", on_link(function(relay, router)
    quick_host(relay)
    router:say()
    ether.sleep(4.2)
    assert.equal(1, router:heard(133))
  end))

  it("asks on when who answered is no default router", on_link(function(relay, router)
    quick_host(relay)
    router:say { router_lifetime = 0 }
    assert.is_true(wait.eventually(function() return router:heard(133) == 2 end))
  end))
end)
