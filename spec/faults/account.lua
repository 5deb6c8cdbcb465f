-- account.lua: whether every frame is in a counter: what load.lua printed, against the equations of struct el_stats
-- and against the kernel's counters of the interface.

local cjson = require "cjson"

local M = {}

local RX = { "rx_delivered", "rx_queued", "rx_invalid", "rx_filtered", "rx_unclaimed", "rx_overflow", "rx_evicted",
  "rx_no_memory", "rx_closed", "rx_fragments", "rx_merged", "rx_frag_duplicate", "rx_frag_timeout", "rx_frag_overlap",
  "rx_frag_invalid", "rx_frag_limit" }
local TX = { "tx_sent", "tx_pending", "tx_link_down", "tx_refused", "tx_error" }

local function sum(stats, names)
  local total = 0
  for _, name in ipairs(names) do total = total + stats[name] end
  return total
end

-- The report in an output, if there is one.
---@param output string
---@return table?
function M.report(output)
  local line = output:match '(%b{})\n'
  return line and cjson.decode(line)
end

local function grown(report, name)
  local after, before = report.after[name], report.before[name]
  return after and before and after - before
end

-- Frames that are in no counter, or in too many. A frame whose sender was told that it could not be sent may have been
-- counted or not. What the kernel itself dropped it counts as dropped: between none and all of these were to be the
-- relay's. Its counters are gone with the interface; then the equations are left.
---@param report table of report()
---@return integer
function M.unaccounted(report)
  local stats = report.stats
  local wrong = math.abs(stats.rx_frames + stats.rx_copies + stats.rx_reassembled - sum(stats, RX))
    + math.abs(stats.tx_frames - sum(stats, TX))
    + math.max(0, report.sent - report.told - stats.tx_frames, stats.tx_frames - report.sent)
  local rx, tx = grown(report, "rx"), grown(report, "tx")
  if not rx then return wrong end
  local taken, sent = stats.rx_frames + stats.rx_missed, stats.tx_sent
  return wrong + math.max(0, taken - rx, rx - taken - grown(report, "rx_dropped"))
    + math.max(0, tx - sent, sent - tx - grown(report, "tx_dropped"))
end

-- Whether what was sent last has come back.
function M.resumed(report)
  return report.last == report.sent and report.sent > 0
end

return M
