-- UDP echo: what a kernel's sockets get back, from whom, and what is not answered.

local alone = require "support.alone"
local ether = require "etherlua"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local program = require "support.program"
local proto = require "etherlua.proto"
local test_lab = require "etherlua.test.lab"
local udp_echo = require "etherlua.role.udp_echo"

local MAC, MAC2, ROUTER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:fe"
local ME, ME6, PEER = "10.0.0.1", "2001:db8::1", "10.0.0.2"

-- ---- the role, on a wire ------------------------------------------------------------------------------------------

-- fn(echo, exchange) as a task; exchange(fields, src_mac) sends a datagram and returns the layers of what comes back.
local function on_wire(opts, fn)
  return function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local far = other:default_conn()
      local host = relay:host { mac = MAC, ip = ME .. "/24", ip6 = ME6 .. "/64", dad = false }
      host:ready()
      while far:recv(0.05) do end -- what it says to its neighbours
      local echo = udp_echo.new(host, opts)
      local task = ether.spawn(function() return echo:serve() end)
      fn(echo, function(fields, src_mac)
        local src, dst = fields.src or PEER, fields.dst or ME
        local datagram = proto.udp.build({ src_port = fields.src_port or 4000, dst_port = fields.dst_port or 7,
          payload = fields.payload or "hello" }, { src = src, dst = dst })
        far:send(proto[src:find(":", 1, true) and "ipv6" or "ipv4"].build { src = src, dst = dst, protocol = 17,
          payload = datagram }, MAC, { src_mac = src_mac or ROUTER_MAC })
        local frame = far:recv_frame(0.1)
        return frame and proto.dissect(tostring(frame)) or nil
      end, task)
      task:cancel()
      echo:close()
    end)
  end
end

local function values(layers)
  local ethernet, ip, udp = layers[1].fields, layers[2].fields, layers[3].fields
  return { ethernet.dst, ip.src, ip.dst, udp.src_port, udp.dst_port, udp.payload }
end

