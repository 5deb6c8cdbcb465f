-- What fuzzing found in what speaks protocols as tasks (`make fuzz`, spec/fuzz/role.lua): each of these was wrong once.

local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local neighbour = require "etherlua.host.neighbour"
local script = require "support.dhcp4_script"

local IP = "10.0.0.10"

describe("what fuzzing found:", function()
  after_each(require("support.leaks").check)

  it("a DHCP client that is closed while it probes its address ends at once", script.on_wire({},
    function(_, server, conn)
      local client = dhcp4_client.new(conn, { probe = "rfc" })
      local task = ether.spawn(function() return { client:run() } end)
      while #server.messages < 2 do ether.sleep(0.01) end
      ether.sleep(0.05)
      client:close()
      assert.same({ nil, "closed" }, assert(task:join(0.5), "it goes on probing"))
      assert.same({ nil, "closed" }, { client:run() })
    end))

  it("who was cancelled while it probed an address does not want it any more", script.on_wire({},
    function(relay, _, conn)
      local task = ether.spawn(function() neighbour.of(conn):probe(IP, neighbour.PROBES.rfc) end)
      ether.sleep(0.05)
      task:cancel()
      task:join(0.5)
      local other = relay:conn { mac = "02:00:00:00:00:77" }
      assert.is_true(neighbour.of(other):probe(IP, neighbour.PROBES.quick))
    end))
end)
