-- Many IPv4 addresses in a few words.

local addr = require "etherlua.net.addr"
local ip_range = require "etherlua.net.ip_range"

local misuse = require "etherlua.core.misuse"

local function texts(range)
  local list = {}
  for i = 0, range.count - 1 do list[i + 1] = addr.ip4_text(range:at(i)) end
  return list
end

local function refusal(...)
  local ok, reason = pcall(ip_range.new, ...)
  assert.is_false(ok)
  return misuse.words(reason)
end

describe("a range of addresses", function()
  it("is a prefix's hosts, without network and broadcast address", function()
    assert.same({ "10.0.0.5", "10.0.0.6" }, texts(ip_range.new "10.0.0.4/30"))
    assert.same({ "10.0.0.5", "10.0.0.6" }, texts(ip_range.new "10.0.0.7/30"))
    assert.equal(65534, ip_range.new("10.1.2.3/16").count)
    assert.equal(2 ^ 32 - 2, ip_range.new("0.0.0.0/0").count)
  end)

  it("is all of a prefix when it is asked for, and where the prefix has no room for those two (RFC 3021)", function()
    assert.same({ "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7" }, texts(ip_range.new("10.0.0.4/30", true)))
    assert.same({ "10.0.0.4", "10.0.0.5" }, texts(ip_range.new "10.0.0.5/31"))
    assert.same({ "10.0.0.5" }, texts(ip_range.new "10.0.0.5/32"))
    assert.same({ "10.0.0.5" }, texts(ip_range.new "10.0.0.5"))
  end)

  it("has both its ends, network and broadcast address or not", function()
    assert.same({ "10.0.0.255", "10.0.1.0", "10.0.1.1" }, texts(ip_range.new "10.0.0.255-10.0.1.1"))
    assert.same({ "255.255.255.255" }, texts(ip_range.new "255.255.255.255-255.255.255.255"))
  end)

  it("has each address of several texts once, in ascending order", function()
    assert.same({ "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.9", "192.168.0.1" },
      texts(ip_range.new { "192.168.0.1", "10.0.0.3-10.0.0.4", "10.0.0.0/30", "10.0.0.9", "10.0.0.2-10.0.0.3" }))
  end)

  it("knows the number of each of its addresses, and of no other", function()
    local range = ip_range.new { "10.0.0.1-10.0.0.3", "10.0.0.7", "255.255.255.254-255.255.255.255" }
    for i = 0, range.count - 1 do assert.equal(i, range:index(range:at(i))) end
    for _, ip in ipairs { "0.0.0.0", "10.0.0.0", "10.0.0.4", "10.0.0.6", "10.0.0.8", "255.255.255.253" } do
      assert.is_nil(range:index(addr.ip4_number(ip)), ip)
    end
  end)

  it("says what it cannot be", function()
    assert.equal('bad prefix "10.0.0.0/33": a length of 0 to 32 is allowed', refusal "10.0.0.0/33")
    assert.equal('bad addresses "10.0.0.9-10.0.0.4": the first is behind the last', refusal "10.0.0.9-10.0.0.4")
    assert.equal('bad addresses "2001:db8::/64": IPv4 alone is possible', refusal "2001:db8::/64")
    assert.equal("no addresses: such as 10.0.0.0/24 are needed", refusal {})
    for _, bad in ipairs { "", "10.0.0", "10.0.0.1-", "-10.0.0.1", "10.0.0.1-9", "10.0.0.0/24-10.0.0.9", "x/24" } do
      assert.matches('^bad IP', refusal(bad))
    end
  end)
end)
