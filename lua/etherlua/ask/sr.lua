-- ask/sr.lua: send requests and match the answers to them: ether.sr and ether.sr1. Which packet answers which is said
-- by proto/answers.lua, what a packet leaves out by relay/composed.lua. One call is one reader: while it runs it takes
-- every frame that comes to the EtherConn, and what answers nothing is dropped. Fragments are the EtherConn's business.

local answers = require "etherlua.proto.answers"
local addr = require "etherlua.net.addr"
local composed = require "etherlua.relay.composed"
local crew = require "etherlua.core.crew"
local endpoint = require "etherlua.relay.endpoint"
local group = require "etherlua.net.group"
local listening = require "etherlua.host.listening"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local resolver = require "etherlua.host.resolver"
local sched = require "etherlua.core.sched"

local M = {}

local BURST = 32     -- packets that are sent between two looks at what came
local ASKERS = 64    -- next hops that are asked for at the same time
local BROADCAST = group.BROADCAST

-- ---- options ------------------------------------------------------------------------------------------------------

-- Addresses are checked by those who use them.
local OPTIONS = options.new("sr", { timeout = options.seconds(1), retry = options.whole(0, nil, 0),
  inter = options.seconds(0), multi = options.boolean(false), src = options.any(), dst_mac = options.any(),
  resolve = options.any() })

-- An EtherConn that this task may read, and the host that it is of, if it is.
local function place_of(on)
  local conn, host = listening.place(on)
  if not conn then misuse.raise("bad conn %s: an EtherConn or a host is needed", tostring(on)) end
  endpoint.check_open(conn)
  local task = sched.current()
  local _, problem = conn:watch(task)
  if problem then misuse.raise("%s", problem) end
  conn:unwatch(task)
  return conn, host
end

-- ---- lists of results ---------------------------------------------------------------------------------------------

local function lines(list, line)
  local texts = {}
  for i, one in ipairs(list) do texts[i] = line(one) end
  return #texts > 0 and table.concat(texts, "\n") or "none"
end

-- A request and what answered it.
---@class etherlua.answer
---@field sent etherlua.packet as it was sent, with what was filled in
---@field received etherlua.packet
---@field time number when it came, seconds of the engine's clock
---@field rtt number seconds since the request was sent, the last time if there were several

-- Lists tell their packets line by line.
local Answered = { __tostring = function(list)
  return lines(list, function(one)
    return ("%s  ==>  %s  %.3f ms"):format(one.sent:summary(), one.received:summary(), one.rtt * 1000)
  end)
end }
local Unanswered = { __tostring = function(list) return lines(list, function(one) return one:summary() end) end }

-- ---- requests -----------------------------------------------------------------------------------------------------

local function list_of(packets)
  if type(packets) == "string" or packet.is_packet(packets) then return { packets } end
  if type(packets) == "table" and (packets[1] ~= nil or next(packets) == nil) then return packets end
  misuse.raise("bad packets %s: a packet, the bytes of a frame, or a list of them is needed", tostring(packets))
end

local function new_requests(conn, host, packets, opts)
  local requests = {}
  local known = { dst_mac = opts.dst_mac, src = opts.src or host and function(to) return host:source(to) end }
  for i, given in ipairs(list_of(packets)) do
    local whole, hop = composed.complete(conn, given, known)
    requests[i] = { packet = whole, hop = hop }
  end
  return requests
end

-- The hops' MAC addresses: hops is a list of those that are left.
local function ask(hops)
  while true do
    local hop = table.remove(hops)
    if not hop then return end
    hop.mac, hop.reason = hop.resolve(addr.addr(hop.ip))
  end
end

