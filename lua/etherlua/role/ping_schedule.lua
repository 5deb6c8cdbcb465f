-- role/ping_schedule.lua: when a ping sends its requests, and when it has waited long enough for an answer: the body of
-- ping.lua's run().

local pacer = require "etherlua.core.pacer"
local sched = require "etherlua.core.sched"

local M = {}

local FLOOD_PAUSE = 0.01 -- seconds: so long a flood waits for an answer

-- Sends the next request. Returns whether an answer may come.
local function request(self, tell)
  self.tried = self.tried + 1
  self.last_at = sched.now()
  self.first_at = self.first_at or self.last_at
  local ok, reason = self:send(self.tried)
  self.last_at = sched.now()
  if ok then return true end
  self.unsent[reason] = (self.unsent[reason] or 0) + 1
  if tell then tell { sequence = self.tried % 0x10000, error = reason } end
  return false
end

-- ---- each answer is told ------------------------------------------------------------------------------------------

-- Requests that may still be answered: waiting by sequence; order in that of sending, the oldest at [oldest].
local function new_list()
  return { waiting = {}, order = {}, oldest = 1 }
end

-- Says so when no answer came in time. Returns when the next one is late.
local function expire(self, list, tell)
  while list.oldest <= self.tried do
    local one = list.order[list.oldest]
    if one and list.waiting[one.sequence] == one then
      if one.late_at > sched.now() then return one.late_at end
      list.waiting[one.sequence] = nil
      if tell then tell { sequence = one.sequence, error = "no answer" } end
    end
    list.order[list.oldest] = nil
    list.oldest = list.oldest + 1
  end
end

local function send_next(self, list, tell)
  if not request(self, tell) then return end
  local one = { sequence = self.tried % 0x10000, late_at = self.last_at + self.timeout }
  list.waiting[one.sequence], list.order[self.tried] = one, one
end

local function hear_until(self, list, tell, time)
  local pong = self:recv(time - sched.now())
  if not pong then return end
  if not pong.notice then list.waiting[pong.sequence] = nil end
  if tell then tell(pong) end
end

local function ask_and_tell(self, tell)
  local list, due = new_list(), sched.now()
  while true do
    local late_at, now = expire(self, list, tell), sched.now()
    if self.tried >= self.count and not late_at then return true end
    if self.tried < self.count and now >= due then
      due = math.max(due + self.interval, now)
      send_next(self, list, tell)
    else
      hear_until(self, list, tell, math.min(self.tried < self.count and due or math.huge, late_at or math.huge))
    end
  end
end

-- ---- answers are counted ------------------------------------------------------------------------------------------

local function ask_quietly(self)
  local pace = not self.flood and pacer.new { rate = self.rate or 1 / self.interval }
  while self.tried < self.count do
    if pace then pace:wait() end
    local sent = request(self)
    if self.flood and not (sent and self:wait(self.tried, FLOOD_PAUSE)) then sched.sleep(sent and 0 or FLOOD_PAUSE) end
  end
  self:drain(self.timeout)
  return true
end

-- Sends `count` requests and waits for the answers.
---@param self etherlua.ping
---@param tell? fun(pong: etherlua.pong)
---@return true
function M.run(self, tell)
  if self.quiet then return ask_quietly(self) end
  return ask_and_tell(self, tell)
end

return M
