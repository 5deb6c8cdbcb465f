-- ask/responder.lua: conn:answer: frames that match a pattern are answered, in the background. The responders of one
-- EtherConn share its one reader; each frame is for the first that matches it. What a reply leaves out is filled in by
-- ask/fill.lua.

local composed = require "etherlua.relay.composed"
local endpoint = require "etherlua.relay.endpoint"
local ethernet = require "etherlua.proto.ethernet"
local fill = require "etherlua.ask.fill"
local guard = require "etherlua.core.guard"
local listening = require "etherlua.host.listening"
local match = require "etherlua.proto.match"
local options = require "etherlua.core.options"
local packet = require "etherlua.proto.packet"
local sched = require "etherlua.core.sched"

local M = {}

-- See conn:answer.
---@class etherlua.responder
---@field matched integer frames that it was asked about and that match
---@field answered integer of these: those that it sent a reply to
---@field ignored integer frames that it was asked about and that do not match
---@field failed integer frames whose reply could not be made or sent
---@field last_error? string why, of the last of them
local Responder = {}
Responder.__index = Responder

-- ---- one frame ----------------------------------------------------------------------------------------------------

-- A frame as responders see it; as a packet when one of them wants that.
local function new_request(text)
  local request = { decoded = match.decode(text) }
  function request.packet()
    request.whole = request.whole or packet.parse(text)
    return request.whole
  end
  return request
end

local QUOTES = { icmp = true, icmp6 = true }

-- Whether what a pattern of fields matches may only be quoted by an ICMP error: that packet was somebody else's. Who
-- answers errors names ICMP, too.
local function is_quoted(self, layers)
  if type(self.match) ~= "table" or self.match.icmp or self.match.icmp6 then return false end
  for i = 2, #layers do
    if QUOTES[layers[i - 1].name] and layers[i].name ~= "data" then return true end
  end
  return false
end

local function wants(self, request)
  if type(self.match) == "function" then return self.match(request.packet()) end
  if not self.differs then return true end
  return not is_quoted(self, request.decoded.layers) and not self.differs(request.decoded)
end

-- What the user wants to be sent, as a list.
local function replies_to(self, request)
  local replies = self.reply
  if type(replies) == "function" then replies = replies(request.packet()) end
  if not replies then return {} end
  if type(replies) == "table" and not packet.is_packet(replies) then return replies end
  return { replies }
end

-- Returns whether the frame was this responder's. Raises what the user's functions raise, and for bad replies.
local function respond(self, request)
  if not wants(self, request) then
    self.ignored = self.ignored + 1
    return false
  end
  self.matched = self.matched + 1
  local sent, reason
  for _, reply in ipairs(replies_to(self, request)) do
    local whole = fill.reply(request.decoded.layers, reply, tostring(self.conn.mac))
    sent, reason = composed.send_frame(self.conn, assert(ethernet.parse(whole:build())))
    if not sent then break end
  end
  if sent then self.answered = self.answered + 1 elseif reason then guard.fail(self, reason) end
  return true
end

-- ---- the reader of an EtherConn -----------------------------------------------------------------------------------

-- A frame whose answer fails was this responder's, too.
local function hear(responder, request)
  local ok, is_its = guard.call(responder, respond, responder, request)
  return not ok or is_its
end

-- Looks before each frame: a task that was cancelled runs on until it waits, and the frame may be somebody else's.
local function read(conn, server)
  while not server.ended do
    local frame, reason = conn:recv_frame()
    if not frame then return reason end
    local request = new_request(tostring(frame))
    frame:release()
    for _, responder in ipairs { unpack(server.responders) } do
      if responder.open and hear(responder, request) then break end
    end
  end
end

local servers = {} -- id of an EtherConn -> its server

-- The responders of an EtherConn, and the task that reads for them.
local function server_of(conn)
  local id = conn.ep.id
  local server = servers[id]
  if server and not server.ended and not server.task.done then return server end
  if not server then endpoint.before_close(conn, function() servers[id] = nil end) end
  local _, host = listening.place(conn)
  server = { responders = {}, stop = host and listening.start(host, true) or function() end }
  server.task = sched.spawn_background(read, conn, server)
  servers[id] = server
  return server
end

-- ---- the object ---------------------------------------------------------------------------------------------------

local OPTIONS = options.new("answer", {
  match = options.of_type("a table of fields, a function or a Lua pattern is needed", "table", "function", "string"),
  reply = options.of_type("a packet, a string or a function that returns one is needed", "table", "function",
    "string"):needed() })

---@param conn etherlua.conn
---@param opts etherlua.responder_opts
---@return etherlua.responder
function M.new(conn, opts)
  endpoint.check_open(conn)
  opts = OPTIONS:read(opts)
  local differs = type(opts.match) ~= "function" and opts.match and match.compile(opts.match) or nil
  local server = server_of(conn)
  local self = setmetatable({ conn = conn, match = opts.match, differs = differs, reply = opts.reply, server = server,
    open = true, matched = 0, answered = 0, ignored = 0, failed = 0 }, Responder)
  table.insert(server.responders, self)
  return self
end

-- It answers no more. The last one of an EtherConn ends its reader: others may read it again.
function Responder:close()
  if not self.open then return end
  self.open = false
  local list = self.server.responders
  for i = #list, 1, -1 do
    if list[i] == self then table.remove(list, i) end
  end
  if #list > 0 then return end
  self.server.ended = true
  self.server.stop()
  self.conn:unwatch(self.server.task) -- at once, not when the task has its turn
  self.server.task:cancel()
end

-- Waits until the EtherConn or the last responder on it is closed. Blocks this task.
---@param timeout? number seconds
---@return string|nil
---@return string|nil reason "cancelled" or "timeout"
function Responder:join(timeout)
  return self.server.task:join(timeout)
end

Responder.__tostring = function(self)
  return ("responder on %s: %d matched, %d answered, %d ignored, %d failed"):format(tostring(self.conn), self.matched,
    self.answered, self.ignored, self.failed)
end

return M
