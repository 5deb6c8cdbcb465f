-- etherlua.test as spec files use it: expectations, frames side by side, labs. And the examples: that they pass, and
-- that each fails with a readable message when what it tests misbehaves.

local files = require "support.files"
local frames = require "support.frames"
local lab = require "etherlua.lab.lab"
local misuse = require "etherlua.core.misuse"
local servers = require "etherlua.test.servers"
local test = require "etherlua.test"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local EXAMPLES = "scripts/examples/"

-- What fn(...) fails with.
local function failure_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(type(failure) == "table" and failure.message or failure)
end

describe("expect(endpoint)", function()
  local sender, conn

  before_each(function()
    local a, b = test.wire()
    sender, conn = a:conn { mac = frames.MAC_A, vlans = 5 }, b:conn { mac = frames.MAC_B, vlans = 5 }
  end)

  after_each(function() sender, conn = nil, nil end) -- busted keeps this block

  local function send(fields)
    assert(sender:send(frames.udp(fields), frames.MAC_B))
  end

  it(":to_receive returns the first frame that matches, decoded", function()
    send { dst_port = 1 }
    send { dst_port = 2, payload = "second" }
    local frame = test.expect(conn):to_receive { ip = { dst = "10.0.0.2" }, udp = { dst_port = 2 } }
    assert.equal("second", frame.udp.payload)
    assert.equal(frames.MAC_A, frame.ethernet.src)
  end)

  it(":to_receive takes a table, a function or a Lua pattern", function()
    local PATTERNS = {
      { ethernet = { vlans = { 5 } }, ipv6 = false },
      { udp = { dst_port = function(port) return port > 1999 end } },
      function(frame) return frame.ipv4 end,
      "10%.0%.0%.1:1000 > 10%.0%.0%.2:2000",
      "^.*payload$",
    }
    for _, pattern in ipairs(PATTERNS) do
      send()
      test.expect(conn):to_receive(pattern)
    end
  end)

  it(":to_receive fails with what came instead, and at the line of the test", function()
    send { dst_port = 7 }
    local message = failure_of(function() test.expect(conn):to_receive({ udp = { dst_port = 67 } }, 0.01) end)
    assert.matches("^spec/program/test_library_spec.lua:%d+: EtherConn 02:00:00:00:00:0b vlan 5 ", message)
    assert.matches("{ udp = { dst_port = 67 } } within 0.01 s (timeout): 1 other frame came:\n", message, 1, true)
    assert.matches("10.0.0.1:1000 > 10.0.0.2:7 .*\n +udp.dst_port is 7, not 67", message)
    assert.matches("nothing came", failure_of(function() test.expect(conn):to_receive({}, 0) end))
  end)

  it(":to_receive lists the last frames of many", function()
    for port = 1, 20 do send { dst_port = port } end
    local message = failure_of(function() test.expect(conn):to_receive({ udp = { dst_port = 67 } }, 0.01) end)
    assert.matches("20 other frames came, the last of them:", message)
    assert.matches("udp.dst_port is 20,", message)
    assert.not_matches("udp.dst_port is 12,", message)
  end)

  it("tells a VLAN stack from a longer one, and what is missing", function()
    send()
    local message = failure_of(function() test.expect(conn):to_receive({ ethernet = { vlans = { 5, 6 } } }, 0.01) end)
    assert.matches("ethernet.vlans is { 5 }, not { 5, 6 }", message, 1, true)
    send()
    message = failure_of(function() test.expect(conn):to_receive({ dhcp4 = {} }, 0.01) end)
    assert.matches("dhcp4 is missing, {} is wanted", message, 1, true)
  end)

  it(":to_receive_nothing passes in silence and names what came", function()
    test.expect(conn):to_receive_nothing(0.01)
    send()
    test.expect(conn):to_receive_nothing(0.01, { udp = { dst_port = 67 } })
    send()
    local message = failure_of(function() test.expect(conn):to_receive_nothing(0.01) end)
    assert.matches("received what it should not: 02:00:00:00:00:0a > 02:00:00:00:00:0b vlan 5 IPv4", message)
  end)

  it("works on RUDPConns", function()
    local udp = conn:udp "10.0.0.2:2000"
    send()
    test.expect(udp):to_receive "payload"
  end)

  it("refuses what is no endpoint, no pattern, no time", function()
    assert.matches("bad endpoint 5: an EtherConn, a RUDPConn or a host is needed", failure_of(test.expect, 5))
    assert.matches("bad time x: seconds are needed", failure_of(function() test.expect(conn):to_receive({}, "x") end))
    send()
    assert.matches("bad pattern 5: a table", failure_of(function() test.expect(conn):to_receive(5) end))
  end)
end)

