local bytes = require "etherlua.net.bytes"
local dhcp4 = require "etherlua.proto.dhcp4"
local helper = require "support.proto"

-- A discover and an offer from dhcp.pcap, the sample capture of the Wireshark wiki.
local NO_NAMES = ("\0"):rep(10 + 64 + 128)
local DISCOVER = bytes.unhex "01010600 00003d1d 00000000 00000000 00000000 00000000 00000000 000b8201fc42" .. NO_NAMES
  .. bytes.unhex "63825363 350101 3d0701000b8201fc42 320400000000 370401 03062a ff 00000000000000"
local OFFER = bytes.unhex "02010600 00003d1d 00000000 00000000 c0a8000a c0a80001 00000000 000b8201fc42" .. NO_NAMES
  .. bytes.unhex "63825363 350102 0104ffffff00 3a0400000708 3b0400000c4e 330400000e10 3604c0a80001 ff"
  .. ("\0"):rep(26)

local MAC = "aa:bb:cc:11:22:33"

-- The bytes of the options of a message without padding, end option and all.
local function options_of(fields)
  fields.pad = false
  return dhcp4.build(fields):sub(241)
end

-- What comes back for a table of options.
local function reparsed(options, changes)
  local fields = { options = options }
  for name, value in pairs(changes or {}) do fields[name] = value end
  return assert(dhcp4.parse(dhcp4.build(fields)))
end

-- A message with these bytes for options.
local function message_with(option_bytes)
  return dhcp4.build({ pad = false }):sub(1, 240) .. option_bytes
end

