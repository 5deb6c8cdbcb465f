local bytes = require "etherlua.net.bytes"
local proto = require "etherlua.proto"
local helper = require "support.proto"

local A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"

local function frame_of(ethertype, payload, vlans)
  return proto.ethernet.build { src = A, dst = B, vlans = vlans, ethertype = ethertype, payload = payload }
end

local function ipv4_of(protocol, payload, changes)
  local fields = { src = "10.0.0.1", dst = "10.0.0.2", protocol = protocol, payload = payload }
  for name, value in pairs(changes or {}) do fields[name] = value end
  return proto.ipv4.build(fields)
end

local function udp_of(src_port, dst_port, payload)
  return proto.udp.build { src_port = src_port, dst_port = dst_port, payload = payload, checksum = 0 }
end

-- The first frame of dhcp.pcap, the sample capture of the Wireshark wiki.
local DISCOVER = bytes.unhex [[ffffffffffff 000b8201fc42 0800
    4500012ca8360000fa11178b00000000ffffffff 004400430118591f
    01010600 00003d1d 00000000 00000000 00000000 00000000 00000000 000b8201fc42]]
  .. ("\0"):rep(10 + 64 + 128)
  .. bytes.unhex "63825363 350101 3d0701000b8201fc42 320400000000 370401 03062a ff 00000000000000"

-- As sent by Linux.
local REPORT = bytes.unhex [[333300000016 020000000002 86dd
  60000000 0024 00 01 fe80000000000000000000fffe000002 ff020000000000000000000000000016
  3a00050200000100 8f007205000000010400 0000ff0200000000000000000001ff000002]]
local ARP = bytes.unhex [[ffffffffffff 020000000001 0806
  0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002]] .. ("\0"):rep(18)

local function names(...)
  local list = {}
  for i, layer in ipairs(proto.dissect(...)) do list[i] = layer.name end
  return table.concat(list, " ")
end