describe("an expectation that can never see anything", function()
  local a, conn

  before_each(function()
    a = test.wire()
    conn = a:conn { mac = frames.MAC_A, ethertypes = { 0x0806, 0x0800 } }
  end)

  after_each(function() a, conn = nil, nil end) -- busted keeps this block

  -- It is told at once, at the line of the test, whether a frame is expected or none.
  local function never(on, pattern, reason)
    for _, method in ipairs { "to_receive", "to_receive_nothing" } do
      local message = failure_of(function()
        local expected = test.expect(on)
        if method == "to_receive" then return expected:to_receive(pattern, 9) end
        return expected:to_receive_nothing(9, pattern)
      end)
      assert.matches("^spec/program/test_library_spec.lua:%d+: ", message)
      assert.matches(" never sees {", message, 1, true)
      assert.matches(reason, message, 1, true)
    end
  end

  it("is an error: a group, without multicast", function()
    for _, dst in ipairs { frames.BROADCAST, "33:33:00:00:00:01" } do
      never(conn, { ethernet = { dst = dst } }, "without multicast = true it receives no frames to groups")
    end
    local all = a:conn { mac = frames.MAC_B, multicast = true }
    test.expect(all):to_receive_nothing(0, { ether = { dst = frames.BROADCAST } })
  end)

  it("is an error: another MAC address or EtherType than it has", function()
    never(conn, { ether = { dst = frames.MAC_B } }, "it receives what is sent to 02:00:00:00:00:0a")
    never(conn, { ether = { ethertype = 0x88b5 } }, "it has not the EtherType 0x88b5")
    never(conn, { ip6 = {} }, "it has not the EtherType of ip6")
    test.expect(conn):to_receive_nothing(0, { ip6 = false, ip4 = {}, ether = { dst = frames.MAC_A:upper() } })
    test.expect(a:default_conn()):to_receive_nothing(0, { ip6 = {}, ether = { dst = frames.MAC_B, ethertype = 1600 } })
  end)

  it("is an error: what a RUDPConn on it takes", function()
    local udp = conn:udp "0.0.0.0:68"
    never(conn, { udp = { dst_port = 68 } }, "RUDPConn 0.0.0.0:68 on it receives these")
    test.expect(conn):to_receive_nothing(0, { udp = { dst_port = 67 } })
    test.expect(udp):to_receive_nothing(0, { udp = { dst_port = 68 }, dhcp4 = { op = 2 } })
    never(conn:udp("10.0.0.1:9", { accept_any = true }), { arp = {} }, "a RUDPConn receives no arp")
    never(conn, { udp = {} }, "RUDPConn 10.0.0.1:9 on it receives these")
  end)

  it("is an error: another protocol or port than that of a RUDPConn", function()
    local udp = conn:udp "10.0.0.1:68"
    for _, name in ipairs { "arp", "icmp", "icmp6", "tcp" } do never(udp, { [name] = {} }, "receives no " .. name) end
    never(udp, { udp = { dport = 67 } }, "it receives what is sent to port 68")
  end)
end)

describe("assertions about frames", function()
  local function frame(fields) return frames.frame(frames.udp(fields), { vlans = { 5 } }) end

  it("show both frames decoded, with the fields that differ marked", function()
    assert.same_frame(frame(), frame())
    local message = failure_of(function() assert.same_frame(frame(), frame { dst_port = 7, ttl = 3 }) end)
    assert.matches("expected  02:00:00:00:00:0a > 02:00:00:00:00:0b vlan 5 IPv4 10.0.0.1:1000 > 10.0.0.2:2000", message)
    assert.matches("\n* udp.dst_port                 2000 | 7\n", message, 1, true)
    assert.matches("\n%* ipv4.ttl +%d+ | 3\n", message)
    assert.matches("\n  udp.src_port                 1000\n", message, 1, true)
    assert.not_matches("%* ethernet", message)
    assert.not_same_frame(frame(), frame { dst_port = 7 })
  end)

  it("match a frame with a pattern", function()
    assert.frame_matches({ udp = { dst_port = 2000 } }, frame())
    assert.not_frame_matches({ udp = { dst_port = 7 } }, frame())
    assert.matches("udp.dst_port is 2000, not 7",
      failure_of(function() assert.frame_matches({ udp = { dst_port = 7 } }, frame()) end))
  end)

  it("refuse what is no frame", function()
    assert.matches("bad frame nil: its bytes are needed", failure_of(function() assert.same_frame(nil, "") end))
  end)
end)

