-- ask/fill.lua: packets of proto/packet.lua on an EtherConn: what was left out is filled in, from the EtherConn for one
-- that it sends by itself, from the request for a reply. Source addresses are never guessed. It keeps no state but the
-- last port that it gave away.

local bytes = require "etherlua.net.bytes"
local group = require "etherlua.net.group"
local misuse = require "etherlua.core.misuse"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local random = require "etherlua.net.random"

local M = {}

local BROADCAST = group.BROADCAST
local ANY = "0.0.0.0"
local ADDRESS_SIZE = { ipv4 = 4, ipv6 = 16 }
local FIRST_PORT, PORTS = 49152, 16384 -- RFC 6335 section 6

local function fill(fields, name, value)
  if fields[name] == nil then fields[name] = value end
end

local function is_ip(layer)
  return layer ~= nil and (layer.name == "ipv4" or layer.name == "ipv6")
end

-- ---- packets that an EtherConn sends by itself --------------------------------------------------------------------

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
    misuse.raise("bad packet: %s has no src, and %s: give it, or opts.src", proto.short_of(name), reason)
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

-- Where it goes when nobody said so, as far as that need not be asked for on the link.
local function known_mac(inner)
  if not inner then return nil end
  if inner.name == "arp" then return BROADCAST end
  local dst = is_ip(inner) and inner.fields.dst
  return dst and group.mac_text(dst) or nil
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

-- ---- replies ------------------------------------------------------------------------------------------------------

-- The place of the layer that a reply's first one stands for, or is carried by the one before. Bytes follow what
-- carries them.
local function place_of(name, request)
  local at = name == "ethernet" and 1 or nil
  for i, layer in ipairs(request) do
    local module = rawget(proto, layer.name)
    if layer.name == name then return i end
    if not at and module and module.next then
      for _, carried in pairs(module.next) do at = at or carried == name and i + 1 or nil end
    end
  end
  return at
end

local function place_of_bytes(request)
  local at = 1
  for i, layer in ipairs(request) do
    local module = rawget(proto, layer.name)
    if not module or not module.child or module.is_error and module.is_error(layer.fields) then break end
    at = i + 1
  end
  return at
end

-- The reply's layers with those of the request around them, which are empty yet.
local function wrapped(reply, request)
  if not packet.is_packet(reply) then reply = packet.data(reply) end
  local name = reply[1].name
  local at = name == "data" and place_of_bytes(request) or place_of(name, request)
  if not at then misuse.raise("bad reply: %s does not fit what the request is made of", name) end
  local whole = reply:copy()
  for i = at - 1, 1, -1 do table.insert(whole, 1, { name = request[i].name, fields = {} }) end
  return whole
end

-- What says what is inside is that of the request if nothing inside of the reply says so.
local function fill_selectors(whole, i, asked)
  local inner = whole[i + 1]
  if inner and inner.name ~= "data" then return end
  for _, name in ipairs(proto[asked.name].selectors or {}) do fill(whole[i].fields, name, asked.fields[name]) end
end

-- The frame of a reply: what it leaves out is the request's, turned around. It may begin at any layer of the request,
-- or at one that its layers carry; a text is data behind them.
---@param request { name: string, fields: table }[] from proto.dissect
---@param reply etherlua.packet|string
---@param mac string of the host that replies
---@return etherlua.packet whole
function M.reply(request, reply, mac)
  local whole = wrapped(reply, request)
  for i, layer in ipairs(whole) do
    local asked = request[i]
    if not asked or asked.name ~= layer.name then break end
    local module = rawget(proto, layer.name)
    if not module or not module.turn then break end
    for name, value in pairs(module.turn(asked.fields, mac)) do fill(layer.fields, name, value) end
    fill_selectors(whole, i, asked)
    if is_ip(layer) and not layer.fields.src then
      misuse.raise("bad reply: the request went to %s, so its %s needs a src", asked.fields.dst, layer.name)
    end
  end
  return whole
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- A whole frame with its own addresses and tags. Blocks only while the relay is full.
---@param conn etherlua.conn
---@param frame table of proto.ethernet.parse
---@return true|nil
---@return string|nil reason "link down", "interface gone"
function M.send(conn, frame)
  return conn:send(frame.payload, frame.dst, { src_mac = frame.src, vlans = frame.vlans, ethertype = frame.ethertype })
end

return M
