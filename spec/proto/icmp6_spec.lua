local bytes = require "etherlua.net.bytes"
local icmp6 = require "etherlua.proto.icmp6"
local helper = require "support.proto"

-- As sent by Linux, with the addresses that their checksums cover.
local ECHO = bytes.unhex "8000 5c63 1234 0001 65746865726c7561"
local SOLICITATION = bytes.unhex "8700 1c27 00000000 20010db8000000000000000000000002 0101020000000001"
local ADVERTISEMENT = bytes.unhex "8800 8a71 60000000 20010db8000000000000000000000002 0201020000000002"
local DAD_WITH_NONCE = bytes.unhex "8700 ebd8 00000000 20010db8000000000000000000000002 0e0150aa542aae34"

local MAC = "02:00:00:00:00:01"

local PREFIXES = {
  { type = 3, prefix_length = 64, on_link = true, autonomous = false, reserved = 33, valid_lifetime = 0xffffffff,
    preferred_lifetime = 14400, prefix = "2001:db8::" },
  { type = 5, mtu = 9000 },
  { type = 25, lifetime = 1800, servers = { "2001:db8::53", "fe80::53" } },
  { type = 31, data = "\0\0\0\0\0\9\3lab\0\0\0\0" },
}

local ENDS = {
  [ECHO] = { src = "2001:db8::1", dst = "2001:db8::2" },
  [SOLICITATION] = { src = "2001:db8::1", dst = "ff02::1:ff00:2" },
  [ADVERTISEMENT] = { src = "2001:db8::2", dst = "2001:db8::1" },
  [DAD_WITH_NONCE] = { src = "::", dst = "ff02::1:ff00:2" },
}

