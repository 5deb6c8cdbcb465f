-- What is given as a field or an option of a packet has the shape that the field has: a list is a list, without holes
-- and names, and a struct has the names that it has. Anything else would be left out in silence, so it is an error that
-- says what was given and what is allowed; when packets are built, and in patterns that they are compared with.

local dhcp4 = require "etherlua.proto.dhcp4"
local helper = require "support.proto"
local match = require "etherlua.proto.match"
local packet = require "etherlua.proto.packet"
local packets = require "support.packets"
local proto = require "etherlua.proto"

local ROUTE = { prefix = "10.0.0.0/8", router = "10.0.0.1" }

-- Layer, fields that have to be wrong alike in a layer, when it is built, and in a pattern; part of the error.
local WRONG = {
  -- lists with names, and what stands for a list
  { "dhcp4", { options = { routers = { ip = "10.0.0.1" } } },
    'bad DHCP option routers { ip = "10.0.0.1" }: a table with at least one value is needed, a list such as ' },
  { "dhcp4", { options = { routers = "10.0.0.1" } }, "bad DHCP option routers 10.0.0.1: a table with at least one" },
  { "dhcp4", { options = { routers = {} } }, "bad DHCP option routers {}: a table with at least one value is needed" },
  { "dhcp4", { options = { dns_servers = { "10.0.0.1", second = "10.0.0.2" } } },
    'bad DHCP option dns_servers { "10.0.0.1", second = "10.0.0.2" }: ' },
  { "dhcp4", { options = { parameter_request_list = 3 } }, "bad DHCP option parameter_request_list 3: " },
  { "dhcp4", { options = { client_architecture = { { 7 } } } }, "bad DHCP option client_architecture { { 7 } }: " },
  { "dhcp4", { options = { classless_routes = ROUTE } }, "bad DHCP option classless_routes { prefix = " },
  { "dhcp4", { options = { classless_routes = { "10.0.0.0/8" } } }, "a list such as { { prefix = " },
  { "dhcp4", { options = "message_type" }, "bad options message_type of dhcp4: a table of options by name or code" },
  { "dhcp4", { option_order = { first = 53 } }, "bad option_order { first = 53 } of dhcp4: a list of names or codes" },
  { "dhcp4", { options = { static_routes = { { prefix = "10.0.0.5", router = "10.0.0.1" } } } },
    'unknown field "prefix" of a static route: known are: destination, router' },
  { "dhcp4", { option_bytes = { [61] = "ab" } }, "bad option_bytes ab of 61: a list of the bytes of each part is " },
  { "dhcp4", { option_bytes = "ab" }, "bad option_bytes ab of dhcp4: a table by code is needed" },
  { "ethernet", { vlans = { vid = 100 } }, "bad vlans { vid = 100 } of ethernet: a list of VLAN IDs or tags is " },
  { "ethernet", { vlans = 100 }, "bad vlans 100 of ethernet: a list of VLAN IDs or tags is needed, such as { 100, " },
  { "ethernet", { vlans = "100.200" }, "bad vlans 100.200 of ethernet: " },
  { "ethernet", { vlans = { "100" } }, 'bad vlans { "100" } of ethernet: ' },
  { "ipv4", { options = { type = 148, data = "\0\0" } }, "bad options { data = " },
  { "ipv4", { options = { 148 } }, "bad options { 148 } of ipv4: a list of options is needed, such as { { type = 7, " },
  { "ipv4", { options = 148 }, "bad options 148 of ipv4: " },
  { "tcp", { options = { type = 2 } }, "bad options { type = 2 } of tcp: a list of options is needed" },
  { "tcp", { options = { "mss" } }, 'bad options { "mss" } of tcp: ' },
  { "ipv6", { extension_headers = { type = 0 } }, "bad extension_headers { type = 0 } of ipv6: a list of extension " },
  { "ipv6", { extension_headers = "\0" }, "bad extension_headers" },
  { "ipv6", { extension_headers = { { type = 60, options = { type = 5 } } } }, "bad options { type = 5 } of ipv6 " },
  { "icmp6", { options = { type = 5, mtu = 1500 } }, "bad options { mtu = 1500, type = 5 } of icmp6: a list of " },
  { "icmp6", { options = { { type = 25, servers = "2001:db8::1" } } }, "bad servers 2001:db8::1 of icmp6 option 25: " },
  { "icmp6", { options = { { type = 25, servers = { one = "::1" } } } }, 'bad servers { one = "::1" } of icmp6 op' },
  -- holes
  { "dhcp4", { options = { routers = { nil, "10.0.0.1" } } }, "bad DHCP option routers { [2] = " },
  { "dhcp4", { options = { routers = { "10.0.0.1", nil, "10.0.0.3", x = 1 } } }, "bad DHCP option routers { " },
  { "ethernet", { vlans = { [2] = 100 } }, "bad vlans { [2] = 100 } of ethernet: " },
  { "ethernet", { vlans = { [0] = 100 } }, "bad vlans { [0] = 100 } of ethernet: " },
  { "ethernet", { vlans = { [1.5] = 100 } }, "bad vlans { [1.5] = 100 } of ethernet: " },
  { "tcp", { options = { { type = 1 }, nil, { type = 1 } } }, "bad options" },
  { "ipv6", { extension_headers = { nil, { type = 0 } } }, "bad extension_headers" },
  -- names in structs
  { "dhcp4", { options = { relay_agent = { circuit = "x" } } },
    'bad DHCP option relay_agent sub-option "circuit", did you mean "circuit_id"?: circuit_id, remote_id, order or ' },
  { "dhcp4", { options = { relay_agent = { [256] = "x" } } }, "or a code, 0 to 255, is allowed" },
  { "dhcp4", { options = { relay_agent = "x" } }, "bad DHCP option relay_agent x: a table with at least one value " },
  { "dhcp4", { options = { relay_agent = {} } }, "bad DHCP option relay_agent {}: a table with at least one value " },
  { "dhcp4", { options = { relay_agent = { circuit_id = { 1 } } } }, "bad DHCP option relay_agent sub-option { 1 }: " },
  { "dhcp4", { options = { relay_agent = { circuit_id = "x", order = { a = 1 } } } }, "bad order { a = 1 } of DHCP o" },
  { "dhcp4", { options = { classless_routes = { { net = "10.0.0.0/8", router = "10.0.0.1" } } } },
    'unknown field "net" of a route: known are: prefix, router' },
  { "ethernet", { vlans = { { vlan = 100 } } }, 'unknown field "vlan" of a VLAN tag: known are: dei, pcp, tpid, vid' },
  { "tcp", { options = { { type = 2, mss = 1460 } } }, 'unknown field "mss" of an option: known are: data, type' },
  { "ipv6", { extension_headers = { { type = 44, options = {} } } },
    'unknown field "options" of ipv6 extension header 44: known are: data, fragment_offset, identification, ' },
  { "icmp6", { options = { { type = 5, prefix = "2001:db8::" } } },
    'unknown field "prefix" of icmp6 option 5: known are: data, mtu, ' },
  { "icmp6", { options = { { type = 14, mtu = 5 } } }, 'unknown field "mtu" of an icmp6 option without fields of ' },
}

