-- What a DHCP client makes of the terms that a server gives, also where these are missing or make no sense, and whom it
-- believes.

local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local leaks = require "support.leaks"
local proto = require "etherlua.proto"
local script = require "support.dhcp4_script"
local settle = require("support.wait").settle

local MAC, OTHER_MAC, SERVER_IP, BROADCAST = script.MAC, "02:00:00:00:00:aa", script.SERVER_IP, "ff:ff:ff:ff:ff:ff"
local reply_to, on_wire, lease = script.reply_to, script.on_wire, script.lease

-- A server whose ACK has these options, and perhaps another address.
local function granting(options, ip)
  return { DISCOVER = function(message) return reply_to(message, "OFFER", { yiaddr = ip }) end,
    REQUEST = function(message) return reply_to(message, "ACK", {}, options) end }
end

-- A message without its end option, or with other bytes there.
local function ended_by(fields, bytes)
  fields.pad = false
  return proto.dhcp4.build(fields):sub(1, -2) .. bytes
end

describe("a DHCP client", function()
  after_each(leaks.check)

  -- ---- options of fixed size --------------------------------------------------------------------------------------

  it("takes the first value of an option that comes twice or with more behind it", on_wire(granting({
    lease_time = false, [51] = "\0\0\14\16\0\0\0\9", subnet_mask = false, [1] = "\255\255\0\0\255\0\0\0",
    server_id = false, [54] = "\10\0\0\1\10\0\0\1" }), function(_, _, conn)
      local got = assert(lease(conn))
      assert.same({ 3600, "255.255.0.0", 16, SERVER_IP, {} }, { got.lease_time, got.mask, got.prefix_length,
        got.server, got.notes })
    end))

  it("takes an offer whose server identifier comes twice", on_wire({
    DISCOVER = function(message)
      return reply_to(message, "OFFER", {}, { server_id = false, [54] = "\10\0\0\1\10\0\0\1" })
    end,
  }, function(_, server, conn)
    assert(lease(conn, { tries = 1 }))
    assert.equal(SERVER_IP, server:heard("REQUEST")[1].options.server_id)
  end))

  it("keeps a lease without a time for an hour, and says so", on_wire(granting { lease_time = false },
    function(_, _, conn)
      local got = assert(lease(conn))
      assert.same({ 3600, 1800, 3150, { "no lease time: an hour is assumed" } }, { got.lease_time, got.renewal_time,
        got.rebinding_time, got.notes })
      assert.same(got.notes, got:summary().notes)
    end))

  -- ---- times ------------------------------------------------------------------------------------------------------

  -- Lease time, T1, T2 -> those that are used, and whether that is said.
  local TIMES = {
    ["as they are"] = { { 100, 40, 70 }, { 100, 40, 70 } },
    ["T1 at T2"] = { { 100, 50, 50 }, { 100, 50, 87.5 }, "T1 50 s and T2 50 s do not fit a lease of 100 s" },
    ["T1 and T2 at the end"] = { { 100, 100, 100 }, { 100, 50, 87.5 }, "do not fit" },
    ["T2 at the end"] = { { 100, 50, 100 }, { 100, 50, 87.5 }, "do not fit" },
    ["T1 at once"] = { { 100, 0, 70 }, { 100, 50, 87.5 }, "do not fit" },
    ["T1 behind T2"] = { { 100, 60, 50 }, { 100, 50, 87.5 }, "do not fit" },
    ["T1 behind the end"] = { { 100, 200, 300 }, { 100, 50, 87.5 }, "do not fit" },
    ["T2 before the usual T1"] = { { 100, nil, 20 }, { 100, 50, 87.5 }, "do not fit" },
    ["one second"] = { { 1 }, { 4, 2, 3.5 }, "a lease of 1 s is too short to be renewed in time: it is kept for 4 s" },
    ["no second"] = { { 0 }, { 4, 2, 3.5 }, "a lease of 0 s is too short" },
    ["all of them one second"] = { { 1, 1, 1 }, { 4, 2, 3.5 }, "a lease of 1 s is too short" },
    ["for ever"] = { { 0xffffffff }, { 0xffffffff, 0xffffffff / 2, 0xffffffff * 7 / 8 } },
  }

  for what, case in pairs(TIMES) do
    local given, used, words = unpack(case)
    it("has times in which a lease can be renewed, and says where they are its own: " .. what, on_wire(granting {
      lease_time = given[1], renewal_time = given[2], rebinding_time = given[3] }, function(_, _, conn)
        local got = assert(lease(conn))
        assert.same(used, { got.lease_time, got.renewal_time, got.rebinding_time })
        local notes = table.concat(got.notes, "; ")
        if words then assert.is_truthy(notes:find(words, 1, true), notes) else assert.equal("", notes) end
      end))
  end

  it("does not renew a lease of a second again and again", on_wire(granting { lease_time = 1, renewal_time = 1,
    rebinding_time = 1 }, function(_, server, conn)
      local got = assert(lease(conn))
      local task = ether.spawn(got.hold, got)
      assert.same({ nil, "timeout" }, { task:join(1.2) })
      task:cancel()
      assert.equal(1, server:count "REQUEST")
    end))

  -- ---- the mask ---------------------------------------------------------------------------------------------------

  -- The server's mask and address -> mask, length, what is said.
  local MASKS = {
    { false, "10.0.0.10", nil, 8, "no subnet mask: /8 of its class is assumed" },
    { false, "172.16.0.10", nil, 16, "no subnet mask: /16 of its class is assumed" },
    { false, "192.168.0.10", nil, 24, "no subnet mask: /24 of its class is assumed" },
    { "255.0.255.0", "10.0.0.10", "255.0.255.0", 32, "255.0.255.0 is no subnet mask: /32 is used" },
    { "0.0.0.0", "10.0.0.10", "0.0.0.0", 32, "0.0.0.0 is no subnet mask: /32 is used" },
    { "255.255.255.255", "10.0.0.10", "255.255.255.255", 32 },
    { "255.255.255.254", "10.0.0.10", "255.255.255.254", 31 },
    { "128.0.0.0", "10.0.0.10", "128.0.0.0", 1 },
  }

  it("has the mask as it came, and a length that makes sense where it is missing or wrong", function()
    for _, case in ipairs(MASKS) do
      on_wire(granting({ subnet_mask = case[1] }, case[2]), function(_, _, conn)
        local got = assert(lease(conn))
        assert.equal(case[3], got.mask)
        assert.same({ case[4], { case[5] } }, { got.prefix_length, got.notes })
      end)()
    end
  end)

  -- ---- routes -----------------------------------------------------------------------------------------------------

  local OTHERS = { routers = { "10.0.0.1" }, static_routes = { { destination = "192.168.5.0", router = "10.0.0.4" } } }

  local function with(options)
    local all = { lease_time = 100 }
    for name, value in pairs(OTHERS) do all[name] = value end
    for name, value in pairs(options) do all[name] = value end
    return all
  end

  local NET, DEFAULT = { prefix = "10.17.0.0/16", router = "10.0.0.2" }, { prefix = "0.0.0.0/0", router = "10.0.0.3" }

  -- Options -> router, routes.
  local ROUTES = {
    ["classless ones alone, which replace the router"] = { { classless_routes = { NET, DEFAULT } }, "10.0.0.3",
      { NET, DEFAULT } },
    ["no router where the classless ones have no default"] = { { classless_routes = { NET } }, nil, { NET } },
    ["those of Windows likewise"] = { { ms_classless_routes = { NET, DEFAULT } }, "10.0.0.3", { NET, DEFAULT } },
    ["the classless ones before those of Windows"] = { { classless_routes = { NET },
      ms_classless_routes = { DEFAULT } }, nil, { NET } },
    ["static ones beside the router"] = { {}, "10.0.0.1", { { prefix = "192.168.5.0/24", router = "10.0.0.4" } } },
    ["static ones to a host, and none to everywhere"] = { { static_routes = {
      { destination = "10.9.0.7", router = "10.0.0.4" }, { destination = "0.0.0.0", router = "10.0.0.4" },
      { destination = "172.16.0.0", router = "10.0.0.5" } } }, "10.0.0.1",
      { { prefix = "10.9.0.7/32", router = "10.0.0.4" }, { prefix = "172.16.0.0/16", router = "10.0.0.5" } } },
    ["classless ones that cannot be read not at all"] = { { [121] = "\33\1\1\1\1" }, "10.0.0.1",
      { { prefix = "192.168.5.0/24", router = "10.0.0.4" } } },
    ["those on the link"] = { { classless_routes = { { prefix = "10.17.0.0/16", router = "0.0.0.0" },
      { prefix = "0.0.0.0/0", router = "0.0.0.0" } } }, nil, { { prefix = "10.17.0.0/16", router = "0.0.0.0" },
      { prefix = "0.0.0.0/0", router = "0.0.0.0" } } },
  }

  for what, case in pairs(ROUTES) do
    it("has the routes of RFC 3442: " .. what, on_wire(granting(with(case[1])), function(_, _, conn)
      local got = assert(lease(conn))
      assert.equal(case[2], got.router)
      assert.same({ case[3], {} }, { got.routes, got.notes })
      assert.same(case[3], got:summary().routes)
    end))
  end

  it("leaves out routers that no host can be, and says so", on_wire(granting { routers = { "0.0.0.0", "10.0.0.10",
    "224.0.0.1", "10.0.0.1" } }, function(_, _, conn)
      local got = assert(lease(conn))
      assert.same({ "10.0.0.1", {} }, { got.router, got.routes })
      assert.same({ "router 0.0.0.0 is left out (no address)", "router 10.0.0.10 is left out (the host's own address)",
        "router 224.0.0.1 is left out (multicast)" }, got.notes)
    end))

  it("asks for classless routes before routers and static routes", on_wire({}, function(_, server, conn)
    assert(lease(conn))
    local at = {}
    for i, code in ipairs(server.messages[1].options.parameter_request_list) do at[code] = i end
    assert.is_true(at[121] < at[3] and at[121] < at[33] and at[249] ~= nil)
  end))

  -- ---- whom it believes -------------------------------------------------------------------------------------------

  local FAULTS = {
    ["a NAK of another server"] = { "NAK", {}, { server_id = "10.0.0.2" },
      "NAK of 10.0.0.2 instead of server 10.0.0.1" },
    ["an ACK of another server"] = { "ACK", {}, { server_id = "10.0.0.2" },
      "ACK of 10.0.0.2 instead of server 10.0.0.1" },
    ["an ACK of another address"] = { "ACK", { yiaddr = "10.0.0.51" }, {}, "ACK of 10.0.0.51 instead of 10.0.0.10" },
    ["an ACK of no address"] = { "ACK", { yiaddr = "0.0.0.0" }, {}, "ACK of 0.0.0.0, which no host can have" },
  }

  for what, case in pairs(FAULTS) do
    it("does not take " .. what .. " for its chosen server's answer", on_wire({}, function(relay, server, conn)
      server.on.REQUEST = function(message)
        for _, to in ipairs { {}, { mac = BROADCAST } } do
          server:reply(message, reply_to(message, case[1], case[2], case[3]), to)
        end
        return reply_to(message, "ACK")
      end
      local got = assert(lease(conn, { tries = 1, rounds = 1 }))
      assert.same({ "10.0.0.10", SERVER_IP }, { got.ip, got.server })
      server.on.REQUEST = function(message) return reply_to(message, case[1], case[2], case[3]) end
      local _, reason = lease(relay:conn { mac = OTHER_MAC }, { tries = 1, rounds = 1, first_timeout = 0.05 })
      assert.is_truthy(reason:find("no answer to the request, but 1 reply of no use: " .. case[4], 1, true), reason)
    end))
  end

  it("takes a NAK without an identifier from where the offer came alone", on_wire({}, function(relay, server, conn)
    server.on.REQUEST = function(message)
      server:reply(message, reply_to(message, "NAK", {}, { server_id = false }), { src_mac = "02:00:00:00:00:bb" })
      return reply_to(message, "ACK")
    end
    assert(lease(conn, { tries = 1, rounds = 1 }))
    server.on.REQUEST = function(message) return reply_to(message, "NAK", {}, { server_id = false }) end
    assert.same({ nil, "refused (NAK)" }, { lease(relay:conn { mac = OTHER_MAC }, { tries = 1, rounds = 1 }) })
  end))

  it("renews with its server alone, and rebinds with any that gives the same address", on_wire({}, function(_, server,
    conn)
    local got = assert(lease(conn))
    server.on.REQUEST = function(message)
      for _, kind in ipairs { "NAK", "ACK" } do
        server:reply(message, reply_to(message, kind, {}, { server_id = "10.0.0.2", lease_time = 77 }))
      end
      return reply_to(message, "ACK", {}, { lease_time = 88 })
    end
    assert.is_true(got:renew())
    assert.same({ 88, SERVER_IP }, { got.lease_time, got.server })
    server.on.REQUEST = function(message)
      server:reply(message, reply_to(message, "ACK", { yiaddr = "10.0.0.51" }, { server_id = "10.0.0.2" }))
      return reply_to(message, "ACK", {}, { server_id = "10.0.0.2", lease_time = 99 })
    end
    assert.is_true(got:rebind())
    assert.same({ 99, "10.0.0.2", "10.0.0.10" }, { got.lease_time, got.server, got.ip })
  end))

  it("takes no offer of an address that no host can have, and says which", function()
    for ip, words in pairs { ["0.0.0.0"] = "no address", ["255.255.255.255"] = "broadcast", ["224.0.0.5"] = "multicast",
      ["239.255.255.250"] = "multicast", ["127.0.0.1"] = "loopback", ["0.0.0.7"] = "of no network" } do
      on_wire(granting({}, ip), function(_, server, conn)
        assert.same({ nil, ("no offer, but 1 reply of no use: OFFER of %s, which no host can have (%s)"):format(ip,
          words) }, { lease(conn, { tries = 1, first_timeout = 0.05 }) })
        assert.equal(0, server:count "REQUEST")
      end)()
    end
  end)

  -- ---- what cannot be parsed --------------------------------------------------------------------------------------

  it("gets its lease from a server that leaves the end option out", function()
    for _, ending in ipairs { "", ("\0"):rep(40) } do
      on_wire({
        DISCOVER = function(message) return ended_by(reply_to(message, "OFFER"), ending) end,
        REQUEST = function(message) return ended_by(reply_to(message, "ACK"), ending) end,
      }, function(_, _, conn)
        assert.equal("10.0.0.10", assert(lease(conn, { tries = 1 })).ip)
      end)()
    end
  end)

  it("says how many offers it did not understand, and why", on_wire({
    DISCOVER = function(message) return ended_by(reply_to(message, "OFFER"), "\15\20ab") end,
  }, function(_, _, conn)
    local client = dhcp4_client.new(conn, { tries = 2, timeout = 0.05 })
    assert.same({ nil, "no offer, but 2 replies of no use: not understood (dhcp4: option 15 is cut short) (2 times)" },
      { client:run() })
    assert.same({ 2, { ["not understood (dhcp4: option 15 is cut short)"] = 2 } }, { client:summary().ignored,
      client:summary().unused })
    client:close()
  end))

  it("says so of a lease that it got in spite of that", on_wire({}, function(_, server, conn)
    server.on.DISCOVER = function(message)
      server:reply(message, ended_by(reply_to(message, "OFFER"), "\15\20ab"))
      return reply_to(message, "OFFER")
    end
    assert.same({ "replies of no use: not understood (dhcp4: option 15 is cut short)" },
      assert(lease(conn, { tries = 1 })).notes)
  end))

  -- ---- words of others --------------------------------------------------------------------------------------------

  it("hands on the words of a NAK without their escape sequences and lines", on_wire({
    REQUEST = function(message)
      return reply_to(message, "NAK", {}, { message = "no\27[31m\n" .. MAC .. "  10.0.0.9/24\255 \195\188" })
    end,
  }, function(_, _, conn)
    assert.same({ nil, "refused (NAK): no\\x1b[31m\\x0a" .. MAC .. "  10.0.0.9/24\\xff \195\188" },
      { lease(conn, { rounds = 1 }) })
    settle()
  end))
end)