-- Each once, many at a time. When the caller is cancelled, or one cannot be asked for, the others are left.
local function ask_all(hops)
  local askers, helpers = {}, crew.new()
  for i = 1, math.min(ASKERS, #hops) do askers[i] = helpers:spawn(ask, hops) end
  local ok, failure = pcall(function()
    for _, asker in ipairs(askers) do helpers:join(asker) end
  end)
  if ok then return end
  for _, asker in ipairs(askers) do asker:cancel() end
  error(failure, 0)
end

-- A resolver for each source address, which answers for that address as long as it is held.
local function new_resolvers(conn, resolve)
  local resolvers = { releases = {} }
  return setmetatable(resolvers, { __index = function(_, src)
    if resolve == "broadcast" then return function() return BROADCAST end end
    local hops = resolver.new(conn, addr.addr(src), resolve)
    resolvers[src] = hops.find
    if hops.release then table.insert(resolvers.releases, hops.release) end
    return hops.find
  end })
end

-- Requests whose next hop has to be asked for get its MAC address, or the reason why there is none.
local function resolve_all(resolvers, requests)
  local hops, known = {}, {}
  for _, request in ipairs(requests) do
    local fields = request.hop
    if fields and not known[fields.dst] then
      known[fields.dst] = { ip = fields.dst, resolve = resolvers[fields.src] }
      hops[#hops + 1] = known[fields.dst]
    end
  end
  ask_all(hops)
  for _, request in ipairs(requests) do
    local hop = request.hop and known[request.hop.dst]
    if hop then
      request.packet.ethernet.dst = hop.mac and tostring(hop.mac)
      request.reason = not hop.mac and (hop.reason or "unresolved") or nil
    end
  end
end

-- ---- sending and matching -----------------------------------------------------------------------------------------

---@private
-- One call: index is key -> list of requests that were sent, outstanding how many have no answer.
local Exchange = {}
Exchange.__index = Exchange

local function put_into(index, key, request)
  local list = index[key] or { first = 1 }
  index[key] = list
  list[#list + 1] = request
end

function Exchange:send(request)
  if not request.sent_at then
    for _, key in ipairs(answers.request_keys(request.layers)) do put_into(self.index, key, request) end
  end
  request.sent_at = sched.now()
  local sent, reason = composed.send_frame(self.conn, request.layers[1].fields)
  request.reason = reason
  return sent
end

-- The oldest request among those of one key that a reply answers. Those at the front that have their answer are passed
-- over for good.
function Exchange:find(list, layers)
  while not self.multi and list[list.first] and list[list.first].answered do list.first = list.first + 1 end
  for i = list.first, #list do
    local request = list[i]
    if (self.multi or not request.answered) and answers.answers(layers, request.layers) then return request end
  end
end

function Exchange:take(frame)
  local time, text = frame.timestamp, tostring(frame)
  frame:release()
  local layers = proto.dissect(text)
  for _, key in ipairs(answers.reply_keys(layers)) do
    local list = self.index[key]
    local request = list and self:find(list, layers)
    if request then
      if not request.answered then self.outstanding = self.outstanding - 1 end
      request.answered = true
      table.insert(self.answered, { sent = request.packet, received = packet.parse(text), time = time,
        rtt = math.max(time - request.sent_at, 0) })
      return
    end
  end
end

function Exchange:is_over()
  return self.outstanding == 0 and not self.multi
end

-- Takes what comes until a time, and what is there then: no more, or a flood would hold it for ever.
---@return string? reason why nothing more can come
function Exchange:collect(deadline, until_over)
  while sched.now() < deadline and not (until_over and self:is_over()) do
    local frame, reason = self.conn:recv_frame(math.max(deadline - sched.now(), 0))
    if frame then self:take(frame) elseif reason ~= "timeout" then return reason end
  end
  sched.give_way()
  if not self.conn:is_open() then return "closed" end
  for _ = 1, self.conn:stats().queued do
    local frame = self.conn:recv_frame(0)
    if frame then self:take(frame) end
  end
end

-- Sends what has no answer yet, and waits for the answers.
function Exchange:round(requests, opts)
  local start, count = sched.now(), 0
  local inter, reason = opts.inter, nil
  for _, request in ipairs(requests) do
    if request.layers and not request.answered and self:send(request) then
      count = count + 1
      if inter > 0 then
        reason = self:collect(start + count * inter)
      elseif count % BURST == 0 then
        reason = self:collect(0)
      end
    end
    if reason then return reason end
  end
  if count == 0 then return nil end
  -- A send only hears that the link is down from the one before it.
  self.trouble = not self.conn:relay():flush() and "link down" or nil
  return self:collect(sched.now() + opts.timeout, true)
end

function Exchange:run(requests, opts)
  local reason = self:collect(0) -- what was there before answers nothing
  for _ = 0, opts.retry do
    if reason or self.outstanding == 0 then break end
    reason = self:round(requests, opts)
  end
  return reason
end

-- ---- the calls ----------------------------------------------------------------------------------------------------

-- Requests without an answer, and why the last of them could not be sent, if so.
local function left_of(requests)
  local list, reason = setmetatable({}, Unanswered), nil
  for _, request in ipairs(requests) do
    if not request.answered then
      list[#list + 1] = request.packet
      reason = request.reason or reason
    end
  end
  return list, reason
end

-- All of them before the first is sent: what cannot be built sends nothing.
local function build_all(requests)
  for _, request in ipairs(requests) do
    sched.tick()
    if not request.reason then request.layers = proto.dissect(request.packet:build()) end
  end
end

local function exchange(conn, host, packets, opts)
  local requests = new_requests(conn, host, packets, opts)
  local resolvers = new_resolvers(conn, opts.resolve or host or "arp")
  if host then table.insert(resolvers.releases, listening.start(host, true)) end
  local self = setmetatable({ conn = conn, index = {}, answered = setmetatable({}, Answered), multi = opts.multi,
    outstanding = #requests }, Exchange)
  local ok, ended = pcall(function()
    resolve_all(resolvers, requests)
    build_all(requests)
    return self:run(requests, opts)
  end)
  for _, release in ipairs(resolvers.releases) do release() end
  if not ok then error(ended, 0) end
  local unanswered, reason = left_of(requests)
  reason = ended or reason or unanswered[1] and self.trouble
  if not reason then return self.answered, unanswered end -- no nil that the prompt would show
  return self.answered, unanswered, reason
end

-- The defaults are in brackets.
---@class etherlua.sr_opts
---@field timeout? number seconds to wait for answers after the last packet was sent (1)
---@field retry? integer how many times those without an answer are sent again (0)
---@field inter? number seconds between two packets (0: as fast as they go)
---@field multi? boolean take all answers to a request, for the whole time, not the first one alone (false)
---@field src? string IP address of those that have none: the source of IP, the sender of ARP
---@field dst_mac? string destination MAC address of those that have none
---@field resolve? "arp"|"broadcast"|function where there is neither: as of conn:udp, but "arp" is the default: ARP or
---  neighbour discovery asks for the IP address on the link, and answers for the source address meanwhile (a host's:
---  its next hops)

-- Sends packets and waits for their answers: what the protocols say answers them, and ICMP errors that quote them. A
-- packet to a group is answered by anybody. Blocks this task until all have an answer or the time is up.
--
-- A packet may begin with ether, arp, ip4 or ip6. The MAC address, the VLANs, the source port and ARP's sender are
-- filled in; an IP source has to be given. ARP goes to all unless told otherwise, a group to its own MAC address. An
-- EtherConn hears answers to a group only if it was opened with `multicast`, and not what its RUDPConns take.
--
-- A host asks its own next hops, and fills in its address as the source; it goes on answering others meanwhile, but
-- refuses no UDP datagrams.
---@param on etherlua.conn|etherlua.host whose EtherConn nobody else reads meanwhile; what comes and answers nothing is
---  dropped
---@param packets etherlua.packet|string|table one packet or a list; a string is the bytes of a whole frame
---@param opts? etherlua.sr_opts
---@return etherlua.answer[] answered in order of arrival
---@return etherlua.packet[] unanswered in order of sending, whole: they can be sent again
---@return string|nil reason why some could not be sent or no more could come: "link down", "no answer from neighbour
---  10.0.0.1", "closed"
function M.sr(on, packets, opts)
  opts = OPTIONS:read(opts)
  local conn, host = place_of(on)
  return exchange(conn, host, packets, opts)
end

-- Sends one packet and waits for the first answer. Blocks this task.
---@param on etherlua.conn|etherlua.host
---@param given etherlua.packet|string
---@param opts? etherlua.sr_opts as of sr
---@return etherlua.packet|nil received
---@return number|string rtt in seconds, or the reason: "timeout", or one of those of sr
function M.sr1(on, given, opts)
  opts = OPTIONS:read(opts)
  local conn, host = place_of(on)
  local answered, _, reason = exchange(conn, host, { given }, opts)
  if answered[1] then return answered[1].received, answered[1].rtt end
  return nil, reason or "timeout"
end

return M
