-- Waiting, closing, full queues and used-up memory: what endpoints and relays do at the ends of their lives and limits.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local nic_lab = require "support.nic_lab"
local wait = require "support.wait"

local eventually, settle = wait.eventually, wait.settle
local A, B, C = frames.MAC_A, frames.MAC_B, "02:00:00:00:00:0c"

-- A packet that carries a number, and the number in a received one.
local function numbered(i) return frames.udp { payload = ("%06d"):format(i) } end
local function number_in(packet) return tonumber(packet:sub(29)) end

local PAUSE = nic_lab.given and 0.01 or 0 -- seconds: what stands for a wire between NICs has no room for more at once

-- Sends numbered packets 1 to n in bursts that no ring is too small for, and lets them arrive.
local function flood(from, mac, n)
  for i = 1, n do
    from:send(numbered(i), mac)
    if i % 64 == 0 then ether.sleep(PAUSE) end
  end
  settle()
end

kinds.each("a read", function(it)
  it("with timeout 0 or a negative one returns at once", function(_, b)
    local conn = b:conn { mac = B }
    local before = ether.now()
    assert.same({ nil, "timeout" }, { conn:recv(0) })
    assert.same({ nil, "timeout" }, { conn:recv(-1) })
    assert.same({ nil, "timeout" }, { conn:recv_frame(-math.huge) })
    assert.is_true(ether.now() - before < 5)
  end)

  it("with timeout 0 finds what is there already", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    from:send(frames.udp(), B)
    settle()
    assert.equal(frames.udp(), (conn:recv(0)))
  end)

  it("returns at its deadline, never before", function(_, b)
    local conn = b:conn { mac = B }
    for _, timeout in ipairs { 0.0001, 0.001, 0.0105, 0.05 } do
      local before = ether.now()
      assert.same({ nil, "timeout" }, { conn:recv(timeout) })
      local took = ether.now() - before
      assert.is_true(took >= timeout, ("%g s took %g s"):format(timeout, took))
      assert.is_true(took < timeout + 5, ("%g s took %g s"):format(timeout, took))
    end
  end)

  it("returns what comes before its deadline at once", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    local before = ether.now()
    ether.spawn(function()
      settle()
      from:send(frames.udp(), B)
    end)
    assert.equal(frames.udp(), (conn:recv(30)))
    assert.is_true(ether.now() - before < 15)
  end)

  it("refuses what is no number of seconds", function(_, b)
    local conn = b:conn { mac = B }
    assert.error_matches(function() conn:recv("soon") end, "bad timeout soon")
    assert.error_matches(function() conn:recv(0 / 0) end, "bad timeout")
  end)

  it("of one task keeps another task from reading the same endpoint", function(_, b)
    local conn = b:conn { mac = B }
    local reader = ether.spawn(function() return conn:recv(1) end)
    ether.sleep(0)
    assert.error_matches(function() conn:recv(1) end, "another task is reading")
    conn:close()
    assert.same({ nil, "closed" }, { reader:join() })
  end)

  it('returns nil, "closed" when its endpoint is closed meanwhile', function(_, b)
    local conn = b:conn { mac = B }
    local udp, rest = conn:udp("10.0.0.2:1"), b:default_conn()
    for _, endpoint in ipairs { udp, conn, rest } do
      local reader = ether.spawn(function() return endpoint:recv() end)
      settle()
      endpoint:close()
      assert.same({ nil, "closed" }, { reader:join() })
    end
  end)

  it('returns nil, "closed" when its relay is closed meanwhile', function(_, b)
    local conn = b:conn { mac = B }
    local readers = {}
    for i, endpoint in ipairs { conn, conn:udp("10.0.0.2:1"), b:default_conn() } do
      readers[i] = ether.spawn(function() return endpoint:recv() end)
    end
    settle()
    b:close()
    for _, reader in ipairs(readers) do assert.same({ nil, "closed" }, { reader:join() }) end
  end)

  it("lends a frame until the next one is asked for", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    flood(from, B, 3)
    local first = conn:recv_frame(1)
    assert.equal(1, number_in(first.body))
    local second = conn:recv_frame(1)
    assert.equal(2, number_in(second.body))
    second:release()
    second:release()
    assert.equal(3, number_in((conn:recv(1))))
    assert.equal(3, frames.assert_balanced(b).rx_delivered)
  end)
end)

