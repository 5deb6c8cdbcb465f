-- host/host.lua: an emulated host: an EtherConn that behaves as a host on the wire. It answers ARP, neighbour discovery
-- and ping, says when nobody takes a UDP datagram, finds its next hops, and takes IPv6 addresses from routers.
-- relay:host() makes one. It forwards nothing, and keeps one IPv4 address.
--
-- One reader a relay answers for all hosts (host/tap.lua); those of one VLAN stack share what they know about their
-- neighbours (host/segment.lua). Hosts of one relay do not hear each other: what a relay sends does not come back.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local composed = require "etherlua.relay.composed"
local effi = require "etherlua.core.ffi"
local group = require "etherlua.net.group"
local icmp = require "etherlua.proto.icmp"
local icmp6 = require "etherlua.proto.icmp6"
local ip_packet = require "etherlua.proto.ip"
local listening = require "etherlua.host.listening"
local memory = require "etherlua.net.memory"
local misuse = require "etherlua.core.misuse"
local neighbour = require "etherlua.host.neighbour"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local packets = require "etherlua.proto.packet"
local prefix = require "etherlua.net.prefix"
local random = require "etherlua.net.random"
local responder = require "etherlua.host.icmp_responder"
local routes4 = require "etherlua.host.routes4"
local autoconf = require "etherlua.host.autoconf"
local segment = require "etherlua.host.segment"

local C = effi.C
local band = bit.band
local load16, native32 = memory.load16, memory.native32

local M = {}

local ARP = numbers.ethertype.ARP
local ICMP, ICMP6, UDP = numbers.protocol.ICMP, numbers.protocol.ICMP6, numbers.protocol.UDP
local DEPTH = 64 -- frames that nobody answers by himself, such as TCP
local BROADCAST = addr.mac(group.BROADCAST)

-- See relay:host.
---@class etherlua.host
---@field conn etherlua.conn what it is on: receives what the host does not answer by itself, such as TCP; while sr, a
---  responder or a test's expectation is at it, all that the host hears
---@field mac string
---@field ip? string IPv4 address
---@field gateway? string
---@field addresses table<string, etherlua.host_address> IPv6 addresses, by their text
---@field hop_limit integer
---@field autoconf etherlua.autoconf the routers and prefixes that it knows
local Host = {}
Host.__index = Host

-- What most hosts have nothing of is not kept for each.
Host.watchers, Host.askers, Host.addresses, Host.hop_limit = {}, {}, {}, 64

local function own_table(self, name)
  self[name] = rawget(self, name) or {}
  return self[name]
end

-- ---- addresses ----------------------------------------------------------------------------------------------------

-- All its own that somebody else has, too, by address: the MAC address of who was heard last.
---@return table<string, string>
function Host:duplicates()
  local found = {}
  for _, claim in pairs(self.neighbours.own) do
    if claim.conflict then found[claim.ip] = claim.conflict end
  end
  for ip, address in pairs(self.addresses) do found[ip] = found[ip] or address.duplicate end
  return found
end

local function check_gateway(gateway, version)
  if gateway and prefix.new(gateway).version ~= version then
    misuse.raise("bad gateway %q: an IPv%d address is needed", gateway, version)
  end
end

-- Gives it another IPv4 address, such as one that was just leased, or none.
---@param ip? string with the length of the prefix on the link, such as "10.0.0.5/24"
---@param gateway? string next hop for all other addresses
---@param routes? etherlua.route[] more of them, { prefix =, router = }, such as a lease's
function Host:set_ip(ip, gateway, routes)
  local own = ip and prefix.new(ip)
  if own and own.version ~= 4 then misuse.raise("bad ip %q: an IPv4 address such as 10.0.0.5/24 is needed", ip) end
  check_gateway(gateway, 4)
  local ways = own and routes4.new(own, gateway, routes)
  if self.ip then self.neighbours:release(self.ip) end
  self.ip, self.gateway, self.routes = own and own.ip, gateway, ways
  if own then self.neighbours:claim(own.ip) end
end

-- The address to send from: of the kind that the destination is, usable now (RFC 6724 section 5, rules 2 and 3 alone).
---@param to string IP address
---@return string|nil ip
---@return string|nil reason
function Host:source(to)
  if not to:find(":", 1, true) then
    if self.ip then return self.ip end
    return nil, "the host has no IPv4 address"
  end
  return self.autoconf:source(to)
