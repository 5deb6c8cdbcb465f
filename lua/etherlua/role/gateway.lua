-- role/gateway.lua: an emulated access network in one host: on every VLAN stack that it hears it is the default
-- gateway, answers ARP for its address, ping, DHCP, and UDP echo (RFC 862), other UDP with port unreachable. It reads
-- the relay's default endpoint and answers each frame with the tags it came with, so any number of VLANs costs nothing.
-- IPv6, if it speaks that, is in gateway6.lua.

local arp = require "etherlua.proto.arp"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_server = require "etherlua.role.dhcp4_server"
local effi = require "etherlua.core.ffi"
local gateway6 = require "etherlua.role.gateway6"
local group = require "etherlua.net.group"
local guard = require "etherlua.core.guard"
local icmp = require "etherlua.proto.icmp"
local ipv4 = require "etherlua.proto.ipv4"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local ownership = require "etherlua.host.ownership"
local responder = require "etherlua.host.icmp_responder"
local role = require "etherlua.role.role"
local udp = require "etherlua.proto.udp"
local addr = require "etherlua.net.addr"
local vlan_stack = require "etherlua.net.vlan_stack"

local C = effi.C

local M = {}

local BROADCAST = group.BROADCAST
local ARP, IP4, IP6 = numbers.ethertype.ARP, numbers.ethertype.IPV4, numbers.ethertype.IPV6
local ICMP, UDP, SERVER_PORT, ECHO_PORT = numbers.protocol.ICMP, numbers.protocol.UDP, 67, 7
local GROUPS6 = "^33:33:" -- RFC 2464 section 7
local MULTICAST = 0xe0000000 -- 224.0.0.0: from here on addresses are no host's

-- See gateway.new.
---@class etherlua.gateway
---@field mac string
---@field server etherlua.dhcp4_server
---@field counters table<string, integer> arp, ping, echo, unreachable, too_long, conflicts: packets of others that have
---  an address of it; with ip6 advertisement, neighbour, and invalid: neighbour discovery that is to be discarded
---@field failed integer frames that an error kept from being answered
---@field last_error? string the last of them
---@field ip6? string its IPv6 address
local Gateway = {}
Gateway.__index = Gateway

Gateway.__tostring = function(self) return "gateway on " .. self.relay.name end

local function send(self, payload, mac, vlans, ethertype)
  if #payload > C.el_conn_ip_mtu(self.conn, payload:byte() < 0x60 and 4 or 6) then
    self.counters.too_long = self.counters.too_long + 1
    return
  end
  self.conn:send(payload, mac, { vlans = vlans, ethertype = ethertype })
end

-- Another has its address, too, by the rule that all go by.
local function look_for_conflict(self, frame, request)
  if not ownership.arp(frame) or request.spa ~= self.server.server or request.sha == self.mac then return end
  self.counters.conflicts = self.counters.conflicts + 1
end

local function answer_arp(self, frame, payload, vlans)
  local request = ownership.is_arp(frame) and arp.parse(payload)
  if not request then return end
  look_for_conflict(self, frame, request)
  if request.op ~= arp.REQUEST or request.tpa ~= self.server.server or request.sha == self.mac then return end
  self.counters.arp = self.counters.arp + 1
  send(self, arp.build { op = arp.REPLY, sha = self.mac, spa = request.tpa, tha = request.sha, tpa = request.spa },
    request.sha, vlans, ARP)
end

-- With the type of service of the request (RFC 1122 3.2.2.6). The checksum changes by what changes (RFC 1624), so one
-- that does not fit the data is still wrong.
local function answer_ping(self, packet, mac, vlans)
  local message = packet.dst == self.server.server and icmp.parse(packet.payload)
  if not message or message.type ~= icmp.ECHO_REQUEST then return end
  self.counters.ping = self.counters.ping + 1
  local sum = message.checksum + (icmp.ECHO_REQUEST - icmp.ECHO_REPLY) * 0x100
  message.type, message.checksum = icmp.ECHO_REPLY, sum > 0xffff and sum - 0xffff or sum
  send(self, ipv4.build { src = packet.dst, dst = packet.src, tos = packet.tos, protocol = ICMP,
    payload = icmp.build(message) }, mac, vlans)
end

local function send_udp(self, port, ip, to_port, payload, mac, vlans)
  local ends = { src = self.server.server, dst = ip }
  local datagram = udp.build({ src_port = port, dst_port = to_port, payload = payload }, ends)
  send(self, ipv4.build { src = ends.src, dst = ip, protocol = UDP, payload = datagram }, mac, vlans)
end

