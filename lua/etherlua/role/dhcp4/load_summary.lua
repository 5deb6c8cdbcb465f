-- role/dhcp4/load_summary.lua: what came of a load of DHCP clients, or of several: the ranks of one run add up what they
-- have counted, and then it follows from the sums.

local M = {}

---@class etherlua.dhcp4_load_summary
---@field clients integer
---@field opened integer whose endpoints are open
---@field bound integer
---@field failed integer
---@field unfinished integer
---@field failures table<string, integer> by reason
---@field seconds number from the first DISCOVER to the last ACK; 0 when there was none
---@field rate number bound a second
---@field retransmissions integer
---@field naks integer
---@field ignored integer replies that nobody wants
---@field misread table<string, integer> those that were not understood, by the reason
---@field released integer
---@field dora etherlua.summary times of whole sessions
---@field offer etherlua.summary times to an OFFER
---@field ack etherlua.summary times to an ACK

M.GREATEST = { "seconds" } -- of several loads that began together the longest counts

---@param counts table of Load:counts, or sums of these; becomes what is returned
---@return etherlua.dhcp4_load_summary
function M.of(counts)
  counts.unfinished = counts.clients - counts.bound - counts.failed
  counts.rate = counts.seconds > 0 and counts.bound / counts.seconds or 0
  for _, name in ipairs { "dora", "offer", "ack" } do counts[name] = counts[name]:summary() end
  return counts
end

return M