kinds.each("an endpoint that is closed", function(it)
  it("may be closed again", function(_, b)
    local conn = b:conn { mac = B }
    local udp = conn:udp("10.0.0.2:1")
    for _ = 1, 3 do udp:close() end
    for _ = 1, 3 do conn:close() end
    for _ = 1, 3 do b:close() end
  end)

  it("closes the RUDPConns on it", function(_, b)
    local conn = b:conn { mac = B }
    local udp = conn:udp("10.0.0.2:1")
    conn:close()
    assert.error_matches(function() udp:recv(0) end, "this endpoint is closed")
    udp:close()
  end)

  it("raises a clear error whatever it is used for", function(_, b)
    local conn = b:conn { mac = B }
    local udp = conn:udp("10.0.0.2:1")
    udp:close()
    conn:close()
    for words, use in pairs {
      ["conn:recv"] = function() conn:recv(0) end,
      ["conn:recv_frame"] = function() conn:recv_frame(0) end,
      ["conn:recv without a timeout"] = function() conn:recv() end,
      ["conn:send"] = function() conn:send(frames.udp(), B) end,
      ["conn:udp"] = function() conn:udp("10.0.0.2:1") end,
      ["conn:udp with ARP"] = function() conn:udp("10.0.0.2:1", { resolve = "arp" }) end,
      ["conn:relay"] = function() conn:relay() end,
      ["udp:recv"] = function() udp:recv(0) end,
      ["udp:send"] = function() udp:send("x", "10.0.0.1:1") end,
      ["udp:conn"] = function() udp:conn() end,
      ["udp:connect"] = function() udp:connect("10.0.0.1:1") end,
      ["udp:set_addr"] = function() udp:set_addr("10.0.0.3:1") end,
    } do
      local ok, message = pcall(use)
      assert.is_false(ok, words)
      assert.matches("closed", message, nil, nil, words)
    end
  end)

  it("gives its memory back, what it has queued and what it has lent", { frames = 256 }, function(a, b)
    local from = a:conn { mac = A }
    for _ = 1, 10 do
      local conn = b:conn { mac = B }
      flood(from, B, 100)
      conn:recv_frame(1)
      conn:close()
    end
    local stats = frames.assert_balanced(b)
    assert.equal(1000, stats.rx_frames + (nic_lab.given and stats.rx_missed or 0))
    assert.same({ 10, stats.rx_frames - 10, 0, 0 }, { stats.rx_delivered, stats.rx_closed, stats.rx_no_memory,
      stats.rx_queued })
  end)
end)

kinds.each("a relay that is closed", function(it)
  it("raises a clear error whatever it is used for", function(_, b)
    b:close()
    for words, use in pairs {
      conn = function() b:conn { mac = B } end,
      default_conn = function() b:default_conn() end,
      stats = function() b:stats() end,
      flush = function() b:flush() end,
      filter = function() b:filter("arp") end,
    } do
      assert.error_matches(use, "relay %S+ is closed", nil, nil, words)
    end
  end)

  it("closes its endpoints", function(_, b)
    local conn, rest = b:conn { mac = B }, b:default_conn()
    local udp = conn:udp("10.0.0.2:1")
    b:close()
    for _, endpoint in ipairs { conn, rest, udp } do
      assert.error_matches(function() endpoint:recv(0) end, "this endpoint is closed")
    end
  end)

  it("leaves the other end alone", function(a, b)
    local from = a:conn { mac = A }
    b:close()
    from:send(frames.udp(), B)
    local stats = frames.when_sent(a)
    assert.equal(1, stats.tx_sent + stats.tx_link_down)
  end)
end)

