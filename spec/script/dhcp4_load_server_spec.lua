-- dhcp4_load against real servers.
-- Runs alone: for each client the kernel keeps a neighbour, of which all namespaces together have 1,024 by default.

local access = require "support.access"
local lab = require "etherlua.lab.lab"
local program = require "support.program"
local servers = require "etherlua.test.servers"

local SERVER = { address = "10.0.0.1/8", pool = "10.0.0.10-10.0.255.250" }

-- dnsmasq does not reserve what it offers: many that ask at once are refused, and have to ask again.
local OPTIONS = { kea = "", dnsmasq = " --max-outstanding 8 --retries 20" }

for _, kind in ipairs { "kea", "dnsmasq" } do
  describe("dhcp4_load against " .. kind, function()
    local missing = servers.missing(kind == "kea" and "kea-dhcp4" or kind) or access.missing()
    local net, server

    setup(function()
      if missing then return end
      net = lab.new()
      server = servers[kind](net.far, SERVER)
    end)

    teardown(function()
      if server then server:stop() end
      if net then net:close() end
    end)

    it("loses no session", function()
      if missing then return pending(missing) end
      local status, objects, text = program.json(net.near, "dhcp4_load --json -i eth0 --clients 1000 --release" ..
        OPTIONS[kind])
      local said = objects[#objects] or {}
      assert.equal(0, status, text)
      assert.same({ 1000, 0, 0, 1000, 1000 }, { said.bound, said.failed, said.unfinished, said.released,
        said.dora_ms.count }, text)
    end)
  end)
end
