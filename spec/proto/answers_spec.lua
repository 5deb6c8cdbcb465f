-- Which packet answers which: every pair of a set of requests and replies, with Scapy's answers() as the judge. Where
-- it is of another opinion that is said here, with the reason.

local answers = require "etherlua.proto.answers"
local bytes = require "etherlua.net.bytes"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local scapy = require "support.scapy"

local A, B, ALL = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "ff:ff:ff:ff:ff:ff"
local IP_A, IP_B, ROUTER, OTHER = "10.0.0.1", "10.0.0.2", "10.9.9.9", "10.0.0.77"
local V6_A, V6_B, V6_ROUTER = "2001:db8::1", "2001:db8::2", "2001:db8:9::9"
local ether, arp, ip4, ip6 = packet.ether, packet.arp, packet.ip4, packet.ip6
local icmp, icmp6, tcp, udp, dhcp4 = packet.icmp, packet.icmp6, packet.tcp, packet.udp, packet.dhcp4

local function out(dst, vlans) return ether { src = A, dst = dst or B, vlans = vlans } end
local function back(vlans) return ether { src = B, dst = A, vlans = vlans } end
local function out4(dst) return out() / ip4 { src = IP_A, dst = dst or IP_B } end
local function back4(src) return back() / ip4 { src = src or IP_B, dst = IP_A } end
local function out6(dst, mac) return out(mac) / ip6 { src = V6_A, dst = dst or V6_B, hop_limit = 255 } end
local function back6(src, dst) return back() / ip6 { src = src or V6_B, dst = dst or V6_A, hop_limit = 255 } end

-- What an error quotes: the packet inside of a frame, perhaps cut off.
local function inside(frame, size)
  return packet.data(frame:build():sub(15, size and 14 + size))
end

local DISCOVER = { xid = 7, chaddr = A, options = { message_type = "DISCOVER" } }
local OFFER = { op = 2, xid = 7, chaddr = A, yiaddr = IP_A, options = { message_type = "OFFER" } }
local OFFER_8 = { op = 2, xid = 8, chaddr = A, yiaddr = IP_A, options = { message_type = "OFFER" } }
local NODES, ROUTERS, NODE_B = "ff02::1", "ff02::2", "ff02::1:ff00:2"

local function segment(fields)
  local all = { sport = 1000, dport = 80, window = 1000 }
  for name, value in pairs(fields) do all[name] = value end
  return tcp(all)
end

local function answer_segment(fields)
  fields.sport, fields.dport = fields.sport or 80, fields.dport or 1000
  return segment(fields)
end

-- ---- requests, each with the replies that answer it ---------------------------------------------------------------

local SYN = out4() / segment { syn = true, sequence_number = 0xffffffff }
local DATA = out4() / segment { sport = 2000, ack = true, sequence_number = 5000, acknowledgment_number = 9000 }
  / "hello"
local QUERY = out4() / udp { sport = 1000, dport = 7777 } / "question"
local PING, PING6 = out4() / icmp { type = 8, identifier = 1, sequence = 2 } / "ping",
  out6() / icmp6 { type = 128, identifier = 1, sequence = 2 } / "ping"
local QUERY6 = out6() / udp { sport = 1000, dport = 7777 } / "question"

local RENEWAL = out4() / udp {} / dhcp4 { xid = 9, chaddr = A, ciaddr = IP_A, options = { message_type = "REQUEST" } }

local requests = {
  ["arp request"] = { out(ALL) / arp { sha = A, spa = IP_A, tpa = IP_B }, "arp reply" },
  ["arp probe"] = { out(ALL) / arp { sha = A, tpa = IP_B }, "arp reply" },
  ["arp request tagged"] = { out(ALL, { 7 }) / arp { sha = A, spa = IP_A, tpa = IP_B },
    "arp reply tagged" },
  ["arp reply"] = { back() / arp { op = 2, sha = B, spa = IP_B, tha = A, tpa = IP_A } },
  ["ping"] = { PING, "pong", "unreachable about ping" },
  ["syn"] = { SYN, "syn ack", "reset", "exceeded about syn" },
  ["another syn"] = { out4() / segment { sport = 3000, syn = true, sequence_number = 70 }, "another syn ack",
    "another reset" },
  ["data segment"] = { DATA, "ack", "reset without ack" },
  ["query"] = { QUERY, "response", "unreachable", "unreachable from a router" },
  ["query to all"] = { out(ALL) / ip4 { src = IP_A, dst = "255.255.255.255" } / udp { sport = 1000, dport = 7777 }
    / "question", "response", "response of another" },
  ["discover"] = { out(ALL) / ip4 { src = "0.0.0.0", dst = "255.255.255.255" } / udp {} / dhcp4(DISCOVER),
    "offer" },
  ["renewal"] = { RENEWAL, "unreachable about renewal" },
  ["ping 6"] = { PING6, "pong 6", "exceeded about ping 6" },
  ["query 6"] = { QUERY6, "unreachable 6" },
  ["solicitation"] = { out6(NODE_B, "33:33:ff:00:00:02") / icmp6 { type = 135, target = V6_B }, "advertisement" },
  ["router solicitation"] = { out6(ROUTERS, "33:33:00:00:00:02") / icmp6 { type = 133 }, "router advertisement",
    "router advertisement to all" },
  ["unknown type"] = { ether { src = A, dst = B, ethertype = 0x88b5 } / "anything", "unknown type back" },
}

