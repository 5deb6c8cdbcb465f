-- Extensions of ICMP errors, above all MPLS labels: read wherever routers put them, and never out of something else.

local bytes = require "etherlua.net.bytes"
local extensions = require "etherlua.proto.icmp_extensions"
local packet = require "etherlua.proto.packet"
local pcap = require "support.pcap"
local proto = require "etherlua.proto"
local shell = require "support.shell"

local MARK = " <MPLS:L=416240,E=5,S=0,T=1/L=3,E=0,S=1,T=255>"
local LABELS = { { label = 416240, traffic_class = 5, bottom = false, ttl = 1 },
  { label = 3, traffic_class = 0, bottom = true, ttl = 255 } }
local OBJECTS = { { class = 1, type = 1, labels = LABELS }, { class = 2, type = 10, data = "\0\0\0\7" } }

-- A header of its own: version, flags, checksum, and objects.
local function structure(objects, checksum)
  return bytes.with_checksum("\32\0", objects, checksum)
end

local STACK = bytes.unhex "000c 0101 659f0a01 000031ff"
local QUOTED4 = proto.ipv4.build { src = "10.0.0.5", dst = "192.0.2.7", protocol = 17, payload =
  proto.udp.build { src_port = 5000, dst_port = 33434, checksum = 0, payload = ("@"):rep(200) } }
local QUOTED6 = proto.ipv6.build { src = "2001:db8::5", dst = "2001:db8::7", protocol = 17, payload =
  proto.udp.build { src_port = 5000, dst_port = 33434, checksum = 0, payload = ("@"):rep(200) } }

-- An error of version 4 or 6 with some octets behind what it quotes; length: in units of the version.
local function error_of(version, payload, length, kind)
  if version == 4 then return proto.icmp.build { type = kind or 11, rest = length * 0x10000, payload = payload } end
  return proto.icmp6.build({ type = kind or 3, rest = length * 0x1000000, payload = payload },
    { src = "2001:db8::9", dst = "2001:db8::5" })
end

local function parse(version, message) return proto[version == 4 and "icmp" or "icmp6"].parse(message) end