describe("dhcp4", function()
  it("reads a discover", function()
    assert.same({ op = 1, htype = 1, hlen = 6, hops = 0, xid = 0x3d1d, secs = 0, flags = 0, broadcast = false,
      ciaddr = "0.0.0.0", yiaddr = "0.0.0.0", siaddr = "0.0.0.0", giaddr = "0.0.0.0", chaddr = "00:0b:82:01:fc:42",
      sname = "", file = "", option_order = { 53, 61, 50, 55 }, pad = 272, options = {
        message_type = "DISCOVER", client_id = "\1\0\x0b\x82\1\xfc\x42", requested_address = "0.0.0.0",
        parameter_request_list = { 1, 3, 6, 42 },
      } }, dhcp4.parse(DISCOVER))
  end)

  it("reads an offer", function()
    local fields = dhcp4.parse(OFFER)
    assert.equal("192.168.0.10", fields.yiaddr)
    assert.equal("192.168.0.1", fields.siaddr)
    assert.same({ message_type = "OFFER", subnet_mask = "255.255.255.0", renewal_time = 1800, rebinding_time = 3150,
      lease_time = 3600, server_id = "192.168.0.1" }, fields.options)
  end)

  it("builds what it has read, order of options and padding too", function()
    assert.equal(DISCOVER, dhcp4.build(dhcp4.parse(DISCOVER)))
    assert.equal(OFFER, dhcp4.build(dhcp4.parse(OFFER)))
    local short = options_of { options = { message_type = "INFORM" } }
    assert.equal(message_with(short), dhcp4.build(dhcp4.parse(message_with(short))))
  end)

  it("pads to the 300 octets of BOOTP unless told otherwise", function()
    local options = { message_type = "DISCOVER" }
    assert.equal(300, #dhcp4.build { options = options })
    assert.equal(244, #dhcp4.build { options = options, pad = false })
    assert.equal(548, #dhcp4.build { options = options, pad = 548 })
    assert.is_nil(reparsed(options).pad)
  end)

  it("sends the message type first, the relay agent's option last, and the others by code", function()
    local order = { message_type = "DISCOVER", relay_agent = { circuit_id = "c" }, subnet_mask = "255.0.0.0",
      vendor_class = "v", [254] = "x", [240] = "y" }
    assert.equal("\53\1\1" .. "\1\4\255\0\0\0" .. "\60\1v" .. "\240\1y" .. "\254\1x" .. "\82\3\1\1c" .. "\255",
      options_of { options = order })
    assert.is_nil(reparsed(order).option_order)
  end)

  it("sends options in a given order, those not listed behind them", function()
    assert.equal("\61\1i\53\1\1\12\1h\60\1v\255", options_of { option_order = { 61, "message_type" },
      options = { message_type = "DISCOVER", host_name = "h", vendor_class = "v", client_id = "i" } })
  end)

  it("follows from the message type whether it is a request or a reply", function()
    local ops = { DISCOVER = 1, OFFER = 2, REQUEST = 1, DECLINE = 1, ACK = 2, NAK = 2, RELEASE = 1, INFORM = 1 }
    for name, op in pairs(ops) do
      assert.equal(op, reparsed({ message_type = name }).op)
    end
    assert.equal(1, reparsed({ message_type = "ACK" }, { op = 1 }).op)
  end)

  it("gives back every field it was given", function()
    helper.comes_back(dhcp4, { op = 2, htype = 32, hlen = 6, hops = 255, xid = 0xffffffff, secs = 65535, flags = 0x8001,
      broadcast = true, ciaddr = "1.2.3.4", yiaddr = "5.6.7.8", siaddr = "9.10.11.12", giaddr = "255.255.255.255",
      chaddr = MAC, sname = ("s"):rep(64), file = ("f"):rep(128), options = {} })
    helper.comes_back(dhcp4, { hlen = 16, chaddr = "raw hardware adr" })
    helper.comes_back(dhcp4, { hlen = 0, chaddr = "" })
  end)

  it("sets the broadcast bit in flags", function()
    assert.equal(0x8000, reparsed({}, { broadcast = true }).flags)
    assert.equal(0x0001, reparsed({}, { broadcast = false, flags = 0x8001 }).flags)
    assert.is_true(reparsed({}, { flags = 0x8000 }).broadcast)
  end)

  it("gives back an option of every type", function()
    local options = {
      message_type = "REQUEST", subnet_mask = "255.255.255.0", time_offset = -3600,
      routers = { "10.0.0.1", "10.0.0.2" }, host_name = "host",
      ip_forwarding = false, router_discovery = true, interface_mtu = 1492, default_ttl = 255,
      lease_time = 0xffffffff, parameter_request_list = { 1, 255 }, client_architecture = { 0, 65535 },
      client_id = "\0\255", rapid_commit = true, user_class = "",
      classless_routes = { { prefix = "0.0.0.0/0", router = "10.0.0.1" },
        { prefix = "10.17.0.0/16", router = "10.0.0.2" }, { prefix = "10.198.122.47/32", router = "10.0.0.3" } },
      relay_agent = { circuit_id = "eth0:100", remote_id = "\0\1", [5] = "\10\0\0\0" }, [224] = "private",
    }
    assert.same(options, reparsed(options).options)
  end)

  it("writes classless routes as RFC 3442 does", function()
    local destinations = bytes.unhex "00 0a000001 08 0a 0a000002 18 0a0000 0a000003 19 0a000080 0a000004"
    local routes = { { prefix = "0.0.0.0/0", router = "10.0.0.1" }, { prefix = "10.0.0.0/8", router = "10.0.0.2" },
      { prefix = "10.0.0.0/24", router = "10.0.0.3" }, { prefix = "10.0.0.128/25", router = "10.0.0.4" } }
    assert.equal("\121" .. string.char(#destinations) .. destinations .. "\255",
      options_of { options = { classless_routes = routes } })
    assert.same(routes, dhcp4.parse(message_with("\121" .. string.char(#destinations) .. destinations .. "\255"))
      .options.classless_routes)
  end)

  it("keeps unknown message types as numbers", function()
    assert.equal(9, reparsed({ message_type = 9 }).options.message_type)
    assert.equal("ACK", reparsed({ message_type = 5 }).options.message_type)
  end)

  it("keeps an option whose bytes do not fit its type as raw bytes under its code", function()
    local bad = { [1] = "\255\255\255", [3] = "12345", [6] = "", [26] = "1", [19] = "\2", [51] = "", [53] = "",
      [55] = "", [80] = "x", [93] = "123", [121] = "\33\1\1\1\1\1\1\1\1\1", [82] = "\1\9x" }
    assert.same(bad, reparsed(bad).options)
    assert.same({ [82] = "\1\1a\1\1b" }, reparsed({ [82] = "\1\1a\1\1b" }).options)
    assert.same({ [121] = "\8\10\1\2\3" }, reparsed({ [121] = "\8\10\1\2\3" }).options)
  end)

  it("drops the NULs that some put behind a text (RFC 2132 section 2)", function()
    assert.equal("name", reparsed({ [15] = "name\0\0" }).options.domain_name)
  end)

  it("splits an option longer than 255 octets and joins it again (RFC 3396)", function()
    for _, size in ipairs { 255, 256, 510, 511, 1000 } do
      local long = ("0123456789"):rep(100):sub(1, size)
      assert.equal(long, reparsed({ client_id = long, host_name = "h" }).options.client_id)
    end
    assert.equal("\61\255" .. ("x"):rep(255) .. "\61\1x\255", options_of { options = { client_id = ("x"):rep(256) } })
  end)

  it("joins the parts of an option before it looks at their type (RFC 3396)", function()
    local fields = dhcp4.parse(message_with "\51\1\0\12\1h\51\3\0\14\16\255")
    assert.same({ lease_time = 3600, host_name = "h" }, fields.options)
  end)

  it("skips padding between options", function()
    assert.same({ host_name = "h" }, dhcp4.parse(message_with "\0\0\12\1h\0\255").options)
  end)

  it("reads a name up to its NUL", function()
    local message = DISCOVER:sub(1, 44) .. "server\0junk" .. DISCOVER:sub(56)
    assert.equal("server", dhcp4.parse(message).sname)
  end)
end)

describe("dhcp4 option overload (RFC 2131 section 4.1)", function()
  local OPTIONS = { message_type = "ACK", host_name = ("h"):rep(50), root_path = ("r"):rep(100),
    server_id = "10.0.0.1" }

  it("reads options, then file, then sname, and joins over them (RFC 3396 section 5)", function()
    local base = message_with "\52\1\3\12\2ab\255"
    local sname = "\12\2ef\255" .. ("\0"):rep(59)
    local file = "\12\2cd\17\1r\255" .. ("\0"):rep(120)
    local fields = dhcp4.parse(base:sub(1, 44) .. sname .. file .. base:sub(237))
    assert.same({ host_name = "abcdef", root_path = "r" }, fields.options)
    assert.same({ "both", "", "" }, { fields.overload, fields.file, fields.sname })
  end)

  it("needs no end option in a field that is full", function()
    local base = message_with "\52\1\2\255"
    local fields = dhcp4.parse(base:sub(1, 44) .. "\12\62" .. ("h"):rep(62) .. base:sub(109))
    assert.equal(("h"):rep(62), fields.options.host_name)
  end)

  it("refuses an option that leaves its field", function()
    local base = message_with "\52\1\2\255"
    local too_long = "\12\63" .. ("h"):rep(62)
    helper.refuses(dhcp4, base:sub(1, 44) .. too_long .. base:sub(109), "dhcp4: option 12 is cut short")
    helper.refuses(dhcp4, base:sub(1, 107) .. "\12" .. base:sub(109), "dhcp4: option 12 is cut short")
  end)

  it("puts options where it was told", function()
    for name, code in pairs { file = 1, sname = 2, both = 3 } do
      local message = dhcp4.build { options = OPTIONS, overload = name }
      assert.equal("\53\1\5\52\1" .. string.char(code), message:sub(241, 246))
      local fields = dhcp4.parse(message)
      assert.same(OPTIONS, fields.options)
      assert.equal(name, fields.overload)
      assert.equal(message, dhcp4.build(fields))
    end
    assert.equal("both", reparsed(OPTIONS, { overload = true }).overload)
  end)

  it("fills a field to its last octet and not further", function()
    for size = 58, 64 do
      local options = { message_type = "ACK", host_name = ("h"):rep(size) }
      local message = dhcp4.build { options = options, overload = "sname", pad = false }
      -- Code, length and the end option take three of the 64 octets of sname; what does not fit stays outside.
      assert.equal(size <= 61 and 247 or 249 + size, #message)
      assert.same(options, dhcp4.parse(message).options)
    end
  end)

  it("happens by itself when the message gets longer than max_size", function()
    local whole = #dhcp4.build { options = OPTIONS, pad = false }
    assert.is_nil(reparsed(OPTIONS, { max_size = whole }).overload)
    local message = dhcp4.build { options = OPTIONS, max_size = whole - 1, pad = false }
    assert.is_true(#message < whole)
    assert.same(OPTIONS, dhcp4.parse(message).options)
  end)

  it("leaves a name that is in use alone", function()
    local fields = reparsed(OPTIONS, { max_size = 402, file = "pxelinux.0" })
    assert.same({ "sname", "pxelinux.0" }, { fields.overload, fields.file })
    assert.same(OPTIONS, fields.options)
    helper.raises("file or sname is given", dhcp4.build, { options = OPTIONS, overload = "file", file = "x" })
    helper.raises("file or sname is given", dhcp4.build, { options = OPTIONS, overload = true, sname = "x" })
  end)

  it("can be forbidden, and a message that is too long is refused", function()
    helper.raises("does not fit in max_size 300", dhcp4.build, { options = OPTIONS, max_size = 300, overload = false })
    helper.raises("does not fit in max_size 300", dhcp4.build,
      { options = { client_id = ("x"):rep(400) }, max_size = 300 })
    helper.raises('bad overload "yes"', dhcp4.build, { overload = "yes" })
  end)

  it("works without any option", function()
    assert.same({}, reparsed({}, { overload = "both" }).options)
  end)

  it("of an unknown kind is kept as an option", function()
    assert.same({ [52] = "\9" }, dhcp4.parse(message_with "\52\1\9\255").options)
  end)
end)

describe("dhcp4 on a hostile wire", function()
  -- Lengths at which an option ends: an end option may be missing there.
  local function ends_of(message)
    local whole, at = {}, 241
    while message:byte(at) ~= 255 do
      whole[at - 1] = true
      at = at + 2 + message:byte(at + 1)
    end
    whole[at - 1] = true
    return whole
  end

  it("refuses every message that was cut within the header or an option", function()
    -- Behind the end option there is only padding.
    helper.refuses_truncation(dhcp4, "dhcp4", DISCOVER:sub(1, 265), ends_of(DISCOVER))
    helper.refuses_truncation(dhcp4, "dhcp4", OFFER:sub(1, 274), ends_of(OFFER))
  end)

  it("refuses messages that are none", function()
    helper.refuses(dhcp4, DISCOVER:sub(1, 236) .. "\1\2\3\4\255", "dhcp4: no magic cookie")
    helper.refuses(dhcp4, DISCOVER:sub(1, 239), "dhcp4: 239 of 240 header bytes")
    helper.refuses(dhcp4, message_with "\12\5h\255", "dhcp4: option 12 is cut short")
    helper.refuses(dhcp4, "\1\1\17" .. DISCOVER:sub(4), "dhcp4: hlen 17 is over 16")
  end)

  it("survives flipped bytes", function()
    helper.survives_flips(dhcp4, DISCOVER)
    helper.survives_flips(dhcp4, OFFER)
  end)

  it("survives fuzzing", function()
    local overloaded = dhcp4.build { overload = true, options = { message_type = "ACK", host_name = ("h"):rep(50),
      relay_agent = { circuit_id = "c", [9] = "x" },
      classless_routes = { { prefix = "10.0.0.0/9", router = "10.0.0.1" } } } }
    assert.is_true(helper.survives_fuzzing(dhcp4, { DISCOVER, OFFER, overloaded }) > 1000)
  end)

  it("does not print control characters from the wire", function()
    local line = dhcp4.describe(reparsed { message_type = "NAK", message = "no\n\27[31m" })
    assert.equal("DHCP NAK xid 0x00000000 00:00:00:00:00:00 message no..[31m", line)
  end)
end)

describe("dhcp4 misuse", function()
  it("of the header raises an error that names the field", function()
    helper.raises('bad dhcp4 chaddr "x": a MAC address', dhcp4.build, { chaddr = "x" })
    helper.raises("bad dhcp4 chaddr: 17 octets given, at most 16", dhcp4.build, { hlen = 16, chaddr = ("x"):rep(17) })
    helper.raises('bad dhcp4 giaddr "::1": an IPv4 address', dhcp4.build, { giaddr = "::1" })
    helper.raises("bad dhcp4 xid 4294967296", dhcp4.build, { xid = 2 ^ 32 })
    helper.raises("bad dhcp4 flags 65536", dhcp4.build, { flags = 65536 })
    helper.raises("bad dhcp4 sname: 65 octets given, at most 64", dhcp4.build, { sname = ("x"):rep(65) })
    helper.raises("bad dhcp4 file: 129 octets given, at most 128", dhcp4.build, { file = ("x"):rep(129) })
  end)

  local WRONG = {
    { "message_type", "HELLO", "0 to 255 or one of DISCOVER, OFFER" },
    { "subnet_mask", "255", "an IPv4 address" },
    { "routers", "10.0.0.1", "a table with at least one value" },
    { "routers", {}, "a table with at least one value" },
    { "dns_servers", { "x" }, "an IPv4 address" },
    { "lease_time", -1, "0 to 4294967295" },
    { "time_offset", 2 ^ 31, "-2147483648 to 2147483647" },
    { "interface_mtu", 65536, "0 to 65535" },
    { "parameter_request_list", { 256 }, "0 to 255" },
    { "host_name", 7, "a string is needed" },
    { "ip_forwarding", 1, "true or false" },
    { "rapid_commit", false, "true is the only value" },
    { "classless_routes", { { prefix = "10.0.0.0", router = "10.0.0.1" } }, "a prefix such as" },
    { "classless_routes", { { prefix = "10.0.0.0/33", router = "10.0.0.1" } }, "0 to 32" },
    { "classless_routes", { { prefix = "10.0.0.0/8" } }, "an IPv4 address" },
    { "relay_agent", { circuit = "x" }, "0 to 255" },
    { "relay_agent", { circuit_id = ("x"):rep(256) }, "at most 255" },
  }

  it("of an option raises an error that names it and what is allowed", function()
    for _, case in ipairs(WRONG) do
      local name, value, allowed = unpack(case)
      helper.raises("bad DHCP option " .. name, dhcp4.build, { options = { [name] = value } })
      helper.raises(allowed, dhcp4.build, { options = { [name] = value } })
    end
    helper.raises("bad DHCP option 43 7: a string", dhcp4.build, { options = { [43] = 7 } })
  end)

  it("of a name or code raises an error that lists the names", function()
    helper.raises('unknown DHCP option "nosuch": a code from 1 to 254 is needed, or one of arp_timeout, ',
      dhcp4.build, { options = { nosuch = "x" } })
    helper.raises('unknown DHCP option "hostname", did you mean "host_name"? a code from 1 to 254 is needed, or one',
      dhcp4.build, { options = { hostname = "x" } })
    for _, code in ipairs { 0, 255, 1.5, -1 } do
      helper.raises("unknown DHCP option", dhcp4.build, { options = { [code] = "x" } })
    end
    helper.raises("option 12 is given twice", dhcp4.build, { options = { [12] = "x", host_name = "y" } })
  end)
end)

describe("dhcp4.option_codes", function()
  it("has the codes of all names", function()
    assert.equal(121, dhcp4.option_codes.classless_routes)
    for name, code in pairs(dhcp4.option_codes) do
      assert.is_true(code >= 1 and code <= 254)
      -- A function is a value of no type.
      helper.raises("bad DHCP option " .. name, dhcp4.build, { options = { [name] = print } })
    end
  end)
end)

describe("dhcp4.describe", function()
  it("says what matters in one line", function()
    assert.equal("DHCP DISCOVER xid 0x12345678 aa:bb:cc:11:22:33 requested 10.0.0.5 host h", dhcp4.describe(
      reparsed({ message_type = "DISCOVER", requested_address = "10.0.0.5", host_name = "h" },
        { xid = 0x12345678, chaddr = MAC })))
    assert.equal("DHCP OFFER xid 0x00003d1d 00:0b:82:01:fc:42 address 192.168.0.10 server 192.168.0.1 lease 3600",
      dhcp4.describe(dhcp4.parse(OFFER)))
    assert.equal("DHCP RELEASE xid 0x00000000 00:00:00:00:00:00 ciaddr 10.0.0.5 relay 10.0.0.1",
      dhcp4.describe(reparsed({ message_type = "RELEASE" }, { ciaddr = "10.0.0.5", giaddr = "10.0.0.1" })))
    assert.equal("DHCP type 42 xid 0x00000000 0102", dhcp4.describe(reparsed({ message_type = 42 },
      { hlen = 2, chaddr = "\1\2" })))
    assert.equal("DHCP BOOTREPLY xid 0x00000000 00:00:00:00:00:00", dhcp4.describe(reparsed({}, { op = 2 })))
  end)
end)
