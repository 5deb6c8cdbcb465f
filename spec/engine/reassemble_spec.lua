-- What an EtherConn opened with `reassemble` makes of fragments: in which orders they become whole packets, which of
-- them never do, that what waits is bounded, and that every single one of them is accounted for.

local ether = require "etherlua"
local fragments = require "support.fragments"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local shell = require "support.shell"
local settle = require("support.wait").settle

local A, B = frames.MAC_A, frames.MAC_B
local MAX_PACKETS = 4096

-- The test as a task, with the two ends of a wire.
local function on_wire(opts, fn)
  if not fn then opts, fn = nil, opts end
  return function()
    kinds.run(function() fn(ether.wire(opts)) end)
  end
end

-- Checks that the counters of b add up, and that these are what is given, the rest of their kind 0.
local function assert_counted(b, expected)
  local stats, got, all = frames.assert_balanced(b), {}, {}
  for _, name in ipairs { "reassembled", "fragments", "merged", "frag_duplicate", "frag_timeout", "frag_overlap",
    "frag_invalid", "frag_limit", "invalid", "closed" } do
    got[name], all[name] = stats["rx_" .. name], expected[name] or 0
  end
  assert.same(all, got)
end

local function both(name, fn, opts)
  for _, version in ipairs { 4, 6 } do
    it(name .. " over IPv" .. version, on_wire(opts, function(a, b) fn(a, b, version) end))
  end
end

-- A receiver whose RUDPConn of that IP version is the second result.
local function receiver(a, b, version, opts)
  local send, four, six, conn = fragments.receiver(a, b, opts)
  return send, version == 4 and four or six, conn
end

local function picked(list, order)
  local out = {}
  for i, place in ipairs(order) do out[i] = list[place] end
  return unpack(out)
end

