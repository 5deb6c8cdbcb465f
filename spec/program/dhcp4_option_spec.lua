local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_option = require "etherlua.program.dhcp4_option"
local helper = require "support.proto"

describe("an option of DHCP on a command line", function()
  local function becomes(code_or_name, text, key, value)
    local got_key, got_value = dhcp4_option.read(code_or_name, text)
    assert.equal(key, got_key)
    assert.same(value, got_value)
    assert.same(value, dhcp4.parse(dhcp4.build { options = { [got_key] = got_value } }).options[key])
  end

  it("becomes a typed option", function()
    becomes("60", "text", "vendor_class", "text")
    becomes(60, "text", "vendor_class", "text")
    becomes("43", "0x0102", "vendor_specific", "\1\2")
    becomes("dns_servers", "1.1.1.1,8.8.8.8", "dns_servers", { "1.1.1.1", "8.8.8.8" })
    becomes("requested_address", "10.0.0.5", "requested_address", "10.0.0.5")
    becomes("lease_time", "3600", "lease_time", 3600)
    becomes("time_offset", "-60", "time_offset", -60)
    becomes("interface_mtu", "0x5dc", "interface_mtu", 1500)
    becomes("host_name", "0x6162", "host_name", "ab")
    becomes("ip_forwarding", "false", "ip_forwarding", false)
    becomes("rapid_commit", "true", "rapid_commit", true)
    becomes("message_type", "discover", "message_type", "DISCOVER")
    becomes("message_type", "13", "message_type", 13)
    becomes("parameter_request_list", "1,routers,6", "parameter_request_list", { 1, 3, 6 })
    becomes("client_architecture", "0,7", "client_architecture", { 0, 7 })
    becomes("classless_routes", "0.0.0.0/0=10.0.0.1,10.1.0.0/16=10.0.0.2", "classless_routes",
      { { prefix = "0.0.0.0/0", router = "10.0.0.1" }, { prefix = "10.1.0.0/16", router = "10.0.0.2" } })
    becomes("static_routes", "192.168.5.0=10.0.0.2", "static_routes",
      { { destination = "192.168.5.0", router = "10.0.0.2" } })
    becomes("249", "10.1.0.0/16=10.0.0.2", "ms_classless_routes", { { prefix = "10.1.0.0/16", router = "10.0.0.2" } })
    becomes("82", "circuit_id=eth0=1,2=0x01ff,9=x", "relay_agent",
      { circuit_id = "eth0=1", remote_id = "\1\255", [9] = "x" })
  end)

  it("takes text or hex for an unknown code, and hex for a known one as raw bytes", function()
    becomes("224", "text", 224, "text")
    becomes("224", "0x00ff", 224, "\0\255")
    local key, value = dhcp4_option.read("121", "0x00")
    assert.same({ 121, "\0" }, { key, value })
  end)

  it("that is wrong raises one line that says what is allowed", function()
    local wrong = {
      { "nothing", "x", "unknown DHCP option" }, { "0", "x", "unknown DHCP option" },
      { "255", "x", "unknown DHCP option" },
      { "lease_time", "soon", "bad DHCP option lease_time soon: 0 to 4294967295 is allowed" },
      { "routers", "10.0.0.1,", "an IPv4 address" }, { "subnet_mask", "24", "an IPv4 address" },
      { "message_type", "hello", "one of DISCOVER" }, { "ip_forwarding", "yes", "true or false" },
      { "rapid_commit", "false", "true is the only value" }, { "parameter_request_list", "foo", "0 to 255" },
      { "classless_routes", "10.0.0.0/8", "PREFIX=ROUTER" }, { "classless_routes", "x=10.0.0.1", "a prefix such as" },
      { "relay_agent", "foo=x", "circuit_id=TEXT" }, { "relay_agent", "300=x", "0 to 255" },
      { "vendor_class", "0xabc", "pairs of hex digits" },
    }
    for _, case in ipairs(wrong) do
      helper.raises(case[3], dhcp4_option.read, case[1], case[2])
      local _, message = pcall(dhcp4_option.read, case[1], case[2])
      assert.is_nil(message:find("\n"))
    end
  end)

  it("is read whole, for a parser of options", function()
    assert.same({ "host_name", "cpe=1" }, dhcp4_option.convert "host_name=cpe=1")
    assert.same({ nil, 'bad option "60": NAME=VALUE or CODE=VALUE is needed' }, { dhcp4_option.convert "60" })
    assert.same({ nil, "bad DHCP option lease_time x: 0 to 4294967295 is allowed" },
      { dhcp4_option.convert "lease_time=x" })
  end)
end)
