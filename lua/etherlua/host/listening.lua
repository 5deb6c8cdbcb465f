-- host/listening.lua: whoever wants to see what a host hears: sr, responders, expectations of tests. While somebody
-- listens the host's EtherConn gets a copy of all that the host answers by itself, and what is sent to groups. A host
-- that nobody listens to makes no copies.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local neighbour = require "etherlua.host.neighbour"

local C = effi.C

local M = {}

local UDP = C.EL_TAP_UDP
local TAPPED = C.EL_TAP_NEIGHBOUR + C.EL_TAP_ICMP + UDP

local function set(host)
  local conn, listened, takes_udp = host.conn, (host.listeners or 0) > 0, (host.takers or 0) > 0
  host.segment.tap:add(conn, TAPPED - (takes_udp and UDP or 0) + (listened and C.EL_TAP_COPY or 0), host)
  local multicast = host.multicast or conn.multicast -- what the EtherConn was opened with
  if listened and multicast == C.EL_MULTICAST_NONE then multicast = C.EL_MULTICAST_OWN end
  if conn.multicast ~= multicast and C.el_conn_multicast(conn, multicast) ~= 0 then error("out of memory", 0) end
end

-- From now on the host's tap hears what comes to its EtherConn.
---@param host etherlua.host
function M.begin(host)
  host.neighbours.host = host
  set(host)
end

-- What is meant by a place to send from and to hear at.
---@param on any an EtherConn or a host
---@return etherlua.conn|nil conn nil: it is neither
---@return etherlua.host|nil host the one that it is, or that its EtherConn belongs to
function M.place(on)
  if type(on) == "table" and on.conn and on.next_hop then on = on.conn end
  if not ffi.istype("struct el_conn", on) then return nil end
  local known = on:is_open() and neighbour.known(on)
  return on, known and known.host or nil
end

-- From now on the host's EtherConn hears all that the host does.
---@param host etherlua.host
---@param takes_udp? boolean datagrams for ports that nobody has are the listener's: the host does not refuse them
---@return function stop
function M.start(host, takes_udp)
  local is_on, taken = true, takes_udp and 1 or 0
  host.multicast = host.multicast or host.conn.multicast
  local function change(by)
    host.listeners, host.takers = (host.listeners or 0) + by, (host.takers or 0) + by * taken
    if host.conn:is_open() then set(host) end
  end
  change(1)
  return function()
    if is_on then change(-1) end
    is_on = false
  end
end

return M
