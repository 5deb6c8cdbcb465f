-- relay/conn.lua: EtherConn, an Ethernet endpoint with a MAC address, VLAN stack and EtherTypes of its own. An object
-- is the engine's struct el_conn; relay.lua makes it, close() ends it.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local addr = require "etherlua.net.addr"
local composed = require "etherlua.relay.composed"
local endpoint = require "etherlua.relay.endpoint"
local frames = require "etherlua.relay.frame"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local ranks = require "etherlua.ranks"
local sched = require "etherlua.core.sched"
local udp = require "etherlua.relay.udp"
local vlan_stack = require "etherlua.net.vlan_stack"

local C = effi.C
local tick, to_mac, objects = sched.tick, addr.mac, endpoint.objects

local M = {}

local MULTICAST = { [false] = C.EL_MULTICAST_NONE, [true] = C.EL_MULTICAST_OWN, all = C.EL_MULTICAST_ALL }
local DEFAULT_ETHERTYPES = ffi.new("uint16_t[3]", numbers.ethertype.IPV4, numbers.ethertype.IPV6,
  numbers.ethertype.ARP)

local shared_opts = ffi.new("struct el_conn_opts") -- for one opening after the other (JIT 5, JIT 6)
local send_opts_t = ffi.typeof("struct el_send_opts")
local err = ffi.new("char[?]", C.EL_ERR_MAX)

-- EtherConn: see relay:conn.
---@class etherlua.conn: etherlua.endpoint
---@field mac etherlua.mac its own
---@field vlans etherlua.vlans its own
local methods = {}
for name, method in pairs(endpoint.methods) do methods[name] = method end

-- ---- opening and closing ------------------------------------------------------------------------------------------

