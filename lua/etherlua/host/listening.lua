-- host/listening.lua: whoever wants to see what a host hears: sr, responders, expectations of tests. While somebody
-- listens the host's EtherConn gets a copy of all that the host answers by itself, and what is sent to groups. A host
-- that nobody listens to makes no copies.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local endpoint = require "etherlua.relay.endpoint"

local C = effi.C

local M = {}

local UDP = C.EL_TAP_UDP
local TAPPED = C.EL_TAP_NEIGHBOUR + C.EL_TAP_ICMP + UDP

-- id of an EtherConn -> whose it is: host; listeners and takers: how many; multicast: what it was opened with.
local of_conns = {}

local function set(one)
  local conn, listened = one.host.conn, one.listeners > 0
  one.host.tap:add(conn, TAPPED - (one.takers > 0 and UDP or 0) + (listened and C.EL_TAP_COPY or 0), one.host)
  local multicast = listened and one.multicast == C.EL_MULTICAST_NONE and C.EL_MULTICAST_OWN or one.multicast
  if conn.multicast ~= multicast and C.el_conn_multicast(conn, multicast) ~= 0 then error("out of memory", 0) end
end

-- From now on the host's tap hears what comes to its EtherConn.
---@param host etherlua.host
function M.begin(host)
  local id = host.conn.ep.id
  of_conns[id] = { host = host, listeners = 0, takers = 0, multicast = host.conn.multicast }
  endpoint.before_close(host.conn, function() of_conns[id] = nil end)
  set(of_conns[id])
end

-- What is meant by a place to send from and to hear at.
---@param on any an EtherConn or a host
---@return etherlua.conn|nil conn nil: it is neither
---@return etherlua.host|nil host the one that it is, or that its EtherConn belongs to
function M.place(on)
  if type(on) == "table" and on.conn and on.next_hop then on = on.conn end
  if not ffi.istype("struct el_conn", on) then return nil end
  local one = of_conns[on.ep.id]
  return on, on:is_open() and one and one.host or nil
end

-- From now on the host's EtherConn hears all that the host does.
---@param host etherlua.host
---@param takes_udp? boolean datagrams for ports that nobody has are the listener's: the host does not refuse them
---@return function stop
function M.start(host, takes_udp)
  local one, taken = of_conns[host.conn.ep.id], takes_udp and 1 or 0
  local function change(by)
    one.listeners, one.takers = one.listeners + by, one.takers + by * taken
    if host.conn:is_open() then set(one) end
  end
  change(1)
  return function()
    if one then change(-1) end
    one = nil
  end
end

return M
