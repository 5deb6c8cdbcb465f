-- The DHCP client against a server that the test scripts: what it sends and when, and what it believes.

local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local leaks = require "support.leaks"
local proto = require "etherlua.proto"
local script = require "support.dhcp4_script"
local vlan_stack = require "etherlua.net.vlan_stack"
local settle = require("support.wait").settle

local MAC, SERVER_MAC, SERVER_IP = script.MAC, script.SERVER_MAC, script.SERVER_IP
local OTHER_MAC, BROADCAST, ANY = "02:00:00:00:00:aa", "ff:ff:ff:ff:ff:ff", "0.0.0.0"
local reply_to, on_wire, lease = script.reply_to, script.on_wire, script.lease

describe("a DHCP client", function()
  after_each(leaks.check)

  -- ---- what it sends --------------------------------------------------------------------------------------------

  it("broadcasts a DISCOVER without an address, with a parameter list", on_wire({}, function(_, server, conn)
    lease(conn)
    local message = server.messages[1]
    assert.same({ "DISCOVER", 1, 1, 6, MAC, 0, false }, { message.options.message_type, message.op, message.htype,
      message.hlen, message.chaddr, message.secs, message.broadcast })
    assert.same({ ANY, ANY, ANY, ANY }, { message.ciaddr, message.yiaddr, message.siaddr, message.giaddr })
    assert.same({ MAC, BROADCAST, ANY, "255.255.255.255" }, { message.frame.src, message.frame.dst, message.packet.src,
      message.packet.dst })
    assert.is_nil(message.options.server_id)
    assert.is_nil(message.options.requested_address)
    local wanted = {}
    for _, code in ipairs(message.options.parameter_request_list) do wanted[code] = true end
    assert.is_true(wanted[1] and wanted[3] and wanted[6] and wanted[51])
  end))

  it("requests what was offered, of the server that offered it, with the same xid and secs",
    on_wire({}, function(_, server, conn)
      lease(conn)
      local discover, request = unpack(server.messages)
      assert.same({ "REQUEST", SERVER_IP, "10.0.0.10" }, { request.options.message_type, request.options.server_id,
        request.options.requested_address })
      assert.same({ discover.xid, discover.secs, ANY, MAC }, { request.xid, request.secs, request.ciaddr,
        request.chaddr })
      assert.same({ BROADCAST, ANY, "255.255.255.255" }, { request.frame.dst, request.packet.src, request.packet.dst })
    end))

  it("tells the terms of the lease", on_wire({
    REQUEST = function(message)
      return reply_to(message, "ACK", {}, { routers = { "10.0.0.2", "10.0.0.3" }, lease_time = 100, renewal_time = 40,
        rebinding_time = 70 })
    end,
  }, function(_, _, conn)
    local got = assert(lease(conn))
    assert.same({ "10.0.0.10", "255.255.255.0", "10.0.0.2", SERVER_IP, SERVER_MAC, 100, 40, 70, MAC, "" }, { got.ip,
      got.mask, got.router, got.server, got.server_mac, got.lease_time, got.renewal_time, got.rebinding_time, got.mac,
      got.vlans })
    assert.is_true(got.elapsed > 0 and got.elapsed < 10)
  end))

  it("asks for an address, and for broadcast replies, when told to", on_wire({}, function(_, server, conn)
    lease(conn, { requested_address = "10.0.0.77", broadcast = true })
    assert.equal("10.0.0.77", server.messages[1].options.requested_address)
    assert.is_true(server.messages[1].broadcast and server.messages[2].broadcast)
  end))

  it("sends the options that it is given, but behind the lease only those that name it",
    on_wire({}, function(_, server, conn)
      assert(lease(conn, { options = { vendor_class = "etherlua", client_id = "\0me", [224] = "x",
        parameter_request_list = { 1, 42 } } })):close()
      settle()
      for i = 1, 2 do
        local options = server.messages[i].options
        assert.same({ "etherlua", "\0me", "x", { 1, 42 } }, { options.vendor_class, options.client_id, options[224],
          options.parameter_request_list })
      end
      assert.same({ message_type = "RELEASE", server_id = SERVER_IP, client_id = "\0me" }, server.messages[3].options)
    end))

  it("uses another xid for each client and each round", on_wire({
    REQUEST = function(message, count) return reply_to(message, count == 1 and "NAK" or "ACK") end,
  }, function(relay, server, conn)
    assert(lease(conn))
    assert(lease(relay:conn { mac = OTHER_MAC }))
    local seen, different = {}, 0
    for _, message in ipairs(server:heard "DISCOVER") do
      different = different + (seen[message.xid] and 0 or 1)
      seen[message.xid] = true
    end
    assert.equal(3, different)
  end))

  -- ---- when nobody answers ----------------------------------------------------------------------------------------

  local function check_back_off(messages, first)
    for i = 2, #messages do
      local gap, expected = messages[i].time - messages[i - 1].time, first * 2 ^ (i - 2)
      local text = ("%d: %g instead of %g"):format(i, gap, expected)
      assert.is_true(gap > expected * 0.7 and gap < expected * 1.5 + 1, text)
      assert.equal(messages[1].xid, messages[i].xid)
    end
  end

  it("repeats the DISCOVER, each time after twice the pause, and gives up",
    on_wire({ DISCOVER = false }, function(_, server, conn)
      assert.same({ nil, "no offer" }, { lease(conn, { first_timeout = 0.06, tries = 4 }) })
      assert.same({ 4, 4 }, { #server.messages, server:count "DISCOVER" })
      check_back_off(server.messages, 0.06)
    end))

  it("repeats the REQUEST to a server that froze, each time after twice the pause, and gives up",
    on_wire({ REQUEST = false }, function(_, server, conn)
      assert.same({ nil, "no answer to the request" }, { lease(conn, { first_timeout = 0.06, tries = 3 }) })
      assert.same({ 4, 3 }, { #server.messages, server:count "REQUEST" })
      check_back_off(server:heard "REQUEST", 0.06)
    end))

  it("says in secs how long it has been trying", on_wire({
    DISCOVER = function(message, count) return count == 2 and reply_to(message, "OFFER") or nil end,
  }, function(_, server, conn)
    assert(lease(conn, { first_timeout = 1.5 })) -- with its jitter from 1.1 to 1.9
    assert.same({ 0, 1, 1 }, { server.messages[1].secs, server.messages[2].secs, server.messages[3].secs })
  end))

  it("gets its lease when the first message of each kind is lost", on_wire({
    DISCOVER = function(message, count) return count == 2 and reply_to(message, "OFFER") or nil end,
    REQUEST = function(message, count) return count == 2 and reply_to(message, "ACK") or nil end,
  }, function(_, _, conn)
    assert.equal("10.0.0.10", assert(lease(conn, { first_timeout = 0.05 })).ip)
  end))

  it("says so when the relay is closed meanwhile", on_wire({ DISCOVER = false }, function(relay, _, conn)
    ether.spawn(function()
      settle()
      relay:close()
    end)
    assert.same({ nil, "closed" }, { lease(conn) })
  end))

  it("can be cancelled while it waits, and started again", on_wire({
    DISCOVER = function(message, count) return count > 1 and reply_to(message, "OFFER") or nil end,
  }, function(_, _, conn)
    local task = ether.spawn(lease, conn)
    settle()
    task:cancel()
    assert.same({ nil, "cancelled" }, { task:join() })
    assert(lease(conn))
  end))

  -- ---- what it believes -------------------------------------------------------------------------------------------

  local function with(kind, fields, options)
    return function(message) return proto.dhcp4.build(reply_to(message, kind, fields, options)) end
  end

  -- Replies that are not for it, or of no use.
  local STRANGE = {
    ["another xid"] = function(message) return with("OFFER", { xid = (message.xid + 1) % 2 ^ 32 })(message) end,
    ["another client's hardware address"] = with("OFFER", { chaddr = OTHER_MAC }),
    ["a request's op code"] = with("OFFER", { op = 1 }),
    ["no server identifier"] = with("OFFER", nil, { server_id = false }),
    ["no address"] = with("OFFER", { yiaddr = ANY }),
    ["a hardware address of three bytes"] = with("OFFER", { hlen = 3, chaddr = "abc" }),
    ["a wrong magic cookie"] = function(message)
      return (with("OFFER")(message):gsub("\x63\x82\x53\x63", "abcd", 1))
    end,
    ["its end missing"] = function(message) return with("OFFER")(message):sub(1, 245) end,
    ["nothing but rubbish in it"] = function() return ("\x02\xff"):rep(200) end,
    ["33 bytes"] = function() return ("x"):rep(33) end,
    ["no bytes at all"] = function() return "" end,
  }

  for what, make in pairs(STRANGE) do
    it("ignores an offer with " .. what .. ", unicast or broadcast", on_wire({}, function(_, server, conn)
      server.on.DISCOVER = function(message)
        local strange = make(message)
        server:reply(message, strange)
        server:reply(message, strange, { mac = BROADCAST })
        return reply_to(message, "OFFER", { yiaddr = "10.0.0.99" }, { server_id = "10.0.0.9" })
      end
      assert(lease(conn, { tries = 1 }))
      assert.same({ "10.0.0.9", "10.0.0.99" }, { server.messages[2].options.server_id,
        server.messages[2].options.requested_address })
      assert.equal(2, #server.messages)
    end))
  end

  it("ignores an ACK or NAK while it waits for an offer", on_wire({}, function(_, server, conn)
    server.on.DISCOVER = function(message)
      for _, kind in ipairs { "ACK", "NAK" } do server:reply(message, reply_to(message, kind)) end
      return reply_to(message, "OFFER", { yiaddr = "10.0.0.99" })
    end
    assert(lease(conn, { tries = 1 }))
    assert.equal("10.0.0.99", server.messages[2].options.requested_address)
  end))

  it("takes the server from the offer when the ACK does not name it", on_wire({
    REQUEST = function(message) return reply_to(message, "ACK", {}, { server_id = false }) end,
  }, function(_, server, conn)
    assert(lease(conn)):close()
    settle()
    assert.equal(SERVER_IP, server:heard("RELEASE")[1].options.server_id)
  end))

  it("renews at half of the lease and rebinds at 7/8 when the server's times make no sense", function()
    for _, times in ipairs { { 0, 70 }, { 60, 50 }, { 40, 101 }, { 60, 60 } } do
      on_wire({
        REQUEST = function(message)
          return reply_to(message, "ACK", {}, { lease_time = 100, renewal_time = times[1], rebinding_time = times[2] })
        end,
      }, function(_, _, conn)
        local got = assert(lease(conn))
        assert.same({ 50, 87.5 }, { got.renewal_time, got.rebinding_time })
      end)()
    end
  end)

  it("starts anew when its request is refused, without the address that it asked for", on_wire({
    REQUEST = function(message, count) return reply_to(message, count == 1 and "NAK" or "ACK") end,
  }, function(_, server, conn)
    assert(lease(conn, { requested_address = "10.0.0.10" }))
    local first, second = unpack(server:heard "DISCOVER")
    assert.same({ "10.0.0.10" }, { first.options.requested_address, second.options.requested_address })
  end))

  it("gives up when it is refused again and again, and hands on the server's words", on_wire({
    REQUEST = function(message) return reply_to(message, "NAK", {}, { message = "not you" }) end,
  }, function(_, server, conn)
    assert.same({ nil, "refused (NAK): not you" }, { lease(conn, { rounds = 2 }) })
    assert.equal(2, server:count "DISCOVER")
  end))

  it("hears a NAK that is broadcast", on_wire({}, function(_, server, conn)
    server.on.REQUEST = function(message) server:reply(message, reply_to(message, "NAK"), { mac = BROADCAST }) end
    assert.same({ nil, "refused (NAK)" }, { lease(conn, { rounds = 1 }) })
  end))

  -- ---- many -------------------------------------------------------------------------------------------------------

  -- A server whose addresses end like the client's MAC address, and with the outer VLAN ID in front.
  local function by_mac(server, to)
    local function answer(kind)
      return function(message)
        local outer = message.frame.vlans[1]
        server:reply(message, reply_to(message, kind, { yiaddr = ("10.%d.0.%d"):format(outer and outer.vid or 0,
          tonumber(message.chaddr:sub(-2), 16)) }), to)
      end
    end
    server.on.DISCOVER, server.on.REQUEST = answer "OFFER", answer "ACK"
  end

  for how, to in pairs { broadcast = { mac = BROADCAST }, unicast = {} } do
    it(("gets its own %s replies among 20 clients at once"):format(how), on_wire({}, function(relay, server)
      by_mac(server, to)
      local tasks, got = {}, {}
      for i = 1, 20 do tasks[i] = ether.spawn(lease, relay:conn { mac = ether.mac_add(MAC, i) }, { tries = 1 }) end
      for i, task in ipairs(tasks) do got[i] = assert(task:join()).ip end
      for i = 1, 20 do assert.equal("10.0.0." .. i + 1, got[i]) end
    end))
  end

  it("holds no frame of its relay's pool once it has its lease", on_wire({}, function(relay, server)
    by_mac(server, {})
    local leases = {}
    for i = 1, 200 do leases[i] = assert(lease(relay:conn { mac = ether.mac_add(MAC, i) }, { tries = 1 })) end
    assert.equal(200, #leases)
  end, { frames = 128 }))

  it("is told apart from one with the same MAC address on another VLAN stack", on_wire({}, function(relay, server)
    by_mac(server, { mac = BROADCAST })
    local stacks = { "", "100", "200", "200.100", { { vid = 100, tpid = 0x88a8 }, 5 } }
    local tasks, got = {}, {}
    for i, vlans in ipairs(stacks) do
      local conn = i == 1 and relay:conn { mac = OTHER_MAC } or relay:conn { mac = OTHER_MAC, vlans = vlans }
      tasks[i] = ether.spawn(lease, conn, { tries = 1 })
    end
    for i, task in ipairs(tasks) do
      local one = assert(task:join())
      got[i] = one.ip .. " " .. one.vlans
    end
    assert.same({ "10.0.0.170 ", "10.100.0.170 100", "10.200.0.170 200", "10.200.0.170 200.100",
      "10.100.0.170 100.5" }, got)
    assert.equal("8100:200.8100:100", vlan_stack.key(vlan_stack.new(server.messages[4].frame.vlans)))
  end))

  -- ---- as a role --------------------------------------------------------------------------------------------------

  it("leases an address and keeps it as a role, tells of it, and gives it back when it is closed", on_wire({},
    function(_, server, conn)
      local client, told = dhcp4_client.new(conn, { timeout = 0.5 }), {}
      assert.is_nil(client:summary().ip)
      local task = ether.spawn(function()
        return { client:run(function(event, one) told[#told + 1] = event .. " " .. one.ip end) }
      end)
      settle()
      assert.same({ "bound 10.0.0.10" }, told)
      local summary = client:summary()
      assert.same({ MAC, "10.0.0.10", SERVER_IP, 2 }, { summary.mac, summary.ip, summary.server,
        summary.transmissions })
      client:close()
      assert.same({ [2] = "closed" }, task:join(1))
      settle()
      assert.equal(1, server:count "RELEASE")
    end))

  it("says as a role why it has no lease, and may try again", on_wire({ DISCOVER = function() end },
    function(_, server, conn)
      local client = dhcp4_client.new(conn, { timeout = 0.02, tries = 2 })
      for i = 1, 2 do
        assert.same({ nil, "no offer" }, { client:run() })
        assert.equal(2 * i, server:count "DISCOVER")
      end
      client:close()
    end))

  it("keeps the address at the server when it shall not be released", on_wire({}, function(_, server, conn)
    assert(lease(conn, { release = false })):close()
    settle()
    assert.equal(0, server:count "RELEASE")
  end))

  it("wakes who holds a lease that somebody closes", on_wire({}, function(_, _, conn)
    local got = assert(lease(conn))
    local task = ether.spawn(function() return { got:hold() } end)
    settle()
    got:close()
    assert.same({ [2] = "closed" }, task:join(1))
  end))

  it("takes no option that it has not, and says which it has", on_wire({}, function(_, _, conn)
    assert.error_matches(function() lease(conn, { retries = 3 }) end,
      'unknown option "retries" of a DHCP client.*known are: broadcast, decline_pause, options, probe, release, ')
    assert.error_matches(function() dhcp4_client.lease(conn, { tries = 0 }) end, "bad tries 0: a whole number from 1")
  end))
end)
