-- bench.lua: what the benchmarks share: pinning, floor programs in C, medians, and output. Each benchmark runs alone:
--
--   etherlua run scripts/bench/pingpong.lua --json

local script = require "etherlua.script"

local M = {}

local folder = arg[0]:match("^(.*/)") or "./"

-- ---- the machine --------------------------------------------------------------------------------------------------

local function read_all(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Pins this process to a core.
---@param core integer
function M.pin(core)
  local pid = read_all("/proc/self/stat"):match("^%d+")
  if os.execute(("taskset -pc %d %s >/dev/null 2>&1"):format(core, pid)) ~= 0 then
    script.exit(script.FAILED, ("cannot pin to core %d: taskset of util-linux and two cores are needed"):format(core))
  end
end

-- Memory of this process that is in use now.
---@return number bytes
function M.memory()
  collectgarbage()
  collectgarbage()
  return tonumber(read_all("/proc/self/status"):match("VmRSS:%s+(%d+)")) * 1024
end

-- Builds a floor program; it is removed at the end of the run.
---@param name string of scripts/bench/floor/NAME.c
---@return string path
function M.floor(name)
  local path = os.tmpname()
  if os.execute(("cc -O2 -o %s %sfloor/%s.c"):format(path, folder, name)) ~= 0 then
    os.remove(path)
    script.exit(script.FAILED, ("cannot build the floor program %s.c"):format(name))
  end
  return path
end

-- ---- numbers ------------------------------------------------------------------------------------------------------

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

-- ---- output -------------------------------------------------------------------------------------------------------

local NAMES = { "case", "value", "unit", "floor", "ratio", "goal", "met" }

function M.options(name, description)
  return script.parse(script.parser(name, description), arg)
end

local function text_of(row)
  local parts = { ("%-44s %9.3f %-5s"):format(row.case, row.value, row.unit) }
  if row.floor then parts[#parts + 1] = ("floor %.3f ratio %.2f"):format(row.floor, row.ratio) end
  parts[#parts + 1] = ("goal %s%s %s"):format(row.sign or "<= ", row.goal, row.met and "met" or "NOT MET")
  return table.concat(parts, "  ")
end

-- Prints one result; goal is for the ratio when there is a floor, else for the value: at most, if not told otherwise.
---@param opts table
---@param row table case, value, unit, floor, goal
function M.report(opts, row)
  row.ratio = row.floor and row.value / row.floor
  row.met = (row.ratio or row.value) <= row.goal
  if opts.json then return script.print_json(NAMES, row) end
  print(text_of(row))
end

return M
