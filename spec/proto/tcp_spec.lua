local bytes = require "etherlua.net.bytes"
local helper = require "support.proto"
local tcp = require "etherlua.proto.tcp"

-- As sent by Linux: a connection's first segment, data on both IP versions, and a refusal.
local SYN = bytes.unhex [[d214 0050 7137959a 00000000 a002 faf0 1f7e 0000
  020405b4 0402 080aedc6528e00000000 01 03030a]]
local DATA = bytes.unhex "d214 0050 7137959b 7989a7d6 8018 003f 6900 0000 0101080aedc6528ef10389ab 68656c6c6f"
local DATA6 = bytes.unhex "b03e 0050 1131a22f a2e0691e 8018 0040 2fcf 0000 0101080a97494eb913e83d81 68656c6c6f"
local RESET = bytes.unhex "0051 c8ea 00000000 5cfef0d5 5014 0000 84be 0000"

local ENDS = {
  [SYN] = { src = "10.0.0.1", dst = "10.0.0.2" },
  [DATA] = { src = "10.0.0.1", dst = "10.0.0.2" },
  [DATA6] = { src = "2001:db8::1", dst = "2001:db8::2" },
  [RESET] = { src = "10.0.0.2", dst = "10.0.0.1" },
}

describe("tcp", function()
  it("reads a segment with options", function()
    assert.same({ src_port = 53780, dst_port = 80, sequence_number = 0x7137959a, acknowledgment_number = 0,
      data_offset = 10, cwr = false, ece = false, urg = false, ack = false, psh = false, rst = false, syn = true,
      fin = false, window = 64240, checksum = 0x1f7e, urgent_pointer = 0, payload = "", options = {
        { type = tcp.MAXIMUM_SEGMENT_SIZE, data = "\5\180" },
        { type = tcp.SACK_PERMITTED, data = "" },
        { type = tcp.TIMESTAMPS, data = bytes.unhex "edc6528e00000000" },
        { type = 1 },
        { type = tcp.WINDOW_SCALE, data = "\10" },
      } }, tcp.parse(SYN))
    assert.equal("hello", tcp.parse(DATA).payload)
  end)

  it("builds what it has read, with lengths and checksums of its own too", function()
    for segment, ends in pairs(ENDS) do
      local fields = tcp.parse(segment)
      assert.equal(segment, tcp.build(fields))
      fields.data_offset, fields.checksum = nil, nil
      assert.equal(segment, tcp.build(fields, ends))
    end
  end)

  it("gives back every field it was given, wrong ones too", function()
    for _, flag in ipairs { "cwr", "ece", "urg", "ack", "psh", "rst", "syn", "fin" } do
      local fields = helper.comes_back(tcp, { src_port = 65535, dst_port = 0, sequence_number = 0xffffffff,
        acknowledgment_number = 0x80000000, [flag] = true, window = 65535, checksum = 1, urgent_pointer = 65535,
        reserved = 15, options = { { type = 254, data = "unknown" }, { type = 1 } }, payload = "x" })
      local set = 0
      for _, name in ipairs { "cwr", "ece", "urg", "ack", "psh", "rst", "syn", "fin" } do
        set = set + (fields[name] and 1 or 0)
      end
      assert.equal(1, set)
    end
    assert.equal("\x10", tcp.build({ src_port = 1, dst_port = 2, data_offset = 1, checksum = 0 }):sub(13, 13))
    assert.equal("\2\1\0\0", tcp.build({ src_port = 1, dst_port = 2, options = "\2\1", checksum = 0 }):sub(21))
  end)

  it("tells a right checksum from a wrong one", function()
    for segment, ends in pairs(ENDS) do
      assert.is_true(tcp.checksum_ok(segment, ends))
      assert.is_false(tcp.checksum_ok(segment, { src = "10.0.0.3", dst = "10.0.0.2" }))
      assert.is_false(tcp.checksum_ok(segment:sub(1, 19), ends))
    end
  end)

  it("refuses every truncated header", function()
    helper.refuses_truncation(tcp, "tcp", SYN)
    helper.refuses_truncation(tcp, "tcp", RESET)
    helper.refuses(tcp, SYN:sub(1, 39), "tcp: 39 of 40 header bytes")
  end)

  it("refuses impossible lengths", function()
    helper.refuses(tcp, RESET:sub(1, 12) .. "\x40" .. RESET:sub(14), "tcp: data_offset 4 is under 5")
    local function with(options) return tcp.build { src_port = 1, dst_port = 2, checksum = 0, options = options } end
    helper.refuses(tcp, with "\8\10\0\0", "tcp: 4 of 10 bytes of option 8")
    helper.refuses(tcp, with "\2\0\0\0", "tcp: option 2 has length 0")
  end)

  it("reads of a quoted segment what RFC 792 promises of it", function()
    for size = 0, 7 do assert.is_nil((tcp.parse(SYN:sub(1, size), true))) end
    for size = 8, 19 do
      assert.same({ src_port = 53780, dst_port = 80, sequence_number = 0x7137959a, payload = "" },
        tcp.parse(SYN:sub(1, size), true))
    end
    assert.equal("TCP 53780 > 80 seq 1899468186", tcp.describe(tcp.parse(SYN:sub(1, 8), true)))
    assert.same(tcp.parse(SYN), (tcp.parse(SYN, true)))
  end)

  it("survives flipped bytes and fuzzing", function()
    for segment in pairs(ENDS) do helper.survives_flips(tcp, segment) end
    assert.is_true(helper.survives_fuzzing(tcp, { SYN, DATA, DATA6, RESET }) > 1000)
  end)

  it("refuses to build from bad values", function()
    local function build(changes)
      local fields = { src_port = 1, dst_port = 2, checksum = 0 }
      for name, value in pairs(changes) do fields[name] = value end
      return tcp.build(fields)
    end
    assert.equal(20, #build {})
    helper.raises("bad tcp src_port nil", tcp.build, {}, ENDS[SYN])
    helper.raises("bad tcp dst_port 65536", build, { dst_port = 65536 })
    helper.raises("bad tcp sequence_number -1", build, { sequence_number = -1 })
    helper.raises("bad tcp window 65536", build, { window = 65536 })
    helper.raises("bad tcp data_offset 16: 0 to 15", build, { data_offset = 16 })
    helper.raises("bad tcp reserved 16: 0 to 15", build, { reserved = 16 })
    helper.raises("bad tcp options: 41 octets given, at most 40", build, { options = ("\1"):rep(41) })
    helper.raises("needs a context { src =, dst = }", tcp.build, { src_port = 1, dst_port = 2 })
  end)

  it("describes ports, flags and numbers", function()
    assert.equal("TCP 53780 > 80 syn seq 1899468186 win 64240", tcp.describe(tcp.parse(SYN)))
    assert.equal("TCP 81 > 51434 ack rst seq 0 ack 1560211669 win 0", tcp.describe(tcp.parse(RESET)))
  end)
end)
