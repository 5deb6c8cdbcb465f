-- host/tap.lua: the one reader of a relay's tap: what arrives for hosts and is answered on their behalf, ARP, neighbour
-- discovery, ping. One task however many hosts there are. It finds the owner of a frame by the EtherConn that the
-- frame came to and calls owner:hear(frame), which must not keep the frame.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local endpoint = require "etherlua.relay.endpoint"
local guard = require "etherlua.core.guard"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

local DEPTH = 8192        -- frames that wait while one is answered
local RETRY = 50e-6       -- seconds
local GIVE_UP = 0.1       -- seconds for which an answer waits for room in the relay

-- See tap.of.
---@class etherlua.tap
---@field counters table<string, integer> what became of the frames; see counters() in here
local Tap = {}
Tap.__index = Tap

Tap.__tostring = function(self) return "hosts on " .. self.name end

-- ---- the reader ---------------------------------------------------------------------------------------------------

-- arp, neighbour, echo, unreachable: answers sent. conflicts: others that have an address of ours. ignored: nobody's
-- business here. invalid: not what they claim to be, a wrong checksum included. limited: errors that were not sent
-- because of too many (RFC 1812 section 4.3.2.8). unsent: answers that the relay did not take. failed: frames that an
-- error kept from being answered.
local function counters()
  return { arp = 0, neighbour = 0, echo = 0, unreachable = 0, conflicts = 0, ignored = 0, invalid = 0, limited = 0,
    unsent = 0, failed = 0 }
end

local function same(frame)
  return frame
end

local function read(tap)
  local source = { ep = tap.ep }
  sched.defer(function() endpoint.retire(tap.id) end)
  while endpoint.is_open(tap) do
    local frame = endpoint.take(source, nil, C.el_recv, same)
    if not frame then return end
    local owner = tap.owners[frame.conn]
    if owner and not guard.call(tap, owner.hear, owner, frame) then tap:count "failed" end
    C.el_frame_free(frame)
  end
end

local taps = setmetatable({}, { __mode = "k" }) -- relay -> tap

local function open(relay)
  local tap = setmetatable({ owners = {}, counters = counters(), id = endpoint.new_id(), failed = 0,
    name = relay.name }, Tap)
  tap.ep = C.el_tap_open(relay.handle, DEPTH, tap.id)
  if tap.ep == nil then error(errno.reason(-errno.ENOMEM), 0) end
  ffi.gc(tap.ep, C.el_tap_free)
  sched.spawn_background(read, tap)
  return tap
end

-- The tap of a relay, made when first asked for.
---@param relay etherlua.relay
---@return etherlua.tap
function M.of(relay)
  local tap = taps[relay]
  if not tap then
    tap = open(relay)
    taps[relay] = tap
  end
  return tap
end

-- From now on the owner hears what comes to the EtherConn.
---@param conn etherlua.conn
---@param what integer EL_TAP_... of the engine
---@param owner table with hear(owner, frame)
function Tap:add(conn, what, owner)
  self.owners[conn.ep.id] = owner
  C.el_conn_tap(conn, what)
end

-- Nobody hears it any more.
---@param conn etherlua.conn
function Tap:remove(conn)
  self.owners[conn.ep.id] = nil
  C.el_conn_tap(conn, 0)
end

-- A function of its own (JIT 2), for it has a loop (JIT 1).
local function answer_slowly(tap, code, conn, data, len, mac, ethertype)
  local deadline = sched.now() + GIVE_UP
  while code == -errno.EAGAIN and sched.now() < deadline do
    sched.sleep(RETRY)
    code = C.el_conn_send(conn, data, len, mac, ethertype, nil)
  end
  if code ~= 0 then tap.counters.unsent = tap.counters.unsent + 1 end
  return code == 0
end

-- Sends an answer and counts it; blocks for a moment when the relay is full.
---@param name string of the counter
---@param conn etherlua.conn
---@param data ffi.cdata*|string
---@param len integer
---@param mac ffi.cdata* struct el_mac
---@param ethertype integer
function Tap:answer(name, conn, data, len, mac, ethertype)
  local code = C.el_conn_send(conn, data, len, mac, ethertype, nil)
  if code == 0 or answer_slowly(self, code, conn, data, len, mac, ethertype) then
    self.counters[name] = self.counters[name] + 1
  end
end

-- One more.
---@param name string of the counter
function Tap:count(name)
  self.counters[name] = self.counters[name] + 1
end

return M
