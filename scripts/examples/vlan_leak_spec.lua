-- A switch does not leak VLAN 100 into VLAN 200.
--
--   etherlua test scripts/examples/vlan_leak_spec.lua
--
-- The switch is a Linux bridge in a network namespace. LEAK=100 lets VLAN 100 out at the port of VLAN 200, and the test
-- fails.

local test = require "etherlua.test"

local BROADCAST, EXPERIMENTAL = "ff:ff:ff:ff:ff:ff", 0x88b5 -- IEEE 802 local experimental EtherType

describe("a switch with VLANs 100 and 200", function()
  local red, blue, core

  before_each(function()
    local lab = test.lab { switch = { red = 100, blue = { 200, tonumber(os.getenv "LEAK") }, core = { 100, 200 } } }
    local function host(name, mac, vlans)
      return lab:relay(name):conn { mac = mac, vlans = vlans, ethertypes = { EXPERIMENTAL }, multicast = "all" }
    end
    red = host("red", "02:00:00:00:00:01", 100)
    blue = host("blue", "02:00:00:00:00:02", 200)
    core = host("core", "02:00:00:00:00:03", 100)
  end)

  it("carries a broadcast of VLAN 100 to the port of that VLAN, tagged, and to no other", function()
    red:send("to all of VLAN 100", BROADCAST, { ethertype = EXPERIMENTAL })

    test.expect(core):to_receive { ethernet = { src = "02:00:00:00:00:01", vlans = { 100 } } }
    test.expect(blue):to_receive_nothing(0.3)
  end)

  it("does not carry VLAN 200 in from the port of VLAN 100", function()
    red:send("forged", BROADCAST, { ethertype = EXPERIMENTAL, vlans = 200 })

    test.expect(blue):to_receive_nothing(0.3)
  end)
end)
