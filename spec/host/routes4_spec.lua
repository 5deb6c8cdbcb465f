-- Where an emulated host sends IPv4 packets: its link, its gateway, and routes such as those of a DHCP lease.

local ether = require "etherlua"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local prefix = require "etherlua.net.prefix"
local routes4 = require "etherlua.host.routes4"
local script = require "support.dhcp4_script"
local script_host = require "etherlua.program.script_host"
local segment = require "etherlua.host.segment"
local told = require "support.told"

local OWN = prefix.new "10.0.0.5/24"

local function hop(routes, ip)
  local key = routes:hop(segment.key(ip))
  return key and segment.text(key)
end

local function same_hops(expected, routes)
  for ip, router in pairs(expected) do assert.equal(router, hop(routes, ip) or "none", ip) end
end

describe("routes of a host", function()
  after_each(leaks.check)

  it("lead to its link and its gateway", function()
    same_hops({ ["10.0.0.9"] = "10.0.0.9", ["10.0.1.9"] = "10.0.0.1", ["255.0.0.1"] = "10.0.0.1" },
      routes4.new(OWN, "10.0.0.1"))
    same_hops({ ["10.0.0.9"] = "10.0.0.9", ["10.0.1.9"] = "none" }, routes4.new(OWN))
  end)

  it("count by the longest prefix, in whatever order they came", function()
    local routes = { { prefix = "10.17.3.0/24", router = "10.0.0.3" }, { prefix = "10.17.0.0/16", router = "10.0.0.2" },
      { prefix = "10.17.3.7/32", router = "10.0.0.4" }, { prefix = "10.0.0.128/25", router = "10.0.0.6" } }
    for _ = 1, #routes do
      table.insert(routes, 1, table.remove(routes))
      same_hops({ ["10.17.9.9"] = "10.0.0.2", ["10.17.3.9"] = "10.0.0.3", ["10.17.3.7"] = "10.0.0.4",
        ["10.0.0.129"] = "10.0.0.6", ["10.0.0.9"] = "10.0.0.9", ["192.0.2.1"] = "10.0.0.1" },
        routes4.new(OWN, "10.0.0.1", routes))
    end
  end)

  it("take the gateway before a default route, and one for want of it", function()
    local default = { { prefix = "0.0.0.0/0", router = "10.0.0.2" } }
    same_hops({ ["192.0.2.1"] = "10.0.0.1" }, routes4.new(OWN, "10.0.0.1", default))
    same_hops({ ["192.0.2.1"] = "10.0.0.2" }, routes4.new(OWN, nil, default))
  end)

  it("by the router 0.0.0.0 are on the link (RFC 3442)", function()
    same_hops({ ["10.17.0.9"] = "10.17.0.9", ["192.0.2.1"] = "10.0.0.1" },
      routes4.new(OWN, "10.0.0.1", { { prefix = "10.17.0.0/16", router = "0.0.0.0" } }))
  end)

  it("that are none are refused", function()
    local function refused(route)
      return function() routes4.new(OWN, nil, { route }) end
    end
    for _, route in ipairs { { prefix = "10.0.0.0/8" }, { router = "10.0.0.1" }, "10.0.0.0/8",
      { prefix = "10.0.0.0/8", router = "10.0.0.1", metric = 1 } } do
      assert.error_matches(refused(route), "bad route: { prefix =")
    end
    assert.error_matches(refused { prefix = "2001:db8::/32", router = "10.0.0.1" }, "IPv4 addresses are needed")
  end)

  it("are those that set_ip is given, and what its caller does wrong is told him", function()
    kinds.run_apart(function()
      local relay = ether.wire()
      local host = relay:host { mac = script.MAC, ip = "10.0.0.5/24" }
      host:set_ip("10.0.0.5/24", nil, { { prefix = "10.17.0.0/16", router = "10.0.0.2" } })
      assert.same({ nil, "no route to 192.0.2.1: it is not on the link, and there is no gateway" },
        { host:resolve "192.0.2.1" })
      assert.same({ nil, "no answer from neighbour 10.0.0.2" }, { host:resolve "10.17.0.9" })
      told(function() host:set_ip("10.0.0.5/24", nil, { {} }) end,
        'bad route: { prefix = "10.17.0.0/16", router = "10.0.0.1" } is needed')
      assert.equal("10.0.0.5", host.ip)
    end)
  end)

  -- ---- of a lease ---------------------------------------------------------------------------------------------------

  -- The MAC address of the next hop to each of these, of a script's host with a lease of such terms.
  local function hops_of(options, given, targets)
    local hops = {}
    local function grant(kind)
      return function(message) return script.reply_to(message, kind, {}, options) end
    end
    script.on_wire({ DISCOVER = grant "OFFER", REQUEST = grant "ACK" }, function(relay, server, conn)
      conn:close()
      server.on.ARP = function(arp)
        local mac = "02:00:00:00:01:" .. ("%02x"):format(tonumber(arp.tpa:match "%d+$"))
        if arp.spa == "0.0.0.0" then return end
        server:send_payload(require("etherlua.proto").arp.build { op = 2, sha = mac, spa = arp.tpa, tha = arp.sha,
          tpa = arp.spa }, 0x0806, { mac = arp.sha, src_mac = mac })
      end
      given.mac = script.MAC
      local host = script_host.host_of(given, relay, "10.0.0.1")
      for i, ip in ipairs(targets) do hops[i] = (host:resolve(ip) or "none"):sub(-2) end
    end)()
    return hops
  end

  local CLASSLESS = { routers = { "10.0.0.1" }, classless_routes = { { prefix = "10.17.0.0/16", router = "10.0.0.2" },
    { prefix = "0.0.0.0/0", router = "10.0.0.3" } } }
  local TARGETS = { "10.0.0.9", "10.17.0.9", "192.0.2.1" }

  it("are a script's host's own", function()
    assert.same({ "09", "02", "03" }, hops_of(CLASSLESS, {}, TARGETS))
    assert.same({ "09", "01", "01" }, hops_of({ routers = { "10.0.0.1" } }, {}, TARGETS))
  end)

  it("count less than a gateway that the user gives", function()
    assert.same({ "09", "02", "07" }, hops_of(CLASSLESS, { gateway = "10.0.0.7" }, TARGETS))
  end)
end)
