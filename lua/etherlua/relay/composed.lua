-- relay/composed.lua: packets of proto/packet.lua that an EtherConn or a relay sends: what was left out is filled in,
-- and the frame sent. Source addresses of IP are never guessed. It keeps no state but the last port that it gave away.
-- Not for the hot path.

local bytes = require "etherlua.net.bytes"
local ethernet = require "etherlua.proto.ethernet"
local group = require "etherlua.net.group"
local misuse = require "etherlua.core.misuse"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local random = require "etherlua.net.random"

local M = {}

local ANY = "0.0.0.0"
local ADDRESS_SIZE = { ipv4 = 4, ipv6 = 16 }
local FIRST_PORT, PORTS = 49152, 16384 -- RFC 6335 section 6

local function fill(fields, name, value)
  if fields[name] == nil then fields[name] = value end
end

local function is_ip(layer)
  return layer ~= nil and ADDRESS_SIZE[layer.name] ~= nil
end

-- ---- what was left out --------------------------------------------------------------------------------------------

-- A packet of our own, that begins with Ethernet. A text is a whole frame.
local function framed(given)
  if type(given) == "string" then return packet.parse(given) end
  if not packet.is_packet(given) then
    misuse.raise("bad packet %s: one of etherlua.proto.packet, or the bytes of a frame, is needed", tostring(given))
  end
  local first = given[1].name
  if first == "ethernet" then return given:copy() end
  if is_ip(given[1]) or first == "arp" then return packet.ether {} / given end
  misuse.raise("bad packet: it begins with %s, not with ether, arp, ip4 or ip6", first)
end

local function tags_of(vlans)
  local tags = {}
  for i = 1, #vlans do tags[i] = vlans[i] end
  return tags
end

local last_port = random.u32() % PORTS

local function ephemeral_port()
  last_port = (last_port + 1) % PORTS
  return FIRST_PORT + last_port
end

-- Whether what is inside names the ports, such as DHCP.
local function has_known_port(layer, inner)
  for _, name in pairs(proto[layer.name].next) do
    if inner and inner.name == name then return true end
  end
  return false
end

-- Before anybody is asked for the next hop. src: an address, or a function that knows one for a destination.
local function fill_ip(fields, name, src)
  bytes.ip(name .. " dst", fields.dst, ADDRESS_SIZE[name])
  local reason = "there is none to guess"
  if not fields.src and type(src) == "function" then src, reason = src(fields.dst) end
  fill(fields, "src", src)
  if not fields.src then
    misuse.raise("bad packet: %s has no src, and %s: give it", proto.short_of(name), reason)
  end
  bytes.ip(name .. " src", fields.src, ADDRESS_SIZE[name])
end

local function fill_inside(whole, src)
  local inner, carried = whole[2], whole[3]
  if inner and inner.name == "arp" then
    fill(inner.fields, "sha", whole[1].fields.src)
    if type(src) == "function" then src = src(inner.fields.tpa or ANY) end
    fill(inner.fields, "spa", src)
  elseif is_ip(inner) then
    fill_ip(inner.fields, inner.name, src)
    if carried and (carried.name == "udp" or carried.name == "tcp") and not has_known_port(carried, whole[4]) then
      fill(carried.fields, "src_port", ephemeral_port())
    end
  end
end

-- Where an IP packet to a group goes.
---@param inner table? layer behind Ethernet
---@return string|nil mac nil for anything else
function M.group_mac(inner)
  local dst = is_ip(inner) and inner.fields.dst
  return dst and group.mac_text(dst) or nil
end

-- Where a packet goes when nobody said so, as far as that need not be asked for on the link: to a group, or to all.
local function known_mac(inner)
  return inner and inner.name == "arp" and group.BROADCAST or M.group_mac(inner)
end

---@param conn etherlua.conn
---@param given etherlua.packet|string a packet from Ethernet, ARP or IP on, or the bytes of a frame
---@param opts table src: IP address, or a function that returns it for a destination, or nil and a reason; dst_mac
---@return etherlua.packet whole with Ethernet; a source port is filled in as well
---@return table|nil next_hop the fields of the IP header whose dst the frame has to be sent to, if that is not known
function M.complete(conn, given, opts)
  local whole = framed(given)
  local frame, inner = whole[1].fields, whole[2]
  fill(frame, "src", tostring(conn.mac))
  fill(frame, "vlans", tags_of(conn.vlans))
  fill_inside(whole, opts.src)
  fill(frame, "dst", opts.dst_mac and tostring(opts.dst_mac) or known_mac(inner))
  return whole, not frame.dst and is_ip(inner) and inner.fields or nil
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- Sends a whole frame with its own addresses and tags. Blocks only while the relay is full.
---@param conn etherlua.conn
---@param frame table of proto.ethernet.parse
---@return true|nil
---@return string|nil reason "link down", "interface gone"
function M.send_frame(conn, frame)
  return conn:send(frame.payload, frame.dst, { src_mac = frame.src, vlans = frame.vlans, ethertype = frame.ethertype })
end

local function check(given)
  if packet.is_packet(given) then return end
  misuse.raise("bad payload %s: a text, one of etherlua.proto.packet, or a pointer and a length is needed",
    tostring(given))
end

-- See conn:send.
---@param conn etherlua.conn
---@param given etherlua.packet
---@param dst? string|etherlua.mac
---@param opts table as of conn:send
---@return true|nil
---@return string|nil reason
function M.send(conn, given, dst, opts)
  check(given)
  local whole = M.complete(conn, given, {})
  local fields = whole[1].fields
  if dst then fields.dst = tostring(dst) end
  if not fields.dst then
    misuse.raise "no destination: give its MAC address behind the packet, or as the dst of ether"
  end
  local frame = assert(ethernet.parse(whole:build()))
  return conn:send(frame.payload, frame.dst, { src_mac = opts.src_mac or frame.src, vlans = opts.vlans or frame.vlans,
    ethertype = opts.ethertype or frame.ethertype, timeout = opts.timeout })
end

-- The bytes of a frame for relay:send.
---@param mac string of the relay
---@param given etherlua.packet
---@return string frame
function M.frame(mac, given)
  check(given)
  if given[1].name ~= "ethernet" then
    misuse.raise("bad packet: it begins with %s, but a relay sends whole frames, which begin with ether",
      proto.short_of(given[1].name))
  end
  local whole = given:copy()
  local fields = whole[1].fields
  fill(fields, "src", mac)
  fill(fields, "dst", known_mac(whole[2]))
  if not fields.dst then misuse.raise "no destination: ether has no dst" end
  return whole:build()
end

return M
