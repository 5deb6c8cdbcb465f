-- test/visible.lua: whether an endpoint can receive at all what a test expects of it. If not the test would pass for
-- ever where nothing is expected, whatever happens on the wire: that is the test's mistake, and told. What is looked at
-- is a pattern's layers, EtherType, destination address and port.

local effi = require "etherlua.core.ffi"
local endpoint = require "etherlua.relay.endpoint"
local ffi = require "ffi"
local group = require "etherlua.net.group"
local match = require "etherlua.proto.match"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local proto = require "etherlua.proto"

local C = effi.C

local M = {}

local TYPES = { arp = numbers.ethertype.ARP, ipv4 = numbers.ethertype.IPV4, ipv6 = numbers.ethertype.IPV6 }

-- ---- a RUDPConn ---------------------------------------------------------------------------------------------------

local function add_carried(names, name)
  names[name] = true
  for _, inner in pairs(proto[name].next or {}) do
    if not names[inner] then add_carried(names, inner) end
  end
end

local function of_udp()
  local names = { ethernet = true, ip = true, ipv4 = true, ipv6 = true, bytes = true, line = true, layers = true }
  for name in pairs(proto.ends) do names[name] = true end
  add_carried(names, "udp")
  return names
end

local function why_not_udp(udp, wanted)
  local seen = of_udp()
  for name, value in pairs(wanted) do
    if value and not seen[name] then return ("a RUDPConn receives no %s"):format(proto.short_of(name)) end
  end
  local port, own = type(wanted.udp) == "table" and wanted.udp.dst_port, udp["local"].port
  if type(port) == "number" and port ~= own and own ~= 0 and udp.accept_any == 0 then
    return ("it receives what is sent to port %d"):format(own)
  end
end

-- ---- an EtherConn -------------------------------------------------------------------------------------------------

-- Set of EtherTypes; nil: all.
local function claimed(conn)
  if conn.ethertypes[0] == 0 then return nil end
  local types = {}
  for i = 0, C.EL_ETHERTYPES_MAX - 1 do
    if conn.ethertypes[i] ~= 0 then types[conn.ethertypes[i]] = true end
  end
  return types
end

-- Of EtherTypes besides nobody knows what they carry.
local function is_plain(types)
  for ethertype in pairs(types) do
    if ethertype ~= TYPES.arp and ethertype ~= TYPES.ipv4 and ethertype ~= TYPES.ipv6 then return false end
  end
  return true
end

local function why_not_type(conn, wanted, frame)
  local types = claimed(conn)
  if not types then return nil end
  if type(frame.ethertype) == "number" and not types[frame.ethertype] then
    return ("it has not the EtherType 0x%04x"):format(frame.ethertype)
  end
  for name, ethertype in pairs(is_plain(types) and TYPES or {}) do
    if wanted[name] and not types[ethertype] then return "it has not the EtherType of " .. proto.short_of(name) end
  end
end

local function why_not_mac(conn, frame)
  local dst, own = frame.dst, tostring(conn.mac)
  if type(dst) ~= "string" or dst:lower() == own then return nil end
  if not group.is_group_mac(dst) then return "it receives what is sent to " .. own end
  if conn.multicast == C.EL_MULTICAST_NONE then return "without multicast = true it receives no frames to groups" end
end

-- The RUDPConn that takes all datagrams to the port.
local function taker(conn, wanted)
  local port = type(wanted.udp) == "table" and wanted.udp.dst_port
  for _, object in pairs(endpoint.objects) do
    if ffi.istype("struct el_udp", object) and object:is_open() and object:conn() == conn then
      local own = object["local"]
      local at_any = own.ip_text == "0.0.0.0" and not wanted.ipv6 or own.ip_text == "::" and not wanted.ipv4
      if object.accept_any ~= 0 and wanted.udp or at_any and port == own.port then return object end
    end
  end
end

local function why_not_conn(conn, wanted)
  if conn.is_default ~= 0 then return nil end
  local frame = type(wanted.ethernet) == "table" and wanted.ethernet or {}
  local reason = why_not_type(conn, wanted, frame) or why_not_mac(conn, frame)
  if reason then return reason end
  local udp = taker(conn, wanted)
  return udp and tostring(udp) .. " on it receives these" or nil
end

-- ---- either -------------------------------------------------------------------------------------------------------

-- Raises an error when no frame that the endpoint can receive matches the pattern, as far as that can be told.
---@param on ffi.cdata* EtherConn or RUDPConn
---@param pattern table|string|function as of match.compile
function M.check(on, pattern)
  if type(pattern) ~= "table" then return end
  local wanted = match.named(pattern)
  local why_not = ffi.istype("struct el_udp", on) and why_not_udp or why_not_conn
  local reason = why_not(on, wanted)
  if reason then misuse.raise("%s never sees %s: %s", tostring(on), match.show(pattern), reason) end
end

return M
