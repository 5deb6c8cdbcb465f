-- The machine is what it should be, and so is its NIC: else the other specs would say nothing.

local ether = require "etherlua"
local kinds = require "support.kinds"
local nic_lab = require "support.nic_lab"

describe("the NIC under test", function()
  local l

  before_each(function() l = nic_lab.new() end)
  after_each(function() l:close() end)

  it("has the driver and the queues that were asked for", function()
    assert.matches("driver: " .. os.getenv "DRIVER" .. "\n", l.near:run "ethtool -i eth0", 1, true)
    kinds.run(function()
      local relay = l.near:enter(ether.open, "xdp:eth0")
      assert.matches((", %d queue"):format(os.getenv "QUEUES"), relay.detail, 1, true)
    end)
  end)

  it("has zero-copy AF_XDP where nics.lua says so, and nowhere else", function()
    kinds.run(function()
      local relay = l.near:enter(ether.open, "xdp:eth0")
      assert.equal(nic_lab.zero_copy, relay.detail:find(", zero copy,", 1, true) ~= nil)
    end)
  end)

  it("has its receive VLAN offload off while an xdp relay is open, and on again behind it", function()
    local function rxvlan() return l.near:run "ethtool -k eth0":match "rx%-vlan%-offload: (%l+)( ?%[?%l*%]?)" end
    local state, fixed = rxvlan()
    if fixed ~= "" then return pending("rxvlan is fixed to " .. state) end
    kinds.run(function()
      l.near:run "ethtool -K eth0 rxvlan on"
      local relay = l.near:enter(ether.open, "xdp:eth0")
      assert.equal("off", (rxvlan()))
      relay:close()
      assert.equal("on", (rxvlan()))
    end)
  end)

  it("runs XDP programs where nics.lua says so, and nowhere else", function()
    kinds.run(function()
      local relay = l.near:enter(ether.open, "xdp:eth0")
      assert.matches(nic_lab.native and "^native mode" or "^generic mode %(native: Operation not supported%)",
        relay.detail)
    end)
  end)
end)