describe("an EtherConn that reassembles", function()
  after_each(leaks.check)

  both("puts fragments together that come in any order", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local orders = fragments.orders(5)
    for i, order in ipairs(orders) do
      local data = fragments.pattern(4 * 64 - 8 + 13, i)
      send(picked(fragments.cut(fragments.packet(version, data, { identification = i }), 64), order))
      assert.equal(data, (udp:recv(0)))
    end
    assert_counted(b, { reassembled = #orders, merged = 5 * #orders })
  end)

  for _, tail in ipairs { 0, 1, 7, 8, 9 } do
    both(("receives a last fragment of %d octets behind its units of 64"):format(tail), function(a, b, version)
      local send, udp = receiver(a, b, version)
      for identification, size in ipairs { 64, 128, 192 } do
        local data = fragments.pattern(size - 8 + tail)
        local list = fragments.cut(fragments.packet(version, data, { identification = identification }), 32)
        fragments.shuffle(list)
        send(unpack(list))
        assert.equal(data, (udp:recv(0)))
      end
    end)
  end

  both("gives its EtherConn the whole packet as it was sent", function(a, b, version)
    local send, _, conn = receiver(a, b, version)
    local fields = { protocol = 200, ttl = 9, hop_limit = 9, tos = 0xb8, traffic_class = 0xb8, flow_label = 0xabcde,
      options = version == 4 and { { type = 148, data = "\0\0" }, { type = 1 } } or nil,
      extension_headers = version == 6 and { { type = fragments.HOP }, { type = fragments.ROUTING } } or nil }
    local packet = fragments.packet(version, fragments.pattern(300), fields)
    send(unpack(fragments.cut(packet, 128)))
    local frame = assert(conn:recv_frame(0))
    assert.same({ false, version == 4 and "10.0.0.1" or "2001:db8::1" }, { frame.fragment, frame.src_ip })
    frames.assert_same_bytes(frames.frame(fragments.whole(packet)), tostring(frame))
    frames.assert_same_bytes(fragments.whole(packet), frame.body)
  end)

  both("receives the largest packet that there is", function(a, b, version)
    local send, udp, conn = receiver(a, b, version)
    local data = fragments.pattern(version == 4 and 65507 or 65527)
    local packet = fragments.packet(version, data)
    send(unpack(fragments.cut(packet, 1200)))
    local payload, from = udp:recv(0)
    assert.is_true(payload == data)
    assert.equal(1000, from.port)
    packet.protocol = 200
    send(unpack(fragments.cut(packet, 1200)))
    assert.is_true(fragments.whole(packet) == (conn:recv(0)))
  end)

  both("takes the very same fragment once, however often it comes", function(a, b, version)
    local send, udp = receiver(a, b, version)
    for i, order in ipairs(fragments.orders(4)) do
      local data = fragments.pattern(3 * 64 - 8 + 5, i)
      local list = fragments.cut(fragments.packet(version, data, { identification = i }), 64)
      local first = { order[1], order[2], order[3] }
      send(picked(list, first))
      send(picked(list, first))
      send(list[order[4]])
      assert.equal(data, (udp:recv(0)))
    end
    assert_counted(b, { reassembled = 24, merged = 96, frag_duplicate = 72 })
  end)

  both("throws away all of a packet in which two fragments overlap", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local data, count = fragments.pattern(400 - 8), 0
    -- Against a fragment of octets 128 to 255: over its start, its end, inside, around it, its first part.
    local ranges = { { 64, 128 }, { 192, 128 }, { 160, 32 }, { 64, 256 }, { 128, 64 }, { 192, 64 }, { 128, 128 } }
    for i, range in ipairs(ranges) do
      local packet = fragments.packet(version, data, { identification = i })
      local piece = function(...) return fragments.piece(packet, ...) end
      local overlapping = piece(range[1], range[2])
      if i == 7 then overlapping = overlapping:sub(1, -2) .. "!" end -- the same place, but not the same octets
      send(piece(0, 64), piece(128, 128), overlapping)
      count = count + 3
      assert_counted(b, { frag_overlap = count })
      send(piece(64, 64), piece(256, 144), piece(0, 64), piece(64, 64), piece(128, 128)) -- what is still to come
      count = count + 5
      assert_counted(b, { frag_overlap = count })
      assert.is_nil((udp:recv(0)))
    end
    local packet = fragments.packet(version, data, { identification = 99 })
    send(unpack(fragments.cut(packet, 64)))
    assert.equal(data, (udp:recv(0)))
  end)

  both("waits for what is missing", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local data = fragments.pattern(5 * 64 - 8 + 3)
    for missing = 1, 6 do
      local list = fragments.cut(fragments.packet(version, data, { identification = missing }), 64)
      local one = table.remove(list, missing)
      send(unpack(list))
      assert.same({ nil, "timeout" }, { udp:recv(0) })
      assert_counted(b, { fragments = 5, reassembled = missing - 1, merged = 6 * (missing - 1) })
      send(one)
      assert.equal(data, (udp:recv(0)))
    end
  end)

  both("does not mix packets of other senders, receivers, protocols or identifications", function(a, b, version)
    local send, udp, conn = receiver(a, b, version)
    local data, other = fragments.pattern(120), version == 4 and "10.0.0.3" or "2001:db8::3"
    local first = fragments.packet(version, data)
    local packets = { { src = other }, { dst = other }, { identification = 8 } }
    if version == 4 then packets[4] = { protocol = 200 } end
    send(fragments.piece(first, 0, 64))
    for _, fields in ipairs(packets) do send(fragments.piece(fragments.packet(version, data, fields), 64, 64)) end
    assert_counted(b, { fragments = 1 + #packets })
    send(fragments.piece(first, 64, 64))
    assert.equal(data, (udp:recv(0)))
    for _, fields in ipairs(packets) do send(fragments.piece(fragments.packet(version, data, fields), 0, 64)) end
    assert_counted(b, { reassembled = 1 + #packets, merged = 2 + 2 * #packets })
    -- Two of the others are for the same RUDPConn: from another sender, and with another identification.
    assert.same({ 3, #packets - 2 }, { udp:stats().received, conn:stats().received })
  end)

  it("takes IPv6 fragments with another next header for parts of the same packet (RFC 8200 4.5)",
    on_wire(function(a, b)
      local send, udp = receiver(a, b, 6)
      local packet = fragments.packet(6, fragments.pattern(120))
      local first = fragments.piece(packet, 0, 64)
      packet.protocol = 6
      send(fragments.piece(packet, 64, 64), first)
      assert.equal(fragments.pattern(120), (udp:recv(0)))
    end))

  both("does not mix the VLAN stacks of one MAC address", function(a, b, version)
    local packet = fragments.packet(version, fragments.pattern(120))
    local senders, readers = {}, {}
    for i, vlans in ipairs { "", "100", "200", "100.200", { { vid = 100, tpid = 0x88a8 }, 200 } } do
      senders[i], readers[i] = receiver(a, b, version, { vlans = vlans, mac = B })
    end
    for _, send in ipairs(senders) do send(fragments.piece(packet, 64, 64)) end
    assert_counted(b, { fragments = 5 })
    for _, send in ipairs(senders) do send(fragments.piece(packet, 0, 64)) end
    for _, udp in ipairs(readers) do assert.equal(fragments.pattern(120), (udp:recv(0))) end
  end)

  both("keeps the tags of a packet", function(a, b, version)
    local stack = { { vid = 100, tpid = 0x88a8, pcp = 5 }, { vid = 200, pcp = 3 } }
    local send, udp = receiver(a, b, version, { vlans = stack })
    send(unpack(fragments.cut(fragments.packet(version, fragments.pattern(3000)), 800)))
    local frame = assert(udp:recv_frame(0))
    assert.same({ 3000, "100.200", 0x88a8, 5, 3 }, { frame.payload_len, tostring(frame.vlans),
      frame.vlans[1].tpid, frame.vlans[1].pcp, frame.vlans[2].pcp })
  end)

  it("leaves atomic fragments alone, whatever else has their identification (RFC 6946)", on_wire(function(a, b)
    local send, udp = receiver(a, b, 6)
    local packet, atomic = fragments.packet(6, fragments.pattern(120)), fragments.packet(6, "atomic")
    send(fragments.piece(packet, 0, 64), fragments.piece(atomic, 0, 14))
    assert.equal("atomic", (udp:recv(0)))
    send(fragments.piece(packet, 64, 64))
    assert.equal(fragments.pattern(120), (udp:recv(0)))
    packet.extension_headers = { { type = fragments.FRAGMENT, identification = 7 } }
    send(unpack(fragments.cut(packet, 64)))
    assert.equal(fragments.pattern(120), (udp:recv(0)))
  end))

  it("gives an IPv6 fragment within fragments away as it is", on_wire(function(a, b)
    local send, udp, conn = receiver(a, b, 6)
    local inner = "\17\0\0\1\0\0\0\9" .. fragments.pattern(64) -- a fragment header with MF in front of it
    local packet = fragments.packet(6, "", { protocol = 44 })
    packet.payload = inner
    send(unpack(fragments.cut(packet, 40)))
    local frame = assert(conn:recv_frame(0))
    assert.is_true(frame.fragment)
    assert.equal(0, udp:stats().received)
    assert_counted(b, { reassembled = 1, merged = 2 })
  end))

  both("lets every receiver of a group frame put it together for itself", function(a, b, version)
    local from, readers = a:conn { mac = A }, {}
    for i = 1, 4 do
      local conn = b:conn { mac = ("02:00:00:00:01:%02x"):format(i), multicast = i % 2 == 0 and "all" or true,
        reassemble = i ~= 4 }
      readers[i] = conn:udp(version == 4 and "0.0.0.0:2000" or "[::]:2000")
      if i == 4 then readers[4] = conn end
    end
    for _, packet in ipairs(fragments.cut(fragments.packet(version, fragments.pattern(3000)), 800)) do
      from:send(packet, frames.BROADCAST)
    end
    a:flush()
    for i = 1, 3 do
      assert.equal(fragments.pattern(3000), (readers[i]:recv(0)))
      assert.equal(1, readers[i]:stats().received)
    end
    assert.equal(4, readers[4]:stats().received)
    assert_counted(b, { reassembled = 3, merged = 12 })
  end)

  both("shows a mirror the fragments, as they are on the wire", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local mirror = b:default_conn { mirror = true }
    local list = fragments.cut(fragments.packet(version, fragments.pattern(3000)), 800)
    send(unpack(list))
    assert.equal(fragments.pattern(3000), (udp:recv(0)))
    for _, packet in ipairs(list) do frames.assert_same_bytes(frames.frame(packet), frames.whole(mirror)) end
    assert.is_nil((mirror:recv(0)))
    frames.assert_balanced(b)
  end)

  both("that resolves by ARP or ND gets datagrams and its tap whole ICMPv6 packets", function(a, b, version)
    local conn = b:conn { mac = B, reassemble = true }
    local udp = conn:udp(version == 4 and "10.0.0.2:2000" or "[2001:db8::2]:2000", { resolve = "arp" })
    local from, packet = a:conn { mac = A }, fragments.packet(version, fragments.pattern(3000))
    for _, protocol in ipairs { 58, 17 } do
      packet.protocol = protocol
      for _, piece in ipairs(fragments.cut(packet, 800)) do from:send(piece, B) end
    end
    assert.equal(fragments.pattern(3000), (udp:recv(1)))
    assert.is_true(fragments.whole(fragments.packet(version, fragments.pattern(3000), { protocol = 58 })) ==
      (conn:recv(0)))
    settle()
    assert_counted(b, { reassembled = 2, merged = 8 })
  end)

  it("is no other: without the option fragments come as they are", on_wire(function(a, b)
    local from, to = a:conn { mac = A }, b:conn { mac = B }
    local list = fragments.cut(fragments.packet(4, fragments.pattern(120)), 64)
    for _, packet in ipairs(list) do from:send(packet, B) end
    a:flush()
    for _, packet in ipairs(list) do assert.equal(packet, (to:recv(0))) end
    assert_counted(b, {})
  end))

  both("closes with fragments that still wait, and is opened again without them", function(a, b, version)
    local packet = fragments.packet(version, fragments.pattern(120))
    local send, _, conn = receiver(a, b, version)
    for round = 1, 3 do
      send(fragments.piece(packet, 0, 64))
      assert_counted(b, { fragments = 1, closed = round - 1 })
      conn:close()
      assert_counted(b, { closed = round })
      conn = b:conn { mac = B, reassemble = true }
    end
    local udp = conn:udp(version == 4 and "10.0.0.2:2000" or "[2001:db8::2]:2000")
    send(fragments.piece(packet, 64, 64))
    assert.is_nil((udp:recv(0)))
    send(fragments.piece(packet, 0, 64))
    assert.equal(fragments.pattern(120), (udp:recv(0)))
    send(fragments.piece(packet, 0, 64))
    b:close() -- the sanitizer looks for what is left
  end)
end)

-- ---- hostile ones ---------------------------------------------------------------------------------------------------

describe("an EtherConn that reassembles and is sent what cannot be", function()
  after_each(leaks.check)

  both("drops a fragment without data, last or not", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local packet = fragments.packet(version, fragments.pattern(120))
    send(fragments.piece(packet, 0, 64), fragments.piece(packet, 64, 0, true), fragments.piece(packet, 64, 0, false))
    send(fragments.piece(packet, 64, 64))
    assert.equal(fragments.pattern(120), (udp:recv(0)))
    assert_counted(b, { reassembled = 1, merged = 2, frag_invalid = 2 })
  end)

  both("drops a fragment that others follow and that ends amid a unit", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local packet, count = fragments.packet(version, fragments.pattern(120)), 0
    for _, size in ipairs { 1, 7, 9, 63 } do
      send(fragments.piece(packet, 0, size))
      count = count + 1
      assert_counted(b, { frag_invalid = count })
    end
    send(unpack(fragments.cut(packet, 64)))
    assert.equal(fragments.pattern(120), (udp:recv(0)))
  end)

  both("drops a fragment that would end behind octet 65,535", function(a, b, version)
    local send = receiver(a, b, version)
    local packet = fragments.packet(version, fragments.pattern(1000))
    -- Bytes of the packet's own header that count.
    local header = version == 4 and 20 or 0
    local fits = 65535 - header - 65200
    for i, case in ipairs { { 65200, fits, true }, { 65200, fits + 1 }, { 65528, 8 }, { 65528, 1000 } } do
      packet.identification = i
      local piece = fragments.piece(fragments.packet(version, fragments.pattern(1000)), 0, case[2], false)
      local at = version == 4 and 7 or 43
      local word = string.char(math.floor(case[1] / 8 / 256 * (version == 4 and 1 or 8)) % 256,
        version == 4 and case[1] / 8 % 256 or case[1] % 256)
      local forged = piece:sub(1, at - 1) .. word .. piece:sub(at + 2)
      send(forged)
      assert_counted(b, { fragments = 1, frag_invalid = i - 1 })
    end
  end)

  it("drops a packet that is too long with the options of its first fragment", on_wire(function(a, b)
    local send = receiver(a, b, 4)
    local packet = fragments.packet(4, fragments.pattern(65507))
    local list = fragments.cut(packet, 1200)
    packet.options = ("\1"):rep(8)
    list[1] = fragments.piece(packet, 0, 1200)
    send(unpack(list))
    assert_counted(b, { frag_invalid = #list })
  end))

  both("throws away all of a packet with two ends", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local packet = fragments.packet(version, fragments.pattern(392))
    local count = 0
    for i, case in ipairs {
      { { 320, 80, false }, { 240, 64, false } }, -- an end before the end
      { { 240, 64, false }, { 320, 80, false } }, -- and behind it
      { { 240, 64, false }, { 320, 64, true } },  -- data behind the end
      { { 320, 64, true }, { 240, 64, false } },
      { { 240, 64, false }, { 240, 64, true } },  -- the same fragment as the last one and not
    } do
      packet.identification = i
      send(fragments.piece(packet, 0, 64))
      for _, piece in ipairs(case) do send(fragments.piece(packet, unpack(piece))) end
      count = count + 3
      assert_counted(b, { frag_invalid = count })
      send(fragments.piece(packet, 64, 64))
      count = count + 1
      assert_counted(b, { frag_invalid = count })
    end
    assert.equal(0, udp:stats().received)
  end)

  it("drops a first IPv6 fragment that lacks a part of the header chain (RFC 7112)", on_wire(function(a, b)
    local send = receiver(a, b, 6)
    local packet = fragments.packet(6, fragments.pattern(120), { protocol = fragments.DESTINATION })
    packet.payload = "\17\2" .. ("\0"):rep(22) .. packet.payload -- 24 octets of destination options
    send(fragments.piece(packet, 0, 16), fragments.piece(packet, 0, 24))
    assert_counted(b, { frag_invalid = 2 })
    send(unpack(fragments.cut(packet, 32)))
    assert_counted(b, { frag_invalid = 2, reassembled = 1, merged = 5 })
  end))

  both("counts a whole packet that is none as invalid", function(a, b, version)
    local send = receiver(a, b, version)
    local packet = fragments.packet(version, fragments.pattern(120))
    packet.payload = packet.payload:sub(1, 4) .. "\255\255" .. packet.payload:sub(7) -- a UDP length of 65,535
    send(unpack(fragments.cut(packet, 64)))
    assert_counted(b, { reassembled = 1, merged = 2, invalid = 1 })
  end)

  both("keeps a bounded number of packets of a flood, and drops the oldest", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local data, flood = fragments.pattern(120), MAX_PACKETS + 1000
    local function packet(i) return fragments.packet(version, data, { identification = i }) end
    for i = 1, flood do send(fragments.piece(packet(i), 0, 64)) end
    assert_counted(b, { fragments = MAX_PACKETS, frag_limit = 1000 })
    send(fragments.piece(packet(flood - MAX_PACKETS + 1), 64, 64)) -- the oldest that is left
    assert.equal(data, (udp:recv(0)))
    send(fragments.piece(packet(1), 64, 64)) -- one that is gone
    assert.is_nil((udp:recv(0)))
  end, { frames = 256 })

  both("keeps a bounded number of bytes of a flood", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local whole = fragments.packet(version, fragments.pattern(65000))
    for i = 1, 1000 do
      whole.identification = i
      send(fragments.piece(whole, 60000, 1000))
    end
    local stats = frames.assert_balanced(b)
    assert.equal(1000, stats.rx_fragments + stats.rx_frag_limit)
    assert.is_true(stats.rx_fragments * 61000 < 32 * 2 ^ 20 and stats.rx_fragments > 400, stats.rx_fragments)
    whole.identification = 2000
    send(unpack(fragments.cut(whole, 1200)))
    assert.is_true(fragments.pattern(65000) == (udp:recv(0)))
    frames.assert_balanced(b)
  end)

  both("keeps a bounded number of bytes for readers that do not read", function(a, b, version)
    local send, udp = receiver(a, b, version, { recv_depth = 4000 })
    local lazy = udp:conn():udp(version == 4 and "10.0.0.9:2000" or "[2001:db8::9]:2000", { recv_depth = 4000 })
    local data, target = fragments.pattern(60000), version == 4 and "10.0.0.9" or "2001:db8::9"
    for i = 1, 1200 do
      send(unpack(fragments.cut(fragments.packet(version, data, { identification = i, dst = target }), 8000)))
    end
    local stats = frames.assert_balanced(b)
    assert.same({ 1200, 1200 }, { stats.rx_reassembled, stats.rx_queued + stats.rx_evicted })
    assert.is_true(stats.rx_queued * 60000 < 64 * 2 ^ 20 and stats.rx_queued > 1000, stats.rx_queued)
    assert.equal(stats.rx_evicted, lazy:stats().dropped)
    send(unpack(fragments.cut(fragments.packet(version, data, { identification = 2000 }), 8000)))
    assert.is_true(data == (udp:recv(0)))
  end, { mtu = 9000 })

  -- 3,000 packets of random sizes, cut at random places, in random order, 60 at a time, some fragments twice.
  both("puts random packets together that are cut, shuffled and repeated at random", function(a, b, version)
    math.randomseed(20250611)
    local send, udp = receiver(a, b, version)
    local made, repeated, number = 0, 0, 0
    for _ = 1, 50 do
      local queue, expected = {}, {}
      for _ = 1, 60 do
        number = number + 1
        local packet = fragments.packet(version, fragments.pattern(math.random(100, 6000), number),
          { identification = number })
        local at, size = 0, #packet.payload
        expected[packet.payload:sub(9)] = true
        while at < size do
          local length = math.min(8 * math.random(at == 0 and size <= 1400 and 4 or 170), size - at)
          queue[#queue + 1] = fragments.piece(packet, at, length)
          at, made = at + length, made + 1
        end
      end
      for i = 1, #queue, 20 do
        queue[#queue + 1], repeated = queue[i], repeated + 1
      end
      fragments.shuffle(queue)
      send(unpack(queue))
      for _ = 1, 60 do
        local payload = assert(udp:recv(0))
        assert.is_true(expected[payload])
        expected[payload] = nil
      end
    end
    local stats = frames.assert_balanced(b)
    -- One that comes once more when its packet is complete is the first of a packet that will not come.
    assert.same({ 3000, made, repeated },
      { stats.rx_reassembled, stats.rx_merged, stats.rx_frag_duplicate + stats.rx_fragments })
    assert.is_true(stats.rx_frag_duplicate > 0)
  end)

  it("survives 30,000 fragments that are random", on_wire(function(a, b)
    math.randomseed(20250612)
    local send, four, six = fragments.receiver(a, b)
    local data, seen = fragments.pattern(184), 0
    for i = 1, 30000 do
      local packet = fragments.packet(i % 2 == 0 and 4 or 6, data, { identification = math.floor(i / 16) })
      local offset, size = 64 * math.random(0, 2), 64
      if math.random(8) == 1 then offset, size = 8 * math.random(0, 12), math.random(0, 60) end
      local piece = fragments.piece(packet, offset, size, offset < 128)
      if math.random(8) == 1 then
        local at = math.random(#piece)
        piece = piece:sub(1, at - 1) .. string.char(math.random(0, 255)) .. piece:sub(at + 1)
      end
      if ({ [4] = true, [6] = true })[math.floor(piece:byte() / 16)] then send(piece) end
      if i % 1000 == 0 then
        while four:recv(0) or six:recv(0) do seen = seen + 1 end
        frames.assert_balanced(b)
      end
    end
    local stats = frames.assert_balanced(b)
    for _, name in ipairs { "merged", "frag_overlap", "frag_invalid", "frag_duplicate", "fragments" } do
      assert.is_true(stats["rx_" .. name] > 0, name)
    end
    assert.is_true(seen > 100)
  end))
end)

-- ---- time -----------------------------------------------------------------------------------------------------------

-- Moves the clock of its process, and prints how many fragments wait, how many were too late, and how many datagrams
-- came: at first, short of the time that they have, when it is over, and with the missing fragments after that.
local CHILD = [[
  local version, seconds = tonumber(arg[1]), tonumber(arg[2])
  local ffi, ether = require "ffi", require "etherlua"
  local fragments, frames = require "support.fragments", require "support.frames"
  ffi.cdef "extern double spec_clock_ahead;"
  ether.run(function()
    local a, b = ether.wire()
    local send, four, six = fragments.receiver(a, b)
    local udp = version == 4 and four or six
    local function piece(identification, at)
      local packet = fragments.packet(version, fragments.pattern(120), { identification = identification })
      return fragments.piece(packet, at, 64)
    end
    local function show(...)
      send(...)
      ether.sleep(0)
      local stats = frames.assert_balanced(b)
      print(stats.rx_fragments, stats.rx_frag_timeout, udp:stats().received)
    end
    local function move(ahead)
      ffi.C.spec_clock_ahead = ahead
      ether.now() -- the engine looks at the clock
    end
    show(piece(1, 0), piece(2, 0), piece(3, 0), piece(3, 8)) -- the third one is bad
    move(seconds - 5)
    show(piece(4, 0))
    show(piece(1, 64))
    move(seconds + 1)
    show()
    show(piece(2, 64), piece(3, 64), piece(4, 64))
    show(piece(2, 0), piece(3, 0))
  end)
]]

describe("an incomplete packet", function()
  local folder

  setup(function()
    folder = shell.output_of("mktemp -d"):match "%S+"
    shell.output_of(("%s -shared -fPIC -o %s/clock.so spec/support/clock.c"):format(os.getenv "CC" or "cc", folder))
    local file = assert(io.open(folder .. "/child.lua", "w"))
    file:write(CHILD)
    file:close()
  end)

  teardown(function() os.execute("rm -r " .. folder) end)

  for version, seconds in pairs { [4] = 30, [6] = 60 } do
    it(("is given up after %d s over IPv%d, from its first fragment on, be it good or bad"):format(seconds, version),
      function()
        local text = shell.output_of(("LD_PRELOAD='%s %s/clock.so' LUA_PATH='%s;;' luajit %s/child.lua %d %d"):format(
          os.getenv "SANITIZER" or "", folder, package.path, folder, version, seconds))
        assert.equal("2\t0\t0\n3\t0\t0\n2\t0\t1\n1\t1\t1\n2\t1\t2\n0\t1\t4\n", text)
      end)
  end
end)
