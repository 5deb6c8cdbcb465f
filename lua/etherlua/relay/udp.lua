-- relay/udp.lua: RUDPConn, a UDP endpoint with an IP address and port of its own on an EtherConn. An object is the
-- engine's struct el_udp; conn:udp() makes it, close() ends it. It keeps no routes: a destination's MAC address is what
-- opts.resolve says. What does not fit the MTU is refused unless the EtherConn was opened with `fragment`.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local addr = require "etherlua.net.addr"
local endpoint = require "etherlua.relay.endpoint"
local errno = require "etherlua.core.errno"
local frames = require "etherlua.relay.frame"
local group = require "etherlua.net.group"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local sched = require "etherlua.core.sched"

local C = effi.C
local tick, to_addr, objects, take = sched.tick, addr.addr, endpoint.objects, endpoint.take
local is_group = group.is_group

local M = {}

local addr_t = ffi.typeof("struct el_addr")
local udp_pointer_t = ffi.typeof("struct el_udp *")
local shared_opts = ffi.new("struct el_udp_opts") -- for one opening after the other
local by_conn = ffi.offsetof("struct el_udp", "by_conn")
local err = ffi.new("char[?]", C.EL_ERR_MAX)

-- RUDPConn: see conn:udp.
---@class etherlua.udp: etherlua.endpoint
local methods = {}
for name, method in pairs(endpoint.methods) do methods[name] = method end

-- ---- opening and closing ------------------------------------------------------------------------------------------

local next_hops = {} -- id -> what finds the MAC address of a destination, of those that do not broadcast

