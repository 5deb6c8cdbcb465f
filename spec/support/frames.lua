-- frames.lua: frames for the relay specs to send, a way to send any bytes at all as a frame, and the equations that a
-- relay's counters have to fulfil.

local assert = require "luassert"
local ffi = require "ffi"
local bytes = require "etherlua.net.bytes"
local nic_lab = require "support.nic_lab"
local proto = require "etherlua.proto"
local eventually = require("support.wait").eventually

local M = {}

M.MAC_A, M.MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
M.BROADCAST = "ff:ff:ff:ff:ff:ff"
M.IP4, M.IP6, M.ARP = 0x0800, 0x86dd, 0x0806
M.PAYLOAD = nic_lab.given and "payload of no pads" or "payload" -- a card has nothing to pad

-- An IP packet with a UDP datagram. Other fields are those of the IP header.
---@param fields? table payload, src_port, dst_port, udp_length; src, dst, options, extension_headers, ...
---@return string
function M.udp(fields)
  fields = fields or {}
  local src, dst = fields.src or "10.0.0.1", fields.dst or "10.0.0.2"
  local ip = { src = src, dst = dst, protocol = 17 }
  for name, value in pairs(fields) do ip[name] = value end
  ip.src_port, ip.dst_port, ip.udp_length = nil, nil, nil
  ip.payload = proto.udp.build({ src_port = fields.src_port or 1000, dst_port = fields.dst_port or 2000,
    payload = fields.payload or M.PAYLOAD, length = fields.udp_length }, { src = src, dst = dst })
  return proto[src:find(":", 1, true) and "ipv6" or "ipv4"].build(ip)
end

-- The same over IPv6.
---@param fields? table
---@return string
function M.udp6(fields)
  local all = { src = "2001:db8::1", dst = "2001:db8::2" }
  for name, value in pairs(fields or {}) do all[name] = value end
  return M.udp(all)
end

-- A frame from MAC_A to MAC_B around the payload.
---@param payload string
---@param fields? table as of proto.ethernet
---@return string
function M.frame(payload, fields)
  local all = { src = M.MAC_A, dst = M.MAC_B, payload = payload, ethertype = payload:byte() >= 0x60 and M.IP6 or M.IP4 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return proto.ethernet.build(all)
end

-- Opens a default endpoint on the relay. The result sends any string of at least 2 bytes, the first two not zero, as a
-- frame: its header template is cut to nothing, so the "EtherType" comes first of all and the rest is "payload".
---@param relay table
---@return fun(frame: string): boolean?, string?
function M.injector(relay)
  local conn = relay:default_conn()
  conn.header_len = 0
  return function(frame)
    return conn:send(frame:sub(3), M.BROADCAST, { ethertype = bytes.u16(frame, 1) })
  end
end

-- The whole frame that the endpoint receives next, or nil and the reason.
---@param endpoint ffi.cdata*
---@return string?, string?
function M.whole(endpoint)
  local frame, reason = endpoint:recv_frame(1)
  if not frame then return nil, reason end
  local text = tostring(frame)
  frame:release()
  return text
end

-- What a frame is known by: cards pad short ones with zeros, some on their way out already.
---@param frame string
---@return string
function M.known_by(frame)
  return nic_lab.given and frame:gsub("%z+$", "") or frame
end

-- Strings that differ are easier to compare in hex.
function M.assert_same_bytes(expected, got)
  assert.equal(bytes.hex(M.known_by(expected)), got and bytes.hex(M.known_by(got)))
end

-- For frames of several flows: cards and drivers keep the order of one alone.
---@param list string[]
---@return string[]
function M.sorted_hex(list)
  local out = {}
  for i, frame in ipairs(list) do out[i] = bytes.hex(M.known_by(frame)) end
  table.sort(out)
  return out
end

local RX = { "rx_delivered", "rx_queued", "rx_invalid", "rx_filtered", "rx_unclaimed", "rx_overflow", "rx_evicted",
  "rx_no_memory", "rx_closed", "rx_fragments", "rx_merged", "rx_frag_duplicate", "rx_frag_timeout", "rx_frag_overlap",
  "rx_frag_invalid", "rx_frag_limit" }
local TX = { "tx_sent", "tx_pending", "tx_link_down", "tx_refused", "tx_error" }

local function total(stats, names)
  local sum = 0
  for _, name in ipairs(names) do sum = sum + stats[name] end
  return sum
end

-- The sums of struct el_stats.
---@param relay table
---@return table stats
function M.assert_balanced(relay)
  local stats = relay:stats()
  assert.equal(stats.rx_frames + stats.rx_copies + stats.rx_reassembled, total(stats, RX), "received frames")
  assert.equal(stats.tx_frames, total(stats, TX), "sent frames")
  return stats
end

-- The same when all is sent: AF_XDP hears of it later than others.
---@param relay table
---@return table stats
function M.when_sent(relay)
  relay:flush()
  eventually(function() return relay:stats().tx_pending == 0 end)
  return M.assert_balanced(relay)
end

-- Pointer and length of a string's bytes, for the calls that take them. Keep the string.
function M.pointer(text)
  return ffi.cast("const char *", text), #text
end

return M
