-- The IPv6 addresses and routes of a host, on a wire with a router that says what a spec has it say. That kernels and
-- radvd agree is shown in slaac_spec.lua.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local neighbour = require "etherlua.host.neighbour"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"

local MAC, OTHER, ROUTER, ROUTER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "fe80::1", "02:dd:00:00:00:01"
local ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
local LINK, GLOBAL = "fe80::ff:fe00:1", "2001:db8::ff:fe00:1"
local PEER = "2001:db8:0:9::9"
local FOR_EVER, TWO_HOURS = 0xffffffff, 7200

-- ---- the router ---------------------------------------------------------------------------------------------------

local Router = {}
Router.__index = Router

local function option(fields)
  local all = { type = 3, prefix = "2001:db8::", prefix_length = 64, on_link = true, autonomous = true,
    valid_lifetime = 86400, preferred_lifetime = 14400 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

-- A packet of ICMPv6. fields: src, dst, hop_limit, cut (octets of the message that are left).
local function packet(message, fields)
  fields = fields or {}
  local src, dst = fields.src or ROUTER, fields.dst or ALL_NODES
  local payload = icmp6.build(message, { src = src, dst = dst })
  if fields.cut then
    payload = payload:sub(1, fields.cut)
    local sum = bytes.checksum(payload:sub(1, 2) .. "\0\0" .. payload:sub(5),
      bytes.pseudo_sum({ src = src, dst = dst }, 58, #payload))
    payload = payload:sub(1, 2) .. string.char(math.floor(sum / 256), sum % 256) .. payload:sub(5)
  end
  return ipv6.build { src = src, dst = dst, hop_limit = fields.hop_limit or 255, protocol = 58, payload = payload }
end

local function advertisement(fields)
  local all = { type = 134, cur_hop_limit = 0, router_lifetime = 1800, options = { option() } }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

-- Sends a router advertisement to all.
function Router:say(fields, ip_fields, mac)
  self.conn:send(packet(advertisement(fields), ip_fields), mac or ALL_NODES_MAC, { src_mac = ROUTER_MAC })
  ether.sleep(0.01)
end

-- How many messages of this type were heard.
function Router:heard(kind)
  local count = 0
  for _, one in ipairs(self.frames) do count = count + (one.icmp6 and one.icmp6.type == kind and 1 or 0) end
  return count
end

function Router:hear(text)
  local layers = {}
  for _, layer in ipairs(proto.dissect(text)) do layers[layer.name] = layer.fields end
  table.insert(self.frames, layers)
  if self.answer then self.answer(layers) end
end

-- fn(relay, router) as a task.
local function on_link(fn)
  return function()
    kinds.run(function()
      local relay, far = ether.wire()
      local router = setmetatable({ conn = far:default_conn(), frames = {} }, Router)
      sched.spawn_background(function()
        for frame in function() return (router.conn:recv_frame()) end do router:hear(tostring(frame)) end
      end)
      fn(relay, router, far)
      relay:close()
      far:close()
      ether.sleep(0.01)
    end)
  end
end

-- A host that does not wait for duplicates, and has its link-local address.
local function quick_host(relay, more)
  local given = { mac = MAC, ip6 = "auto", dad = false }
  for name, value in pairs(more or {}) do given[name] = value end
  local host = relay:host(given)
  ether.sleep(0.01)
  return host
end

local function left(host, ip, name)
  return math.floor(host.addresses[ip][name] - ether.now() + 0.5)
end

local function count(list)
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  return n
end

local function next_hop(host, ip)
  local key = host.autoconf:hop(addr.ip_bytes(ip))
  return key and addr.ip_text(key)
end

-- ---- addresses ----------------------------------------------------------------------------------------------------

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

  -- ---- duplicates -------------------------------------------------------------------------------------------------

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
      assert.is_true(took >= 0.9 and took <= 2.3, took .. " s")
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
    assert.equal(1, host.tap.counters.conflicts)
  end))

  it("takes no address whose lifetime ended while others were asked", on_link(function(relay, router)
    local host = relay:host { mac = MAC, ip6 = "auto" }
    router:say { options = { option { valid_lifetime = 1, preferred_lifetime = 1 } } }
    assert.equal("tentative", host.addresses[GLOBAL].state)
    ether.sleep(2.2)
    assert.is_nil(host.addresses[GLOBAL])
    assert.is_nil(host.segment.claims[addr.ip_bytes(GLOBAL)])
  end))

  -- ---- routers ----------------------------------------------------------------------------------------------------

  it("asks for routers three times, four seconds apart (RFC 4861 section 6.3.7)", on_link(function(relay, router)
    local host = quick_host(relay)
    assert.equal(1, router:heard(133))
    assert.same({ nil, "timeout: no router was heard" }, { host:ready(3.8) })
    assert.equal(1, router:heard(133))
    ether.sleep(0.4)
    assert.equal(2, router:heard(133))
    ether.sleep(8.2)
    assert.equal(3, router:heard(133))
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
    ether.sleep(4.2)
    assert.equal(2, router:heard(133))
  end))

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
        local bad = host.tap.counters.invalid
        send({ say = function(_, fields, ip_fields) router:say(fields, ip_fields, mac) end })
        assert.equal(bad + 1, host.tap.counters.invalid)
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
      end
    end
    for i = 1, 20 do relay:host { mac = ether.mac_add(MAC, 100 + i), ip6 = "auto" } end
    router:say()
    ether.sleep(0.5)
    relay:close()
    ether.sleep(2.2)
  end))
end)