describe("a lab of a test", function()
  local function lab_it(name, fn)
    it(name, function()
      local permitted, reason = lab.root()
      if not permitted then return pending(reason) end
      fn()
    end)
  end

  lab_it("joins two hosts unless told otherwise, and serves", function()
    local net = test.lab { mtu = 1400 }
    net:serve "far"
    local near = net:relay("near", { kind = "pcap" })
    assert.same({ "pcap", 1400 }, { near.kind, near.mtu })
    assert.equal("10.0.0.10", assert(require("etherlua.role.dhcp4_client").lease(near:conn())).ip)
  end)

  lab_it("has a switch without VLANs", function()
    local net = test.lab { switch = { "a", "b", "c" } }
    local a = net:relay("a"):conn { mac = frames.MAC_A }
    local b, c = net:relay("b"):conn { multicast = true }, net:relay("c"):conn { multicast = true }
    a:send(frames.udp(), frames.BROADCAST)
    test.expect(b):to_receive { udp = {} }
    test.expect(c):to_receive { udp = {} }
  end)

  lab_it("gives addresses to its hosts", function()
    local net = test.lab { links = { { "a", "b:up0" } }, addresses = { a = "10.9.0.1/24", ["b:up0"] = "10.9.0.2/24" } }
    assert.matches("1 packets received", net:host("a"):run "busybox ping -c 1 10.9.0.2")
  end)

  lab_it("is silent: no kernel in it has IPv6, on whatever interface, unless it is asked for", function()
    local DEVICES = "ip -6 -o addr | awk '$2 != \"lo\" { print $2 }' | sort -u"
    local net = test.lab { switch = { "a", "b" }, links = { { "near", "far" } }, addresses = { near = "10.9.0.1/24" } }
    for name, host in pairs(net.hosts) do
      host:run "ip link add late type bridge && ip link set late up"
      assert.equal("", host:run(DEVICES), name)
    end
    assert.matches("inet6 ::1/128", net:host("near"):run "ip -6 addr show dev lo")
    net = test.lab { ipv6 = true, switch = { "a", "b" } }
    assert.equal("eth0\n", net:host("a"):run(DEVICES))
  end)

  lab_it("gives IPv6 addresses, which can be used at once, to hosts that need not have others", function()
    local net = test.lab { addresses = { near = { "10.9.0.1/24", "2001:db8::1/64" }, far = "2001:db8::2/64" } }
    assert.matches("1 received", net:host("near"):run "ping -c 1 -W 2 2001:db8::2")
    assert.matches("inet 10.9.0.1/24 brd 10.9.0.255", net:host("near"):run "ip addr show dev eth0")
  end)

  lab_it("refuses what is not there in one line", function()
    local net = test.lab()
    assert.equal('no host "x" in this lab: there are far, near', misuse.words(failure_of(net.host, net, "x")))
    assert.matches('unknown option "frob" of test.lab: known are: addresses, checksum, ',
      failure_of(test.lab, { frob = 1 }))
    assert.matches("bad VLAN ID 4095 of port a: 1 to 4094", failure_of(test.lab, { switch = { a = 4095 } }))
    assert.matches('bad end of a link "a:b:c"', failure_of(test.lab, { links = { { "a:b:c", "d" } } }))
    assert.matches('unknown option "adress" of dnsmasq, did you mean "address"%?',
      failure_of(servers.dnsmasq, net:host "far", { adress = "10.0.0.1/24" }))
    assert.matches('no server "ftpd": dhcrelay, dnsmasq or kea is allowed', failure_of(net.start, net, "ftpd", "far"))
  end)

  lab_it("says with its log why a server did not come up", function()
    local net = test.lab()
    local message = failure_of(net.start, net, "dhcrelay", "far", { down = "eth0", up = "no", server = "10.0.0.1" })
    assert.matches("dhcrelay did not come up; its log:\n", message)
  end)
end)

describe("the examples", function()
  local MISSING = select(2, lab.root()) or test.missing("dnsmasq", "dhcrelay", "nft")

  -- Runs them as people do; returns exit status and output. Kept captures go.
  local function run(environment, name)
    local log = os.tmpname()
    local status = os.execute(("%s timeout 60 '%s' test %s%s -o TAP >%s 2>&1"):format(environment, ETHERLUA, EXAMPLES,
      name, log))
    local out = files.read_all(log)
    os.remove(log)
    for path in out:gmatch "capture of [^\n]-: (%S+)" do assert.is_true(os.remove(path)) end
    return status == 0, out
  end

  local function example(name, environment, complaint)
    it(name .. " passes, and fails readably when its server misbehaves", function()
      if MISSING then return pending(MISSING) end
      local passed, out = run("", name)
      assert.is_true(passed, out)
      passed, out = run(environment, name)
      assert.is_false(passed)
      assert.matches(complaint, out)
    end)
  end

  example("dhcp_pool_spec.lua", "POOL_END=10.0.0.11", "pool_spec.lua:%d+: the second host was given an address")
  example("vlan_leak_spec.lua", "LEAK=100",
    "leak_spec.lua:%d+: EtherConn 02:00:00:00:00:02 vlan 200 received what it should not: 02:00:00:00:00:01 > ")
  example("relay_agent_spec.lua", "AGENT_OPTIONS='-c 4'", "dhcp4.options.relay_agent is missing")
end)
