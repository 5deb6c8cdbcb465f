-- support/packets.lua: a good packet of every kind that the protocol modules build, for judges and for what must not
-- fail on any of them.

local packet = require "etherlua.proto.packet"

local M = {}

local A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local ether, vlan, arp, ip4, ip6 = packet.ether, packet.vlan, packet.arp, packet.ip4, packet.ip6
local icmp, icmp6, tcp, udp, dhcp4 = packet.icmp, packet.icmp6, packet.tcp, packet.udp, packet.dhcp4

local function eth() return ether { src = A, dst = B } end

local function on_ip4(inner, fields)
  local all = { src = "10.0.0.1", dst = "10.0.0.2", identification = 7 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return eth() / ip4(all) / inner
end

local function on_ip6(inner, headers, fields)
  local all = { src = "2001:db8::1", dst = "2001:db8::2", extension_headers = headers }
  for name, value in pairs(fields or {}) do all[name] = value end
  return eth() / ip6(all) / inner
end

local function discovery(message, dst)
  message.code = 0
  return eth() / ip6 { src = "fe80::a", dst = dst or "ff02::1", hop_limit = 255 } / icmp6(message)
end

-- What errors are about.
local function quoted4() return ip4 { src = "10.0.0.2", dst = "10.0.0.1" } / udp { sport = 1, dport = 2 } / "quoted" end
local function quoted6() return ip6 { src = "2001:db8::2", dst = "2001:db8::1" } / udp { dport = 2 } / "8 octets" end

local function add_link_layer(all)
  all["arp request"] = eth() / arp { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }
  all["arp reply"] = eth() / arp { op = 2, sha = A, spa = "10.0.0.1", tha = B, tpa = "10.0.0.2" } / packet.padding("\0")
  all["two tags"] = eth() / vlan { vid = 100, tpid = 0x88a8, pcp = 5 } / vlan { vid = 200 }
    / ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / udp { sport = 1000, dport = 2000 } / "tagged"
end

local function add_ip4(all)
  local syn = tcp { sport = 1000, dport = 80, syn = true, window = 65535, options = { { type = 2, data = "\5\180" },
    { type = 4, data = "" }, { type = 8, data = "\0\0\0\1\0\0\0\0" }, { type = 1 }, { type = 3, data = "\7" } } }
  all["tcp syn"] = on_ip4(syn)
  all["tcp data"] = on_ip4(tcp { sport = 1000, dport = 81, ack = true, psh = true, sequence_number = 0xffffffff,
    acknowledgment_number = 1, window = 1 } / "some data")
  all["udp"] = on_ip4(udp { sport = 1000, dport = 2000 } / "odd", { tos = 0xb8, df = true, ttl = 1 })
  all["udp without checksum"] = on_ip4(udp { sport = 1000, dport = 2000, checksum = 0 } / "x")
  all["router alert"] = on_ip4(udp { sport = 1, dport = 2000 }, { options = { { type = 148, data = "\0\0" } } })
  all["record route"] = on_ip4(udp { sport = 1, dport = 2000 },
    { options = { { type = 7, data = "\8\10\0\0\1\0\0\0\0" }, { type = 1 } } })
  all["timestamps"] = on_ip4(udp { sport = 1, dport = 2000 },
    { options = { { type = 1 }, { type = 68, data = "\5\0" .. ("\0"):rep(8) } } })
  all["dhcp4"] = eth() / ip4 { dst = "255.255.255.255" } / udp {} / dhcp4 { chaddr = A, xid = 7,
    options = { message_type = "DISCOVER", client_id = "\1abcdef", parameter_request_list = { 1, 3, 6 } } }
end

local function add_icmp(all)
  all["echo request"] = on_ip4(icmp { type = 8, identifier = 1, sequence = 2 } / "ping")
  all["echo reply"] = on_ip4(icmp { type = 0, identifier = 1, sequence = 2 } / "ping")
  all["port unreachable"] = on_ip4(icmp { type = 3, code = 3 } / quoted4())
  all["fragmentation needed"] = on_ip4(icmp { type = 3, code = 4, next_hop_mtu = 1400 } / quoted4())
  all["time exceeded"] = on_ip4(icmp { type = 11 } / quoted4())
  all["parameter problem"] = on_ip4(icmp { type = 12, pointer = 20 } / quoted4())
  all["redirect"] = on_ip4(icmp { type = 5, code = 1, gateway = "10.0.0.254" } / quoted4())
  all["cut off quotation"] = on_ip4(icmp { type = 11 }
    / (ip4 { src = "10.0.0.2", dst = "10.0.0.1", total_length = 1000 } / udp { sport = 1, dport = 2, length = 980,
      checksum = 7 }))
  all["timestamp request"] = on_ip4(icmp { type = 13, identifier = 1, sequence = 2, originate_timestamp = 1000 })
  all["timestamp reply"] = on_ip4(icmp { type = 14, identifier = 1, sequence = 2, originate_timestamp = 1000,
    receive_timestamp = 2000, transmit_timestamp = 86399999 })
end

local function add_ip6(all)
  local data = udp { sport = 1000, dport = 2000 } / "data"
  all["udp over ipv6"] = on_ip6(data, nil, { traffic_class = 0xb8, flow_label = 0xabcde })
  all["tcp over ipv6"] = on_ip6(tcp { sport = 1, dport = 80, fin = true, ack = true })
  all["hop by hop"] = on_ip6(data, { { type = 0, options = { { type = 5, data = "\0\0" } } } })
  all["destination options"] = on_ip6(data, { { type = 60, options = { { type = 30, data = "experimental" } } } })
  all["routing"] = on_ip6(data,
    { { type = 43, routing_type = 253, segments_left = 0, type_specific_data = "\0\0\0\0" } })
  all["atomic fragment"] = on_ip6(data, { { type = 44, identification = 9 } })
  all["authentication"] = on_ip6(data, { { type = 51, spi = 256, sequence_number = 1, icv = ("i"):rep(12) } })
  all["a chain"] = on_ip6(data, { { type = 0, options = {} }, { type = 60, options = {} },
    { type = 44, identification = 0xffffffff } })
end

local function add_icmp6(all)
  all["echo request 6"] = on_ip6(icmp6 { type = 128, identifier = 1, sequence = 2 } / "ping6")
  all["echo reply 6"] = on_ip6(icmp6 { type = 129, identifier = 1, sequence = 2 } / "ping6")
  all["port unreachable 6"] = on_ip6(icmp6 { type = 1, code = 4 } / quoted6())
  all["packet too big"] = on_ip6(icmp6 { type = 2, mtu = 1280 } / quoted6())
  all["time exceeded 6"] = on_ip6(icmp6 { type = 3 } / quoted6())
  all["parameter problem 6"] = on_ip6(icmp6 { type = 4, code = 1, pointer = 6 } / quoted6())
  all["router solicitation"] = discovery({ type = 133, source_link_layer_address = A }, "ff02::2")
  all["router advertisement"] = discovery { type = 134, cur_hop_limit = 64, managed = true, other = true,
    preference = 1, router_lifetime = 1800, reachable_time = 30000, retrans_timer = 1000,
    source_link_layer_address = A, options = { { type = 5, mtu = 1500 },
      { type = 3, prefix_length = 64, on_link = true, autonomous = true, valid_lifetime = 86400,
        preferred_lifetime = 14400, prefix = "2001:db8::" },
      { type = 25, lifetime = 600, servers = { "2001:db8::53", "2001:db8::54" } },
      { type = 14, data = "nonce." } } }
  all["neighbour solicitation"] = discovery({ type = 135, target = "fe80::b", source_link_layer_address = A },
    "ff02::1:ff00:b")
  all["neighbour advertisement"] = discovery({ type = 136, target = "fe80::a", solicited = true, override = true,
    target_link_layer_address = A }, "fe80::b")
  all["redirect 6"] = discovery({ type = 137, target = "fe80::c", destination = "2001:db8::9",
    target_link_layer_address = B, options = { { type = 4, packet = quoted6():build() } } }, "fe80::b")
end

-- Those that begin with something else than Ethernet, as capture files have them.
---@return table<string, table> name -> packet
function M.of_other_links()
  local inner4 = ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / udp { sport = 1000, dport = 2000 } / "data"
  local inner6 = ip6 { src = "2001:db8::1", dst = "2001:db8::2" } / udp { sport = 1000, dport = 2000 } / "data"
  local tags = { { vid = 7, pcp = 5 }, { vid = 8 } }
  return {
    ["cooked"] = packet.sll { address = A } / inner4,
    ["cooked in tags"] = packet.sll { address = A, packet_type = 4, vlans = tags } / inner6,
    ["cooked without an address"] = packet.sll { arphrd_type = 772 } / inner4,
    ["cooked 2"] = packet.sll2 { address = A, interface_index = 3 } / inner6,
    ["cooked 2 in tags"] = packet.sll2 { address = "abc", interface_index = 70000, packet_type = 4, vlans = tags }
      / inner4,
    ["loopback"] = packet.loopback { byte_order = "little" } / inner4,
    ["loopback in network order"] = packet.loopback { family = 30 } / inner6,
  }
end

-- Each call makes them anew.
---@return table<string, table> name -> packet
function M.all()
  local all = {}
  for _, add in ipairs { add_link_layer, add_ip4, add_icmp, add_ip6, add_icmp6 } do add(all) end
  return all
end

return M
