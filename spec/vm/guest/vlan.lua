-- Hosts behind VLAN tags against a kernel's own VLAN devices at the other end, whatever the NICs do to tags themselves.

local kinds = require "support.kinds"
local frames = require "support.frames"
local eventually = require("support.wait").eventually

local HOST, KERNEL = "10.0.0.5", "10.0.0.1"

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
  return eventually(function() return host:resolve(KERNEL) end, 20)
end

local function kernel_pings(ns, size)
  local process = ns:start({ "ping", "-q", "-c", "2", "-i", "0.2", "-W", "5", "-s", tostring(size), HOST },
    { log = "/dev/null" })
  return process:wait(20)
end

kinds.each_with_interface("a host", function(it)
  for _, offloads in ipairs(OFFLOADS) do
    it("talks with a kernel's VLAN devices both ways, with " .. offloads, function(l, open)
      set_offloads(l.near, offloads)
      set_offloads(l.far, offloads)
      local relay = open(l.near)
      for _, stack in ipairs(STACKS) do
        l.far:run(stack[2] .. "; ip addr add 10.0.0.1/24 dev last; ip link set last up")
        local host = relay:host { mac = frames.MAC_A, vlans = stack[1], ip = HOST .. "/24" }
        assert.is_true(host:ready(5))
        assert.is_truthy(is_reachable(host), tostring(host))
        for _, size in ipairs { 0, 56, 1400 } do
          assert.is_number(host:ping(KERNEL, { size = size, timeout = 5 }))
          assert.equal(0, kernel_pings(l.far, size))
        end
        host:close()
        l.far:run "ip link del last; ip link del outer 2>/dev/null || true"
      end
      frames.assert_balanced(relay)
    end)
  end
end)
