-- program/report.lua: what a script that counts says of itself: a line on the terminal while it runs, a summary at the
-- end, after Ctrl-C too. Where several ranks run it, these are one line and one summary: rank 0 says what all have
-- counted.

local ranks = require "etherlua.ranks"
local sched = require "etherlua.core.sched"
local script = require "etherlua.program.script"

local M = {}

local TELL_EVERY = 0.5 -- seconds

-- counts() are a rank's own, so far: numbers and histograms, and tables of these, that add up. Of those that are named
-- in `greatest` the greatest counts. values(counts) makes of the sum what line(values) and finish(values) want; else
-- they get the sum.
---@class etherlua.report
---@field counts fun(): table
---@field greatest? string[]
---@field values? fun(counts: table): table
---@field line fun(values: table): string for the terminal
---@field before? fun() is called at the end, on each rank: it may block
---@field finish fun(values: table): integer prints the summary; returns the exit status

-- This rank's part of what an option names, at least one.
---@param n integer
---@param option string
---@return integer first number, from 0
---@return integer count
function M.share(n, option)
  local first, count = ranks.share(n)
  if n < ranks.size then
    script.exit(script.USAGE, ("bad value %d of %s: %d ranks need one each at the least"):format(n, option, ranks.size))
  end
  return first, count
end

local function tell(report)
  while true do
    ranks.tell(report.counts())
    sched.sleep(TELL_EVERY)
  end
end

local function values_of(report, list)
  local sum = ranks.sum(list, report.greatest)
  return report.values and report.values(sum) or sum
end

-- What is known now of all ranks.
---@param report etherlua.report
---@return table values
function M.now(report)
  local list = ranks.latest()
  list[1] = report.counts()
  return values_of(report, list)
end

-- Of a rank that was lost there is what it told before.
local function finish(report)
  if report.before then report.before() end
  script.end_progress()
  local list = ranks.gather(report.counts())
  script.status = script.DONE
  if not list then return end
  for i, latest in pairs(ranks.latest()) do list[i] = list[i] or latest end
  script.status = report.finish(values_of(report, list))
end

-- The line is there from now on: also while there is nothing to sum up yet.
---@param report etherlua.report
function M.live(report)
  if ranks.rank > 0 then sched.spawn_background(tell, report) end
  script.progress(function() return report.line(M.now(report)) end)
end

-- The summary comes when the calling task ends.
---@param report etherlua.report
function M.sum_up(report)
  sched.defer(function() finish(report) end)
end

-- Both.
---@param report etherlua.report
function M.begin(report)
  M.live(report)
  M.sum_up(report)
end

return M
