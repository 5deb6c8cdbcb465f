-- What routers say again and again costs a segment once, and no host anything: shown by counting how often hosts are
-- told. That hosts live by it all the same is shown here, too.

local ether = require "etherlua"
local leaks = require "support.leaks"
local link = require "support.router"
local prefix = require "etherlua.net.prefix"
local settle = require("support.wait").settle

local MAC, ROUTER, PEER = link.MAC, link.IP, "2001:db8:0:9::9"
local GLOBAL, COUNT = "2001:db8::ff:fe00:1", 20
local option, on_link, next_hop = link.option, link.on_link, link.next_hop

local function hosts(relay, count)
  local list = {}
  for i = 1, count or COUNT do
    list[i] = relay:host { mac = ether.mac_add("02:00:00:00:01:00", i), ip6 = "auto", dad = false }
  end
  settle()
  return list, list[1].segment.news
end

local function many_options()
  local list = {}
  for i = 1, 40 do list[i] = option { prefix = prefix.ip_add("2001:db8::", i * 2 ^ 64) } end
  return list
end

local function address_of(host)
  for ip, address in pairs(host.addresses) do
    if not ip:find "^fe80" then return address end
  end
end

describe("what a router advertises", function()
  after_each(leaks.check)

  it("is told to each host once, however often it is said", on_link(function(relay, router)
    local list, news = hosts(relay)
    local said = { options = many_options() }
    for _ = 1, 10 do router:say(said) end
    assert.equal(COUNT, news.told)
    for _, host in ipairs(list) do
      assert.same({ ROUTER, 16 }, { host.autoconf:router(), #host.autoconf.routes.prefixes })
    end
  end))

  it("is parsed once as long as it is the same", on_link(function(relay, router)
    local _, news = hosts(relay, 1)
    router:say()
    local before = news.routers[next(news.routers)]
    router:say()
    assert.equal(before, news.routers[next(news.routers)])
    router:say { cur_hop_limit = 3 }
    assert.not_equal(before, news.routers[next(news.routers)])
  end))

  it("is told again as far as it is different", on_link(function(relay, router)
    local list, news = hosts(relay)
    router:say { options = { option(), option { prefix = "2001:db8:0:1::" } } }
    local heard = {}
    local host = list[1].autoconf
    host.advertised = function(self, one)
      for _, said in ipairs(one) do heard[#heard + 1] = said.key end
      return getmetatable(self).advertised(self, one)
    end
    router:say { options = { option(), option { prefix = "2001:db8:0:1::", preferred_lifetime = 7 } } }
    assert.same({ "address 2001:db8:0:1::/64" }, heard)
    assert.equal(2 * COUNT, news.told)
  end))

  it("keeps alive what all hosts have of it, and its end is the end for all", on_link(function(relay, router)
    local list, news = hosts(relay, 3)
    local said = { router_lifetime = 2, options = { option { valid_lifetime = 2, preferred_lifetime = 1 } } }
    router:say(said)
    local addresses = {}
    for i, host in ipairs(list) do addresses[i] = address_of(host) end
    ether.sleep(0.8)
    local before = addresses[1].valid_until
    router:say(said)
    assert.equal(3, news.told)
    assert.is_true(addresses[1].valid_until >= before + 0.8)
    ether.sleep(0.5)
    for i, host in ipairs(list) do -- the first one said that it would be deprecated by now
      assert.same({ "preferred", addresses[1].valid_until, ROUTER }, { addresses[i].state, addresses[i].valid_until,
        host.autoconf:router() })
    end
    ether.sleep(0.6)
    assert.equal("deprecated", addresses[3].state)
    ether.sleep(1)
    for _, host in ipairs(list) do
      assert.is_nil(address_of(host))
      assert.is_nil(host.autoconf:router())
    end
    router:say(said) -- the same once more
    for _, host in ipairs(list) do
      assert.is_truthy(address_of(host))
      assert.equal(ROUTER, host.autoconf:router())
    end
  end))

  it("is told to hosts that come later, and to nobody else again", on_link(function(relay, router)
    local _, news = hosts(relay)
    router:say()
    local late = link.quick_host(relay)
    assert.is_nil(late.autoconf:router())
    router:say()
    assert.is_truthy(late.addresses[GLOBAL])
    assert.equal(COUNT + 1, news.told)
    late:close()
    router:say { cur_hop_limit = 9 }
    assert.equal(2 * COUNT + 1, news.told)
  end))

  it("is told again after a host alone has heard something else", on_link(function(relay, router)
    local host, other = link.quick_host(relay), hosts(relay, 1)[1]
    router:say()
    router:say({ options = { option { preferred_lifetime = 7 } } }, { dst = "fe80::ff:fe00:1" }, MAC)
    assert.equal(7, link.left(host, GLOBAL, "preferred_until"))
    assert.is_true(address_of(other).preferred_until > ether.now() + 1000)
    router:say()
    assert.equal(14400, link.left(host, GLOBAL, "preferred_until"))
  end))

  it("counts as two routers say it in turn, if they disagree", on_link(function(relay, router)
    local host = link.quick_host(relay)
    local function say(src, preferred, hop_limit)
      router:say({ cur_hop_limit = hop_limit, options = { option { preferred_lifetime = preferred } } }, { src = src })
      return { link.left(host, GLOBAL, "preferred_until"), host.addresses[GLOBAL].state, host.hop_limit }
    end
    for _ = 1, 3 do
      assert.same({ 1000, "preferred", 64 }, say("fe80::1", 1000, 64))
      assert.same({ 0, "deprecated", 32 }, say("fe80::2", 0, 32))
    end
    assert.equal(2, #host.autoconf.routes.routers)
  end))

  it("costs no host anything when two routers agree, and outlives one of them", on_link(function(relay, router)
    local host = link.quick_host(relay)
    local news = host.segment.news
    for _ = 1, 10 do
      for i = 1, 2 do router:say({}, { src = "fe80::" .. i }) end
    end
    assert.equal(2, news.told)
    router:say({ router_lifetime = 0 }, { src = "fe80::1" })
    local before = host.addresses[GLOBAL].valid_until
    router:say({}, { src = "fe80::2" })
    assert.is_true(host.addresses[GLOBAL].valid_until > before)
    assert.equal("fe80::2", next_hop(host, PEER))
  end))

  it("fills nothing when it comes in floods, and the true router is heard nevertheless", on_link(function(relay, router)
    local host = link.quick_host(relay)
    local news = host.segment.news
    router:say()
    for i = 1, 40 do
      router:say({ options = { option { prefix = ("2001:db8:%x::"):format(i) } } }, { src = ("fe80::1:%x"):format(i) })
    end
    local routers, latest = link.count(news.routers), link.count(news.latest)
    assert.is_true(routers <= 16 and latest <= 1024, routers .. " " .. latest)
    assert.is_true(link.count(host.addresses) <= 16)
    router:say { options = { option { preferred_lifetime = 7 } } }
    assert.equal(7, link.left(host, GLOBAL, "preferred_until"))
  end))

  it("is counted when it is discarded, every time", on_link(function(relay, router)
    local host = link.quick_host(relay)
    for _ = 1, 3 do router:say({}, { hop_limit = 254 }) end
    router:say()
    router:say({}, { hop_limit = 254 })
    assert.equal(4, host.segment.tap.counters.invalid)
  end))
end)