-- A table where one value is meant: in patterns, which would never match; building has its own words.
local SINGLE = {
  { "ethernet", { dst = { "02:00:00:00:00:01" } } }, { "arp", { op = { 1 } } }, { "ipv4", { src = { "10.0.0.1" } } },
  { "ipv6", { hop_limit = {} } }, { "udp", { dst_port = { 53, 67 } } }, { "tcp", { syn = {} } },
  { "icmp", { type = { 8 } } }, { "icmp6", { router_lifetime = {} } }, { "dhcp4", { xid = {} } },
  { "dhcp4", { options = { lease_time = { 3600 } } } }, { "dhcp4", { options = { [43] = { 1, 2 } } } },
  { "dhcp4", { options = { message_type = { "ACK" } } } },
}

-- What a layer needs besides, to be built alone.
local NEEDED = {
  dhcp4 = {}, ethernet = { dst = "02:00:00:00:00:01", src = "02:00:00:00:00:02", ethertype = 0x0800 },
  arp = {}, ipv4 = { src = "10.0.0.1", dst = "10.0.0.2", protocol = 17 }, udp = { src_port = 1, dst_port = 2 },
  ipv6 = { src = "2001:db8::1", dst = "2001:db8::2", protocol = 17 },
  tcp = { src_port = 1, dst_port = 2, checksum = 0 },
  icmp = { type = 8 }, icmp6 = { type = 134, checksum = 0 },
}