describe("role.udp_echo", function()
  after_each(leaks.check)

  it("sends a datagram back to the MAC address that it came from", on_wire({}, function(echo, exchange)
    assert.same({ ROUTER_MAC, ME, "192.0.2.9", 7, 4000, "hello" }, values(exchange { src = "192.0.2.9" }))
    assert.same({ MAC2, ME, PEER, 7, 65535, "" }, values(exchange({ payload = "", src_port = 65535 }, MAC2)))
    local six = exchange { src = "2001:db8:9::9", dst = ME6, payload = "six" }
    assert.same({ ROUTER_MAC, ME6, "2001:db8:9::9", 7, 4000, "six" }, values(six))
    assert.same({ 3, 8 }, { echo.echoed, echo.bytes })
  end))

  it("echoes on the ports that it was given, and says port unreachable at others", on_wire({ ports = { 9, 5060 } },
    function(echo, exchange)
      assert.equal(5060, exchange({ dst_port = 5060 })[3].fields.src_port)
      assert.equal(9, exchange({ dst_port = 9 })[3].fields.src_port)
      assert.equal("icmp", exchange({ dst_port = 7 })[3].name)
      assert.equal(2, echo.echoed)
    end))

  it("echoes on all ports", on_wire({ any_port = true }, function(echo, exchange)
    for _, port in ipairs { 1, 7, 5060, 65535 } do
      assert.equal(port, exchange({ dst_port = port })[3].fields.src_port)
      assert.equal(port, exchange({ src = "2001:db8::2", dst = ME6, dst_port = port })[3].fields.src_port)
    end
    assert.equal(8, echo.echoed)
  end))

  it("does not answer another echo service, and counts it", on_wire({ ports = { 7, 9 } }, function(echo, exchange)
    for _, port in ipairs { 7, 9 } do assert.is_nil(exchange { src_port = port, dst_port = 7 }) end
    assert.same({ 0, 2 }, { echo.echoed, echo.loops })
  end))

  it("answers nobody who is not one host, and nothing that is for another", on_wire({ any_port = true },
    function(echo, exchange)
      for _, fields in ipairs { { src = "0.0.0.0" }, { src = "255.255.255.255" }, { src = "224.0.0.1" },
        { src = "127.0.0.1" }, { src_port = 0 }, { dst_port = 0 }, { dst = "10.0.0.77" }, { dst = "10.0.0.255" },
        { src = "ff02::1", dst = ME6 }, { src = "::", dst = ME6 }, { src = "2001:db8::2", dst = "2001:db8::77" } } do
        assert.is_nil(exchange(fields))
      end
      assert.is_nil(exchange({}, "03:00:00:00:00:01"))
      assert.same({ 0, 12 }, { echo.echoed, echo.ignored })
    end))

  it("ends after so many", on_wire({ count = 2 }, function(echo, exchange, task)
    exchange {}
    assert.is_false(task.done == true)
    exchange {}
    assert.is_true(task:join(1))
    assert.equal(2, echo.echoed)
  end))

  alone.it("makes no garbage", function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local host = relay:host { mac = MAC, ip = ME .. "/24" }
      local far = other:conn { mac = ROUTER_MAC }
      local udp, to, opts = far:udp(PEER .. ":4000"), ether.addr(ME .. ":7"), { mac = ether.mac(MAC) }
      local echo = udp_echo.new(host)
      ether.spawn(function() return echo:serve() end)
      local function run(count)
        for _ = 1, count do
          udp:send("hello", to, opts)
          assert(udp:recv_frame(1))
        end
      end
      run(2000)
      collectgarbage()
      collectgarbage "stop"
      local before = collectgarbage "count"
      run(10000)
      local per_packet = (collectgarbage "count" - before) * 1024 / 10000
      collectgarbage "restart"
      assert.equal(12000, echo.echoed)
      assert.is_true(per_packet < 200, ("%.0f bytes a packet"):format(per_packet))
      echo:close()
    end)
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

local reason = select(2, lab.root())

-- Sends datagrams of several sizes by the kernel's socket, and prints what comes back of them.
local CLIENT = [[
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect((sys.argv[1], int(sys.argv[2])))
for size in (0, 1, 511, 1400):
    data = bytes(i %% 251 for i in range(size))
    s.send(data)
    assert s.recv(2000) == data
print("echoed")
]]

describe("the script udp_echo", function()
  local net, near, far

  setup(function()
    if reason then return end
    net = test_lab.new { ipv6 = true }
    near, far = net:host "near", net:host "far"
    far:run "ip addr add 10.0.0.2/24 dev eth0 && ip addr add 2001:db8::2/64 dev eth0 nodad"
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function root_it(name, fn)
    it(name, function()
      if reason then return pending(reason) end
      fn()
    end)
  end

  local function client(ip, port)
    return far:run(("python3 -c '%s' %s %d"):format(CLIENT:gsub("%%%%", "%%"), ip, port))
  end

  root_it("echoes to a kernel's sockets, and answers its ping, until Ctrl-C", function()
    local running = program.start(near, "udp_echo -i eth0 --mac 02:00:00:00:00:01 --ip 10.0.0.5/24 "
      .. "--ip6 2001:db8::5/64 --port 7 --port 5060")
    running:wait_for "echoing UDP port 7, 5060 at 10.0.0.5"
    for _, ip in ipairs { "10.0.0.5", "2001:db8::5" } do
      assert.equal("echoed\n", client(ip, 7))
      assert.equal("echoed\n", client(ip, 5060))
      assert.matches("2 received, 0%% packet loss", far:run("ping -c 2 -i 0.05 -W 1 " .. ip))
    end
    local status, text = running:interrupt()
    assert.equal(0, status)
    assert.matches("\n16 echoed, 7648 bytes\n$", text)
  end)

  root_it("echoes on every port, and tells machines how many", function()
    local running = program.start(near, "udp_echo -i eth0 --ip 10.0.0.6/24 --any-port --count 8 --json")
    program.wait_for_socket(near)
    assert.equal("echoed\n", client("10.0.0.6", 1234))
    assert.equal("echoed\n", client("10.0.0.6", 65535))
    local status, text = running:finish()
    assert.equal(0, status, text)
    local said = program.objects(text)[1]
    assert.same({ 8, 3824, 0, 0, 0, 0 }, { said.echoed, said.bytes, said.loops, said.ignored, said.too_long,
      said.unsent })
  end)

  root_it("ends after its time, also in a lab, where it leases an address", function()
    local status, text = program.said(near, "udp_echo --lab --vlan 100.200 --duration 0.1")
    assert.equal(0, status, text)
    assert.matches("^echoing UDP port 7 at 10%.0%.0%.10 %(02:[%x:]+ vlan 100%.200%)\n0 echoed, 0 bytes\n$", text)
  end)

  local WRONG = {
    { "--port 0", 'bad value "0": a whole number from 1 to 65535 is allowed (udp_echo --help tells more)' },
    { "--port 65536", 'bad value "65536": a whole number from 1 to 65535 is allowed (udp_echo --help tells more)' },
    { "--port 7 --any-port", "option '--any-port' can not be used together with option '--port' (udp_echo --help tells "
      .. "more)" },
    { "--ip 10.0.0.5/24 --port 9 --port 9", "another RUDPConn of this EtherConn has this address and port" },
    { "--gateway6 fe80::1 --ip 10.0.0.5/24", "--gateway6 needs --ip6" },
  }

  for _, wrong in ipairs(WRONG) do
    root_it(("answers %q with one clear line and status 2"):format(wrong[1]), function()
      local status, text = program.said(near, "udp_echo -i eth0 " .. wrong[1])
      assert.same({ 2, ("etherlua: %s\n"):format(wrong[2]) }, { status, text })
    end)
  end
end)