-- The defaults are in brackets.
---@class etherlua.conn_opts
---@field mac? string|etherlua.mac (the interface's)
---@field vlans? integer|string|table|etherlua.vlans 100, "100.200", {100, 200} or {{vid=100, tpid=0x88a8, pcp=5}, 200},
---  outer tag first, up to 4 (none). Tags of VID 0 are no VLAN: it also receives frames that have such besides, unless
---  an EtherConn with the very tags does
---@field ethertypes? integer[] that it receives; {} all (IPv4, IPv6, ARP)
---@field multicast? boolean|"all" true: frames to a group address on its own VLAN stack and EtherTypes; "all": on any
---  VLAN stack (false)
---@field recv_depth? integer frames that it queues (the relay's)
---@field fragment? boolean IP packets and datagrams that do not fit the MTU are sent in fragments (false)
---@field reassemble? boolean fragments that arrive for it are put together, which takes up to 30 s of waiting for the
---  missing ones over IPv4 and 60 s over IPv6, and its readers get whole packets (false)
M.OPTIONS = options.new("relay:conn", {
  mac = options.any(), vlans = options.any(), recv_depth = options.whole(1), fragment = options.boolean(),
  ethertypes = options.of_type("a list of EtherTypes is needed", "table"),
  multicast = options.one_of { false, true, "all" }, reassemble = options.boolean(),
})

local DEFAULT_OPTIONS = options.new("relay:default_conn", {
  mirror = options.boolean(), invalid = options.boolean(), recv_depth = options.whole(1),
})

---@param value any
---@param where? string such as " in steer"
---@return integer value raises for what is no EtherType
function M.check_ethertype(value, where)
  if type(value) == "number" and value >= 0x0600 and value <= 0xffff then return value end
  misuse.raise("bad EtherType %s%s: 0x0600 to 0xffff is allowed", tostring(value), where or "")
end

local function check_count(ethertypes)
  if #ethertypes > C.EL_ETHERTYPES_MAX then
    misuse.raise("%d EtherTypes given, at most %d are allowed", #ethertypes, C.EL_ETHERTYPES_MAX)
  end
end

-- From the i-th on. No loop (JIT 1).
local function set_ethertypes(opts, ethertypes, i)
  local ethertype = ethertypes[i]
  if ethertype == nil then return end
  opts.ethertypes[i - 1] = M.check_ethertype(ethertype)
  return set_ethertypes(opts, ethertypes, i + 1)
end

local function new_opts()
  ffi.fill(shared_opts, ffi.sizeof(shared_opts))
  return shared_opts
end

local function set_fragments(opts, fragment, reassemble)
  opts.fragment, opts.reassemble = fragment and 1 or 0, reassemble and 1 or 0
end

-- The struct for the engine from the table that a user gives to relay:conn or relay:default_conn.
local function open(relay, opts)
  opts.id = endpoint.new_id()
  local conn = C.el_conn_open(relay.handle, opts, err)
  if conn == nil then
    endpoint.retire(opts.id)
    misuse.raise("%s", ffi.string(err))
  end
  objects[opts.id] = conn
  return conn
end

-- Where there are several ranks, each endpoint is one's; group addresses are everybody's.
local function tell_ranks(conn, change)
  local place = conn:relay().place
  if not place or conn.is_default ~= 0 or conn.mac.byte[0] % 2 == 1 then return end
  local stack = conn.vlans.count > 0 and " in VLAN " .. tostring(conn.vlans) or ""
  ranks.claim(("%s%s on %s"):format(conn.mac, stack, place), change)
end

---@param relay etherlua.relay that it is opened on
---@param given etherlua.conn_opts
---@return etherlua.conn
function M.open(relay, given)
  M.OPTIONS:check(given)
  local opts = new_opts()
  addr.copy_mac(opts.mac, given.mac or relay.mac)
  if given.ethertypes then
    check_count(given.ethertypes)
    set_ethertypes(opts, given.ethertypes, 1)
  else
    ffi.copy(opts.ethertypes, DEFAULT_ETHERTYPES, ffi.sizeof(DEFAULT_ETHERTYPES)) -- no loop (JIT 1)
  end
  opts.multicast = MULTICAST[given.multicast or false]
  opts.vlans = vlan_stack.new(given.vlans)
  opts.recv_depth = given.recv_depth or 0
  set_fragments(opts, given.fragment, given.reassemble)
  local conn = open(relay, opts)
  if ranks.size > 1 then tell_ranks(conn, 1) end
  return conn
end

---@param relay etherlua.relay
---@param given table { mirror = boolean, invalid = boolean, recv_depth = }
---@param like_host? boolean it gets packets whole, and sends what does not fit the MTU in fragments
---@return etherlua.conn that receives what no other endpoint wants
function M.open_default(relay, given, like_host)
  DEFAULT_OPTIONS:check(given)
  local opts = new_opts()
  opts.mac = to_mac(relay.mac)
  opts.is_default = 1
  opts.mirror = given.mirror and 1 or 0
  opts.invalid = given.invalid and 1 or 0
  opts.recv_depth = given.recv_depth or 0
  set_fragments(opts, like_host, like_host)
  return open(relay, opts)
end

local function close_udps(conn)
  if conn.udps == nil then return end
  udp.of_node(conn.udps):close()
  return close_udps(conn)
end

-- Closes it and its RUDPConns; readers return nil, "closed".
function methods:close()
  if not self:is_open() then return end
  local id = self.ep.id
  if ranks.size > 1 then tell_ranks(self, -1) end
  endpoint.closing(id)
  close_udps(self)
  C.el_conn_close(self)
  endpoint.retire(id, C.el_conn_free)
end

-- ---- receiving ----------------------------------------------------------------------------------------------------

local function payload_of(frame)
  local fields = frames.fields
  local from = { mac = fields.src_mac(frame), vlans = fields.vlans(frame), ethertype = frame.ethertype }
  local payload = ffi.string(frame.data + frame.payload, frame.payload_len)
  C.el_frame_free(frame)
  return payload, from
end

-- Where an Ethernet payload came from.
---@class etherlua.from
---@field mac string
---@field vlans etherlua.vlans
---@field ethertype integer behind the last tag

-- One Ethernet payload; of IP packets without the padding behind them.
---@param timeout? number seconds; 0 only looks
---@return string|nil payload
---@return etherlua.from|string from, or the reason "timeout" or "closed"
function methods:recv(timeout)
  return endpoint.take(self, timeout, C.el_recv, payload_of)
end

-- ---- sending ------------------------------------------------------------------------------------------------------

-- What else an EtherConn that fragments may send.
local function in_fragments(conn)
  return (", of IPv4 without DF up to %d, of IPv6 up to %d, in packets as long as they say"):format(
    C.el_conn_ip_mtu(conn, 4), C.el_conn_ip_mtu(conn, 6))
end

-- What routers say about the link.
local function limited(conn)
  return (", of IPv6 %d as the routers say"):format(C.el_conn_packet_mtu(conn, 6))
end

-- The words for a send that the caller got wrong. Made only then (JIT 2, JIT 5).
local function words_for(conn, len, opts)
  return function(reason)
    if reason == "too long" then
      return ("payload of %d bytes does not fit: up to %d are allowed%s%s%s"):format(len, C.el_conn_mtu(conn),
        opts and opts.vlans and " (less with more tags)" or "", conn.ip6_mtu ~= 0 and limited(conn) or "",
        conn.fragment ~= 0 and in_fragments(conn) or "")
    end
    return ("cannot send %d bytes: %s (give opts.ethertype for what is not IP)"):format(len, reason)
  end
end

---@class etherlua.conn_send_opts
---@field ethertype? integer (by the IP version of the payload)
---@field src_mac? string|etherlua.mac instead of its own
---@field vlans? integer|string|table|etherlua.vlans instead of its own
---@field timeout? number seconds to wait for room in a full relay (for ever)
local SEND_OPTIONS = options.new("conn:send", {
  ethertype = options.whole(0, 0xffff), src_mac = options.any(), vlans = options.any(), timeout = options.seconds(),
})

local function send_opts(opts)
  local out = send_opts_t()
  if opts.src_mac then out.src_mac, out.has_src_mac = to_mac(opts.src_mac), 1 end
  if opts.vlans then out.vlans, out.has_vlans = vlan_stack.new(opts.vlans), 1 end
  return out
end

-- A function of its own (JIT 2), for it makes a closure (JIT 3).
local function send_again(code, conn, payload, len, mac, ethertype, special, opts)
  local function try() return C.el_conn_send(conn, payload, len, mac, ethertype, special) end
  return endpoint.send_slowly(code, try, words_for(conn, len, opts), opts and opts.timeout)
end

-- A function of its own: composed packets are not for the hot path.
local function send_packet(conn, packet, dst, opts)
  if opts then SEND_OPTIONS:check(opts) end
  return composed.send(conn, packet, dst, opts or {})
end

local function no_destination()
  misuse.raise "no destination: give a MAC address, such as \"02:00:00:11:22:33\", behind the payload"
end

local checked -- the options of the last send, which need not be looked at again

local function send(conn, payload, len, dst, opts)
  if not dst then no_destination() end
  local mac, ethertype, special = to_mac(dst), 0, nil
  if opts then
    if opts ~= checked then SEND_OPTIONS:check(opts) end
    checked = opts
    ethertype = opts.ethertype or 0
    if opts.src_mac or opts.vlans then special = send_opts(opts) end
  end
  local code = C.el_conn_send(conn, payload, len, mac, ethertype, special)
  if code == 0 then return true end
  return send_again(code, conn, payload, len, mac, ethertype, special, opts)
end

-- Sends one Ethernet payload. Blocks only while the relay is full. An EtherConn that fragments sends an IP packet that
-- does not fit the MTU as fragments, all of them or none; not one with DF.
--
-- A composed packet may begin with ether, arp, ip4 or ip6. What it leaves out is filled in: MAC addresses, VLANs, a
-- source port. It needs no dst when it has one, or goes to a group or, ARP, to all.
---@param payload string|ffi.cdata*|etherlua.packet a string, or a pointer followed by the length: send(pointer, length,
---  dst, opts)
---@param dst string|etherlua.mac destination MAC address
---@param opts? etherlua.conn_send_opts
---@param last? etherlua.conn_send_opts opts, behind a pointer and a length
---@return true|nil
---@return string|nil reason "link down", "interface gone", "full"
function methods:send(payload, dst, opts, last)
  tick()
  local kind = type(payload)
  if kind == "string" then return send(self, payload, #payload, dst, opts) end
  if kind ~= "cdata" then return send_packet(self, payload, dst, opts) end
  return send(self, payload, dst, opts, last)
end

-- The relay that it is on.
---@return etherlua.relay
function methods:relay()
  endpoint.check_open(self)
  return endpoint.relay_of(self.ep)
end

-- A RUDPConn on this EtherConn, which may have any number.
---@param address string|etherlua.addr "10.0.0.1:67"; 0.0.0.0 or :: receives what is sent to the port at any address
---@param opts? etherlua.udp_opts
---@return etherlua.udp
function methods:udp(address, opts)
  return udp.open(self, address, opts or {})
end

-- ---- answering ----------------------------------------------------------------------------------------------------

---@class etherlua.responder_opts
---@field match? table|function|string which frames it answers: decoded fields such as { arp = { tpa = "10.0.0.2" } }, a
---  function of the packet, or a Lua pattern for its line or payload (all)
---@field reply etherlua.packet|string|table|function a packet, a payload, a list of them, or a function of the packet
---  that returns one, or nil for none

-- Answers frames in the background, until it or the EtherConn is closed. What the reply leaves out is the request's,
-- turned around: addresses, ports, the type and number of an echo. It may begin at any layer; a text is the payload
-- behind the request's headers. Of several responders the first that matches answers.
--
-- It is the EtherConn's reader: nobody else reads meanwhile, and what matches none is dropped. An error in a function,
-- or a reply that cannot be made, is counted in .failed and kept in .last_error; the first is printed on standard
-- error. The responder goes on, and a run does not wait for it: responder:join() does.
---@param opts etherlua.responder_opts
---@return etherlua.responder
function methods:answer(opts)
  return require("etherlua.ask.responder").new(self, opts)
end

effi.metatype("struct el_conn", {
  __index = endpoint.strict(methods, "an EtherConn", { "mac", "vlans" }),
  __tostring = function(conn)
    return ("EtherConn %s%s%s"):format(tostring(conn.mac), conn.vlans.count > 0 and " vlan " or "",
      tostring(conn.vlans))
  end,
})

return M
