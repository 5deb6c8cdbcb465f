-- Who has an address, by what others send: one rule, and all who ask for it agree: a host that probes, arping --dad, a
-- DHCP client and the gateway.

local arp = require "etherlua.proto.arp"
local arping = require "etherlua.role.arping"
local ether = require "etherlua"
local gateway = require "etherlua.role.gateway"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local neighbour = require "etherlua.host.neighbour"
local sched = require "etherlua.core.sched"
local script = require "support.dhcp4_script"
local settle = require("support.wait").settle

local MAC, OTHER, THIRD = "02:00:00:00:00:01", "02:00:00:00:00:aa", "02:00:00:00:00:bb"
local BROADCAST, ALL_NODES_MAC, GROUP_MAC = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "33:33:ff:00:00:88"
local IP, PEER, IP6, PEER6 = "10.0.0.10", "10.0.0.9", "2001:db8:5::88", "2001:db8:5::1"
local GROUP = "ff02::1:ff00:88"
local BRIEF = { wait = 0, count = 1, min = 0, max = 0, after = 0.06 }

-- A frame of ARP: what it says, where it goes (broadcast), and from where (what it says).
local function arp_frame(fields, to, from)
  return { payload = arp.build(fields), to = to or BROADCAST, from = from or fields.sha, ethertype = 0x0806 }
end

local function nd_frame(message, src, dst, to, from)
  return { payload = ipv6.build { src = src, dst = dst, protocol = 58, hop_limit = 255,
    payload = icmp6.build(message, { src = src, dst = dst }) }, to = to or ALL_NODES_MAC, from = from or OTHER }
end

-- What others send; whether the address is free nevertheless.
local ARPS = {
  { "a reply", arp_frame { op = 2, sha = OTHER, spa = IP, tha = MAC, tpa = "0.0.0.0" } },
  { "a reply to somebody else", arp_frame { op = 2, sha = OTHER, spa = IP, tha = THIRD, tpa = PEER } },
  { "a reply whose frame another has sent", arp_frame({ op = 2, sha = OTHER, spa = IP, tha = MAC }, MAC, THIRD) },
  { "an announcement", arp_frame { sha = OTHER, spa = IP, tpa = IP } },
  { "an announcement by reply", arp_frame { op = 2, sha = OTHER, spa = IP, tha = BROADCAST, tpa = IP } },
  { "a question from it", arp_frame { sha = OTHER, spa = IP, tpa = PEER } },
  { "a question from it to one host", arp_frame({ sha = OTHER, spa = IP, tpa = PEER }, MAC) },
  { "an operation that nobody knows", arp_frame { op = 25, sha = OTHER, spa = IP, tpa = PEER } },
  { "a probe", arp_frame { sha = OTHER, tpa = IP } },
  { "a probe for one host", arp_frame({ sha = OTHER, tpa = IP }, MAC), free = true },
  { "a probe on behalf of another", arp_frame({ sha = OTHER, tpa = IP }, nil, THIRD), free = true },
  { "a probe for another address", arp_frame { sha = OTHER, tpa = PEER }, free = true },
  { "a reply without a sender", arp_frame { op = 2, sha = OTHER, tpa = IP }, free = true },
  { "a question for it", arp_frame { sha = OTHER, spa = PEER, tpa = IP }, free = true },
  { "what came back of our own", arp_frame({ sha = MAC, tpa = IP }), free = true },
  { "an announcement by a group", arp_frame({ sha = BROADCAST, spa = IP, tpa = IP }, nil, OTHER), free = true },
  { "ARP of other hardware", arp_frame { hrd = 6, sha = OTHER, spa = IP, tpa = IP }, free = true },
}

local DISCOVERIES = {
  { "an advertisement", nd_frame({ type = 136, target = IP6, override = true, target_link_layer_address = OTHER },
    IP6, "ff02::1") },
  { "an advertisement without a link-layer address", nd_frame({ type = 136, target = IP6 }, IP6, "ff02::1") },
  { "a solicitation from nobody", nd_frame({ type = 135, target = IP6 }, "::", GROUP, GROUP_MAC) },
  { "a solicitation from it", nd_frame({ type = 135, target = PEER6, source_link_layer_address = OTHER }, IP6,
    "ff02::1:ff00:1", "33:33:ff:00:00:01") },
  { "a solicitation for it", nd_frame({ type = 135, target = IP6, source_link_layer_address = OTHER }, PEER6, GROUP,
    GROUP_MAC), free = true },
  { "a solicitation from nobody for another", nd_frame({ type = 135, target = PEER6 }, "::", "ff02::1:ff00:1",
    "33:33:ff:00:00:01"), free = true },
  { "a solicitation from nobody that is to be discarded", nd_frame({ type = 135, target = IP6,
    source_link_layer_address = OTHER }, "::", GROUP, GROUP_MAC), free = true },
  { "what came back of our own", nd_frame({ type = 135, target = IP6 }, "::", GROUP, GROUP_MAC, MAC), free = true },
  { "an advertisement for another", nd_frame({ type = 136, target = PEER6 }, PEER6, "ff02::1"), free = true },
}

