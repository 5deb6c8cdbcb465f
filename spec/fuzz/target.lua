-- target.lua: what the targets in Lua share: they run until their time is over, keep what they find, and run a finding
-- again. What they print run.lua reads, as it does libFuzzer's.
--
--   luajit spec/fuzz/codec.lua BUILD SECONDS      fuzzes
--   luajit spec/fuzz/codec.lua FINDING            runs one input again, and says what is wrong with it
--
-- SEED=n in the environment repeats a run, EXECUTIONS=n ends it after so many; a line of the output has the seed.
-- A finding does not end the run. Of those that are alike, but for their numbers, the first is kept.

local chance = require "endure.chance"
local files = require "support.files"
local lines = require "fuzz.lines"

local M = {}

local FINDINGS_MAX = 20

-- What a target is.
---@class fuzz.target
---@field name string
---@field prepare? fun(build: string) before the first execution
---@field once fun(chance: table): string|nil, string|nil  reason and input of what was wrong with one execution
---@field replay? fun(goes_on: function)  executes all inputs once, when lines are watched
---@field again fun(input: string, build: string): string|nil  reason
---@field finish? fun() behind the last execution

-- The first line of the reason without what differs from one input to the next: numbers, and what is quoted.
local function kind_of(reason)
  return (reason:match("^[^\n]*"):gsub("0x%x+", "N"):gsub("%d+", "N"):gsub('".*', ""):sub(1, 200))
end

-- A short name for a text (Fowler, Noll and Vo's FNV-1 with a modulus that numbers of Lua have room for).
local function digest(text)
  local sum = 2166136261
  for i = 1, #text do sum = (sum * 403 + text:byte(i)) % 4294967291 end
  return ("%08x"):format(sum)
end

local function keep(run, reason, input)
  local kind = kind_of(reason)
  if run.kinds[kind] then return end
  run.kinds[kind], run.found = true, run.found + 1
  local path = ("%s/findings/%s-%s"):format(run.build, run.target.name, digest(kind))
  files.write(path, input)
  print(("found: %s\n  again: luajit spec/fuzz/%s.lua %s"):format(reason:match "^[^\n]*", run.target.name, path))
end

-- What would end in the middle of an execution leaves its input here; run.lua keeps it.
local function note_path(build, target, seed)
  return ("%s/%s-%d.running"):format(build, target.name, seed)
end

local function goes_on(run, count)
  if run.found >= FINDINGS_MAX or run.executions and count >= run.executions then return false end
  return os.time() < run.ends
end

local function fuzz(target, build, seconds)
  local seed = chance.seed()
  local run = { target = target, build = build, found = 0, kinds = {},
    executions = tonumber(os.getenv "EXECUTIONS") }
  io.stdout:setvbuf "line"
  print(("SEED=%d"):format(seed))
  os.execute(("mkdir -p '%s/findings'"):format(build))
  if target.prepare then target.prepare(build) end
  run.ends = os.time() + seconds
  local middle = os.time() + seconds / 2
  if lines.watching and target.replay then target.replay(function() return os.time() < middle end) end
  local draw, count = chance.new(seed), 0
  local path = note_path(build, target, seed)
  target.note = assert(io.open(path, "wb"))
  target.note:setvbuf "no"
  while goes_on(run, count) do
    local reason, input = target.once(draw, seed + count)
    count = count + 1
    if reason then keep(run, reason, input) end
  end
  lines.finish()
  if target.finish then target.finish() end
  target.note:close()
  os.remove(path)
  print(("stat::number_of_executed_units: %d"):format(count))
  return run.found == 0
end

-- Runs a target as its command line says, and ends the process: status 1 when something was found.
---@param target fuzz.target
---@param args string[]
function M.main(target, args)
  local seconds = tonumber(args[2])
  if seconds then os.exit(fuzz(target, args[1], seconds) and 0 or 1) end
  if not args[1] then error(("%s.lua BUILD SECONDS, or %s.lua FINDING"):format(target.name, target.name), 0) end
  local reason = target.again(files.read_all(args[1]), args[1]:match "^(.*)/findings/" or ".")
  print(reason and "found: " .. reason or "nothing is wrong with it any more")
  os.exit(reason and 1 or 0)
end

return M
