-- role/udp_echo.lua: a UDP echo service (RFC 862) of a host, on some ports or on all. It answers to the MAC address
-- that a datagram came from, so it asks for no neighbour, and makes no garbage. It does not answer another echo
-- service: the two would never end.
--
--   local echo = udp_echo.new(host, { ports = { 7 } })
--   echo:serve()

local bit = require "bit"
local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local channel = require "etherlua.core.channel"
local effi = require "etherlua.core.ffi"
local frames = require "etherlua.relay.frame"
local options = require "etherlua.core.options"
local responder = require "etherlua.host.icmp_responder"
local role = require "etherlua.role.role"
local select = require "etherlua.core.select"

local C = effi.C

local M = {}

M.PORT = 7
local GIVE_UP = 0.1 -- seconds for which an answer waits for room in the relay

local addr_t, mac_t = ffi.typeof "struct el_addr", ffi.typeof "struct el_mac"

-- See udp_echo.new.
---@class etherlua.udp_echo
local Echo = {}
Echo.__index = Echo

-- ---- one datagram -------------------------------------------------------------------------------------------------

-- The counter of why it is not answered; nil when it is.
local function refusal(echo, service, frame)
  local to, from = service.to, service.opts.from
  if to.port == M.PORT or echo.ports[to.port] then return "loops" end
  local is_answerable = to.port ~= 0 and from.port ~= 0 and bit.band(frame.data[6], 1) == 0
    and responder.is_one_host(frame.data + frame.l3, to.version) and echo.host:is_for(frame)
  if not is_answerable then return "ignored" end
  if frame.payload_len > C.el_udp_mtu(service.udp, to.version) then return "too_long" end
end

local function answer(echo, service, lent)
  local udp, opts, frame = service.udp, service.opts, frames.of(lent)
  C.el_frame_source(frame, service.to)
  C.el_frame_target(frame, opts.from)
  local counter = refusal(echo, service, frame)
  if counter then
    echo[counter] = echo[counter] + 1
    return
  end
  ffi.copy(opts.mac, frame.data + 6, 6)
  local len = frame.payload_len
  if udp:send(frame.data + frame.payload, len, service.to, opts) then
    echo.echoed, echo.bytes = echo.echoed + 1, echo.bytes + len
  else
    echo.unsent = echo.unsent + 1
  end
end

-- ---- the service --------------------------------------------------------------------------------------------------

local function serve(echo, service)
  while echo.echoed < echo.count do
    local frame, reason = service.udp:recv_frame()
    if not frame then
      echo.reason = reason
      break
    end
    answer(echo, service, frame)
  end
  echo.done:close()
end

-- What a service works with is its own: several may be under way at once.
local function open_one(echo, address, accept_any)
  local udp = echo.host.conn:udp(address, { accept_any = accept_any, ttl = echo.host.hop_limit })
  table.insert(echo.services, { udp = udp, to = addr_t(),
    opts = { from = addr_t(), mac = mac_t(), timeout = GIVE_UP } })
end

local function open_all(echo, ports)
  if not ports then return open_one(echo, "0.0.0.0:0", true) end
  for _, port in ipairs(ports) do
    open_one(echo, addr.addr("0.0.0.0:" .. port))
    open_one(echo, addr.addr(("[::]:%d"):format(port)))
    echo.ports[port] = true
  end
end

local function serve_all(echo)
  for _, service in ipairs(echo.services) do role.help(echo, serve, echo, service) end
  select.wait { echo.done }
  if echo.echoed >= echo.count then return true end
  return nil, echo.reason or "closed"
end

-- Echoes until `count` datagrams were echoed, or it or the relay is closed. Blocks.
---@return true|nil
---@return string|nil reason why nothing more can come: "closed", "interface gone"
function Echo:serve()
  return role.run(self, serve_all)
end

-- Its ports are free again.
function Echo:close()
  if not role.close(self) then return end
  for _, service in ipairs(self.services) do service.udp:close() end
  self.done:close()
end

-- Counts are of datagrams.
---@class etherlua.udp_echo_summary
---@field echoed integer
---@field bytes integer of payload that was echoed
---@field loops integer that came from an echo service
---@field ignored integer that were not for an address of the host, or not from one that can be answered
---@field too_long integer that fit no frame with the headers of an answer
---@field unsent integer answers that the relay did not take

---@return etherlua.udp_echo_summary
function Echo:summary()
  return { echoed = self.echoed, bytes = self.bytes, loops = self.loops, ignored = self.ignored,
    too_long = self.too_long, unsent = self.unsent }
end

-- The defaults are in brackets.
---@class etherlua.udp_echo_opts
---@field ports? integer[] (7)
---@field any_port? boolean all that nobody else has. Two that do so never end, once somebody has made them begin
---  (false)
---@field count? integer datagrams to echo before it ends (no limit)

local OPTIONS = options.new("a UDP echo service", { ports = options.of_type("a list of ports is needed", "table"),
  any_port = options.boolean(false), count = options.number(1, math.huge, math.huge) })

-- An echo service at all addresses of a host.
---@param host etherlua.host
---@param given? etherlua.udp_echo_opts
---@return etherlua.udp_echo raises when somebody has a port already
function M.new(host, given)
  role.check("a UDP echo service", host, "host")
  local opts = OPTIONS:read(given)
  local self = setmetatable({ host = host, count = opts.count, services = {}, ports = {}, done = channel.new(),
    echoed = 0, bytes = 0, loops = 0, ignored = 0, too_long = 0, unsent = 0 }, Echo)
  local ok, reason = pcall(open_all, self, not opts.any_port and (opts.ports or { M.PORT }))
  if ok then return self end
  self:close()
  error(reason, 0)
end

return M
