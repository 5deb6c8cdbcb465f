-- Who gets which address of the DHCP server, and what strangers can take of it: each client has what is its own, and
-- nobody takes more than a bounded share, time or memory. Its decisions, message by message, are in
-- dhcp4_server_spec.lua.

local dhcp4_server = require "etherlua.role.dhcp4_server"
local sched = require "etherlua.core.sched"

local ONE, OTHER = "8100:1", "8100:2" -- VLAN stacks

-- The engine's clock is what a test says: it only goes on by hand.
local clock, now = sched.now, 0

local function mac(i)
  return ("02:00:%02x:%02x:%02x:%02x"):format(math.floor(i / 0x1000000) % 256, math.floor(i / 0x10000) % 256,
    math.floor(i / 0x100) % 256, i % 256)
end

local function new(pool, more)
  local opts = { pool = pool, lease_time = 1000 }
  for name, value in pairs(more or {}) do opts[name] = value end
  return dhcp4_server.new(opts)
end

-- A message as the server reads it; made here, for many.
local function message(kind, i, options, ciaddr)
  local all = { message_type = kind }
  for name, value in pairs(options or {}) do all[name] = value end
  return { op = 1, htype = 1, hlen = 6, xid = i, flags = 0, broadcast = false, ciaddr = ciaddr or "0.0.0.0",
    giaddr = "0.0.0.0", chaddr = mac(i), options = all }
end

-- The address that a client is offered, nil for none.
local function discover(server, i, vlans, options)
  local reply = server:answer(message("DISCOVER", i, options), vlans or ONE)
  return reply and reply.yiaddr
end

-- The address that it is given, or nil.
local function request(server, i, ip, vlans, options)
  local all = { server_id = "10.0.0.1", requested_address = ip }
  for name, value in pairs(options or {}) do all[name] = value end
  local reply = server:answer(message("REQUEST", i, all), vlans or ONE)
  return reply and reply.options.message_type == "ACK" and reply.yiaddr or nil
end

local function lease(server, i, vlans, options)
  local ip = discover(server, i, vlans, options)
  return ip and request(server, i, ip, vlans, options)
end

local function release(server, i, ip, vlans, options)
  server:answer(message("RELEASE", i, options, ip), vlans or ONE)
end

local function decline(server, i, ip, vlans)
  server:answer(message("DECLINE", i, { requested_address = ip }), vlans or ONE)
end

-- Kilobytes that fn leaves behind.
local function kept_by(fn)
  collectgarbage()
  collectgarbage()
  local before = collectgarbage "count"
  fn()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" - before
end

