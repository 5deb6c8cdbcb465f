-- What a host does about its neighbours, on a wire: resolving, answering for its own addresses, probing for free ones.
-- That kernels agree is shown elsewhere.

local ether = require "etherlua"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local neighbour = require "etherlua.host.neighbour"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"
local settle = require("support.wait").settle

local MAC, MAC2, PEER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:fe"
local BROADCAST, ANY = "ff:ff:ff:ff:ff:ff", "0.0.0.0"
local ME, IP, NOBODY = "10.0.0.1", "10.0.0.9", "10.0.0.99"
local QUICK = neighbour.PROBES.quick

-- The other end: what it heard, and hosts that answer (IP -> MAC).
local Far = {}
Far.__index = Far

function Far:send_arp(fields, to, vlans)
  self.conn:send(proto.arp.build(fields), to or BROADCAST, { ethertype = 0x0806, src_mac = fields.sha, vlans = vlans })
end

function Far:hear(frame)
  local layers = {}
  for _, layer in ipairs(proto.dissect(frame)) do layers[layer.name] = layer.fields end
  table.insert(self.frames, layers)
  local arp, mac = layers.arp, layers.arp and self.hosts[layers.arp.tpa]
  if mac and arp.op == 1 and arp.sha ~= mac then
    self:send_arp({ op = 2, sha = mac, spa = arp.tpa, tha = arp.sha, tpa = arp.spa }, arp.sha, layers.ethernet.vlans)
  end
end

-- fn(relay, far) as a task.
local function on_wire(fn)
  return function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local far = setmetatable({ conn = other:default_conn(), frames = {}, hosts = { [IP] = PEER } }, Far)
      sched.spawn_background(function()
        while true do
          local frame = far.conn:recv_frame()
          if not frame then return end
          far:hear(tostring(frame))
        end
      end)
      fn(relay, far)
    end)
  end
end

local function of(relay, mac, vlans)
  return neighbour.of(relay:conn { mac = mac or MAC, vlans = vlans })
end

