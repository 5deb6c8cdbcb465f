-- The judges themselves: the access node and the real servers and clients that other specs trust, and their clock.

local access = require "support.access"
local clock = require "support.clock"
local ether = require "etherlua"
local servers = require "etherlua.test.servers"

local POOL = "10.0.0.10-10.0.0.250"

local function exists(path)
  return os.execute("test -e " .. path) == 0
end

describe("the access node", function()
  local node

  after_each(function()
    if node then node:close() end
    node = nil
  end)

  local function when_possible(name, fn)
    local reason = servers.missing("busybox", "tcpdump") or access.missing()
    it(name, function()
      if reason then return pending(reason) end
      fn()
    end)
  end

  -- A node with kernels that have addresses on both sides, and what tcpdump says of a ping on the tagged side.
  local function ping(opts, size)
    node = access.new(opts)
    node:tag_client()
    node.client:run("ip addr add 10.0.0.2/24 dev eth0")
    node.server:run("ip addr add 10.0.0.1/24 dev eth0")
    local log = os.tmpname()
    local capture = node.node:start({ "tcpdump", "-lnei", "cli", "-c", "4" }, { log = log })
    for _ = 1, 40 do
      if capture:log():find("listening on") or capture:wait(0.05) then break end
    end
    local output = node.client:run(("busybox ping -c 1 -W 2 -s %d 10.0.0.1"):format(size))
    capture:wait(2)
    capture:stop()
    local text = capture:log()
    os.remove(log)
    return output, text
  end

  local function count(text, pattern)
    return select(2, text:gsub(pattern, ""))
  end

  when_possible("joins both sides when there are no tags", function()
    local output, frames = ping({}, 1472)
    assert.matches(" 0%% packet loss", output)
    assert.equal(0, count(frames, "vlan"))
    assert.equal(2, count(frames, "ICMP echo"))
  end)

  when_possible("carries one tag on the client's side alone, with full-sized packets", function()
    local output, frames = ping({ vlans = "100" }, 1472)
    assert.matches(" 0%% packet loss", output)
    assert.equal(2, count(frames, "ethertype 802.1Q %(0x8100%), length 1518: vlan 100, p 0, ethertype IPv4"))
  end)

  when_possible("carries two tags, the outer one with the TPID of 802.1ad", function()
    local output, frames = ping({ vlans = "100.200", tpid = 0x88a8 }, 1472)
    assert.matches(" 0%% packet loss", output)
    assert.equal(2, count(frames, "802.1Q%-QinQ %(0x88a8%), length 1522: vlan 100, p 0, "
      .. "ethertype 802.1Q %(0x8100%), vlan 200, p 0, ethertype IPv4"))
  end)

  when_possible("carries four tags in order", function()
    local output, frames = ping({ vlans = "1.2.3.4" }, 1472)
    assert.matches(" 0%% packet loss", output)
    assert.equal(4, count(frames, "vlan 1, .- vlan 2, .- vlan 3, .- vlan 4, "))
  end)

  when_possible("drops frames with another stack", function()
    for _, vlans in ipairs { "", "200", "100.200.300", "200.100" } do
      node = access.new { vlans = "100.200" }
      local other = access.new { vlans = vlans }
      -- The client tags as somebody else would have to; its node is not used.
      node.vlans, other.vlans = other.vlans, node.vlans
      node:tag_client()
      other:close()
      node.client:run("ip addr add 10.0.0.2/24 dev eth0")
      node.server:run("ip addr add 10.0.0.1/24 dev eth0")
      assert.has_error(function() node.client:run("busybox ping -c 1 -W 0.3 10.0.0.1") end)
      node:close()
    end
  end)

  when_possible("leaves no file system mounted", function()
    local function bpf_mounts()
      local pipe = io.popen("grep -c /sys/fs/bpf /proc/self/mounts")
      local number = pipe:read("*n")
      pipe:close()
      return number
    end
    local before = bpf_mounts()
    node = access.new { vlans = "7" }
    assert.equal(before, bpf_mounts())
  end)
end)

