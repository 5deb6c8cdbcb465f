-- role/gateway6.lua: what the emulated access network of gateway.lua says in IPv6: it is the router fe80::1 on every
-- VLAN stack, advertises one prefix when it is asked (RFC 4861 section 6.2.6), answers neighbour solicitations for
-- fe80::1 and for the prefix's address ::1, ping, and UDP echo. It asks nobody: answers go where the question came
-- from. It says nothing unasked, so lifetimes are the longest there are; it forwards nothing.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local misuse = require "etherlua.core.misuse"
local nd = require "etherlua.host.nd"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local ownership = require "etherlua.host.ownership"
local prefix = require "etherlua.net.prefix"
local udp = require "etherlua.proto.udp"

local M = {}

local ROUTER, ANY, ALL_NODES, ALL_NODES_MAC = "fe80::1", "::", "ff02::1", group.mac_text "ff02::1"
local ICMP6, UDP, ECHO_PORT, HOP_LIMIT = numbers.protocol.ICMP6, numbers.protocol.UDP, 7, 255
local ROUTER_LIFETIME, FOR_EVER = 65535, 0xffffffff -- RFC 8319 section 4, RFC 4861 section 4.6.2

-- See gateway6.new.
---@class etherlua.gateway6
---@field ip string its address with the prefix
local Gateway6 = {}
Gateway6.__index = Gateway6

local function has(self, ip)
  return ip == ROUTER or ip == self.ip
end

-- Whoever has no address yet hears it with all others (RFC 4861 sections 6.2.6 and 7.2.4).
local function send_discovery(self, message, src, to, mac, vlans)
  local dst = to ~= ANY and to or ALL_NODES
  self.send(ipv6.build { src = src, dst = dst, protocol = ICMP6, hop_limit = HOP_LIMIT,
    payload = icmp6.build(message, { src = src, dst = dst }) }, to ~= ANY and mac or ALL_NODES_MAC, vlans)
end

local function advertise_router(self, packet, _, mac, vlans)
  self.counters.advertisement = self.counters.advertisement + 1
  send_discovery(self, { type = icmp6.ROUTER_ADVERTISEMENT, cur_hop_limit = 64, router_lifetime = ROUTER_LIFETIME,
    source_link_layer_address = self.mac, options = { { type = 3, prefix = self.prefix:network(), prefix_length = 64,
      on_link = true, autonomous = true, valid_lifetime = FOR_EVER, preferred_lifetime = FOR_EVER } } },
    ROUTER, packet.src, mac, vlans)
end

local function answer_solicitation(self, packet, message, mac, vlans)
  if not has(self, message.target) then return end
  self.counters.neighbour = self.counters.neighbour + 1
  send_discovery(self, { type = icmp6.NEIGHBOUR_ADVERTISEMENT, router = true, solicited = packet.src ~= ANY,
    override = true, target = message.target, target_link_layer_address = self.mac }, message.target, packet.src, mac,
    vlans)
end

local function answer_ping(self, packet, message, mac, vlans)
  if not has(self, packet.dst) then return end
  self.counters.ping = self.counters.ping + 1
  local ends = { src = packet.dst, dst = packet.src }
  message.type, message.checksum = icmp6.ECHO_REPLY, nil
  self.send(ipv6.build { src = ends.src, dst = ends.dst, protocol = ICMP6, hop_limit = 64,
    payload = icmp6.build(message, ends) }, mac, vlans)
end

local discovery = {
  [icmp6.ROUTER_SOLICITATION] = advertise_router,
  [icmp6.NEIGHBOUR_SOLICITATION] = answer_solicitation,
}

-- Others that have an address of it, by the rule that all go by.
local function look_for_conflict(self, frame, message)
  local owned, _, mac = ownership.nd(frame, message, ffi.string(frame.data + frame.l3 + 8, 16))
  if not owned or not has(self, addr.ip_text(owned)) or addr.mac_text(ffi.string(mac, 6)) == self.mac then return end
  self.counters.conflicts = self.counters.conflicts + 1
end

local function hear_discovery(self, frame, packet, mac, vlans)
  local message = nd.read(frame)
  if not message then
    self.counters.invalid = self.counters.invalid + 1
    return
  end
  look_for_conflict(self, frame, message)
  local answer = discovery[message.type]
  if answer then answer(self, packet, message, mac, vlans) end
end

local function answer_icmp6(self, frame, packet, mac, vlans)
  if nd.is(frame) then return hear_discovery(self, frame, packet, mac, vlans) end
  local message = icmp6.checksum_ok(packet.payload, packet) and icmp6.parse(packet.payload)
  if message and message.type == icmp6.ECHO_REQUEST then answer_ping(self, packet, message, mac, vlans) end
end

-- Not to another echo service, as in gateway.lua.
local function answer_udp(self, packet, mac, vlans)
  local datagram = has(self, packet.dst) and udp.parse(packet.payload)
  if not datagram or datagram.dst_port ~= ECHO_PORT or datagram.src_port == ECHO_PORT then return end
  self.counters.echo = self.counters.echo + 1
  local ends = { src = packet.dst, dst = packet.src }
  self.send(ipv6.build { src = ends.src, dst = ends.dst, protocol = UDP, hop_limit = 64,
    payload = udp.build({ src_port = ECHO_PORT, dst_port = datagram.src_port, payload = datagram.payload }, ends) },
    mac, vlans)
end

-- Answers an IPv6 packet if it is for it.
---@param frame etherlua.frame
---@param mac string of who sent it
---@param vlans etherlua.vlans that it came with
function Gateway6:answer(frame, mac, vlans)
  local packet = ipv6.parse(frame.body)
  if not packet or ipv6.child(packet) == nil then return end
  if packet.protocol == ICMP6 then
    answer_icmp6(self, frame, packet, mac, vlans)
  elseif packet.protocol == UDP then
    answer_udp(self, packet, mac, vlans)
  end
end

local OPTIONS = options.new("an IPv6 gateway", { ip6 = options.any():needed(), mac = options.text():needed(),
  counters = options.of_type("a table is needed", "table"):needed(),
  send = options.of_type("a function is needed", "function"):needed() })

---@param given { ip6: string, mac: string, counters: table, send: function } ip6: its prefix of 64 bits, such as
---  "2001:db8::/64"; send(payload, mac, vlans)
---@return etherlua.gateway6
function M.new(given)
  OPTIONS:check(given)
  local own = prefix.new(given.ip6)
  if own.version ~= 6 or own.length ~= 64 then
    misuse.raise("bad prefix %q: an IPv6 prefix of 64 bits is needed, such as 2001:db8::/64", given.ip6)
  end
  given.counters.advertisement, given.counters.neighbour, given.counters.invalid = 0, 0, 0
  return setmetatable({ prefix = own, ip = prefix.ip_add(own:network(), 1), mac = given.mac,
    counters = given.counters, send = given.send }, Gateway6)
end

return M
