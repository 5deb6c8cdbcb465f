-- When the loop spins and when it sleeps: CPU time of this process with an interface that frames come from.

local ether = require "etherlua"
local frames = require "support.frames"
local lab = require "etherlua.lab.lab"
local root_it = require "support.root_it"

-- fn(sender, receiver, mac) as a task: EtherConns on both ends of a lab, and the MAC address to send to.
local function on_interface(fn)
  ether.run(function()
    local net = lab.new()
    ether.defer(function() net:close() end)
    local near, far = net:relay "afpacket", net.far:enter(ether.open, "afpacket:eth0")
    fn(near:conn { mac = frames.MAC_A }, far:conn { mac = frames.MAC_B }, frames.MAC_B)
    near:close()
    far:close()
  end)
end

-- Frames one at a time, each of them received.
local function exchange(sender, receiver, mac, count, pause)
  for _ = 1, count do
    sender:send(frames.udp(), mac)
    assert(receiver:recv_frame(1))
    if pause then ether.sleep(pause) end
  end
end

-- Share of the elapsed time that fn(...) kept the processor busy.
local function load_of(fn, ...)
  local start, cpu = ether.now(), os.clock()
  fn(...)
  return (os.clock() - cpu) / (ether.now() - start)
end

describe("the loop", function()
  root_it("sleeps when no more frames come, however fast they came before", function()
    on_interface(function(sender, receiver, mac)
      exchange(sender, receiver, mac, 2000)
      local load = load_of(ether.sleep, 0.5)
      assert.is_true(load < 0.1, load .. " of the time busy")
    end)
  end)

  root_it("sleeps between frames that come seldom", function()
    on_interface(function(sender, receiver, mac)
      exchange(sender, receiver, mac, 2000)
      local load = load_of(exchange, sender, receiver, mac, 200, 0.003)
      assert.is_true(load < 0.3, load .. " of the time busy")
    end)
  end)
end)
