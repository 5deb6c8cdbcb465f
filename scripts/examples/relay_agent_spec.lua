-- A DHCP relay agent adds option 82 (RFC 3046) to what it hands to the server, and takes it out of the answer.
--
--   etherlua test scripts/examples/relay_agent_spec.lua
--
-- The agent is ISC dhcrelay. AGENT_OPTIONS="-c 4" starts it without -a, so that it adds nothing, and the test fails.

local test = require "etherlua.test"
local dhcp4 = require "etherlua.proto.dhcp4"

local options = {}
for word in (os.getenv "AGENT_OPTIONS" or "-a"):gmatch "%S+" do options[#options + 1] = word end

local CLIENT = "02:00:00:00:00:01"
local DISCOVER = dhcp4.build { op = 1, xid = 0x5e55104, chaddr = CLIENT, options = { message_type = "DISCOVER" } }

describe("a DHCP relay agent", function()
  local client, server

  before_each(function()
    local lab = test.lab {
      links = { { "client", "agent:clients" }, { "agent:servers", "server" } },
      addresses = { ["agent:clients"] = "10.0.0.1/24", ["agent:servers"] = "10.1.0.2/24" },
    }
    lab:start("dhcrelay", "agent", { down = "clients", up = "servers", server = "10.1.0.1", args = options })
    client = lab:relay("client"):conn { mac = CLIENT, multicast = true }:udp "0.0.0.0:68"
    server = lab:relay("server"):conn { mac = "02:00:00:00:00:02" }:udp("10.1.0.1:67", { resolve = "arp" })
  end)

  it("adds option 82 with the port of the client", function()
    client:send(DISCOVER, "255.255.255.255:67")

    test.expect(server):to_receive({
      ip = { src = "10.1.0.2", dst = "10.1.0.1" },
      dhcp4 = { chaddr = CLIENT, giaddr = "10.0.0.1", options = { relay_agent = { circuit_id = "clients" } } },
    }, 3)
  end)

  it("takes it out of the answer", function()
    client:send(DISCOVER, "255.255.255.255:67")
    local request = test.expect(server):to_receive({ udp = { dst_port = 67 } }, 3).dhcp4

    local offer = { message_type = "OFFER", server_id = "10.1.0.1", relay_agent = request.options.relay_agent }
    server:send(dhcp4.build { op = 2, xid = request.xid, chaddr = CLIENT, giaddr = request.giaddr, yiaddr = "10.0.0.5",
      flags = request.flags, options = offer }, "10.0.0.1:67", { mac = "ff:ff:ff:ff:ff:ff" })

    test.expect(client):to_receive({ dhcp4 = { yiaddr = "10.0.0.5", options = { relay_agent = false } } }, 3)
  end)
end)
