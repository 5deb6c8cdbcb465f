-- An IP packet of either version, by its destination.

local ip = require "etherlua.proto.ip"
local proto = require "etherlua.proto"
local told = require "support.told"

describe("an IP packet of either version", function()
  local FIELDS = { protocol = 17, ttl = 9, tos = 4, df = true, identification = 7, payload = "x" }

  local function built(src, dst, more)
    local fields = { src = src, dst = dst }
    for _, list in ipairs { FIELDS, more or {} } do
      for name, value in pairs(list) do fields[name] = value end
    end
    return ip.build(fields)
  end

  it("is IPv4 to an IPv4 address", function()
    local packet = assert(proto.ipv4.parse(built("10.0.0.1", "10.0.0.2")))
    assert.same({ 9, 4, true, 7, "x" }, { packet.ttl, packet.tos, packet.df, packet.identification, packet.payload })
  end)

  it("is IPv6 to an IPv6 address, without what only IPv4 has", function()
    local packet = assert(proto.ipv6.parse(built("2001:db8::1", "2001:db8::2")))
    assert.same({ 9, 4, 17, "x" }, { packet.hop_limit, packet.traffic_class, packet.protocol, packet.payload })
  end)

  it("takes a version's own name before the other one's", function()
    assert.equal(5, proto.ipv6.parse(built("2001:db8::1", "2001:db8::2", { hop_limit = 5 })).hop_limit)
    assert.equal(9, proto.ipv4.parse(built("10.0.0.1", "10.0.0.2", { hop_limit = 5 })).ttl)
  end)

  it("refuses a field that neither version has", function()
    told(function() ip.build { dst = "10.0.0.1", tttl = 1 } end, 'unknown field "tttl" of ip, did you mean "ttl"? ' ..
      "known are: " .. table.concat((function()
      local names = { unpack(ip.fields.names) }
      table.sort(names)
      return names
    end)(), ", "))
  end)
end)
