-- dhcp4_script.lua: a DHCP server that does what a spec has it do, at the far end of a wire, and the client
-- that the spec is about at the near one.

local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local kinds = require "support.kinds"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"

local M = {}

M.MAC, M.SERVER_MAC, M.SERVER_IP = "02:00:00:00:00:01", "02:00:00:00:00:fe", "10.0.0.1"

-- Hears everything on its relay: `messages` (DHCP fields with frame and packet), `arps` (ARP fields with frame).
-- Answers as the functions in `on` say, by message type: each returns the fields of the reply, or nil.
local Server = {}
Server.__index = Server

function Server:send_payload(payload, ethertype, to)
  self.conn:send(payload, to.mac, { ethertype = ethertype, src_mac = to.src_mac or M.SERVER_MAC, vlans = to.vlans })
end

-- Sends a reply's bytes; `to` may have mac, ip, src_mac, vlans.
function Server:send_bytes(bytes, to)
  local ends = { src = M.SERVER_IP, dst = to.ip or "255.255.255.255" }
  local datagram = proto.udp.build({ src_port = 67, dst_port = 68, payload = bytes }, ends)
  self:send_payload(proto.ipv4.build { src = ends.src, dst = ends.dst, protocol = 17, payload = datagram }, 0x0800, to)
end

-- The fields of a reply: those that every reply has, and the given ones. options.NAME = false leaves it out. A request
-- is answered by the server, and with the address, that it asks for.
function M.reply_to(message, kind, fields, options)
  local asked = message.options.message_type == "REQUEST" and message.options or {}
  local all = { op = 2, xid = message.xid, chaddr = message.chaddr,
    yiaddr = kind ~= "NAK" and (asked.requested_address or "10.0.0.10") or nil,
    options = { message_type = kind, server_id = asked.server_id or M.SERVER_IP } }
  if kind ~= "NAK" then all.options.lease_time, all.options.subnet_mask = 3600, "255.255.255.0" end
  for name, value in pairs(fields or {}) do all[name] = value end
  for name, value in pairs(options or {}) do all.options[name] = value or nil end
  return all
end

function Server:reply(message, fields, to)
  to = to or {}
  self:send_bytes(type(fields) == "string" and fields or proto.dhcp4.build(fields),
    { mac = to.mac or message.chaddr, ip = to.ip, src_mac = to.src_mac, vlans = message.frame.vlans })
end

function Server:hear(frame)
  local layers = {}
  for _, layer in ipairs(proto.dissect(frame)) do layers[layer.name] = layer.fields end
  local time = ether.now()
  if layers.arp then
    layers.arp.frame = layers.ethernet
    table.insert(self.arps, layers.arp)
    if self.on.ARP then self.on.ARP(layers.arp) end
  elseif layers.dhcp4 then
    local message = layers.dhcp4
    message.frame, message.packet, message.time = layers.ethernet, layers.ipv4, time
    table.insert(self.messages, message)
    local answer = self.on[message.options.message_type]
    local fields = answer and answer(message, self:count(message.options.message_type))
    if fields then self:reply(message, fields) end
  end
end

-- The messages of this kind.
function Server:heard(kind)
  local list = {}
  for _, message in ipairs(self.messages) do
    if message.options.message_type == kind then list[#list + 1] = message end
  end
  return list
end

function Server:count(kind)
  return #self:heard(kind)
end

-- A server on the relay; `on` replaces what it does by default, which is to lease 10.0.0.10; false: it stays silent.
function M.serve(relay, on)
  local self = setmetatable({ conn = relay:default_conn(), messages = {}, arps = {}, on = {
    DISCOVER = function(message) return M.reply_to(message, "OFFER") end,
    REQUEST = function(message) return M.reply_to(message, "ACK") end,
  } }, Server)
  for kind, answer in pairs(on or {}) do self.on[kind] = answer end
  sched.spawn_background(function()
    while true do
      local frame = self.conn:recv_frame()
      if not frame then return end
      self:hear(tostring(frame))
    end
  end)
  return self
end

-- fn(relay, server, conn) as a task: the client's relay, the server on the other one, an EtherConn with MAC.
function M.on_wire(on, fn, wire_opts)
  return function()
    kinds.run_apart(function()
      sched.spawn_background(function()
        ether.sleep(60)
        error("still not done after a minute")
      end)
      local relay, far = ether.wire(wire_opts)
      fn(relay, M.serve(far, on), relay:conn { mac = M.MAC })
    end)
  end
end

function M.lease(conn, opts)
  local all = { first_timeout = 0.5, decline_pause = 0.01 }
  for name, value in pairs(opts or {}) do all[name] = value end
  return dhcp4_client.lease(conn, all)
end

return M
