-- What the endpoints of an xdp relay receive, and that what it sends never gets stuck.

local access = require "support.access"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local sched = require "etherlua.core.sched"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B
local open, outcome, numbered, number_in, numbers = xdp.open, xdp.outcome, xdp.numbered, xdp.number_in, xdp.numbers
local one_to, mac, lab_it = xdp.one_to, xdp.mac, xdp.lab_it
local send_flows, queue_counters = xdp.send_flows, xdp.queue_counters

describe("an endpoint of an xdp relay", function()
  after_each(leaks.check)

  lab_it("loses nothing while 10,000 others come and go", { queues = 2 }, function(l)
    local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far)
    local near, first, others = a:conn { mac = A }, b:conn { mac = B, recv_depth = 5000 }, {}
    local tagged = b:conn { mac = B, vlans = "7.8", recv_depth = 5000 }
    for i = 1, 10000 do
      others[i] = b:conn { mac = mac(i) }
      if i > 200 then others[i - 200]:close() end
      if i % 5 == 0 then
        near:send(numbered(i / 5), B)
        near:send(numbered(i / 5), B, { vlans = "7.8" })
        near:send(numbered(i), mac(i - 201)) -- for one that has gone
        ether.sleep(0)
      end
    end
    assert.same(one_to(2000), numbers(first))
    assert.same(one_to(2000), numbers(tagged))
    near:send(numbered(1), mac(9801))
    assert.same({ 1 }, numbers(others[9801]))
    assert.equal(0, frames.assert_balanced(b).rx_missed)
  end)

  lab_it("is one of 100,000, which receive at any place among them", nil, function(l)
    local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far)
    local near, conns, before = a:conn { mac = A }, {}, ether.now()
    for i = 1, 100000 do conns[i] = b:conn { mac = mac(i) } end
    assert.is_true(ether.now() - before < 20)
    for i = 1, 100000, 9999 do
      near:send(numbered(i), mac(i))
      assert.equal(i, number_in((assert(conns[i]:recv(1)))))
    end
    near:send(numbered(0), mac(100001))
    before = ether.now()
    b:close()
    assert.is_true(ether.now() - before < 20)
  end)

  for _, which in ipairs { "first", "second" } do
    lab_it("stays when the " .. which .. " of two with its MAC address and VLAN stack is closed", nil, function(l)
      local a, b = l.near:enter(ether.open, "afpacket:eth0", { filter = "" }), open(l.far, { filter = "" })
      local near, types = a:conn { mac = A }, { first = 0x88b5, second = 0x88b6 }
      local conns = {}
      for _, name in ipairs { "first", "second" } do
        conns[name] = b:conn { mac = B, vlans = 9, ethertypes = { types[name] } }
      end
      conns[which]:close()
      local other = which == "first" and "second" or "first"
      near:send(("x"):rep(46), B, { ethertype = types[which], vlans = 9 })
      near:send(("y"):rep(46), B, { ethertype = types[other], vlans = 9 })
      assert.equal(("y"):rep(46), (conns[other]:recv(1)))
      assert.equal(1, b:stats().rx_unclaimed) -- steered, for the other one is still there
      conns[other]:close()
      near:send(("z"):rep(46), B, { ethertype = types[other], vlans = 9 })
      ether.sleep(0.05)
      assert.equal(2, frames.assert_balanced(b).rx_frames) -- now it is the kernel's
    end)
  end

  -- The access node pushes tags by tc, which leaves the outer one beside the frame, and redirects what it pushed them
  -- on; when its txvlan is off the tag comes inside the frame.
  local function from_access_node(vlans, inner, mode, txvlan, own)
    local possible, reason = lab.root()
    reason = not possible and reason or access.missing()
    if reason then return pending(reason) end
    local l = access.new { vlans = vlans }
    finally(function() l:close() end)
    kinds.run(function()
      local b = open(l.client, { mode = mode })
      local conn = b:conn { mac = B, vlans = own or vlans, ethertypes = { frames.IP4 } }
      local other = vlans ~= "" and inner ~= own and b:conn { mac = B, vlans = inner, ethertypes = { frames.IP4 } }
      l.node:run("ethtool -K cli txvlan " .. txvlan)
      assert.equal(0, outcome(send_flows(l.server, 20)))
      for _ = 1, 20 do
        local _, from = assert(conn:recv(1))
        assert.equal(vlans, tostring(from.vlans))
      end
      assert.is_nil(conn:recv(0.05))
      if other then assert.is_nil(other:recv(0)) end -- whose tags are those in the frame
      if mode == "native" then assert.equal(20, (select(2, queue_counters(l.client)))[1]) end
    end)
  end

  for vlans, own in pairs { ["0"] = "", ["0.200"] = "200", ["100.0"] = "100" } do
    for _, txvlan in ipairs { "on", "off" } do
      it(("receives frames of VLAN %q on VLAN %q, steered, when txvlan is %s"):format(vlans, own, txvlan), function()
        from_access_node(vlans, own, "native", txvlan, own)
      end)
    end
  end

  for vlans, inner in pairs { [""] = "", ["100"] = "", ["100.200"] = "200", ["100.200.300"] = "200.300" } do
    for _, mode in ipairs { "native", "generic" } do
      for _, txvlan in ipairs { "on", "off" } do
        local name = "receives frames of VLAN %q in %s mode from an access node whose txvlan is %s"
        it(name:format(vlans, mode, txvlan), function() from_access_node(vlans, inner, mode, txvlan) end)
      end
    end
  end