end

-- Waits until its addresses can be used: until duplicate address detection is over, and, with ip6 = "auto", a router
-- gave it one.
---@param timeout? number seconds (10)
---@return true|nil
---@return string|nil reason
function Host:ready(timeout)
  return self.autoconf:ready(timeout or 10)
end

-- ---- next hops ----------------------------------------------------------------------------------------------------

local function no_route(to)
  return nil, ("no route to %s: it is not on the link, and there is no gateway"):format(to.ip_text)
end

local function hop4(self, to)
  local key = native32(to.ip, 0)
  if key == self.routes.directed then return BROADCAST end
  local hop = self.routes:hop(key)
  if not hop then return no_route(to) end
  return self.neighbours:hop(hop, self.ip)
end

local function hop6(self, to)
  if not self.autoconf.mode then return nil, "the host has no IPv6 address" end
  local key, source = self.autoconf:hop(segment.key_of(to))
  if not key then return no_route(to) end
  return self.neighbours:hop(key, source)
end

-- The MAC address of the next hop to an address. Blocks while it is asked for.
---@param to etherlua.addr
---@return etherlua.mac|nil mac valid until the task waits for something
---@return string|nil reason
function Host:next_hop(to)
  local mac = group.mac(to)
  if mac then return mac end
  if to.version == 6 then return hop6(self, to) end
  if not self.ip then return nil, "the host has no IPv4 address" end
  return hop4(self, to)
end

-- The MAC address of the next hop to an address, as text. Blocks until the neighbour answers, or the tries are used up.
---@param ip string
---@return string|nil mac
---@return string|nil reason
function Host:resolve(ip)
  addr.ip_bytes(ip)
  local mac, reason = self:next_hop(addr.addr(addr.with_port(ip)))
  if mac then return tostring(mac) end
  return nil, reason
end

-- ---- receiving ----------------------------------------------------------------------------------------------------

-- Whether the frame is for an address of this host: one that it has, not one it is still about to have.
local function is_own(self, key)
  local claim = self.neighbours.own[key]
  return claim and claim.defended
end

local function tell(self, protocol, message, size, frame)
  if not next(self.watchers) then return end
  local fields = protocol.parse(ffi.string(message, size))
  if not fields then return self.segment.tap:count("invalid") end
  for watcher in pairs(self.watchers) do watcher(fields, frame) end
end

-- Whoever sent the request takes its reply as it lies: of these there may be very many.
local function hear_reply(self, protocol, message, size, frame)
  local asker = self.askers[load16(message, 4)]
  if asker then return asker(frame) end
  tell(self, protocol, message, size, frame)
end

local function hear_icmp(self, frame)
  local message, size = frame.data + frame.l4, frame.l3 + frame.l3_len - frame.l4
  if size < 8 or C.el_checksum(message, size, 0) ~= 0 then return self.segment.tap:count("invalid") end
  if not is_own(self, native32(frame.data + frame.l3, 16)) then return self.segment.tap:count("ignored") end
  if message[0] == icmp.ECHO_REQUEST and message[1] == 0 then return responder.echo4(self, frame, size) end
  local hear = message[0] == icmp.ECHO_REPLY and hear_reply or tell
  hear(self, icmp, message, size, frame)
end

local function hear_icmp6(self, frame)
  local message, size = frame.data + frame.l4, frame.l3 + frame.l3_len - frame.l4
  local kind = size > 0 and message[0] or 0
  if kind == icmp6.ROUTER_ADVERTISEMENT then return self.segment:hear_router(frame, self.autoconf) end
  if kind >= icmp6.ROUTER_SOLICITATION and kind <= icmp6.REDIRECT then return self.segment:hear_nd(frame) end
  local ip = frame.data + frame.l3
  if size < 8 or memory.icmp6_checksum(ip + 8, message, size) ~= 0 then return self.segment.tap:count("invalid") end
  if not is_own(self, ffi.string(ip + 24, 16)) then return self.segment.tap:count("ignored") end
  if kind == icmp6.ECHO_REQUEST and message[1] == 0 then return responder.echo6(self, frame, size) end
  local hear = kind == icmp6.ECHO_REPLY and hear_reply or tell
  hear(self, icmp6, message, size, frame)
