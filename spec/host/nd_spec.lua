-- Messages of neighbour discovery that have to be discarded silently (RFC 4861 sections 6.1, 7.1 and 8.1, RFC 6980),
-- and what looks like them and is right: by hosts, the gateway and arping alike.

local access = require "etherlua.lab.access"
local arping = require "etherlua.role.arping"
local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local fragments = require "support.fragments"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local nd = require "etherlua.host.nd"
local sched = require "etherlua.core.sched"
local settle = require("support.wait").settle

local MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:aa"
local IP, PEER, LINK, GROUP = "2001:db8::1", "2001:db8::99", "fe80::99", "ff02::1:ff00:1"
local GROUP_MAC, ALL_NODES = "33:33:ff:00:00:01", "ff02::1"

-- A packet. ip: src, dst, and what else is not as it ought to be: hop_limit, headers, spoil(payload), which is given
-- the message and returns another, whose checksum will be right.
local function packet(message, ip)
  local payload = icmp6.build(message, ip)
  if ip.spoil then
    payload = ip.spoil(payload)
    payload = payload:sub(1, 2) .. "\0\0" .. payload:sub(5)
    local sum = bytes.checksum(payload, bytes.pseudo_sum(ip, 58, #payload))
    payload = payload:sub(1, 2) .. string.char(math.floor(sum / 256), sum % 256) .. payload:sub(5)
  end
  return ipv6.build { src = ip.src, dst = ip.dst, protocol = 58, hop_limit = ip.hop_limit or 255,
    extension_headers = ip.headers, payload = payload }
end

local function cut(size)
  return function(payload) return payload:sub(1, size) end
end

-- The last option, of 8 octets, gets the length 0.
local function without_length(payload)
  return payload:sub(1, -8) .. "\0" .. payload:sub(-6)
end

local function with(base, more)
  local all = {}
  for name, value in pairs(base) do all[name] = value end
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local ATOMIC = { { type = 44, identification = 7 } }
local PADDED_ATOMIC = { { type = 60, options = {} }, { type = 44, identification = 7 } }

-- What is wrong with any message, as changes of it and of the IP header.
local WRONG = {
  ["a hop limit of 254"] = { nil, { hop_limit = 254 } },
  ["another code"] = { { code = 1 } },
  ["a wrong checksum"] = { { checksum = 0x1234 } },
  ["a group as its source"] = { nil, { src = "ff02::5" } },
  ["a fragment header"] = { nil, { headers = ATOMIC } },
  ["a fragment header behind another"] = { nil, { headers = PADDED_ATOMIC } },
  ["an option of length 0"] = { { options = { { type = 14, data = ("\0"):rep(6) } } }, { spoil = without_length } },
}

-- A good message of each kind, and what is wrong with messages of this kind alone: changes of it, and of the IP header.
local KINDS = {
  {
    name = "neighbour solicitation",
    message = { type = 135, target = IP, source_link_layer_address = OTHER }, ip = { src = PEER, dst = GROUP },
    cut = 23,
    wrong = {
      ["a group as its target"] = { { target = GROUP } },
      ["no source, but its link-layer address"] = { nil, { src = "::" } },
      ["no source, but its link-layer address, which is none of Ethernet"] = { { source_link_layer_address = false,
        options = { { type = 1, data = ("\2"):rep(14) } } }, { src = "::" } },
      ["no source, to one host"] = { { source_link_layer_address = false }, { src = "::", dst = IP } },
      ["no source, to all nodes"] = { { source_link_layer_address = false }, { src = "::", dst = ALL_NODES } },
      ["a group's link-layer address"] = { { source_link_layer_address = "33:33:00:00:00:01" } },
    },
    right = {
      ["without a link-layer address"] = { { source_link_layer_address = false } },
      ["to one host"] = { nil, { dst = IP } },
      ["from nobody"] = { { source_link_layer_address = false }, { src = "::" } },
      ["with options that nobody knows"] = { { options = { { type = 253, data = ("x"):rep(6) } } } },
      ["with bits that are reserved"] = { { reserved = 0xffffffff } },
      ["behind another extension header"] = { nil, { headers = { { type = 60, options = {} } } } },
    },
  }, {
    name = "neighbour advertisement",
    message = { type = 136, target = PEER, override = true, solicited = true, target_link_layer_address = OTHER },
    ip = { src = PEER, dst = IP }, cut = 23,
    wrong = {
      ["a group as its target"] = { { target = GROUP } },
      ["the solicited flag, to a group"] = { nil, { dst = ALL_NODES } },
      ["a group's link-layer address"] = { { target_link_layer_address = "33:33:00:00:00:01" } },
    },
    right = { ["to all, unsolicited"] = { { solicited = false }, { dst = ALL_NODES } } },
  }, {
    name = "router solicitation",
    message = { type = 133, source_link_layer_address = OTHER }, ip = { src = PEER, dst = "ff02::2" }, cut = 7,
    wrong = { ["no source, but its link-layer address"] = { nil, { src = "::" } } },
    right = { ["from nobody"] = { { source_link_layer_address = false }, { src = "::" } } },
  }, {
    name = "router advertisement",
    message = { type = 134, router_lifetime = 1800, source_link_layer_address = OTHER },
    ip = { src = LINK, dst = ALL_NODES }, cut = 15,
    wrong = {
      ["a source that is not link-local"] = { nil, { src = PEER } },
      ["no source"] = { nil, { src = "::" } },
    },
    right = { ["of the end of link-local addresses"] = { nil, { src = "febf::1" } } },
  }, {
    name = "redirect",
    message = { type = 137, target = LINK, destination = PEER }, ip = { src = LINK, dst = IP }, cut = 39,
    wrong = {
      ["a source that is not link-local"] = { nil, { src = PEER } },
      ["a group as its destination"] = { { destination = ALL_NODES } },
      ["a target that is no router"] = { { target = "2001:db8::77" } },
    },
    right = { ["to a host on the link"] = { { target = PEER } } },
  },
}

local function changed(kind, change)
  local message = with(kind.message, change[1])
  for name, value in pairs(message) do
    if value == false then message[name] = nil end
  end
  return packet(message, with(kind.ip, change[2]))
end

-- All that is wrong with messages of a kind: texts and packets.
local function wrong_ones(kind)
  local list = { { "and is cut off", packet(kind.message, with(kind.ip, { spoil = cut(kind.cut) })) } }
  for _, changes in ipairs { WRONG, kind.wrong } do
    for what, change in pairs(changes) do list[#list + 1] = { "with " .. what, changed(kind, change) } end
  end
  return list
end

-- fn(read) as a task; read(bytes) sends a packet over a wire and returns what nd.read makes of it.
local function reading(fn)
  kinds.run_apart(function()
    local near, far = ether.wire()
    local conn, back = near:conn { mac = MAC }, far:conn { mac = OTHER }
    fn(function(whole)
      back:send(whole, MAC)
      local frame = assert(conn:recv_frame(1))
      assert.is_true(nd.is(frame))
      return nd.read(frame)
    end)
    near:close()
    far:close()
  end)
end

describe("neighbour discovery", function()
  after_each(leaks.check)

  for _, kind in ipairs(KINDS) do
    it("discards a " .. kind.name .. " that is wrong, and no other", function()
      reading(function(read)
        assert.is_truthy(read(packet(kind.message, kind.ip)))
        for _, one in ipairs(wrong_ones(kind)) do assert.is_nil(read(one[2]), kind.name .. " " .. one[1]) end
        for what, change in pairs(kind.right) do
          assert.is_truthy(read(changed(kind, change)), kind.name .. " " .. what)
        end
      end)
    end)
  end

  it("is not answered by a host, and counted, when it has to be discarded", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local host, all = near:host { mac = MAC, ip6 = IP .. "/64", dad = false }, far:default_conn()
      settle()
      while all:recv(0) do end
      local wrong, counters = wrong_ones(KINDS[1]), host.segment.tap.counters
      for _, mac in ipairs { GROUP_MAC, MAC } do
        local before = counters.invalid + counters.ignored -- the target of one of them is none of ours
        for _, one in ipairs(wrong) do all:send(one[2], mac, { src_mac = OTHER }) end
        settle()
        assert.equal(before + #wrong, counters.invalid + counters.ignored)
        assert.is_nil((all:recv(0)))
      end
      assert.equal(2, counters.ignored)
      all:send(packet(KINDS[1].message, KINDS[1].ip), GROUP_MAC, { src_mac = OTHER })
      settle()
      assert.equal(136, ipv6.parse(all:recv(1)).payload:byte())
      near:close()
      far:close()
    end)
  end)

  it("is not answered by the gateway, and counted, when it has to be discarded", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local gw, all = access.new(far), near:default_conn()
      sched.spawn_background(function() gw:serve() end)
      local count = 0
      for _, kind in ipairs(KINDS) do
        for _, one in ipairs(wrong_ones(kind)) do
          all:send(one[2], GROUP_MAC, { src_mac = OTHER })
          count = count + 1
        end
      end
      settle()
      assert.is_nil((all:recv(0)))
      assert.equal(count, gw:summary().invalid)
      all:send(packet(KINDS[1].message, KINDS[1].ip), GROUP_MAC, { src_mac = OTHER })
      settle()
      assert.equal(136, ipv6.parse(all:recv(1)).payload:byte())
      near:close()
      far:close()
    end)
  end)

  it("is no answer to arping when it has to be discarded", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local asker = arping.new(near:conn { mac = MAC, multicast = true }, { target = PEER, source = IP })
      local back, kind, wrong = far:conn { mac = OTHER }, KINDS[2], wrong_ones(KINDS[2])
      asker:ask()
      for _, one in ipairs(wrong) do back:send(one[2], MAC) end
      back:send(packet(kind.message, kind.ip), MAC)
      assert.equal(OTHER, asker:answer(1).mac)
      assert.equal(#wrong, asker.ignored)
      near:close()
      far:close()
    end)
  end)

  it("is not heard when it was put together of fragments, as other ICMPv6 is (RFC 6980)", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      near:host { mac = MAC, ip6 = IP .. "/64", dad = false, reassemble = true }
      local all = far:default_conn()
      settle()
      while all:recv(0) do end
      local ip = { src = PEER, dst = IP }
      local function send_in_pieces(message)
        local whole = { version = 6, src = PEER, dst = IP, hop_limit = 255, identification = 7, protocol = 58,
          payload = icmp6.build(message, ip) }
        for _, piece in ipairs(fragments.cut(whole, 16)) do all:send(piece, MAC, { src_mac = OTHER }) end
        settle()
        local answer = all:recv(0)
        return answer and ipv6.parse(answer).payload:byte()
      end
      assert.is_nil(send_in_pieces(KINDS[1].message))
      assert.equal(129, send_in_pieces { type = 128, identifier = 1, sequence = 1, payload = ("x"):rep(40) })
      near:close()
      far:close()
    end)
  end)
end)