end)

describe("what an xdp relay sends", function()
  after_each(leaks.check)

  -- Sends 200,000 frames; at those with a number in `events` something happens. Then all is counted, and more sent.
  local function flood(l, mode, events)
    local a, b = open(l.near, { mode = mode }), open(l.far, { mode = mode })
    local near, far, received = a:conn { mac = A }, b:conn { mac = B }, 0
    sched.spawn_background(function()
      while far:recv_frame() do received = received + 1 end
    end)
    local packet, reasons = frames.udp(), {}
    for i = 1, 200000 do
      if events[i] then events[i](a) end
      local ok, reason = near:send(packet, B, { timeout = 2 })
      if not ok then reasons[reason] = true end
      if i % 64 == 0 then ether.sleep(0) end
    end
    assert.is_truthy(eventually(function() return a:stats().tx_pending == 0 end))
    local stats = frames.assert_balanced(a)
    assert.equal(200000, stats.tx_frames)
    local before = received
    assert.is_truthy(eventually(function()
      near:send(packet, B)
      return received > before
    end))
    frames.assert_balanced(b)
    return stats, reasons
  end

  for _, mode in ipairs { "native", "generic" } do
    lab_it("never gets stuck in a flood of 200,000, in " .. mode .. " mode", nil, function(l)
      local stats, reasons = flood(l, mode, {})
      assert.same({}, reasons)
      assert.equal(200000, stats.tx_sent)
    end)

    lab_it("never gets stuck when the other end goes down and up, in " .. mode .. " mode", nil, function(l)
      local stats, reasons = flood(l, mode, {
        [50000] = function() l.far:run("ip link set eth0 down") end,
        [120000] = function() l.far:run("ip link set eth0 up") end,
      })
      assert.same({}, reasons) -- the kernel does not tell AF_XDP
      assert.equal(200000, stats.tx_sent)
    end)

    lab_it("never gets stuck when its own link goes down and up, in " .. mode .. " mode", nil, function(l)
      local stats, reasons = flood(l, mode, {
        [50000] = function() l.near:run("ip link set eth0 down") end,
        [120000] = function(a)
          frames.assert_balanced(a)
          l.near:run("ip link set eth0 up")
        end,
      })
      assert.same({ ["link down"] = true }, reasons)
      assert.is_true(stats.tx_link_down > 60000 and stats.tx_sent > 100000)
      assert.equal(0, stats.tx_error + stats.tx_refused)
    end)
  end
end)
