-- core/tally.lua: how often what happened, by the reason that was given, such as replies that were of no use. Reasons
-- may have words of others in them, so only so many different ones are kept, and the rest is counted together.

local M = {}

local REASONS_MAX, REST = 8, "for other reasons"

-- See tally.new.
---@class etherlua.tally
---@field count integer of them all
local Tally = {}
Tally.__index = Tally

---@return etherlua.tally
function M.new()
  return setmetatable({ count = 0, reasons = {}, counts = {} }, Tally)
end

-- One more.
---@param reason string
function Tally:note(reason)
  self.count = self.count + 1
  if not self.counts[reason] and #self.reasons >= REASONS_MAX then reason = REST end
  if not self.counts[reason] then self.reasons[#self.reasons + 1], self.counts[reason] = reason, 0 end
  self.counts[reason] = self.counts[reason] + 1
end

---@return string such as "too late, not understood (2 times)"; "" for none
function Tally:text()
  local words = {}
  for i, reason in ipairs(self.reasons) do
    local count = self.counts[reason]
    words[i] = count > 1 and ("%s (%d times)"):format(reason, count) or reason
  end
  return table.concat(words, ", ")
end

---@return table<string, integer> counts by reason
function Tally:summary()
  local counts = {}
  for reason, count in pairs(self.counts) do counts[reason] = count end
  return counts
end

return M
