local addr = require "etherlua.net.addr"
local group = require "etherlua.net.group"
local segment = require "etherlua.host.segment"

-- Address -> its MAC address; false: it is that of one host.
local ADDRESSES = {
  ["255.255.255.255"] = "ff:ff:ff:ff:ff:ff",
  ["224.0.0.1"] = "01:00:5e:00:00:01",
  ["239.255.255.250"] = "01:00:5e:7f:ff:fa", -- of 28 bits 23 are kept (RFC 1112 section 6.4)
  ["ff02::1"] = "33:33:00:00:00:01",
  ["ff02::1:ffab:cdef"] = "33:33:ff:ab:cd:ef",
  ["10.0.0.1"] = false,
  ["223.255.255.255"] = false,
  ["240.0.0.1"] = false,
  ["255.255.255.254"] = false,
  ["fe80::1"] = false,
  ["e000::1"] = false,
}

describe("a group", function()
  for ip, mac in pairs(ADDRESSES) do
    it(("is what %s is%s"):format(ip, mac and "" or " not"), function()
      assert.equal(mac ~= false, group.is_group_ip(ip))
      assert.equal(mac ~= false, group.is_group(addr.addr(addr.with_port(ip))))
    end)

    it(("that %s is has %s"):format(ip, mac and "the MAC address " .. mac or "none"), function()
      assert.equal(mac or nil, group.mac_text(ip))
      local object = group.mac(addr.addr(addr.with_port(ip)))
      assert.equal(mac or nil, object and tostring(object))
    end)
  end
end)

describe("an address", function()
  it("that no host can have is told, and why (RFC 1122 section 3.2.1.3)", function()
    for ip, why in pairs { ["0.0.0.0"] = "no address", ["0.0.0.1"] = "of no network", ["127.0.0.1"] = "loopback",
      ["127.255.255.254"] = "loopback", ["224.0.0.1"] = "multicast", ["239.255.255.255"] = "multicast",
      ["255.255.255.255"] = "broadcast", ["1.0.0.0"] = false, ["126.0.0.1"] = false, ["128.0.0.1"] = false,
      ["223.255.255.255"] = false, ["240.0.0.1"] = false, ["255.255.255.254"] = false, ["10.0.0.255"] = false } do
      assert.equal(why or nil, group.no_host(ip))
      assert.equal(not why, group.is_host4(segment.key(ip)), ip)
    end
  end)
end)
