-- What a DHCP message says when options come twice, with another length, or without an end, and that its bytes are
-- kept.

local dhcp4 = require "etherlua.proto.dhcp4"
local helper = require "support.proto"

-- A message with these bytes for options.
local function message_with(option_bytes)
  return dhcp4.build({ pad = false }):sub(1, 240) .. option_bytes
end

-- Bytes of options -> what they say.
local ODD = {
  ["a lease time twice in one"] = { "\51\8\0\0\14\16\0\0\14\16\255", { lease_time = 3600 } },
  ["a lease time with more behind it"] = { "\51\5\0\0\14\16\9\255", { lease_time = 3600 } },
  ["two lease times"] = { "\51\4\0\0\14\16\51\4\0\0\0\9\255", { lease_time = 3600 } },
  ["two server identifiers apart"] = { "\54\4\10\0\0\1\12\1h\54\4\10\0\0\2\255",
    { server_id = "10.0.0.1", host_name = "h" } },
  ["parts together and apart"] = { "\15\1a\15\1b\12\1h\15\1c\51\4\0\0\0\9\15\0\51\4\0\0\0\8\255",
    { domain_name = "abc", host_name = "h", lease_time = 9 } },
  ["long parts apart"] = { "\15\255" .. ("x"):rep(255) .. "\12\1h\15\1y\255",
    { domain_name = ("x"):rep(255) .. "y", host_name = "h" } },
  ["one that is too short before one that fits"] = { "\54\2\10\0\54\4\10\0\0\1\255", { server_id = "10.0.0.1" } },
  ["one that is too long before one that fits"] = { "\1\5\255\255\0\0\9\1\4\255\255\255\0\255",
    { subnet_mask = "255.255.255.0" } },
  ["a value in two parts"] = { "\54\2\10\0\54\2\0\1\255", { server_id = "10.0.0.1" } },
  ["two message types"] = { "\53\1\2\53\1\5\255", { message_type = "OFFER" } },
  ["a long message type"] = { "\53\2\2\0\255", { message_type = "OFFER" } },
  ["a boolean that is none before one"] = { "\19\1\7\19\1\0\255", { ip_forwarding = false } },
  ["numbers of two octets"] = { "\26\4\5\220\5\220\57\3\5\220\0\255",
    { interface_mtu = 1500, max_message_size = 1500 } },
  ["what does not fit at all"] = { "\51\2\0\1\51\1\1\255", { [51] = "\0\1\1" } },
  ["NULs behind a text"] = { "\15\3ab\0\255", { domain_name = "ab" } },
  ["a text in two parts"] = { "\15\2ab\15\1c\255", { domain_name = "abc" } },
  ["no end"] = { "\12\1h", { host_name = "h" } },
  ["no options"] = { "", {} },
}

describe("a DHCP message", function()
  for what, case in pairs(ODD) do
    it("takes the first value that fits, and keeps all bytes: " .. what, function()
      local message = message_with(case[1])
      local fields = assert(dhcp4.parse(message))
      assert.same(case[2], fields.options)
      assert.same(fields, dhcp4.parse(dhcp4.build(fields)))
      assert.equal(message, dhcp4.build(fields))
    end)
  end

  it("without an end is padded as it was", function()
    local message = message_with("\12\1h" .. ("\0"):rep(80))
    local fields = dhcp4.parse(message)
    assert.same({ { host_name = "h" }, true }, { fields.options, fields.no_end })
    assert.equal(message, dhcp4.build(fields))
  end)

  it("takes the first of two kinds of overload, and keeps both", function()
    local base = message_with "\53\1\5\52\2\2\1\255"
    local message = base:sub(1, 44) .. "\12\1h\255" .. ("\0"):rep(60) .. base:sub(109)
    local fields = dhcp4.parse(message)
    assert.same({ { message_type = "ACK", host_name = "h" }, "sname" }, { fields.options, fields.overload })
    assert.equal(message, dhcp4.build(fields))
  end)

  it("keeps parts that are apart where another option was changed or left out", function()
    local fields = dhcp4.parse(message_with "\54\4\10\0\0\1\12\1h\54\4\10\0\0\2\60\1v\255")
    fields.options.host_name = "other"
    assert.equal(message_with "\54\4\10\0\0\1\12\5other\54\4\10\0\0\2\60\1v\255", dhcp4.build(fields))
    fields.options.host_name, fields.options.server_id = nil, "10.0.0.9"
    assert.equal(message_with "\54\4\10\0\0\9\60\1v\255", dhcp4.build(fields))
  end)

  it("is built anew where an option was changed", function()
    local fields = dhcp4.parse(message_with "\51\8\0\0\14\16\0\0\14\16\15\3ab\0\255")
    fields.options.lease_time = 60
    assert.equal(message_with "\51\4\0\0\0\60\15\3ab\0\255", dhcp4.build(fields))
    fields.options.lease_time = nil
    assert.equal(message_with "\15\3ab\0\255", dhcp4.build(fields))
  end)

  it("cut within an option is refused with the option's number", function()
    helper.refuses(dhcp4, message_with "\53\1\2\15\20ab", "dhcp4: option 15 is cut short")
    helper.refuses(dhcp4, message_with "\53\1\2\15", "dhcp4: option 15 is cut short")
  end)

  it("has static routes by RFC 2132, and those of Windows before RFC 3442", function()
    local options = { static_routes = { { destination = "192.168.5.0", router = "10.0.0.2" } },
      ms_classless_routes = { { prefix = "10.17.0.0/16", router = "10.0.0.3" } } }
    local message = dhcp4.build { options = options, pad = false }
    assert.equal(message_with "\33\8\192\168\5\0\10\0\0\2\249\7\16\10\17\10\0\0\3\255", message)
    assert.same(options, dhcp4.parse(message).options)
    assert.same({ [33] = "\1\2\3\4" }, dhcp4.parse(message_with "\33\4\1\2\3\4\255").options)
  end)
end)