local function with(needed, fields)
  local all = {}
  for _, given in ipairs { needed, fields } do
    for name, value in pairs(given) do all[name] = value end
  end
  return all
end

describe("a field of another shape than it has", function()
  for i, case in ipairs(WRONG) do
    local layer, fields, words = unpack(case)
    it(("is an error in a packet and in a pattern, with what is allowed: %d, %s"):format(i, layer), function()
      helper.raises(words, proto[layer].build, with(NEEDED[layer], fields))
      helper.raises(words, packet[layer], fields)
      helper.raises(words, match.compile, { [layer] = fields })
    end)
  end

  it("is an error where one value is meant, too", function()
    for _, case in ipairs(SINGLE) do
      local layer, fields = unpack(case)
      helper.raises("bad ", proto[layer].build, with(NEEDED[layer], fields))
      helper.raises("bad ", match.compile, { [layer] = fields })
    end
    helper.raises("bad tcp syn {}: true or false is allowed", proto.tcp.build, with(NEEDED.tcp, { syn = {} }))
    helper.raises("bad ipv4 df yes: true or false is allowed", proto.ipv4.build, with(NEEDED.ipv4, { df = "yes" }))
    helper.raises("bad dst_port { 53, 67 } of udp: a single value is needed", match.compile,
      { udp = { dst_port = { 53, 67 } } })
    helper.raises("bad DHCP option lease_time { 3600 }: a single value is needed", match.compile,
      { dhcp4 = { options = { lease_time = { 3600 } } } })
  end)

  it("is an error of the pattern for either version of IP, as well", function()
    helper.raises("bad options { type = 7 } of ip: a list of options", match.compile,
      { ip = { options = { type = 7 } } })
    helper.raises("bad extension_headers 0 of ip: ", match.compile, { ip = { extension_headers = 0 } })
  end)

  it("is an error of a layer that is neither fields nor a function", function()
    for _, value in ipairs { true, 5, "10.0.0.1" } do
      helper.raises("of layer ipv4: a table of fields, false or a function is needed", match.compile, { ip4 = value })
    end
  end)

  it("is a VLAN stack that would be no tags at all", function()
    local vlan_stack = require "etherlua.net.vlan_stack"
    helper.raises("bad VLAN stack { pcp = 5 }: a list of VLAN IDs or tags is needed", vlan_stack.new, { pcp = 5 })
    helper.raises("bad VLAN stack { [2] = 100 }: ", vlan_stack.new, { nil, 100 })
    assert.equal("100", tostring(vlan_stack.new { vid = 100 }))
  end)
end)

