-- Hosts behind VLAN tags against a kernel's own VLAN devices at the other end, whatever the NICs do to tags themselves.

local kernel = require "vm.kernel"
local kinds = require "support.kinds"
local frames = require "support.frames"
local eventually = require("support.wait").eventually

local HOST, KERNEL, NEIGHBOUR = "10.0.0.5", "10.0.0.1", "10.0.0.6"

-- The devices that the kernel needs for a VLAN stack; the last one is called "last".
local STACKS = {
  { "100", "ip link add link eth0 name last type vlan id 100" },
  { "100.200", "ip link add link eth0 name outer type vlan id 100; ip link set outer up; " ..
    "ip link add link outer name last type vlan id 200" },
  { { { vid = 100, tpid = 0x88a8 }, 200 }, "ip link add link eth0 name outer type vlan proto 802.1ad id 100; " ..
    "ip link set outer up; ip link add link outer name last type vlan id 200" },
}
local OFFLOADS = { "rxvlan on txvlan on", "rxvlan on txvlan off", "rxvlan off txvlan on", "rxvlan off txvlan off" }

-- A setting that the driver has fixed stays as it is. Some cards are reset, now or a moment later, and take a while to
-- have their link again.
local function set_offloads(ns, words)
  ns:run(("ethtool -K eth0 %s || true"):format(words))
  assert(eventually(function() return ns:run "ip link show dev eth0":find("state UP", 1, true) end, 30))
end

local function is_reachable(host)
  return eventually(function() return host:resolve(KERNEL) end, 10)
end

local function add_devices(ns, stack, ip)
  ns:run(("%s; ip addr add %s/24 dev last; ip link set last up"):format(stack[2], ip))
end

local function remove_devices(ns)
  ns:run "ip link del last; ip link del outer 2>/dev/null || true"
end

-- Whether the card under test loses tags by itself: then a kernel behind it does not answer either. qemu's vmxnet3
-- takes both of two tags out of a frame, and tells of one.
local function card_loses_tags(l, stack)
  add_devices(l.near, stack, NEIGHBOUR)
  local answers = kernel.pings(l.far, NEIGHBOUR, 56)
  remove_devices(l.near)
  return not answers
end

kinds.each_with_interface("a host", function(it)
  for _, offloads in ipairs(OFFLOADS) do
    it("talks with a kernel's VLAN devices both ways, with " .. offloads, function(l, open)
      set_offloads(l.near, offloads)
      set_offloads(l.far, offloads)
      local relay, lost = open(l.near), nil
      for _, stack in ipairs(STACKS) do
        add_devices(l.far, stack, KERNEL)
        local host = relay:host { mac = frames.MAC_A, vlans = stack[1], ip = HOST .. "/24" }
        assert.is_true(host:ready(5))
        if is_reachable(host) then
          for _, size in ipairs { 0, 56, 1400 } do
            assert.is_number(host:ping(KERNEL, { size = size, timeout = 5 }))
            assert.is_true(kernel.pings(l.far, HOST, size))
          end
        else
          assert.is_true(card_loses_tags(l, stack), tostring(host))
          lost = "the card loses the tags of a stack, a kernel's own, too"
        end
        host:close()
        remove_devices(l.far)
      end
      frames.assert_balanced(relay)
      if lost then pending(lost) end
    end)
  end
end)