local function last(frame)
  local layers = proto.dissect(frame)
  return layers[#layers].fields
end

describe("proto", function()
  it("loads a protocol when it is named", function()
    assert.equal(require "etherlua.proto.udp", proto.udp)
    helper.raises("etherlua.proto.nonsense", function() return proto.nonsense end)
  end)

  it("finds a module for every entry of a parent's table", function()
    for _, parent in ipairs { "ethernet", "ipv4", "ipv6", "udp", "tcp" } do
      assert.equal("function", type(proto[parent].child))
      for _, name in pairs(proto[parent].next) do
        assert.equal("function", type(proto[name].parse))
        assert.equal("function", type(proto[name].describe))
      end
    end
  end)
end)

describe("a protocol of one file and one line in its parent's table", function()
  local NAME, NUMBER = "spec_protocol", 0x88b5

  before_each(function()
    local bytes_of, schema = require "etherlua.net.bytes", require "etherlua.proto.schema"
    package.preload["etherlua.proto." .. NAME] = function()
      local M = { short = "sp", fields = schema.new(NAME, { "number", "payload" }, { aliases = { n = "number" },
        defaults = { number = 7 } }) }
      function M.parse(whole)
        if #whole < 2 then return bytes_of.short(NAME, #whole, 2) end
        return { number = bytes_of.u16(whole, 1), payload = whole:sub(3) }
      end
      function M.build(fields)
        M.fields:check(fields)
        return bytes_of.put16("number", fields.number) .. bytes_of.string("payload", fields.payload)
      end
      function M.child() end
      function M.describe(fields) return "SPEC " .. fields.number end
      return M
    end
    proto.ethernet.next[NUMBER] = NAME
  end)

  after_each(function()
    proto.ethernet.next[NUMBER], package.preload["etherlua.proto." .. NAME] = nil, nil
    package.loaded["etherlua.proto." .. NAME] = nil
    rawset(proto, NAME, nil)
    for _, name in ipairs { NAME, "sp" } do rawset(require "etherlua.proto.packet", name, nil) end
  end)

  it("is composed, read, described and matched", function()
    local packet, match = require "etherlua.proto.packet", require "etherlua.proto.match"
    assert.equal(NAME, proto.find "sp")
    assert.same({}, require "etherlua.proto.contract".lacks(proto[NAME]))
    local frame = (packet.ether { dst = B } / packet.sp {} / "data"):build()
    assert.equal("88b50007", bytes.hex(frame:sub(13, 16)))
    assert.equal("ethernet spec_protocol data", names(frame))
    assert.matches(" SPEC 7 data 4 bytes$", proto.describe(frame))
    assert.equal("spec_protocol.number is 7, not 8", match.difference({ sp = { n = 8 } }, match.decode(frame)))
    assert.is_truthy(packet.parse(frame):code():find("/ p.sp {}", 1, true))
    helper.raises('unknown field "m" of spec_protocol', packet.sp, { m = 1 })
  end)
end)

describe("proto.dissect", function()
  it("walks all layers of a frame", function()
    assert.equal("ethernet ipv4 udp dhcp4", names(DISCOVER))
    assert.equal("ethernet ipv6 icmp6 data", names(REPORT))
    assert.equal("ethernet arp", names(ARP))
    assert.equal("DISCOVER", last(DISCOVER).options.message_type)
    assert.equal(143, proto.dissect(REPORT)[3].fields.type)
  end)

  it("gives the checksums that were captured their due", function()
    local layers = proto.dissect(DISCOVER)
    assert.is_true(proto.ipv4.checksum_ok(layers[1].fields.payload))
    assert.is_true(proto.udp.checksum_ok(layers[2].fields.payload, layers[2].fields))
    layers = proto.dissect(REPORT)
    assert.is_true(proto.icmp6.checksum_ok(layers[2].fields.payload, layers[2].fields))
  end)

  it("stops at an unknown layer and keeps its bytes", function()
    assert.equal("ethernet data", names(frame_of(0x88cc, "lldp")))
    assert.equal("lldp", last(frame_of(0x88cc, "lldp")).payload)
    assert.equal("ethernet ipv4 data", names(frame_of(0x0800, ipv4_of(47, "gre"))))
    assert.equal("ethernet ipv4 udp data", names(frame_of(0x0800, ipv4_of(17, udp_of(1, 2, "x")))))
    assert.equal("ethernet ipv4 udp", names(frame_of(0x0800, ipv4_of(17, udp_of(1, 2, "")))))
  end)

  it("does not look into fragments", function()
    local frame = frame_of(0x0800, ipv4_of(17, udp_of(68, 67, "x"), { mf = true }))
    assert.equal("ethernet ipv4 data", names(frame))
    assert.equal("fragment", last(frame).note)
  end)

  it("looks into what an ICMP error quotes, also if that was cut off", function()
    local quoted = ipv4_of(17, udp_of(5000, 7, ("x"):rep(40)))
    for size = 20, #quoted do
      local frame = frame_of(0x0800, ipv4_of(1, proto.icmp.build { type = 3, code = 3, payload = quoted:sub(1, size) }))
      local expected = size < 28 and " malformed" or size == 28 and " udp" or " udp data"
      assert.equal("ethernet ipv4 icmp ipv4" .. expected, names(frame))
    end
    -- Outside of a quotation it is an error.
    assert.equal("ethernet malformed", names(frame_of(0x0800, quoted:sub(1, 40))))
    assert.equal("ipv4 udp data", names(quoted:sub(1, 40), "ipv4", true))
  end)

  it("says of a malformed layer which it is and why", function()
    assert.same({ { name = "malformed", fields = { protocol = "ethernet", reason = "ethernet: 3 of 14 header bytes",
      payload = "abc" } } }, proto.dissect("abc"))
    local frame = frame_of(0x0800, ipv4_of(17, "short"))
    assert.equal("ethernet ipv4 malformed", names(frame))
    assert.same({ protocol = "udp", reason = "udp: 5 of 8 header bytes", payload = "short" }, last(frame))
  end)

  it("survives every truncation and flipped byte of a frame", function()
    for _, frame in ipairs { DISCOVER, REPORT, ARP } do
      for size = 0, #frame - 1 do
        assert.is_true(#proto.dissect(frame:sub(1, size)) >= 1)
        assert.equal("string", type(proto.describe(frame:sub(1, size))))
      end
      for at = 1, #frame do
        local flipped = frame:sub(1, at - 1) .. string.char(bit.bxor(frame:byte(at), 0xff)) .. frame:sub(at + 1)
        assert.is_nil(proto.describe(flipped):find("\n"))
      end
    end
  end)

  it("survives 10,000 mutated frames", function()
    math.randomseed(7)
    local frames, kinds = { DISCOVER, REPORT, ARP }, {}
    for i = 1, 10000 do
      local frame = frames[i % 3 + 1]
      for _ = 1, math.random(6) do
        local at = math.random(13, #frame)
        frame = frame:sub(1, at - 1) .. string.char(math.random(0, 255)) .. frame:sub(at + 1)
      end
      assert.equal("string", type(proto.describe(frame)))
      for _, layer in ipairs(proto.dissect(frame)) do kinds[layer.name] = true end
    end
    for _, name in ipairs { "malformed", "data", "dhcp4", "icmp6", "arp" } do assert.is_true(kinds[name]) end
  end)
end)

describe("proto.describe", function()
  it("puts addresses and ports together", function()
    assert.equal("00:0b:82:01:fc:42 > ff:ff:ff:ff:ff:ff IPv4 0.0.0.0:68 > 255.255.255.255:67 "
      .. "DHCP DISCOVER xid 0x00003d1d 00:0b:82:01:fc:42", proto.describe(DISCOVER))
    assert.equal(A .. " > " .. B .. " vlan 100.200 IPv4 10.0.0.1:1 > 10.0.0.2:2 UDP data 5 bytes",
      proto.describe(frame_of(0x0800, ipv4_of(17, udp_of(1, 2, "hello")), { 100, 200 })))
    local packet = { src = "fe80::1", dst = "ff02::1:2", protocol = 17, payload = udp_of(546, 547, "") }
    assert.equal(A .. " > " .. B .. " IPv6 [fe80::1]:546 > [ff02::1:2]:547 UDP",
      proto.describe(frame_of(0x86dd, proto.ipv6.build(packet))))
  end)

  it("lets the other layers speak for themselves", function()
    assert.equal(A .. " > ff:ff:ff:ff:ff:ff ARP who-has 10.0.0.2 tell 10.0.0.1", proto.describe(ARP))
    assert.equal(A .. " > " .. B .. " IPv4 10.0.0.1 > 10.0.0.2 ttl 64 ICMP echo request id 7 seq 1",
      proto.describe(frame_of(0x0800, ipv4_of(1, proto.icmp.build { type = 8, identifier = 7, sequence = 1 }))))
    assert.equal(B .. " > 33:33:00:00:00:16 IPv6 fe80::ff:fe00:2 > ff02::16 hlim 1 ICMPv6 multicast listener report v2"
      .. " data 20 bytes",
      proto.describe(REPORT))
  end)

  it("tells the flags of TCP and what an ICMP error is about", function()
    local ends = { src = "10.0.0.2", dst = "10.0.0.1" }
    local segment = proto.tcp.build({ src_port = 80, dst_port = 1000, rst = true }, ends)
    assert.equal(A .. " > " .. B .. " IPv4 10.0.0.1:80 > 10.0.0.2:1000 TCP rst seq 0 win 0",
      proto.describe(frame_of(0x0800, ipv4_of(6, segment))))
    local quoted = proto.ipv6.build { src = "::1", dst = "::2", protocol = 6, payload = segment }
    local message = proto.icmp6.build({ type = 2, mtu = 1280, payload = quoted }, { src = "::2", dst = "::1" })
    local packet = proto.ipv6.build { src = "::2", dst = "::1", protocol = 58, payload = message }
    assert.equal("IPv6 ::2 > ::1 hlim 64 ICMPv6 packet too big mtu 1280 IPv6 [::1]:80 > [::2]:1000 TCP rst seq 0 win 0",
      proto.describe(packet, "ipv6"))
  end)

  it("says what is unknown or malformed", function()
    assert.equal(A .. " > " .. B .. " ethertype 0x88cc data 4 bytes", proto.describe(frame_of(0x88cc, "lldp")))
    assert.equal(A .. " > " .. B .. " IPv4 10.0.0.1 > 10.0.0.2 ttl 64 malformed (udp: 5 of 8 header bytes)",
      proto.describe(frame_of(0x0800, ipv4_of(17, "short"))))
    assert.equal(A .. " > " .. B .. " IPv4 10.0.0.1 > 10.0.0.2 ttl 64 frag id 0x0000 offset 8 data 3 bytes",
      proto.describe(frame_of(0x0800, ipv4_of(17, "abc", { fragment_offset = 1 }))))
    assert.equal("malformed (ethernet: 0 of 14 header bytes)", proto.describe(""))
  end)
end)
