-- The script slaac against radvd, with the kernel of the same namespace as a second host on the link that has to agree.
-- Runs alone: the router's kernel gets 1,000 neighbours; all namespaces share one table, which has room for 1,024.

local cjson = require "cjson"
local files = require "support.files"
local ipv6 = require "etherlua.proto.ipv6"
local lab = require "etherlua.lab.lab"
local shell = require "support.shell"
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local MAC, INT = "02:00:00:00:00:01", 2
local permitted, reason = lab.root()

local net

-- ---- the router ---------------------------------------------------------------------------------------------------

local TWO_PREFIXES = [[
interface eth0 {
  AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; MinDelayBetweenRAs 3;
  AdvManagedFlag on; AdvDefaultPreference high; AdvLinkMTU 1400; AdvCurHopLimit 33; AdvDefaultLifetime 600;
  prefix 2001:db8:1::/64 { AdvValidLifetime 86400; AdvPreferredLifetime 14400; };
  prefix 2001:db8:2::/64 { AdvValidLifetime 3600; AdvPreferredLifetime 0; };
  prefix 2001:db8:3::/64 { AdvAutonomous off; };
};
]]

local folder

-- radvd in the far namespace; it wants a kernel that forwards, and a link-local address that is its own already.
local function start_radvd(text)
  folder = shell.output_of("mktemp -d"):match "%S+"
  local file = assert(io.open(folder .. "/radvd.conf", "w"))
  file:write(text)
  file:close()
  net.far:run("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
    .. "while ip -6 addr show dev eth0 | grep -q tentative; do sleep 0.1; done; chmod 644 " .. folder .. "/radvd.conf")
  return net.far:start({ "radvd", "-n", "-C", folder .. "/radvd.conf", "-p", folder .. "/pid", "-m", "stderr" },
    { log = folder .. "/log" })
end

local function router_ip()
  return net.far:run("ip -6 addr show dev eth0 scope link"):match "inet6 (%S+)/64"
end

-- ---- the script ---------------------------------------------------------------------------------------------------

