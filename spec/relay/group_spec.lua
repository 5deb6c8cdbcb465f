-- Frames that several endpoints receive: broadcast, multicast, the default endpoint and its mirror.

local frames = require "support.frames"
local kinds = require "support.kinds"
local settle = require("support.wait").settle

local A, B, C = frames.MAC_A, frames.MAC_B, "02:00:00:00:00:0c"
local BROADCAST, GROUP = frames.BROADCAST, "01:00:5e:01:02:03"

local function count(...)
  local counts = {}
  for i, endpoint in ipairs { ... } do counts[i] = endpoint:stats().received end
  return counts
end

kinds.each("an EtherConn", function(it)
  it("does not receive group frames unless it asks for them", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = B }, b:default_conn()
    from:send(frames.udp(), BROADCAST)
    from:send(frames.udp(), GROUP)
    assert.equal(frames.udp(), (rest:recv(1)))
    assert.equal(frames.udp(), (rest:recv(1)))
    assert.same({ 0 }, count(conn))
  end)

  it("with multicast = true receives broadcast and any multicast", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B, multicast = true }
    for i, mac in ipairs { BROADCAST, GROUP, "33:33:00:00:00:01" } do
      from:send(frames.udp { payload = ("x"):rep(i) }, mac)
      assert.equal(frames.udp { payload = ("x"):rep(i) }, (conn:recv(1)))
    end
  end)

  it("with multicast = true receives those of its own VLAN stack and EtherTypes alone", function(a, b)
    local from = a:conn { mac = A }
    local conn, rest = b:conn { mac = B, vlans = 100, ethertypes = { 0x0800 }, multicast = true }, b:default_conn()
    from:send(frames.udp(), BROADCAST)
    from:send(frames.udp(), BROADCAST, { vlans = 101 })
    from:send(frames.udp(), BROADCAST, { vlans = "100.100" })
    from:send(frames.udp(), BROADCAST, { vlans = { { vid = 100, tpid = 0x88a8 } } })
    from:send(frames.udp6(), BROADCAST, { vlans = 100 })
    for _ = 1, 5 do assert(rest:recv(1)) end
    from:send(frames.udp(), BROADCAST, { vlans = { { vid = 100, pcp = 3 } } })
    assert.equal(frames.udp(), (conn:recv(1)))
    assert.same({ 1, 5 }, count(conn, rest))
  end)

  it('with multicast = "all" receives those of every VLAN stack, but of its EtherTypes', function(a, b)
    local from = a:conn { mac = A }
    local conn, rest = b:conn { mac = B, vlans = 100, ethertypes = { 0x0800 }, multicast = "all" }, b:default_conn()
    from:send(frames.udp6(), BROADCAST)
    assert(rest:recv(1))
    for _, stack in ipairs { "", "100", "200", "1.2.3.4" } do
      from:send(frames.udp(), GROUP, { vlans = stack })
      local _, sender = conn:recv(1)
      assert.equal(stack, tostring(sender.vlans))
    end
    assert.same({ 4, 1 }, count(conn, rest))
  end)

  it("shares group frames with all others that want them", function(a, b)
    local from, conns = a:conn { mac = A }, {}
    for i = 1, 20 do
      conns[i] = b:conn { mac = ("02:00:00:00:01:%02x"):format(i), multicast = i % 2 == 0 and "all" or true }
    end
    from:send(frames.udp(), BROADCAST)
    for _, conn in ipairs(conns) do assert.equal(frames.udp(), (conn:recv(1))) end
    local stats = frames.assert_balanced(b)
    assert.same({ 1, 19, 20 }, { stats.rx_frames, stats.rx_copies, stats.rx_delivered })
  end)

  it("gets a copy of its own, which the other receivers cannot change", function(a, b)
    local from = a:conn { mac = A }
    local one, two = b:conn { mac = B, multicast = true }, b:conn { mac = C, multicast = true }
    from:send(frames.udp(), BROADCAST)
    local frame = one:recv_frame(1)
    frame.data[frame.payload + 30] = 255
    assert.equal(frames.udp(), (two:recv(1)))
  end)

  it("whose own MAC is a group address receives what is sent to that one", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = GROUP }, b:default_conn()
    from:send(frames.udp(), "01:00:5e:01:02:04")
    from:send(frames.udp(), BROADCAST)
    from:send(frames.udp(), GROUP, { vlans = 5 })
    for _ = 1, 3 do assert(rest:recv(1)) end
    from:send(frames.udp { payload = "this" }, GROUP)
    assert.equal(frames.udp { payload = "this" }, (conn:recv(1)))
    assert.same({ 1, 3 }, count(conn, rest))
  end)

  it("whose own MAC is a group address receives a frame once, however many reasons there are", function(a, b)
    local from = a:conn { mac = A }
    local own, all = b:conn { mac = GROUP, multicast = true }, b:conn { mac = BROADCAST, multicast = "all" }
    local last = b:conn { mac = B }
    from:send(frames.udp(), GROUP)
    from:send(frames.udp(), BROADCAST)
    from:send(frames.udp(), B)
    assert(last:recv(1))
    settle()
    assert.same({ 2, 2 }, count(own, all))
  end)

  it("whose own MAC is a group address sends nothing without a source address", function(a, b)
    local conn, rest = a:conn { mac = GROUP }, b:default_conn()
    assert.error_matches(function() conn:send(frames.udp(), B) end, "src_mac")
    assert.error_matches(function() conn:udp("10.0.0.1:1"):send("x", "10.0.0.2:2") end, "src_mac")
    conn:send(frames.udp(), B, { src_mac = A })
    frames.assert_same_bytes(frames.frame(frames.udp()), frames.whole(rest))
  end)
