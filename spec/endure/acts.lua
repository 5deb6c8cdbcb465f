-- acts.lua: what a task of schedule.lua does: one of the things below at a time, by chance. `self` is the task's:
-- { world, number, task, luck, depth }. Whatever comes back is looked at: that a wait lasted as long as it had to, that
-- a channel's values come in order, that join tells what became of a task.

local ffi = require "ffi"
local ether = require "etherlua"
local sched = require "etherlua.core.sched"
local worlds = require "endure.world"

ffi.cdef "ssize_t read(int fd, void *data, size_t size);"

local M = {}

local DEPTH = 3    -- coroutines and pcalls within each other
local SHORT = 2e-3 -- seconds
M.SHORT = SHORT

local step -- (self): one of the below

-- fn(...), which blocks: whatever comes of it, the judge looks at who goes on.
local function back(self, ok, ...)
  self.world.ops = self.world.ops + 1
  if self.world.opts.judged then self.world.judge:resumed(self.task) end
  if not ok then error((...), 0) end
  return ...
end

local function blocking(self, fn, ...)
  return back(self, pcall(fn, ...))
end

local function complain(self, ...)
  self.world.judge:complain(...)
end

-- Seconds, or nil: for ever, but in deferred functions, where nobody could cancel it.
local function a_timeout(self)
  local kind = self.luck:upto(4)
  if kind == 1 and not self.task.ending then return nil end
  return kind == 2 and 0 or self.luck:upto(1000) / 1000 * SHORT
end

-- What a call with a timeout said when it returned nothing.
local function check_reason(self, words, reason, timeout, since, closed)
  if reason == "timeout" and timeout and ether.now() >= since + timeout then return end
  if reason == "closed" and closed then return end
  complain(self, "%s: %s returned %s after %g s of %s", self.task, words, tostring(reason), ether.now() - since,
    tostring(timeout))
end

local acts = {}

function acts.give_way(self) blocking(self, ether.sleep, 0) end

function acts.sleep(self)
  local seconds, since = self.luck:upto(1000) / 1000 * SHORT, ether.now()
  blocking(self, ether.sleep, seconds)
  if ether.now() < since + seconds then complain(self, "%s slept too short", self.task) end
end