-- The defaults are in brackets.
---@class etherlua.udp_opts
---@field accept_any? boolean receive all UDP of the EtherConn that no other RUDPConn claims (false)
---@field ttl? integer or hop limit (64)
---@field tos? integer or traffic class (0)
---@field checksum? boolean false: IPv4 datagrams are sent without (true)
---@field resolve? "broadcast"|"arp"|function|etherlua.host destination to MAC address. "arp": ARP or neighbour
---  discovery, cached, which answers for its own address too; a function gets the IP address as text and returns the
---  MAC address, or nil and a reason; a host asks as it does for itself ("broadcast")
---@field recv_depth? integer frames that it queues (the relay's)
local OPTIONS = options.new("conn:udp", {
  accept_any = options.boolean(), ttl = options.whole(0, 255), tos = options.whole(0, 255),
  checksum = options.boolean(), resolve = options.any(), recv_depth = options.whole(1),
})

-- Who finds next hops is above: see host/resolver.lua.
local function resolver(conn, address, resolve)
  if resolve == nil or resolve == "broadcast" then return nil end
  return require("etherlua.host.resolver").new(conn, address, resolve)
end

local function release(id)
  local hops = next_hops[id]
  next_hops[id] = nil
  if hops and hops.release then hops.release() end
end

---@param conn etherlua.conn
---@param address string|etherlua.addr
---@param given etherlua.udp_opts
---@return etherlua.udp
function M.open(conn, address, given)
  OPTIONS:check(given)
  local opts, own = shared_opts, to_addr(address)
  ffi.fill(opts, ffi.sizeof(opts))
  opts["local"] = own
  opts.accept_any = given.accept_any and 1 or 0
  opts.ttl, opts.tos = given.ttl or 64, given.tos or 0
  opts.no_checksum = given.checksum == false and 1 or 0
  opts.recv_depth = given.recv_depth or 0
  local hops = resolver(conn, own, given.resolve)
  local id = endpoint.new_id()
  opts.id = id
  local udp = C.el_udp_open(conn, opts, err)
  next_hops[id] = hops
  if udp == nil then
    endpoint.retire(id)
    release(id)
    misuse.raise("%s", ffi.string(err))
  end
  objects[id] = udp
  return udp
end

-- The RUDPConn whose membership in its EtherConn's list this is.
function M.of_node(node)
  return objects[ffi.cast(udp_pointer_t, ffi.cast("char *", node) - by_conn).ep.id]
end

-- Readers return nil, "closed".
function methods:close()
  if not self:is_open() then return end
  local id = self.ep.id
  endpoint.closing(id)
  release(id)
  C.el_udp_close(self)
  endpoint.retire(id, C.el_udp_free)
end

-- The EtherConn that it is on.
---@return etherlua.conn
function methods:conn()
  endpoint.check_open(self)
  return objects[self.owner.ep.id]
end

-- The address that it sends from and receives at.
---@return etherlua.addr a copy
function methods:addr()
  return addr_t(self["local"])
end

-- Gives it another address, such as the one that was just leased.
---@param address string|etherlua.addr
function methods:set_addr(address)
  local own = to_addr(address)
  local code = C.el_udp_rebind(self, own)
  if code ~= 0 then misuse.raise("cannot use address %s: %s", tostring(address), errno.reason(code)) end
  local hops = next_hops[self.ep.id]
  if hops and hops.moved then hops.moved(own) end
end

-- From now on send() needs no destination, and only what comes from there is received.
---@param to? string|etherlua.addr nil: from everybody again
function methods:connect(to)
  endpoint.check_open(self)
  self.peer = to and to_addr(to) or addr_t()
end

-- ---- receiving ----------------------------------------------------------------------------------------------------

local function datagram(frame)
  local payload, from = ffi.string(frame.data + frame.payload, frame.payload_len), frames.source(frame)
  C.el_frame_free(frame)
  return payload, from
end

-- The payload of one datagram.
---@param timeout? number seconds; 0 only looks
---@return string|nil payload
---@return etherlua.addr|string from the sender's address (a constant), or the reason "timeout" or "closed"
function methods:recv(timeout)
  return take(self, timeout, C.el_recv, datagram)
end

-- ---- sending ------------------------------------------------------------------------------------------------------

local function words_for(udp, len, to)
  return function(reason)
    if reason == "too long" and len == 0 then return "the headers of a datagram alone do not fit a packet" end
    if reason == "too long" then
      return ("payload of %d bytes does not fit: up to %d are allowed"):format(len, C.el_udp_mtu(udp, to.version))
    end
    return ("cannot send %d bytes to %s: %s"):format(len, tostring(to), reason)
  end
end

-- A function of its own (JIT 2), for it makes a closure (JIT 3).
local function send_again(code, udp, payload, len, to, from, mac, opts)
  local function try() return C.el_udp_send(udp, payload, len, to, from, mac) end
  return endpoint.send_slowly(code, try, words_for(udp, len, to), opts and opts.timeout)
end

---@class etherlua.udp_send_opts
---@field from? string|etherlua.addr source address instead of its own
---@field mac? string|etherlua.mac destination MAC address, instead of resolving
---@field timeout? number seconds to wait for room in a full relay (for ever)
local SEND_OPTIONS = options.new("udp:send", {
  from = options.any(), mac = options.any(), timeout = options.seconds(),
})

local checked -- the options of the last send, which need not be looked at again

-- What needs more than the one call of the hot path (JIT 2): a resolver, a source address, a full relay.
local function send_with(udp, payload, len, to, hops, opts)
  if opts and opts ~= checked then
    SEND_OPTIONS:check(opts)
    checked = opts
  end
  local from, mac = opts and opts.from and to_addr(opts.from) or nil, opts and opts.mac
  if not mac and hops and not is_group(to) then
    local found, reason = hops.find(to)
    if not found then return nil, reason or "unresolved" end
    mac = found
  end
  mac = mac and addr.mac(mac) or nil
  local code = C.el_udp_send(udp, payload, len, to, from, mac)
  if code == 0 then return true end
  return send_again(code, udp, payload, len, to, from, mac, opts)
end

local function send(udp, payload, len, to, opts)
  to = to and to_addr(to) or udp.peer
  if to.version == 0 then misuse.raise("no destination: give one, or connect() first") end
  local hops = next_hops[udp.ep.id]
  if hops or opts then return send_with(udp, payload, len, to, hops, opts) end
  local code = C.el_udp_send(udp, payload, len, to, nil, nil)
  if code == 0 then return true end
  return send_again(code, udp, payload, len, to)
end

-- Sends one datagram. Blocks only while the relay is full or the next hop is being resolved.
---@param payload string|ffi.cdata* a string, or a pointer followed by the length: send(pointer, length, to, opts)
---@param to? string|etherlua.addr "10.0.0.1:67" or an ether.addr; nil: where it is connected to
---@param opts? etherlua.udp_send_opts
---@param last? etherlua.udp_send_opts opts, behind a pointer and a length
---@return true|nil
---@return string|nil reason "link down", "interface gone", "full", or the resolver's
function methods:send(payload, to, opts, last)
  tick()
  if type(payload) == "string" then return send(self, payload, #payload, to, opts) end
  return send(self, payload, to, opts, last)
end

effi.metatype("struct el_udp", {
  __index = endpoint.strict(methods, "a RUDPConn"),
  __tostring = function(udp) return "RUDPConn " .. tostring(udp["local"]) end,
})

return M