describe("real servers and clients", function()
  local node, server

  after_each(function()
    if server then server:stop() end
    if node then node:close() end
    node, server = nil, nil
  end)

  local function check_lease(lease, log)
    assert(lease, log)
    assert.matches("^10%.0%.0%.%d+$", lease.ip)
    assert.equal("255.255.255.0", lease.subnet)
    assert.equal("10.0.0.1", lease.router)
    assert.equal("10.0.0.1", lease.serverid)
    assert.equal("10.0.0.53 10.0.0.54", lease.dns)
    assert.equal(1234, lease.lease)
  end

  local OPTS = { address = "10.0.0.1/24", pool = POOL, lease_time = 1234, dns = { "10.0.0.53", "10.0.0.54" } }

  for _, kind in ipairs { "kea", "dnsmasq" } do
    local program = kind == "kea" and "kea-dhcp4" or kind
    for _, stack in ipairs { { vlans = "" }, { vlans = "100" }, { vlans = "100.200", tpid = 0x88a8 } } do
      local reason = servers.missing(program, "busybox") or access.missing()
      it(("let udhcpc lease from %s through the access node, VLAN stack %q"):format(kind, stack.vlans), function()
        if reason then return pending(reason) end
        node = access.new(stack)
        node:tag_client()
        server = servers[kind](node.server, OPTS)
        check_lease(servers.udhcpc(node.client))
      end)
    end

    it("let dhclient lease from " .. kind, function()
      local reason = servers.missing(program, "dhclient") or access.missing()
      if reason then return pending(reason) end
      node = access.new()
      server = servers[kind](node.server, OPTS)
      check_lease(servers.dhclient(node.client))
    end)

    it("leave no files and no processes: " .. kind, function()
      local reason = servers.missing(program, "busybox") or access.missing()
      if reason then return pending(reason) end
      node = access.new()
      server = servers[kind](node.server, OPTS)
      local client = servers.udhcpc_start(node.client)
      assert.is_true(exists(server.folder) and exists(client.folder))
      assert(client:result())
      server:stop()
      assert.not_equal("", server:log())
      for _, one in ipairs { server, client } do
        assert.is_false(exists(one.folder))
        assert.is_false(exists("/proc/" .. one.process.pid))
      end
    end)

    it("say why when they cannot start: " .. kind, function()
      local complaint = kind == "kea" and "Failed to parse pool" or "bad dhcp%-range"
      local reason = servers.missing(program) or access.missing()
      if reason then return pending(reason) end
      node = access.new()
      local bad = { address = "10.0.0.1/24", pool = "10.0.0.10-10.0.0.999" }
      local ok, message = pcall(servers[kind], node.server, bad)
      assert.is_false(ok)
      assert.matches("^" .. kind .. " did not come up; its log:\n.*" .. complaint, message)
    end)
  end

  it("tell when a client gets no lease", function()
    local reason = servers.missing("busybox") or access.missing()
    if reason then return pending(reason) end
    node = access.new()
    local lease, log = servers.udhcpc(node.client, { args = { "-t", "1" } })
    assert.is_nil(lease)
    assert.matches("no lease", log)
  end)
end)

describe("time that stands still", function()
  it("goes by where somebody waits, at once, and goes on from there", function()
    if not clock.can_stop() then return pending "`make test` preloads the clock" end
    local began, first, last = os.time(), nil, nil
    clock.stand_still(ether.run, function()
      first = ether.now()
      os.execute "sleep 0.1"
      assert.is_true(ether.now() - first < 1e-3)
      ether.sleep(1000)
      last = ether.now()
    end)
    assert.is_true(last - first >= 1000 and last - first < 1000.01, tostring(last - first))
    assert.is_true(os.time() - began < 100)
    ether.run(function() assert.is_true(ether.now() >= last) end)
  end)

  it("does so again after a failure, which is passed on", function()
    if not clock.can_stop() then return pending "`make test` preloads the clock" end
    assert.error_matches(function() clock.stand_still(error, "lost", 0) end, "^lost$")
    local before = ether.now()
    os.execute "sleep 0.1"
    assert.is_true(ether.now() - before >= 0.1)
  end)
end)