function acts.send(self)
  local channel, timeout, since = self.luck:pick(self.world.channels), a_timeout(self), ether.now()
  self.world.values = self.world.values + 1
  local value = self.world.values
  local ok, reason = blocking(self, function()
    local ok, reason = channel.it:send(value, timeout)
    if ok then channel.values[#channel.values + 1] = value end
    return ok, reason
  end)
  if not ok then check_reason(self, "a send", reason, timeout, since, channel.it.closed) end
end

function acts.receive(self)
  local channel, timeout, since = self.luck:pick(self.world.channels), a_timeout(self), ether.now()
  local value, reason = blocking(self, function()
    local value, reason = channel.it:recv(timeout)
    if not value then return nil, reason end
    if channel.values[channel.first] ~= value then complain(self, "a channel's %d came out of turn", value) end
    channel.first = channel.first + 1
    self.world.received = self.world.received + 1
    return value
  end)
  if not value then check_reason(self, "a recv", reason, timeout, since, channel.it.closed) end
end

function acts.close_channel(self)
  if not self.luck:once_in(4) then return end
  local i = self.luck:upto(#self.world.channels)
  self.world.channels[i].it:close()
  worlds.new_channel(self.world, i, self.luck)
end

-- What its function did is what join has to say.
local function check_fate(self, task, value, reason)
  local fate = self.world.fates[task]
  if reason == "timeout" then return end
  if not task.done then return complain(self, "%s joined %s, which lives", self.task, task) end
  if reason == "cancelled" and task.torture_cancelled then return end
  if fate and fate.failed and reason == "failed" then return end
  if fate and not fate.failed and value == fate.value and not reason then return end
  complain(self, "%s joined %s, and got %s, %s", self.task, task, tostring(value), tostring(reason))
end

-- A task; rather one that lives.
local function someone(self)
  local task
  for _ = 1, 3 do
    task = self.luck:pick(self.world.known)
    if not task.done then break end
  end
  return task
end

function acts.join(self)
  local task, timeout = someone(self), a_timeout(self)
  if task == self.task then return end
  check_fate(self, task, blocking(self, task.join, task, timeout))
end

function acts.cancel(self)
  if not self.luck:once_in(4) then return end
  worlds.cancel(self.world, someone(self))
end

-- The running task has an endpoint for itself while fn(...), which blocks, reads it.
local function alone_with(self, endpoint, fn, ...)
  endpoint.busy = true
  local result = { pcall(blocking, self, fn, ...) }
  endpoint.busy = nil
  if endpoint.it.ep.waiter ~= 0 then complain(self, "%s does not read any more, and is awaited", self.task) end
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2, 3)
end

function acts.select(self)
  local world, sources = self.world, { timeout = a_timeout(self) }
  for i = 1, self.luck:upto(3) do
    local kind = self.luck:upto(2)
    sources[i] = kind == 1 and self.luck:pick(world.channels).it or someone(self)
  end
  local endpoint, since = self.luck:pick(world.endpoints), ether.now()
  local source, index
  if endpoint.busy or self.luck:once_in(2) then
    source, index = blocking(self, ether.select, sources)
  else
    sources[#sources + 1] = endpoint.it
    source, index = alone_with(self, endpoint, ether.select, sources)
  end
  if not source then return check_reason(self, "a select", index, sources.timeout, since) end
  if sources[index] ~= source or not source:ready() then
    complain(self, "%s: select returned what is not ready", self.task)
  end
end

-- Reads an endpoint that nobody else reads.
function acts.read(self)
  local endpoint, timeout, since = self.luck:pick(self.world.endpoints), a_timeout(self), ether.now()
  if endpoint.busy then return end
  local payload, reason = alone_with(self, endpoint, endpoint.it.recv, endpoint.it, timeout)
  if payload then self.world.read = self.world.read + 1 return end
  check_reason(self, "an endpoint", reason, timeout, since, not endpoint.it:is_open())
end

local octet = ffi.new "char[1]"

-- Waits for a file that nobody else waits for.
function acts.file(self)
  local pipe = self.luck:pick(self.world.pipes)
  if pipe.busy or self.task.ending then return end
  pipe.busy = true
  local ok, failure = pcall(blocking, self, sched.wait_fd, pipe.out)
  pipe.busy = nil
  if not ok then error(failure, 0) end
  if ffi.C.read(pipe.out, octet, 1) ~= 1 then complain(self, "%s woke for a file that is empty", self.task) end
end

function acts.ring(self)
  worlds.ring(self.luck:pick(self.world.pipes))
end

function acts.transmit(self)
  local endpoint = self.luck:pick(self.world.endpoints)
  if not endpoint.it:is_open() then return end
  self.world.sent = self.world.sent + 1
  self.world.near:send("x", endpoint.it:addr(), { mac = worlds.MAC })
end

function acts.reopen(self)
  if not self.luck:once_in(4) then return end
  local i = self.luck:upto(#self.world.endpoints)
  local endpoint = self.world.endpoints[i]
  worlds.new_endpoint(self.world, i)
  endpoint.it:close()
end

function acts.spawn(self)
  local task = self.world.spawn(self.world, self.depth + 1)
  if not task or self.luck:once_in(2) then return end
  check_fate(self, task, blocking(self, task.join, task, a_timeout(self)))
end

local function step_uncancelled(self)
  local ok, failure = pcall(step, self)
  if failure == sched.CANCELLED then complain(self, "%s: a deferred function was cancelled", self.task) end
  if not ok then error(failure, 0) end
end

function acts.defer(self)
  self.world.judge:defer(function()
    if self.luck:once_in(2) then step_uncancelled(self) end
    if self.luck:once_in(10) then error(worlds.BOOM, 0) end
  end)
end

-- Around what it does stands a coroutine of its own, whose own values come in between.
function acts.coroutine(self)
  self.depth = self.depth + 1
  local next_value = coroutine.wrap(function()
    for i = 1, 2 do
      step(self)
      coroutine.yield(i)
    end
    return "over"
  end)
  local got = { next_value(), next_value(), next_value() }
  self.depth = self.depth - 1
  if got[1] ~= 1 or got[2] ~= 2 or got[3] ~= "over" then complain(self, "a coroutine's values are %s", got[1]) end
end

-- One coroutine that all tasks resume: one at a time, and the others hear that it waits.
function acts.share(self)
  local world = self.world
  if not world.shared or coroutine.status(world.shared) == "dead" then
    world.shared = coroutine.create(function()
      for i = 1, 3 do coroutine.yield(ether.sleep(i * SHORT / 10)) end
    end)
  end
  local ok, failure = blocking(self, coroutine.resume, world.shared)
  if ok or failure == "cannot resume a coroutine in which a task waits" then return end
  if failure == sched.CANCELLED then error(failure, 0) end
  complain(self, "%s: the shared coroutine says %s", self.task, tostring(failure))
end

-- An error within pcall ends there; a cancellation goes on at the next call that blocks.
function acts.pcall(self)
  self.depth = self.depth + 1
  pcall(function()
    step(self)
    error(worlds.BOOM, 0)
  end)
  self.depth = self.depth - 1
end

local OFTEN = { "give_way", "sleep", "send", "receive", "send", "receive", "join", "select", "read", "transmit",
  "transmit", "file", "ring", "share", "cancel", "close_channel", "reopen", "spawn", "defer", "coroutine", "pcall" }
local FLAT = 17 -- the first of these have nothing within

step = function(self)
  local name = OFTEN[self.luck:upto(self.depth < DEPTH and #OFTEN or FLAT)]
  return acts[name](self)
end

-- One of them.
M.step = step

return M
