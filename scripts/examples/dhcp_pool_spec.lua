-- A DHCP server refuses a second lease beyond its pool.
--
--   etherlua test scripts/examples/dhcp_pool_spec.lua
--
-- POOL_END=10.0.0.11 gives the server an address too many, and the test fails.

local test = require "etherlua.test"
local dhcp4_client = require "etherlua.role.dhcp4_client"

local POOL = "10.0.0.10-" .. (os.getenv "POOL_END" or "10.0.0.10")
local QUICK = { first_timeout = 1, tries = 2 }

describe("a DHCP server with one address", function()
  local client

  before_each(function()
    local lab = test.lab { links = { { "client", "server" } } }
    lab:start("dnsmasq", "server", { address = "10.0.0.1/24", pool = POOL })
    client = lab:relay "client"
  end)

  it("leases it to the first host and refuses the second", function()
    local first = client:conn { mac = "02:00:00:00:00:01" }
    local second = client:conn { mac = "02:00:00:00:00:02" }

    assert(dhcp4_client.lease(first, QUICK))

    local another = dhcp4_client.lease(second, QUICK)
    assert.is_nil(another and another.ip, "the second host was given an address")
  end)

  it("leases it again when the first host has given it back", function()
    local first = client:conn { mac = "02:00:00:00:00:01" }
    local second = client:conn { mac = "02:00:00:00:00:02" }

    local lease = assert(dhcp4_client.lease(first, QUICK))
    lease:close()
    assert.equal(lease.ip, assert(dhcp4_client.lease(second, QUICK)).ip)
  end)
end)
