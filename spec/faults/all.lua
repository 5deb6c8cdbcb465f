-- all.lua: the kill and fault matrix: what becomes of the machine and of the frames when the program is killed, and
-- when the world around it breaks. `make faults` runs it as root; it prints a line for each case, and behind them what
-- was wrong. The exit status is 1 then.
--
--   luajit spec/faults/all.lua [ROUNDS [SEED [CASES]]]
--
-- ROUNDS: tries of each signal (3; 0: no signals). With 1 it is a short form: of what breaks, each thing breaks for one
-- program only, which one is by chance, and so by SEED. CASES: Lua patterns of names, with | between.

package.path = "lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path
require "support.helper"

local lab = require "etherlua.lab.lab"
local machine = require "faults.machine"
local shell = require "etherlua.lab.shell"
local wait = require "support.wait"

local rounds, seed, pattern = tonumber(arg[1]) or 3, tonumber(arg[2]) or os.time(), arg[3] or ""

local function now()
  return tonumber((shell.run "date +%s.%N"))
end

-- ---- the table ------------------------------------------------------------------------------------------------------

local LINE = "%-48s %5s %10s %10s %12s"
local wrong, cases = 0, 0

local function share(good, tries) return good == tries and "yes" or ("%d of %d"):format(good, tries) end

local Row = {}
Row.__index = Row

local function row(name)
  cases = cases + 1
  return setmetatable({ name = name, tries = 0, clean = 0, resumed = 0, unaccounted = 0, bad = {} }, Row)
end

-- A try: what is wrong with it, and what was left; `words` say which one it was.
function Row:add(result, words)
  self.tries = self.tries + 1
  if not result.left then self.clean = self.clean + 1 end
  if result.ended then self.ended = (self.ended or 0) + 1 end
  if result.resumed then self.resumed = self.resumed + 1 end
  self.unaccounted = self.unaccounted + result.unaccounted
  local problem = result.problem or result.left and "left: " .. result.left or not result.resumed and
    "traffic did not resume" or result.unaccounted > 0 and result.unaccounted .. " frames in no counter"
  if problem then
    self.bad[#self.bad + 1] = ("  %s: %s\n%s"):format(words, problem, result.text or "")
  end
end

function Row:done()
  print(LINE:format(self.name, self.tries, share(self.clean, self.tries), self.ended == self.tries and "ends" or
    share(self.resumed, self.tries), self.unaccounted) .. (#self.bad > 0 and "  WRONG" or ""))
  for _, text in ipairs(self.bad) do print((text:gsub("\n", "\n    "))) end
  wrong = wrong + #self.bad
  io.flush()
end

-- ---- all of it ------------------------------------------------------------------------------------------------------

local function wanted(name)
  for one in pattern:gmatch "[^|]+" do
    if name:find(one) then return true end
  end
  return pattern == ""
end

local function start_echo(net)
  local echo = net.far:start({ machine.PATH, "run", "-i", "eth0", "spec/faults/echo.lua" }, { log = "/dev/null" })
  wait.eventually(function() return net.far:run "cat /proc/net/packet":find " 3 +0003" end)
  return echo
end

local function main()
  local possible, reason = lab.root()
  if not possible then error(reason, 0) end
  print(("seed %d, %d rounds of each signal\n"):format(seed, rounds))
  print(LINE:format("case", "tries", "clean", "resumes", "unaccounted"))
  math.randomseed(seed)
  shell.run "mkdir -p build/faults && cc -shared -fPIC -o build/faults/clock.so spec/support/clock.c"
  local began = now()
  local world = { net = machine.network(), here = lab.open(), random = math.random, now = now, machine = machine }
  world.start_echo = start_echo
  start_echo(world.net)
  require("faults.kill").run(world, rounds, row, wanted)
  require("faults.world").run(world, row, wanted, rounds == 1)
  world.net:close()
  print(("\n%d cases in %.0f s, %d tries wrong"):format(cases, now() - began, wrong))
  return wrong == 0 and cases > 0
end

local ok, good = xpcall(main, function(message) return type(message) == "string" and message or debug.traceback() end)
if not ok then io.stderr:write("faults: ", tostring(good), "\n") end
os.exit(ok and good and 0 or 1, true)
