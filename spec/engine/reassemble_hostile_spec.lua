-- What an EtherConn opened with `reassemble` makes of fragments that cannot be, and that what waits is bounded, in
-- number and in time.

local clock = require "support.clock"
local fragments = require "support.fragments"
local frames = require "support.frames"
local leaks = require "support.leaks"
local linux_it = require "support.linux_it"
local reassembly = require "support.reassembly"

local MAX_PACKETS = 4096
local on_wire, assert_counted, both = reassembly.on_wire, reassembly.assert_counted, reassembly.both
local receiver = reassembly.receiver

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
  for version, seconds in pairs { [4] = 30, [6] = 60 } do
    local name = ("is given up after %d s over IPv%d, from its first fragment on, be it good or bad"):format(seconds,
      version)
    linux_it(name, function()
      assert.equal("2\t0\t0\n3\t0\t0\n2\t0\t1\n1\t1\t1\n2\t1\t2\n0\t1\t4\n", clock.run(CHILD, version, seconds))
    end)
  end
end)
