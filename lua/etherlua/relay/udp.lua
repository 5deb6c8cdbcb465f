-- relay/udp.lua: RUDPConn, a UDP endpoint with an IP address and port of its own on an EtherConn. An object is the
-- engine's struct el_udp; conn:udp() makes it, close() ends it. It keeps no routes: a destination's MAC address is what
-- opts.resolve says. What does not fit the MTU is refused unless the EtherConn was opened with `fragment`.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local addr = require "etherlua.net.addr"
local endpoint = require "etherlua.relay.endpoint"
local group = require "etherlua.net.group"
local sched = require "etherlua.core.sched"

local C = effi.C
local tick, to_addr, objects, extras = sched.tick, addr.addr, endpoint.objects, endpoint.extras
local take = endpoint.take
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

-- What finds the destination's MAC address: nil (broadcast), a function from struct el_addr to MAC address, which may
-- block, and a function that ends what was begun for the address.
---@private
function M.resolver(conn, address, resolve)
  if resolve == nil or resolve == "broadcast" then return nil end
  if type(resolve) == "function" then
    return function(to) return resolve(to.ip_text) end
  end
  if resolve == "arp" then return require("etherlua.host.neighbour").of(conn):resolver(address) end
  if type(resolve) == "table" and resolve.next_hop then -- a host
    return function(to) return resolve:next_hop(to) end
  end
  error(('bad resolve %s: "broadcast", "arp" or a function is allowed'):format(tostring(resolve)), 0)
end

local function check_byte(name, value, default)
  if value == nil then return default end
  if type(value) ~= "number" or value < 0 or value > 255 then
    error(("bad %s %s: 0 to 255 is allowed"):format(name, tostring(value)), 0)
  end
  return value
end

-- The defaults are in brackets.
---@class etherlua.udp_opts
---@field accept_any? boolean receive all UDP of the EtherConn that no other RUDPConn claims (false)
---@field ttl? integer or hop limit (64)
---@field tos? integer or traffic class (0)
---@field checksum? boolean false: IPv4 datagrams are sent without (true)
---@field resolve? "broadcast"|"arp"|function destination to MAC address. "arp": ARP or neighbour discovery,
---  cached, which answers for its own address too; a function gets the IP address as text and returns the MAC address,
---  or nil and a reason ("broadcast")
---@field recv_depth? integer frames that it queues (the relay's)

---@param conn etherlua.conn
---@param address string|etherlua.addr
---@param given etherlua.udp_opts
---@return etherlua.udp
function M.open(conn, address, given)
  local opts = shared_opts
  ffi.fill(opts, ffi.sizeof(opts))
  opts["local"] = to_addr(address)
  opts.accept_any = given.accept_any and 1 or 0
  opts.ttl, opts.tos = check_byte("ttl", given.ttl, 64), check_byte("tos", given.tos, 0)
  opts.no_checksum = given.checksum == false and 1 or 0
  opts.recv_depth = given.recv_depth or 0
  local next_hop, release = M.resolver(conn, to_addr(address), given.resolve)
  local id = endpoint.new_id()
  opts.id = id
  local udp = C.el_udp_open(conn, opts, err)
  if udp == nil then
    endpoint.retire(id)
    if release then release() end
    error(ffi.string(err), 0)
  end
  objects[id] = udp
  if next_hop then extras[id] = { next_hop = next_hop, release = release } end
  return udp
end

-- The RUDPConn whose membership in its EtherConn's list this is.
function M.of_node(node)
  return objects[ffi.cast(udp_pointer_t, ffi.cast("char *", node) - by_conn).ep.id]
end

-- Readers return nil, "closed".
function methods:close()
  if self.ep.relay == nil then return end
  local id = self.ep.id
  local extra = extras[id]
  if extra and extra.release then extra.release() end
  C.el_udp_close(self)
  endpoint.retire(id, C.el_udp_free)
end

-- The EtherConn that it is on.
---@return etherlua.conn
function methods:conn()
  if self.owner == nil then error("this endpoint is closed", 2) end
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
  local code = C.el_udp_rebind(self, to_addr(address))
  if code ~= 0 then error(("cannot use address %s: %s"):format(tostring(address), effi.reason(code)), 2) end
  local extra = extras[self.ep.id]
  if extra and extra.release then
    extra.release()
    extra.next_hop, extra.release = M.resolver(self:conn(), self["local"], "arp")
  end
end

-- From now on send() needs no destination, and only what comes from there is received.
---@param to? string|etherlua.addr nil: from everybody again
function methods:connect(to)
  if self.ep.relay == nil then error("this endpoint is closed", 2) end
  self.peer = to and to_addr(to) or addr_t()
end

-- ---- receiving ----------------------------------------------------------------------------------------------------

local function datagram(frame)
  local payload, from = ffi.string(frame.data + frame.payload, frame.payload_len), endpoint.source(frame)
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

local function misuse(udp, len, to)
  return function(reason)
    if reason == "too long" then
      return ("payload of %d bytes does not fit: up to %d are allowed"):format(len, C.el_udp_mtu(udp, to.version))
    end
    return ("cannot send %d bytes to %s: %s"):format(len, tostring(to), reason)
  end
end

-- A function of its own: one that makes closures is not compiled, and neither is what calls it.
local function send_again(code, udp, payload, len, to, from, mac, opts)
  local function try() return C.el_udp_send(udp, payload, len, to, from, mac) end
  return endpoint.send_slowly(code, try, misuse(udp, len, to), opts and opts.timeout)
end

-- What needs more than the one call of the hot path: a resolver, a source address, a full relay.
local function send_with(udp, payload, len, to, next_hop, opts)
  local from, mac = opts and opts.from and to_addr(opts.from) or nil, opts and opts.mac
  if not mac and next_hop and not is_group(to) then
    local found, reason = next_hop(to)
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
  if to.version == 0 then error("no destination: give one, or connect() first", 3) end
  local extra = extras[udp.ep.id]
  if extra or opts then return send_with(udp, payload, len, to, extra and extra.next_hop, opts) end
  local code = C.el_udp_send(udp, payload, len, to, nil, nil)
  if code == 0 then return true end
  return send_again(code, udp, payload, len, to)
end

---@class etherlua.udp_send_opts
---@field from? string|etherlua.addr source address instead of its own
---@field mac? string|etherlua.mac destination MAC address, instead of resolving
---@field timeout? number seconds to wait for room in a full relay (for ever)

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
  __index = methods,
  __tostring = function(udp) return "RUDPConn " .. tostring(udp["local"]) end,
})

return M
