-- role/question.lua: what roles have in common that ask very many, each once or a few times: when each was asked, which
-- is 32 bits in a question, and what became of what was sent.
--
-- The role has the fields began (when it began, by ether.now()), timeout, sent, turned, unsent and reason; a question
-- has asked, in microseconds.

local sched = require "etherlua.core.sched"

local floor = math.floor

local M = {}

local CLOCK = 2 ^ 32 -- microseconds after which the times in a question start anew
local TURN = 64      -- frames between two looks at what came, however high the rate is: so many come at once

---@param self table the role
---@param time number by ether.now()
---@return integer microseconds as a question has them
local function clock(self, time)
  return floor((time - self.began) * 1e6) % CLOCK
end

-- Notes that it is asked now.
---@param self table the role
---@param question ffi.cdata*
function M.mark(self, question)
  question.asked = clock(self, sched.now())
end

-- Seconds from the last transmission until then. Where an answer crossed it that is none.
---@param self table the role
---@param question ffi.cdata*
---@param time number by ether.now()
---@return number
function M.waited(self, question, time)
  local took = (clock(self, time) - question.asked) % CLOCK
  return took < CLOCK / 2 and took / 1e6 or 0
end

-- Nobody is asked again before the time of the last answer is over.
---@param self table the role
---@param question ffi.cdata*
function M.wait_timeout(self, question)
  local left = self.timeout - M.waited(self, question, sched.now())
  if left > 0 then sched.sleep(left) end
end

-- Lets in what has come for what was sent since the last time.
---@param self table the role
function M.take_turn(self)
  if self.sent - self.turned < TURN then return end
  self.turned = self.sent
  sched.sleep(0)
end

-- Counts what a send call returned.
---@param self table the role
---@param sent boolean?
---@param reason string?
---@return string? reason why it is of no use to go on, if so
function M.count_sent(self, sent, reason)
  if sent then
    self.sent = self.sent + 1
    return nil
  end
  self.unsent, self.reason = self.unsent + 1, reason
  if reason ~= "link down" then return reason end -- a link may come back
end

return M
