-- What an EtherConn receives: frames of its MAC address, VLAN stack and EtherTypes, by every kind of relay.

local ethernet = require "etherlua.proto.ethernet"
local frames = require "support.frames"
local kinds = require "support.kinds"

local A, B = frames.MAC_A, frames.MAC_B

-- Every way to be tagged that is known; all differ in what the demux tells apart.
local STACKS = {
  ["without a tag"] = {},
  ["with a priority tag"] = { 0 },
  ["with one tag"] = { 100 },
  ["with the highest VID"] = { 4094 },
  ["with one service tag (0x88a8)"] = { { vid = 100, tpid = 0x88a8 } },
  ["with one 0x9100 tag"] = { { vid = 100, tpid = 0x9100 } },
  ["with two 0x8100 tags"] = { 100, 200 },
  ["with 0x88a8 outside 0x8100"] = { { vid = 100, tpid = 0x88a8 }, 200 },
  ["with 0x9100 outside 0x8100"] = { { vid = 100, tpid = 0x9100 }, 200 },
  ["with 0x88a8 twice"] = { { vid = 100, tpid = 0x88a8 }, { vid = 200, tpid = 0x88a8 } },
  ["with three tags"] = { 100, 200, 300 },
  ["with four tags"] = { { vid = 100, tpid = 0x88a8 }, 200, 300, 4000 },
  ["with four zero tags"] = { 0, 0, 0, 0 },
}

-- What proto.ethernet says about a stack, every tag in full.
local function in_full(stack)
  local tags = {}
  for i, tag in ipairs(stack) do
    if type(tag) ~= "table" then tag = { vid = tag } end
    tags[i] = { vid = tag.vid, tpid = tag.tpid or 0x8100, pcp = tag.pcp or 0, dei = tag.dei or false }
  end
  return tags
end

local function tags_of(vlans)
  local tags = {}
  for i = 1, #vlans do tags[i] = vlans[i] end
  return tags
end