describe("a host", function()
  after_each(leaks.check)

  -- ---- resolving --------------------------------------------------------------------------------------------------

  it("asks everybody for an address, and learns it from the answer", on_wire(function(relay, far)
    assert.equal(PEER, of(relay):resolve(IP, ME))
    local frame = far.frames[1]
    assert.same({ 1, MAC, ME, "00:00:00:00:00:00", IP }, { frame.arp.op, frame.arp.sha, frame.arp.spa, frame.arp.tha,
      frame.arp.tpa })
    assert.same({ MAC, BROADCAST }, { frame.ethernet.src, frame.ethernet.dst })
  end))

  it("asks once, and so do all hosts of the segment together", on_wire(function(relay, far)
    for _, mac in ipairs { MAC, MAC, MAC2 } do
      local conn = far[mac] or relay:conn { mac = mac }
      far[mac] = conn
      assert.equal(PEER, neighbour.of(conn):resolve(IP, ME))
    end
    assert.equal(1, #far.frames)
  end))

  it("asks again on another VLAN stack", on_wire(function(relay, far)
    for i, vlans in ipairs { "", "100", "200.100" } do
      assert.equal(PEER, of(relay, MAC, vlans ~= "" and vlans or nil):resolve(IP, ME))
      assert.equal(i, #far.frames)
    end
    assert.same({ 200, 100 }, { far.frames[3].ethernet.vlans[1].vid, far.frames[3].ethernet.vlans[2].vid })
  end))

  it("asks once for many tasks that wait for the same address", on_wire(function(relay, far)
    local host, tasks = of(relay), {}
    for i = 1, 20 do tasks[i] = ether.spawn(host.resolve, host, IP, ME) end
    for _, task in ipairs(tasks) do assert.equal(PEER, task:join()) end
    assert.equal(1, #far.frames)
  end))

  it("asks three times, and then says that nobody answered", on_wire(function(relay, far)
    local started = ether.now()
    assert.same({ nil, "no answer from neighbour " .. NOBODY }, { of(relay):resolve(NOBODY, ME) })
    assert.equal(3, #far.frames)
    assert.is_true(ether.now() - started > 1.4 and ether.now() - started < 10)
  end))

  it("learns from the answer to a later try", on_wire(function(relay, far)
    far.hosts = {}
    ether.spawn(function()
      ether.sleep(0.1)
      far.hosts[IP] = PEER
    end)
    assert.equal(PEER, of(relay):resolve(IP, ME))
    assert.equal(2, #far.frames)
  end))

  it("goes on asking for others that wait when the task that asked first is cancelled", on_wire(function(relay, far)
    far.hosts = {}
    local host = of(relay)
    local first = ether.spawn(host.resolve, host, IP, ME)
    local second = ether.spawn(host.resolve, host, IP, ME)
    settle()
    first:cancel()
    far.hosts[IP] = PEER
    assert.equal(PEER, second:join(0.8))
    assert.equal(2, #far.frames)
  end))

  it("asks anew after the only task that asked was cancelled", on_wire(function(relay, far)
    far.hosts = {}
    local host = of(relay)
    local task = ether.spawn(host.resolve, host, IP, ME)
    settle()
    task:cancel()
    task:join()
    far.hosts[IP] = PEER
    assert.equal(PEER, host:resolve(IP, ME))
    assert.equal(2, #far.frames)
  end))

  it("believes a neighbour that moves to another MAC address", on_wire(function(relay, far)
    local host = of(relay)
    host:resolve(IP, ME)
    far:send_arp { sha = MAC2, spa = IP, tpa = IP }
    settle()
    assert.equal(MAC2, host:resolve(IP, ME))
    assert.equal(1, #far.frames)
  end))

  it("keeps nothing of a flood that it did not ask for", on_wire(function(relay, far)
    local host = of(relay)
    host:resolve(IP, ME)
    for i = 1, 1000 do
      far:send_arp { op = i % 2 + 1, sha = PEER, spa = ("10.1.%d.%d"):format(i / 250, i % 250), tpa = ME }
      if i % 50 == 0 then ether.sleep(0) end
    end
    settle()
    local kept = 0
    for _ in pairs(host.segment.neighbours) do kept = kept + 1 end
    assert.equal(1, kept)
    assert.equal(PEER, host:resolve(IP, ME))
  end))

  it("survives ARP that is none", on_wire(function(relay, far)
    local host = of(relay)
    host:claim(ME)
    for _, payload in ipairs { "", "x", ("\255"):rep(28), ("\0"):rep(46), proto.arp.build { sha = PEER, spa = ME,
      tpa = ME }:sub(1, 27), proto.arp.build { pro = 1, sha = PEER, spa = "abcd", tpa = "efgh" } } do
      far.conn:send(payload, BROADCAST, { ethertype = 0x0806, src_mac = PEER })
      far.conn:send(payload, MAC, { ethertype = 0x0806, src_mac = PEER })
    end
    settle()
    assert.equal(0, #far.frames)
    assert.equal(PEER, host:resolve(IP, ME))
  end))

  it("says why when it cannot even ask", on_wire(function(relay)
    local host = of(relay)
    local conn = host.conn
    host.conn = { is_open = function() return true end, send = function() return nil, "link down" end }
    local mac, reason = host:resolve(IP, ME)
    host.conn = conn
    assert.is_nil(mac)
    assert.equal("link down", reason)
  end))

  -- ---- own addresses ----------------------------------------------------------------------------------------------

  it("answers for an address that it claims, to broadcast and unicast requests, and for no other",
    on_wire(function(relay, far)
      of(relay):claim(ME)
      for _, to in ipairs { BROADCAST, MAC } do
        far:send_arp({ sha = PEER, spa = IP, tpa = ME }, to)
        far:send_arp({ sha = PEER, spa = IP, tpa = NOBODY }, to)
      end
      settle()
      assert.equal(2, #far.frames)
      for _, frame in ipairs(far.frames) do
        assert.same({ 2, MAC, ME, PEER, IP }, { frame.arp.op, frame.arp.sha, frame.arp.spa, frame.arp.tha,
          frame.arp.tpa })
        assert.same({ MAC, PEER }, { frame.ethernet.src, frame.ethernet.dst })
      end
    end))

  it("answers on its own VLAN stack only", on_wire(function(relay, far)
    of(relay, MAC, "100"):claim(ME)
    for _, vlans in ipairs { "", "200", "100.100", "100" } do
      far:send_arp({ sha = PEER, spa = IP, tpa = ME }, BROADCAST, vlans)
    end
    settle()
    assert.equal(1, #far.frames)
    assert.equal(100, far.frames[1].ethernet.vlans[1].vid)
  end))

  it("defends its address against one who probes for it", on_wire(function(relay, far)
    of(relay):claim(ME)
    far:send_arp { sha = PEER, tpa = ME }
    settle()
    assert.same({ 2, ME }, { far.frames[1].arp.op, far.frames[1].arp.spa })
  end))

  it("tells when another host says that the address is its own", on_wire(function(relay, far)
    local claim = of(relay):claim(ME)
    far:send_arp { op = 2, sha = MAC, spa = ME, tha = MAC, tpa = ME } -- its own MAC address is no conflict
    settle()
    assert.is_nil(claim.conflict)
    far:send_arp { sha = PEER, spa = ME, tpa = ME }
    settle()
    assert.equal(PEER, claim.conflict)
  end))

  it("is silent after it was released as often as it was claimed, and after close", on_wire(function(relay, far)
    local conn = relay:conn { mac = MAC }
    local host = neighbour.of(conn)
    local function is_answered()
      local before = #far.frames
      far:send_arp { sha = PEER, spa = IP, tpa = ME }
      settle()
      return #far.frames > before
    end
    host:claim(ME)
    host:claim(ME)
    host:release(ME)
    assert.is_true(is_answered())
    host:release(ME)
    assert.is_false(is_answered())
    host:claim(ME)
    conn:close()
    assert.is_false(is_answered())
  end))

  it("lets the next host claim what a closed one had", on_wire(function(relay, far)
    local conn = relay:conn { mac = MAC }
    neighbour.of(conn):claim(ME)
    conn:close()
    of(relay, MAC2):claim(ME)
    far:send_arp { sha = PEER, spa = IP, tpa = ME }
    settle()
    assert.equal(MAC2, far.frames[1].arp.sha)
  end))

  it("announces its address to all", on_wire(function(relay, far)
    of(relay):announce(ME)
    settle()
    assert.same({ 1, MAC, ME, ME, BROADCAST }, { far.frames[1].arp.op, far.frames[1].arp.sha, far.frames[1].arp.spa,
      far.frames[1].arp.tpa, far.frames[1].ethernet.dst })
  end))

  -- ---- probing ----------------------------------------------------------------------------------------------------

  it("finds an address free when three probes stay unanswered", on_wire(function(relay, far)
    assert.same({ true }, { of(relay):probe(NOBODY, QUICK) })
    assert.equal(3, #far.frames)
    for _, frame in ipairs(far.frames) do
      assert.same({ 1, MAC, ANY, NOBODY, BROADCAST }, { frame.arp.op, frame.arp.sha, frame.arp.spa, frame.arp.tpa,
        frame.ethernet.dst })
    end
  end))

  it("finds out at once whose the address is", on_wire(function(relay, far)
    assert.same({ nil, PEER }, { of(relay):probe(IP, QUICK) })
    assert.equal(1, #far.frames)
  end))

  -- What another host sends while we probe; whether that is a conflict.
  for what, case in pairs {
    ["probes for it"] = { { sha = PEER, tpa = NOBODY }, true },
    ["announces it"] = { { sha = PEER, spa = NOBODY, tpa = NOBODY }, true },
    ["asks for something from it"] = { { sha = PEER, spa = NOBODY, tpa = ME }, true },
    ["asks for it"] = { { sha = PEER, spa = IP, tpa = NOBODY }, false },
    ["is our own probe that came back"] = { { sha = MAC, tpa = NOBODY }, false },
  } do
    it(("takes it for %s conflict when a frame %s"):format(case[2] and "a" or "no", what), on_wire(function(relay, far)
      local host = of(relay)
      local task = ether.spawn(host.probe, host, NOBODY, QUICK)
      ether.sleep(0.08)
      far:send_arp(case[1])
      if case[2] then
        assert.same({ nil, PEER }, { task:join() })
      else
        assert.same({ true }, { task:join() })
      end
    end))
  end

  it("does not answer for an address while it only probes for it", on_wire(function(relay, far)
    local host = of(relay)
    local task = ether.spawn(host.probe, host, NOBODY, QUICK)
    ether.sleep(0.08)
    far:send_arp { sha = PEER, spa = IP, tpa = NOBODY }
    assert.is_true(task:join())
    for _, frame in ipairs(far.frames) do assert.equal(1, frame.arp.op) end
  end))

  it("finds an address taken that another host of its relay has", on_wire(function(relay, far)
    of(relay, MAC2):claim(NOBODY)
    assert.same({ nil, MAC2 }, { of(relay):probe(NOBODY, QUICK) })
    far:send_arp { sha = PEER, spa = IP, tpa = NOBODY }
    settle()
    assert.equal(MAC2, far.frames[1].arp.sha)
  end))

  it("agrees with another host of its relay that probes at the same time that neither may have it",
    on_wire(function(relay)
      local first, second = of(relay, MAC), of(relay, MAC2)
      local task = ether.spawn(first.probe, first, NOBODY, QUICK)
      settle()
      assert.same({ nil, MAC }, { second:probe(NOBODY, QUICK) })
      assert.same({ nil, MAC2 }, { task:join() })
    end))

  it("takes the same address on another VLAN stack for another", on_wire(function(relay)
    of(relay, MAC2, "100"):claim(NOBODY)
    assert.same({ true }, { of(relay, MAC, "200"):probe(NOBODY, QUICK) })
  end))
end)