describe("icmp6", function()
  it("reads an echo request", function()
    assert.same({ type = 128, code = 0, checksum = 0x5c63, identifier = 0x1234, sequence = 1, payload = "etherlua" },
      icmp6.parse(ECHO))
  end)

  it("reads a neighbour solicitation (RFC 4861 section 4.3)", function()
    assert.same({ type = 135, code = 0, checksum = 0x1c27, target = "2001:db8::2",
      source_link_layer_address = "02:00:00:00:00:01", options = {} }, icmp6.parse(SOLICITATION))
  end)

  it("reads a neighbour advertisement (RFC 4861 section 4.4)", function()
    assert.same({ type = 136, code = 0, checksum = 0x8a71, router = false, solicited = true, override = true,
      target = "2001:db8::2", target_link_layer_address = "02:00:00:00:00:02", options = {} },
      icmp6.parse(ADVERTISEMENT))
  end)

  it("keeps unknown options, and link-layer addresses that are no MAC", function()
    assert.same({ { type = 14, data = bytes.unhex "50aa542aae34" } }, icmp6.parse(DAD_WITH_NONCE).options)
    local long = { type = 1, data = ("a"):rep(14) }
    local fields = icmp6.parse(icmp6.build({ type = 135, target = "fe80::1", options = { long } }, ENDS[ECHO]))
    assert.same({ long }, fields.options)
    assert.is_nil(fields.source_link_layer_address)
  end)

  it("builds what it has read, with a checksum of its own too", function()
    for message, ends in pairs(ENDS) do
      local fields = icmp6.parse(message)
      assert.equal(message, icmp6.build(fields))
      fields.checksum = nil
      assert.equal(message, icmp6.build(fields, ends))
    end
  end)

  it("gives back every field it was given", function()
    helper.comes_back(icmp6, { type = 136, code = 0, checksum = 1, router = true, solicited = false, override = false,
      target = "fe80::1", source_link_layer_address = "02:00:00:00:00:01",
      target_link_layer_address = "02:00:00:00:00:02", options = { { type = 99, data = "abcdef" } } })
    helper.comes_back(icmp6, { type = 2, code = 0, mtu = 1280, payload = "x" }, ENDS[ECHO])
  end)

  it("tells a right checksum from a wrong one", function()
    for message, ends in pairs(ENDS) do
      assert.is_true(icmp6.checksum_ok(message, ends))
      assert.is_false(icmp6.checksum_ok(message, { src = "::7", dst = ends.dst }))
      assert.is_false(icmp6.checksum_ok(message:sub(1, 7), ends))
    end
  end)

  it("gives back every field of a router's messages (RFC 4861 sections 4.1, 4.2, 4.5)", function()
    helper.comes_back(icmp6, { type = 133, code = 0, source_link_layer_address = MAC, options = {}, reserved = 7 },
      ENDS[ECHO])
    helper.comes_back(icmp6, { type = 134, code = 0, cur_hop_limit = 64, managed = true, other = false,
      home_agent = true, preference = 3, reserved = 5, router_lifetime = 0xffff, reachable_time = 0xffffffff,
      retrans_timer = 1000, options = PREFIXES }, ENDS[ECHO])
    helper.comes_back(icmp6, { type = 137, code = 0, target = "fe80::1", destination = "2001:db8::9",
      target_link_layer_address = MAC, options = { { type = 4, packet = ECHO .. ECHO } } }, ENDS[ECHO])
  end)

  it("gives back routes of every length, with the octets of the prefix that they have (RFC 4191 2.3)", function()
    local routes = { { type = 24, prefix = "::", prefix_length = 0, preference = 3, lifetime = 0xffffffff },
      { type = 24, prefix = "2001:db8:9::", prefix_length = 48, preference = 1, lifetime = 1800, reserved = 7 },
      { type = 24, prefix = "2001:db8:9::7", prefix_length = 128, preference = 0, lifetime = 0, reserved2 = 7 },
      { type = 24, prefix = "2001:db8:9::7", prefix_length = 64, preference = 0, lifetime = 1, octets = 16 },
      { type = 24, prefix = "::", prefix_length = 0, preference = 2, lifetime = 1, octets = 8 } }
    helper.comes_back(icmp6, { type = 134, options = routes }, ENDS[ECHO])
    local short, long = "\65\0\0\0\0\1" .. ("\1"):rep(8), "\129\0\0\0\0\1" .. ("\1"):rep(16)
    assert.same({ { type = 24, data = short }, { type = 24, data = long } }, icmp6.parse(icmp6.build({ type = 134,
      options = { { type = 24, data = short }, { type = 24, data = long } } }, ENDS[ECHO])).options)
    assert.matches(" route ::/0 route 2001:db8:9::/48", icmp6.describe(icmp6.parse(icmp6.build({ type = 134,
      options = routes }, ENDS[ECHO]))))
  end)

  it("keeps the place of a link-layer address that is not in front, and further ones", function()
    local message = { type = 134, source_link_layer_address = MAC, target_link_layer_address = MAC,
      options = { { type = 5, mtu = 1500 }, { type = 1 }, { type = 1, data = "second" }, { type = 2 } } }
    local built = icmp6.build(message, ENDS[ECHO])
    assert.equal("0501 0000 000005dc 0101 020000000001 0101 7365636f6e64 0201 020000000001", (bytes.hex(built:sub(17))
      :gsub("^(....)(....)(........)(....)(............)(....)(............)(....)", "%1 %2 %3 %4 %5 %6 %7 %8 ")))
    helper.comes_back(icmp6, message, ENDS[ECHO])
  end)

  it("keeps the data of a known option that does not fit its type", function()
    local odd = { { type = 3, data = ("p"):rep(22) }, { type = 5, data = ("m"):rep(14) },
      { type = 25, data = ("r"):rep(30) }, { type = 4, data = "reserved octets" .. ("x"):rep(7) } }
    local fields = helper.comes_back(icmp6, { type = 133, options = odd }, ENDS[ECHO])
    assert.equal(#odd, #fields.options)
  end)

  it("names the module of the packet that an error quotes, and of nothing else", function()
    for number = 0, 255 do
      local is_error = number >= 1 and number <= 4
      local name, note = icmp6.child { type = number }
      assert.same(is_error and { "ipv6", "quoted" } or {}, { name, note })
    end
  end)

  it("refuses every truncated message", function()
    local redirect = icmp6.build({ type = 137, target = "fe80::1", destination = "fe80::2" }, ENDS[ECHO])
    helper.refuses_truncation(icmp6, "icmp6", redirect)
    local advertised = icmp6.build({ type = 134, options = PREFIXES }, ENDS[ECHO])
    helper.refuses_truncation(icmp6, "icmp6", advertised, { [16] = true, [48] = true, [56] = true, [96] = true })
    helper.refuses_truncation(icmp6, "icmp6", ECHO:sub(1, 8))
    -- At 24 bytes the message is whole, without an option.
    helper.refuses_truncation(icmp6, "icmp6", SOLICITATION, { [24] = true })
    helper.refuses_truncation(icmp6, "icmp6", ADVERTISEMENT, { [24] = true })
  end)

  it("refuses an option of length zero (RFC 4861 section 4.6)", function()
    helper.refuses(icmp6, SOLICITATION:sub(1, 25) .. "\0" .. SOLICITATION:sub(27), "icmp6: option 1 has length 0")
  end)

  it("survives flipped bytes and fuzzing", function()
    for message in pairs(ENDS) do helper.survives_flips(icmp6, message) end
    local advertised = icmp6.build({ type = 134, source_link_layer_address = MAC, options = PREFIXES }, ENDS[ECHO])
    helper.survives_flips(icmp6, advertised)
    local all = { advertised, ECHO, SOLICITATION, ADVERTISEMENT, DAD_WITH_NONCE }
    assert.is_true(helper.survives_fuzzing(icmp6, all) > 1000)
  end)

  it("refuses to build from bad values", function()
    helper.raises("bad icmp type 256", icmp6.build, { type = 256 }, ENDS[ECHO])
    helper.raises("needs a context", icmp6.build, { type = 128 })
    helper.raises('bad icmp6 target "10.0.0.1"', icmp6.build, { type = 135, target = "10.0.0.1" }, ENDS[ECHO])
    helper.raises('bad icmp6 source_link_layer_address "x"', icmp6.build,
      { type = 135, target = "fe80::1", source_link_layer_address = "x" }, ENDS[ECHO])
    helper.raises("bad icmp6 option type nil", icmp6.build, { type = 135, target = "fe80::1", options = { {} } },
      ENDS[ECHO])
    helper.raises("bad icmp6 option length", icmp6.build,
      { type = 135, target = "fe80::1", options = { { type = 1, data = ("x"):rep(2040) } } }, ENDS[ECHO])
  end)

  it("describes what it knows by name and the rest by number", function()
    assert.equal("ICMPv6 echo request id 4660 seq 1", icmp6.describe(icmp6.parse(ECHO)))
    assert.equal("ICMPv6 neighbour solicitation who-has 2001:db8::2", icmp6.describe(icmp6.parse(SOLICITATION)))
    assert.equal("ICMPv6 neighbour advertisement 2001:db8::2 is-at 02:00:00:00:00:02 solicited override",
      icmp6.describe(icmp6.parse(ADVERTISEMENT)))
    assert.equal("ICMPv6 packet too big mtu 1280", icmp6.describe { type = 2, code = 0, mtu = 1280 })
    assert.equal("ICMPv6 router advertisement lifetime 1800 other 2001:db8::/64", icmp6.describe(icmp6.parse(
      icmp6.build({ type = 134, other = true, router_lifetime = 1800, options = PREFIXES }, ENDS[ECHO]))))
    assert.equal("ICMPv6 redirect fe80::2 to fe80::1",
      icmp6.describe { type = 137, code = 0, target = "fe80::1", destination = "fe80::2" })
    assert.equal("ICMPv6 parameter problem (next header) at 6", icmp6.describe { type = 4, code = 1, pointer = 6 })
    assert.equal("ICMPv6 type 200 code 1", icmp6.describe { type = 200, code = 1 })
  end)

  it("knows the group that a neighbour is asked for in", function()
    assert.same({ "ff02::1:ff28:9c5a", "33:33:ff:28:9c:5a" }, { icmp6.solicited_node "fe80::2aa:ff:fe28:9c5a" })
    helper.raises('bad address "10.0.0.1"', icmp6.solicited_node, "10.0.0.1")
  end)
end)
