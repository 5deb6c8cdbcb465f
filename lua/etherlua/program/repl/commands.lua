-- program/repl/commands.lua: the functions that the prompt adds to the language. They print.

local bytes = require "etherlua.net.bytes"
local effi = require "etherlua.core.ffi"
local endpoint = require "etherlua.relay.endpoint"
local ffi = require "ffi"
local filter = require "etherlua.relay.filter"
local frames = require "etherlua.relay.frame"
local group = require "etherlua.net.group"
local help = require "etherlua.program.repl.help"
local listening = require "etherlua.host.listening"
local misuse = require "etherlua.core.misuse"
local outside = require "etherlua.core.outside"
local relay = require "etherlua.relay.relay"
local sched = require "etherlua.core.sched"
local script = require "etherlua.program.script"
local show = require "etherlua.program.repl.show"
local tasks = require "etherlua.program.tasks"
local vlan_stack = require "etherlua.net.vlan_stack"

local C = effi.C

local M = {}

-- ---- counters -----------------------------------------------------------------------------------------------------

-- Open endpoints by relay, and the relays in order of their names.
local function relays_and_endpoints(known)
  local relays, on = {}, {}
  local function add(one)
    if not one or not one.handle or on[one] then return end
    relays[#relays + 1], on[one] = one, {}
  end
  add(known)
  for _, object in pairs(endpoint.objects) do
    local its = object:is_open() and endpoint.relay_of(object.ep)
    add(its)
    if its then table.insert(on[its], object) end
  end
  table.sort(relays, function(a, b) return a.name < b.name end)
  return relays, on
end

local function print_stats(known)
  local relays, on = relays_and_endpoints(known)
  for _, one in ipairs(relays) do
    print(show.endpoint(one))
    local lines = {}
    for _, object in ipairs(on[one]) do lines[#lines + 1] = "  " .. show.endpoint(object) end
    table.sort(lines)
    if #lines > 0 then print(table.concat(lines, "\n")) end
  end
  if #relays == 0 then print "no relay is open" end
end

-- ---- frames -------------------------------------------------------------------------------------------------------

-- Of the same meaning as that of `etherlua run sniff`: what it says is about what is behind the tags.
local function open_filter(text)
  local err = ffi.new("char[?]", C.EL_ERR_MAX)
  local opened = C.el_filter_open(filter.any_vlans(text), err)
  if opened == nil then misuse.raise("%s", ffi.string(err)) end
  return ffi.gc(opened, C.el_filter_close)
end

-- Whether a frame is from or for an EtherConn, be it as one of a group on its VLAN stack.
local function is_of(conn)
  local mac, vlans = tostring(conn.mac), vlan_stack.key(conn.vlans)
  return function(frame)
    if frame.invalid or vlan_stack.key(frame.vlans) ~= vlans then return false end
    return frame.src_mac == mac or frame.dst_mac == mac or group.is_group_mac(frame.dst_mac)
  end
end

-- A relay, and which of its frames are meant (nil: all).
local function place_of(on)
  if type(on) == "string" then return relay.open(on, { filter = "", outgoing = true }) end
  if type(on) == "table" and on.default_conn then return on end
  local conn = listening.place(on)
  if conn then return conn:relay(), is_of(conn) end
  misuse.raise("bad relay %s: a relay, a host, an EtherConn or a text such as \"eth1\" is needed", tostring(on))
end

local function sniff(on, text)
  local wanted = text and open_filter(text)
  local from, is_meant = place_of(on)
  local mirror, started, count = from:default_conn { mirror = true }, sched.now(), 0
  sched.defer(function()
    if type(on) == "string" then from:close() else mirror:close() end
    print(("%d frames"):format(count))
  end)
  while true do
    local frame, reason = mirror:recv_frame()
    if not frame then return reason end
    if (not is_meant or is_meant(frame)) and (not wanted or C.el_filter_matches(wanted, frames.of(frame)) ~= 0) then
      count = count + 1
      print(script.frame_text(frame, started))
    end
  end
end

local function bytes_of(x)
  local whole, first = show.bytes(x)
  if whole then return whole, first end
  misuse.raise("bad bytes %s: a text, a frame or a packet is needed", tostring(x))
end

-- ---- the functions ------------------------------------------------------------------------------------------------

---@param environment table of the lines: relay
---@param hidden table<table, boolean> tasks that are the prompt's own
---@param last table calls: what traceback() prints, nil: there is nothing
---@return table<string, function>
function M.new(environment, hidden, last)
  local commands = {}

  -- What there is; what a function does; what is in a table.
  function commands.help(x) print(help.text(x)) end

  -- The tasks and what each waits for, since when and where; of one by its number every call that it is in.
  function commands.tasks(id) print(outside.lines(id and tasks.traceback(id) or tasks.list(hidden))) end

  -- The calls that led to the last error.
  function commands.traceback()
    print(outside.lines(last.calls or "the last error was in the line itself, or there was none"))
  end

  -- Counters of the open relays and endpoints.
  function commands.stats() print_stats(environment.relay) end

  -- Prints every frame in and out, decoded, until Ctrl-C; the relay is `relay`, one of yours, or a text such as "eth1".
  -- Of a host or an EtherConn those that it sends and receives. filter: pcap-filter text about what is behind the tags,
  -- such as "udp port 67", or "vlan 100 and arp".
  function commands.sniff(on, text) return sniff(on or environment.relay, text) end

  -- The layers of a frame or packet.
  function commands.decode(x) print(show.layers(bytes_of(x))) end

  -- The bytes of a text, frame or packet.
  function commands.hex(x) print(bytes.dump((bytes_of(x)))) end

  -- As Lua's, but frames and packets are shown, not their bytes.
  function commands.print(...)
    local texts = {}
    for i = 1, select("#", ...) do texts[i] = show.printed((select(i, ...))) end
    print(unpack(texts))
  end

  return commands
end

return M
