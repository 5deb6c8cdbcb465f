-- rounds.lua: rounds of a benchmark, etherlua and floor in turn, and the numbers that are made of them.

local ether = require "etherlua"
local files = require "etherlua.core.files"

local M = {}

M.feed = nil ---@type etherlua.process? what sends all the time, and so keeps a processor busy
-- Busier than that, as a share of all processors, nothing is judged.
M.BUSY = 0.1
local LOOK = 0.2 -- seconds

-- The value below which a share of the list lies. Sorts the list.
---@param list number[]
---@param share number 0 to 1
function M.percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * share))]
end

function M.median(list)
  return M.percentile(list, 0.5)
end

local function column(rounds, side, name)
  local list = {}
  for i, round in ipairs(rounds) do list[i] = round[side][name] end
  return list
end

local function ratios(rounds, name)
  local list = {}
  for i, round in ipairs(rounds) do list[i] = round.ours[name] / round.floor[name] end
  return list
end

-- Packets of a measurement -> what is compared: millions a second, and CPU seconds for a million.
local function rates(measured)
  if measured.count then
    measured.rate = measured.count / measured.seconds / 1e6
    measured.cpu = measured.cpu / measured.count * 1e6
  end
  return measured
end

-- Time that all processors have had, and of that what they were busy (proc(5)).
local function processor_time()
  local total, idle, i = 0, 0, 0
  for ticks in files.read("/proc/stat"):match("^cpu +([^\n]+)"):gmatch "%d+" do
    i = i + 1
    total = total + ticks
    if i == 4 or i == 5 then idle = idle + ticks end -- idle, iowait
  end
  return total, total - idle
end

-- CPU time of a process, in nanoseconds (Documentation/scheduler/sched-stats.rst).
---@param pid integer
---@return number
function M.cpu_of(pid)
  return tonumber(files.read(("/proc/%d/schedstat"):format(pid)):match "%d+")
end

local TICK = 1e7 -- nanoseconds (proc(5))

-- The share of the processors that others use, while nothing is measured but the feed flows, if there is one.
local function busy_share()
  local total, busy = processor_time()
  local fed = M.feed and M.cpu_of(M.feed.pid)
  ether.sleep(LOOK)
  local total_now, busy_now = processor_time()
  local own = fed and (M.cpu_of(M.feed.pid) - fed) / TICK or 0
  return math.max(0, busy_now - busy - own) / math.max(1, total_now - total)
end

-- Floor and etherlua in turn.
---@param opts table
---@param ours function returns what M.measure does, or other numbers by name
---@param floor function
---@return table rounds { ours =, floor = }, and busy: the greatest share of the machine that was busy before one
function M.rounds(opts, ours, floor)
  local rounds = { busy = 0 }
  for i = 1, opts.rounds do
    rounds.busy = math.max(rounds.busy, busy_share())
    rounds[i] = { floor = rates(floor()) }
    rounds[i].ours = rates(ours())
  end
  return rounds
end

-- Fields of a row: medians of one of the numbers, and of the ratio of each round, with the least and the greatest.
---@param rounds table from M.rounds
---@param name string "rate"
---@return table
function M.summary(rounds, name)
  local list = ratios(rounds, name)
  return {
    busy = rounds.busy, ratio_low = M.percentile(list, 0), ratio_high = M.percentile(list, 1),
    value = M.median(column(rounds, "ours", name)), floor = M.median(column(rounds, "floor", name)),
    ratio = M.median(list), cpu = M.median(column(rounds, "ours", "cpu")),
    floor_cpu = M.median(column(rounds, "floor", "cpu")), memory = M.median(column(rounds, "ours", "memory")),
  }
end

return M
