-- program/fragments.lua: what scripts tell of fragments that no packet was made of.

local sched = require "etherlua.core.sched"

local M = {}

-- Their counters.
M.COUNTERS = { "rx_fragments", "rx_frag_timeout", "rx_frag_overlap", "rx_frag_invalid", "rx_frag_limit" }

local WHY = { rx_fragments = "the rest of %d did not come yet", rx_frag_timeout = "the rest of %d did not come in time",
  rx_frag_overlap = "%d overlapped", rx_frag_invalid = "%d were invalid", rx_frag_limit = "%d had no room" }

local function words(stats)
  local parts, sum = {}, 0
  for _, name in ipairs(M.COUNTERS) do
    if stats[name] > 0 then parts[#parts + 1], sum = WHY[name]:format(stats[name]), sum + stats[name] end
  end
  return sum > 0 and ("%d fragment%s not put together: %s"):format(sum, sum > 1 and "s were" or " was",
    table.concat(parts, ", ")) or nil
end

-- Tells on standard error, when the run ends, how many there were, if any.
---@param relay etherlua.relay
---@return etherlua.relay relay
function M.tell_at_end(relay)
  sched.close_at_end { close = function()
    local text = relay.handle and words(relay:stats())
    if text then io.stderr:write(("%s: %s\n"):format(relay.name, text)) end
  end }
  return relay
end

return M
