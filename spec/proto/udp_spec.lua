local bytes = require "etherlua.net.bytes"
local udp = require "etherlua.proto.udp"
local helper = require "support.proto"

-- "hello" from port 5000 to 7, as sent by Linux on both IP versions.
local ON_IPV4, ENDS4 = bytes.unhex "1388 0007 000d 9470 68656c6c6f", { src = "10.0.0.1", dst = "10.0.0.2" }
local ON_IPV6, ENDS6 = bytes.unhex "1388 0007 000d 4cfe 68656c6c6f", { src = "2001:db8::1", dst = "2001:db8::2" }

describe("udp", function()
  it("reads a datagram", function()
    assert.same({ src_port = 5000, dst_port = 7, length = 13, checksum = 0x9470, payload = "hello" },
      udp.parse(ON_IPV4))
  end)

  it("drops what follows its length", function()
    assert.same(udp.parse(ON_IPV4), udp.parse(ON_IPV4 .. "padding"))
  end)

  it("builds what it has read", function()
    assert.equal(ON_IPV4, udp.build(udp.parse(ON_IPV4)))
    assert.equal(ON_IPV6, udp.build(udp.parse(ON_IPV6)))
  end)

  it("fills in length and checksum on both IP versions", function()
    assert.equal(ON_IPV4, udp.build({ src_port = 5000, dst_port = 7, payload = "hello" }, ENDS4))
    assert.equal(ON_IPV6, udp.build({ src_port = 5000, dst_port = 7, payload = "hello" }, ENDS6))
  end)

  it("sends a computed checksum of 0 as 0xffff (RFC 768, RFC 8200 section 8.1)", function()
    for _, ends in ipairs { ENDS4, ENDS6 } do
      -- The payload that makes the sum of everything 0xffff is the checksum over a payload of zeros.
      local zeros = udp.parse(udp.build({ src_port = 1, dst_port = 2, payload = "\0\0" }, ends))
      local datagram = udp.build({ src_port = 1, dst_port = 2, payload = bytes.put16("x", zeros.checksum) }, ends)
      assert.equal(0xffff, udp.parse(datagram).checksum)
      assert.is_true(udp.checksum_ok(datagram, ends))
    end
  end)

  it("tells a right checksum from a wrong one", function()
    assert.is_true(udp.checksum_ok(ON_IPV4, ENDS4))
    assert.is_true(udp.checksum_ok(ON_IPV4 .. "padding", ENDS4))
    assert.is_true(udp.checksum_ok(ON_IPV6, ENDS6))
    assert.is_false(udp.checksum_ok(ON_IPV6, ENDS4))
    assert.is_false(udp.checksum_ok(ON_IPV4:sub(1, 12) .. "O", ENDS4))
    assert.is_false(udp.checksum_ok(ON_IPV4:sub(1, 12), ENDS4))
  end)

  it("takes a checksum of 0 for none on IPv4 only", function()
    local datagram = udp.build { src_port = 1, dst_port = 2, checksum = 0, payload = "x" }
    assert.equal("\0\0", datagram:sub(7, 8))
    assert.is_true(udp.checksum_ok(datagram, ENDS4))
    assert.is_false(udp.checksum_ok(datagram, ENDS6))
  end)

  it("gives back every field it was given", function()
    helper.comes_back(udp, { src_port = 0, dst_port = 65535, length = 10, checksum = 1, payload = "ab" })
    helper.comes_back(udp, { src_port = 65535, dst_port = 0, payload = "" }, ENDS6)
    assert.equal("\0\9", udp.build({ src_port = 1, dst_port = 2, length = 9 }, ENDS4):sub(5, 6))
  end)

  it("refuses every truncated datagram and a length under 8", function()
    helper.refuses_truncation(udp, "udp", ON_IPV4)
    helper.refuses(udp, "\0\1\0\2\0\7\0\0 payload", "udp: length 7 is under its 8 header bytes")
  end)

  it("reads a quoted datagram that was cut off behind its header", function()
    for size = 8, #ON_IPV4 do
      local fields = udp.parse(ON_IPV4:sub(1, size), true)
      assert.same({ 13, ON_IPV4:sub(9, size) }, { fields.length, fields.payload })
    end
    assert.is_nil((udp.parse(ON_IPV4:sub(1, 7), true)))
  end)

  it("survives flipped bytes and fuzzing", function()
    helper.survives_flips(udp, ON_IPV4)
    assert.is_true(helper.survives_fuzzing(udp, { ON_IPV4, ON_IPV6 }) > 1000)
  end)

  it("refuses to build from bad values", function()
    helper.raises("bad udp src_port nil", udp.build, {}, ENDS4)
    helper.raises("bad udp dst_port 65536", udp.build, { src_port = 1, dst_port = 65536 }, ENDS4)
    helper.raises("bad udp length 65536", udp.build, { src_port = 1, dst_port = 2, payload = ("x"):rep(65528) }, ENDS4)
    helper.raises("bad checksum -1", udp.build, { src_port = 1, dst_port = 2, checksum = -1 })
    helper.raises("needs a context { src =, dst = }", udp.build, { src_port = 1, dst_port = 2 })
  end)

  it("describes ports and length, and knows DHCP by its ports", function()
    assert.equal("UDP 5000 > 7 length 13", udp.describe(udp.parse(ON_IPV4)))
    assert.equal("dhcp4", udp.child { src_port = 68, dst_port = 67 })
    assert.equal("dhcp4", udp.child { src_port = 67, dst_port = 9999 })
    assert.is_nil(udp.child { src_port = 1, dst_port = 2 })
  end)
end)
