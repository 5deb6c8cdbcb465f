-- Very many DHCP clients: the role on a wire against our own server and against one that misbehaves, and the script as
-- a user runs it. Real servers are in dhcp4_load_server_spec.lua.

local bytes = require "etherlua.net.bytes"
local cjson = require "cjson"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_load = require "etherlua.role.dhcp4_load"
local dhcp4_server = require "etherlua.role.dhcp4_server"
local ether = require "etherlua"
local files = require "support.files"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local one_works = require("support.wait").one_works
local sched = require "etherlua.core.sched"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local MAC, SMALL_MAC, SERVER_MAC = "02:00:00:00:ff:fe", "02:00:00:00:00:00", "02:dd:00:00:00:01"
local INT = 2

-- ---- the role -----------------------------------------------------------------------------------------------------

-- Serves on b with the project's own server. judge, if given, is called with each request and the fields of the reply
-- to it and returns what to do: nil sends the reply, a list of messages is sent instead. to: MAC address of the
-- replies, instead of the client's.
local function serve(b, judge, to)
  local server = dhcp4_server.new { pool = "10.0.0.10-10.0.255.254" }
  local back = b:conn({ mac = SERVER_MAC }):udp "10.0.0.1:67"
  local heard = b:default_conn { mirror = true }
  local function answer(request)
    local fields = request.op == 1 and server:answer(request, "")
    if not fields then return end
    for _, message in ipairs(judge and judge(request, fields) or { dhcp4.build(fields) }) do
      back:send(message, "255.255.255.255:68", { mac = to or request.chaddr })
    end
  end
  sched.spawn_background(function()
    while true do
      local frame = heard:recv_frame()
      if not frame then return end
      local request = not frame.outgoing and dhcp4.parse(frame.body:sub(29))
      if request then answer(request) end
    end
  end)
  return server
end

-- A load on a wire with such a server, run to its end.
local function with_load(opts, judge, fn, to)
  kinds.run_apart(function()
    sched.spawn_background(function()
      ether.sleep(60)
      error("still not done after a minute")
    end)
    local a, b = ether.wire()
    local server = serve(b, judge, to)
    opts.mac, opts.timeout = opts.mac or MAC, opts.timeout or 0.05
    local load = dhcp4_load.new(a, opts)
    assert.is_true(load:run())
    fn(load, server)
    a:close()
    b:close()
  end)
end

local function bound(server)
  local count = 0
  for _, binding in pairs(server.by_client) do count = count + (binding.state == "bound" and 1 or 0) end
  return count
end

