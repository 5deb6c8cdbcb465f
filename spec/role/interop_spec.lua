-- Interop: the DHCP client against servers that nobody here wrote, and the DHCP server against such clients, untagged
-- and through VLAN tags. The client and server scripts run as programs, as a user would run them; where a test has to
-- look inside, the role runs in this process.

local access = require "support.access"
local cjson = require "cjson"
local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local sched = require "etherlua.core.sched"
local servers = require "etherlua.test.servers"
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local MAC = "02:00:00:00:0c:01"
local OTHER = "02:00:00:00:0c:ff"
local INT = 2
local T1 = { kea = 1, dnsmasq = 3 } -- seconds; dnsmasq takes no less

local SERVER_OPTS = { address = "10.0.0.1/24", pool = "10.0.0.10-10.0.0.250", lease_time = 1234, rebind_time = 1000 }

-- Things to close behind a test or a suite, the last first.
local function closer()
  local made = {}
  local function close_all()
    for i = #made, 1, -1 do
      local one = table.remove(made, i);
      (one.close or one.stop)(one)
    end
  end
  return function(x)
    made[#made + 1] = x
    return x
  end, close_all
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

-- Starts a shipped script in the namespace; its log is removed when it is closed.
local function start(ns, ...)
  local log = os.tmpname()
  local process = ns:start({ ETHERLUA, "run", ... }, { log = log })
  return { process = process, log = function() return process:log() end, close = function()
    process:stop()
    os.remove(log)
  end }
end

-- Runs a shipped script to its end, which has to be exit status 0. Returns what it printed.
local function run(ns, ...)
  local program = start(ns, ...)
  local status, text = program.process:wait(20), program.log()
  program:close()
  assert.equal(0, status, text)
  return text
end

local function decoded(text)
  local objects = {}
  for line in text:gmatch("[^\n]+") do objects[#objects + 1] = cjson.decode(line) end
  return objects
end

-- fn as a task, with a relay on the client's side. The role waits as long as a lease lasts; a test does not.
local function with_relay(ns, fn)
  kinds.run(function()
    sched.spawn_background(function()
      ether.sleep(15)
      error("still not done after 15 s")
    end)
    fn(ns:enter(ether.open, "afpacket:eth0"))
  end)
  leaks.check()
end

local function reason_not_to(...)
  return servers.missing(...) or access.missing()
end

local STACKS = {
  { name = "untagged" },
  { name = "VLAN 100", vlans = "100" },
  { name = "VLAN 100.200", vlans = "100.200" },
}

for _, kind in ipairs { "kea", "dnsmasq" } do
  local missing = reason_not_to(kind == "kea" and "kea-dhcp4" or kind)

  -- A test that is pending where the server is missing.
  local function when_possible(name, fn)
    it(name, function()
      if missing then return pending(missing) end
      fn()
    end)
  end

  for _, stack in ipairs(STACKS) do
    describe(("dhcp4_client against %s, %s,"):format(kind, stack.name), function()
      local node, server
      local keep, close_all = closer()
      local vlan = stack.vlans or ""

      setup(function()
        if missing then return end
        node = keep(access.new { vlans = stack.vlans })
        local opts = { renew_time = T1[kind] }
        for name, value in pairs(SERVER_OPTS) do opts[name] = value end
        server = keep(servers[kind](node.server, opts))
      end)

      teardown(close_all)

      when_possible("gets a lease with the terms that the server was told", function()
        local text = run(node.client, "dhcp4_client", "-i", "eth0", "--vlan", vlan, "--mac", MAC, "--json")
        local lease, summary = unpack(decoded(text))
        assert.matches("^10%.0%.0%.%d+$", lease.ip)
        assert.is_true(lease.elapsed_ms > 0 and lease.elapsed_ms < 5000)
        lease.ip, lease.elapsed_ms = nil, nil
        assert.same({ mac = MAC, vlans = vlan, mask = "255.255.255.0", router = "10.0.0.1", server = "10.0.0.1",
          lease_time = 1234 }, lease)
        assert.same({ 1, 1, 0 }, { summary.clients, summary.bound, summary.failed })
      end)

      when_possible("gets 50 leases for 50 clients at once, no two alike", function()
        local objects = decoded(run(node.client, "dhcp4_client", "-i", "eth0", "--vlan", vlan, "--mac",
          "02:00:00:00:50:00", "--count", "50", "--json"))
        local summary, ips, macs = table.remove(objects), {}, {}
        for _, lease in ipairs(objects) do ips[lease.ip], macs[lease.mac] = true, true end
        local different = 0
        for _ in pairs(ips) do different = different + 1 end
        assert.same({ 50, 50, 50 }, { summary.bound, #objects, different })
        assert.is_true(macs["02:00:00:00:50:00"] and macs["02:00:00:00:50:31"])
      end)

      -- dnsmasq takes no T1 under three seconds: once will do.
      if kind == "dnsmasq" and vlan ~= "100.200" then return end

      when_possible("renews at T1 and releases on Ctrl-C", function()
        local before = #server:log()
        local program = start(node.client, "dhcp4_client", "-i", "eth0", "--vlan", vlan, "--mac", MAC, "--hold")
        finally(program.close)
        local renewed = eventually(function() return program.log():match(" renewed (%S+)") end)
        assert.equal(0, program.process:stop(INT))
        local ip = program.log():match("  (%S+)/24  router 10%.0%.0%.1  server 10%.0%.0%.1  lease 1234 s  ")
        assert.equal(ip, renewed)
        local function log() return server:log():sub(before + 1) end
        local released = kind == "kea" and "address " .. ip .. " was released" or "DHCPRELEASE%(eth0%) " .. ip
        assert.is_truthy(eventually(function() return log():match(released) end), log()) -- written when it has time
        local granted = kind == "kea" and "DHCP4_LEASE_ALLOC.-lease " .. ip or "DHCPACK%(eth0%) " .. ip
        assert.is_true(count(log(), granted) >= 2, log())
      end)
    end)
  end

  describe("the DHCP client against " .. kind, function()
    local keep, close_all = closer()

    after_each(close_all)

    local function access_with(stack, opts)
      local node = keep(access.new(stack))
      local all = {}
      for name, value in pairs(SERVER_OPTS) do all[name] = value end
      for name, value in pairs(opts or {}) do all[name] = value end
      return node, keep(servers[kind](node.server, all))
    end

    when_possible("leases, renews and releases behind an outer tag of 802.1ad", function()
      local node, server = access_with { vlans = "100.200", tpid = 0x88a8 }
      with_relay(node.client, function(relay)
        local conn = relay:conn { mac = MAC, vlans = { { vid = 100, tpid = 0x88a8 }, 200 } }
        local lease = assert(dhcp4_client.lease(conn, { probe = "quick" }))
        assert.equal("10.0.0.1", lease.server)
        assert.is_true(lease:renew())
        lease:close()
        relay:flush()
        assert.is_true(eventually(function() return server:log():lower():find("release") end) ~= nil)
      end)
    end)

    when_possible("hears at the renewal that its address is another host's now, and leases another one", function()
      local node, server = access_with { vlans = "100" }
      with_relay(node.client, function(relay)
        local conn = relay:conn { mac = MAC, vlans = 100 }
        local lease = assert(dhcp4_client.lease(conn, { probe = "quick" }))
        server:stop()
        local opts = { address = "10.0.0.1/24", pool = "10.0.0.10-10.0.0.250" }
        if kind == "kea" then
          opts.subnet = { reservations = { { ["hw-address"] = OTHER, ["ip-address"] = lease.ip } } }
        else
          opts.args = { ("--dhcp-host=%s,%s"):format(OTHER, lease.ip) }
        end
        keep(servers[kind](node.server, opts))
        local refused, reason = lease:rebind()
        assert.is_nil(refused)
        assert.equal("refused (NAK)", reason)
        lease:close()
        assert.not_equal(lease.ip, assert(dhcp4_client.lease(conn, {})).ip)
      end)
    end)

    when_possible("declines an address that a host on the link already has, and takes the next", function()
      local client, hub, squatter, far = keep(lab.namespace()), keep(lab.namespace()), keep(lab.namespace()),
        keep(lab.namespace())
      hub:run("ip link add br0 type bridge; ip link set br0 up")
      for name, ns in pairs { c = client, q = squatter, s = far } do
        lab.veth(ns, "eth0", hub, name)
        hub:run(("ip link set %s master br0"):format(name))
      end
      squatter:run("ip addr add 10.0.0.77/24 dev eth0")
      local server = keep(servers[kind](far, SERVER_OPTS))
      with_relay(client, function(relay)
        local lease = assert(dhcp4_client.lease(relay:conn { mac = MAC }, { probe = "quick", decline_pause = 0.1,
          requested_address = "10.0.0.77" }))
        assert.matches("^10%.0%.0%.%d+$", lease.ip)
        assert.not_equal("10.0.0.77", lease.ip)
      end)
      assert.matches("[Dd][Ee][Cc][Ll][Ii][Nn][Ee].-10%.0%.0%.77", server:log())
    end)

    when_possible("is known by the vendor class and client identifier that it was told to send", function()
      local node, server = access_with({}, kind == "kea" and { config = { ["client-classes"] = {
        { name = "cpe", test = "option[60].text == 'etherlua'", ["valid-lifetime"] = 777 } } } })
      local text = run(node.client, "dhcp4_client", "-i", "eth0", "--mac", MAC, "--option", "60=etherlua", "--option",
        "61=0x00637065", "--no-release")
      if kind == "kea" then
        assert.matches("lease 777 s", text)
      else
        assert.matches("vendor class: etherlua\n", server:log())
      end
      local file = io.open(server.folder .. "/leases")
      local known = file and file:read("*a") or server:log()
      if file then file:close() end
      assert.matches("00:63:70:65", known)
    end)

    when_possible("answers ARP for the address that it holds, also without ARP probes", function()
      local node = access_with()
      local program = start(node.client, "dhcp4_client", "-i", "eth0", "--mac", MAC, "--arp-probe", "off", "--hold")
      finally(program.close)
      local ip = eventually(function() return program.log():match("  (%S+)/24  router ") end)
      assert.matches("[[]" .. MAC .. "[]]", node.server:run("busybox arping -b -f -c 3 -w 3 -I eth0 " .. ip))
    end)
  end)
end

-- ---- the server script --------------------------------------------------------------------------------------------

-- udhcpc's script: what a host does with a lease.
local CONFIGURE = [[#!/bin/sh
case "$1" in
bound|renew) ip addr replace $ip/$mask dev eth0 && ip route replace default via $router; echo "$1 $ip $lease" ;;
deconfig) ip addr flush dev eth0 ;;
esac
]]

for _, stack in ipairs { STACKS[1], STACKS[2] } do
  describe(("dhcp4_server, %s,"):format(stack.name), function()
    local missing = reason_not_to("busybox", "dhclient")
    local keep, close_all = closer()
    local node, server

    -- The server sits on the tagged side of the access node, so the clients need not know of tags.
    before_each(function()
      if missing then return end
      node = keep(access.new { vlans = stack.vlans })
      server = keep(start(node.client, "dhcp4_server", "-i", "eth0", "--pool", "10.0.0.10-10.0.0.11", "--mask",
        "255.255.255.0", "--dns", "10.0.0.53", "--lease", "4"))
      assert(eventually(function() return server.log():find("^serving ") end), server.log())
    end)

    after_each(close_all)

    local function when_possible(name, fn)
      it(name, function()
        if missing then return pending(missing) end
        fn()
      end)
    end

    -- Ends the server as Ctrl-C does; returns the counters that it prints.
    local function counters()
      assert.equal(0, server.process:stop(INT))
      local counts = {}
      for name, number in server.log():match("\n([^\n]*)\n$"):gmatch("(%a+) (%d+)") do
        counts[name] = tonumber(number)
      end
      return counts
    end

    -- udhcpc that stays and configures the interface.
    local function start_udhcpc()
      local script, log = os.tmpname(), os.tmpname()
      local file = assert(io.open(script, "w"))
      file:write(CONFIGURE)
      file:close()
      os.execute("chmod 755 " .. script)
      local process = node.server:start({ "busybox", "udhcpc", "-f", "-R", "-t", "5", "-T", "1", "-i", "eth0", "-s",
        script }, { log = log })
      keep { stop = function()
        process:stop()
        os.remove(script)
        os.remove(log)
      end }
      return process
    end

    when_possible("leases to udhcpc, with the terms that it was told", function()
      local lease = assert(servers.udhcpc(node.server))
      lease.env = nil
      assert.same({ ip = "10.0.0.10", mask = 24, subnet = "255.255.255.0", router = "10.0.0.1", dns = "10.0.0.53",
        lease = 4, serverid = "10.0.0.1" }, lease)
    end)

    when_possible("gives the next client another address, and a third one none", function()
      local leases = {}
      for i = 1, 3 do
        node.server:run(("ip link set dev eth0 address 02:00:00:00:aa:0%d"):format(i))
        leases[i] = servers.udhcpc(node.server, { args = i == 3 and { "-t", "1" } or nil }) or false
      end
      assert.same({ "10.0.0.10", "10.0.0.11", false }, { leases[1].ip, leases[2].ip, leases[3] })
      assert.equal(1, counters().exhausted)
    end)

    when_possible("is a gateway that udhcpc's host can ping, renews its lease, and takes it back", function()
      local udhcpc = start_udhcpc()
      assert(eventually(function() return udhcpc:log():find("bound 10.0.0.10 4", 1, true) end), udhcpc:log())
      os.execute("kill -USR1 " .. udhcpc.pid) -- it would not renew within a minute
      assert(eventually(function() return udhcpc:log():find("renew 10.0.0.10 4", 1, true) end), udhcpc:log())
      assert.matches(" 0%% packet loss", node.server:run("busybox ping -c 1 -W 2 10.0.0.1"))
      udhcpc:stop()
      local counts = counters()
      assert.is_true(counts.arp >= 1 and counts.ack >= 2, server.log())
      assert.same({ discover = 1, release = 1, ping = 1 },
        { discover = counts.discover, release = counts.release, ping = counts.ping, nak = counts.nak,
          bound = counts.bound })
    end)

    when_possible("leases to dhclient, renews, and takes the address back", function()
      node.server:run("ip addr add 10.0.0.10/24 dev eth0") -- dhclient's own script would do it
      local client = servers.dhclient_start(node.server)
      keep { stop = function() client:result(0) end }
      local function event()
        local file = io.open(client.folder .. "/env")
        local text = file and file:read("*a") or ""
        if file then file:close() end
        return text:match("\nreason=(%u+)") or text:match("^reason=(%u+)"), text:match("new_ip_address=(%S+)")
      end
      assert(eventually(function() return event() == "RENEW" end, 8), client.process:log())
      assert.equal("10.0.0.10", select(2, event()))
      node.server:run(("%s/dhclient -r -cf %s/conf -lf %s/leases -pf %s/pid -sf %s/script eth0"):gsub("%%s",
        client.folder))
      local counts = counters()
      assert.is_true(counts.ack >= 2, server.log())
      assert.equal(1, counts.release)
    end)
  end)
end
