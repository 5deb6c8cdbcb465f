-- role/dhcp4_exchange.lua: how a DHCP client (RFC 2131) talks: its messages, sent until a reply comes that is for it.
--
-- Replies to the client's own MAC address arrive at its own RUDPConn; those that a server broadcasts are read once for
-- all clients of a relay and VLAN stack, and handed to the one whose hardware address they carry.

local addr = require "etherlua.net.addr"
local broadcast = require "etherlua.host.broadcast"
local channel = require "etherlua.core.channel"
local dhcp4 = require "etherlua.proto.dhcp4"
local group = require "etherlua.net.group"
local numbers = require "etherlua.net.numbers"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

M.SERVERS = addr.addr(group.BROADCAST4 .. ":67")
local ANY = "0.0.0.0"
local PARAMETERS = { 1, 3, 6, 12, 15, 28, 42, 51, 58, 59 }

-- RFC 2131 4.1: the first retransmission after 4 s, then twice as long each time up to 64 s, each +- 1 s at random.
M.FIRST_TIMEOUT = 4
local MAX_TIMEOUT, JITTER = 64, 1

-- ---- replies to everybody -----------------------------------------------------------------------------------------

local function read_broadcasts(listener)
  for frame in listener.udp:frames() do
    local message = frame.body
    local client = #message >= 34 and listener.clients[message:sub(29, 34)]
    if client then client.mailbox:send({ message, frame.src_mac }, 0) end
  end
end

local listener_of = broadcast.readers(numbers.ethertype.IPV4, function(conn)
  return { udp = conn:udp(ANY .. ":68"), clients = {} }
end, read_broadcasts)

-- ---- one exchange -------------------------------------------------------------------------------------------------

-- What a DECLINE and a RELEASE may carry of the user's options (RFC 2131 table 5; RFC 3046 for the relay agent's).
local ALWAYS = { client_id = true, [61] = true, relay_agent = true, [82] = true }

-- A message of the client.
---@param client table
---@param kind string such as "DISCOVER"
---@param fields table
---@param sent table options besides those of the user
---@return string
function M.message(client, kind, fields, sent)
  local asks = kind == "DISCOVER" or kind == "REQUEST"
  for name, value in pairs(client.opts.options or {}) do
    if sent[name] == nil and (asks or ALWAYS[name]) then sent[name] = value end
  end
  sent.message_type = kind
  if asks then
    sent.parameter_request_list = sent.parameter_request_list or PARAMETERS
    sent.max_message_size = sent.max_message_size or 1500
  end
  fields.op, fields.xid, fields.chaddr, fields.options = 1, client.xid, client.mac, sent
  fields.broadcast = client.opts.broadcast
  return dhcp4.build(fields)
end

-- An offer that does not say of whom, or no address at all, is of no use.
local function is_complete(reply)
  local kind = reply.options.message_type
  return kind == "NAK" or reply.yiaddr ~= ANY and (kind ~= "OFFER" or reply.options.server_id)
end

-- Whether the reply is for this client and of a kind that it waits for.
local function accept(client, message, kinds)
  local reply = dhcp4.parse(message)
  if not reply or reply.op ~= 2 or reply.xid ~= client.xid or reply.chaddr ~= client.mac or
    not kinds[reply.options.message_type] or not is_complete(reply) then
    client.ignored = client.ignored + 1
    return nil
  end
  return reply
end

-- The next message of either way in, with the MAC address that it came from. The frame goes back to the pool at once:
-- a host that waits for T1 has to hold none of it.
local function next_message(client, deadline)
  local source, reason = select.wait { client.udp, client.mailbox, timeout = math.max(0, deadline - sched.now()) }
  if not source then return nil, reason end
  if client.closed or not client.udp:is_open() then return nil, "closed" end
  if source == client.mailbox then return unpack(source:recv()) end
  local frame, why = client.udp:recv_frame(0)
  if not frame then return nil, why end
  local message, mac = frame.body, frame.src_mac
  frame:release()
  return message, mac
end

local function wait_reply(client, kinds, deadline)
  while true do
    local message, mac = next_message(client, deadline)
    if not message then return nil, mac end
    local reply = accept(client, message, kinds)
    if reply then return reply, mac end
  end
end

-- Sends until a reply comes: pauses() gives the seconds to wait after each transmission, nil to give up.
---@param client table
---@param send fun(): true|nil, string|nil
---@param kinds table<string, true> of replies that are waited for
---@param pauses fun(): number|nil
---@return table|nil reply
---@return string mac that it came from, or the reason why there is none
function M.exchange(client, send, kinds, pauses)
  while true do
    local pause = pauses()
    if not pause then return nil, "timeout" end
    client.sent_at = sched.now()
    local sent, reason = send()
    if not sent then return nil, reason end
    client.transmissions = client.transmissions + 1
    local reply, mac = wait_reply(client, kinds, sched.now() + pause)
    if reply then return reply, mac end
    if mac ~= "timeout" then return nil, mac end
  end
end

-- For exchange(): the pauses of RFC 2131 4.1.
---@param opts etherlua.dhcp4_client_opts
---@return fun(): number|nil
function M.back_off(opts)
  local pause, left = opts.timeout, opts.tries
  return function()
    if left == 0 then return nil end
    left = left - 1
    local now = pause
    pause = math.min(pause * 2, MAX_TIMEOUT)
    return math.max(now / 2, now + random.between(-JITTER, JITTER) * math.min(1, now / M.FIRST_TIMEOUT))
  end
end

-- Blocks so long, whatever is broadcast meanwhile.
---@param client table
---@param seconds number
---@return boolean over false: it was closed before
function M.sleep(client, seconds)
  local deadline = sched.now() + seconds
  while not client.closed and select.wait { client.mailbox, timeout = math.max(0, deadline - sched.now()) } do
    if client.mailbox:recv(0) then client.ignored = client.ignored + 1 end
  end
  return not client.closed
end

-- ---- beginning and end --------------------------------------------------------------------------------------------

-- Opens what the client hears by.
---@param client table
function M.open(client)
  client.mailbox, client.chaddr = channel.new(16), addr.mac_bytes(client.mac)
  client.listener = listener_of(client.conn:relay(), vlan_stack.new(client.conn.vlans))
  client.listener.clients[client.chaddr] = client
  client.udp = client.conn:udp(ANY .. ":68")
end

-- Whoever waits for a reply hears that there is none.
---@param client table
function M.close(client)
  if client.listener.clients[client.chaddr] == client then client.listener.clients[client.chaddr] = nil end
  client.udp:close()
  client.mailbox:close()
end

return M