describe("a load of DHCP clients", function()
  after_each(leaks.check)

  it("gets each its lease, and counts nothing else", function()
    with_load({ count = 1000 }, nil, function(load, server)
      assert.same({ 1000, 0, 0, 0 }, { load.bound, load.failed, load.retransmissions, load.ignored })
      assert.same({ 1000, 1000, 1000 }, { load.dora.count, load.offer.count, load.ack.count })
      assert.equal(1000, bound(server))
      assert.same({ 1000, 1000 }, { server.counters.discover, server.counters.request })
    end)
  end)

  it("uses MAC addresses that count up, over the end of the last octets", function()
    local seen = {}
    with_load({ count = 4 }, function(request) seen[request.chaddr] = true end, function()
      assert.same({ ["02:00:00:00:ff:fe"] = true, ["02:00:00:00:ff:ff"] = true, ["02:00:00:01:00:00"] = true,
        ["02:00:00:01:00:01"] = true }, seen)
    end)
  end)

  it("never has more sessions in progress than the window", function()
    local begun, most = 0, 0
    with_load({ count = 200, window = 7 }, function(request, reply)
      if request.options.message_type == "DISCOVER" then begun = begun + 1 end
      most = math.max(most, begun)
      if reply.options.message_type == "ACK" then begun = begun - 1 end
    end, function(load)
      assert.equal(200, load.bound)
      assert.equal(7, most)
    end)
  end)

  it("hands broadcast replies to those that they are for", function()
    with_load({ count = 300 }, nil, function(load)
      assert.same({ 300, 0, 0, 0 }, { load.bound, load.failed, load.retransmissions, load.ignored })
    end, "ff:ff:ff:ff:ff:ff")
  end)

  it("sends again what was lost, with the same transaction id", function()
    local seen, ids = {}, {}
    with_load({ count = 100 }, function(request)
      local key = request.chaddr .. request.options.message_type
      ids[request.chaddr] = ids[request.chaddr] or request.xid
      assert(ids[request.chaddr] == request.xid, "another transaction id")
      seen[key] = (seen[key] or 0) + 1
      if seen[key] == 1 then return {} end
    end, function(load)
      assert.same({ 100, 0, 200 }, { load.bound, load.failed, load.retransmissions })
    end)
  end)

  it("says why sessions failed", function()
    with_load({ count = 9, mac = SMALL_MAC, tries = 2, timeout = 0.01 }, function(request, reply)
      local n, kind = tonumber(request.chaddr:sub(-1), 16) % 3, reply.options.message_type
      if n == 0 and kind == "OFFER" or n == 1 and kind == "ACK" then return {} end
      if kind == "ACK" then
        return { dhcp4.build { xid = request.xid, chaddr = request.chaddr,
          options = { message_type = "NAK", server_id = "10.0.0.1" } } }
      end
    end, function(load)
      assert.equal(9, load.failed)
      assert.same({ ["no offer"] = 3, ["no ack"] = 3, nak = 3 }, load.failures)
      assert.same({ 6, 6 }, { load.retransmissions, load.naks })
      assert.equal(0, load:release())
    end)
  end)

  it("begins anew after a NAK, with another transaction id", function()
    local refused, ids = {}, {}
    with_load({ count = 50, timeout = 0.5 }, function(request, reply)
      if request.options.message_type == "DISCOVER" then return end
      assert(ids[request.chaddr] ~= request.xid, "the same transaction id")
      ids[request.chaddr] = request.xid
      if refused[request.chaddr] then return end
      refused[request.chaddr] = true
      reply.options = { message_type = "NAK", server_id = "10.0.0.1" }
    end, function(load)
      assert.same({ 50, 0, 50, 0 }, { load.bound, load.failed, load.naks, load.retransmissions })
      assert.same({ 50, 100, 50 }, { load.dora.count, load.offer.count, load.ack.count })
    end)
  end)

  -- A reply with other fields, and perhaps another server identifier.
  local function other(reply, fields, server_id)
    local all, sent = {}, {}
    for name, value in pairs(reply) do all[name] = value end
    for name, value in pairs(reply.options) do sent[name] = value end
    for name, value in pairs(fields) do all[name] = value end
    sent.server_id, sent.message_type = server_id or sent.server_id, fields.kind or sent.message_type
    all.kind, all.options = nil, sent
    return dhcp4.build(all)
  end

  it("takes the answer of the server that it chose alone, and for the address that it offered", function()
    with_load({ count = 20 }, function(_, reply)
      if reply.options.message_type ~= "ACK" then return end
      return { other(reply, { kind = "NAK", yiaddr = "0.0.0.0" }, "10.0.0.2"), other(reply, {}, "10.0.0.2"),
        other(reply, { yiaddr = "10.0.9.9" }), dhcp4.build(reply) }
    end, function(load, server)
      assert.same({ 20, 0, 0, 0, 60 }, { load.bound, load.failed, load.naks, load.retransmissions, load.ignored })
      assert.equal(20, load:release())
      ether.sleep(0.05)
      assert.equal(0, bound(server))
    end)
  end)

  it("takes no offer of an address that no host can have", function()
    local ips = { "0.0.0.9", "127.0.0.1", "224.0.0.5", "239.1.2.3", "255.255.255.255" }
    with_load({ count = 1, tries = 1, timeout = 0.05 }, function(_, reply)
      local list = {}
      for i, ip in ipairs(ips) do list[i] = other(reply, { yiaddr = ip }) end
      return list
    end, function(load)
      assert.same({ 0, #ips, { ["no offer"] = 1 } }, { load.bound, load.ignored, load.failures })
    end)
  end)

  it("says how many replies it did not understand, and why", function()
    with_load({ count = 3, tries = 1, timeout = 0.05 }, function(_, reply)
      reply.pad = false
      return { dhcp4.build(reply):sub(1, -2) .. "\15\20ab", "" }
    end, function(load)
      assert.same({ 6, { ["dhcp4: option 15 is cut short"] = 3, ["dhcp4: 0 of 240 header bytes"] = 3 } },
        { load.ignored, load:summary().misread })
      assert.same({ ["no offer"] = 3 }, load.failures)
    end)
  end)

  it("takes the first server identifier of several, and a message without its end", function()
    with_load({ count = 3, tries = 1 }, function(_, reply)
      reply.pad, reply.options.server_id, reply.options[54] = false, nil, "\10\0\0\1\10\0\0\2"
      return { dhcp4.build(reply):sub(1, -2) }
    end, function(load, server)
      assert.same({ 3, 3, 0 }, { load.bound, bound(server), load.ignored })
    end)
  end)

  it("ignores and counts replies that are not for it or make no sense", function()
    local sent = 0
    with_load({ count = 20 }, function(_, reply)
      local good, wrong = dhcp4.build(reply), {}
      for name, value in pairs { xid = reply.xid + 1, op = 1, chaddr = "02:00:00:00:00:aa", yiaddr = "0.0.0.0" } do
        local fields = {}
        for key, old in pairs(reply) do fields[key] = old end
        fields[name] = value
        wrong[#wrong + 1] = dhcp4.build(fields)
      end
      wrong[#wrong + 1] = good:sub(1, 244)
      wrong[#wrong + 1] = ""
      sent = sent + 1
      return wrong[sent] and { wrong[sent] }
    end, function(load)
      assert.same({ 20, 0, 6, 6 }, { load.bound, load.failed, load.ignored, load.retransmissions })
    end)
  end)

  for name, to in pairs { unicast = false, broadcast = "ff:ff:ff:ff:ff:ff" } do
    it("believes nothing more once it has its lease: " .. name, function()
      with_load({ count = 50 }, function(_, reply)
        local messages, fields = { dhcp4.build(reply) }, {}
        for key, value in pairs(reply) do fields[key] = value end
        fields.op, fields.yiaddr = 2, "10.9.9.9"
        for _, kind in ipairs { 0, "OFFER", "ACK", "NAK" } do
          fields.options = { message_type = kind, server_id = "10.9.9.1" }
          messages[#messages + 1] = dhcp4.build(fields)
        end
        return reply.options.message_type == "ACK" and messages or nil
      end, function(load, server)
        assert.same({ 50, 0 }, { load.bound, load.failed })
        ether.sleep(0.05)
        load:release()
        ether.sleep(0.05)
        assert.equal(50, server.counters.release)
        assert.equal(0, bound(server))
      end, to or nil)
    end)
  end

  it("gives all addresses back", function()
    with_load({ count = 500, rate = 5000 }, nil, function(load, server)
      assert.equal(500, bound(server))
      assert.equal(500, load:release())
      for _ = 1, 100 do
        if server.counters.release == 500 then break end
        ether.sleep(0.01)
      end
      assert.equal(500, server.counters.release)
      assert.equal(0, bound(server))
    end)
  end)

  it("starts no faster than the rate", function()
    with_load({ count = 200, rate = 1000 }, nil, function(load)
      assert.equal(200, load.bound)
      assert.is_true(load:summary().seconds >= 0.199, load:summary().seconds .. " s")
    end)
  end)

  it("can be cancelled before it has begun, and while it runs", function()
    for _, pause in ipairs { false, 0.05 } do
      local reason
      ether.run(function()
        local a, b = ether.wire()
        local main = ether.spawn(function()
          local load = dhcp4_load.new(a, { count = 3000, mac = MAC, window = 10 })
          load:run()
        end)
        ether.sleep(pause or 0)
        main:cancel()
        reason = select(2, main:join())
        a:close()
        b:close()
      end)
      assert.equal("cancelled", reason)
      leaks.check()
    end
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

-- Runs the script in the namespace. Returns its exit status, the object that it printed, and its whole output.
local function run(ns, arguments, interrupt_after)
  local log = os.tmpname()
  local argv = { ETHERLUA, "run", "dhcp4_load", "--json" }
  for word in arguments:gmatch("%S+") do argv[#argv + 1] = word end
  local process = ns:start(argv, { log = log })
  if interrupt_after then
    os.execute("sleep " .. interrupt_after)
    os.execute(("kill -%d %d"):format(INT, process.pid))
  end
  local status = process:wait(30)
  process:stop()
  local text = files.read_all(log)
  os.remove(log)
  return status, text:match("{.*}") and cjson.decode(text:match("{.*}")) or {}, text
end

describe("dhcp4_load", function()
  local reason, net = select(2, lab.root()), nil

  before_each(function()
    if not reason then net = lab.new() end
  end)

  after_each(function()
    if net then net:close() end
  end)

  local function root_it(name, fn)
    it(name, function()
      if reason then return pending(reason) end
      fn()
    end)
  end

  root_it("spreads the hosts over VLAN stacks", function()
    local capture = os.tmpname()
    local status, said, text = run(net.near, "--lab --clients 12 --vlan-range 100-101.7-9 --capture " .. capture)
    local frames, stacks = files.read_all(capture), {}
    os.remove(capture)
    for vids in frames:gmatch("\255\255\255\255\255\255\2%z%z%z%z.\129%z(%z.\129%z%z.)\8%z") do
      local key = bytes.hex(vids)
      stacks[key] = (stacks[key] or 0) + 1
    end
    assert.same({ 0, 12 }, { status, said.bound }, text)
    assert.same({ ["006481000007"] = 4, ["006481000008"] = 4, ["006481000009"] = 4, ["006581000007"] = 4,
      ["006581000008"] = 4, ["006581000009"] = 4 }, stacks)
  end)

  root_it("ends with status 3 and says why when no server is there", function()
    local status, said, text = run(net.near, "-i eth0 --clients 5 --retries 1 --timeout 0.05")
    assert.same({ 3, 0, 5, 5 }, { status, said.bound, said.failed, said.retransmissions }, text)
    assert.same({ ["no offer"] = 5 }, said.failures)
  end)

  -- Interrupts it after so many seconds, or later where the machine was so slow that this was too early, which is when
  -- what it tells does not fit.
  local function interrupt(arguments, seconds, fits)
    one_works(function(n)
      local status, said, text = run(net.near, arguments, seconds * n)
      return (status ~= 3 or not fits(said)) and ("status %s: %s"):format(status, text) or nil
    end)
  end

  root_it("tells so on Ctrl-C too when its endpoints are not even made", function()
    interrupt("--lab --clients 1000000", 0.5, function(said) return said.bound == 0 and said.unfinished == 1000000 end)
  end)

  root_it("tells on Ctrl-C what was reached, and releases it", function()
    interrupt("--lab --clients 20000 --rate 1000 --release", 4, function(said)
      return said.bound > 0 and said.bound < 20000 and said.bound == said.released
        and said.bound + said.failed + said.unfinished == 20000
    end)
  end)

  root_it("ends at Ctrl-C while nobody answers", function()
    interrupt("-i eth0 --clients 1000", 1, function(said) return said.bound == 0 and said.unfinished == 1000 end)
  end)
end)
