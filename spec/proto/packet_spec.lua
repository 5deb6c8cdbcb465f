local bytes = require "etherlua.net.bytes"
local helper = require "support.proto"
local packet = require "etherlua.proto.packet"
local packets = require "support.packets"
local proto = require "etherlua.proto"

local ether, vlan, arp, ip4, ip6 = packet.ether, packet.vlan, packet.arp, packet.ip4, packet.ip6
local icmp, icmp6, tcp, udp, dhcp4 = packet.icmp, packet.icmp6, packet.tcp, packet.udp, packet.dhcp4

local A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"

local function rebuilt(one)
  return assert(load(one:code()))():build()
end

describe("a packet", function()
  it("fills in what names the next layer, lengths and checksums", function()
    local made = ether { dst = B } / ip4 { dst = "10.0.0.2" } / udp { dport = 53 } / "data"
    local datagram = proto.udp.build({ src_port = 0, dst_port = 53, payload = "data" },
      { src = "0.0.0.0", dst = "10.0.0.2" })
    local expected = proto.ethernet.build { dst = B, src = "00:00:00:00:00:00", ethertype = 0x0800,
      payload = proto.ipv4.build { src = "0.0.0.0", dst = "10.0.0.2", protocol = 17, payload = datagram } }
    assert.equal(expected, made:build())
    assert.equal(expected, tostring(made))
  end)

  it("is right in every combination of layers that follow each other", function()
    for name, one in pairs(packets.all()) do
      local layers = proto.dissect(one:build())
      for i, layer in ipairs(one) do
        if layer.name ~= "padding" then assert.equal(layer.name, layers[i] and layers[i].name, name) end
      end
      for i, layer in ipairs(layers) do
        assert.are_not.equal("malformed", layer.name, name)
        local check = layer.name ~= "data" and rawget(proto[layer.name], "checksum_ok")
        local outer = layers[i - 1] and layers[i - 1].fields
        if check and name ~= "cut off quotation" then assert.is_true(check(outer.payload, outer), name) end
      end
    end
  end)

  it("takes VLAN tags as layers or as a field", function()
    local tagged = ether { dst = B, src = A } / vlan { vid = 100, tpid = 0x88a8, pcp = 5 } / vlan { vid = 200 } / arp {}
    local field = ether { dst = B, src = A, vlans = { { vid = 100, tpid = 0x88a8, pcp = 5 }, 200 } } / arp {}
    assert.equal(field:build(), tagged:build())
    assert.equal(field:build(), (ether { dst = B, src = A, vlans = { { vid = 100, tpid = 0x88a8, pcp = 5 } } }
      / (vlan { vid = 200 } / arp {})):build())
  end)

  it("knows the ports of DHCP, and leaves given ones alone", function()
    local discover = dhcp4 { options = { message_type = "DISCOVER" } }
    assert.equal("\0\68\0\67", (ip4 { dst = "255.255.255.255" } / udp {} / discover):build():sub(21, 24))
    assert.equal("\0\67\0\68", (ip4 { dst = "255.255.255.255" } / udp { sport = 67, dport = 68 } / discover):build()
      :sub(21, 24))
  end)

  it("can be wrong on purpose", function()
    local wrong = (ip4 { dst = "10.0.0.2", protocol = 99, total_length = 7, header_checksum = 1 } / udp { dport = 1,
      length = 3, checksum = 5 } / "x"):build()
    assert.equal("4500 0007 0000 0000 4063 0001", (bytes.hex(wrong:sub(1, 12)):gsub("%x%x%x%x", "%0 "):sub(1, -2)))
    assert.equal("\0\0\0\1\0\3\0\5x", wrong:sub(21))
  end)

  it("of neighbour discovery has the hop limit that says that it comes from the link, unless given", function()
    local function hop_limit(kind, given)
      return (ip6 { src = "::1", dst = "::1", hop_limit = given } / icmp6 { type = kind, target = "::2",
        destination = "::3" }):build():byte(8)
    end
    for kind = 133, 137 do assert.equal(255, hop_limit(kind)) end
    assert.same({ 64, 64, 7 }, { hop_limit(128), hop_limit(132), hop_limit(135, 7) })
  end)

  it("tells itself on a line, whole or not", function()
    assert.equal("IPv4 10.0.0.1 > 10.0.0.2 ttl 64 ICMP echo request id 0 seq 0",
      (ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / icmp { type = 8 }):summary())
    assert.equal("ether / ARP who-has 10.0.0.2 tell 0.0.0.0", (ether {} / arp { tpa = "10.0.0.2" }):summary())
    assert.equal("ip4 / udp", (ip4 {} / udp {}):summary())
    assert.equal("data 3 bytes", packet.data("abc"):summary())
  end)

  it("does not change when it becomes part of another", function()
    local base = ether { dst = B } / ip4 { dst = "10.0.0.2" }
    local one, other = base / udp { dport = 1 }, base / vlan { vid = 5 } / icmp { type = 8 }
    one.ip4.ttl = 1
    assert.equal(2, #base)
    assert.is_nil(base.ip4.ttl)
    assert.is_nil(other.ip4.ttl)
    local tagged = base.ether.vlans
    local _ = ether { dst = B, vlans = { 1 } } / vlan { vid = 2 }
    assert.is_nil(tagged)
  end)

  it("gives its layers by either name", function()
    local one = ip4 { dst = "10.0.0.2" } / icmp { type = 3, code = 3 } / ip4 { dst = "10.0.0.9" } / udp { dport = 7 }
    assert.equal("10.0.0.2", one.ip4.dst)
    assert.equal("10.0.0.2", one.ipv4.dst)
    assert.equal(7, one.udp.dst_port)
    assert.is_nil(one.tcp)
  end)

  it("refuses what cannot be built, and names it", function()
    helper.raises('bad layer "upd": there is no such protocol, did you mean "udp"? known are: arp, data, dhcp4, ',
      function() return packet.upd {} end)
    for _, name in ipairs { "layout", "options", "icmp6_options", "ip", "view", "nosuch" } do
      helper.raises(('bad layer "%s"'):format(name), function() return packet[name] {} end)
    end
    helper.raises("bad udp 53: a table of fields is needed", udp, 53)
    helper.raises("bad data 7: a string or a layer is needed", function() return udp {} / 7 end)
    helper.raises("bad packet: vlan has to follow ether", tostring, vlan { vid = 1 } / arp {})
    helper.raises("bad packet: padding has to be last", tostring, packet.padding "x" / arp {})
    helper.raises("bad packet: arp has no payload", tostring, arp {} / "x")
    helper.raises("bad packet: icmp6 has no payload", tostring,
      ip6 { dst = "::1" } / icmp6 { type = 135, target = "::1" } / "x")
    helper.raises("bad ethertype nil", tostring, ether { dst = B } / "x")
    helper.raises("bad ipv4 protocol nil", tostring, ip4 { dst = "10.0.0.1" } / arp {})
    helper.raises("bad udp dst_port nil", tostring, ip4 { dst = "10.0.0.1" } / udp {})
    helper.raises("needs a context { src =, dst = }", tostring, udp { dport = 1 } / "x")
    helper.raises("needs a context { src =, dst = }", tostring, "x" / udp { dport = 1 })
    helper.raises('bad ipv4 dst "::1"', tostring, ip4 { dst = "::1" } / icmp { type = 8 })
  end)
end)

describe("packet.parse", function()
  it("gives back every packet, and code() every packet's bytes", function()
    for name, one in pairs(packets.all()) do
      local whole = one:build()
      local again = packet.parse(whole)
      assert.equal(bytes.hex(whole), bytes.hex(again:build()), name)
      assert.equal(bytes.hex(whole), bytes.hex(rebuilt(one)), name)
      assert.equal(bytes.hex(whole), bytes.hex(rebuilt(again)), name)
      assert.equal(one:describe(), again:describe(), name)
      for i, layer in ipairs(one) do assert.equal(layer.name, again[i] and again[i].name, name) end
    end
  end)

  it("leaves out what is right, so that it is right after a change", function()
    local one = packet.parse((ether { dst = B } / ip4 { dst = "10.0.0.2" } / udp { dport = 53 } / "data"):build())
    one.ip4.ttl, one.ip4.dst, one.ether.vlans = 3, "10.0.0.77", { 5 }
    local layers = proto.dissect((one / " and more"):build())
    assert.is_true(proto.ipv4.checksum_ok(layers[1].fields.payload))
    assert.is_true(proto.udp.checksum_ok(layers[2].fields.payload, layers[2].fields))
    assert.equal("data and more", layers[3].fields.payload)
  end)

  it("keeps what is wrong", function()
    local wrong = ether { dst = B } / ip4 { dst = "10.0.0.2", header_checksum = 1 } / udp { dport = 1, checksum = 7 }
    local again = packet.parse(wrong:build())
    assert.equal(1, again.ip4.header_checksum)
    assert.equal(7, again.udp.checksum)
    assert.is_nil(again.ip4.total_length)
  end)

  it("starts at any layer", function()
    local one = ip6 { dst = "::1" } / udp { dport = 5 } / "x"
    assert.equal(one:build(), packet.parse(one:build(), "ip6"):build())
    assert.equal("x", packet.parse(one:build(), "ipv6")[3].fields.payload)
  end)

  it("keeps padding and what follows an inner length", function()
    local one = ether { dst = B } / ip4 { dst = "10.0.0.2", total_length = 32 } / udp { dport = 1, length = 9 } / "xyz."
    local whole = one:build() .. "\0\1\2"
    local again = packet.parse(whole)
    assert.equal(bytes.hex(whole), bytes.hex(again:build()))
    assert.same({ "x", "yz.\0\1\2" }, { again[4].fields.payload, again[5].fields.payload })
    assert.equal(bytes.hex(whole), bytes.hex(rebuilt(again)))
  end)

  it("gives back every packet cut off at every length and with every byte flipped", function()
    for name, one in pairs(packets.all()) do
      local whole = one:build()
      for size = 0, math.min(#whole, 200) do
        local cut = whole:sub(1, size)
        local again = packet.parse(cut)
        assert.equal(cut, again:build(), name)
        assert.equal("string", type(again:describe()))
        assert.equal("string", type(proto.describe(cut)))
      end
      for at = 1, math.min(#whole, 200) do
        local flipped = whole:sub(1, at - 1) .. string.char(bit.bxor(whole:byte(at), 0xff)) .. whole:sub(at + 1)
        local again = packet.parse(flipped)
        assert.equal(flipped, again:build(), name)
        assert.equal("string", type(again:describe()))
        assert.is_nil(proto.describe(flipped):find("\n", 1, true))
        if at % 7 == 0 then assert.equal(flipped, rebuilt(again), name) end
      end
    end
  end)
end)

describe("a name that nobody knows", function()
  it("in a layer is an error at the caller's line, with the known ones", function()
    local ok, failure = pcall(function() return ip4 { foo = 1 } end)
    assert.is_false(ok)
    assert.matches('^spec/proto/packet_spec%.lua:%d+: unknown field "foo" of ipv4: known are: df, dst, ', failure)
    helper.raises('unknown field "dst_prot" of udp, did you mean "dst_port"?', udp, { dst_prot = 1 })
    helper.raises('unknown field "vlan" of ethernet, did you mean "vlans"?', ether, { vlan = 100 })
    helper.raises('unknown field "vids" of a VLAN tag, did you mean "vid"?', vlan, { vids = 100 })
    helper.raises('unknown DHCP option "hostname", did you mean "host_name"?', dhcp4, { options = { hostname = "x" } })
    helper.raises('field "src_port" of udp is given twice', udp, { sport = 1, src_port = 1 })
  end)

  it("is one inside of a field, too", function()
    helper.raises('unknown field "pri" of a VLAN tag', ether, { vlans = { { vid = 1, pri = 5 } } })
    helper.raises('unknown field "kind" of an option', ip4, { options = { { kind = 7 } } })
    helper.raises('unknown field "value" of an ipv6 option', ip6,
      { extension_headers = { { type = 0, options = { { type = 5, value = "x" } } } } })
    helper.raises('unknown field "mtuu" of an icmp6 option, did you mean "mtu"?', icmp6, { options = { { mtuu = 5 } } })
  end)

  it("is found when the packet is built if it was set afterwards", function()
    local one = ip4 { dst = "10.0.0.2" } / udp { dport = 53 }
    one.udp.dport = 54
    helper.raises('unknown field "dport" of udp, did you mean "dst_port"?', tostring, one)
  end)
end)

describe("packet:code", function()
  it("says no more than is needed", function()
    local one = ether { dst = B } / vlan { vid = 7 } / ip4 { dst = "10.0.0.2", ttl = 64, src = "10.0.0.1" }
      / tcp { dport = 80, syn = true, ack = false } / 'say "hi"\\\n\0\2001'
    assert.equal([[local p = require "etherlua.proto.packet"
return p.ether { dst = "02:00:00:00:00:02", vlans = { { vid = 7 } } }
  / p.ip4 { dst = "10.0.0.2", src = "10.0.0.1" }
  / p.tcp { dst_port = 80, syn = true }
  / p.data "say \"hi\"\\\010\000\2001"]], one:code())
    assert.equal(one:build(), rebuilt(one))
  end)

  it("writes raw bytes, numbers as names and nested tables", function()
    assert.equal('local p = require "etherlua.proto.packet"\nreturn p.data "\\001"', packet.data("\1"):code())
    local one = ip4 { dst = "1.1.1.1" } / udp {} / dhcp4 { options = { message_type = "REQUEST", [224] = "x",
      routers = { "10.0.0.1" } } }
    assert.is_truthy(one:code():find(
      'p.dhcp4 { options = { message_type = "REQUEST", routers = { "10.0.0.1" }, [224] = "x" } }', 1, true))
    assert.equal(one:build(), rebuilt(one))
  end)
end)

describe("packet:describe", function()
  it("shows each layer with its offset, its fields and its bytes", function()
    local one = ether { dst = B, src = A } / arp { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" } / packet.padding "\0\0"
    assert.equal([[
0000  ethernet, 14 bytes
        dst                    02:00:00:00:00:02
        src                    02:00:00:00:00:01
        vlans                  none
        ethertype              2054 (0x806, arp)
  0000  02 00 00 00 00 02 02 00 00 00 00 01 08 06        ..............
000e  arp, 28 bytes
        hrd                    1 (Ethernet)
        pro                    2048 (0x800, ip4)
        hln                    6
        pln                    4
        op                     1 (request)
        sha                    02:00:00:00:00:01
        spa                    10.0.0.1
        tha                    00:00:00:00:00:00
        tpa                    10.0.0.2
  000e  00 01 08 00 06 04 00 01 02 00 00 00 00 01 0a 00  ................
  001e  00 01 00 00 00 00 00 00 0a 00 00 02              ............
002a  padding, 2 bytes
  002a  00 00                                            ..]], one:describe())
  end)

  it("shows fields in wire order, numbers with what they are called, and options one a line", function()
    local function shown(one)
      local lines = {}
      for line in one:describe():gmatch "\n        ([^\n]+)" do lines[#lines + 1] = line:gsub("%s+", " ") end
      return table.concat(lines, "\n")
    end
    local text = shown(ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / icmp { type = 11 } / "x")
    assert.matches("^version 4\nihl 5\ntos 0\ntotal_length 29\n.*\nttl 64\nprotocol 1 %(icmp%)\n.*\nsrc 10.0.0.1\ndst "
      .. "10.0.0.2\noptions none\ntype 11 %(time exceeded%)\ncode 0 %(in transit%)\n", text)
    text = shown(ip4 { src = "0.0.0.0", dst = "255.255.255.255" } / udp {} / dhcp4 { op = 1, options = {
      message_type = "DISCOVER", parameter_request_list = { 1, 3 }, [224] = "\1" } })
    assert.matches("\nprotocol 17 %(udp%)\n.*\nsrc_port 68 %(dhcp4%)\ndst_port 67 %(dhcp4%)\n.*\nop 1 %(request%)\n",
      text)
    assert.matches("\noptions\n message_type DISCOVER\n parameter_request_list 1, 3\n 224 01$", text)
  end)

  it("shows every byte of every packet once", function()
    for name, one in pairs(packets.all()) do
      local dumped = {}
      for row in one:describe():gmatch("\n  %x%x%x%x  ([%x ]+)  ") do table.insert(dumped, bytes.unhex(row)) end
      assert.equal(bytes.hex(one:build()), bytes.hex(table.concat(dumped)), name)
    end
  end)

  it("shows what an ICMP error quotes, also if it is cut off", function()
    local error_message = ip4 { dst = "10.0.0.1" } / icmp { type = 11 }
      / (ip4 { dst = "10.0.0.9", total_length = 60 } / tcp { dport = 80 }):build():sub(1, 28)
    local text = error_message:describe()
    assert.is_truthy(text:find("001c  ipv4, 20 bytes", 1, true))
    assert.is_truthy(text:find("0030  tcp, 8 bytes", 1, true))
    assert.is_truthy(text:find("dst_port               80", 1, true))
  end)

  it("dumps bytes that are nothing", function()
    assert.equal("0000  61 62                                            ab", packet.data("ab"):describe())
    assert.equal("", packet.data(""):describe())
  end)
end)
