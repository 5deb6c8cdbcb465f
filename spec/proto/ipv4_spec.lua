local bytes = require "etherlua.net.bytes"
local ipv4 = require "etherlua.proto.ipv4"
local helper = require "support.proto"

-- UDP with a record route option, as sent by Linux.
local OPTIONS = bytes.unhex [[4700 0029 ce26 4000 40 11 468a 0a000001 0a000002 0707080a00000100
  1388 0007 000d 9470 68656c6c6f]]
-- The header that Wikipedia's article on the checksum works through, and its 95 bytes of payload.
local PLAIN = bytes.unhex "4500 0073 0000 4000 40 11 b861 c0a80001 c0a800c7" .. ("x"):rep(95)
local FRAGMENT = bytes.unhex "4500 0018 abcd 20b9 40 11 0000 c0a80001 c0a800c7 01020304"

describe("ipv4", function()
  it("reads a header with options", function()
    assert.same({ version = 4, ihl = 7, tos = 0, total_length = 41, identification = 0xce26, df = true, mf = false,
      fragment_offset = 0, ttl = 64, protocol = 17, header_checksum = 0x468a, src = "10.0.0.1", dst = "10.0.0.2",
      options = { { type = ipv4.RECORD_ROUTE, data = "\8\10\0\0\1" } }, payload = OPTIONS:sub(29) },
      ipv4.parse(OPTIONS))
  end)

  it("reads a fragment's offset in units of 8 octets and names no module for its payload", function()
    local fields = ipv4.parse(FRAGMENT)
    assert.equal(185, fields.fragment_offset)
    assert.is_true(fields.mf)
    assert.is_false(fields.df)
    local name, note = ipv4.child(fields)
    assert.is_nil(name)
    assert.equal("fragment", note)
    assert.equal("udp", (ipv4.child(ipv4.parse(PLAIN))))
  end)

  it("drops what follows the total length", function()
    assert.same(ipv4.parse(FRAGMENT), ipv4.parse(FRAGMENT .. ("\0"):rep(22)))
  end)

  it("builds what it has read", function()
    for _, packet in ipairs { OPTIONS, PLAIN, FRAGMENT } do assert.equal(packet, ipv4.build(ipv4.parse(packet))) end
  end)

  it("fills in lengths and the checksum", function()
    local fields = ipv4.parse(OPTIONS)
    fields.ihl, fields.total_length, fields.header_checksum, fields.version = nil, nil, nil, nil
    assert.equal(OPTIONS, ipv4.build(fields))
    assert.equal(PLAIN, ipv4.build { src = "192.168.0.1", dst = "192.168.0.199", protocol = 17, df = true,
      payload = ("x"):rep(95) })
  end)

  it("pads options to a multiple of 4", function()
    local fields = ipv4.parse(ipv4.build { src = "10.0.0.1", dst = "10.0.0.2", protocol = 17, options = "\1\1\1\1\1" })
    assert.equal(7, fields.ihl)
    assert.same({ { type = 1 }, { type = 1 }, { type = 1 }, { type = 1 }, { type = 1 } }, fields.options)
  end)

  it("gives back every field it was given, wrong ones too", function()
    helper.comes_back(ipv4, { tos = 0xb8, identification = 0xffff, df = true, mf = true, fragment_offset = 0x1fff,
      ttl = 0, protocol = 255, header_checksum = 1, src = "1.2.3.4", dst = "255.255.255.255",
      options = { { type = 1 }, { type = 200, data = "" } }, reserved_flag = true, payload = "abc" })
    assert.equal("\x45", ipv4.build { src = "10.0.0.1", dst = "10.0.0.2", protocol = 1 }:sub(1, 1))
    local wrong = ipv4.build { version = 5, ihl = 15, total_length = 7, protocol = 1,
      src = "10.0.0.1", dst = "10.0.0.2" }
    assert.equal("\x5f\0\0\7", wrong:sub(1, 4))
  end)

  it("gives back options of every sort", function()
    local function comes_back(options)
      helper.comes_back(ipv4, { src = "10.0.0.1", dst = "10.0.0.2", protocol = 1, options = options })
    end
    comes_back {}
    comes_back { { type = ipv4.ROUTER_ALERT, data = "\0\0" }, { type = 1 }, { type = 255, data = ("x"):rep(33) } }
    comes_back { { type = ipv4.TIMESTAMP, data = "\5\0" .. ("\0"):rep(34) }, { type = 1 }, { type = 1 } }
    -- The end of the list is there to be seen where it is more than padding.
    comes_back { { type = 0, data = "\1\2\3" } }
    comes_back { { type = 7, data = "\0\0" }, { type = 0, data = "\0\0\0" } }
  end)

  it("refuses options that do not fit, and builds them when told to", function()
    local function of(options)
      return ipv4.build { src = "10.0.0.1", dst = "10.0.0.2", protocol = 1, options = options }
    end
    helper.refuses(ipv4, of "\7\5\1\2", "ipv4: 4 of 5 bytes of option 7")
    helper.refuses(ipv4, of "\1\1\1\7", "ipv4: 1 of 2 bytes of option 7")
    helper.refuses(ipv4, of "\7\1\1\1", "ipv4: option 7 has length 1")
  end)

  it("reads a quoted packet that was cut off behind its header", function()
    for size = 20, #PLAIN do
      local fields = ipv4.parse(PLAIN:sub(1, size), true)
      assert.same({ 115, PLAIN:sub(21, size) }, { fields.total_length, fields.payload })
      assert.equal(PLAIN:sub(1, size), ipv4.build(fields))
    end
    assert.is_nil((ipv4.parse(OPTIONS:sub(1, 27), true)))
  end)

  it("tells a right checksum from a wrong one", function()
    assert.is_true(ipv4.checksum_ok(PLAIN))
    assert.is_true(ipv4.checksum_ok(OPTIONS))
    assert.is_false(ipv4.checksum_ok(FRAGMENT))
    assert.is_false(ipv4.checksum_ok(PLAIN:sub(1, 19)))
    assert.is_false(ipv4.checksum_ok(OPTIONS:sub(1, 27)))
  end)

  it("refuses every truncated packet", function()
    helper.refuses_truncation(ipv4, "ipv4", OPTIONS)
    helper.refuses_truncation(ipv4, "ipv4", PLAIN)
  end)

  it("refuses impossible lengths and other versions", function()
    helper.refuses(ipv4, "\x65" .. PLAIN:sub(2), "ipv4: version 6")
    helper.refuses(ipv4, "\x44" .. PLAIN:sub(2), "ipv4: ihl 4 is under 5")
    helper.refuses(ipv4, PLAIN:sub(1, 2) .. "\0\19" .. PLAIN:sub(5),
      "ipv4: total_length 19 is under its 20 header bytes")
    helper.refuses(ipv4, PLAIN:sub(1, 12), "ipv4: 12 of 20 header bytes")
  end)

  it("survives flipped bytes and fuzzing", function()
    helper.survives_flips(ipv4, OPTIONS)
    assert.is_true(helper.survives_fuzzing(ipv4, { OPTIONS, PLAIN, FRAGMENT }) > 1000)
  end)

  it("refuses to build from bad values", function()
    local function build(changes)
      local fields = { src = "10.0.0.1", dst = "10.0.0.2", protocol = 17 }
      for name, value in pairs(changes) do fields[name] = value end
      return ipv4.build(fields)
    end
    assert.equal(20, #build {})
    helper.raises('bad ipv4 src "10.0.0.256"', build, { src = "10.0.0.256" })
    helper.raises('bad ipv4 dst "::1"', build, { dst = "::1" })
    helper.raises("bad ipv4 ttl 256: 0 to 255", build, { ttl = 256 })
    helper.raises("bad ipv4 ihl 16: 0 to 15", build, { ihl = 16 })
    helper.raises("bad ipv4 total_length 65536", build, { payload = ("x"):rep(65516) })
    helper.raises("bad ipv4 fragment_offset 8192: 0 to 8191", build, { fragment_offset = 8192 })
    helper.raises("bad ipv4 options: 41 octets given, at most 40", build, { options = ("\1"):rep(41) })
    helper.raises("bad ipv4 option data 7", build, { options = { { type = 7, data = 7 } } })
    helper.raises("bad ipv4 option type nil", build, { options = { {} } })
    helper.raises("bad ipv4 protocol nil", ipv4.build, { src = "10.0.0.1", dst = "10.0.0.2" })
    helper.raises("bad checksum 65536", build, { header_checksum = 65536 })
  end)

  it("describes addresses, fragments and unknown protocols", function()
    assert.equal("IPv4 192.168.0.1 > 192.168.0.199 ttl 64", ipv4.describe(ipv4.parse(PLAIN)))
    assert.equal("IPv4 192.168.0.1 > 192.168.0.199 ttl 64 frag id 0xabcd offset 1480+",
      ipv4.describe(ipv4.parse(FRAGMENT)))
    assert.equal("IPv4 10.0.0.1 > 10.0.0.2 ttl 64 protocol 47",
      ipv4.describe(ipv4.parse(ipv4.build { src = "10.0.0.1", dst = "10.0.0.2", protocol = 47 })))
  end)
end)
