-- The DHCP server as a tool: its limits are options, and its summary says what they did. Its decisions are in
-- spec/role/dhcp4_pool_spec.lua.

local cjson = require "cjson"
local lab = require "etherlua.lab.lab"
local root_it = require("support.root_it").as_root
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local INT = 2

describe("dhcp4_server", function()
  local net, logs = nil, {}

  after_each(function()
    if net then net:close() end
    for _, log in ipairs(logs) do os.remove(log) end
    net, logs = nil, {}
  end)

  local function start(ns, ...)
    logs[#logs + 1] = os.tmpname()
    return ns:start({ ETHERLUA, "run", ... }, { log = logs[#logs] })
  end

  root_it("says in its summary what its limits have refused, also as JSON", function()
    for json, pattern in pairs { [""] = "discover %d+.*, limited [1-9]", ["--json"] = '"limited":[1-9]' } do
      net = lab.new()
      local server = start(net.far, "dhcp4_server", "-i", "eth0", "--max-leases", "2", "--max-offers", "5",
        "--max-declined", "1", "--offer-time", "0.5", "--decline-time", "7", json ~= "" and json or nil)
      assert(eventually(function() return server:log():find "serving" or json ~= "" end))
      local load = start(net.near, "dhcp4_load", "-i", "eth0", "--json", "--clients", "3", "--retries", "2",
        "--timeout", "0.1")
      assert.equal(3, load:wait(10), load:log())
      assert.same({ 2, 1 }, { cjson.decode(load:log()).bound, cjson.decode(load:log()).failed })
      assert.equal(0, server:stop(INT))
      assert.matches(pattern, server:log())
      net:close()
      net = nil
    end
  end)

  root_it("refuses limits that are none, with status 2", function()
    net = lab.new()
    for _, argument in ipairs { "--max-leases=0", "--max-offers=x", "--max-declined=-1", "--offer-time=x" } do
      local server = start(net.far, "dhcp4_server", "-i", "eth0", argument)
      assert.equal(2, server:wait(10), argument .. ": " .. server:log())
      assert.matches("^etherlua: bad value ", server:log())
    end
  end)
end)
