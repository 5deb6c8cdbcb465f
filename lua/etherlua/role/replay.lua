-- role/replay.lua: sends the frames of a capture file on a relay: with the timing of the file, faster or slower, at a
-- rate, or as fast as they go. Each pass opens the file anew, so memory does not depend on its size. What the relay
-- lost is in relay:stats().

local histogram = require "etherlua.core.histogram"
local options = require "etherlua.core.options"
local pacer = require "etherlua.core.pacer"
local relays = require "etherlua.relay.relay"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"

local M = {}

-- At a rate, so many seconds of delay are made up for; after longer ones the schedule starts again. A file's own
-- schedule is always caught up with.
local LATE = 0.01

-- See replay.new.
---@class etherlua.replay
local Replay = {}
Replay.__index = Replay

---@class etherlua.replay_opts
---@field path string pcap or pcapng file
---@field filter? string pcap-filter text: only these frames (all)
---@field loops? integer how often the file is sent, math.huge: for ever (1)
---@field count? integer ends after so many frames (all)
---@field speed? number so many times as fast as the file (1)
---@field rate? number so many frames a second instead
---@field bits? number so many bits a second instead, of frames as they are in the file
---@field top_speed? boolean as fast as they go instead
---@field rewrite? etherlua.rewrite

local function open(path, filter)
  local file = relays.open("file:" .. path, { filter = filter or "" })
  return file, file:default_conn { mirror = true, invalid = true }
end

local OPTIONS = options.new("a replay", {
  path = options.path():needed(), filter = options.text(), loops = options.number(1, math.huge, 1),
  count = options.number(1, math.huge, math.huge), speed = options.number(1e-6, 1e9, 1),
  rate = options.number(1e-6), bits = options.number(1e-6), top_speed = options.boolean(false),
  rewrite = options.of_type("what rewrite.new returns is needed", "table"),
})

-- Raises a one-line error when the file cannot be read.
---@param relay etherlua.relay
---@param given etherlua.replay_opts
---@return etherlua.replay
function M.new(relay, given)
  role.check("a replay", relay, "relay")
  local opts = OPTIONS:read(given)
  local self = setmetatable({ relay = relay, opts = opts, frames = 0, passes = 0, number = 0, skipped = {},
    skipped_frames = {}, late = histogram.new(),
    loops = opts.loops, count = opts.count, rewrite = opts.rewrite, top_speed = opts.top_speed, speed = opts.speed,
    rate = opts.rate or opts.bits, by_bits = opts.bits ~= nil, units = 0 }, Replay)
  self.file, self.source = open(opts.path, opts.filter)
  return self
end

-- ---- when ---------------------------------------------------------------------------------------------------------

-- By the file. Time stamps that go back are due at once; the first one of a pass is due with the last one of the pass
-- before.
local function due_by_file(self, frame)
  local stamp = frame.timestamp
  self.stamp = self.stamp or stamp
  return math.max(self.due, self.start + (stamp - self.stamp) / self.speed)
end

-- At a rate: a frame takes the time of one unit, or of its bits.
local function due_by_rate(self, frame)
  local due, time = self.start + self.units / self.rate, sched.now()
  if time - due > LATE then self.start, self.units, due = time, 0, time end
  self.units = self.units + (self.by_bits and (frame.len + frame.cut) * 8 or 1)
  return due
end

local function wait(self, frame)
  if self.top_speed then return end
  self.start = self.start or sched.now()
  self.due = self.due or self.start
  self.due = self.rate and due_by_rate(self, frame) or due_by_file(self, frame)
  pacer.wait_until(self.due)
  self.late:record(math.max(0, sched.now() - self.due))
end

-- ---- what ---------------------------------------------------------------------------------------------------------

-- How many frames are named that were not sent for one reason.
local NAMED = 100

local function skip(self, reason)
  local count, named = self.skipped[reason] or 0, self.skipped_frames[reason] or {}
  self.skipped[reason], self.skipped_frames[reason] = count + 1, named
  if self.passes == 1 and #named < NAMED then named[#named + 1] = self.number end
end

-- Returns why no more can be sent. A frame that is lost because the link is down is one of the relay's counters.
local function send(self, frame)
  if frame.cut > 0 then return skip(self, "cut short") end
  local data, len = frame.data, frame.len
  if self.rewrite then data, len = self.rewrite:apply(data, len) end
  local ok, reason = self.relay:send(data, len)
  if not ok and (reason == "too long" or reason == "too short") then return skip(self, reason) end
  if reason == "interface gone" then return reason end
  self.frames = self.frames + 1
end

-- ---- the run ------------------------------------------------------------------------------------------------------

-- Sends the file once. Returns why no more is to be sent, nil at its end.
local function pass(self)
  self.passes, self.stamp, self.number = self.passes + 1, nil, 0
  if not self.rate then self.start = self.due end
  while self.frames < self.count do
    local frame, ended = self.source:recv_frame()
    if not frame then return ended ~= "closed" and ended or nil end
    self.number = self.number + 1
    wait(self, frame)
    self.began = self.began or sched.now()
    local reason = send(self, frame)
    if reason then return reason end
  end
  return "count"
end

local function again(self)
  self.file:close()
  self.file, self.source = open(self.opts.path, self.opts.filter)
end

-- A file of which nothing can be sent is not tried for ever.
local function send_all(self)
  while true do
    local before = self.frames
    local reason = pass(self)
    if reason then return reason end
    if self.passes >= self.loops or self.frames == before then return nil end
    again(self)
  end
end

local function run(self)
  local reason = send_all(self)
  self.problem = self.file:problem()
  self.relay:flush()
  while self.relay:stats().tx_pending > 0 do sched.sleep(0.001) end
  self.ended = sched.now()
  self.file:close()
  if reason and reason ~= "count" then return nil, reason end
  self.whole = true
  return true
end

-- Sends all of it. Blocks until it has left.
---@return true|nil
---@return string? reason why that was not all: "file broken", "interface gone"
function Replay:run()
  return role.run(self, run)
end

-- Lets go of the file.
function Replay:close()
  if role.close(self) then self.file:close() end
end

---@class etherlua.replay_summary
---@field frames integer handed to the relay so far
---@field passes integer begun so far
---@field skipped table<string, integer> frames that were not sent, by reason: "too long" for the MTU, "too short" for
---  an Ethernet header, "cut short" by the capture
---@field skipped_frames table<string, integer[]> by reason: which of the frames that were read these are in the first
---  pass; of many the first 100
---@field seconds number since the first frame, until the last one
---@field whole boolean all of it was sent
---@field problem? string why the file could not be read on: see relay:problem
---@field late etherlua.summary how long after their time in the schedule frames were handed over

---@return etherlua.replay_summary
function Replay:summary()
  local skipped, named, now = {}, {}, sched.now()
  for reason, count in pairs(self.skipped) do
    skipped[reason], named[reason] = count, { unpack(self.skipped_frames[reason]) }
  end
  return { frames = self.frames, passes = self.passes, skipped = skipped, skipped_frames = named,
    whole = self.whole or false, problem = self.problem,
    seconds = (self.ended or now) - (self.began or now), late = self.late:summary() }
end

return M
