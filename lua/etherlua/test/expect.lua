-- test/expect.lua: what a test expects an endpoint to receive, and the assertions that compare frames. A failure says
-- what came instead, decoded.

local assert = require "luassert"
local ffi = require "ffi"
local frames = require "etherlua.test.frames"
local listening = require "etherlua.host.listening"
local match = require "etherlua.proto.match"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"
local say = require "say"
local scope = require "etherlua.test.scope"
local visible = require "etherlua.test.visible"

local M = {}

local SHOWN = 8                        -- frames that a failure lists
local RECEIVE_TIME, NOTHING_TIME = 1, 0.3 -- seconds, unless told

-- What is expected of an endpoint. subject: what the test named, such as the host that the endpoint is of.
---@class etherlua.test.expect
local Expect = {}
Expect.__index = Expect

-- A failure at the test's own line.
local function fail(message)
  require("busted").fail(("%s: %s"):format(scope.place_here() or "?", message), 0)
end

-- The next frame, decoded; it is not borrowed any more.
local function next_frame(endpoint, deadline)
  local frame, reason = endpoint:recv_frame(math.max(deadline - sched.now(), 0))
  if not frame then return nil, reason end
  local text = tostring(frame)
  frame:release()
  return match.decode(text)
end

-- Frames that did not match: how many, and the last ones with why.
local function note(others, frame, difference)
  others.count = others.count + 1
  others[#others + 1] = ("\n  %s\n    %s"):format(frame.line, difference)
  if #others > SHOWN then table.remove(others, 1) end
end

local function report(others)
  if others.count == 0 then return "nothing came" end
  return ("%d other frame%s came%s%s"):format(others.count, others.count == 1 and "" or "s",
    others.count > SHOWN and ", the last of them:" or ":", table.concat(others))
end

local function check_time(within)
  if type(within) ~= "number" or within < 0 or within ~= within then
    misuse.raise("bad time %s: seconds are needed", tostring(within))
  end
  return sched.now() + within
end

-- Waits for a frame that matches; others are passed over. Fails when there is none in time.
---@param pattern table|string|function a table of decoded fields such as { udp = { dst_port = 67 } }, a function of the
---  decoded frame, or a Lua pattern for its decoded line or payload
---@param within? number seconds, default 1
---@return etherlua.decoded decoded frame
function Expect:to_receive(pattern, within)
  local differs, deadline = match.compile(pattern), check_time(within or RECEIVE_TIME)
  visible.check(self.endpoint, pattern)
  local others = { count = 0 }
  while true do
    local frame, reason = next_frame(self.endpoint, deadline)
    if not frame then
      return fail(("%s received no frame that matches %s within %g s (%s): %s"):format(tostring(self.subject),
        match.show(pattern), within or RECEIVE_TIME, reason, report(others)))
    end
    local difference = differs(frame)
    if not difference then return frame end
    note(others, frame, difference)
  end
end

-- Fails as soon as a frame comes, with a pattern: one that matches it.
---@param within? number seconds, default 0.3: how long it waits
---@param pattern? table|string|function as of to_receive; default any frame
function Expect:to_receive_nothing(within, pattern)
  local differs, deadline = pattern and match.compile(pattern), check_time(within or NOTHING_TIME)
  visible.check(self.endpoint, pattern)
  while true do
    local frame, reason = next_frame(self.endpoint, deadline)
    if not frame then
      if reason == "timeout" then return end
      return fail(("%s could not be listened to: %s"):format(tostring(self.subject), reason))
    end
    if not differs or not differs(frame) then
      return fail(("%s received what it should not: %s"):format(tostring(self.subject), frame.line))
    end
  end
end

-- What the test expects of an EtherConn, RUDPConn or host. A host, or its EtherConn, is listened to from here on: what
-- it answers by itself is expected as well, and what it hears as one of a group.
---@param on ffi.cdata*|etherlua.host
---@return { to_receive: function, to_receive_nothing: function }
function M.expect(on)
  local conn, host = listening.place(on)
  if not conn and not ffi.istype("struct el_udp", on) then
    misuse.raise("bad endpoint %s: an EtherConn, a RUDPConn or a host is needed", tostring(on))
  end
  if host then listening.start(host) end
  return setmetatable({ endpoint = conn or on, subject = on }, Expect)
end

-- ---- assertions ---------------------------------------------------------------------------------------------------

local function check_frame(frame)
  if type(frame) ~= "string" then misuse.raise("bad frame %s: its bytes are needed", tostring(frame)) end
  return frame
end

-- assert.same_frame(expected, received): bytes of two frames.
local function same_frame(state, arguments)
  local text = frames.compare(check_frame(arguments[1]), check_frame(arguments[2]))
  state.failure_message = text
  return text == nil
end

-- assert.frame_matches(pattern, frame): as expect(...):to_receive.
local function frame_matches(state, arguments)
  local frame = match.decode(check_frame(arguments[2]))
  local ok, difference = pcall(match.difference, arguments[1], frame)
  if not ok then error(("%s: %s"):format(scope.place_here() or "?", misuse.words(difference)), 0) end
  state.failure_message = difference and ("%s\n  %s"):format(difference, frame.line) or frame.line
  return difference == nil
end

local function register(name, callback, positive, negative)
  local key = "etherlua." .. name
  say:set(key .. ".positive", positive)
  say:set(key .. ".negative", negative)
  assert:register("assertion", name, callback, key .. ".positive", key .. ".negative")
end

register("same_frame", same_frame, "Expected the same frame.", "Expected another frame.")
register("frame_matches", frame_matches, "Expected the frame to match.", "Expected the frame not to match.")

return M