kinds.each("a full queue", function(it)
  it("loses its oldest frames, which are counted", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B, recv_depth = 10 }
    flood(from, B, 100)
    assert.same({ received = 100, dropped = 90, queued = 10 }, conn:stats())
    for i = 91, 100 do assert.equal(i, number_in((conn:recv(0)))) end
    assert.same({ nil, "timeout" }, { conn:recv(0) })
    local stats = frames.assert_balanced(b)
    assert.same({ 100, 90, 10 }, { stats.rx_frames, stats.rx_overflow, stats.rx_delivered })
  end)

  it("is as long as the relay says, unless its endpoint says otherwise", { recv_depth = 7 }, function(a, b)
    local from = a:conn { mac = A }
    local conn, rest = b:conn { mac = B }, b:default_conn { recv_depth = 9 }
    local udp = b:conn({ mac = C }):udp("10.0.0.2:2000", { recv_depth = 3 })
    for _, mac in ipairs { B, C, "02:00:00:00:00:0d" } do flood(from, mac, 20) end
    assert.same({ 7, 9, 3 }, { conn:stats().queued, rest:stats().queued, udp:stats().queued })
  end)

  it("of a RUDPConn loses its oldest datagrams, and no other's", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    local small, other = conn:udp("10.0.0.2:2000", { recv_depth = 1 }), conn:udp("10.0.0.2:2001")
    from:send(frames.udp { dst_port = 2001, payload = "other" }, B)
    flood(from, B, 5)
    assert.equal("000005", (small:recv(1)))
    assert.equal("other", (other:recv(1)))
    assert.equal(4, small:stats().dropped)
  end)
end)

kinds.each("a relay whose frame memory is used up", function(it)
  it("takes it from endpoints that do not read; one that does goes on", { frames = 256, recv_depth = 1000 },
    function(a, b)
      local from = a:conn { mac = A }
      local idle, busy = b:conn { mac = B }, b:conn { mac = C }
      flood(from, B, 600)
      assert.is_true(idle:stats().queued <= 256)
      for i = 1, 1000 do
        from:send(numbered(i), C)
        from:send(numbered(i), B)
        assert.equal(i, number_in((busy:recv(1))))
      end
      eventually(function() return b:stats().rx_frames + b:stats().rx_missed == 2600 end)
      local stats = frames.assert_balanced(b)
      assert.same({ 2600, 0, 0 }, { stats.rx_frames + stats.rx_missed, stats.rx_no_memory, busy:stats().dropped })
      assert.equal(stats.rx_evicted, idle:stats().dropped)
      assert.is_true(stats.rx_evicted >= 1600 - 256)
    end)

  it("loses the oldest frames of an endpoint first", { frames = 256, recv_depth = 1000,
    veth = "cards lose frames by themselves meanwhile" }, function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    flood(from, B, 1000)
    local queued, last = conn:stats().queued, nil
    for i = 1, queued do
      last = number_in((conn:recv(0)))
      assert.equal(1000 - queued + i, last)
    end
    assert.equal(1000, last)
  end)

  it("still sends", { frames = 128, recv_depth = 1000 }, function(a, b)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    flood(near, B, 500)
    for i = 1, 200 do
      assert.is_true(far:send(numbered(i), A))
      assert.equal(i, number_in((near:recv(1))))
    end
    frames.assert_balanced(b)
  end)
end)

