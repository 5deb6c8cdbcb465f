local bytes = require "etherlua.net.bytes"
local helper = require "support.proto"

describe("numbers", function()
  it("are read in network byte order", function()
    assert.equal(0x0102, bytes.u16("\0\1\2", 2))
    assert.equal(0xfffefdfc, bytes.u32("\255\254\253\252", 1))
  end)

  it("are written in network byte order", function()
    assert.equal("\255", bytes.put8("x", 255))
    assert.equal("\1\2", bytes.put16("x", 0x0102))
    assert.equal("\255\254\253\252", bytes.put32("x", 0xfffefdfc))
  end)

  it("that do not fit raise an error that names them and what is allowed", function()
    helper.raises("bad port 65536: 0 to 65535 is allowed", bytes.put16, "port", 65536)
    helper.raises("bad port -1: 0 to 255 is allowed", bytes.put8, "port", -1)
    helper.raises("bad port 1.5: 0 to 4294967295 is allowed", bytes.put32, "port", 1.5)
    helper.raises("bad port nil", bytes.put16, "port", nil)
    helper.raises("bad port 7", bytes.put16, "port", "7")
    helper.raises("bad port nan", bytes.put16, "port", 0 / 0)
  end)
end)

describe("addresses", function()
  it("are read from any position", function()
    assert.equal("10.0.255.1", bytes.ip4_at("x\10\0\255\1", 2))
    assert.equal("02:00:ff:0a:0b:0c", bytes.mac_at("x\2\0\255\10\11\12", 2))
  end)

  it("are written from all notations of a MAC address", function()
    for _, text in ipairs { "aa:bb:cc:dd:ee:0f", "AA:BB:CC:DD:EE:0F", "aa-bb-cc-dd-ee-0f" } do
      assert.equal("\xaa\xbb\xcc\xdd\xee\x0f", bytes.mac("x", text))
    end
  end)

  it("that are none raise an error that names them", function()
    helper.raises('bad src "aa:bb:cc:dd:ee:f": a MAC address', bytes.mac, "src", "aa:bb:cc:dd:ee:f")
    helper.raises('bad src "aa:bb:cc:dd:ee:0ff": a MAC address', bytes.mac, "src", "aa:bb:cc:dd:ee:0ff")
    helper.raises('bad src "nil": a MAC address', bytes.mac, "src", nil)
    helper.raises('bad src "2001:db8::1": an IPv4 address', bytes.ip, "src", "2001:db8::1", 4)
    helper.raises('bad src "10.0.0.1": an IPv6 address', bytes.ip, "src", "10.0.0.1", 16)
    helper.raises('bad src "nil": an IPv4 address', bytes.ip, "src", nil, 4)
  end)
end)

describe("the internet checksum", function()
  it("is that of the example in RFC 1071 section 3", function()
    local example = bytes.unhex "00 01 f2 03 f4 f5 f6 f7"
    assert.equal(0x2ddf0, bytes.sum(example))
    assert.equal(0x220d, bytes.checksum(example))
  end)

  it("is that of a published IPv4 header, and 0 with it in place", function()
    assert.equal(0xb861, bytes.checksum(bytes.unhex "45000073 00004000 4011 c0a80001 c0a800c7"))
    assert.equal(0, bytes.checksum(bytes.unhex "45000073 00004000 4011b861 c0a80001 c0a800c7"))
  end)

  it("takes a last odd octet as the high one", function()
    assert.equal(bytes.checksum("\1\2\3\0"), bytes.checksum("\1\2\3"))
    assert.equal(0xffff - 0x0402, bytes.checksum("\1\2\3"))
  end)

  it("can be continued over several strings", function()
    assert.equal(bytes.checksum("abcdefg"), bytes.checksum("efg", bytes.sum("abcd")))
  end)

  it("folds until no carry is left", function()
    assert.equal(0, bytes.checksum(("\255"):rep(65534)))
    assert.equal(0xfffe, bytes.checksum("", 0xffff0001 + 0xffff))
  end)

  it("of a pseudo header needs addresses of one IP version", function()
    helper.raises("needs a context", bytes.pseudo_sum, nil, 17, 8)
    helper.raises("not of one IP version", bytes.pseudo_sum, { src = "::1", dst = "10.0.0.1" }, 17, 8)
    helper.raises("bad IP address", bytes.pseudo_sum, { src = "10.0.0.1" }, 17, 8)
  end)

  it("is put between two parts, or what was given instead", function()
    assert.equal("\1\2\251\249\3\4", bytes.with_checksum("\1\2", "\3\4"))
    assert.equal("\1\2\0\7\3\4", bytes.with_checksum("\1\2", "\3\4", 7))
  end)
end)

describe("text", function()
  it("in hex goes both ways", function()
    assert.equal("00ff1a", bytes.hex("\0\255\26"))
    assert.equal("\0\255\26", bytes.unhex("00:FF 1a\n"))
    helper.raises('bad hex "0": pairs', bytes.unhex, "0")
    helper.raises('bad hex "0g": pairs', bytes.unhex, "0g")
  end)

  it("of a dump shows offset, hex and what can be printed", function()
    assert.equal("0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef\n"
      .. "0010  00 ff" .. (" "):rep(44) .. "..", bytes.dump("0123456789abcdef\0\255"))
    assert.equal("", bytes.dump(""))
  end)

  it("that is padded has a length that is a multiple of the unit", function()
    assert.equal("", bytes.pad_to("", 4))
    assert.equal("abcd", bytes.pad_to("abcd", 4))
    assert.equal("abcde\0\0\0", bytes.pad_to("abcde", 4))
  end)

  it("has to be a string, and no longer than allowed", function()
    assert.equal("", bytes.string("x", nil))
    assert.equal("abc", bytes.string("x", "abc", 3))
    helper.raises("bad payload: 4 octets given, at most 3 are allowed", bytes.string, "payload", "abcd", 3)
    helper.raises("bad payload 7: a string is needed", bytes.string, "payload", 7)
  end)

  it("about missing bytes names the protocol", function()
    local nothing, reason = bytes.short("ipv4", 12, 20)
    assert.is_nil(nothing)
    assert.equal("ipv4: 12 of 20 header bytes", reason)
  end)
end)
