-- resolve = "arp" beside kernels, which have to agree.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local proto = require "etherlua.proto"

local A = frames.MAC_A

-- The next IP packet that the EtherConn receives.
local function next_of(conn, ethertype)
  while true do
    local packet, from = conn:recv(1)
    assert(packet, from)
    if from.ethertype == ethertype then return proto[ethertype == 0x0800 and "ipv4" or "ipv6"].parse(packet) end
  end
end

kinds.each_with_interface("a host with ARP and ND", function(it)
  it("finds the kernel's IPv4 address, and is found by the kernel", function(l, open)
    l.far:run("ip addr add 10.0.0.2/24 dev eth0")
    local conn = open(l.near):conn { mac = A }
    local udp = conn:udp("10.0.0.1:7", { resolve = "arp" })
    assert.is_true(udp:send("x", "10.0.0.2:9"))
    local packet = next_of(conn, 0x0800)
    assert.same({ 1, "10.0.0.2" }, { packet.protocol, packet.src }) -- nobody listens there: port unreachable
    assert.matches("10.0.0.1 dev eth0 lladdr " .. A, l.far:run("ip neigh show"))
  end)

  it("is found by the kernel that asks first", function(l, open)
    l.far:run("ip addr add 10.0.0.2/24 dev eth0")
    local udp = open(l.near):conn({ mac = A }):udp("10.0.0.1:7", { resolve = "arp" })
    l.far:start { "bash", "-c", "echo hello >/dev/udp/10.0.0.1/7" }
    assert.equal("hello\n", (udp:recv(2)))
  end)

  it("gives up on an IPv4 address that the kernel does not have", function(l, open)
    l.far:run("ip addr add 10.0.0.2/24 dev eth0")
    local udp = open(l.near):conn({ mac = A }):udp("10.0.0.1:7", { resolve = "arp" })
    local before = ether.now()
    assert.same({ nil, "no answer from neighbour 10.0.0.3" }, { udp:send("x", "10.0.0.3:9") })
    assert.is_true(ether.now() - before >= 1)
  end)

  it("finds the kernel's IPv6 address, and is found by the kernel", { ipv6 = true }, function(l, open)
    l.far:run("ip addr add 2001:db8::2/64 dev eth0 nodad")
    local conn = open(l.near):conn { mac = A }
    local udp = conn:udp("[2001:db8::1]:7", { resolve = "arp" })
    assert.is_true(udp:send("x", "[2001:db8::2]:9"))
    local packet
    repeat packet = next_of(conn, 0x86dd) until packet.payload:byte() == 1 -- not neighbour discovery
    assert.same({ 58, "2001:db8::2" }, { packet.protocol, packet.src })
    assert.matches("2001:db8::1 dev eth0 lladdr " .. A, l.far:run("ip neigh show"))
  end)

  it("gives up on an IPv6 address that the kernel does not have", { ipv6 = true }, function(l, open)
    local udp = open(l.near):conn({ mac = A }):udp("[2001:db8::1]:7", { resolve = "arp" })
    local before = ether.now()
    assert.same({ nil, "no answer from neighbour 2001:db8::3" }, { udp:send("x", "[2001:db8::3]:9") })
    assert.is_true(ether.now() - before >= 1)
  end)

  it("is found at its IPv6 address by the kernel that asks first", { ipv6 = true }, function(l, open)
    l.far:run("ip addr add 2001:db8::2/64 dev eth0 nodad")
    local udp = open(l.near):conn({ mac = A, multicast = true }):udp("[2001:db8::1]:7", { resolve = "arp" })
    l.far:start { "bash", "-c", "echo hello >/dev/udp/2001:db8::1/7" }
    assert.equal("hello\n", (udp:recv(3)))
  end)
end)
