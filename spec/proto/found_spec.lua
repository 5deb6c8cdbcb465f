-- What fuzzing found in what reads and shows packets and texts (`make fuzz`, spec/fuzz/codec.lua): each of these was
-- wrong once.

local addr = require "etherlua.net.addr"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_option = require "etherlua.program.dhcp4_option"
local helper = require "support.proto"
local match = require "etherlua.proto.match"
local packet = require "etherlua.proto.packet"
local size_mix = require "etherlua.net.size_mix"
local tcp = require "etherlua.proto.tcp"

local function convert(text)
  error(select(2, dhcp4_option.convert(text)), 0)
end

-- A message with other octets from a position on.
local function with(message, at, octets)
  return message:sub(1, at - 1) .. octets .. message:sub(at + #octets)
end

local MESSAGE = dhcp4.build { chaddr = "02:00:00:11:22:33", sname = "server", options = { message_type = "OFFER" } }

-- Octet by octet, and the fields again.
local function comes_back(message)
  local fields = assert(dhcp4.parse(message))
  assert.is_true(dhcp4.build(fields) == message)
  assert.same(fields, dhcp4.parse(dhcp4.build(fields)))
  return fields
end

describe("what fuzzing found:", function()
  it("what stands behind the values of a DHCP message is built again, as boot loaders leave it there", function()
    assert.is_nil(comes_back(MESSAGE).rest)
    assert.same({ chaddr = ("\0"):rep(9) .. "x" }, comes_back(with(MESSAGE, 44, "x")).rest)
    local fields = comes_back(with(MESSAGE, 100, "memory"))
    assert.same({ "server", ("\0"):rep(49) .. "memory\0\0\0" }, { fields.sname, fields.rest.sname })
    assert.same({ file = ("\0"):rep(127) .. "\254" }, comes_back(with(MESSAGE, 236, "\254")).rest)
    assert.truthy(comes_back(MESSAGE .. "\7").rest.options:find "\7$")
  end)

  it("and is left out where a value leaves another room", function()
    local fields = comes_back(with(MESSAGE, 100, "memory"))
    fields.sname = "other server"
    assert.is_nil(dhcp4.parse(dhcp4.build(fields)).rest)
  end)

  it("padding between DHCP options is built again, while they say the same", function()
    local padded = with(MESSAGE, 241, "\0\0\53\1\2\0\12\1h\0\0\255")
    local fields = comes_back(padded)
    fields.options.host_name = "i"
    assert.same({ message_type = "OFFER", host_name = "i" }, dhcp4.parse(dhcp4.build(fields)).options)
  end)

  it("DHCP options in the place of file and sname are built again as they were laid out", function()
    local both = with(with(with(MESSAGE, 241, "\52\1\3\53\1\2\255"), 45, "\12\1h\255" .. ("\0"):rep(60)), 109,
      "\15\2ab\0\0\255")
    local fields = comes_back(both)
    assert.same({ "both", "h", "ab" }, { fields.overload, fields.options.host_name, fields.options.domain_name })
    fields.options.domain_name = "other"
    assert.equal("other", dhcp4.parse(dhcp4.build(fields)).options.domain_name)
  end)

  it("the rest of a DHCP message is octets by name, in a packet and in a pattern", function()
    helper.raises("bad rest { frob = \"x\" } of dhcp4: octets of chaddr", dhcp4.build, { rest = { frob = "x" } })
    helper.raises("bad rest 5 of dhcp4: ", match.compile, { dhcp4 = { rest = 5 } })
    match.compile { dhcp4 = { rest = { sname = function() end } } }
  end)

  it("a TCP header that an error cut off is no answer, and none is not nothing", function()
    local cut = tcp.parse(("\0"):rep(8), true)
    assert.is_false(tcp.answers(cut, cut))
  end)

  it("a Lua pattern that is none is refused, at the latest by the text that shows it", function()
    local frame = match.decode((packet.ether { dst = "02:00:00:00:00:01", src = "02:00:00:00:00:02",
      ethertype = 0x88b5 } / "data"):build())
    for _, pattern in ipairs { "[", "%", "(", "%f", "data[" } do
      helper.raises(("bad pattern %q: "):format(pattern), match.difference, pattern, frame)
    end
  end)

  it("an error that says what was given is one line without control characters, whatever that was", function()
    for text, shown in pairs { ["a\nb"] = "a\\nb", ["a\27[2Jb"] = "[2Jb", ["\255"] = "\\xff",
      ["\226\128\174"] = "\\xe2\\x80\\xae" } do
      for _, read in ipairs { addr.ip_bytes, size_mix.new, convert } do
        local _, reason = pcall(read, text)
        assert.truthy(reason:find(shown, 1, true), reason)
        assert.is_nil(reason:find "[^\32-\126]")
      end
    end
  end)
end)