describe("a field of the shape that it has", function()
  it("is what parsers read, of all kinds of packets, in packets and in patterns", function()
    local count = 0
    for what, one in pairs(packets.all()) do
      local frame = one:build()
      for _, layer in ipairs(proto.dissect(frame)) do
        if not proto.ends[layer.name] then
          proto[layer.name].fields:check(layer.fields)
          assert.is_nil(match.difference({ [layer.name] = match.decode(frame)[layer.name] }, match.decode(frame)), what)
          count = count + 1
        end
      end
    end
    assert.is_true(count > 100)
  end)

  it("may be a function or false in a pattern, and a list of bytes where it can be built from them", function()
    local function anything() return true end
    match.compile { ethernet = { vlans = { 100, anything } }, ip4 = { options = false }, tcp = { options = anything },
      icmp6 = { options = { anything } }, dhcp4 = { options = { routers = anything, classless_routes = { anything },
        relay_agent = { circuit_id = anything, remote_id = false, order = false }, [43] = anything, [12] = false } } }
    assert.equal(24, #proto.ipv4.build(with(NEEDED.ipv4, { options = "\1\1" })))
    assert.equal(proto.ipv4.build(NEEDED.ipv4), proto.ipv4.build(with(NEEDED.ipv4, { options = {}, df = 0 })))
    helper.raises("bad options \\x01 of ipv4: a list of options", match.compile, { ip4 = { options = "\1" } })
  end)

  it("is a list in a pattern that has to be of the same length, and a struct of which some is said", function()
    local frame = match.decode((packet.ether { dst = "02:00:00:00:00:01", src = "02:00:00:00:00:02" }
      / packet.ip4 { dst = "255.255.255.255" } / packet.udp {} / packet.dhcp4 { options = { message_type = "DISCOVER",
        routers = { "10.0.0.1", "10.0.0.2" }, relay_agent = { circuit_id = "c", remote_id = "r" } } }):build())
    assert.is_nil(match.difference({ dhcp4 = { options = { relay_agent = { remote_id = "r" } } } }, frame))
    assert.is_nil(match.difference({ dhcp4 = { options = { routers = { "10.0.0.1", "10.0.0.2" } } } }, frame))
    assert.is_string(match.difference({ dhcp4 = { options = { routers = { "10.0.0.1" } } } }, frame))
  end)
end)

describe("the option of relay agents", function()
  local function raw_of(message)
    local at = message:find("\82", 241, true)
    return message:sub(at + 2, at + 1 + message:byte(at + 1))
  end

  it("is built again as it came, in whatever order, with its order and names to be read", function()
    for raw, expected in pairs {
      ["\1\1c\2\1r"] = { circuit_id = "c", remote_id = "r" },
      ["\2\1r\1\1c"] = { circuit_id = "c", remote_id = "r", order = { 2, 1 } },
      ["\9\1x\1\1c\8\1s"] = { circuit_id = "c", [9] = "x", [8] = "s", order = { 9, 1, 8 } },
      ["\1\1c\0\0"] = { circuit_id = "c", [0] = "", order = { 1, 0 } },
      ["\1\0"] = { circuit_id = "" },
    } do
      local fields = assert(dhcp4.parse(dhcp4.build { options = { message_type = "DISCOVER", [82] = raw } }))
      assert.same(expected, fields.options.relay_agent)
      assert.equal(raw, raw_of(dhcp4.build(fields)))
    end
  end)

  it("keeps its bytes where they cannot be told apart", function()
    for _, raw in ipairs { "", "\1", "\1\3abc\0", "\1\9x", "\9\1a\9\1b", "\1\1c\0\0\0\0" } do
      local fields = assert(dhcp4.parse(dhcp4.build { options = { message_type = "DISCOVER", [82] = raw } }))
      assert.same({ message_type = "DISCOVER", [82] = raw }, fields.options)
      assert.equal(raw, raw_of(dhcp4.build(fields)))
    end
  end)

  it("is sent in the order that it is given, what is not listed behind", function()
    local function built(values) return raw_of(dhcp4.build { options = { relay_agent = values } }) end
    assert.equal("\2\1r\9\1x\1\1c\5\1y", built { circuit_id = "c", remote_id = "r", [9] = "x", [5] = "y",
      order = { "remote_id", 9, 77 } })
    helper.raises("sub-option 1 is given twice", built, { circuit_id = "c", [1] = "d" })
    helper.raises('sub-option "circuit"', built, { circuit_id = "c", order = { "circuit" } })
    helper.raises("a table with at least one value is needed", built, { order = { 1 } })
  end)
end)