end

-- Whether an IP packet is for one of its addresses.
---@param frame etherlua.frame
---@return boolean
function Host:is_for(frame)
  local ip = frame.data + frame.l3
  return is_own(self, band(frame.flags, C.EL_FRAME_IP4) ~= 0 and native32(ip, 16) or ffi.string(ip + 24, 16)) and true
    or false
end

local function hear_udp(self, frame)
  if not self:is_for(frame) then return self.segment.tap:count("ignored") end
  responder.unreachable(self, frame, band(frame.flags, C.EL_FRAME_IP4) ~= 0 and 4 or 6)
end

local heard = { [ICMP] = hear_icmp, [ICMP6] = hear_icmp6, [UDP] = hear_udp }

---@private
function Host:hear(frame)
  if frame.ethertype == ARP then return self.segment:hear_arp(frame) end
  heard[frame.protocol](self, frame)
end

-- Has fn(message, frame) called with each ICMP or ICMPv6 message, parsed, that the host does not answer by itself:
-- errors, and replies that nobody asked for by watch_echo. fn must not block or keep the frame.
---@param fn function
---@return function stop
function Host:watch_icmp(fn)
  own_table(self, "watchers")[fn] = true
  return function() self.watchers[fn] = nil end
end

-- Has fn(frame) called with each reply to an echo request of this identifier. fn must not block or keep the frame.
---@param identifier? integer 0 to 65535 (a random one that nobody has)
---@param fn function
---@return integer identifier raises when somebody has it
---@return function stop
function Host:watch_echo(identifier, fn)
  local number = identifier or random.u32() % 0x10000
  for _ = 1, identifier and 0 or 0xffff do
    if not self.askers[number] then break end
    number = (number + 1) % 0x10000
  end
  if self.askers[number] then misuse.raise("identifier %d is in use", number) end
  own_table(self, "askers")[number] = fn
  return number, function() self.askers[number] = nil end
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- A RUDPConn with the host's address, which resolves as the host does.
---@param port integer|string a port at its IPv4 address, or at its IPv6 address when it has no other; or IP:PORT
---@param opts? etherlua.udp_opts
---@return etherlua.udp
function Host:udp(port, opts)
  local given = {}
  for name, value in pairs(opts or {}) do given[name] = value end
  if given.resolve == nil then given.resolve = self end
  if given.ttl == nil then given.ttl = self.hop_limit end
  local ip = type(port) == "number" and (self.ip or assert(self:source("2000::"))) or nil
  return self.conn:udp(ip and addr.with_port(ip, port) or port, given)
end

-- Whether the packet lacks a source address, which may be more than a mistake: the host may have none yet.
local function lacks_source(given)
  local inner = given[given[1].name == "ethernet" and 2 or 1]
  local is_ip = inner and (inner.name == "ipv4" or inner.name == "ipv6")
  return is_ip and inner.fields.dst and not inner.fields.src and inner.fields.dst
end

local function send_packet(self, given)
  local to, source, reason = lacks_source(given), nil, nil
  if to then source, reason = self:source(to) end
  if to and not source then return nil, reason end
  local whole, hop = composed.complete(self.conn, given, { src = source or self.ip })
  if hop then whole.ethernet.dst, reason = self:resolve(hop.dst) end
  if hop and not whole.ethernet.dst then return nil, reason end
  return self.conn:send(whole)
end

local function send_fields(self, fields)
  local to, source, reason = fields.dst, fields.src, nil
  if not to then misuse.raise("no destination: dst is needed") end
  if not source then source, reason = self:source(to) end
  if not source then return nil, reason end
  local mac
  mac, reason = self:resolve(to)
  if not mac then return nil, reason end
  local packet = { src = source, ttl = not fields.hop_limit and self.hop_limit or nil }
  for name, value in pairs(fields) do packet[name] = value end
  return self.conn:send(ip_packet.build(packet), mac)
end

-- Sends a packet to the next hop of its destination. Blocks while that is asked for.
---@param given etherlua.packet|table a composed one that begins with ether, arp, ip4 or ip6, or fields as for proto.ip;
---  src (one of its own) is filled in
---@return true|nil
---@return string|nil reason
function Host:send(given)
  if packets.is_packet(given) then return send_packet(self, given) end
  if type(given) ~= "table" then
    misuse.raise("bad packet %s: one of etherlua.proto.packet, or a table of fields is needed", tostring(given))
  end
  return send_fields(self, given)
