-- The DHCP client and the address that it was given: whether another has it, and how the lease is kept.

local ether = require "etherlua"
local leaks = require "support.leaks"
local proto = require "etherlua.proto"
local script = require "support.dhcp4_script"
local eventually = require("support.wait").eventually
local settle = require("support.wait").settle

local MAC, SERVER_MAC, SERVER_IP = script.MAC, script.SERVER_MAC, script.SERVER_IP
local OTHER_MAC, BROADCAST, ANY = "02:00:00:00:00:aa", "ff:ff:ff:ff:ff:ff", "0.0.0.0"
local reply_to, on_wire, lease = script.reply_to, script.on_wire, script.lease

describe("a DHCP client", function()
  after_each(leaks.check)

  -- ---- ARP probes -------------------------------------------------------------------------------------------------

  -- Somebody else says that the address is theirs.
  local function defend(server, ip)
    server.on.ARP = function(arp)
      if arp.tpa ~= ip then return end
      server:send_payload(proto.arp.build { op = 2, sha = OTHER_MAC, spa = ip, tha = arp.sha, tpa = arp.spa }, 0x0806,
        { mac = arp.sha, src_mac = OTHER_MAC })
    end
  end

  -- Offers 10.0.0.10 first, then the next.
  local function next_address(server)
    server.on.DISCOVER = function(message, count)
      return reply_to(message, "OFFER", { yiaddr = "10.0.0." .. 9 + count })
    end
    server.on.REQUEST = function(message)
      return reply_to(message, "ACK", { yiaddr = message.options.requested_address })
    end
  end

  it("probes the address three times, tells that it is taken, and answers for it until it is closed",
    on_wire({}, function(_, server, conn)
      local got = assert(lease(conn, { probe = "quick" }))
      settle()
      local seen = {}
      for i, arp in ipairs(server.arps) do seen[i] = ("%d %s %s"):format(arp.op, arp.spa, arp.tpa) end
      local probe = "1 0.0.0.0 10.0.0.10"
      assert.same({ probe, probe, probe, "1 10.0.0.10 10.0.0.10" }, seen)
      local function ask()
        server:send_payload(proto.arp.build { sha = SERVER_MAC, spa = SERVER_IP, tpa = "10.0.0.10" }, 0x0806,
          { mac = BROADCAST })
        settle()
      end
      ask()
      assert.same({ 2, MAC, "10.0.0.10" }, { server.arps[5].op, server.arps[5].sha, server.arps[5].spa })
      got:close()
      ask()
      assert.equal(5, #server.arps)
    end))

  it("gives an address back that it was probing when it was cancelled", on_wire({}, function(_, server, conn)
    local task = ether.spawn(lease, conn, { probe = "quick" })
    while #server.arps == 0 do ether.sleep(0.01) end
    task:cancel()
    assert.same({ nil, "cancelled" }, { task:join() })
    settle()
    assert.equal("10.0.0.10", server:heard("RELEASE")[1].ciaddr)
  end))

  it("sends no ARP when probes are off", on_wire({}, function(_, server, conn)
    assert(lease(conn))
    ether.sleep(0.3)
    assert.equal(0, #server.arps)
  end))

  it("refuses a way to probe that there is not", on_wire({}, function(_, _, conn)
    assert.error_matches(function() lease(conn, { probe = "fast" }) end, 'bad probe fast: "rfc", "quick" or false')
  end))

  it("declines an address that somebody answers for, and asks anew", on_wire({}, function(_, server, conn)
    next_address(server)
    defend(server, "10.0.0.10")
    assert.equal("10.0.0.11", assert(lease(conn, { probe = "quick", requested_address = "10.0.0.10" })).ip)
    local message = server:heard("DECLINE")[1]
    assert.same({ message_type = "DECLINE", server_id = SERVER_IP, requested_address = "10.0.0.10" }, message.options)
    assert.same({ ANY, BROADCAST, ANY }, { message.ciaddr, message.frame.dst, message.packet.src })
    assert.is_nil(server:heard("DISCOVER")[2].options.requested_address)
  end))

  it("gives up when every address is somebody's, and says whose", on_wire({}, function(_, server, conn)
    defend(server, "10.0.0.10")
    assert.same({ nil, "10.0.0.10 is in use by " .. OTHER_MAC .. " (declined)" }, { lease(conn, { probe = "quick",
      rounds = 2 }) })
    settle()
    assert.equal(2, server:count "DECLINE")
  end))

  it("declines an address that another host probes for at the same time", on_wire({}, function(_, server, conn)
    next_address(server)
    server.on.ARP = function(arp)
      if arp.tpa ~= "10.0.0.10" then return end
      server:send_payload(proto.arp.build { sha = OTHER_MAC, tpa = "10.0.0.10" }, 0x0806, { mac = BROADCAST,
        src_mac = OTHER_MAC })
    end
    assert.equal("10.0.0.11", assert(lease(conn, { probe = "quick" })).ip)
  end))

  it("declines an address that another client on its own relay has", on_wire({}, function(relay, server, conn)
    local first = assert(lease(conn, { probe = "quick" }))
    assert.same({ nil, "10.0.0.10 is in use by " .. MAC .. " (declined)" }, { lease(relay:conn { mac = OTHER_MAC },
      { probe = "quick", rounds = 1 }) })
    assert.equal("10.0.0.10", first.ip)
    settle()
    assert.equal(OTHER_MAC, server:heard("DECLINE")[1].chaddr)
  end))

  -- ---- keeping it -------------------------------------------------------------------------------------------------

  -- A lease with times that are no whole seconds, as a server could not give them, so that the tests need not wait.
  local function short_lease(conn, t1, t2, all)
    local got = assert(lease(conn))
    got.renewal_time, got.rebinding_time, got.lease_time = t1, t2, all
    return got
  end

  -- Answers requests of a client that has an address as fn says, those of others as usual.
  local function on_renewal(fn)
    return { REQUEST = function(message)
      if message.ciaddr == ANY then return reply_to(message, "ACK") end
      return fn(message)
    end }
  end

  it("renews at T1 by unicast to the server, and to the MAC address that the ACK came from", on_wire({
    REQUEST = function(message) return reply_to(message, "ACK", {}, { lease_time = 4, renewal_time = 1 }) end,
  }, function(_, server, conn)
    local got = assert(lease(conn))
    local events = {}
    local task = ether.spawn(got.hold, got, function(event, one) events[#events + 1] = event .. " " .. one.ip end)
    eventually(function() return #events > 0 end)
    task:cancel()
    local request, ack = server:heard("REQUEST")[2], server:heard("REQUEST")[1]
    assert.is_true(request.time - ack.time > 0.95 and request.time - ack.time < 3.4) -- T2 is 3.5
    assert.same({ "10.0.0.10", SERVER_MAC, "10.0.0.10", SERVER_IP, ANY }, { request.ciaddr, request.frame.dst,
      request.packet.src, request.packet.dst, request.yiaddr })
    assert.is_nil(request.options.server_id)
    assert.is_nil(request.options.requested_address)
    assert.not_equal(ack.xid, request.xid)
    assert.same({ "renewed 10.0.0.10" }, events)
  end))

  it("renews to the MAC address of a server that broadcasts, too", on_wire({}, function(_, server, conn)
    for kind, answer in pairs { DISCOVER = "OFFER", REQUEST = "ACK" } do
      server.on[kind] = function(message) server:reply(message, reply_to(message, answer), { mac = BROADCAST }) end
    end
    local got = assert(lease(conn))
    assert.is_true(got:renew())
    assert.equal(SERVER_MAC, server:heard("REQUEST")[2].frame.dst)
  end))

  it("rebinds at T2 by broadcast when the server is silent, and belongs to the one that answers", on_wire(
    on_renewal(function(message)
      return message.packet.dst == "255.255.255.255" and
        reply_to(message, "ACK", {}, { server_id = "10.0.0.2", lease_time = 500 }) or nil
    end), function(_, server, conn)
      local got = short_lease(conn, 0.05, 0.1, 10)
      local event
      local task = ether.spawn(got.hold, got, function(what) event = what end)
      eventually(function() return event end)
      task:cancel()
      local _, renewal, rebinding = unpack(server:heard "REQUEST")
      assert.same({ SERVER_IP, SERVER_MAC }, { renewal.packet.dst, renewal.frame.dst })
      assert.same({ BROADCAST, "10.0.0.10", "10.0.0.10" }, { rebinding.frame.dst, rebinding.ciaddr,
        rebinding.packet.src })
      assert.is_nil(rebinding.options.server_id)
      assert.same({ "rebound", "10.0.0.2", 500, 250 }, { event, got.server, got.lease_time, got.renewal_time })
    end))

  it("loses the lease when its time is over and nobody answered", on_wire(on_renewal(function() end),
    function(_, _, conn)
      local got, started = short_lease(conn, 0.05, 0.1, 0.2), ether.now()
      assert.same({ nil, "the lease ended: no server answered" }, { got:hold() })
      assert.is_true(ether.now() - started > 0.18 and ether.now() - started < 10)
    end))

  it("loses the lease when it is refused", on_wire(on_renewal(function(message) return reply_to(message, "NAK") end),
    function(_, _, conn)
      assert.same({ nil, "refused (NAK)" }, { short_lease(conn, 0.05, 1, 2):hold() })
    end))

  it("loses the lease when another address is given", on_wire(
    on_renewal(function(message) return reply_to(message, "ACK", { yiaddr = "10.0.0.66" }) end), function(_, _, conn)
      assert.same({ nil, "another address was given: 10.0.0.66" }, { short_lease(conn, 0.05, 1, 2):hold() })
    end))

  it("holds a lease for ever without a word", on_wire({
    REQUEST = function(message) return reply_to(message, "ACK", {}, { lease_time = 0xffffffff }) end,
  }, function(_, server, conn)
    local got = assert(lease(conn))
    local task = ether.spawn(got.hold, got)
    assert.same({ nil, "timeout" }, { task:join(0.2) })
    task:cancel()
    assert.same({ nil, "cancelled" }, { task:join() })
    assert.equal(2, #server.messages)
  end))

  it("answers ARP for the address that it holds, also without probes", on_wire({}, function(_, server, conn)
    local got = assert(lease(conn))
    local task = ether.spawn(got.hold, got)
    settle()
    server:send_payload(proto.arp.build { sha = SERVER_MAC, spa = SERVER_IP, tpa = got.ip }, 0x0806, { mac = MAC })
    settle()
    assert.same({ 2, MAC, SERVER_MAC }, { server.arps[1].op, server.arps[1].sha, server.arps[1].tha })
    task:cancel()
  end))

  it("releases the lease once, by unicast to its server", on_wire({}, function(_, server, conn)
    local got = assert(lease(conn))
    got:close()
    got:close()
    settle()
    local message = server.messages[3]
    assert.same({ 3, { message_type = "RELEASE", server_id = SERVER_IP } }, { #server.messages, message.options })
    assert.same({ "10.0.0.10", "10.0.0.10", SERVER_IP, SERVER_MAC }, { message.ciaddr, message.packet.src,
      message.packet.dst, message.frame.dst })
  end))
end)