kinds.each("an EtherConn", function(it)
  for words, stack in pairs(STACKS) do
    it("receives frames " .. words .. " as they were sent", function(a, b)
      local from, to = a:conn { mac = A, vlans = stack }, b:conn { mac = B, vlans = stack }
      local packet = frames.udp()
      from:send(packet, B)
      frames.assert_same_bytes(ethernet.build { dst = B, src = A, vlans = in_full(stack), ethertype = 0x0800,
        payload = packet }, frames.whole(to))
    end)

    it("tells the sender's MAC, tags and EtherType of frames " .. words, function(a, b)
      local from, to = a:conn { mac = A, vlans = stack }, b:conn { mac = B, vlans = stack }
      from:send(frames.udp6(), B)
      local payload, sender = to:recv(1)
      assert.equal(frames.udp6(), payload)
      assert.equal(A, sender.mac)
      assert.equal(0x86dd, sender.ethertype)
      assert.same(in_full(stack), tags_of(sender.vlans))
    end)
  end

  it("is told from those of its MAC address on all other VLAN stacks", function(a, b)
    local from, conns = a:conn { mac = A }, {}
    for words, stack in pairs(STACKS) do conns[words] = b:conn { mac = B, vlans = stack } end
    for words, stack in pairs(STACKS) do
      local packet = frames.udp { payload = words }
      from:send(packet, B, { vlans = stack })
      assert.equal(packet, (conns[words]:recv(1)))
    end
    for _, conn in pairs(conns) do assert.equal(1, conn:stats().received) end
  end)

  -- Each differs from conn{ mac = B, vlans = "100.200", ethertypes = { IPv4 } } in one thing.
  local MISSES = {
    ["MAC address"] = { dst = "02:00:00:00:00:0c" },
    ["outer VLAN"] = { vlans = { 101, 200 } },
    ["inner VLAN"] = { vlans = { 100, 201 } },
    ["order of tags"] = { vlans = { 200, 100 } },
    ["outer TPID"] = { vlans = { { vid = 100, tpid = 0x88a8 }, 200 } },
    ["inner TPID"] = { vlans = { 100, { vid = 200, tpid = 0x88a8 } } },
    ["number of tags, too few,"] = { vlans = { 100 } },
    ["number of tags, too many,"] = { vlans = { 100, 200, 300 } },
    ["EtherType"] = { ethertype = 0x88b5 },
  }
  for words, difference in pairs(MISSES) do
    it("does not receive a frame whose " .. words .. " is another", function(a, b)
      local inject, rest = frames.injector(a), b:default_conn()
      local conn = b:conn { mac = B, vlans = "100.200", ethertypes = { 0x0800 } }
      local fields = { vlans = { 100, 200 } }
      for name, value in pairs(difference) do fields[name] = value end
      local frame = frames.frame(frames.udp(), fields)
      inject(frame)
      frames.assert_same_bytes(frame, frames.whole(rest))
      assert.equal(0, conn:stats().received)
    end)
  end

  it("of the same MAC address and VLAN stack may be another for another EtherType", function(a, b)
    local from = a:conn { mac = A }
    local four, six = b:conn { mac = B, ethertypes = { 0x0800 } }, b:conn { mac = B, ethertypes = { 0x86dd } }
    from:send(frames.udp6(), B)
    from:send(frames.udp(), B)
    assert.equal(frames.udp(), (four:recv(1)))
    assert.equal(frames.udp6(), (six:recv(1)))
  end)

  it("with no EtherTypes named receives all of them", function(a, b)
    local from, to = a:conn { mac = A }, b:conn { mac = B, ethertypes = {} }
    for _, ethertype in ipairs { 0x0600, 0x0806, 0x8863, 0x88cc, 0xffff } do
      from:send(("\0"):rep(46), B, { ethertype = ethertype })
      local _, sender = to:recv(1)
      assert.equal(ethertype, sender.ethertype)
    end
  end)

  it("receives PCP and DEI, which are no part of its identity", function(a, b)
    local from, to = a:conn { mac = A }, b:conn { mac = B, vlans = "100.200" }
    local sent = { { vid = 100, pcp = 5, dei = true }, { vid = 200, pcp = 7 } }
    from:send(frames.udp(), B, { vlans = sent })
    local _, sender = to:recv(1)
    assert.same(in_full(sent), tags_of(sender.vlans))
  end)

  it("sends the PCP and DEI that its VLAN stack has", function(a, b)
    local stack = { { vid = 100, tpid = 0x88a8, pcp = 1, dei = true }, { vid = 0, pcp = 6 } }
    local from, rest = a:conn { mac = A, vlans = stack }, b:default_conn()
    from:send(frames.udp(), B)
    frames.assert_same_bytes(frames.frame(frames.udp(), { vlans = in_full(stack) }), frames.whole(rest))
  end)

  it("cannot be opened twice, whatever the PCP", function(_, b)
    b:conn { mac = B, vlans = { { vid = 100, pcp = 1 } } }
    assert.error_matches(function() b:conn { mac = B, vlans = { { vid = 100, pcp = 2 } } } end, "in use")
    assert.error_matches(function() b:conn { mac = B, vlans = 100, ethertypes = {} } end, "in use")
    assert.error_matches(function() b:conn { mac = B, vlans = 100, ethertypes = { 0x88b5, 0x0806 } } end, "in use")
  end)

  it("may have an address again that a closed one had", function(a, b)
    b:conn { mac = B }:close()
    local from, to = a:conn { mac = A }, b:conn { mac = B }
    from:send(frames.udp(), B)
    assert.equal(frames.udp(), (to:recv(1)))
  end)

  it("does not see a fifth tag as part of its VLAN stack", function(a, b)
    local inject, to = frames.injector(a), b:conn { mac = B, vlans = "1.2.3.4", ethertypes = {} }
    inject(frames.frame(frames.udp(), { vlans = { 1, 2, 3, 4, 5 } }))
    local payload, sender = to:recv(1)
    assert.equal(0x8100, sender.ethertype)
    frames.assert_same_bytes("\0\5\8\0" .. frames.udp(), payload)
  end)

  it("receives IP packets without the padding behind them", function(a, b)
    local inject, to = frames.injector(a), b:conn { mac = B }
    for _, packet in ipairs { frames.udp { payload = "x" }, frames.udp6 { payload = "x" } } do
      inject(frames.frame(packet .. ("\170"):rep(31)))
      assert.equal(packet, (to:recv(1)))
    end
  end)

  it("receives other payloads with what is behind them, for nothing says where they end", function(a, b)
    local inject, to = frames.injector(a), b:conn { mac = B, ethertypes = { 0x88b5 } }
    inject(frames.frame("data" .. ("\0"):rep(42), { ethertype = 0x88b5 }))
    assert.equal("data" .. ("\0"):rep(42), (to:recv(1)))
  end)

  it("receives fragments of IPv4 and IPv6, the first and later ones", function(a, b)
    local inject, to = frames.injector(a), b:conn { mac = B }
    to:udp("10.0.0.2:2000", { accept_any = true })
    local function fragment6(offset, mf)
      return frames.udp6 { extension_headers = { { type = 44, fragment_offset = offset, mf = mf } } }
    end
    for _, packet in ipairs {
      frames.udp { mf = true }, frames.udp { mf = true, fragment_offset = 10 }, frames.udp { fragment_offset = 20 },
      fragment6(0, true), fragment6(10, true), fragment6(20, false),
    } do
      inject(frames.frame(packet))
      local frame = to:recv_frame(1)
      assert.equal(packet, frame and frame.body)
      assert.is_true(frame.fragment)
      assert.is_nil(frame.src_port)
    end
  end)

  it("has a view of each frame that tells what is in it", function(a, b)
    local inject, to = frames.injector(a), b:conn { mac = B, vlans = 7 }
    inject(frames.frame(frames.udp { src = "10.1.2.3", dst = "10.3.2.1", src_port = 5, dst_port = 65535 },
      { vlans = { 7 } }))
    local frame = to:recv_frame(1)
    assert.same({ A, B, "10.1.2.3", "10.3.2.1", 5, 65535 },
      { frame.src_mac, frame.dst_mac, frame.src_ip, frame.dst_ip, frame.src_port, frame.dst_port })
    local length = 20 + 8 + #frames.PAYLOAD
    assert.same({ 0x0800, 14 + 4 + length, length, false },
      { frame.ethertype, frame.len, frame.payload_len, frame.outgoing })
    assert.equal("7", tostring(frame.vlans))
  end)

  it("stamps frames with the time at which they came", function(a, b)
    local ether = require "etherlua"
    local from, to = a:conn { mac = A }, b:conn { mac = B }
    local before = ether.now()
    from:send(frames.udp(), B)
    a:flush()
    local sent = ether.now()
    ether.sleep(0.1)
    local frame = to:recv_frame(1)
    assert.is_true(frame.timestamp - before > -0.001, tostring(frame.timestamp - before))
    assert.is_true(frame.timestamp - sent < 0.1, tostring(frame.timestamp - sent))
  end)
end)
