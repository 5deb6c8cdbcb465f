-- Leases over the NIC under test, again and again: no DISCOVER is sent while the link is away because a relay was
-- opened or closed, which takes seconds with some drivers.

local access = require "etherlua.lab.access"
local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local kinds = require "support.kinds"
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL = 9

-- An access network at the far end.
local function serve(l)
  return access.serve(l.far:enter(ether.open, "afpacket:eth0"))
end

kinds.each_with_interface("a DHCP client", function(it, kind)
  it("that opens a relay gets a lease for its first DISCOVER, each of three times", function(l, open)
    local server = serve(l)
    for i = 1, 3 do
      local relay = open(l.near)
      local lease = assert(dhcp4_client.lease(relay:conn { mac = ("02:00:00:00:01:%02x"):format(i) }))
      lease:close()
      relay:close()
      assert.equal(i, server:summary().discover, relay.detail)
    end
  end)

  it("gets one when another program was killed that had the NIC", function(l, open)
    local server, log = serve(l), os.tmpname()
    local words = { ETHERLUA, "run", "dhcp4_client", "-i", kind.spec .. ":eth0", "--hold" }
    local program = l.near:start(words, { log = log })
    assert.is_truthy(eventually(function() return server:summary().bound == 1 end, 60), program:log())
    program:stop(KILL)
    os.remove(log)
    local relay = open(l.near)
    assert(dhcp4_client.lease(relay:conn { mac = "02:00:00:00:01:01" })):close()
    assert.equal(2, server:summary().discover, relay.detail)
  end)
end)
