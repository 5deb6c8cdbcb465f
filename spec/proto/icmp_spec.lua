local bytes = require "etherlua.net.bytes"
local icmp = require "etherlua.proto.icmp"
local helper = require "support.proto"

-- As answered by Linux.
local REPLY = bytes.unhex "0000 3823 1234 0001 65746865726c7561"
local UNREACHABLE = bytes.unhex [[0303 111e 00000000 47000029ce2640004011468a0a0000010a0000020707080a00000100
  13880007000d947068656c6c6f]]

describe("icmp", function()
  it("reads an echo reply", function()
    assert.same({ type = 0, code = 0, checksum = 0x3823, identifier = 0x1234, sequence = 1, payload = "etherlua" },
      icmp.parse(REPLY))
  end)

  it("reads an error with the packet that it is about", function()
    local fields = icmp.parse(UNREACHABLE)
    assert.equal(3, fields.type)
    assert.equal(3, fields.code)
    assert.equal(0, fields.next_hop_mtu)
    assert.equal(UNREACHABLE:sub(9), fields.payload)
  end)

  it("names the module of the packet that an error quotes, and of nothing else", function()
    for number = 0, 255 do
      local is_error = number >= 3 and number <= 5 or number == 11 or number == 12
      local name, note = icmp.child { type = number }
      assert.same(is_error and { "ipv4", "quoted" } or {}, { name, note })
    end
  end)

  it("builds what it has read, with a checksum of its own too", function()
    for _, message in ipairs { REPLY, UNREACHABLE } do
      local fields = icmp.parse(message)
      assert.equal(message, icmp.build(fields))
      fields.checksum = nil
      assert.equal(message, icmp.build(fields))
    end
  end)

  it("builds an echo request from little", function()
    local fields = icmp.parse(icmp.build { type = icmp.ECHO_REQUEST, payload = "odd" })
    assert.same({ 8, 0, 0, 0, "odd" }, { fields.type, fields.code, fields.identifier, fields.sequence, fields.payload })
  end)

  it("gives back every field it was given", function()
    helper.comes_back(icmp, { type = 3, code = 4, checksum = 7, next_hop_mtu = 1400, reserved = 0xffff, payload = "x" })
    helper.comes_back(icmp, { type = 5, code = 1, gateway = "10.0.0.254", payload = "x" })
    helper.comes_back(icmp, { type = 11, code = 1, rest = 5, payload = "x" })
    helper.comes_back(icmp, { type = 12, code = 0, pointer = 255, reserved = 0xffffff, payload = "x" })
    helper.comes_back(icmp, { type = 14, code = 0, identifier = 1, sequence = 2, originate_timestamp = 86399999,
      receive_timestamp = 0xffffffff, transmit_timestamp = 0, payload = "" })
    helper.comes_back(icmp, { type = 255, code = 255, rest = 0xffffffff, payload = "" })
    helper.comes_back(icmp, { type = 8, code = 1, identifier = 65535, sequence = 65535, payload = "x" })
  end)

  it("tells a right checksum from a wrong one", function()
    assert.is_true(icmp.checksum_ok(REPLY))
    assert.is_true(icmp.checksum_ok(UNREACHABLE))
    assert.is_false(icmp.checksum_ok(REPLY:sub(1, 15) .. "A"))
    assert.is_false(icmp.checksum_ok(""))
  end)

  it("refuses every truncated header", function()
    helper.refuses_truncation(icmp, "icmp", REPLY:sub(1, 8))
    helper.refuses_truncation(icmp, "icmp", icmp.build { type = icmp.TIMESTAMP_REQUEST })
  end)

  it("survives flipped bytes and fuzzing", function()
    helper.survives_flips(icmp, UNREACHABLE)
    assert.is_true(helper.survives_fuzzing(icmp, { REPLY, UNREACHABLE }) > 1000)
  end)

  it("refuses to build from bad values", function()
    helper.raises("bad icmp type nil", icmp.build, {})
    helper.raises("bad icmp code 256", icmp.build, { type = 0, code = 256 })
    helper.raises("bad icmp identifier 65536", icmp.build, { type = 8, identifier = 65536 })
    helper.raises("bad icmp sequence -1", icmp.build, { type = 8, sequence = -1 })
    helper.raises("bad icmp rest 4294967296", icmp.build, { type = 11, rest = 2 ^ 32 })
    helper.raises("bad icmp next_hop_mtu 65536", icmp.build, { type = 3, next_hop_mtu = 65536 })
    helper.raises("bad icmp reserved 16777216", icmp.build, { type = 12, reserved = 2 ^ 24 })
    helper.raises('bad icmp gateway "nil"', icmp.build, { type = 5 })
    helper.raises("bad icmp transmit_timestamp x", icmp.build, { type = 13, transmit_timestamp = "x" })
    helper.raises("bad icmp payload", icmp.build, { type = 8, payload = 7 })
  end)

  it("describes what it knows by name and the rest by number", function()
    assert.equal("ICMP echo reply id 4660 seq 1", icmp.describe(icmp.parse(REPLY)))
    assert.equal("ICMP destination unreachable (port)", icmp.describe(icmp.parse(UNREACHABLE)))
    assert.equal("ICMP destination unreachable code 13", icmp.describe { type = 3, code = 13 })
    assert.equal("ICMP destination unreachable (fragmentation needed) mtu 1400",
      icmp.describe { type = 3, code = 4, next_hop_mtu = 1400 })
    assert.equal("ICMP redirect (host) to 10.0.0.254", icmp.describe { type = 5, code = 1, gateway = "10.0.0.254" })
    assert.equal("ICMP parameter problem at 20", icmp.describe { type = 12, code = 0, pointer = 20 })
    assert.equal("ICMP type 42", icmp.describe { type = 42, code = 0 })
  end)
end)
