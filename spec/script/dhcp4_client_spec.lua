-- The script dhcp4_client, and others that ask for DHCP servers, against a server that says what it must not, as a user
-- sees it. What the client makes of it is in spec/role/dhcp4_client_terms_spec.lua.

local lab = require "etherlua.lab.lab"
local program = require "support.program"
local root_it = require "support.root_it"

local CLIENT = "dhcp4_client -i eth0 --mac 02:00:00:00:00:01 --arp-probe off --tries 1 --timeout 0.5 "

-- A server whose ACK, or what is in its place, is this; behind the options of all that it sends are some bytes.
local SERVER = [[
  local ether = require "etherlua"
  local dhcp4 = require "etherlua.proto.dhcp4"
  local conn = ether.relay():conn { mac = "02:dd:00:00:00:01", multicast = true }
  local udp = conn:udp("10.0.0.1:67", { accept_any = true })
  print "ready"
  io.stdout:flush()
  local kinds = { DISCOVER = "OFFER", REQUEST = %q }
  for frame in udp:frames() do
    local message = dhcp4.parse(frame.body)
    local kind = message and kinds[message.options.message_type]
    if kind then
      local options = { message_type = kind, server_id = "10.0.0.1" }
      if kind ~= "OFFER" then
        for name, value in pairs { %s } do options[name] = value end
      end
      udp:send(dhcp4.build { xid = message.xid, chaddr = message.chaddr, yiaddr = kind ~= "NAK" and "10.0.0.10" or nil,
        options = options, no_end = true, pad = false } .. %q, "255.255.255.255:68", { mac = "ff:ff:ff:ff:ff:ff" })
    end
  end
]]

describe("the script dhcp4_client", function()
  local reason, net = select(2, lab.root()), nil

  before_each(function()
    if not reason then net = lab.new() end
  end)

  after_each(function()
    if net then net:close() end
  end)

  -- Runs it in text and in JSON, with a server that answers requests so.
  local function against(kind, options)
    local server = program.start_script(net.far, SERVER:format(kind, options, "\255"))
    local status, text = program.said(net.near, CLIENT)
    local _, objects, json = program.json(net.near, CLIENT .. " --json")
    server.close()
    return status, text, objects[1], json
  end

  root_it("prints no escape sequence and no line of a server's, and valid UTF-8 as JSON", function()
    local status, text, object, json = against("NAK",
      [[message = "no\27[31m\n02:00:00:00:00:02  10.0.0.9/24\255 \195\188\194\155"]])
    local words = "refused (NAK): no\\x1b[31m\\x0a02:00:00:00:00:02  10.0.0.9/24\\xff \195\188\\xc2\\x9b"
    assert.equal(3, status, text)
    assert.matches("^02:00:00:00:00:01  no lease: refused %(NAK%): no\\x1b", text)
    assert.is_truthy(text:find(words, 1, true), text)
    assert.equal(2, select(2, text:gsub("\n", "")), text)
    assert.equal(words, object.error)
    assert.is_nil(json:find "[%z\1-\9\11-\31\127\194\255]")
  end)

  root_it("says as the others do how many offers were not understood, and why", function()
    local server = program.start_script(net.far, SERVER:format("ACK", "", "\15\20ab"))
    local why = "dhcp4: option 15 is cut short"
    local _, text = program.said(net.near, CLIENT)
    assert.is_truthy(text:find("no lease: no offer, but 1 reply of no use: not understood (" .. why .. ")\n", 1, true),
      text)
    for script, count in pairs { ["rogue_dhcp --tries 1 --wait 0.1"] = 1,
      ["dhcp4_load --clients 3 --retries 0 --timeout 0.2"] = 3 } do
      _, text = program.said(net.near, script .. " -i eth0")
      assert.is_truthy(text:find(("\n  %d not understood: %s\n"):format(count, why), 1, true), text)
      local _, objects = program.json(net.near, script .. " -i eth0 --json")
      assert.same({ [why] = count }, objects[#objects].misread)
    end
    server.close()
  end)

  root_it("says what the server left out, and what is done instead", function()
    local status, text, object = against("ACK", "routers = { '10.0.0.1' }")
    local notes = { "no subnet mask: /8 of its class is assumed", "no lease time: an hour is assumed" }
    assert.equal(0, status, text)
    assert.matches("  10%.0%.0%.10/8  router 10%.0%.0%.1  server 10%.0%.0%.1  lease 3600 s  [%d.]+ ms  %(" ..
      "no subnet mask: /8 of its class is assumed; no lease time: an hour is assumed%)\n$", text)
    assert.same({ 3600, notes }, { object.lease_time, object.notes })
  end)

  root_it("shows the mask as it came where it is none, and the routes that replace the router", function()
    local status, text, object = against("ACK", [[subnet_mask = "255.0.255.0", lease_time = 100,
      routers = { "10.0.0.1" }, classless_routes = { { prefix = "10.17.0.0/16", router = "10.0.0.2" } } ]])
    assert.equal(0, status, text)
    assert.matches("  10%.0%.0%.10/32  router none  routes 10%.17%.0%.0/16 by 10%.0%.0%.2  server 10%.0%.0%.1  " ..
      "lease 100 s  [%d.]+ ms  %(255%.0%.255%.0 is no subnet mask: /32 is used%)\n$", text)
    assert.same({ "255.0.255.0", { { prefix = "10.17.0.0/16", router = "10.0.0.2" } } },
      { object.mask, object.routes })
  end)
end)
