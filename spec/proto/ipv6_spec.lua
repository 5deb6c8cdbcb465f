local bytes = require "etherlua.net.bytes"
local ipv6 = require "etherlua.proto.ipv6"
local helper = require "support.proto"

-- As sent by Linux: a UDP datagram, a multicast listener report behind a hop-by-hop header, a shortened first fragment.
local UDP = bytes.unhex [[60027fdc 000d 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002
  1388 0007 000d 4cfe 68656c6c6f]]
local REPORT = bytes.unhex [[60000000 0024 00 01 fe80000000000000000000fffe000002 ff020000000000000000000000000016
  3a00050200000100 8f007205000000010400 0000ff0200000000000000000001ff000002]]
local FRAGMENT = bytes.unhex [[60027fdc 0010 2c 40 20010db8000000000000000000000001 20010db8000000000000000000000002
  1100000169dd6f0d 1388000705e49431]]

local ENDS = { src = "2001:db8::1", dst = "2001:db8::2" }

local function with(changes)
  local fields = { src = ENDS.src, dst = ENDS.dst, protocol = 17 }
  for name, value in pairs(changes) do fields[name] = value end
  return fields
end

describe("ipv6", function()
  it("reads a plain header", function()
    assert.same({ version = 6, traffic_class = 0, flow_label = 0x27fdc, payload_length = 13, next_header = 17,
      hop_limit = 64, src = "2001:db8::1", dst = "2001:db8::2", extension_headers = {}, protocol = 17,
      payload = UDP:sub(41) }, ipv6.parse(UDP))
  end)

  it("follows extension headers", function()
    local fields = ipv6.parse(REPORT)
    assert.equal(0, fields.next_header)
    assert.equal(58, fields.protocol)
    assert.same({ { type = 0, options = { { type = 5, data = "\0\0" } } } }, fields.extension_headers)
    assert.equal(28, #fields.payload)
    assert.equal("icmp6", (ipv6.child(fields)))
  end)

  it("reads a fragment header and names no module for the payload", function()
    local fields = ipv6.parse(FRAGMENT)
    assert.same({ { type = 44, fragment_offset = 0, mf = true, identification = 0x69dd6f0d } },
      fields.extension_headers)
    assert.equal(17, fields.protocol)
    local name, note = ipv6.child(fields)
    assert.is_nil(name)
    assert.equal("fragment", note)
  end)

  it("takes an atomic fragment for a whole datagram (RFC 6946)", function()
    local fields = ipv6.parse(ipv6.build(with { extension_headers = { { type = 44, identification = 7 } } }))
    assert.equal("udp", (ipv6.child(fields)))
  end)

  it("does not look for headers in a later fragment", function()
    local packet = ipv6.build(with { protocol = 60, payload = "not a header",
      extension_headers = { { type = 44, fragment_offset = 2 } } })
    local fields = ipv6.parse(packet)
    assert.equal(60, fields.protocol)
    assert.equal("not a header", fields.payload)
    assert.equal(1, #fields.extension_headers)
  end)

  it("knows that an authentication header counts in units of 4 octets (RFC 4302)", function()
    local headers = { { type = 51, spi = 0xffffffff, sequence_number = 7, icv = ("a"):rep(12) },
      { type = 60, options = {} } }
    local packet = ipv6.build(with { extension_headers = headers, payload = "x" })
    assert.equal("\60\4", packet:sub(41, 42))
    local fields = ipv6.parse(packet)
    assert.same(headers, fields.extension_headers)
    assert.equal("x", fields.payload)
  end)

  it("gives back extension headers of every sort", function()
    local function comes_back(header)
      helper.comes_back(ipv6, with { extension_headers = { header }, payload = "x" })
    end
    comes_back { type = 43, routing_type = 4, segments_left = 255, type_specific_data = ("s"):rep(20) }
    comes_back { type = 44, fragment_offset = 0, mf = false, identification = 1, reserved = 255, reserved2 = 3 }
    comes_back { type = 51, spi = 1, sequence_number = 2, icv = "", reserved = 9 }
    for size = 0, 20 do
      for _, kind in ipairs { 0, 60 } do
        comes_back { type = kind, options = { { type = 194, data = ("j"):rep(size) } } }
        comes_back { type = kind, options = { { type = 0 }, { type = 0 }, { type = 30, data = ("j"):rep(size) } } }
      end
    end
    -- Padding is there to be seen where it is not what build() makes.
    comes_back { type = 0, options = { { type = 0 }, { type = 0 }, { type = 0 }, { type = 0 }, { type = 0 } } }
    comes_back { type = 60, options = { { type = 1, data = "full" }, { type = 5, data = "abcdef" } } }
    comes_back { type = 60, options = { { type = 1, data = "covert" }, { type = 1, data = "data" } } }
  end)

  it("pads options with one Pad1 or PadN (RFC 8200 section 4.2)", function()
    local function padded(size)
      local header = { type = 0, options = { { type = 9, data = ("x"):rep(size) } } }
      return ipv6.build(with { extension_headers = { header } }):sub(45 + size)
    end
    assert.equal("", padded(4))
    assert.equal("\0", padded(3))
    assert.equal("\1\0", padded(2))
    assert.equal("\1\5\0\0\0\0\0", padded(5))
  end)

  it("refuses options that do not fit, and a short authentication header, and builds them when told to", function()
    local function of(header) return ipv6.build(with { extension_headers = { header } }) end
    helper.refuses(ipv6, of { type = 0, data = "\5\5\0\0\0\0" }, "ipv6: 6 of 7 bytes of option 5")
    helper.refuses(ipv6, of { type = 60, data = "\0\0\0\0\0\7" }, "ipv6: 1 of 2 bytes of option 7")
    helper.refuses(ipv6, of { type = 51, length = 0 }, "ipv6: 8 of 12 bytes of extension header 51")
    assert.equal("\9\3", of({ type = 60, length = 3, next_header = 9 }):sub(41, 42))
  end)

  it("reads a quoted packet that was cut off behind its headers", function()
    for size = 48, #REPORT do
      local fields = ipv6.parse(REPORT:sub(1, size), true)
      assert.same({ 36, REPORT:sub(49, size) }, { fields.payload_length, fields.payload })
      assert.equal(REPORT:sub(1, size), ipv6.build(fields))
    end
    assert.is_nil((ipv6.parse(REPORT:sub(1, 47), true)))
  end)

  it("keeps what follows an unknown header as the payload", function()
    local fields = ipv6.parse(ipv6.build(with { protocol = 50, payload = "esp" }))
    assert.equal(50, fields.protocol)
    assert.equal("esp", fields.payload)
    assert.is_nil((ipv6.child(fields)))
  end)

  it("builds what it has read", function()
    for _, packet in ipairs { UDP, REPORT, FRAGMENT } do assert.equal(packet, ipv6.build(ipv6.parse(packet))) end
  end)

  it("fills in the length and the chain of next headers", function()
    local fields = ipv6.parse(REPORT)
    fields.payload_length, fields.next_header, fields.version = nil, nil, nil
    assert.equal(REPORT, ipv6.build(fields))
    local chain = ipv6.build(with { extension_headers = { { type = 0 }, { type = 43 }, { type = 60 } } })
    assert.equal("\0", chain:sub(7, 7))
    assert.equal("\43\0", chain:sub(41, 42))
    assert.equal("\60\0", chain:sub(49, 50))
    assert.equal("\17\0", chain:sub(57, 58))
  end)

  it("takes next_header for the protocol if there are no extension headers", function()
    assert.equal(17, ipv6.parse(ipv6.build { src = ENDS.src, dst = ENDS.dst, next_header = 17 }).protocol)
  end)

  it("gives back every field it was given", function()
    helper.comes_back(ipv6, with { traffic_class = 0xff, flow_label = 0xfffff, hop_limit = 0, payload = "abc",
      extension_headers = { { type = 44, fragment_offset = 0x1fff, mf = true, identification = 0xffffffff } } })
    assert.equal("\50\0\0\0\255\255\9", ipv6.build(with { version = 3, traffic_class = 0x20, payload_length = 0xffff,
      next_header = 9 }):sub(1, 7))
  end)

  it("drops what follows the payload length", function()
    assert.same(ipv6.parse(UDP), ipv6.parse(UDP .. "padding"))
  end)

  it("refuses every truncated packet", function()
    for _, packet in ipairs { UDP, REPORT, FRAGMENT } do helper.refuses_truncation(ipv6, "ipv6", packet) end
  end)

  it("refuses an extension header that is longer than the payload length, and other versions", function()
    for _, length in ipairs { 0, 1, 7 } do
      local cut = REPORT:sub(1, 5) .. string.char(length) .. REPORT:sub(7)
      helper.refuses(ipv6, cut, "ipv6: " .. length .. " of 8 bytes of extension header 0")
    end
    helper.refuses(ipv6, REPORT:sub(1, 41) .. "\5" .. REPORT:sub(43), "ipv6: 36 of 48 bytes of extension header 0")
    helper.refuses(ipv6, "\x45" .. UDP:sub(2), "ipv6: version 4")
  end)

  it("survives flipped bytes and fuzzing", function()
    for _, packet in ipairs { UDP, REPORT } do helper.survives_flips(ipv6, packet) end
    assert.is_true(helper.survives_fuzzing(ipv6, { UDP, REPORT, FRAGMENT }) > 1000)
  end)

  it("refuses to build from bad values", function()
    helper.raises('bad ipv6 src "10.0.0.1"', ipv6.build, with { src = "10.0.0.1" })
    helper.raises('bad ipv6 dst "x"', ipv6.build, with { dst = "x" })
    helper.raises("bad ipv6 hop_limit 256", ipv6.build, with { hop_limit = 256 })
    helper.raises("bad ipv6 flow_label 1048576: 0 to 1048575", ipv6.build, with { flow_label = 0x100000 })
    helper.raises("bad ipv6 traffic_class 256", ipv6.build, with { traffic_class = 256 })
    helper.raises("bad ipv6 protocol nil", ipv6.build, ENDS)
    helper.raises("bad ipv6 payload_length 65536", ipv6.build, with { payload = ("x"):rep(65536) })
    helper.raises("bad ipv6 extension header type 17", ipv6.build, with { extension_headers = { { type = 17 } } })
    helper.raises("bad ipv6 extension header length", ipv6.build,
      with { extension_headers = { { type = 0, data = ("x"):rep(2047) } } })
    helper.raises("bad ipv6 fragment_offset 8192", ipv6.build,
      with { extension_headers = { { type = 44, fragment_offset = 8192 } } })
  end)

  it("describes addresses, fragments and unknown protocols", function()
    assert.equal("IPv6 2001:db8::1 > 2001:db8::2 hlim 64", ipv6.describe(ipv6.parse(UDP)))
    assert.equal("IPv6 2001:db8::1 > 2001:db8::2 hlim 64 frag id 0x69dd6f0d offset 0+",
      ipv6.describe(ipv6.parse(FRAGMENT)))
    assert.equal("IPv6 2001:db8::1 > 2001:db8::2 hlim 64 protocol 50",
      ipv6.describe(ipv6.parse(ipv6.build(with { protocol = 50 }))))
  end)
end)
