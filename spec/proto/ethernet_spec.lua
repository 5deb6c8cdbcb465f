local bytes = require "etherlua.net.bytes"
local ethernet = require "etherlua.proto.ethernet"
local helper = require "support.proto"

-- ARP request as sent by Linux, and the same in an 802.1ad stack.
local PLAIN = bytes.unhex [[ffffffffffff 020000000001 0806
  0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002]]
local TAGGED = bytes.unhex "020000000002 020000000001 88a8 a064 8100 10c8 9100 0001 0800 4500"

describe("ethernet", function()
  it("reads an untagged frame", function()
    assert.same({ dst = "ff:ff:ff:ff:ff:ff", src = "02:00:00:00:00:01", vlans = {}, ethertype = 0x0806,
      payload = PLAIN:sub(15) }, ethernet.parse(PLAIN))
  end)

  it("reads any number of VLAN tags, outer first, with TPID, PCP and DEI", function()
    assert.same({ dst = "02:00:00:00:00:02", src = "02:00:00:00:00:01", ethertype = 0x0800, payload = "E\0", vlans = {
      { tpid = 0x88a8, vid = 100, pcp = 5, dei = false },
      { tpid = 0x8100, vid = 200, pcp = 0, dei = true },
      { tpid = 0x9100, vid = 1, pcp = 0, dei = false },
    } }, ethernet.parse(TAGGED))
  end)

  it("builds what it has read", function()
    assert.equal(PLAIN, ethernet.build(ethernet.parse(PLAIN)))
    assert.equal(TAGGED, ethernet.build(ethernet.parse(TAGGED)))
  end)

  it("builds tags from plain VIDs", function()
    local frame = ethernet.build { dst = "02:00:00:00:00:02", src = "02:00:00:00:00:01", vlans = { 100, 200 },
      ethertype = 0x0800, payload = "x" }
    assert.equal(bytes.unhex "020000000002 020000000001 8100 0064 8100 00c8 0800 78", frame)
  end)

  it("gives back every field it was given", function()
    helper.comes_back(ethernet, { dst = "02:00:00:00:00:02", src = "02:00:00:00:00:01", ethertype = 0x88cc,
      vlans = { { tpid = 0x88a8, vid = 4095, pcp = 7, dei = true } }, payload = "abc" })
  end)

  it("keeps an 802.3 length as the ethertype", function()
    local fields = ethernet.parse(bytes.unhex "0180c2000000 020000000001 0026 424203")
    assert.equal(0x26, fields.ethertype)
    assert.equal("02:00:00:00:00:01 > 01:80:c2:00:00:00 802.3", ethernet.describe(fields))
  end)

  it("refuses every truncated header", function()
    helper.refuses_truncation(ethernet, "ethernet", PLAIN:sub(1, 14))
    helper.refuses_truncation(ethernet, "ethernet", TAGGED:sub(1, 26))
  end)

  it("takes a reply with tags of VID 0, or without, for one of the same VLAN stack", function()
    local function answers(reply, request)
      local stacks = { reply, request }
      for i, stack in ipairs(stacks) do
        for at, vid in ipairs(stack) do stack[at] = { vid = vid, tpid = 0x8100 } end
        stacks[i] = { dst = "02:00:00:00:00:01", src = "02:00:00:00:00:01", ethertype = 0x0800, vlans = stack }
      end
      return ethernet.answers(stacks[1], stacks[2])
    end
    assert.same({ true, true, true, true }, { answers({ 0 }, {}), answers({}, { 0, 0 }), answers({ 0, 7 }, { 7, 0 }),
      answers({ 7, 0, 8 }, { 7, 8 }) })
    assert.same({ false, false, false }, { answers({ 0 }, { 7 }), answers({ 7, 0 }, { 7, 8 }),
      answers({ 8, 7 }, { 7, 8 }) })
  end)

  it("survives flipped bytes and fuzzing", function()
    helper.survives_flips(ethernet, TAGGED)
    assert.is_true(helper.survives_fuzzing(ethernet, { PLAIN, TAGGED }) > 1000)
  end)

  it("refuses to build from bad values", function()
    local function build(changes)
      local fields = { dst = "02:00:00:00:00:02", src = "02:00:00:00:00:01", ethertype = 0x0800 }
      for name, value in pairs(changes) do fields[name] = value end
      return ethernet.build(fields)
    end
    assert.equal(14, #build {})
    helper.raises('bad ethernet dst "x"', build, { dst = "x" })
    helper.raises('bad ethernet src "x"', build, { src = "x" })
    helper.raises("bad ethertype 65536: 0 to 65535", build, { ethertype = 65536 })
    helper.raises("bad VLAN ID 4096: 0 to 4095", build, { vlans = { 4096 } })
    helper.raises("bad VLAN PCP 8: 0 to 7", build, { vlans = { { vid = 1, pcp = 8 } } })
    helper.raises("bad VLAN TPID", build, { vlans = { { vid = 1, tpid = 0x10000 } } })
    helper.raises("bad ethernet payload", build, { payload = {} })
  end)

  it("describes addresses, tags and an unknown EtherType", function()
    local fields = ethernet.parse(TAGGED)
    assert.equal("02:00:00:00:00:01 > 02:00:00:00:00:02 vlan 100.200.1 pcp 5.0.0", ethernet.describe(fields))
    fields.vlans, fields.ethertype = { { vid = 7, pcp = 0 } }, 0x88cc
    assert.equal("02:00:00:00:00:01 > 02:00:00:00:00:02 vlan 7 ethertype 0x88cc", ethernet.describe(fields))
  end)
end)
