-- host/nd.lua: messages of neighbour discovery (RFC 4861) as they come and go. Whoever hears them reads them here, so
-- that all discard what has to be discarded. What a message means then is the business of segment.lua, gateway6.lua and
-- arping.lua.

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local group = require "etherlua.net.group"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"

local band = bit.band
local native32 = memory.native32

local M = {}

local ICMP6, HOP_LIMIT, IP6_HEADER = numbers.protocol.ICMP6, 255, 40
local FRAGMENT, AUTHENTICATION = 44, 51 -- extension headers
local SOURCE_LINK_LAYER = 1             -- the option
local ANY_TEXT, ALL_REPORTS, ALL_REPORTS_MAC = "::", "ff02::16", group.mac_text "ff02::16"

-- ---- what is valid ------------------------------------------------------------------------------------------------
-- ip: pointer to the IPv6 header.

local function is_group(ip6)
  return ip6[0] == 0xff
end

local function is_link_local(ip6)
  return ip6[0] == 0xfe and band(ip6[1], 0xc0) == 0x80
end

local function is_unspecified(ip6)
  return native32(ip6, 0) == 0 and native32(ip6, 4) == 0 and native32(ip6, 8) == 0 and native32(ip6, 12) == 0
end

local SOLICITED = ffi.new("uint8_t[13]", { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff }) -- RFC 4291 section 2.7.1

local function is_solicited_node(ip6)
  return ffi.string(ip6, 13) == ffi.string(SOLICITED, 13)
end

-- Also one that is no MAC address.
local function tells_source(message)
  if message.source_link_layer_address then return true end
  for _, option in ipairs(message.options) do
    if option.type == SOURCE_LINK_LAYER then return true end
  end
end

-- RFC 4861 section 6.1.1
local function why_no_router_solicitation(message, src)
  if is_unspecified(src) and tells_source(message) then return "a link-layer address of nobody" end
end

-- Section 6.1.2
local function why_no_router_advertisement(_, src)
  if not is_link_local(src) then return "a router's address is link-local" end
end

-- Section 7.1.1
local function why_no_solicitation(message, src, dst)
  if group.is_group_ip(message.target) then return "the target is a group" end
  if not is_unspecified(src) then return end
  if not is_solicited_node(dst) then return "no solicited-node group is asked" end
  if tells_source(message) then return "a link-layer address of nobody" end
end

-- Section 7.1.2
local function why_no_advertisement(message, _, dst)
  if group.is_group_ip(message.target) then return "the target is a group" end
  if is_group(dst) and message.solicited then return "solicited by a group" end
end

-- Section 8.1, but for whose redirects count, as nobody here follows one.
local function why_no_redirect(message, src)
  if not is_link_local(src) then return "a router's address is link-local" end
  if group.is_group_ip(message.destination) then return "the destination is a group" end
  if message.target ~= message.destination and addr.ip_bytes(message.target):sub(1, 2) ~= "\xfe\x80" then
    return "the target is no router"
  end
end

local why_not = {
  [icmp6.ROUTER_SOLICITATION] = why_no_router_solicitation,
  [icmp6.ROUTER_ADVERTISEMENT] = why_no_router_advertisement,
  [icmp6.NEIGHBOUR_SOLICITATION] = why_no_solicitation,
  [icmp6.NEIGHBOUR_ADVERTISEMENT] = why_no_advertisement,
  [icmp6.REDIRECT] = why_no_redirect,
}

-- The engine has followed the chain already, so its lengths are right.
local function finds_fragment_header(frame)
  local at, kind = frame.l3 + IP6_HEADER, frame.data[frame.l3 + 6]
  while at < frame.l4 do
    local header = frame.data + at
    if kind == FRAGMENT then return true end
    at = at + (kind == AUTHENTICATION and (header[1] + 2) * 4 or (header[1] + 1) * 8)
    kind = header[0]
  end
  return false
end

-- RFC 6980 section 5: not even a fragment that is the whole packet. Those of several the engine does not put together.
local function has_fragment_header(frame)
  return frame.l4 ~= frame.l3 + IP6_HEADER and finds_fragment_header(frame)
end

-- A group is nobody's link-layer address.
local function is_reachable(mac)
  return not mac or not group.is_group_mac(mac)
end

-- What all messages have in common: the hop limit says that no router has passed it on. That a source is no group is
-- RFC 4291 section 2.7.
local function why_none(frame, ip, at, size)
  if ip[7] ~= HOP_LIMIT then return "hop limit" end
  if size < 8 or at[1] ~= 0 then return "code" end
  if is_group(ip + 8) then return "the source is a group" end
  if has_fragment_header(frame) then return "fragment" end
  if memory.icmp6_checksum(ip + 8, at, size) ~= 0 then return "checksum" end
end

-- Whether it is a message of neighbour discovery, valid or not. Fragments of which there are several are not.
---@param frame etherlua.frame
---@return boolean
function M.is(frame)
  if frame.protocol ~= ICMP6 or frame.l4 == 0 or frame.l3 + frame.l3_len <= frame.l4 then return false end
  return why_not[frame.data[frame.l4]] ~= nil
end

-- The fields of a message, unless it is to be discarded silently (RFC 4861 sections 6.1, 7.1 and 8.1).
---@param frame etherlua.frame for which is() is true
---@return table|nil fields as of icmp6.parse
---@return string|nil reason
function M.read(frame)
  local ip, at = frame.data + frame.l3, frame.data + frame.l4
  local size = frame.l3 + frame.l3_len - frame.l4
  local reason = why_none(frame, ip, at, size)
  if reason then return nil, reason end
  local message, why = icmp6.parse(ffi.string(at, size))
  if not message then return nil, why end
  reason = why_not[message.type](message, ip + 8, ip + 24)
  if reason then return nil, reason end
  if is_reachable(message.source_link_layer_address) and is_reachable(message.target_link_layer_address) then
    return message
  end
  return nil, "a group's link-layer address"
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- Sends a message of neighbour discovery.
---@param conn etherlua.conn
---@param message table as for icmp6.build
---@param src string
---@param dst string
---@param mac string|etherlua.mac
---@return true|nil
---@return string? reason
function M.send(conn, message, src, dst, mac)
  return conn:send(ipv6.build { src = src, dst = dst, protocol = ICMP6, hop_limit = HOP_LIMIT,
    payload = icmp6.build(message, { src = src, dst = dst }) }, mac)
end

local ROUTER_ALERT = { type = 5, data = "\0\0" } -- RFC 2711

-- Says that the EtherConn wants what is sent to a group (RFC 3810 section 5.2): switches that listen let it pass then.
---@param conn etherlua.conn
---@param ip string of the group
---@param src? string own link-local address (::, while there is none)
function M.report_group(conn, ip, src)
  src = src or ANY_TEXT
  local record = "\4\0\0\0" .. addr.ip_bytes(ip) -- change to exclude nothing
  local message = icmp6.build({ type = 143, rest = 1, payload = record }, { src = src, dst = ALL_REPORTS })
  conn:send(ipv6.build { src = src, dst = ALL_REPORTS, protocol = ICMP6, hop_limit = 1, payload = message,
    extension_headers = { { type = 0, options = { ROUTER_ALERT } } } }, ALL_REPORTS_MAC)
end

return M
