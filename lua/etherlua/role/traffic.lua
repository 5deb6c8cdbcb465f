-- role/traffic.lua: what sender and receiver of test traffic agree upon: the flows with their addresses, and what a
-- packet carries. traffic_sender.lua sends it, traffic_receiver.lua counts it. A flow is one direction; traffic both
-- ways is two sets of flows, each with numbers of its own.
--
-- The UDP payload, in network byte order:
--
--    0       3       6           10          14          18
--    | magic | flow  | sequence  | seconds   | W, ns     | zeros, as many as the size asks for
--
--   magic     "elt"
--   flow      its number, 24 bits
--   sequence  of the packet in its flow: from 0, by 1, modulo 2^32
--   seconds   when the packet was handed to the relay, by the sender's CLOCK_MONOTONIC
--   W, ns     nanoseconds. W, the top bit: sent to warm up, with sequence numbers of its own, and not to be counted
--
-- 18 bytes are what an untagged IPv4 frame of 64 bytes has room for.

local addr = require "etherlua.net.addr"
local bit = require "bit"
local ethernet = require "etherlua.proto.ethernet"
local misuse = require "etherlua.core.misuse"
local neighbour = require "etherlua.host.neighbour"
local options = require "etherlua.core.options"
local prefix = require "etherlua.net.prefix"
local role = require "etherlua.role.role"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

-- The first 4 bytes of a payload as the machine has them in memory, of which the lower 3 are the magic.
M.MAGIC, M.MAGIC_MASK = bit.tobit(0x746c65), 0x00ffffff
-- Offsets in the payload, and its least length.
M.FLOW, M.SEQUENCE, M.SECONDS, M.NANOSECONDS, M.LENGTH = 3, 6, 10, 14, 18
M.WARM_UP = bit.tobit(0x80000000)
M.MAX_FLOWS = 100000

local ETHERNET, FCS, UDP = 14, 4, 8
local IP_HEADER = { [4] = 20, [6] = 40 }
local RECV_DEPTH = 16384 -- frames of one endpoint, which may be all there are

-- ---- flows --------------------------------------------------------------------------------------------------------

-- The addresses of all flows; see traffic.flows.
---@class etherlua.traffic_flows
---@field count integer
---@field first integer number of the first one
---@field version integer 4 or 6
---@field vlans fun(i: integer): etherlua.vlans
local Flows = {}
Flows.__index = Flows

local function check_port(end_of, port, last)
  if port >= 0 and port <= 65535 and last >= 0 and last <= 65535 then return end
  misuse.raise("bad %s ports: flows would use %d to %d, 0 to 65535 is allowed", end_of, port, last)
end

local function check(flows)
  local src, dst, steps = flows.src, flows.dst, flows.count - 1
  if #addr.ip_bytes(src.ip) ~= #addr.ip_bytes(dst.ip) then
    misuse.raise("bad addresses %s and %s: both IPv4 or both IPv6 are needed", src.ip, dst.ip)
  end
  check_port("source", src.port, src.port + src.port_step * steps)
  check_port("destination", dst.port, dst.port + dst.port_step * steps)
end

-- Where flows begin or end: the first one's addresses, and what is added for each of the others. Steps may be 0.
---@class etherlua.traffic_end
---@field mac string
---@field mac_step integer
---@field ip string
---@field ip_step integer
---@field port integer
---@field port_step integer

local function number() return options.number(-2 ^ 53, 2 ^ 53):needed() end
local END = options.new("an end of flows", { mac = options.text():needed(), mac_step = number(),
  ip = options.text():needed(), ip_step = number(), port = number(), port_step = number() })
local FLOWS = options.new("flows", { count = options.whole(1, M.MAX_FLOWS):needed(),
  first = options.whole(0, nil, 0), src = options.any():needed(), dst = options.any():needed(),
  vlans = options.of_type("a function is needed", "function"):needed() })

-- Flows by number.
---@param given { count: integer, src: etherlua.traffic_end, dst: etherlua.traffic_end, vlans: function, first:
---  integer? } vlans: from a flow's number, from 0, to its VLAN stack; first: number of the first one in packets (0)
---@return etherlua.traffic_flows raises when the addresses do not fit each other
function M.flows(given)
  local opts = FLOWS:read(given)
  local flows = setmetatable({ count = opts.count, src = END:read(opts.src), dst = END:read(opts.dst),
    vlans = opts.vlans, first = opts.first }, Flows)
  check(flows)
  flows.version = #addr.ip_bytes(opts.src.ip) == 4 and 4 or 6
  return flows
