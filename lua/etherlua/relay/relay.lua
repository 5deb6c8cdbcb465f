-- relay/relay.lua: the thing bound to an interface, or one end of a wire, that EtherConns are opened on. A relay object
-- owns the engine's relay and closes all endpoints on it when it is closed, at the latest when the run ends.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local composed = require "etherlua.relay.composed"
local conn = require "etherlua.relay.conn"
local endpoint = require "etherlua.relay.endpoint"
local errno = require "etherlua.core.errno"
local filter = require "etherlua.relay.filter"
local frames = require "etherlua.relay.frame"
local link = require "etherlua.relay.link"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local outside = require "etherlua.core.outside"
local ranks = require "etherlua.ranks"
local rights = require "etherlua.core.rights"
local sched = require "etherlua.core.sched"

local C = effi.C
local tick = sched.tick

local M = {}

-- What frames come in and go out by: see ether.open, ether.wire and ether.relay.
---@class etherlua.relay
---@field name string such as "afpacket:eth1"
---@field kind string "afpacket", "xdp", "pcap", "file" or "wire"
---@field mac string of the interface
---@field mtu integer bytes of Ethernet payload in an untagged frame
---@field link_type integer what its frames begin with: 1 (Ethernet), or another of libpcap's numbers, see any_link
---@field detail string what was picked on opening, for people; "" when there was nothing to pick
local Relay = {}
Relay.__index = Relay

local relay_opts_t, info_t = ffi.typeof("struct el_relay_opts"), ffi.typeof("struct el_relay_info")
local stats_t = ffi.typeof("struct el_stats")
local err = ffi.new("char[?]", C.EL_ERR_MAX)

local function check_open(relay)
  if not relay.handle then misuse.raise("relay %s is closed", relay.name) end
end

-- ---- filter -------------------------------------------------------------------------------------------------------

local ARP, IPV4, IPV6 = numbers.ethertype.ARP, numbers.ethertype.IPV4, numbers.ethertype.IPV6
local DEFAULT_TYPES = { [ARP] = "arp", [IPV4] = "ip", [IPV6] = "ip6" }

