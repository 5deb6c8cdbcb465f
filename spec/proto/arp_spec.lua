local bytes = require "etherlua.net.bytes"
local arp = require "etherlua.proto.arp"
local helper = require "support.proto"

-- As sent by Linux.
local REQUEST = bytes.unhex "0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
local REPLY = bytes.unhex "0001 0800 06 04 0002 020000000002 0a000002 020000000001 0a000001"
-- Hardware addresses of 2 octets and protocol addresses of 1 (Chaosnet over ARCNET, say).
local OTHER = bytes.unhex "0007 0804 02 01 0001 aabb 01 0000 02"

describe("arp", function()
  it("reads a request and a reply", function()
    assert.same({ hrd = 1, pro = 0x0800, hln = 6, pln = 4, op = 1, sha = "02:00:00:00:00:01", spa = "10.0.0.1",
      tha = "00:00:00:00:00:00", tpa = "10.0.0.2" }, arp.parse(REQUEST))
    local reply = arp.parse(REPLY)
    assert.equal(arp.REPLY, reply.op)
    assert.equal("02:00:00:00:00:02", reply.sha)
  end)

  it("drops the padding of a minimum frame", function()
    assert.same(arp.parse(REPLY), arp.parse(REPLY .. ("\0"):rep(18)))
  end)

  it("keeps addresses of other hardware and protocols as raw bytes", function()
    local fields = arp.parse(OTHER)
    assert.equal("\xaa\xbb", fields.sha)
    assert.equal("\2", fields.tpa)
  end)

  it("builds what it has read", function()
    for _, packet in ipairs { REQUEST, REPLY, OTHER } do assert.equal(packet, arp.build(arp.parse(packet))) end
  end)

  it("builds a request unless told otherwise", function()
    assert.equal(REQUEST, arp.build { sha = "02:00:00:00:00:01", spa = "10.0.0.1", tpa = "10.0.0.2" })
  end)

  it("gives back every field it was given", function()
    helper.comes_back(arp, { hrd = 6, pro = 0x0800, hln = 6, pln = 4, op = 9, sha = "02:00:00:00:00:01",
      spa = "10.0.0.1", tha = "02:00:00:00:00:02", tpa = "10.0.0.2" })
  end)

  it("refuses every truncated packet", function()
    helper.refuses_truncation(arp, "arp", REQUEST)
    helper.refuses_truncation(arp, "arp", OTHER)
  end)

  it("survives flipped bytes and fuzzing", function()
    helper.survives_flips(arp, REQUEST)
    assert.is_true(helper.survives_fuzzing(arp, { REQUEST, REPLY, OTHER }) > 1000)
  end)

  it("refuses to build from bad values", function()
    helper.raises('bad arp sha "x": a MAC address', arp.build, { sha = "x" })
    helper.raises('bad arp tpa "::1": an IPv4 address', arp.build, { tpa = "::1" })
    helper.raises("bad arp op 65536", arp.build, { op = 65536 })
    helper.raises("bad arp hln 256", arp.build, { hln = 256 })
    helper.raises('bad arp sha "abc": 2 raw octets are needed', arp.build, { hln = 2, sha = "abc" })
    helper.raises('bad arp spa "nil": 3 raw octets are needed', arp.build, { pln = 3 })
  end)

  it("describes who asks and who answers", function()
    assert.equal("ARP who-has 10.0.0.2 tell 10.0.0.1", arp.describe(arp.parse(REQUEST)))
    assert.equal("ARP 10.0.0.2 is-at 02:00:00:00:00:02", arp.describe(arp.parse(REPLY)))
    assert.equal("ARP op 1 hardware 7 protocol 0x0804", arp.describe(arp.parse(OTHER)))
    assert.equal("ARP op 3 10.0.0.2 02:00:00:00:00:02 > 10.0.0.1 02:00:00:00:00:01",
      arp.describe(arp.parse(REPLY:sub(1, 7) .. "\3" .. REPLY:sub(9))))
  end)
end)