end

-- The flows that answer these: from their destinations to their sources.
---@param first integer number that the first one has in packets
---@return etherlua.traffic_flows
function Flows:reversed(first)
  return M.flows { count = self.count, src = self.dst, dst = self.src, vlans = self.vlans, first = first }
end

local function advanced(from, i)
  local mac, ip, port = from.mac, from.ip, from.port
  return { mac = addr.mac_add(mac, from.mac_step * i), ip = prefix.ip_add(ip, from.ip_step * i),
    port = port + from.port_step * i, mac_step = from.mac_step, ip_step = from.ip_step, port_step = from.port_step }
end

-- So many of the flows, which keep their numbers in packets.
---@param from integer the first of them, from 0
---@param count integer
---@return etherlua.traffic_flows
function Flows:slice(from, count)
  return M.flows { count = count, src = advanced(self.src, from), dst = advanced(self.dst, from),
    first = self.first + from, vlans = function(i) return self.vlans(from + i) end }
end

local function end_at(from, i)
  return addr.mac_add(from.mac, from.mac_step * i), prefix.ip_add(from.ip, from.ip_step * i),
    from.port + from.port_step * i
end

-- One flow.
---@param i integer from 0
---@return { src_mac: string, src_ip: string, src_port: integer, dst_mac: string, dst_ip: string, dst_port: integer,
---  vlans: etherlua.vlans } flow
function Flows:at(i)
  local flow = { vlans = self.vlans(i) }
  flow.src_mac, flow.src_ip, flow.src_port = end_at(self.src, i)
  flow.dst_mac, flow.dst_ip, flow.dst_port = end_at(self.dst, i)
  return flow
end

-- Bytes of the smallest frame that these flows can have, without VLAN tags, with the frame check sequence.
---@param version integer of IP
---@return integer
function M.least_size(version)
  return ETHERNET + IP_HEADER[version] + UDP + M.LENGTH + FCS
end

-- Bytes of the IP packet in a frame of that size.
---@param size integer bytes of the frame without VLAN tags, with the frame check sequence
---@return integer
function M.packet_size(size)
  return size - ETHERNET - FCS
end

-- The MTU that an interface has to have for frames of that size with so many VLAN tags.
---@param size integer
---@param tags integer
---@return integer
function M.mtu_for(size, tags)
  return M.packet_size(size) + ethernet.tags_in_mtu(tags)
end

-- ---- endpoints ----------------------------------------------------------------------------------------------------

-- The EtherConns of a relay that sender and receiver share: one for each MAC address and VLAN stack.
---@class etherlua.traffic_endpoints
---@field relay etherlua.relay
local Endpoints = {}
Endpoints.__index = Endpoints

---@param relay etherlua.relay
---@param answer boolean answer ARP and neighbour discovery for the addresses of the flows
---@return etherlua.traffic_endpoints
function M.endpoints(relay, answer)
  role.check("traffic endpoints", relay, "relay")
  return setmetatable({ relay = relay, answer = answer, conns = {} }, Endpoints)
end

-- The EtherConn of a host of the flows, made when first asked for.
---@param mac string
---@param vlans etherlua.vlans
---@param ip string address that the host has
---@return etherlua.conn
function Endpoints:conn(mac, vlans, ip)
  local key = mac .. " " .. vlan_stack.key(vlans)
  local conn = self.conns[key]
  if not conn then
    conn = self.relay:conn { mac = mac, vlans = vlans, multicast = self.answer, recv_depth = RECV_DEPTH }
    self.conns[key] = conn
  end
  if self.answer then neighbour.of(conn):claim(ip) end
  return conn
end

-- Frames that the relay itself lost, by its counters.
---@param names string[]
---@return integer
function Endpoints:drops(names)
  local stats, sum = self.relay:stats(), 0
  for _, name in ipairs(names) do sum = sum + stats[name] end
  return sum
end

-- Closes the EtherConns.
function Endpoints:close()
  for _, conn in pairs(self.conns) do conn:close() end
  self.conns = {}
end

return M
