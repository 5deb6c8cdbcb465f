-- The cable of the NIC under test is pulled and plugged in again, by qemu's monitor: nobody's relay notices more than
-- frames that are lost, each of which is counted.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local monitor = require "vm.monitor"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B
local FLAPS = 3

local TRIES, LOOK = 150, 25 -- of 0.1 s and more

-- Pulls the cable or plugs it in, and waits until the kernel has noticed. Of some of qemu's NICs the interrupt that
-- tells of it may be lost: then the driver is asked to look.
local function set_link(ns, there)
  monitor.set_link(there)
  for i = 1, TRIES do
    if i % LOOK == 0 then ns:run "ethtool -r eth0 || true" end
    if (ns:run("ip link show dev eth0"):find("LOWER_UP", 1, true) ~= nil) == there then return end
    ether.sleep(0.1)
  end
  error("the link did not change: " .. ns:run "ip link show dev eth0")
end

kinds.each_with_interface("a relay whose link flaps", function(it)
  it("goes on both ways each time, and counts what it could not send", function(l, open)
    local a, b = open(l.near), open(l.far)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    ether.defer(function() monitor.set_link(true) end)
    for _ = 1, FLAPS do
      set_link(l.near, false)
      for _ = 1, 10 do near:send(frames.udp(), B) end
      assert.same({ nil, "timeout" }, { near:recv(0.1) })
      set_link(l.near, true)
      assert.is_truthy(eventually(function()
        near:send(frames.udp { payload = "there" }, B)
        far:send(frames.udp { payload = "back" }, A)
        return far:recv(0.1) and near:recv(0.1)
      end, 20))
    end
    frames.assert_balanced(a)
    frames.assert_balanced(b)
  end)

  it("is opened at once, when the cable is not plugged in", function(l, open)
    ether.defer(function() monitor.set_link(true) end)
    set_link(l.near, false)
    local relay = open(l.near)
    assert.is_nil(relay.detail:find "link")
  end)
end)