local function answer_dhcp(self, source, datagram, mac, vlans)
  local message = dhcp4.parse(datagram.payload)
  local reply = message and self.server:answer(message, vlan_stack.vlan_key(vlans), source)
  if not reply then return end
  local ip, port, to = dhcp4_server.destination(message, reply, source)
  send_udp(self, SERVER_PORT, ip, port, dhcp4.build(reply), to or mac, vlans)
end

-- Not to another echo service: the two would never end.
local function answer_echo(self, packet, datagram, mac, vlans)
  if packet.dst ~= self.server.server or datagram.src_port == ECHO_PORT then return end
  self.counters.echo = self.counters.echo + 1
  send_udp(self, ECHO_PORT, packet.src, datagram.src_port, datagram.payload, mac, vlans)
end

-- What fills up the frame behind the packet is not quoted.
local function complain(self, packet, payload, mac, vlans)
  local is_host = packet.src ~= "0.0.0.0" and addr.ip4_number(packet.src) < MULTICAST
  if packet.dst ~= self.server.server or not is_host or not responder.may_complain(self) then return end
  self.counters.unreachable = self.counters.unreachable + 1
  local whole = payload:sub(1, packet.total_length)
  send(self, responder.unreachable4(whole, packet.src, packet.dst), mac, vlans)
end

local function answer_udp(self, packet, whole, mac, vlans)
  local datagram = udp.parse(packet.payload)
  if not datagram then return end
  if datagram.dst_port == SERVER_PORT then
    answer_dhcp(self, packet.src, datagram, mac, vlans)
  elseif datagram.dst_port == ECHO_PORT then
    answer_echo(self, packet, datagram, mac, vlans)
  else
    complain(self, packet, whole, mac, vlans)
  end
end

local function answer_ip(self, payload, mac, vlans)
  local packet = ipv4.parse(payload)
  if not packet then return end
  if packet.protocol == ICMP then
    answer_ping(self, packet, mac, vlans)
  elseif packet.protocol == UDP then
    answer_udp(self, packet, payload, mac, vlans)
  end
end

local function answer(self, frame)
  local to = frame.dst_mac
  if to ~= self.mac and to ~= BROADCAST and not to:find(GROUPS6) then return end
  local payload, mac, vlans = frame.body, frame.src_mac, frame.vlans
  if frame.ethertype == IP6 then
    if self.six then self.six:answer(frame, mac, vlans) end
  elseif frame.ethertype == ARP then
    answer_arp(self, frame, payload, vlans)
  elseif frame.ethertype == IP4 then
    answer_ip(self, payload, mac, vlans)
  end
end

-- Answers until it or its relay is closed. Blocks.
---@return nil
---@return string reason "closed", "interface gone"
function Gateway:serve()
  while not self.closed do
    local frame, reason = self.conn:recv_frame()
    if not frame then return nil, reason end
    guard.call(self, answer, self, frame)
  end
  return nil, "closed"
end

-- It answers no more.
function Gateway:close()
  if role.close(self) then self.conn:close() end
end

---@return table<string, integer> all counters, and those of its DHCP server
function Gateway:summary()
  local summary = self.server:summary()
  summary.failed = self.failed
  for name, value in pairs(self.counters) do summary[name] = value end
  return summary
end

---@class etherlua.gateway_opts: etherlua.dhcp4_server_opts
---@field ip6? string|false prefix of 64 bits that it advertises as router fe80::1, and has the address ::1 of (none)

M.OPTIONS = options.new("a gateway", { ip6 = options.any() }, dhcp4_server.OPTIONS)

local function server_of(opts)
  local own = {}
  for name in pairs(dhcp4_server.OPTIONS.known) do own[name] = opts[name] end
  return dhcp4_server.new(own)
end

-- An access network behind a relay, which has to have no default endpoint yet.
---@param relay etherlua.relay
---@param given etherlua.gateway_opts
---@return etherlua.gateway
function M.new(relay, given)
  role.check("a gateway", relay, "relay")
  local opts = M.OPTIONS:read(given)
  local self = setmetatable({ relay = relay, mac = relay.mac, server = server_of(opts), failed = 0,
    counters = { arp = 0, ping = 0, echo = 0, unreachable = 0, too_long = 0, conflicts = 0 } }, Gateway)
  if opts.ip6 then
    self.six = gateway6.new { ip6 = opts.ip6, mac = self.mac, counters = self.counters,
      send = function(payload, mac, vlans) send(self, payload, mac, vlans) end }
    self.ip6 = self.six.ip
  end
  self.conn = relay:default_host_conn()
  return self
end

return M
