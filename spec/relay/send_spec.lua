-- What a relay sends: payloads of every size that fits, and what is said about those that do not.

local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local nic_lab = require "support.nic_lab"
local proto = require "etherlua.proto"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B

-- Stack, and bytes of payload in an untagged frame that its tags take away: an outer 0x8100 tag is extra.
local STACKS = {
  { "no tag", {}, 0 },
  { "one tag", { 100 }, 0 },
  { "two tags", { 100, 200 }, 4 },
  { "a service tag", { { vid = 100, tpid = 0x88a8 } }, 4 },
  { "four tags", { { vid = 100, tpid = 0x88a8 }, 200, 300, 400 }, 16 },
}

-- Bytes that differ from place to place, so that shifts are seen.
local function pattern(size)
  local block = {}
  for i = 0, 250 do block[i + 1] = string.char(i) end
  return table.concat(block):rep(math.ceil(size / 251)):sub(1, size)
end

local PATTERN = pattern(9000)

-- Every size of an EtherConn's payload from 1 to the largest, in order.
local function sends_all_sizes(a, b, stack, from_size, to_size)
  local near = a:conn { mac = A, vlans = stack, ethertypes = { 0x88b5 } }
  local far = b:conn { mac = B, vlans = stack, ethertypes = { 0x88b5 } }
  for size = from_size, to_size do
    near:send(PATTERN:sub(1, size), B, { ethertype = 0x88b5 })
    local got = far:recv(1)
    if got ~= PATTERN:sub(1, size) then error(("%d bytes came as %s"):format(size, got and #got or "nothing")) end
  end
end

-- The checksums of every second size are looked at, odd and even ones in turn: that is Lua's time.
local function sends_all_datagrams(a, b, stack, version, largest)
  local ips = version == 4 and { "10.0.0.1", "10.0.0.2" } or { "2001:db8::1", "2001:db8::2" }
  local form = version == 4 and "%s:9" or "[%s]:9"
  local near = a:conn({ mac = A, vlans = stack }):udp(form:format(ips[1]))
  local far, to = b:conn { mac = B, vlans = stack }, form:format(ips[2])
  for size = 0, largest do
    near:send(PATTERN:sub(1, size), to, { mac = B })
    local packet = assert(far:recv(1))
    local ip = proto["ipv" .. version].parse(packet)
    assert.equal(PATTERN:sub(1, size), proto.udp.parse(ip.payload).payload)
    if size % 3 == 0 or size < 70 then assert.is_true(proto.udp.checksum_ok(ip.payload, ip), "size " .. size) end
    if version == 4 then assert.is_true(proto.ipv4.checksum_ok(packet)) end
  end
end

-- On a NIC AF_XDP hears later of what was sent.
local function all_told(relay)
  if nic_lab.given then eventually(function() return relay:stats().tx_pending == 0 end) end
end

kinds.each("a relay", function(it, kind)
  for _, case in ipairs(STACKS) do
    local words, stack, taken = case[1], case[2], case[3]
    -- Linux throws away a frame with one tag and less than 2 bytes behind it. Cards pad what is short; veth does not.
    local least = nic_lab.given and 46 or kind.interface and #stack == 1 and 2 or 1
    it(("sends payloads of %d byte up to the MTU with %s"):format(least, words), function(a, b)
      sends_all_sizes(a, b, stack, least, a.mtu - taken)
    end)

    it("refuses a payload of one byte more than fits with " .. words .. ", and says both numbers", function(a)
      local near, most = a:conn { mac = A, vlans = stack }, a.mtu - taken
      assert.error_matches(function() near:send(PATTERN:sub(1, most + 1), B, { ethertype = 0x88b5 }) end,
        ("payload of %d bytes does not fit: up to %d are allowed"):format(most + 1, most))
      assert.equal(0, frames.assert_balanced(a).tx_frames)
    end)

    it("refuses a datagram of one byte more than fits with " .. words .. ", and says both numbers", function(a)
      local near = a:conn { mac = A, vlans = stack }
      for address, headers in pairs { ["10.0.0.1:9"] = 28, ["[::1]:9"] = 48 } do
        local most = a.mtu - taken - headers
        assert.error_matches(function() near:udp(address):send(PATTERN:sub(1, most + 1), address) end,
          ("payload of %d bytes does not fit: up to %d are allowed"):format(most + 1, most))
      end
    end)
  end

  for _, version in ipairs { 4, 6 } do
    local headers = version == 4 and 28 or 48
    it(("sends datagrams of 0 bytes up to the MTU over IPv%d"):format(version), function(a, b)
      sends_all_datagrams(a, b, {}, version, a.mtu - headers)
    end)
    it(("sends datagrams of 0 bytes up to the MTU over IPv%d with two tags"):format(version), function(a, b)
      sends_all_datagrams(a, b, "100.200", version, a.mtu - headers - 4)
    end)
  end

  it("sends what fits an MTU of 9000, and no more", { mtu = 9000,
    veth = kind.xdp and "spec/vm/guest/mtu.lua knows what the NIC can do" or nil }, function(a, b)
    assert.equal(9000, a.mtu)
    sends_all_sizes(a, b, { 100 }, 8990, 9000)
    local near = a:conn { mac = A }
    assert.error_matches(function() near:send(PATTERN .. "x", B, { ethertype = 0x88b5 }) end, "9001.*9000")
  end)

  it("sends what fits a small MTU, and no more", { mtu = 100 }, function(a, b)
    sends_all_sizes(a, b, "1.2.3.4", nic_lab.given and 46 or 1, 100 - 12)
    local near = a:conn { mac = A }
    assert.error_matches(function() near:send(PATTERN:sub(1, 101), B, { ethertype = 0x88b5 }) end, "101.*100")
  end)

  it("says that more tags leave less room", function(a)
    local near = a:conn { mac = A }
    assert.error_matches(function()
      near:send(PATTERN:sub(1, a.mtu), B, { ethertype = 0x88b5, vlans = "1.2.3" })
    end, "less with more tags")
  end)

  it("takes the EtherType from the IP version, and refuses to guess", function(a, b)
    local near, rest = a:conn { mac = A }, b:default_conn()
    for ethertype, packet in pairs { [0x0800] = frames.udp(), [0x86dd] = frames.udp6() } do
      near:send(packet, B)
      assert.equal(ethertype, select(2, rest:recv(1)).ethertype)
    end
    assert.error_matches(function() near:send("\16not IP", B) end, "give opts.ethertype")
    assert.error_matches(function() near:send("", B) end, "give opts.ethertype")
  end)

  it("sends with the source address, tags and EtherType that are asked for once", function(a, b)
    local near, rest = a:conn { mac = A, vlans = 5 }, b:default_conn()
    local other, stack = "02:00:00:00:00:99", { { vid = 7, tpid = 0x88a8, pcp = 1 }, 8 }
    near:send(frames.udp(), B, { src_mac = other, vlans = stack, ethertype = 0x88b5 })
    near:send(frames.udp(), B, { vlans = "" })
    near:send(frames.udp(), B)
    local wanted = { frames.frame(frames.udp(), { src = other, vlans = stack, ethertype = 0x88b5 }),
      frames.frame(frames.udp()), frames.frame(frames.udp(), { vlans = { 5 } }) }
    local came = { frames.whole(rest), frames.whole(rest), frames.whole(rest) }
    assert.same(frames.sorted_hex(wanted), frames.sorted_hex(came))
  end)

  it("sends from a pointer and a length", function(a, b)
    local near, rest = a:conn { mac = A }, b:default_conn()
    local udp = near:udp("10.0.0.1:1000")
    local packet = frames.udp()
    local pointer, length = frames.pointer(packet)
    near:send(pointer, length, B)
    assert.equal(packet, (rest:recv(1)))
    near:send(pointer, 20, B, { ethertype = 0x88b5 })
    assert.equal(packet:sub(1, 20), rest:recv(1):sub(1, 20)) -- cards pad
    udp:send(pointer, 4, "10.0.0.2:2000", { mac = B })
    assert.equal(packet:sub(1, 4), rest:recv(1):sub(29))
  end)

  it("refuses lengths that no frame can have", function(a)
    local near = a:conn { mac = A }
    local udp, pointer = near:udp("10.0.0.1:1000"), frames.pointer(PATTERN)
    for _, length in ipairs { -1, -28, 65536, 2 ^ 32 - 1 } do
      assert.error_matches(function() near:send(pointer, length, B, { ethertype = 0x88b5 }) end, "does not fit")
      assert.error_matches(function() udp:send(pointer, length, "10.0.0.2:2000") end, "does not fit")
    end
  end)

  it("refuses a destination that is no MAC address", function(a)
    local near = a:conn { mac = A }
    assert.error_matches(function() near:send(frames.udp(), "02:00:00:00:00") end, 'bad MAC address "02:00:00:00:00"')
    assert.error_matches(function() near:send(frames.udp(), nil) end, "no destination: give a MAC address")
  end)

  it("keeps the order of many frames sent without a pause", function(a, b)
    local near, far = a:conn { mac = A }, b:conn { mac = B, recv_depth = 2000 }
    for i = 1, 2000 do near:send(frames.udp { payload = bytes.put16("number", i) }, B) end
    for i = 1, 2000 do assert.equal(i, bytes.u16(assert(far:recv(1)), 29)) end
    assert.equal(2000, frames.when_sent(a).tx_sent)
  end)

  it("sends what is pending before it sleeps, and at once on flush", function(a, b)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    near:send(frames.udp(), B)
    assert.same({ 1, 0 }, { a:stats().tx_pending, a:stats().tx_sent })
    a:flush()
    all_told(a)
    assert.same({ 0, 1 }, { a:stats().tx_pending, a:stats().tx_sent })
    near:send(frames.udp(), B)
    ether.sleep(0.01)
    all_told(a)
    assert.equal(2, a:stats().tx_sent)
    assert(far:recv(1))
    assert(far:recv(1))
  end)

  it("sends what is pending before it closes", function(a, b)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    near:send(frames.udp(), B)
    a:close()
    assert.equal(frames.udp(), (far:recv(1)))
  end)

  it("does not receive what it sends itself", function(a, b)
    local near, own, far = a:conn { mac = A }, a:conn { mac = "02:00:00:00:00:0c", multicast = true }, b:default_conn()
    near:send(frames.udp(), frames.BROADCAST)
    near:send(frames.udp(), "02:00:00:00:00:0c")
    assert(far:recv(1))
    assert(far:recv(1))
    assert.same({ nil, "timeout" }, { own:recv(0.02) })
    assert.equal(0, a:stats().rx_frames)
  end)
end)
