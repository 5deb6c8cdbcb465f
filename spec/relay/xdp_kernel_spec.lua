-- The kernel beside an xdp relay: what stays its own, and what does not.

local ether = require "etherlua"
local frames = require "support.frames"
local leaks = require "support.leaks"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B
local open, outcome, numbered, number_in, ping = xdp.open, xdp.outcome, xdp.numbered, xdp.number_in, xdp.ping
local mac, give_addresses, lab_it = xdp.mac, xdp.give_addresses, xdp.lab_it

describe("the kernel beside an xdp relay", function()
  after_each(leaks.check)

  for _, mode in ipairs { "native", "generic" } do
    lab_it("keeps its TCP connections while 1,000 endpoints have traffic, in " .. mode .. " mode", { queues = 2 },
      function(l)
        give_addresses(l)
        local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far, { mode = mode })
        local near, conns, log = a:conn { mac = A }, {}, os.tmpname()
        ether.defer(function() os.remove(log) end)
        for i = 1, 1000 do conns[i] = b:conn { mac = mac(i) } end
        local server = l.far:start { "busybox", "nc", "-l", "-p", "7777", "-e", "sha256sum" } -- its result goes back
        assert.is_truthy(eventually(function() return l.far:run("cat /proc/net/tcp*"):find(":1E61", 1, true) end))
        local bytes = "yes etherlua | head -c 20000000"
        local client = l.near:start({ "sh", "-c", bytes .. " | busybox nc 10.0.0.2 7777" }, { log = log })
        local rounds = 0
        repeat
          rounds = rounds + 1
          for i = 1, 1000 do
            near:send(numbered(rounds), mac(i))
            if i % 50 == 0 then ether.sleep(0) end
          end
          for i = 1, 1000 do assert.equal(rounds, number_in((assert(conns[i]:recv(1))))) end
        until rounds >= 10 and client:status() or rounds == 1000
        assert.same({ 0, 0 }, { client:status(), outcome(server) })
        assert.equal(l.near:run(bytes .. " | sha256sum"), client:log())
        assert.equal(0, frames.assert_balanced(b).rx_missed)
      end)

    lab_it("answers ARP and ping, and receives group frames like the endpoints that asked, in " .. mode .. " mode", nil,
      function(l)
        give_addresses(l)
        local b = open(l.far, { mode = mode })
        local member = b:conn { mac = B, multicast = true }
        local own = b:conn { mac = frames.BROADCAST, ethertypes = { frames.ARP } }
        local other, tagged = b:conn { mac = mac(1) }, b:conn { mac = mac(2), vlans = 7, multicast = true }
        local pings = ping(l, 3)
        local payload, from = member:recv(2)
        assert.same({ 28, frames.ARP }, { #payload, from.ethertype })
        assert.equal(payload, (own:recv(1)))
        assert.equal(0, outcome(pings))
        assert.matches("lladdr " .. b.mac, l.near:run("ip neigh show 10.0.0.2"))
        assert.same({ nil, "timeout" }, { other:recv(0.02) })
        assert.same({ nil, "timeout" }, { tagged:recv(0) })
        assert.equal(0, member:stats().queued) -- the replies and pings were the kernel's alone
      end)
  end

  lab_it("gets no frame of the EtherTypes that are steered, to whomever; all others stay its own", nil, function(l)
    give_addresses(l)
    local b = open(l.far, { steer = { 0x88b5, 0x88b6 }, filter = "" })
    local near = l.near:enter(ether.open, "afpacket:eth0", { filter = "" }):conn { mac = A, ethertypes = { 0x88b5 } }
    local rest, conn = b:default_conn(), b:conn { mac = B, ethertypes = { 0x88b5 }, multicast = true }
    local witness = l.far:enter(ether.open, "afpacket:eth0", { filter = "not ip6" }):default_conn()
    for ethertype = 0x88b5, 0x88b7 do
      near:send("to me", B, { ethertype = ethertype })
      near:send("to nobody", mac(9), { ethertype = ethertype })
      near:send("to all", frames.BROADCAST, { ethertype = ethertype, vlans = "5.6" })
    end
    near:send("to all", frames.BROADCAST, { ethertype = 0x88b5 })
    near:relay():flush()
    assert.equal(0, outcome(ping(l, 1)))
    local seen = { [conn] = "", [rest] = "", [witness] = "" }
    for endpoint in pairs(seen) do
      for payload, from in function() return endpoint:recv(0.1) end do
        seen[endpoint] = ("%s %x %s"):format(seen[endpoint], from.ethertype, payload:match("^to %a+") or "")
      end
    end
    local kernels = " 88b7 to me 88b7 to nobody 88b7 to all 806  800 "
    assert.equal(" 88b5 to me 88b5 to all", seen[conn])
    assert.equal(kernels, seen[witness])
    assert.equal(" 88b5 to nobody 88b5 to all 88b6 to me 88b6 to nobody 88b6 to all" .. kernels, seen[rest])
  end)

  lab_it('gets no IP and ARP with steer = "all"', nil, function(l)
    give_addresses(l)
    local b = open(l.far, { steer = "all" })
    local conn, rest = b:conn { mac = B, multicast = true }, b:default_conn()
    local pings = ping(l, 1)
    local _, from = conn:recv(2)
    assert.equal(frames.ARP, from.ethertype)
    assert.equal(1, outcome(pings))
    assert.not_matches("lladdr", l.near:run("ip neigh show 10.0.0.2"))
    l.near:run("ip neigh replace 10.0.0.2 lladdr " .. b.mac .. " dev eth0")
    pings = ping(l, 1)
    assert.equal(frames.IP4, select(2, assert(rest:recv(2))).ethertype)
    assert.equal(1, outcome(pings))
  end)
end)
