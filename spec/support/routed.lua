-- routed.lua: a line of kernels that route, with the program at its near end:
--
--   client eth0 ---- near r1 far ---- near r2 far ---- eth0 server
--        10.0.1.0/24         10.0.2.0/24       10.0.3.0/24
--      2001:db8:1::/64     2001:db8:2::/64   2001:db8:3::/64
--
-- Routers are .1 at their near and .2 at their far side, the server is 10.0.3.9 and 2001:db8:3::9, the client's own
-- kernel, for comparison, 10.0.1.9 and 2001:db8:1::9. The kernels' limits on the rate of ICMP errors are off: a test
-- would use up the next one's.

local lab = require "etherlua.test.lab"

local M = {}

M.SERVER = { [4] = "10.0.3.9", [6] = "2001:db8:3::9" }
-- What makes the program's host one of the client's network.
M.HOST = { [4] = "--ip 10.0.1.5/24 --gateway 10.0.1.1", [6] = "--ip6 2001:db8:1::5/64 --gateway6 2001:db8:1::1" }

local function address(ns, interface, net, host)
  ns:run(("ip addr add 10.0.%d.%d/24 dev %s"):format(net, host, interface))
  ns:run(("ip addr add 2001:db8:%d::%d/64 dev %s nodad"):format(net, host, interface))
end

local function route(ns, to, net, host)
  ns:run(("ip route add 10.0.%d.0/24 via 10.0.%d.%d && ip route add 2001:db8:%d::/64 via 2001:db8:%d::%d"):format(to,
    net, host, to, net, host))
end

-- Raises an error when it cannot be made. Close it in the end.
---@return etherlua.test.lab
function M.new()
  local net = lab.new { ipv6 = true, links = { { "client", "r1:near" }, { "r1:far", "r2:near" },
    { "r2:far", "server" } } }
  for _, ns in pairs(net.hosts) do
    ns:run "echo 0 >/proc/sys/net/ipv4/icmp_ratemask && echo 0 >/proc/sys/net/ipv6/icmp/ratelimit"
  end
  local client, r1, r2, server = net:host "client", net:host "r1", net:host "r2", net:host "server"
  for _, router in ipairs { r1, r2 } do
    router:run "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
  end
  address(client, "eth0", 1, 9)
  address(r1, "near", 1, 1)
  address(r1, "far", 2, 2)
  address(r2, "near", 2, 1)
  address(r2, "far", 3, 2)
  address(server, "eth0", 3, 9)
  for _, to in ipairs { 2, 3 } do route(client, to, 1, 1) end
  route(r1, 3, 2, 1)
  route(r2, 1, 2, 2)
  for _, to in ipairs { 1, 2 } do route(server, to, 3, 2) end
  return net
end

return M