local replies = {
  ["arp reply"] = requests["arp reply"][1],
  ["arp reply tagged"] = back { { vid = 7, pcp = 3 } } / arp { op = 2, sha = B, spa = IP_B, tpa = IP_A },
  ["arp reply in another VLAN"] = back { 8 } / arp { op = 2, sha = B, spa = IP_B, tpa = IP_A },
  ["arp reply of another"] = back() / arp { op = 2, sha = B, spa = OTHER, tha = A, tpa = IP_A },
  ["pong"] = back4() / icmp { type = 0, identifier = 1, sequence = 2 } / "ping",
  ["pong of another"] = back4(OTHER) / icmp { type = 0, identifier = 1, sequence = 2 } / "ping",
  ["pong with another number"] = back4() / icmp { type = 0, identifier = 1, sequence = 3 } / "ping",
  ["pong to another"] = back() / ip4 { src = IP_B, dst = OTHER }
    / icmp { type = 0, identifier = 1, sequence = 2 } / "ping",
  ["ping back"] = back4() / icmp { type = 8, identifier = 1, sequence = 2 } / "ping",
  ["unreachable about ping"] = back4() / icmp { type = 3, code = 1 } / inside(PING),
  ["syn ack"] = back4() / answer_segment { syn = true, ack = true, sequence_number = 1, acknowledgment_number = 0 },
  ["reset"] = back4() / answer_segment { rst = true, ack = true, acknowledgment_number = 0 },
  ["another syn ack"] = back4() / answer_segment { dport = 3000, syn = true, ack = true, sequence_number = 1,
    acknowledgment_number = 71 },
  ["another reset"] = back4() / answer_segment { dport = 3000, rst = true, ack = true, acknowledgment_number = 71 },
  ["syn without ack"] = back4() / answer_segment { dport = 3000, syn = true, acknowledgment_number = 71 },
  ["syn ack to a data segment"] = back4() / answer_segment { dport = 2000, syn = true, ack = true,
    sequence_number = 9000, acknowledgment_number = 5005 },
  ["reset of another port"] = back4() / answer_segment { rst = true, ack = true, sport = 81 },
  ["ack"] = back4() / answer_segment { dport = 2000, ack = true, sequence_number = 9000,
    acknowledgment_number = 5005 },
  ["ack of too much"] = back4() / answer_segment { dport = 2000, ack = true, sequence_number = 9000,
    acknowledgment_number = 5050 },
  ["reset without ack"] = back4() / answer_segment { dport = 2000, rst = true, sequence_number = 9000 },
  ["exceeded about syn"] = back4(ROUTER) / icmp { type = 11 } / inside(SYN, 28),
  ["response"] = back4() / udp { sport = 7777, dport = 1000 } / "answer",
  ["response to another port"] = back4() / udp { sport = 7777, dport = 1001 } / "answer",
  ["response of another"] = back4(OTHER) / udp { sport = 7777, dport = 1000 } / "answer",
  ["unreachable"] = back4() / icmp { type = 3, code = 3 } / inside(QUERY),
  ["unreachable from a router"] = back4(ROUTER) / icmp { type = 3, code = 13 } / inside(QUERY, 28),
  ["unreachable about another"] = back4() / icmp { type = 3, code = 3 }
    / inside(out4(OTHER) / udp { sport = 1000, dport = 7777 } / "question"),
  ["unreachable about another port"] = back4() / icmp { type = 3, code = 3 }
    / inside(out4() / udp { sport = 1000, dport = 7778 } / "question"),
  ["offer"] = back() / ip4 { src = IP_B, dst = IP_A } / udp { sport = 67, dport = 68 } / dhcp4(OFFER),
  ["offer to another"] = back() / ip4 { src = IP_B, dst = IP_A } / udp { sport = 67, dport = 68 } / dhcp4(OFFER_8),
  ["unreachable about renewal"] = back4(ROUTER) / icmp { type = 3, code = 1 } / inside(RENEWAL, 40),
  ["pong 6"] = back6() / icmp6 { type = 129, identifier = 1, sequence = 2 } / "ping",
  ["pong 6 with another number"] = back6() / icmp6 { type = 129, identifier = 9, sequence = 2 } / "ping",
  ["exceeded about ping 6"] = back6(V6_ROUTER) / icmp6 { type = 3 } / inside(PING6),
  ["unreachable 6"] = back6() / icmp6 { type = 1, code = 4 } / inside(QUERY6),
  ["advertisement"] = back6() / icmp6 { type = 136, target = V6_B, solicited = true, target_link_layer_address = B },
  ["advertisement of another"] = back6("2001:db8::3") / icmp6 { type = 136, target = "2001:db8::3", solicited = true },
  ["router advertisement"] = back6("fe80::b") / icmp6 { type = 134, router_lifetime = 1800 },
  ["router advertisement to all"] = ether { src = B, dst = "33:33:00:00:00:01" }
    / ip6 { src = "fe80::b", dst = NODES, hop_limit = 255 } / icmp6 { type = 134, router_lifetime = 1800 },
  ["unknown type back"] = ether { src = B, dst = A, ethertype = 0x88b5 } / "something",
  ["another unknown type"] = ether { src = B, dst = A, ethertype = 0x88b6 } / "something",
}
for name, request in pairs(requests) do replies[name] = replies[name] or request[1] end

