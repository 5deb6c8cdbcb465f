-- What frames of capture files begin with: Ethernet's cooked and looped-back relatives. The headers are those that
-- Linux (tcpdump -i any) and macOS write.

local bytes = require "etherlua.net.bytes"
local helper = require "support.proto"
local link_types = require "etherlua.proto.link_types"
local packet = require "etherlua.proto.packet"
local packets = require "support.packets"
local proto = require "etherlua.proto"

local UNHEX = bytes.unhex
local MAC = "02:00:00:00:00:01"

local CASES = {
  { "sll", "0000 0001 0006 020000000001 0000 0800" .. "ab", { packet_type = 0, arphrd_type = 1, address_length = 6,
    address = MAC, vlans = {}, protocol = 0x0800, payload = "\xab" } },
  { "sll", "0004 0304 0000 0000000000000000 86dd", { packet_type = 4, arphrd_type = 772, address_length = 0,
    address = ("\0"):rep(8), vlans = {}, protocol = 0x86dd, payload = "" } },
  { "sll", "0001 0001 0006 020000000001 0000 8100 a007 88a8 0008 0806", { packet_type = 1, arphrd_type = 1,
    address_length = 6, address = MAC, protocol = 0x0806, payload = "",
    vlans = { { tpid = 0x8100, vid = 7, pcp = 5, dei = false }, { tpid = 0x88a8, vid = 8, pcp = 0, dei = false } } } },
  { "sll", "0000 0001 0006 020000000001 ffff 0800", { packet_type = 0, arphrd_type = 1, address_length = 6,
    address = UNHEX "020000000001ffff", vlans = {}, protocol = 0x0800, payload = "" } },
  { "sll2", "0800 0000 00000003 0001 00 06 020000000001 0000" .. "cd", { protocol = 0x0800, interface_index = 3,
    arphrd_type = 1, packet_type = 0, address_length = 6, address = MAC, vlans = {}, payload = "\xcd" } },
  { "sll2", "8100 0001 00000003 0001 04 06 020000000001 0000 0007 86dd", { protocol = 0x86dd, reserved = 1,
    interface_index = 3, arphrd_type = 1, packet_type = 4, address_length = 6, address = MAC, payload = "",
    vlans = { { tpid = 0x8100, vid = 7, pcp = 0, dei = false } } } },
  { "loopback", "02000000 45", { family = 2, byte_order = "little", payload = "\x45" } },
  { "loopback", "0000001e 60", { family = 30, byte_order = "big", payload = "\x60" } },
}

describe("the header of a link layer", function()
  for _, case in ipairs(CASES) do
    local name, whole, fields = case[1], UNHEX(case[2]), case[3]
    it(("%s is read, and built again: %s"):format(name, case[2]), function()
      assert.same(fields, proto[name].parse(whole))
      assert.equal(bytes.hex(whole), bytes.hex(proto[name].build(fields)))
      helper.survives_flips(proto[name], whole)
    end)
  end

  it("refuses what is cut off", function()
    helper.refuses_truncation(proto.sll, "sll", UNHEX(CASES[3][2]))
    helper.refuses_truncation(proto.sll2, "sll2", UNHEX(CASES[6][2]))
    helper.refuses_truncation(proto.loopback, "loopback", UNHEX(CASES[7][2]):sub(1, 4))
  end)

  it("is a layer as others are, in lines, descriptions and code", function()
    local lines = { ["cooked in tags"] = "SLL sent from 02:00:00:00:00:0a vlan 7.8 pcp 5.0 IPv6 [2001:db8::1]:1000 > ",
      ["cooked without an address"] = "SLL to this host IPv4 10.0.0.1:1000 > ", ["loopback"] = "loopback IPv4 10.",
      ["cooked 2 in tags"] = "SLL2 interface 70000 sent from 616263 vlan 7.8 pcp 5.0 IPv4 " }
    for what, one in pairs(packets.of_other_links()) do
      local whole, first = one:build(), one[1].name
      local again = packet.parse(whole, first)
      assert.equal(bytes.hex(whole), bytes.hex(again:build()), what)
      assert.equal(bytes.hex(whole), bytes.hex(loadstring(again:code())():build()), what)
      assert.is_truthy(again:describe():find(first, 1, true))
      if lines[what] then assert.equal(1, proto.describe(whole, first):find(lines[what], 1, true), what) end
    end
  end)

  it("is followed by no frame of Ethernet's where its numbers are others", function()
    assert.is_nil(proto.sll.child { arphrd_type = 824, protocol = 0x0800 }) -- netlink
    assert.equal("ipv4", proto.sll.child { arphrd_type = 1, protocol = 0x0800 })
    local netlink = UNHEX "0004 0338 0000 0000000000000000 0010 00"
    assert.equal("SLL sent protocol 0x0010 data 1 bytes", proto.describe(netlink, "sll"))
    assert.equal("loopback family 7 data 1 bytes", proto.describe("\7\0\0\0x", "loopback"))
  end)
end)

describe("a link type", function()
  it("says what a frame begins with", function()
    for number, name in pairs { [1] = "ethernet", [0] = "loopback", [108] = "loopback", [113] = "sll", [276] = "sll2",
      [228] = "ipv4", [229] = "ipv6" } do
      assert.is_true(link_types.is_known(number))
      assert.equal(name, link_types.first_layer(number, ""))
    end
    assert.is_true(link_types.is_known(12))
    assert.same({ "ipv4", "ipv6", "ipv4" }, { link_types.first_layer(12, "\x45"), link_types.first_layer(12, "\x6f"),
      link_types.first_layer(12, "") })
    assert.is_false(link_types.is_known(127))
  end)
end)
