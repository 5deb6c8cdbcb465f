-- An emulated host beside kernels, which have to agree.

local ether = require "etherlua"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local sched = require "etherlua.core.sched"

local MAC, IP, LEN, IP6 = "02:00:00:00:00:05", "10.0.0.5", "/24", "2001:db8::5"

-- fn(net, open): a lab whose far end is a kernel with these addresses; open(opts) opens the near relay.
local function against_kernel(kind, fn)
  return function()
    local possible, reason = lab.root()
    if not possible then return pending(reason) end
    kinds.run(function()
      local net = lab.new { ipv6 = true }
      sched.close_at_end(net)
      net.far:configure("ip addr add 10.0.0.1/24 dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad")
      fn(net, net:relay(kind))
    end)
  end
end

-- Runs a command beside the kernel, while tasks here go on; returns its status and what it printed.
local function beside(net, command)
  local log, status = os.tmpname(), nil
  local process = net.far:start({ "sh", "-c", command }, { log = log })
  for _ = 1, 1000 do
    status = process:status()
    if status then break end
    ether.sleep(0.02)
  end
  local text = process:log()
  os.remove(log)
  return status, text
end

-- Pings of the kernel's, one at a time: behind the first answer ping waits for the last one hardly at all.
local function assert_answers(net, pings)
  for _, ping in ipairs(pings) do
    local status, text = beside(net, ("for i in 1 2 3; do ping -c 1 -W 5 %s || exit; done"):format(ping))
    assert.equal(0, status, text)
    assert.equal(3, select(2, text:gsub(" 0%% packet loss", "")), text)
  end
end

for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
  describe("an emulated host beside a kernel over " .. kind, function()
    after_each(leaks.check)

    it("answers its ping, small and large, and its arping; the kernel finds it reachable",
      against_kernel(kind, function(net, relay)
        local host = relay:host { mac = MAC, ip = IP .. LEN, ip6 = IP6 .. "/64" }
        assert(host:ready(5))
        assert_answers(net, { "10.0.0.5", "-s 1472 10.0.0.5", "-s 0 10.0.0.5", "-6 2001:db8::5",
          "-6 -s 1452 2001:db8::5", "-6 fe80::ff:fe00:5%eth0" })
        local status, text = beside(net, "arping -c 2 -w 5 -I eth0 10.0.0.5")
        assert.equal(0, status, text)
        assert.matches("[Rr]eceived 2 response", text)
        local neighbours = net.far:run "ip neigh show dev eth0"
        assert.matches("10.0.0.5 lladdr 02:00:00:00:00:05 REACHABLE", neighbours, 1, true)
        assert.matches("2001:db8::5 lladdr 02:00:00:00:00:05 REACHABLE", neighbours, 1, true)
      end))

    it("answers its largest ping, and sends such, in fragments", against_kernel(kind, function(net, relay)
      local host = relay:host { mac = MAC, ip = IP .. LEN, ip6 = IP6 .. "/64", dad = false }
      assert(host:ready(5))
      assert_answers(net, { "-s 3000 10.0.0.5", "-s 65507 10.0.0.5", "-6 -s 60000 2001:db8::5" })
      local rtt, pong = host:ping("10.0.0.1", { size = 5000 })
      assert.is_number(rtt, pong)
      assert.equal(5008, pong.size)
    end))

    it("is told from a free address by the kernel's probes", against_kernel(kind, function(net, relay)
      local host = relay:host { mac = MAC, ip = IP .. LEN, ip6 = IP6 .. "/64" }
      assert(host:ready(5))
      local status, text = beside(net, "ip addr add 2001:db8::5/64 dev eth0; ip addr add 2001:db8::6/64 dev eth0; " ..
        "sleep 2; ip -6 addr show dev eth0")
      assert.equal(0, status)
      assert.matches("2001:db8::5/64 scope global [%a ]*dadfailed", text)
      assert.is_nil(text:match "2001:db8::6/64 scope global [%a ]*dadfailed")
    end))

    it("does not take an address that the kernel has", against_kernel(kind, function(_, relay)
      local host = relay:host { mac = MAC, ip6 = "2001:db8::1/64" }
      local ready, reason = host:ready(5)
      assert.is_nil(ready)
      assert.matches("^address 2001:db8::1 is in use by ", reason)
      assert.is_truthy(host:duplicates()["2001:db8::1"])
    end))

    it("pings it, and exchanges datagrams with it", against_kernel(kind, function(net, relay)
      local host = relay:host { mac = MAC, ip = IP .. LEN, ip6 = IP6 .. "/64" }
      assert(host:ready(5))
      for _, to in ipairs { "10.0.0.1", "2001:db8::1" } do
        local rtt, pong = host:ping(to)
        assert.is_number(rtt, pong)
        assert.equal(to, pong.from)
      end
      local udp, script = host:udp(7), [[python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(("10.0.0.5", %d)); s.send(b"hello")
print(s.recv(100))']]
      ether.spawn(function()
        local payload, from = udp:recv(5)
        udp:send(payload:upper(), from)
      end)
      local status, text = beside(net, script:format(7))
      assert.same({ 0, "b'HELLO'\n" }, { status, text })
      status, text = beside(net, script:format(8))
      assert.equal(1, status)
      assert.matches("ConnectionRefusedError", text)
    end))
  end)
end