end

-- Sends one echo request and waits for the reply.
---@param ip string
---@param opts? etherlua.ping_opts
---@return number|nil seconds the round trip took
---@return etherlua.pong|string reply, or why there is none: "timeout", who said that it cannot be reached, or why it
---  could not be sent
function Host:ping(ip, opts)
  return require("etherlua.role.ping").once(self, ip, opts)
end

-- Answers frames in the background, as conn:answer. The host goes on answering ARP, neighbour discovery and ping by
-- itself; it refuses no UDP datagrams meanwhile.
---@param opts etherlua.responder_opts
---@return etherlua.responder
function Host:answer(opts)
  return self.conn:answer(opts)
end

-- Leaves the wire; its RUDPConns are closed.
function Host:close()
  if not self.conn:is_open() then return end
  self.autoconf:close()
  self.conn:close()
end

Host.__tostring = function(host)
  local ips = { host.ip }
  for ip in pairs(host.addresses) do ips[#ips + 1] = ip end
  return ("host %s %s"):format(tostring(host.conn):match "%s(.*)", table.concat(ips, " "))
end

-- ---- opening ------------------------------------------------------------------------------------------------------

-- The defaults are in brackets.
---@class etherlua.host_opts
---@field mac? string|etherlua.mac (the interface's)
---@field vlans? integer|string|table|etherlua.vlans (none)
---@field ip? string IPv4 address with the length of the prefix on the link, "10.0.0.5/24" (none)
---@field gateway? string next hop for other IPv4 addresses (none)
---@field ip6? string "auto": link-local and from routers (RFC 4862), "link": link-local alone, or an address with a
---  length, "2001:db8::5/64" (none)
---@field gateway6? string next hop for other IPv6 addresses, beside the routers that advertise themselves (none)
---@field dad? boolean false: IPv6 addresses are used without asking whether somebody has them (true)
---@field recv_depth? integer frames that wait at host.conn (64)
---@field multicast? boolean as for relay:conn; RUDPConns of the host hear group frames (false)
---@field fragment? boolean as for relay:conn (true)
---@field reassemble? boolean as for relay:conn; a host does so (RFC 1122 section 3.3.2) (true)
local OPTIONS = options.new("relay:host", {
  mac = options.any(), vlans = options.any(), ip = options.text(), gateway = options.text(), ip6 = options.text(),
  gateway6 = options.text(), dad = options.boolean(true), recv_depth = options.whole(1, nil, DEPTH),
  multicast = options.boolean(), fragment = options.boolean(true), reassemble = options.boolean(true),
})

local function check(given)
  local opts = OPTIONS:read(given)
  if opts.gateway and not opts.ip then misuse.raise("a gateway needs an IPv4 address, ip") end
  check_gateway(opts.gateway6, 6)
  return opts
end

-- Two hosts on one relay and VLAN stack cannot have one address.
local function check_free(self, ip)
  local claim = self.segment.claims[segment.key(ip)]
  if claim and claim.conn ~= self.conn then
    misuse.raise("address %s is in use by host %s of this relay", ip, tostring(claim.conn.mac))
  end
end

---@param relay etherlua.relay
---@param given etherlua.host_opts
---@return etherlua.host
function M.open(relay, given)
  local opts = check(given)
  local conn = relay:conn { mac = opts.mac, vlans = opts.vlans, recv_depth = opts.recv_depth,
    multicast = opts.multicast, fragment = opts.fragment, reassemble = opts.reassemble }
  local self = setmetatable({ conn = conn, neighbours = neighbour.of(conn) }, Host)
  self.mac, self.segment = self.neighbours.mac, self.neighbours.segment
  listening.begin(self)
  local ok, reason = pcall(function()
    if opts.ip then check_free(self, prefix.new(opts.ip).ip) end
    self:set_ip(opts.ip, opts.gateway)
    self.autoconf = autoconf.open(self, opts)
  end)
  if not ok then
    conn:close()
    error(reason, 0)
  end
  return self
end

return M