local function start(arguments)
  local argv = { ETHERLUA, "run", "slaac", "-i", "eth0", "--json" }
  for word in arguments:gmatch "%S+" do argv[#argv + 1] = word end
  local log = os.tmpname()
  return { log = log, process = net.near:start(argv, { log = log }) }
end

-- The hosts that it told of, by MAC address, its summary, and all it said.
local function said(script)
  local hosts, summary = {}, nil
  local text = files.read_all(script.log)
  for line in text:gmatch "(%b{})\n" do
    local object = cjson.decode(line)
    if object.mac then hosts[object.mac] = object else summary = object end
  end
  return hosts, summary, text
end

-- Ends it; returns its exit status, and as above.
local function wait(script, signal)
  if signal then os.execute(("kill -%d %d"):format(signal, script.process.pid)) end
  local status = script.process:wait(40)
  script.process:stop()
  local hosts, summary, text = said(script)
  os.remove(script.log)
  return status, hosts, summary, text
end

local function await_host(script, mac)
  return eventually(function() return said(script)[mac] end, 20)
    or error("no word of " .. mac .. ": " .. script.process:log())
end

local function slaac_it(name, fn)
  it(name, function()
    if not permitted then return pending(reason) end
    if not shell.is_root then return pending "needs root, for radvd" end
    if not shell.succeeds "command -v radvd" then return pending "needs radvd" end
    net = lab.new { ipv6 = true }
    finally(function()
      net:close()
      net = nil
      if folder then os.execute("rm -r " .. folder) end
      folder = nil
    end)
    fn()
  end)
end

local function by_ip(host)
  local list = {}
  for _, address in ipairs(host.addresses) do list[address.ip] = address.state end
  return list
end

-- ---- against radvd ------------------------------------------------------------------------------------------------

slaac_it("a host makes of radvd's advertisements what the kernel beside it makes of them", function()
  start_radvd(TWO_PREFIXES)
  local script = start("--hold --ping-router --mac " .. MAC)
  local host = await_host(script, MAC)
  local first, second = ipv6.address_of("2001:db8:1::", MAC), ipv6.address_of("2001:db8:2::", MAC)
  assert.same({ [first] = "preferred", [second] = "deprecated" }, by_ip(host))
  assert.same({ router_ip(), 1400, true }, { host.router, host.mtu, host.managed })
  assert.is_number(host.ping_ms)

  net.near:run("for i in $(seq 50); do ip -6 addr show dev eth0 | grep -q 'tentative' || break; sleep 0.1; done")
  local kernel, routes = net.near:run("ip -6 addr show dev eth0"), net.near:run("ip -6 route")
  local its_mac = net.near:run("ip link show dev eth0"):match "link/ether (%S+)"
  for prefix, state in pairs { ["2001:db8:1::"] = "", ["2001:db8:2::"] = "deprecated " } do
    local line = ("inet6 %s/64 scope global %s"):format(ipv6.address_of(prefix, its_mac), state)
    assert.truthy(kernel:find(line, 1, true), line .. " is not in:\n" .. kernel)
  end
  assert.is_nil(kernel:find("2001:db8:3:", 1, true))
  assert.truthy(routes:find(("default via %s dev eth0 proto ra"):format(host.router), 1, true), routes)
  assert.truthy(routes:find("mtu 1400", 1, true) and routes:find("hoplimit 33", 1, true), routes)
  assert.truthy(routes:find("pref high", 1, true), routes)

  -- The kernel of the router reaches it, knows its MAC address, and may not have its address.
  net.far:run("ip -6 addr add 2001:db8:1::f/64 dev eth0 nodad; ping -6 -c 2 -i 0.2 -W 2 " .. first)
  local neighbours = net.far:run("ip -6 neigh")
  assert.truthy(neighbours:find(("%s dev eth0 lladdr %s"):format(first, MAC), 1, true), neighbours)
  net.far:run(("ip -6 addr add %s/64 dev eth0; sleep 2"):format(first))
  assert.truthy(net.far:run("ip -6 addr show dev eth0"):find("dadfailed", 1, true))

  local status, _, summary, text = wait(script, INT)
  assert.same({ 0, 1, 0, 0 }, { status, summary.configured, summary.failed, summary.duplicates }, text)
end)

slaac_it("a host finds that the kernel has its address already, and ends with status 3", function()
  start_radvd(TWO_PREFIXES)
  local taken = ipv6.address_of("2001:db8:1::", MAC)
  local its_mac = net.far:run("ip link show dev eth0"):match "link/ether (%S+)"
  net.far:run(("ip -6 addr add %s/64 dev eth0 nodad"):format(taken))
  local status, hosts, summary, text = wait(start("--count 2 --mac " .. MAC))
  assert.same({ 3, 1, 1, 1 }, { status, summary.configured, summary.failed, summary.duplicates }, text)
  assert.equal(("address %s is in use by %s"):format(taken, its_mac), hosts[MAC].error)
  assert.equal(cjson.null, hosts["02:00:00:00:00:02"].error)
end)

slaac_it("1,000 hosts at once get addresses from radvd", function()
  start_radvd(TWO_PREFIXES)
  local status, hosts, summary, text = wait(start "--count 1000 --timeout 25 --mac 02:00:00:01:00:00")
  assert.same({ 0, 1000, 0, 1000 }, { status, summary.configured, summary.failed, summary.times_ms.count },
    text:sub(-2000))
  local seen = {}
  for mac, host in pairs(hosts) do
    local ip = ipv6.address_of("2001:db8:1::", mac)
    assert.equal("preferred", by_ip(host)[ip])
    seen[#seen + 1] = ip
  end
  assert.equal(1000, #seen)
end)

slaac_it("nobody gets an address where no router is, or one without a prefix", function()
  local status, hosts, summary = wait(start("--count 2 --timeout 3 --mac " .. MAC))
  assert.same({ 3, 0, 2 }, { status, summary.configured, summary.failed })
  assert.same({ "timeout: no router was heard", cjson.null, cjson.null }, { hosts[MAC].error, hosts[MAC].router,
    hosts[MAC].addresses })
  start_radvd "interface eth0 { AdvSendAdvert on; AdvManagedFlag on; };"
  status, hosts = wait(start("--timeout 5 --mac " .. MAC))
  assert.same({ 3, "timeout: no router advertises a prefix for addresses, but DHCPv6", router_ip() },
    { status, hosts[MAC].error, hosts[MAC].router })
end)

-- ---- in a lab of its own ------------------------------------------------------------------------------------------

-- What tshark says of the frames of a capture: faults, and how many frames there are of each kind of ICMPv6.
local function judge(capture)
  local text = shell.output_of(("tshark -n -V -r %s 2>/dev/null"):format(capture))
  local fault = text:match "[^\n]*[Mm]alformed[^\n]*" or text:match "[^\n]*Expert Info %(Error[^\n]*"
    or text:match "[^\n]*Expert Info %(Warning[^\n]*" or text:match "[^\n]*%[incorrect[^\n]*"
  local kinds = {}
  for kind in text:gmatch "\n    Type: [^\n]*%((%d+)%)\n" do kinds[kind] = (kinds[kind] or 0) + 1 end
  return fault, kinds
end

describe("slaac in a lab", function()
  local function lab_it(name, fn)
    it(name, function()
      if not permitted then return pending(reason) end
      fn()
    end)
  end

  lab_it("takes addresses on many VLANs, pings the router, and sends nothing that tshark finds wrong", function()
    local capture = os.tmpname()
    local text = shell.output_of(("timeout 30 %s run slaac --lab --count 6 --vlan-range 100-102.7-8 --ping-router "
      .. "--mac %s --capture %s"):format(ETHERLUA, MAC, capture))
    for i, vlans in ipairs { "100.7", "100.8", "101.7", "101.8", "102.7", "102.8" } do
      assert.truthy(text:find(("02:00:00:00:00:0%d vlan %s  2001:db8::ff:fe00:%d/64  router fe80::1  ping "):format(i,
        vlans, i), 1, true), text)
    end
    assert.truthy(text:find("6 of 6 hosts have an address after", 1, true), text)
    local available = shell.succeeds "command -v tshark"
    local fault, seen = nil, {}
    if available then fault, seen = judge(capture) end
    os.remove(capture)
    if not available then return pending "needs tshark" end
    assert.is_nil(fault)
    for _, kind in ipairs { "128", "129", "133", "134", "135", "136", "143" } do
      assert.is_true((seen[kind] or 0) >= 6, "type " .. kind)
    end
  end)

  lab_it("takes no time without duplicate address detection", function()
    local command = ("timeout 30 %s run slaac --lab --count 50 --rate 500 --no-dad --json"):format(ETHERLUA)
    local text = shell.output_of(command)
    local summary = cjson.decode(text:match ".*\n(%b{})")
    assert.same({ 50, 0, 50 }, { summary.configured, summary.duplicates, summary.times_ms.count })
    assert.is_true(summary.times_ms.p50 < 900, text) -- with it, all take a second or more
  end)

  lab_it("tells on Ctrl-C what was reached", function()
    local text, status = shell.run(("timeout -s INT 1.5 %s run slaac --lab --count 3"):format(ETHERLUA))
    assert.truthy(text:find("0 of 3 hosts have an address after", 1, true), text)
    assert.truthy(status == 3 or status == 124, text)
  end)

  for arguments, expected in pairs { ["--lab --count 0"] = 'bad value "0"', ["--lab --rate 0"] = 'bad value "0"',
    ["--lab --vlan 1 --vlan-range 1-2"] = "can not be used together", [""] = "no relay",
    ["--lab --mac ff:ff:ff:ff:ff:ff"] = "is no group address" } do
    it("refuses " .. arguments, function()
      local text, status = shell.run(("timeout 10 %s run slaac %s"):format(ETHERLUA, arguments))
      assert.equal(2, status, text)
      assert.truthy(text:find(expected, 1, true), text)
    end)
  end
end)