describe("the addresses of a DHCP server", function()
  before_each(function()
    now = 0
    sched.now = function() return now end
  end)

  after_each(function() sched.now = clock end)

  -- Processor time of DISCOVERs of as many clients that nobody knows.
  local function time_of(server, from, count)
    local began = os.clock()
    for i = from, from + count - 1 do discover(server, i) end
    return os.clock() - began
  end

  it("cost the same for each DISCOVER, however many of them are taken", function()
    local server = new("10.0.0.10-10.0.255.254", { max_offers = 100000 })
    time_of(server, 1, 5000)
    local empty = time_of(server, 5001, 2000)
    for i = 7001, 65525 do discover(server, i) end
    assert.is_nil(discover(server, 65526))
    assert.is_true(time_of(server, 70000, 2000) < 10 * empty) -- all are taken
    now = 61
    assert.is_true(time_of(server, 80000, 2000) < 10 * empty) -- all offers are over
    local first = server:answer(message("DISCOVER", 1), ONE)
    assert.equal("OFFER", first.options.message_type)
  end)

  it("are there for other VLAN stacks when one sends nothing but DISCOVERs", function()
    local server = new("10.0.0.10-10.0.3.254")
    for i = 1, 5000 do assert.is_string(discover(server, i)) end
    for i = 5001, 5050 do assert.is_string(lease(server, i, OTHER)) end
    assert.equal(5050 - 1013, server.counters.withdrawn) -- 1,013 is all that there are
    assert.equal(0, server.counters.exhausted)
    assert.is_string(lease(server, 5051))
  end)

  it("are shared with other VLAN stacks, but kept for the offers of one that has no more than it may", function()
    local server = new("10.0.0.10-10.0.0.19")
    local offers = {}
    for i = 1, 10 do offers[i] = discover(server, i) end
    assert.is_nil(discover(server, 11))
    for i = 1, 5 do assert.equal(offers[i], discover(server, 20 + i, OTHER)) end
    assert.is_nil(discover(server, 26, OTHER))
    assert.is_nil(discover(server, 27, "8100:3"))
    assert.same({ 5, 3 }, { server.counters.withdrawn, server.counters.exhausted })
    for i = 6, 10 do assert.equal(offers[i], request(server, i, offers[i])) end
  end)

  it("are taken in turn from VLAN stacks that have more than their share", function()
    local server = new("10.0.0.10-10.0.0.99", { max_offers = 10 })
    for i = 1, 90 do discover(server, i, "8100:" .. 10 + i % 3) end
    for i = 91, 120 do assert.is_string(discover(server, i)) end
    for stack = 10, 12 do
      local lost = 0
      for i = 1, 90 do
        if i % 3 == stack - 10 and not request(server, i, "10.0.0." .. 9 + i, "8100:" .. stack) then lost = lost + 1 end
      end
      assert.equal(10, lost)
    end
  end)

  it("are kept for offers up to their number and time, and given to others only when nothing else is free", function()
    local server = new("10.0.0.10-10.0.0.13", { max_offers = 2, offer_time = 5 })
    local offers = {}
    for i = 1, 4 do offers[i] = discover(server, i) end
    assert.equal(offers[1], request(server, 1, offers[1])) -- one more than kept, but there was no need
    assert.equal(offers[2], discover(server, 5))
    assert.is_nil(request(server, 2, offers[2]))
    assert.equal(offers[3], discover(server, 6, OTHER))
    assert.is_nil(discover(server, 7, OTHER))
    assert.same({ offers[4], offers[4] }, { discover(server, 4), request(server, 4, offers[4]) })
    now = 5
    assert.equal(offers[2], discover(server, 10, OTHER))
  end)

  it("are limited for each VLAN stack as the options say, and counted", function()
    local server = new("10.0.0.10-10.0.0.99", { max_leases = 3 })
    local first = lease(server, 1)
    for i = 2, 3 do assert.is_string(lease(server, i)) end
    assert.is_nil(discover(server, 4))
    assert.equal(1, server.counters.limited)
    assert.is_string(lease(server, 4, OTHER))
    release(server, 1, first)
    local fourth = discover(server, 4)
    assert.is_string(discover(server, 5)) -- instead of the offer to the fourth
    assert.is_nil(request(server, 4, fourth))
    now = 1001
    for i = 11, 13 do assert.is_string(lease(server, i)) end
    assert.same({ 1, 1, 0 }, { server.counters.limited, server.counters.withdrawn, server.counters.exhausted })
  end)

  it("cannot all be declined by one client, and come back after a time", function()
    local server = new("10.0.0.10-10.0.0.29", { decline_time = 50 })
    local declined = {}
    for i = 1, 100 do
      declined[i] = lease(server, 1)
      decline(server, 1, declined[i])
    end
    assert.same({ 100, 95 }, { server.counters.decline, server.counters.restored }) -- a quarter of them
    local offered, count = {}, 0
    for i = 2, 40 do
      local ip = discover(server, i, OTHER)
      if ip then offered[ip], count = true, count + 1 end
    end
    assert.equal(15, count)
    for i = 96, 100 do assert.is_nil(offered[declined[i]]) end
    now = 50
    assert.equal(declined[96], discover(server, 50, OTHER))
  end)

  it("may be declined as often as the options say", function()
    local server = new("10.0.0.10-10.0.0.13", { max_declined = 4 })
    for _ = 1, 4 do decline(server, 1, lease(server, 1)) end
    assert.is_nil(discover(server, 2))
    now = 1000
    assert.equal("10.0.0.10", discover(server, 2))
  end)

  it("are not another's because a client identifier is the text of its MAC address, or a digest", function()
    local server = new("10.0.0.10-10.0.0.99")
    local first, digest = lease(server, 1), require("etherlua.net.digest").of(ONE .. "|h" .. mac(1))
    for i, id in ipairs { mac(1), "h" .. mac(1), "|h" .. mac(1), digest, "\1" .. mac(1):gsub("%x%x:?", "\2") } do
      local own = lease(server, 100 + i, ONE, { client_id = id })
      assert.not_equal(first, own)
      release(server, 100 + i, first, ONE, { client_id = id })
    end
    assert.equal(first, request(server, 1, first))
    assert.equal(6, server:bound())
  end)

  it("are told apart by hardware address when a client identifier is too short to be one", function()
    local server = new("10.0.0.10-10.0.0.99")
    local id = { client_id = "" }
    assert.not_equal(lease(server, 1, ONE, id), lease(server, 2, ONE, id))
    assert.equal("", server:answer(message("DISCOVER", 3, id), ONE).options.client_id)
  end)

  it("are each client's own with identifiers of any length, in little memory", function()
    local server, seen, count = new("10.0.0.10-10.0.255.254", { max_offers = 1 }), {}, 0
    for i = 1, 100 do lease(server, i) end -- what is compiled now takes none later
    local kept = kept_by(function()
      for i = 1, 2000 do
        local id = ("x"):rep(1190) .. ("%010d"):format(i)
        local reply = server:answer(message("DISCOVER", 7, { client_id = id }), ONE)
        assert.equal(id, reply.options.client_id)
        if not seen[reply.yiaddr] then count = count + 1 end
        seen[reply.yiaddr] = true
      end
      seen = nil
    end)
    assert.equal(2000, count)
    assert.is_true(kept < 2000, kept) -- less than a kilobyte for each of 1,200 bytes
  end)

  it("take no memory for those who come and go", function()
    local server = new("10.0.0.10-10.0.0.99")
    local function come_and_go(from, to)
      for i = from, to do
        local wanted = ("10.0.0.%d"):format(20 + i % 50)
        local vlans = "8100:" .. i % 4094
        release(server, i, discover(server, i, vlans, { requested_address = wanted }), vlans)
      end
    end
    come_and_go(1, 5000)
    local kept = kept_by(function() come_and_go(5001, 25000) end)
    assert.is_true(kept < 200, kept)
    assert.same({ 25000, 25000, 0 }, { server.counters.offer, server.counters.release, server:bound() })
  end)

  it("are never those of the server, of the router and of name servers", function()
    local server, seen = new("10.0.0.1-10.0.0.6", { router = "10.0.0.3", dns = { "10.0.0.5", "10.9.9.9" } }), {}
    for i = 1, 6 do seen[i] = discover(server, i, ONE, { requested_address = "10.0.0." .. i }) end
    table.sort(seen)
    assert.same({ "10.0.0.2", "10.0.0.4", "10.0.0.6" }, seen)
    assert.equal(3, server.counters.exhausted)
  end)

  it("are offered to a client again that had one until shortly, for as long as any offer", function()
    local server = new("10.0.0.10-10.0.0.10", { lease_time = 100 })
    assert.equal("10.0.0.10", lease(server, 1))
    now = 70
    assert.equal("10.0.0.10", discover(server, 1))
    now = 129
    assert.is_nil(discover(server, 2))
    assert.equal("10.0.0.10", request(server, 1, "10.0.0.10"))
    now = 228
    assert.is_nil(discover(server, 2))
    now = 229
    assert.equal("10.0.0.10", discover(server, 2))
  end)
end)