kinds.each("the counters of a relay", function(it)
  it("add up with normal traffic, both ways", function(a, b)
    local near, far = a:conn({ mac = A }):udp("10.0.0.1:1"), b:conn({ mac = B }):udp("10.0.0.2:2")
    for i = 1, 300 do
      near:send(("x"):rep(18), "10.0.0.2:2", { mac = B })
      assert(far:recv(1))
      if i % 3 == 0 then far:send(("y"):rep(18), "10.0.0.1:1", { mac = A }) end
    end
    for _ = 1, 100 do assert(near:recv(1)) end
    local stats = { frames.when_sent(a), frames.when_sent(b) }
    assert.same({ 300, 100, 100 }, { stats[1].tx_sent, stats[1].rx_frames, stats[1].rx_delivered })
    assert.same({ 100, 300, 300 }, { stats[2].tx_sent, stats[2].rx_frames, stats[2].rx_delivered })
    assert.same({ 300 * 60, 300 * 60 }, { stats[1].bytes_tx, stats[2].bytes_rx })
  end)

  it("add up under a flood of random frames to endpoints of all sorts, some of which overflow or close", function(a, b)
    math.randomseed(7)
    local inject, open = frames.injector(a), {}
    b:default_conn { mirror = true, recv_depth = 50 }
    for i = 1, 4 do
      local conn = b:conn { mac = B, vlans = i, ethertypes = {}, multicast = i % 2 == 0, recv_depth = 10 * i }
      open[i] = conn
      conn:udp("10.0.0.2:2000", { accept_any = i > 2, recv_depth = 5 })
    end
    for i = 1, 3000 do
      local noise = {}
      for k = 1, math.random(2, 60) do noise[k] = string.char(math.random(0, 255)) end
      inject(frames.frame(table.concat(noise), {
        dst = math.random(4) == 1 and frames.BROADCAST or B, vlans = { math.random(5) },
        ethertype = ({ 0x0800, 0x86dd, 0x0806, 0x88b5 })[math.random(4)],
      }))
      inject(frames.frame(frames.udp { dst_port = math.random(1999, 2001) }, { vlans = { math.random(5) } }))
      if i % 100 == 0 then
        ether.sleep(0)
        frames.assert_balanced(b)
      end
      if i % 1000 == 0 then table.remove(open):close() end
    end
    settle()
    if not nic_lab.given then -- cards drop what is malformed
      assert.is_true(eventually(function() return b:stats().rx_frames + b:stats().rx_missed == 6000 end))
    end
    local stats = frames.assert_balanced(b)
    frames.assert_balanced(a)
    for _, name in ipairs { "rx_invalid", "rx_overflow", "rx_closed", "rx_queued", "rx_copies" } do
      assert.is_true(stats[name] > 0, name)
    end
  end)

  it("add up after endpoints with queued frames were closed", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = B }, b:default_conn()
    local udp = conn:udp("10.0.0.2:2000")
    flood(from, B, 20)
    from:send(frames.udp6(), B)
    flood(from, C, 10)
    udp:close()
    assert.equal(20, frames.assert_balanced(b).rx_closed)
    conn:close()
    assert.equal(21, frames.assert_balanced(b).rx_closed)
    rest:close()
    local stats = frames.assert_balanced(b)
    assert.same({ 31, 31, 0 }, { stats.rx_frames, stats.rx_closed, stats.rx_queued })
  end)

  it("count a lent frame as delivered", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    from:send(frames.udp(), B)
    assert(conn:recv_frame(1))
    assert.equal(1, frames.assert_balanced(b).rx_delivered)
    conn:close()
    local stats = frames.assert_balanced(b)
    assert.same({ 1, 0 }, { stats.rx_delivered, stats.rx_closed })
  end)
end)

describe("a wire", function()
  after_each(require("support.leaks").check)

  it("captures the frames of both directions, once each", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    kinds.run(function()
      local a, b = ether.wire { capture = path }
      a:conn({ mac = A }):send(frames.udp { payload = ("x"):rep(500) }, B)
      b:conn({ mac = B }):send(frames.udp6(), A)
      settle()
    end)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    assert.equal(24 + 16 + 14 + 528 + 16 + 14 + 48 + #frames.PAYLOAD, #text)
  end)

  it("counts what is sent to an end that is closed as lost to the link", function()
    kinds.run(function()
      local a, b = ether.wire()
      local conn = a:conn { mac = A }
      b:close()
      conn:send(frames.udp(), B)
      ether.sleep(0)
      assert.same({ nil, "link down" }, { conn:send(frames.udp(), B) })
      assert.equal(2, frames.assert_balanced(a).tx_link_down)
    end)
  end)

  it("refuses an MTU, a number of frames and a frame size that cannot work", function()
    for words, opts in pairs {
      ["bad MTU 67: 68 to 65000 is allowed"] = { mtu = 67 }, ["bad MTU 65001"] = { mtu = 65001 },
      ["bad number of frames 127: at least 128"] = { frames = 127 },
      ["bad frame_size 2047: 2048 to"] = { frame_size = 2047 }, ['unknown option "speed" of a relay'] = { speed = 9 },
      ['bad filter "no": '] = { filter = "no" },
    } do
      local ok, message = pcall(ether.wire, opts)
      assert.is_false(ok)
      assert.is_truthy(message:find(words, 1, true), message)
      assert.is_nil(message:find("\n"))
    end
  end)
end)
