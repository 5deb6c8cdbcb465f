-- What an EtherConn opened with `reassemble` makes of fragments: in which orders they become whole packets, and that
-- every single one of them is accounted for.

local fragments = require "support.fragments"
local frames = require "support.frames"
local leaks = require "support.leaks"
local reassembly = require "support.reassembly"
local settle = require("support.wait").settle

local A, B = frames.MAC_A, frames.MAC_B
local on_wire, assert_counted, both = reassembly.on_wire, reassembly.assert_counted, reassembly.both
local receiver, picked = reassembly.receiver, reassembly.picked

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

  -- Against a fragment of octets 128 to 255: the same place, its first part, its last part, inside, over its start, its
  -- end, around it.
  local RANGES = { { 128, 128 }, { 128, 64 }, { 192, 64 }, { 160, 32 }, { 64, 128 }, { 192, 128 }, { 64, 256 } }
  local INSIDE = 4 -- of them: over IPv4 these are duplicates

  both("throws away all of a packet in which two fragments overlap", function(a, b, version)
    local send, udp = receiver(a, b, version)
    local data, count = fragments.pattern(400 - 8), 0
    for i, range in ipairs(RANGES) do
      local packet = fragments.packet(version, data, { identification = i })
      local piece = function(...) return fragments.piece(packet, ...) end
      local overlapping = piece(range[1], range[2])
      local is_duplicate = i == 1 or version == 4 and i <= INSIDE
      if is_duplicate then overlapping = overlapping:sub(1, -2) .. "!" end -- but not the same octets
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

  it("takes octets that it has once, however they are cut over IPv4, as the kernel does", on_wire(function(a, b)
    local send, udp = receiver(a, b, 4)
    local data, duplicates = fragments.pattern(400 - 8), 0
    -- Octets 128 to 255 came in one fragment, or in two.
    for i, first in ipairs { { { 128, 128 } }, { { 128, 64 }, { 192, 64 } } } do
      for j, range in ipairs { { 128, 128 }, { 128, 64 }, { 192, 64 }, { 160, 32 }, { 160, 64 } } do
        local packet = fragments.packet(4, data, { identification = 10 * i + j })
        local piece = function(where) return fragments.piece(packet, where[1], where[2]) end
        for _, where in ipairs(first) do send(piece(where)) end
        send(piece(range), piece { 0, 128 }, piece(range), piece { 256, 144 })
        assert.equal(data, (udp:recv(0)))
        duplicates = duplicates + 2
      end
    end
    assert_counted(b, { reassembled = 10, merged = 35, frag_duplicate = duplicates })
  end))

  it("takes a part of the last fragment over IPv4, but no other end", on_wire(function(a, b)
    local send, udp = receiver(a, b, 4)
    local data = fragments.pattern(400 - 8)
    local packet = fragments.packet(4, data)
    send(fragments.piece(packet, 256, 144), fragments.piece(packet, 320, 80), fragments.piece(packet, 256, 64))
    send(fragments.piece(packet, 0, 256))
    assert.equal(data, (udp:recv(0)))
    assert_counted(b, { reassembled = 1, merged = 2, frag_duplicate = 2 })
    packet.identification = 8
    send(fragments.piece(packet, 256, 144), fragments.piece(packet, 256, 64, false))
    assert_counted(b, { reassembled = 1, merged = 2, frag_duplicate = 2, frag_invalid = 2 })
  end))

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