-- fn(conn, send) as a task; send(frame) sends from the far end.
local function on_wire(fn)
  kinds.run_apart(function()
    local near, far = ether.wire()
    local back = far:conn { mac = THIRD }
    fn(near:conn { mac = MAC, multicast = true }, function(frame)
      back:send(frame.payload, frame.to, { src_mac = frame.from, ethertype = frame.ethertype })
    end)
    near:close()
    far:close()
  end)
end

local function is_free_for_a_host(ip, frame)
  local free
  on_wire(function(conn, send)
    sched.spawn_background(function()
      send(frame) -- when the probe waits
    end)
    free = neighbour.of(conn):probe(ip, BRIEF)
  end)
  return free
end

local function is_free_for_arping(ip, frame)
  local answer
  on_wire(function(conn, send)
    local asker = arping.new(conn, { target = ip, dad = true })
    asker:ask()
    send(frame)
    answer = asker:answer(0.06)
  end)
  return answer == nil
end

describe("an address", function()
  after_each(leaks.check)

  for ip, cases in pairs { [IP] = ARPS, [IP6] = DISCOVERIES } do
    for _, case in ipairs(cases) do
      local what, frame, free = case[1], case[2], case.free or false
      local state = free and "free" or "in use"
      it(("%s is %s for a host and for arping when they hear %s"):format(ip, state, what), function()
        assert.equal(free, is_free_for_a_host(ip, frame) or false)
        assert.equal(free, is_free_for_arping(ip, frame))
      end)
    end
  end

  it("counts as an answer to arping without --dad only if it is a reply", function()
    on_wire(function(conn, send)
      local asker = arping.new(conn, { target = IP })
      asker:ask()
      send(ARPS[4][2])
      send(ARPS[9][2])
      send(ARPS[1][2])
      assert.same({ "reply", OTHER }, { asker:answer(1).said, asker.owners[1] })
      assert.equal(2, asker.ignored)
    end)
  end)

  it("is asked for by arping --dad behind a report of its group (RFC 4862 section 5.4.2)", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local all = far:default_conn()
      local asker = arping.new(near:conn { mac = MAC, multicast = true }, { target = IP6, dad = true, count = 1,
        timeout = 0.01 })
      asker:run()
      local report, question = ipv6.parse(all:recv(1)), ipv6.parse(all:recv(1))
      assert.same({ "ff02::16", 143, GROUP, 135 }, { report.dst, report.payload:byte(), question.dst,
        question.payload:byte() })
      near:close()
      far:close()
    end)
  end)

  -- Switches that keep track of their ports send what is no probe (RFC 5227 section 1.1).
  for what, case in pairs {
    ["keeps an address that a switch asks one host for"] = { MAC, OTHER, OTHER, 0 },
    ["keeps an address that a switch asks for on behalf of another"] = { BROADCAST, THIRD, OTHER, 0 },
    ["declines an address that another probes for"] = { BROADCAST, OTHER, OTHER, 1 },
  } do
    local to, sha, from, declines = unpack(case)
    it("a DHCP client " .. what, script.on_wire({}, function(_, server, conn)
      sched.spawn_background(function()
        while server:count "REQUEST" == 0 do ether.sleep(0.005) end
        ether.sleep(0.06)
        server:send_payload(arp.build { sha = sha, tpa = IP }, 0x0806, { mac = to, src_mac = from })
      end)
      local lease = script.lease(conn, { probe = "quick", rounds = 1 })
      settle()
      assert.equal(declines, server:count "DECLINE")
      assert.equal(declines == 0 and IP or nil, lease and lease.ip)
    end))
  end

  it("of the gateway is defended, and whoever else has it is counted", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local gw = gateway.new(far, { server = PEER, pool = "10.0.0.10-10.0.0.20", ip6 = "2001:db8::/64" })
      sched.spawn_background(function() gw:serve() end)
      local conn, sent = near:conn { mac = OTHER, multicast = true }, 0
      local function send(frame)
        conn:send(frame.payload, frame.to, { ethertype = frame.ethertype })
        settle()
        sent = sent + 1
      end
      send(arp_frame { sha = OTHER, spa = PEER, tpa = PEER })
      send(nd_frame({ type = 136, target = "2001:db8::1" }, "2001:db8::1", "ff02::1"))
      assert.equal(sent, gw:summary().conflicts)
      send(arp_frame { sha = OTHER, tpa = PEER })
      send(arp_frame { sha = OTHER, spa = IP, tpa = "10.0.0.77" })
      send(nd_frame({ type = 135, target = "2001:db8::1" }, "::", "ff02::1:ff00:1", "33:33:ff:00:00:01"))
      assert.equal(2, gw:summary().conflicts)
      assert.equal(2, gw:summary().arp) -- the announcement and the probe
      near:close()
      far:close()
    end)
  end)
end)
