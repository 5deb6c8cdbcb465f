-- role/ping.lua: echo requests from a host and what comes back (RFC 792, RFC 4443): replies with their round-trip
-- times, duplicates, and errors of those on the way. Any number of requests may be under way.

local channel = require "etherlua.channel"
local icmp = require "etherlua.proto.icmp"
local icmp6 = require "etherlua.proto.icmp6"
local ipv4 = require "etherlua.proto.ipv4"
local ipv6 = require "etherlua.proto.ipv6"
local random = require "etherlua.random"
local sched = require "etherlua.sched"
local select = require "etherlua.select"

local M = {}

local WAITING_MAX = 4096 -- replies that nobody has asked for yet

-- What one IP version has.
local VERSIONS = {
  [4] = { ip = ipv4, icmp = icmp, protocol = 1, ttl_at = 8, unreachable = icmp.DESTINATION_UNREACHABLE },
  [6] = { ip = ipv6, icmp = icmp6, protocol = 58, ttl_at = 7, unreachable = icmp6.DESTINATION_UNREACHABLE },
}

-- What came back.
---@class etherlua.pong
---@field sequence integer
---@field rtt number seconds
---@field from string IP address of who answered
---@field ttl integer or hop limit with which it arrived
---@field size integer octets of the ICMP message
---@field duplicate? boolean there was a reply already
---@field error? string what went wrong, such as "destination unreachable (host)"

-- The defaults are in brackets.
---@class etherlua.ping_opts
---@field size? integer octets of data (56)
---@field ttl? integer or hop limit (the host's)
---@field tos? integer or traffic class (0)
---@field df? boolean do not fragment; IPv4 (false)
---@field identifier? integer (random)
---@field timeout? number seconds, for host:ping (1)

-- See ping.new.
---@class etherlua.ping
local Ping = {}
Ping.__index = Ping

-- ---- what comes back ----------------------------------------------------------------------------------------------

-- Of the echo request that an error message quotes: identifier and sequence; nil when it quotes something else.
local function quoted(version, payload)
  local packet = version.ip.parse(payload, true)
  local message = packet and packet.protocol == version.protocol and version.icmp.parse(packet.payload)
  if not message or message.type ~= version.icmp.ECHO_REQUEST then return nil end
  return message.identifier, message.sequence
end

local function put(self, pong)
  if #self.pongs >= WAITING_MAX then table.remove(self.pongs, 1) end
  table.insert(self.pongs, pong)
  local event = self.event
  self.event = channel.new()
  event:close()
end

local function hear(self, message, frame)
  local version, identifier, sequence, problem = self.version, nil, nil, nil
  if message.type == version.icmp.ECHO_REPLY then
    identifier, sequence = message.identifier, message.sequence
    if frame.src_ip ~= self.to then return end
  elseif message.payload then
    identifier, sequence = quoted(version, message.payload)
    problem = version.icmp.describe(message):gsub("^ICMPv?6? ", "")
  end
  local sent = identifier == self.identifier and self.sent[sequence]
  if not sent then return end
  put(self, { sequence = sequence, rtt = math.max(frame.timestamp - sent.time, 0), from = frame.src_ip,
    ttl = (frame.data + frame.l3)[version.ttl_at], size = frame.l3 + frame.l3_len - frame.l4,
    duplicate = sent.answered or nil, error = problem })
  sent.answered = true
end

-- ---- asking -------------------------------------------------------------------------------------------------------

-- Data as iputils has it: each octet its place.
local function data_of(size)
  local octets = {}
  for i = 1, size do octets[i] = string.char((i - 1) % 256) end
  return table.concat(octets)
end

-- Echo requests to one address.
---@param host etherlua.host
---@param to string IP address
---@param opts? etherlua.ping_opts
---@return etherlua.ping close it in the end
function M.new(host, to, opts)
  opts = opts or {}
  local version = VERSIONS[to:find(":", 1, true) and 6 or 4]
  local self = setmetatable({ host = host, to = to, version = version, sent = {}, pongs = {}, event = channel.new(),
    identifier = opts.identifier or random.u32() % 0x10000, data = data_of(opts.size or 56) }, Ping)
  self.packet = { dst = to, protocol = version.protocol, ttl = opts.ttl, hop_limit = opts.ttl, tos = opts.tos,
    traffic_class = opts.tos, df = opts.df }
  self.stop = host:watch_icmp(function(message, frame) hear(self, message, frame) end)
  return self
end

-- Sends one request. Blocks while the next hop is asked for.
---@param sequence integer of it the lowest 16 bits; one that is used again forgets the request before
---@return true|nil
---@return string|nil reason
function Ping:send(sequence)
  sequence = sequence % 0x10000
  local packet = self.packet
  local source, reason = self.host:source(self.to)
  if not source then return nil, reason end
  local resolved
  resolved, reason = self.host:resolve(self.to) -- first, so that it does not count as the round trip
  if not resolved then return nil, reason end
  packet.src = source
  packet.payload = self.version.icmp.build({ type = self.version.icmp.ECHO_REQUEST, identifier = self.identifier,
    sequence = sequence, payload = self.data }, packet)
  self.sent[sequence] = { time = sched.now() }
  return self.host:send(packet)
end

-- What came back next, in the order in which it came.
---@param timeout? number seconds
---@return etherlua.pong|nil
---@return string|nil reason "timeout"
function Ping:recv(timeout)
  if #self.pongs == 0 then select.wait { self.event, timeout = timeout } end
  if #self.pongs == 0 then return nil, "timeout" end
  return table.remove(self.pongs, 1)
end

-- It hears no more.
function Ping:close()
  self.stop()
end

-- See host:ping.
---@param host etherlua.host
---@param to string
---@param opts? etherlua.ping_opts
---@return number|nil seconds
---@return etherlua.pong|string
function M.once(host, to, opts)
  local self = M.new(host, to, opts)
  local sent, reason = self:send(0)
  local pong
  if sent then pong, reason = self:recv(opts and opts.timeout or 1) end
  self:close()
  if not pong then return nil, reason end
  if pong.error then return nil, ("%s says %s"):format(pong.from, pong.error) end
  return pong.rtt, pong
end

return M
