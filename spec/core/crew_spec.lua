-- Helpers: tasks that work for somebody who waits. One that dies of an error ends that wait with it, also at the
-- prompt, where such an error ends nothing else: whoever waited would wait for ever.

local crew = require "etherlua.core.crew"
local ether = require "etherlua"
local ip_range = require "etherlua.net.ip_range"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local p = require "etherlua.proto.packet"
local sched = require "etherlua.core.sched"
local traffic = require "etherlua.role.traffic"
local vlan_range = require "etherlua.net.vlan_range"

local MAC, PEER, ALL = "02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"

-- fn(told) as a task of a run that errors do not end: told has those that reached the attendant, as of the prompt.
local function attended(fn)
  return function()
    kinds.run_apart(function()
      local told = {}
      sched.attend { failed = function(_, failure) told[#told + 1] = tostring(failure) end }
      fn(told)
    end)
  end
end

-- Calls fn, which raises an error of these words within a second.
local function raises(words, fn, ...)
  local ok, failure
  local task = ether.spawn(function(...) ok, failure = pcall(fn, ...) end, ...)
  task:join(1)
  assert.is_true(task.done, "it still waits")
  assert.is_false(ok)
  assert.matches(words, tostring(failure))
end

describe("a helper that dies of an error", function()
  after_each(leaks.check)

  it("ends the wait of whom it helps, where the error is raised, and is told nobody else", attended(function(told)
    local helpers = crew.new()
    local endless = helpers:spawn(ether.sleep, 60)
    helpers:spawn(function()
      ether.sleep(0.001)
      error "boom"
    end)
    raises("boom", helpers.join, helpers, endless)
    assert.same({}, told)
    endless:cancel()
  end))

  it("is told as of any task while nobody waits, and whoever waits next hears of it at once", attended(function(told)
    local helpers = crew.new()
    helpers:spawn(error, "boom", 0):join(1)
    assert.same({ "boom" }, told)
    raises("^boom$", helpers.join, helpers, helpers:spawn(ether.sleep, 0))
  end))

  it("does not disturb who waits for one that has done its work", attended(function()
    local helpers = crew.new()
    helpers:join(helpers:spawn(ether.sleep, 0.001))
    helpers:check()
  end))

  it("ends ether.sr with the error of what finds the next hop", attended(function(told)
    local conn = ether.wire():conn { mac = MAC }
    local packets = {}
    for i = 1, 100 do packets[i] = p.ip4 { src = "10.0.0.1", dst = "10.0.1." .. i } / p.udp { dst_port = 9 } end
    raises("boom", ether.sr, conn, packets, { timeout = 0, resolve = function(ip)
      ether.sleep(0.001)
      return ip ~= "10.0.1.50" and PEER or error "boom"
    end })
    assert.same({}, told)
  end))

  it("ends the wait of all who want to know the same neighbour", attended(function(told)
    local host = ether.wire():host { mac = MAC, ip = "10.0.0.1/24" }
    host.neighbours.mac = "nonsense" -- which no request can be built of
    local tasks, failures = {}, {}
    for i = 1, 3 do
      tasks[i] = ether.spawn(function() failures[i] = select(2, pcall(host.resolve, host, "10.0.0.2")) end)
    end
    for _, task in ipairs(tasks) do task:join(1) end
    for i = 1, 3 do assert.matches("bad arp sha", tostring(failures[i])) end
    assert.same({}, told)
  end))
end)

-- ---- roles ----------------------------------------------------------------------------------------------------------

local function datagram(src, dst)
  return p.ip4 { src = "10.0.0.9", dst = "10.0.0.1" } / p.udp { src_port = src, dst_port = dst } / "text"
end

local function flows()
  return traffic.flows { count = 1, vlans = function() return ether.vlans() end,
    src = { mac = PEER, mac_step = 0, ip = "10.0.0.9", ip_step = 0, port = 1, port_step = 0 },
    dst = { mac = MAC, mac_step = 0, ip = "10.0.0.1", ip_step = 0, port = 2, port_step = 0 } }
end

-- By name: what the role is on, its options, what one of its helpers reads or writes, and the packet that it needs it
-- for. Taken away, this is an error of the helper's.
local ROLES = {
  arp_scan = function(relay)
    return relay, { targets = ip_range.new "10.0.0.0/24", vlans = vlan_range.new(), mac = MAC, rate = 1 }, "ignored",
      p.arp { sha = PEER, spa = "10.9.9.9", tpa = "10.8.8.8" }
  end,
  dhcp4_discover = function(relay)
    return relay, { vlans = vlan_range.new(), mac = MAC, timeout = 60 }, "ignored", datagram(67, 68)
  end,
  dhcp4_load = function(relay)
    return relay, { count = 1, mac = MAC, timeout = 60 }, "ignored", datagram(67, 68)
  end,
  hosts = function(relay)
    return relay, { count = 1, mac = MAC, vlans = vlan_range.new(), ip = "10.0.0.1/24" }, "told",
      p.arp { sha = PEER, spa = "10.0.0.1", tpa = "10.0.0.1" }
  end,
  traffic_receiver = function(relay)
    return traffic.endpoints(relay, true), { flows = flows() }, "foreign", datagram(5, 5)
  end,
  udp_echo = function(relay)
    return relay:host { mac = MAC, ip = "10.0.0.1/24", multicast = true }, { ports = { 9 } }, "ports", datagram(9, 9)
  end,
}

describe("a role", function()
  after_each(leaks.check)

  for name, make in pairs(ROLES) do
    it("ends with the error of a helper: " .. name, attended(function(told)
      local relay, other = ether.wire()
      local on, opts, part, packet = make(relay)
      local one = require("etherlua.role." .. name).new(on, opts)
      one[part] = nil
      ether.spawn(function()
        ether.sleep(0.02)
        other:conn { mac = PEER }:send(packet:build(), ALL, { ethertype = packet.arp and 0x0806 })
      end)
      raises("nil value", one.run or one.serve, one, function() end)
      one:close()
      assert.same({}, told)
    end))
  end

  it("can be closed after that, and says so when it is run again", attended(function()
    local relay, other = ether.wire()
    local on, opts, part = ROLES.udp_echo(relay)
    local one = require("etherlua.role.udp_echo").new(on, opts)
    one[part] = nil
    ether.spawn(function() other:conn { mac = PEER }:send(datagram(5, 9):build(), ALL) end)
    raises("nil value", one.serve, one)
    one:close()
    assert.same({ nil, "closed" }, { one:serve() })
  end))
end)
