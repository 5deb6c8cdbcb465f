local helper = require "support.proto"
local match = require "etherlua.proto.match"
local misuse = require "etherlua.core.misuse"
local packet = require "etherlua.proto.packet"

local A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"

local QUERY = match.decode((packet.ether { src = A, dst = B, vlans = { { vid = 100, pcp = 3 } } }
  / packet.ip4 { src = "10.0.0.1", dst = "10.0.0.2", ttl = 9 } / packet.udp { sport = 1000, dport = 53 } / "x"):build())
local DISCOVER = match.decode((packet.ether { dst = B } / packet.ip4 { dst = "255.255.255.255" } / packet.udp {}
  / packet.dhcp4 { options = { message_type = "DISCOVER", [224] = "x" } }):build())

local function mistake(pattern)
  local ok, failure = pcall(match.compile, pattern)
  assert.is_false(ok)
  return failure
end

describe("a pattern", function()
  it("takes short names of layers and fields", function()
    assert.is_nil(match.difference({ ether = { dst = B }, ip4 = { ttl = 9 }, udp = { sport = 1000, dport = 53 } },
      QUERY))
    assert.equal("udp.dst_port is 53, not 54", match.difference({ udp = { dport = 54 } }, QUERY))
    assert.equal("ipv4.ttl is 9, not 8", match.difference({ ip4 = { ttl = 8 } }, QUERY))
  end)

  it("takes the fields of both IP versions as those of ip, bytes, and what no protocol reads", function()
    assert.is_nil(match.difference({ ip = { ttl = 9, hop_limit = false } }, QUERY))
    assert.is_nil(match.difference({ ip6 = false, data = { payload = "x" }, malformed = false,
      line = function(line) return line:find "IPv4" end }, QUERY))
  end)

  it("takes tags by number or by their fields, and options by name or code", function()
    assert.is_nil(match.difference({ ethernet = { vlans = { 100 } } }, QUERY))
    assert.is_nil(match.difference({ ethernet = { vlans = { { pcp = 3 } } } }, QUERY))
    assert.is_nil(match.difference({ dhcp4 = { options = { message_type = "DISCOVER", [224] = "x", [61] = false } } },
      DISCOVER))
  end)

  it("with a layer that nobody knows is an error with the known ones", function()
    local failure = mistake { upd = { dport = 53 } }
    assert.matches('bad pattern: unknown layer "upd", did you mean "udp"%? known are: arp, data, dhcp4, ', failure)
    assert.matches(", ip, ip4, ip6, ", failure)
    assert.matches('unknown layer "1"', mistake { "udp" })
  end)

  it("with a field that nobody knows is an error with the known ones", function()
    assert.matches('unknown field "dst_prot" of udp, did you mean "dst_port"%? known are: checksum, dst_port, ',
      mistake { udp = { dst_prot = 53 } })
    assert.matches('unknown field "tll" of ip, did you mean "ttl"%?', mistake { ip = { tll = 1 } })
    assert.matches('unknown field "vlan" of ethernet, did you mean "vlans"%?', mistake { ethernet = { vlan = 100 } })
    assert.matches('unknown field "text" of data', mistake { data = { text = "x" } })
    assert.matches('field "dst_port" of udp is given twice', mistake { udp = { dport = 1, dst_port = 1 } })
  end)

  it("with a name that nobody knows inside of a field is an error with the known ones", function()
    assert.matches('unknown field "pri" of a VLAN tag: known are: dei, pcp, tpid, vid',
      mistake { ethernet = { vlans = { { vid = 1, pri = 3 } } } })
    assert.matches('unknown DHCP option "mesage_type", did you mean "message_type"%?',
      mistake { dhcp4 = { options = { mesage_type = "DISCOVER" } } })
    assert.matches('unknown field "prefx" of an icmp6 option, did you mean "prefix"%?',
      mistake { icmp6 = { options = { { prefx = "2001:db8::" } } } })
  end)

  it("that is wrong is an error at the caller's line", function()
    local here = debug.getinfo(1, "l").currentline
    local failure = mistake { udp = { dst_prot = 53 } }
    assert.matches("^spec/proto/match_spec%.lua:%d+: unknown field", failure)
    assert.is_true(tonumber(failure:match ":(%d+):") < here) -- in mistake()
    assert.matches("^unknown field", misuse.words(failure))
    helper.raises("bad pattern 5: a table of fields, a function or a Lua pattern is needed", match.difference, 5, QUERY)
  end)
end)