end)

kinds.each("a default endpoint", function(it, kind)
  it("receives what no other endpoint wants, and nothing else", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = B }, b:default_conn()
    from:send(frames.udp(), B)
    from:send(frames.udp(), C)
    from:send(frames.udp6(), B, { vlans = 9 })
    local came = { (rest:recv(1)), (rest:recv(1)) }
    settle()
    assert.same(frames.sorted_hex { frames.udp(), frames.udp6() }, frames.sorted_hex(came))
    assert.same({ 1, 2 }, count(conn, rest))
  end)

  it("has no second one beside it", function(_, b)
    local first = b:default_conn()
    assert.error_matches(function() b:default_conn() end, "has a default endpoint already")
    first:close()
    b:default_conn()
  end)

  it("leaves frames unclaimed once it is closed", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = B }, b:default_conn()
    rest:close()
    from:send(frames.udp(), C)
    from:send(frames.udp(), B)
    assert(conn:recv(1))
    settle()
    assert.equal(kind.steers and 0 or 1, frames.assert_balanced(b).rx_unclaimed)
  end)

  it("with mirror sees everything that comes in, beside its receivers", function(a, b)
    local from = a:conn { mac = A }
    local conn = b:conn { mac = B, multicast = true }
    local udp = conn:udp("10.0.0.2:2000")
    local mirror = b:default_conn { mirror = true }
    local sent = { { frames.udp(), B }, { frames.udp6(), B }, { frames.udp6(), BROADCAST }, { frames.udp(), C } }
    local wanted, came = {}, {}
    for i, one in ipairs(sent) do
      from:send(one[1], one[2])
      wanted[i] = frames.frame(one[1], { dst = one[2] })
    end
    for i = 1, #sent do
      local frame = mirror:recv_frame(1)
      assert.is_false(frame.outgoing)
      came[i] = tostring(frame)
    end
    assert.same(frames.sorted_hex(wanted), frames.sorted_hex(came))
    settle()
    assert.same({ 4, 2, 1 }, count(mirror, conn, udp))
    local stats = frames.assert_balanced(b)
    assert.same({ 4, 3 }, { stats.rx_frames, stats.rx_copies })
  end)

  it("with mirror sees everything that goes out, as it was sent", function(a, b)
    local mirror = a:default_conn { mirror = true }
    local conn = a:conn { mac = A, vlans = { { vid = 3, tpid = 0x88a8, pcp = 2 } } }
    conn:udp("10.0.0.1:1000"):send(frames.PAYLOAD, "10.0.0.2:2000", { mac = B })
    conn:send(("x"):rep(60), B, { ethertype = 0x88b5 })
    local got, out, came = b:default_conn(), {}, {}
    for i = 1, 2 do
      local frame = mirror:recv_frame(1)
      assert.is_true(frame.outgoing)
      out[i], came[i] = tostring(frame), frames.whole(got)
    end
    assert.same(frames.sorted_hex(came), frames.sorted_hex(out))
    assert.equal(2, frames.assert_balanced(a).rx_copies)
  end)

  it("without mirror sees nothing that goes out", function(a, b)
    local rest, conn, got = a:default_conn(), a:conn { mac = A }, b:default_conn()
    conn:send(frames.udp(), B)
    assert(got:recv(1))
    assert.same({ 0 }, count(rest))
  end)

  it("counts as right when its mirror overflows", function(a)
    local mirror, conn = a:default_conn { mirror = true, recv_depth = 5 }, a:conn { mac = A }
    for _ = 1, 300 do assert(conn:send(frames.udp(), B, { timeout = 5 })) end
    local stats = frames.when_sent(a)
    assert.same({ 300, 300, 5, 295 }, { stats.tx_sent, stats.rx_copies, stats.rx_queued, stats.rx_overflow })
    assert.equal(295, mirror:stats().dropped)
  end)
end)
