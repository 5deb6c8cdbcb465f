-- Addresses from and to text: every form that is taken, what is said about those that are not, and which are equal.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local ether = require "etherlua"
local misuse = require "etherlua.core.misuse"
local vlan_stack = require "etherlua.net.vlan_stack"

-- The message of the error that fn raises.
local function refusal(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return misuse.words(message)
end

describe("a MAC address", function()
  it("is taken with colons or hyphens, in upper or lower case", function()
    for _, text in ipairs { "02:00:00:ab:cd:ef", "02-00-00-ab-cd-ef", "02:00:00:AB:CD:EF", "02-00-00-Ab-cD-EF" } do
      assert.equal("02:00:00:ab:cd:ef", tostring(ether.mac(text)))
    end
  end)

  it("has its bytes in the order of the wire", function()
    assert.equal("\2\0\0\171\205\239", addr.mac_bytes "02:00:00:ab:cd:ef")
    assert.equal("\2\0\0\171\205\239", ffi.string(ether.mac("02:00:00:ab:cd:ef").byte, 6))
  end)

  it("is refused in any other form, with what was given and what is needed", function()
    for _, bad in ipairs { "", "02", "02:00:00:00:00", "02:00:00:00:00:00:00", "2:0:0:0:0:0", "02:00:00:00:00:0g",
      "020000000000", "0200.0000.0000", " 02:00:00:00:00:00", "02:00:00:00:00:00 ", "\2\0\0\0\0\0" } do
      assert.equal(("bad MAC address %q: six pairs of hex digits are needed, such as 02:00:00:11:22:33"):format(bad),
        refusal(ether.mac, bad))
    end
  end)

  it("is refused when it is no text at all", function()
    assert.matches('bad MAC address "42": six pairs', refusal(ether.mac, 42))
    assert.matches('bad MAC address "nil": six pairs', refusal(ether.mac, nil))
    assert.matches('bad MAC address "table: .-": six pairs', refusal(ether.mac, {}))
  end)

  it("that is an object already is returned as it is", function()
    local mac = ether.mac "02:00:00:00:00:01"
    assert.is_true(rawequal(mac, ether.mac(mac)))
  end)

  it("goes from text to bytes and back", function()
    for _, text in ipairs { "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:23:45:67:89:ab" } do
      assert.equal(text, addr.mac_text(addr.mac_bytes(text)))
      assert.equal(text, tostring(ether.mac(text)))
    end
  end)

  it("equals another of the same bytes, and its own text", function()
    local mac = ether.mac "02:00:00:00:00:0a"
    assert.is_true(mac == ether.mac "02-00-00-00-00-0A")
    assert.is_true(mac == "02:00:00:00:00:0a")
    assert.is_false(mac == ether.mac "02:00:00:00:00:0b")
    assert.is_false(mac == nil)
  end)
end)

describe("mac_add", function()
  it("counts on with a carry over octets", function()
    assert.equal("02:00:00:00:00:02", ether.mac_add("02:00:00:00:00:01", 1))
    assert.equal("02:00:00:00:01:00", ether.mac_add("02:00:00:00:00:ff", 1))
    assert.equal("02:00:01:00:00:00", ether.mac_add("02:00:00:ff:ff:ff", 1))
    assert.equal("02:00:00:01:86:a1", ether.mac_add("02:00:00:00:00:01", 100000))
  end)

  it("counts back for a negative number", function()
    assert.equal("02:00:00:00:00:ff", ether.mac_add("02:00:00:00:01:00", -1))
  end)

  it("wraps within the last four octets", function()
    assert.equal("02:11:00:00:00:00", ether.mac_add("02:11:ff:ff:ff:ff", 1))
    assert.equal("02:11:ff:ff:ff:ff", ether.mac_add("02:11:00:00:00:00", -1))
  end)

  it("takes an address object too", function()
    assert.equal("02:00:00:00:00:02", ether.mac_add(ether.mac "02:00:00:00:00:01", 1))
  end)
end)

describe("an IP address", function()
  it("goes from text to bytes and back, IPv6 in the form of RFC 5952", function()
    for text, same in pairs {
      ["0.0.0.0"] = "0.0.0.0", ["10.0.0.1"] = "10.0.0.1", ["255.255.255.255"] = "255.255.255.255", ["::"] = "::",
      ["::1"] = "::1", ["2001:DB8:0:0:1:0:0:1"] = "2001:db8::1:0:0:1", ["2001:db8::0001"] = "2001:db8::1",
      ["ff02:0:0:0:0:0:1:2"] = "ff02::1:2", ["::ffff:10.0.0.1"] = "::ffff:10.0.0.1",
    } do
      assert.equal(same, addr.ip_text(addr.ip_bytes(text)))
    end
  end)

  it("has its bytes in the order of the wire", function()
    assert.equal("\10\0\0\1", addr.ip_bytes "10.0.0.1")
    assert.equal("\255\2" .. ("\0"):rep(12) .. "\1\2", addr.ip_bytes "ff02::102")
  end)

  it("is refused in any other form, with what was given and what is needed", function()
    for _, bad in ipairs { "", "10", "10.0.0", "10.0.0.256", "10.0.0.0.1", "10.0.0.1/24", "1:2", ":::", "::1%eth0",
      "10.0.0.1:67", "host" } do
      assert.equal(("bad IP address %q: such as 10.0.0.1 or 2001:db8::1 is needed"):format(bad),
        refusal(addr.ip_bytes, bad))
    end
  end)

  it("is made of 4 or 16 bytes and of no other number", function()
    for _, length in ipairs { 0, 3, 5, 15, 17, 1000 } do
      assert.equal(("bad IP address of %d bytes: 4 or 16 are needed"):format(length),
        refusal(addr.ip_text, ("x"):rep(length)))
    end
  end)

  it("of version 4 is a number and back", function()
    for text, number in pairs { ["0.0.0.0"] = 0, ["10.1.2.3"] = 0x0a010203, ["255.255.255.255"] = 0xffffffff } do
      assert.equal(number, addr.ip4_number(text))
      assert.equal(text, addr.ip4_text(number))
    end
  end)

  it("of version 6 is no number", function()
    assert.equal('bad IPv4 address "::1": such as 10.0.0.1 is needed', refusal(addr.ip4_number, "::1"))
  end)
end)

describe("an address with a port", function()
  it("is taken in all these forms", function()
    for text, same in pairs {
      ["10.0.0.1:67"] = "10.0.0.1:67", ["10.0.0.1:0"] = "10.0.0.1:0", ["10.0.0.1:65535"] = "10.0.0.1:65535",
      ["10.0.0.1"] = "10.0.0.1:0", ["[ff02::1:2]:547"] = "[ff02::1:2]:547", ["[::]:0"] = "[::]:0",
      ["[2001:DB8::1]"] = "[2001:db8::1]:0", ["::1"] = "[::1]:0",
    } do
      assert.equal(same, tostring(ether.addr(text)))
    end
  end)

  it("knows its version, port, text and bytes", function()
    local four, six = ether.addr "10.0.0.1:67", ether.addr "[ff02::1:2]:547"
    assert.same({ 4, 67, "10.0.0.1" }, { four.version, four.port, four.ip_text })
    assert.same({ 6, 547, "ff02::1:2" }, { six.version, six.port, six.ip_text })
    assert.equal("\10\0\0\1" .. ("\0"):rep(12), ffi.string(four.ip, 16))
  end)

  it("is refused in any other form, with what was given and what is needed", function()
    for _, bad in ipairs { "", ":67", "10.0.0.1:", "10.0.0.1:-1", "10.0.0.1:65536", "10.0.0.1:99999999999999999999",
      "10.0.0.1:67x", "10.0.0.256:67", "10.0.0.1 :67", "[::1:547", "[::1]547", "[]:547", "host:67", "67" } do
      assert.equal(("bad address %q: IP:PORT such as 10.0.0.1:67 or [2001:db8::1]:547 is needed, port 0 to 65535")
        :format(bad), refusal(ether.addr, bad))
    end
  end)

  it("is refused when it is no text at all", function()
    assert.matches('bad address "67": IP:PORT such as 10.0.0.1:67 is needed', refusal(ether.addr, 67))
    assert.matches('bad address "nil": IP:PORT', refusal(ether.addr, nil))
  end)

  it("that is an object already is returned as it is", function()
    local address = ether.addr "10.0.0.1:67"
    assert.is_true(rawequal(address, ether.addr(address)))
  end)

  it("equals another of the same IP address and port, and its own text", function()
    local address = ether.addr "[2001:db8::1]:547"
    assert.is_true(address == ether.addr "[2001:db8:0::1]:547")
    assert.is_true(address == "[2001:db8::1]:547")
    assert.is_false(address == ether.addr "[2001:db8::1]:546")
    assert.is_false(address == ether.addr "[2001:db8::2]:547")
    assert.is_false(address == nil)
  end)
end)

describe("a VLAN stack", function()
  it("is taken in all these forms", function()
    for text, forms in pairs {
      [""] = { "", {} },
      ["100"] = { 100, "100", { 100 }, { "100" }, { { vid = 100 } }, { vid = 100 } },
      ["100.200"] = { "100.200", { 100, 200 }, { { vid = 100 }, 200 } },
      ["1.2.3.4"] = { "1.2.3.4", { 1, 2, 3, 4 } },
    } do
      for _, form in ipairs(forms) do assert.equal(text, tostring(ether.vlans(form))) end
    end
    assert.equal("", tostring(ether.vlans(nil)))
  end)

  it("has 802.1Q tags without priority unless told otherwise", function()
    assert.same({ vid = 100, tpid = 0x8100, pcp = 0, dei = false }, ether.vlans(100)[1])
  end)

  it("carries TPID, PCP and DEI of each tag", function()
    local vlans = ether.vlans { { vid = 4094, tpid = 0x88a8, pcp = 7, dei = true }, 200 }
    assert.same({ vid = 4094, tpid = 0x88a8, pcp = 7, dei = true }, vlans[1])
    assert.same({ vid = 200, tpid = 0x8100, pcp = 0, dei = false }, vlans[2])
    assert.equal(0xfffe, vlans.tag[0].tci)
  end)

  it("has as many tags as were given, and nothing behind them", function()
    local vlans = ether.vlans "100.200"
    assert.equal(2, #vlans)
    assert.is_nil(vlans[0])
    assert.is_nil(vlans[3])
  end)

  it("may have VLAN ID 0, the priority tag", function()
    assert.equal(1, #ether.vlans(0))
    assert.equal(0, ether.vlans(0)[1].vid)
  end)

  it("refuses VLAN IDs that are none, with what was given and what is allowed", function()
    for _, bad in ipairs { 4095, 5000, -1, 1.5 } do
      assert.equal(("bad VLAN ID %s: 0 to 4094 is allowed"):format(bad), refusal(ether.vlans, bad))
      assert.equal(("bad VLAN ID %s: 0 to 4094 is allowed"):format(bad), refusal(ether.vlans, { 100, { vid = bad } }))
    end
    for text, bad in pairs { ["100.4095"] = "4095", x = "x", ["100."] = '""', ["100.x"] = "x", ["1,2"] = "1,2" } do
      assert.equal(("bad VLAN ID %s: 0 to 4094 is allowed"):format(bad), refusal(ether.vlans, text))
    end
    assert.matches("bad VLAN ID nil: 0 to 4094 is allowed", refusal(ether.vlans, { { pcp = 5 } }))
  end)

  it("refuses a PCP that is none", function()
    for _, bad in ipairs { 8, -1, 0.5, "5" } do
      assert.equal(("bad VLAN PCP %s: 0 to 7 is allowed"):format(bad), refusal(ether.vlans, { { vid = 1, pcp = bad } }))
    end
  end)

  it("refuses a TPID that cannot be an EtherType", function()
    for _, bad in ipairs { 0x5ff, 0x10000, "0x8100" } do
      assert.equal(("bad VLAN TPID %s: 1536 to 65535 is allowed"):format(bad),
        refusal(ether.vlans, { { vid = 1, tpid = bad } }))
    end
  end)

  it("refuses more than four tags", function()
    for _, bad in ipairs { "1.2.3.4.5", { 1, 2, 3, 4, 5 } } do
      assert.equal("bad VLAN stack: 5 tags given, at most 4 are allowed", refusal(ether.vlans, bad))
    end
  end)

  it("that is an object already is returned as it is", function()
    local vlans = ether.vlans "100.200"
    assert.is_true(rawequal(vlans, ether.vlans(vlans)))
  end)

  it("equals another that the demux takes for the same: depth, TPID and VID, not PCP and DEI", function()
    local vlans = ether.vlans "100.200"
    assert.is_true(vlans == ether.vlans { { vid = 100, pcp = 5, dei = true }, 200 })
    assert.is_false(vlans == ether.vlans "200.100")
    assert.is_false(vlans == ether.vlans "100")
    assert.is_false(vlans == ether.vlans { { vid = 100, tpid = 0x88a8 }, 200 })
  end)

  it("equals what would make it, and is never nil", function()
    assert.is_true(ether.vlans "100.200" == "100.200")
    assert.is_true(ether.vlans "100.200" == { 100, 200 })
    assert.is_false(ether.vlans(nil) == nil)
  end)

  it("has a key that tells apart what the demux tells apart", function()
    assert.equal("", vlan_stack.key(ether.vlans(nil)))
    assert.equal("8100:100", vlan_stack.key(ether.vlans { { vid = 100, pcp = 7, dei = true } }))
    assert.equal("88a8:0.8100:4094", vlan_stack.key(ether.vlans { { vid = 0, tpid = 0x88a8 }, 4094 }))
  end)

  it("is of the VLAN of another one that has tags of VID 0 besides", function()
    for text, other in pairs { [""] = "0", ["0"] = "0.0", ["100.200"] = "0.100.0.200", ["0.100"] = "100.0" } do
      assert.is_true(vlan_stack.same_vlan(ether.vlans(text), ether.vlans(other)))
    end
    assert.is_false(vlan_stack.same_vlan(ether.vlans "0.100", ether.vlans "0"))
    assert.is_false(vlan_stack.same_vlan(ether.vlans "100.0.200", ether.vlans "200.100"))
    assert.equal("8100:100", vlan_stack.vlan_key(ether.vlans "0.100.0"))
  end)

  it("has a text beside another stack, which is never that one's", function()
    local inner = ether.vlans "100.200"
    local outer = ether.vlans { { vid = 100, tpid = 0x88a8 }, 200 }
    assert.equal("7", vlan_stack.text(ether.vlans(7), inner))
    assert.equal("88a8:100.8100:200", vlan_stack.text(outer, inner))
    assert.equal("100.200", vlan_stack.text(inner, ether.vlans "100.200"))
    assert.equal("", vlan_stack.text(ether.vlans(nil), inner))
  end)
end)
