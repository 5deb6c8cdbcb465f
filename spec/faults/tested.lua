-- tested.lua: what the test runner runs while it is killed: `etherlua test spec/faults/tested.lua`.

local ether = require "etherlua"
local load = dofile "spec/faults/load.lua"
local test = require "etherlua.test"

it("frames of a lab come back", function()
  local net = test.lab { links = { { "near", "far" } } }
  local function kernel() return load.counters(net:host("near"):run("cat /proc/net/dev")) end
  local before, every = kernel(), { filter = "" }
  local near, echo = net:relay("near", every), ether.spawn(load.echo, net:relay("far", every))
  ether.sleep(0) -- it listens
  load.run(near, { steps = 100, burst = 10, kernel = kernel, before = before })
  echo:cancel()
end)