-- ---- against a model ------------------------------------------------------------------------------------------------

-- ip -> { who, until when }, as far as clients and the server spoke of it.
local function taken(model, ip)
  local one = model[ip]
  return one and one.till > now and one or nil
end

local function count_taken(model, kind)
  local count = 0
  for ip, one in pairs(model) do
    if taken(model, ip) and (not kind or one.kind == kind) then count = count + 1 end
  end
  return count
end

local function own(model, i)
  for ip, one in pairs(model) do
    if taken(model, ip) and one.who == i then return ip, one end
  end
end

local POOL, SIZE, CLIENTS = "10.0.0.1-10.0.0.9", 8, 12 -- the first is the server's

local steps = {
  function(server, model, i, ip) -- DISCOVER
    local has, one = own(model, i)
    local offered = discover(server, i, ONE, { requested_address = ip })
    if has then
      assert.equal(has, offered)
      one.till = math.max(one.till, now + 60)
      if one.kind == "bound" and one.till == now + 60 then one.kind = "renewed" end
    elseif count_taken(model) == SIZE then
      assert.is_nil(offered)
    else
      assert.is_nil(taken(model, offered))
      if ip and ip ~= "10.0.0.1" and not taken(model, ip) then assert.equal(ip, offered) end
      model[offered] = { who = i, till = now + 60, kind = "offered" }
    end
  end,
  function(server, model, i, ip) -- REQUEST
    local has = own(model, i)
    ip = math.random(3) > 1 and has or ip or "10.0.0.4"
    assert.equal(has == ip and ip or nil, request(server, i, ip))
    if has == ip then model[ip] = { who = i, till = now + 1000, kind = "bound" } end
  end,
  function(server, model, i, ip) -- RELEASE
    if math.random(6) > 1 then return end
    ip = ip or own(model, i) or "10.0.0.4"
    release(server, i, ip)
    if own(model, i) == ip then model[ip] = nil end
  end,
  function(server, model, i, ip) -- DECLINE
    if math.random(8) > 1 then return end
    ip = ip or own(model, i) or "10.0.0.4"
    decline(server, i, ip)
    if own(model, i) == ip then model[ip] = { till = now + 300, kind = "declined" } end
  end,
  function() now = now + math.random(0, 50) end,
}

describe("a DHCP server, compared with a list of who has what,", function()
  before_each(function() sched.now = function() return now end end)
  after_each(function() sched.now = clock end)

  it("gives each address to one client at a time, and to somebody as long as one is free", function()
    math.randomseed(77)
    now = 0
    local server, model = new(POOL, { decline_time = 300, max_declined = 100 }), {}
    for _ = 1, 20000 do
      local ip = math.random(3) == 1 and "10.0.0." .. math.random(9) or nil
      steps[math.random(#steps)](server, model, math.random(CLIENTS), ip)
      assert.equal(count_taken(model, "bound"), server:bound())
    end
    local counters = server.counters
    assert.is_true(counters.exhausted > 100 and counters.ack > 1000 and counters.decline > 100)
  end)
end)