describe("extensions of ICMP errors", function()
  for version, quoted in pairs { [4] = QUOTED4, [6] = QUOTED6 } do
    local v = " in ICMP for IPv" .. version
    local units = version == 4 and 4 or 8

    it("are read where the length says, behind 128 octets where there is none or a wrong one" .. v, function()
      local first = quoted:sub(1, 128)
      for _, case in ipairs { { first, 128 / units }, { first, 0 }, { first, 9 }, { first, 255 },
        { quoted:sub(1, 160), 160 / units }, { quoted:sub(1, 60) .. ("\0"):rep(68), 128 / units },
        { quoted:sub(1, 64), 64 / units } } do
        for _, checksum in ipairs { "right", 0 } do
          local message = error_of(version, case[1] .. structure(STACK, checksum == 0 and 0 or nil), case[2])
          local fields = parse(version, message)
          assert.same({ { class = 1, type = 1, labels = LABELS } }, fields.extensions)
          assert.equal(message, proto[version == 4 and "icmp" or "icmp6"].build(fields))
          local whole = proto.ip.build { src = version == 4 and "10.0.0.9" or "2001:db8::9", dst = version == 4 and
            "10.0.0.5" or "2001:db8::5", protocol = version == 4 and 1 or 58, payload = message }
          local first_layer = version == 4 and "ipv4" or "ipv6"
          assert.is_truthy(proto.describe(whole, first_layer):find("(in transit)" .. MARK, 1, true))
          -- Nothing of them is data of the packet that is quoted.
          local layers = proto.dissect(whole, first_layer)
          assert.equal(#case[1] - (version == 4 and 28 or 48), #layers[#layers].fields.payload)
          local again = packet.parse(whole, first_layer)
          assert.equal(bytes.hex(whole), bytes.hex(again:build()))
          assert.equal(bytes.hex(whole), bytes.hex(loadstring(again:code())():build()))
        end
      end
    end)

    it("are none where version, checksum or lengths are wrong, or the type has none" .. v, function()
      local right = structure(STACK)
      for what, octets in pairs {
        ["version 1"] = "\16" .. right:sub(2), ["a wrong checksum"] = structure(STACK, 7),
        ["no object"] = structure "", ["half a header"] = "\32\0\0", ["an object of length 0"] = structure "\0\0\1\1",
        ["a length under the header's"] = structure "\0\3\1\1", ["a length beyond the end"] = structure "\0\9\1\1....",
        ["the greatest length"] = structure "\255\255\1\1....", ["an object cut off"] = structure(STACK .. "\0\8"),
        ["octets behind the last"] = structure(STACK .. "\0"), ["nothing"] = "",
      } do
        for _, length in ipairs { 0, 128 / units } do
          local message = error_of(version, quoted:sub(1, 128) .. octets, length)
          local fields = parse(version, message)
          assert.is_nil(fields.extensions, what)
          assert.equal(#quoted:sub(1, 128) + #octets, #fields.payload)
        end
      end
      assert.is_nil(parse(version, error_of(version, quoted:sub(1, 100) .. right, 0)).extensions)
      local other = version == 4 and 4 or 2 -- source quench, packet too big
      assert.is_nil(parse(version, error_of(version, quoted:sub(1, 128) .. right, 0, other)).extensions)
    end)
  end

  it("are kept as they are when they are no label stack", function()
    for _, object in ipairs { { class = 2, type = 10, data = "ab" }, { class = 1, type = 2, data = "1234" },
      { class = 1, type = 1, data = "123" }, { class = 1, type = 1, data = "" } } do
      local payload = extensions.build("x", { object })
      assert.same({ object }, extensions.parse(payload, 128))
      assert.equal(#payload - 128, extensions.size { object })
    end
    assert.equal(" <2/10:6162>", extensions.text { { class = 2, type = 10, data = "ab" } })
    assert.equal("", extensions.text(nil))
  end)

  it("are in three of IPv4's errors", function()
    for _, kind in ipairs { 3, 11, 12 } do
      local payload = extensions.build(QUOTED4, OBJECTS)
      local message = error_of(4, payload, 32, kind)
      assert.equal("\0\32\0\0", message:sub(5, 8))
      assert.same(OBJECTS, proto.icmp.parse(message).extensions)
      assert.equal(message, proto.icmp.build(proto.icmp.parse(message)))
    end
  end)

  it("are what tshark reads, too", function()
    local missing = shell.missing "tshark"
    if missing then return pending(missing) end
    local short = proto.ipv4.build { src = "10.0.0.5", dst = "192.0.2.7", protocol = 17, payload =
      proto.udp.build { src_port = 5000, dst_port = 33434, checksum = 0, payload = "@" } }
    local list = {}
    for i, length in ipairs { 32, 0 } do
      list[i] = proto.ethernet.build { src = "02:00:00:00:00:01", dst = "02:00:00:00:00:02", ethertype = 0x0800,
        payload = proto.ipv4.build { src = "10.0.0.9", dst = "10.0.0.5", protocol = 1,
          payload = error_of(4, extensions.build(short, OBJECTS), length) } }
    end
    local said = shell.output_of(("tshark -nr %s -T fields -e icmp.mpls.label -e icmp.mpls.exp -e icmp.mpls.s " ..
      "-e icmp.mpls.ttl -e icmp.ext.checksum.status 2>/dev/null"):format(pcap.file(list)))
    pcap.remove_files()
    assert.equal(("416240,3\t5,0\t0,1\t1,255\t1\n"):rep(2), (said:gsub("False", "0"):gsub("True", "1")))
  end)

  it("of any octets are read without an error", function()
    local random = require "etherlua.net.random"
    for _ = 1, 2000 do
      local octets = {}
      for i = 1, random.u32() % 40 do octets[i] = string.char(random.u32() % 256) end
      local text = "\32\0\0\0" .. table.concat(octets)
      local objects = extensions.parse(("x"):rep(128) .. text, random.u32() % 1024)
      if objects then assert.equal(#text, extensions.size(objects)) end
    end
  end)
end)