-- Pairs of which Scapy says something else.
local OTHERWISE = {
  ["query to all <- response"] = "to Scapy all have one address: it wants conf.checkIPaddr off",
  ["query to all <- response of another"] = "the same",
  ["discover <- offer"] = "the same: the client has no address yet",
  ["syn <- syn ack"] = "Scapy does not wrap sequence numbers (RFC 9293 section 3.4)",
  ["syn <- reset"] = "the same",
  ["unknown type <- unknown type"] = "to Scapy every frame of the type answers; it is our own that came back",
}

local function layers_of(one) return proto.dissect(one:build()) end

-- visit(name of the pair, request's name, reply's name) for all pairs.
local function each_pair(visit)
  for request in pairs(requests) do
    for reply in pairs(replies) do visit(("%s <- %s"):format(request, reply), request, reply) end
  end
end

local function is_expected(request, reply)
  for i = 2, #requests[request] do
    if requests[request][i] == reply then return true end
  end
  return false
end

-- ---- the judge ------------------------------------------------------------------------------------------------------

local JUDGE = [==[
import json, logging, sys
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import *
pairs = [line.split() for line in open(sys.argv[1])]
print(json.dumps([bool(Ether(bytes.fromhex(b)).answers(Ether(bytes.fromhex(a)))) for a, b in pairs]))
]==]

describe("a packet", function()
  it("answers the requests that it should, and no other", function()
    local count = 0
    each_pair(function(name, request, reply)
      count = count + 1
      local does = answers.answers(layers_of(replies[reply]), layers_of(requests[request][1]))
      assert.equal(is_expected(request, reply), does, name)
    end)
    assert.is_true(count > 600)
  end)

  it("answers what Scapy says that it answers, and no other", function()
    if scapy.missing then return pending(scapy.missing) end
    local names, lines = {}, {}
    each_pair(function(name, request, reply)
      names[#names + 1] = name
      lines[#lines + 1] = bytes.hex(requests[request][1]:build()) .. " " .. bytes.hex(replies[reply]:build())
    end)
    local found = {}
    for i, verdict in ipairs(scapy.ask(JUDGE, lines)) do
      local request, reply = names[i]:match("^(.*) <%- (.*)$")
      if verdict ~= is_expected(request, reply) then found[names[i]] = true end
    end
    for name in pairs(OTHERWISE) do assert.is_true(found[name], name .. " is no exception any more") end
    for name in pairs(found) do assert.is_truthy(OTHERWISE[name], name) end
  end)

  it("is found by its keys among the requests that it answers", function()
    each_pair(function(name, request, reply)
      if not is_expected(request, reply) then return end
      local wanted = {}
      for _, key in ipairs(answers.request_keys(layers_of(requests[request][1]))) do wanted[key] = true end
      local found = false
      for _, key in ipairs(answers.reply_keys(layers_of(replies[reply]))) do found = found or wanted[key] end
      assert.is_true(found, name)
    end)
  end)
end)
