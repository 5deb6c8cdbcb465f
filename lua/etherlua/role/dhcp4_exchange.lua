-- role/dhcp4_exchange.lua: how a DHCP client (RFC 2131) talks: its messages, sent until a reply comes that is for it.
--
-- Replies to the client's own MAC address arrive at its own RUDPConn; those that a server broadcasts are read once for
-- all clients of a relay and VLAN stack, and handed to the one whose hardware address they carry. What is of no use is
-- counted with the reason, so that a client can say why it heard nothing.

local addr = require "etherlua.net.addr"
local broadcast = require "etherlua.host.broadcast"
local channel = require "etherlua.core.channel"
local dhcp4 = require "etherlua.proto.dhcp4"
local group = require "etherlua.net.group"
local numbers = require "etherlua.net.numbers"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"
local tally = require "etherlua.core.tally"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

M.SERVERS = addr.addr(group.BROADCAST4 .. ":67")
local ANY = "0.0.0.0"

-- Routes of 121 in front of routers, which it replaces (RFC 3442), and static routes.
local PARAMETERS = { 1, 121, 249, 3, 33, 6, 12, 15, 28, 42, 51, 58, 59 }

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

-- What a client waits for.
---@class etherlua.dhcp4_wanted
---@field kinds table<string, true> message types
---@field server? string identifier of the only server that counts
---@field mac? string that its messages come from, for those that do not name it
---@field ip? string the only address that counts

local function is_of(wanted, kind, server, mac)
  if server then return server == wanted.server end
  return kind ~= "NAK" or mac == wanted.mac
end

-- Why a reply is of no use to the client; nil: it is.
local function fault(reply, mac, wanted)
  local kind, server, ip = reply.options.message_type, reply.options.server_id, reply.yiaddr
  if kind == "OFFER" and not server then return "OFFER without a server identifier" end
  if wanted.server and not is_of(wanted, kind, server, mac) then
    return ("%s of %s instead of server %s"):format(kind, server or mac, wanted.server)
  end
  if kind == "NAK" then return nil end
  local why = group.no_host(ip)
  if why then return ("%s of %s, which no host can have (%s)"):format(kind, ip, why) end
  if wanted.ip and ip ~= wanted.ip then return ("%s of %s instead of %s"):format(kind, ip, wanted.ip) end
end

local function is_awaited(client, reply, wanted)
  return reply.op == 2 and reply.xid == client.xid and reply.chaddr == client.mac and
    wanted.kinds[reply.options.message_type]
end

-- The reply if it is for this client and what it waits for; others are counted.
local function accept(client, message, mac, wanted)
  local reply, why = dhcp4.parse(message)
  if not reply then
    client.unused:note(("not understood (%s)"):format(why))
  elseif is_awaited(client, reply, wanted) then
    why = fault(reply, mac, wanted)
    if not why then return reply end
    client.unused:note(why)
  end
  client.ignored = client.ignored + 1
end

-- Why there is nothing, and what there was instead.
---@param client table
---@param reason string
---@return string
function M.why(client, reason)
  local count = client.unused.count
  if count == 0 then return reason end
  return ("%s, but %d repl%s of no use: %s"):format(reason, count, count == 1 and "y" or "ies", client.unused:text())
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

local function wait_reply(client, wanted, deadline)
  while true do
    local message, mac = next_message(client, deadline)
    if not message then return nil, mac end
    local reply = accept(client, message, mac, wanted)
    if reply then return reply, mac end
  end
end

-- Sends until a reply comes: pauses() gives the seconds to wait after each transmission, nil to give up.
---@param client table
---@param send fun(): true|nil, string|nil
---@param wanted etherlua.dhcp4_wanted
---@param pauses fun(): number|nil
---@return table|nil reply
---@return string mac that it came from, or the reason why there is none
function M.exchange(client, send, wanted, pauses)
  while true do
    local pause = pauses()
    if not pause then return nil, "timeout" end
    client.sent_at = sched.now()
    local sent, reason = send()
    if not sent then return nil, reason end
    client.transmissions = client.transmissions + 1
    local reply, mac = wait_reply(client, wanted, sched.now() + pause)
    if reply then return reply, mac end
    if mac ~= "timeout" then return nil, mac end
  end
end

-- What is of no use is counted anew.
---@param client table
function M.begin(client)
  client.unused = tally.new()
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
  M.begin(client)
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
