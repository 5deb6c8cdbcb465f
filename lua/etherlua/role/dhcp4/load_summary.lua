-- role/dhcp4/load_summary.lua: what came of a load of DHCP clients, or of several: the ranks of one run add up what
-- they have counted, and then it follows from the sums.

local M = {}

M.GREATEST = { "seconds" } -- of several loads that began together the longest counts

---@param counts table of Load:totals, or sums of these; becomes what is returned
---@return etherlua.dhcp4_load_summary
function M.of(counts)
  counts.unfinished = counts.clients - counts.bound - counts.failed
  counts.rate = counts.seconds > 0 and counts.bound / counts.seconds or 0
  for _, name in ipairs { "dora", "offer", "ack" } do counts[name] = counts[name]:summary() end
  return counts
end

return M
