-- Prefixes, counting through addresses, and ranges of VLAN stacks.

local prefix = require "etherlua.net.prefix"
local random = require "etherlua.net.random"
local vlan_range = require "etherlua.net.vlan_range"

local misuse = require "etherlua.core.misuse"

local function refusal(fn, ...)
  local ok, reason = pcall(fn, ...)
  assert.is_false(ok)
  return misuse.words(reason)
end

describe("a prefix", function()
  it("has the addresses that share its first bits, and no others", function()
    local cases = {
      { "10.0.0.5/24", "10.0.0.0", 256, { "10.0.0.0", "10.0.0.255" }, { "10.0.1.0", "9.255.255.255", "::" } },
      { "10.7.200.1/13", "10.0.0.0", 2 ^ 19, { "10.7.255.255" }, { "10.8.0.0" } },
      { "10.0.0.5", "10.0.0.5", 1, { "10.0.0.5" }, { "10.0.0.4", "10.0.0.6" } },
      { "10.0.0.5/0", "0.0.0.0", 2 ^ 32, { "255.255.255.255" }, { "::1" } },
      { "2001:db8::5/64", "2001:db8::", 2 ^ 64, { "2001:db8::ffff:ffff:0:1" }, { "2001:db8:0:1::5", "10.0.0.5" } },
      { "2001:db8::5/127", "2001:db8::4", 2, { "2001:db8::4" }, { "2001:db8::6" } },
    }
    for _, case in ipairs(cases) do
      local p = prefix.new(case[1])
      assert.equal(case[2], p:network())
      assert.equal(case[3], p:size())
      for _, ip in ipairs(case[4]) do assert.is_true(p:contains(ip), ip) end
      for _, ip in ipairs(case[5]) do assert.is_false(p:contains(ip), ip) end
    end
  end)

  it("knows the length that a mask stands for", function()
    for length = 0, 32 do assert.equal(length, prefix.mask_length(prefix.new("10.0.0.5/" .. length):mask())) end
  end)

  it("knows the length that an address's class stands for", function()
    for ip, length in pairs { ["0.0.0.0"] = 8, ["127.255.255.255"] = 8, ["128.0.0.0"] = 16, ["191.255.0.1"] = 16,
      ["192.0.0.1"] = 24, ["223.255.255.255"] = 24, ["224.0.0.1"] = 32, ["255.255.255.255"] = 32 } do
      assert.equal(length, prefix.class_length(ip), ip)
    end
  end)

  it("keeps the address as which it was given", function()
    local p = prefix.new "2001:DB8:0::5/64"
    assert.same({ "2001:db8::5", 64, 6, "2001:db8::5/64" }, { p.ip, p.length, p.version, tostring(p) })
  end)

  it("knows how many hosts fit", function()
    for _, case in ipairs { { "10.0.0.1/24", 254, 1 }, { "10.0.0.254/24", 1, 1 }, { "10.0.0.4/30", 0 },
      { "10.0.0.5/30", 2, 1 }, { "10.0.0.4/31", 2, 1 }, { "10.0.0.4/32", 1, 1 }, { "0.0.0.1/0", 100000, 1 },
      { "10.0.0.1/16", 256, 256 }, { "10.0.0.1/24", 1000, 0 }, { "2001:db8::1/120", 255, 1 },
      { "2001:db8::/127", 2, 1 }, { "2001:db8::1/64", 1000000, 2 ^ 32 }, { "255.255.255.250/24", 5, 1 } } do
      local p, count, step = prefix.new(case[1]), case[2], case[3]
      if count > 0 then p:check_hosts(count, step) end
      if step == 1 and count < 100000 then
        assert.matches("do not fit", refusal(p.check_hosts, p, count + 1, 1), 1, true)
      end
      if count == 0 then assert.matches("the network's own", refusal(p.check_hosts, p, 1, 1), 1, true) end
    end
    local p = prefix.new "10.0.0.1/24"
    assert.matches("do not fit", refusal(p.check_hosts, p, 3, 2 ^ 31), 1, true) -- once around, and in it again
  end)

  it("says what it cannot be", function()
    assert.equal('bad prefix "10.0.0.5/33": a length of 0 to 32 is allowed', refusal(prefix.new, "10.0.0.5/33"))
    assert.equal('bad prefix "::/129": a length of 0 to 128 is allowed', refusal(prefix.new, "::/129"))
    for _, bad in ipairs { "", "10.0.0/24", "10.0.0.1/", "10.0.0.1/-1", "/24" } do
      assert.matches("^bad IP address", refusal(prefix.new, bad))
    end
  end)

  it("counts through addresses, and from the last to the first", function()
    local cases = {
      { "10.0.0.255", 1, "10.0.1.0" }, { "10.0.0.1", 0, "10.0.0.1" }, { "10.0.1.0", -1, "10.0.0.255" },
      { "255.255.255.255", 1, "0.0.0.0" }, { "10.7.1.1", 9999, "10.7.40.16" },
      { "2001:db8::ffff", 1, "2001:db8::1:0" }, { "::", -1, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
    }
    for _, case in ipairs(cases) do assert.equal(case[3], prefix.ip_add(case[1], case[2])) end
  end)
end)

describe("a range of VLAN stacks", function()
  it("counts from the last tag, and begins again after the last stack", function()
    local range, texts = vlan_range.new "100-101.7-9", {}
    for i = 0, range.count do texts[i + 1] = tostring(range:at(i)) end
    assert.same({ "100.7", "100.8", "100.9", "101.7", "101.8", "101.9", "100.7" }, texts)
  end)

  it("may be a single stack, or none", function()
    assert.same({ 1, "100.200" }, { vlan_range.new("100.200").count, tostring(vlan_range.new("100.200"):at(5)) })
    assert.same({ 1, "" }, { vlan_range.new().count, tostring(vlan_range.new():at(0)) })
  end)

  it("says what it cannot be", function()
    assert.equal('bad VLAN range "9-8": the first VLAN ID is behind the last', refusal(vlan_range.new, "9-8"))
    for _, bad in ipairs { "", "x", "1-", "1.", "1-2-3" } do
      assert.equal(("bad VLAN range %q: such as 100-199 or 100.1-4094 is needed"):format(bad),
        refusal(vlan_range.new, bad))
    end
    assert.matches("bad VLAN ID 4095", refusal(vlan_range.new, "1-4095"), 1, true)
    assert.matches("5 tags given", refusal(vlan_range.new, "1.2.3.4.5-6"), 1, true)
  end)
end)

describe("an invented MAC address", function()
  it("is a host's, locally administered, and not always the same", function()
    local seen = {}
    for _ = 1, 100 do
      local mac = random.mac()
      assert.matches("^02:%x%x:%x%x:%x%x:%x%x:%x%x$", mac)
      seen[mac] = true
    end
    assert.is_true(next(seen, next(seen)) ~= nil)
  end)
end)
