-- The NIC under test is pulled out under load, by qemu's monitor, and another one is put in.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local monitor = require "vm.monitor"
local nic_lab = require "support.nic_lab"
local shell = require "support.shell"

local A, B = frames.MAC_A, frames.MAC_B

local PLACE = os.getenv("NICS"):match "%S+"
local TRIES = 100 -- of 0.1 s and more
-- Of the other NIC as many queues as of the first are used. Linux 6.1 never lets go of a virtio NIC that has got more
-- of them for an XDP program and is pulled out.
local QUEUES = os.getenv "DRIVER" == "virtio_net" and os.getenv "QUEUES"

local function pull() monitor.run("device_del", { id = "nic" }) end

-- Linux 6.1 panics when the NIC's namespace goes while it is still being removed, as behind an assertion that fails.
local function await_removal()
  for _ = 1, TRIES do
    if not shell.succeeds("test -e /sys/bus/pci/devices/" .. PLACE) then return end
    ether.sleep(0.1)
  end
  error "the NIC was not removed"
end

-- Frames both ways, until it is cancelled.
local function load(near, far)
  return ether.spawn(function()
    while true do
      for _ = 1, 32 do
        near:send(frames.udp(), B)
        far:send(frames.udp(), A)
      end
      ether.sleep(0.002)
    end
  end)
end

kinds.each_with_interface("a relay whose NIC is pulled out under load", function(it)
  it('tells readers and senders "interface gone", and closes; one on the next NIC works', function(l, open)
    local a, b = open(l.near), open(l.far)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    local busy = load(near, far)
    local reader = ether.spawn(function()
      while true do
        local packet, reason = near:recv(30)
        if not packet then return reason end
      end
    end)
    assert(far:recv(10))
    pull()
    local reason = reader:join()
    busy:cancel()
    local sent, balanced, problem = { near:send(frames.udp(), B) }, pcall(frames.assert_balanced, a)
    a:close()
    b:close()
    await_removal()
    assert.equal("interface gone", reason)
    assert.same({ nil, "interface gone" }, sent)
    assert.is_true(balanced, problem)
    l:close()
    monitor.plug_in()
    local other = nic_lab.new()
    if QUEUES then other.near:run("ethtool -L eth0 combined " .. QUEUES) end
    a, b = open(other.near), open(other.far)
    near, far = a:conn { mac = A }, b:conn { mac = B }
    near:send(frames.udp(), B)
    assert.equal(frames.udp(), (far:recv(5)))
    a:close()
    b:close()
    other:close()
  end)
end)
