-- Jumbo frames on the NIC under test.

local frames = require "support.frames"
local fragments = require "support.fragments"
local kernel = require "vm.kernel"
local kinds = require "support.kinds"
local shell = require "support.shell"

local A, B = frames.MAC_A, frames.MAC_B
local MTU = 9000

local major, minor = shell.output_of("uname -r"):match "^(%d+)%.(%d+)"
local PIECES = major * 1000 + minor >= 6006 -- AF_XDP has frames of several buffers since Linux 6.6

-- Whether the card under test loses IP packets of a size by itself: then a kernel behind it does not answer either.
-- qemu's vmxnet3 receives none over 3072 bytes when it was reset.
local function card_loses(l, size)
  l.near:run "ip addr add 10.0.0.6/24 dev eth0"
  l.far:run "ip addr add 10.0.0.1/24 dev eth0"
  return not kernel.pings(l.far, "10.0.0.6", size - 28)
end

local function arrives(from, to, mac, size)
  local packet = frames.udp { payload = fragments.pattern(size - 28, size) }
  from:send(packet, mac)
  return packet == (to:recv(5))
end

kinds.each_with_interface("a relay at MTU 9000", function(it, kind)
  it("sends and receives frames of all sizes, or says why it cannot", { mtu = MTU }, function(l, open)
    if kind.xdp and not PIECES then
      return assert.error_matches(function() open(l.near) end, "cannot %a+ .*ip link set dev %S+ mtu 3500")
    end
    if kind.opts and kind.opts.copy then -- not of several buffers, which virtio has only as copies
      return assert.error_matches(function() open(l.near) end, "no zero%-copy")
    end
    local a, b = open(l.near), open(l.far)
    local near, far = a:conn { mac = A, vlans = 7 }, b:conn { mac = B, vlans = 7 }
    for size = 100, MTU, 89 do
      assert.is_true(arrives(near, far, B, size), size)
      if not arrives(far, near, A, size) then
        assert.is_true(card_loses(l, size), size)
        return pending(("the card loses packets of %d bytes, a kernel's own, too"):format(size))
      end
    end
    assert.equal(0, frames.assert_balanced(a).tx_error)
  end)
end)
