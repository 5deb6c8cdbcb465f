-- The script host, as a user runs it, with the kernel's programs as those who reach its hosts, and another relay of
-- ours where they need VLAN tags.

local cjson = require "cjson"
local ether = require "etherlua"
local files = require "support.files"
local ipv4 = require "etherlua.proto.ipv4"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local shell = require "support.shell"
local wait = require "support.wait"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local INT = 2
local permitted, reason = lab.root()
local is_root = shell.is_root

local net

-- ---- running it ---------------------------------------------------------------------------------------------------

local Script = {}
Script.__index = Script

-- Starts the script in the near namespace; it is up when this returns.
local function start(arguments, kind)
  local argv = { ETHERLUA, "run", "host", "-i", (kind or "afpacket") .. ":eth0", "--json" }
  for word in arguments:gmatch("%S+") do argv[#argv + 1] = word end
  local log = os.tmpname()
  local self = setmetatable({ log = log, process = net.near:start(argv, { log = log }) }, Script)
  if wait.eventually(function() return self:event "up" or self.process:status() end, 20) then return self end
  error("not up within 20 s: " .. self.process:log())
end

-- The objects that it has printed of one kind.
function Script:events(name)
  local list = {}
  for line in files.read_all(self.log):gmatch("(%b{})\n") do
    local object = cjson.decode(line)
    if object.event == name then list[#list + 1] = object end
  end
  return list
end

function Script:event(name)
  return self:events(name)[1]
end

-- Ctrl-C. Returns its exit status and summary.
function Script:stop()
  os.execute(("kill -%d %d"):format(INT, self.process.pid))
  return self:wait()
end

function Script:wait()
  local status = self.process:wait(10)
  self.process:stop()
  local summary, text = self:event "summary", self.process:log()
  os.remove(self.log)
  return status, summary or {}, text
end

-- Its last words, standard error too.
local function run(arguments, kind)
  return start(arguments, kind):wait()
end

local function script_it(name, needs_root, fn)
  it(name, function()
    if not permitted then return pending(reason) end
    if needs_root and not is_root then return pending "needs root" end
    net = lab.new { ipv6 = true }
    finally(function()
      net:close()
      net = nil
    end)
    fn()
  end)
end

-- ---- several ------------------------------------------------------------------------------------------------------

script_it("hosts answer the kernel's neighbour discovery and ping", false, function()
  net.far:run("ip addr add 2001:db8::f/64 dev eth0 nodad")
  local script = start "--count 300 --ip6 2001:db8::1:1/64"
  for i = 1, 300, 23 do net.far:run(("ping -6 -c 1 -W 2 2001:db8::1:%x"):format(i)) end
  net.far:run("ip -6 addr add 2001:db8::1:7/64 dev eth0")
  assert.truthy(wait.eventually(function()
    return net.far:run("ip -6 addr show dev eth0"):find("2001:db8::1:7/64 scope global dadfailed", 1, true)
  end))
  local status, summary, text = script:stop()
  assert.same({ 0, 300, 0 }, { status, summary.ready, summary.duplicates }, text)
  assert.is_true(summary.echo >= 14 and summary.neighbour >= 14)
end)

script_it("hosts on 100 VLANs answer tagged ARP and ping, each on its own", false, function()
  local script = start("--count 100 --ip 10.7.1.1/16 --ip-step 0 --mac 02:00:00:00:00:00 --mac-step 0 "
    .. "--vlan-range 1-100")
  kinds.run(function()
    local relay = net.far:enter(ether.open, "afpacket:eth0")
    for vid = 1, 100 do
      local host = relay:host { mac = "02:dd:00:00:00:01", vlans = vid, ip = "10.7.0.1/16" }
      assert.is_number(host:ping("10.7.1.1"), "VLAN " .. vid)
    end
    local outside = relay:host { mac = "02:dd:00:00:00:01", vlans = 101, ip = "10.7.0.1/16" }
    assert.is_nil((outside:ping "10.7.1.1"))
  end)
  local status, summary = script:stop()
  assert.same({ 0, 100, 100 }, { status, summary.arp, summary.echo })
end)

-- ---- one ----------------------------------------------------------------------------------------------------------

script_it("a host says that nobody takes UDP, which ends a traceroute", false, function()
  net.far:run("ip addr add 10.7.0.1/16 dev eth0")
  local script = start "--ip 10.7.1.1/16"
  assert.truthy(net.far:run("traceroute -n -w 2 10.7.1.1"):find(" 1  10.7.1.1  ", 1, true))
  local _, summary = script:stop()
  assert.is_true(summary.unreachable >= 1)
end)

script_it("a host answers the kernel's ping that came in fragments, and counts what it cannot put together", false,
  function()
    net.far:run("ip addr add 10.7.0.1/16 dev eth0")
    local script = start "--ip 10.7.1.1/16 --mac 02:00:00:00:00:05"
    net.far:run("ping -c 1 -W 2 -s 3000 10.7.1.1")
    kinds.run(function()
      local relay = net.far:enter(ether.open, "afpacket:eth0")
      relay:conn { mac = "02:dd:00:00:00:01" }:send(ipv4.build { src = "10.7.0.1", dst = "10.7.1.1", protocol = 1,
        mf = true, payload = ("x"):rep(64) }, "02:00:00:00:00:05")
      relay:flush()
    end)
    local status, summary, text = script:stop()
    assert.same({ 0, 1, 1, 0 }, { status, summary.echo, summary.rx_fragments, summary.rx_frag_overlap }, text)
    assert.matches("1 fragment was not put together: the rest of 1 did not come yet", text, 1, true)
  end)

script_it("a host tells once who else has its address, and ends with status 3", false, function()
  local script = start "--count 5 --ip 10.7.1.1/16 --mac 02:00:00:00:00:00"
  net.far:run("ip addr add 10.7.1.3/16 dev eth0")
  local mac = net.far:run("ip link show dev eth0"):match "link/ether (%S+)"
  for _ = 1, 2 do
    net.far:run("ip neigh flush all; ping -c 1 -W 1 -I 10.7.1.3 10.7.1.1")
    os.execute "sleep 0.7"
  end
  assert.same({ { event = "duplicate", mac = "02:00:00:00:00:02", vlans = "", ip = "10.7.1.3", duplicate = mac } },
    script:events "duplicate")
  local status, summary = script:stop()
  assert.same({ 3, 1 }, { status, summary.duplicates })
end)

script_it("a host without a router says so, and ends with status 3", false, function()
  local status, summary, text = run "--ip6 auto --no-dad --duration 0.1"
  assert.same({ 3, 0 }, { status, summary.ready })
  assert.truthy(text:find("timeout: no router was heard", 1, true), text)
end)

script_it("ends after --duration with status 0, and with status 1 when the interface is gone", false, function()
  local status, summary = run "--count 7 --ip 10.7.1.1/16 --duration 0.2"
  assert.same({ 0, 7 }, { status, summary.hosts })
  local script = start "--count 7 --ip 10.7.1.1/16"
  net.near:run("ip link del eth0")
  local gone, last, text = script:wait()
  assert.same({ 1, 7 }, { gone, last.hosts }, text)
  assert.truthy(text:find("interface gone", 1, true), text)
end)

-- ---- wrong usage --------------------------------------------------------------------------------------------------

describe("the script host", function()
  for arguments, expected in pairs {
    [""] = "no addresses: give --ip IP/LENGTH, or --ip6 IP/LENGTH, auto or link",
    ["--ip 10.0.0.0/8"] = "bad first address 10.0.0.0/8: it is the network's own",
    ["--ip6 2001:db8::/64"] = "bad first address 2001:db8::/64: it is the network's own",
    ["--ip 10.0.0.1/24 --count 255"] = "255 hosts from 10.0.0.1/24 by 1 do not fit 10.0.0.0/24: the last would be "
      .. "10.0.0.255, the broadcast address",
    ["--ip 10.0.0.1/24 --count 2 --ip-step 256"] = "do not fit 10.0.0.0/24: the last would be 10.0.1.1",
    ["--ip 10.0.0.1 --count 2"] = "do not fit 10.0.0.1/32",
    ["--ip 255.255.255.254/31 --count 3"] = "do not fit 255.255.255.254/31: the last would be 0.0.0.0",
    ["--ip6 2001:db8::1/120 --count 256"] = "do not fit 2001:db8::/120: the last would be 2001:db8::100",
    ["--ip 10.0.0.1/24 --count 2 --ip-step 0"] = "2 hosts with one IP address do not fit 1 VLAN stack: each needs",
    ["--ip 10.0.0.1/24 --count 3 --mac-step 0 --vlan-range 1-2"] = "3 hosts with one MAC address do not fit 2 VLAN",
    ["--ip 10.0.0.1/33"] = 'bad prefix "10.0.0.1/33"', ["--ip ::1/64"] = "an IPv4 address is needed",
    ["--ip6 routers"] = 'bad IP address "routers"', ["--gateway 10.0.0.1 --ip6 auto"] = "--gateway needs --ip",
    ["--ip 10.0.0.2/8 --gateway 10.0.0.1/8"] = "no length is needed here",
    ["--ip 10.0.0.1/8 --count 0"] = 'bad value "0"', ["--ip 10.0.0.1/8 --mac 01:00:00:00:00:00"] = "is no group",
    ["--ip 10.0.0.1/8 --vlan 4095"] = "bad VLAN ID 4095", ["--ip 10.0.0.1/8"] = "no relay",
    ["--ip 10.0.0.1/8 --vlan 5 --vlan-range 5-6"] = "can not be used together",
  } do
    it("refuses " .. (arguments ~= "" and arguments or "to be without options"), function()
      local text, status = shell.run(("timeout 10 %s run host %s"):format(ETHERLUA, arguments))
      assert.equal(2, status, text)
      assert.truthy(text:find(expected, 1, true), text)
      assert.equal(1, select(2, text:gsub("\n", "")), text)
    end)
  end
end)
