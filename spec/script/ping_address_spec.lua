-- The address that ping asks from: given, from a router, leased, or none, and what it says of arguments that are wrong.

local lab = require "etherlua.lab.lab"
local program = require "support.program"
local root_it = require "support.root_it"
local routed = require "support.routed"

local reason = select(2, lab.root())

describe("the script ping", function()
  local net, client

  setup(function()
    if reason then return end
    net = routed.new()
    client = net:host "client"
  end)

  teardown(function()
    if net then net:close() end
  end)

  root_it("takes an address from a router when the target is IPv6", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("interface near { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; ",
      "prefix 2001:db8:1::/64 { }; };\n")
    file:close()
    local log, pid = os.tmpname(), os.tmpname()
    local radvd = net:host("r1"):start({ "radvd", "-n", "-C", path, "-p", pid, "-m", "stderr" }, { log = log })
    local status, text = program.said(client, "ping -i eth0 --mac 02:00:00:00:00:01 --count 1 " .. routed.SERVER[6])
    radvd:stop()
    for _, name in ipairs { path, log, pid } do os.remove(name) end
    assert.equal(0, status, text)
    assert.is_truthy(text:find("from 2001:db8:1:0:0:ff:fe00:1 (02:00:00:00:00:01)", 1, true)
      or text:find("from 2001:db8:1::ff:fe00:1 (02:00:00:00:00:01)", 1, true), text)
  end)

  root_it("pings a link-local address from its own", function()
    local address = net:host("r1"):run("ip -6 addr show dev near scope link"):match "inet6 (fe80::%S+)/64"
    local status, text = program.said(client, "ping -i eth0 --count 1 " .. address)
    assert.equal(0, status, text)
    assert.matches(" from fe80::", text)
  end)

  root_it("leases an address in a lab, on any VLAN stack, and releases it", function()
    local capture = os.tmpname()
    local status, text = program.said(client, "ping --lab --vlan 100.200 --count 1 --capture " .. capture ..
      " 10.0.0.1")
    assert.equal(0, status, text)
    assert.matches("PING 10%.0%.0%.1 from 10%.0%.0%.10 %(02:[%x:]+ vlan 100%.200%)", text)
    assert.matches("Release", client:run("tshark -r " .. capture .. " -V 2>/dev/null | grep 'DHCP: '"))
    os.remove(capture)
  end)

  -- arguments, status, the beginning of the line
  local WRONG = {
    { "", 2, "missing argument 'target'" },
    { "10.0.1", 2, 'bad IP address "10.0.1"' },
    { "224.0.0.1", 2, "bad target 224.0.0.1: the address of one host is needed" },
    { "::", 2, "bad target ::: the address of one host is needed" },
    { "--ip 10.0.1.5 10.0.1.1", 2, 'bad address "10.0.1.5": IPv4 with the length of its prefix is needed' },
    { "--ip6 10.0.1.5/24 ::1", 2, 'bad address "10.0.1.5/24": IPv6 with the length of its prefix is needed' },
    { "--gateway6 10.0.0.1 2001:db8::1", 2, 'bad IPv6 address "10.0.0.1"' },
    { "--gateway 10.0.0.1 2001:db8::1", 2, "--gateway needs --ip" },
    { "--count 0 10.0.1.1", 2, 'bad value "0": a whole number from 1 to ' },
    { "--ttl 0 10.0.1.1", 2, 'bad value "0": a whole number from 1 to 255' },
    { "--size 65535 10.0.1.1", 2, 'bad value "65535": a whole number from 0 to 65507' },
    { "--ip 10.0.1.5/24 --size 1473 10.0.1.1", 2,
      "1473 octets of data do not fit the MTU of afpacket:eth0: up to 1472" },
    { "--flood --rate 5 10.0.1.1", 2, "option '--rate' can not be used together with" },
    { "--ip 10.0.1.1/24 10.0.1.9", 3, "address 10.0.1.1 is in use by " },
    { "--ip6 2001:db8:1::1/64 2001:db8:1::9", 3, "no IPv6 address: address 2001:db8:1::1 is in use by " },
  }

  for _, wrong in ipairs(WRONG) do
    root_it(("answers %q with one clear line and status %d"):format(wrong[1], wrong[2]), function()
      local status, text = program.said(client, "ping -i eth0 " .. wrong[1])
      assert.equal(wrong[2], status, text)
      assert.equal("etherlua: " .. wrong[3], text:sub(1, #wrong[3] + 10))
      assert.equal(1, select(2, text:gsub("\n", "")), text)
    end)
  end

  root_it("ends with status 3 and a clear line where nobody leases addresses or routes", function()
    local without, without6 = program.start(client, "ping -i eth0 10.0.1.1"),
      program.start(client, "ping -i eth0 2001:db8:1::1")
    local status, _, text = without:finish()
    assert.same({ 3, "etherlua: no DHCP lease: no offer (--ip ADDRESS/LENGTH does without)\n" }, { status, text })
    status, _, text = without6:finish()
    assert.same({ 3, "etherlua: no IPv6 address: timeout: no router was heard (--ip6 ADDRESS/LENGTH does without a " ..
      "router)\n" }, { status, text })
  end)
end)