-- pcap-filter text for the EtherTypes behind any VLAN stack.
local function filter_for(types)
  local names = {}
  for ethertype in pairs(types) do
    names[#names + 1] = DEFAULT_TYPES[ethertype] or ("ether proto 0x%04x"):format(ethertype)
  end
  table.sort(names)
  local any = table.concat(names, " or ")
  return filter.nest(function() return any end)
end

local function default_types()
  local types = {}
  for ethertype in pairs(DEFAULT_TYPES) do types[ethertype] = true end
  return types
end

local function set_filter(relay, text)
  if C.el_relay_filter(relay.handle, text, err) ~= 0 then misuse.raise("%s", ffi.string(err)) end
end

-- Replaces the filter.
---@param text string pcap-filter text; "" lets every frame in
function Relay:filter(text)
  check_open(self)
  if type(text) ~= "string" then misuse.raise("bad filter %s: pcap-filter text is needed", tostring(text)) end
  set_filter(self, text)
  self.types = nil
end

-- No loop (JIT 1): this is called for each endpoint that is opened.
local function lets_in(types, ethertypes, i)
  if not ethertypes[i] then return true end
  if not types[ethertypes[i]] then return false end
  return lets_in(types, ethertypes, i + 1)
end

local function widen(relay, ethertypes)
  for _, ethertype in ipairs(ethertypes) do relay.types[ethertype] = true end
  local text = #ethertypes > 0 and filter_for(relay.types) or ""
  set_filter(relay, text)
  if text == "" then relay.types = nil end
end

-- The default filter lets in what endpoints claim, so an endpoint with another EtherType widens it, and one that claims
-- all lifts it.
local function widen_filter(relay, ethertypes)
  if not relay.types or not ethertypes then return end
  if #ethertypes > 0 and lets_in(relay.types, ethertypes, 1) then return end
  widen(relay, ethertypes)
end

-- ---- opening and closing ------------------------------------------------------------------------------------------

local MODES = { auto = C.EL_XDP_AUTO, native = C.EL_XDP_NATIVE, generic = C.EL_XDP_GENERIC }
local COPIES = { auto = C.EL_COPY_AUTO, copy = C.EL_COPY, zerocopy = C.EL_ZEROCOPY }

-- The defaults are in brackets.
---@class etherlua.relay_opts
---@field filter? string pcap-filter text; "" none (ARP, IPv4 and IPv6 in any VLAN stack, and what endpoints claim)
---@field capture? string pcap file that gets every frame in and out
---@field recv_depth? integer frames queued for an endpoint; the oldest go when there are more (1024)
---@field frames? integer frames of memory (16384)
---@field frame_size? integer bytes of a frame's memory (2048, or what the MTU needs)
---@field promiscuous? boolean receive frames to any MAC address (true)
---@field outgoing? boolean a mirror hears what the host sends on the interface, too; pcap goes by the interface's MAC
---  address (false)
---@field shared? boolean afpacket: other processes have endpoints there, too, so the kernel keeps away what is for
---  theirs; needs CAP_BPF, without it the demux does it. xdp: the ranks of a host divide the queues among them, and a
---  frame for another's endpoint reaches it through the kernel; needs CAP_SYS_ADMIN; not with steer and program
---  (false; true where there are several ranks)
---@field mtu? integer bytes; wire (1500) and file (9216) only
---@field timing? boolean file: receive with the gaps of the file, not as fast as it is read (false)
---@field follow? boolean file: wait at the end for what is appended; pcap only, without timing (false)
---@field any_link? boolean file: open those of other link types than Ethernet, too; a default endpoint with `invalid`
---  gets their frames, as they are (false)
---@field output? string file: pcap file that gets what is sent; it is overwritten
---@field queues? integer xdp: receive queues to serve, from the first (all)
---@field mode? "auto"|"native"|"generic" xdp ("auto")
---@field copy? "auto"|"copy"|"zerocopy" xdp ("auto")
---@field need_wakeup? boolean xdp: false has the kernel poll the rings by itself (true)
---@field steer? "endpoints"|"all"|integer[] xdp: what is taken from the host: frames for endpoints; all of
---  ARP, IPv4 and IPv6; all of these EtherTypes ("endpoints")
---@field program? string xdp: object file with an XDP program and a socket map of its own to be used instead
local OPTIONS = options.new("a relay", {
  filter = options.text(), capture = options.path(), output = options.path(), program = options.path(),
  recv_depth = options.whole(1, nil, 0), frame_size = options.whole(1, nil, 0), frames = options.whole(1, nil, 0),
  mtu = options.whole(1, nil, 0), queues = options.whole(1, nil, 0), -- 0 asks the engine for its default
  promiscuous = options.boolean(true), outgoing = options.boolean(false), timing = options.boolean(false),
  shared = options.boolean(ranks.size > 1), follow = options.boolean(false), any_link = options.boolean(false),
  need_wakeup = options.boolean(true),
  mode = options.one_of({ "auto", "native", "generic" }, "auto"),
  copy = options.one_of({ "auto", "copy", "zerocopy" }, "auto"), steer = options.any("endpoints"),
})

local function bad_steer(steer)
  misuse.raise('bad steer %s: "endpoints", "all" or a list of 1 to %d EtherTypes is allowed', tostring(steer),
    C.EL_ETHERTYPES_MAX)
end

-- steer: "endpoints", "all" (ARP, IPv4 and IPv6) or a list of EtherTypes of which every frame is taken.
local function set_steering(opts, steer)
  if steer == "endpoints" then return end
  if steer == "all" then steer = { ARP, IPV4, IPV6 } end
  if type(steer) ~= "table" or #steer == 0 or #steer > C.EL_ETHERTYPES_MAX then bad_steer(steer) end
  opts.steer_all = 1
  for i, ethertype in ipairs(steer) do opts.steer_ethertypes[i - 1] = conn.check_ethertype(ethertype, " in steer") end
end

local TEXTS = { "filter", "capture", "output", "program" }
local NUMBERS = { "recv_depth", "frame_size", "frames", "mtu", "queues" }
local SWITCHES = { "promiscuous", "outgoing", "timing", "follow", "any_link", "shared" }

-- The C struct, and the strings it points to, which the caller keeps alive for the call. types: EtherTypes that the
-- default filter lets in.
local function make_opts(given, types)
  local read, opts = OPTIONS:read(given), relay_opts_t()
  read.filter = read.filter or (types and filter_for(types)) or ""
  for _, name in ipairs(TEXTS) do opts[name] = read[name] end
  for _, name in ipairs(NUMBERS) do opts[name] = read[name] end
  for _, name in ipairs(SWITCHES) do opts[name] = read[name] and 1 or 0 end
  opts.part, opts.parts = ranks.local_rank, ranks.local_size
  opts.mode, opts.copy = MODES[read.mode], COPIES[read.copy]
  opts.no_need_wakeup = read.need_wakeup and 0 or 1
  set_steering(opts, read.steer)
  return opts, read
end

local CAPTURE_CHECK = 0.5 -- seconds

-- Why nothing more is written to the capture file; nil while it is.
local function capture_error(relay)
  local info = info_t()
  C.el_relay_info(relay.handle, info)
  if info.capture_error == 0 then return nil end
  return errno.reason(-info.capture_error)
end

-- Says so, once. Returns whether there is nothing more to look at.
local function report_capture(relay)
  if relay.capture_reported or not relay.handle then return true end
  local reason = capture_error(relay)
  if not reason then return false end
  io.stderr:write(("etherlua: capture to %s stopped: %s\n"):format(outside.shown(relay.capture),
    reason))
  relay.capture_reported = true
  return true
end

-- Traffic goes on without it, so somebody has to look.
local function watch_capture(relay)
  if not pcall(sched.current) then return end -- no run in progress: only closing tells
  relay.watcher = sched.spawn_background(function()
    repeat sched.sleep(CAPTURE_CHECK) until report_capture(relay)
  end)
end

local ON_INTERFACE = { afpacket = true, xdp = true, pcap = true }

local function wrap(handle, types, capture)
  local info = info_t()
  C.el_relay_info(handle, info)
  local relay = setmetatable({
    handle = handle,
    name = outside.shown(ffi.string(info.name)), -- of an interface, or of a file: whoever made it chose it
    kind = ffi.string(info.kind),
    mac = tostring(info.mac),
    mtu = info.mtu,
    link_type = info.link_type,
    detail = ffi.string(info.detail),
    types = types,
    capture = capture,
  }, Relay)
  relay.place = ON_INTERFACE[relay.kind] and ranks.place(relay.name:match ":(.*)")
  if info.was_left ~= 0 then
    io.stderr:write(("etherlua: %s: a process that was killed had left rxvlan off; it is on again when this relay is "
      .. "closed\n"):format(relay.name))
  end
  endpoint.set_relay(handle, relay)
  sched.close_at_end(relay)
  if capture then watch_capture(relay) end
  return relay
end

-- Opens a relay. Raises a one-line error when that is not possible. Where opening resets the card, or another process
-- has just closed an xdp relay and so reset it, it waits until the link is back, for 10 s at the most, which `detail`
-- says. A link that had been away before is not waited for.
---@param spec string "afpacket:eth1", "xdp:eth1", "pcap:eth1", "file:trace.pcap", or "eth1", which picks afpacket
---@param given? etherlua.relay_opts
---@return etherlua.relay
function M.open(spec, given)
  if type(spec) ~= "string" then misuse.raise("bad relay %s: KIND:NAME is needed", tostring(spec)) end
  local types = not (given and given.filter) and default_types() or nil
  local opts, read = make_opts(given, types)
  local handle = C.el_relay_open(sched.engine(), spec, opts, err)
  if handle == nil then misuse.raise("%s%s", ffi.string(err), rights.note()) end
  local self = wrap(handle, types, read.capture)
  link.settle(self)
  if self.kind == "xdp" then rights.need_maps() end
  return self
end

-- Two relays joined in memory: what one sends, the other receives.
---@param given? etherlua.relay_opts filter (default none), recv_depth, frame_size, frames, capture (of the first), mtu
---@return etherlua.relay a
---@return etherlua.relay b
function M.wire(given)
  local pair = ffi.new("struct el_relay *[2]")
  local opts, read = make_opts(given)
  if C.el_wire_open(sched.engine(), opts, pair, err) ~= 0 then misuse.raise("%s", ffi.string(err)) end
  return wrap(pair[0], nil, read.capture), wrap(pair[1])
end

local function close_conns(handle)
  local one = C.el_relay_conn(handle)
  while one ~= nil do
    endpoint.objects[one.ep.id]:close()
    one = C.el_relay_conn(handle)
  end
end

-- Closes all endpoints on it, sends what is pending, and leaves the interface as it was.
function Relay:close()
  if not self.handle then return end
  sched.forget(self)
  close_conns(self.handle)
  C.el_relay_flush(self.handle)
  if self.capture then report_capture(self) end
  if self.watcher then self.watcher:cancel() end
  endpoint.set_relay(self.handle, nil)
  C.el_relay_close(self.handle)
  self.handle = nil
end

-- ---- endpoints ----------------------------------------------------------------------------------------------------

-- An EtherConn. One whose mac is a group address receives what is sent to that very address, and sends nothing without
-- opts.src_mac.
---@param given? etherlua.conn_opts
---@return etherlua.conn
function Relay:conn(given)
  check_open(self)
  given = given or {}
  local one = conn.open(self, given)
  widen_filter(self, given.ethertypes)
  return one
end

-- A host: an EtherConn that answers ARP, neighbour discovery and ping, and finds its next hops. See host.lua.
---@param given? etherlua.host_opts
---@return etherlua.host
function Relay:host(given)
  check_open(self)
  return require("etherlua.host.host").open(self, given or {})
end

-- The EtherConn that receives what nobody else wants.
---@param given? { mirror?: boolean, invalid?: boolean, recv_depth?: integer } mirror: also a copy of everything in and
---  out (frame.outgoing tells); invalid: also what is not valid, which is only counted otherwise (frame.invalid tells)
---@return etherlua.conn
function Relay:default_conn(given)
  check_open(self)
  return conn.open_default(self, given or {})
end

-- The same for who answers on behalf of hosts: it fragments and reassembles.
---@private
function Relay:default_host_conn()
  check_open(self)
  return conn.open_default(self, {}, true)
end

-- Where frames ended: see struct el_stats in abi.h for the names and the sums that always hold. capture_error, if there
-- is one, says why the capture stopped.
---@return table<string, integer>
function Relay:stats()
  check_open(self)
  local stats, out = stats_t(), {}
  C.el_relay_stats(self.handle, stats)
  for _, name in ipairs(M.counters) do out[name] = tonumber(stats[name]) end
  out.capture_error = self.capture and capture_error(self) or nil
  return out
end

local function send_again(relay, code, frame, len)
  if code == -errno.EINVAL then return nil, "too short" end
  if code == -errno.EMSGSIZE then return nil, "too long" end
  return endpoint.send_slowly(code, function() return C.el_relay_send(relay.handle, frame, len) end)
end

-- Sends a whole frame as it is, its Ethernet header included: for frames that come from somewhere else. Blocks only
-- while the relay is full.
---@param frame string|ffi.cdata*|etherlua.packet a string, a pointer followed by the length, or a composed packet that
---  begins with ether; its src may be left out, and its dst for a group
---@param len? integer
---@return true|nil
---@return string|nil reason "too short" for an Ethernet header, "too long" for the MTU, "link down", "interface gone"
function Relay:send(frame, len)
  tick()
  check_open(self)
  if type(frame) == "table" then frame = composed.frame(self.mac, frame) end
  len = len or #frame
  local code = C.el_relay_send(self.handle, frame, len)
  if code == 0 then return true end
  return send_again(self, code, frame, len)
end

-- When a received frame was on the wire: by the clock on the wall, of a file by its own time stamps.
---@param when etherlua.frame|number the frame; or its timestamp, which may lack digits in a file of more than 100 days
---@return ffi.cdata* nanoseconds since 1970, an int64_t
function Relay:wall(when)
  check_open(self)
  if type(when) == "number" then return C.el_relay_wall(self.handle, when) end
  return C.el_frame_wall(self.handle, frames.of(when))
end

-- Why a file cannot be read on, where that is not because it breaks off: such as that it has packets of two link types.
---@return string|nil reason
function Relay:problem()
  check_open(self)
  local info = info_t()
  C.el_relay_info(self.handle, info)
  return info.problem[0] ~= 0 and ffi.string(info.problem) or nil
end

-- Sends what is pending now; otherwise that is done when a batch is full or the loop is about to sleep.
---@return boolean whether the interface took it
function Relay:flush()
  check_open(self)
  return C.el_relay_flush(self.handle) == 0
end

Relay.__tostring = function(relay) return "relay " .. relay.name end

M.counters = {}
for name in ("rx_frames rx_copies rx_reassembled rx_delivered rx_queued rx_invalid rx_filtered rx_unclaimed " ..
  "rx_overflow rx_evicted rx_no_memory rx_closed rx_fragments rx_merged rx_frag_duplicate rx_frag_timeout " ..
  "rx_frag_overlap rx_frag_invalid rx_frag_limit rx_missed tx_frames tx_sent tx_pending tx_link_down tx_refused " ..
  "tx_error bytes_rx bytes_tx")
  :gmatch("%S+") do
  table.insert(M.counters, name)
end

return M
