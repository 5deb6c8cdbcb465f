-- kill.lua: each program, ended or stopped by each signal at random moments of its life.

local account = require "faults.account"
local machine = require "faults.machine"

local M = {}

-- Those of a terminal go to all of the program's processes. again: it is started anew at once.
local SIGNALS = { { "SIGKILL", 9 }, { "SIGKILL, and anew", 9, again = true }, { "SIGTERM", 15 },
  { "SIGINT", 2, true }, { "SIGHUP", 1, true }, { "SIGSTOP, SIGCONT", 19 } }
local STOP, CONT = 19, 18
local LONGEST = 10    -- seconds that a program may take to its end
local STANDSTILL = 0.05

local SUBJECT, STEPS, BURST = "spec/faults/subject.lua", 80, 10

local function subject(kind, mode)
  return { name = mode == "-" and kind or kind .. " " .. mode,
    words = { machine.PATH, "run", SUBJECT, kind, mode, STEPS, BURST }, on_interface = true }
end

local PROGRAMS = {
  subject("afpacket", "-"), subject("pcap", "-"), subject("xdp", "native"), subject("xdp", "generic"),
  { name = "lab", words = { machine.PATH, "run", SUBJECT, "lab", "-", STEPS, BURST } },
  { name = "prompt", words = { machine.PATH, "repl", "--lab" }, redirect = "<spec/faults/typed.txt" },
  { name = "test runner", words = { machine.PATH, "test", "spec/faults/tested.lua" },
    kept = "tmp/etherlua_%w+%.pcap\n" }, -- the frames of a test that has not passed
}

-- ---- one try --------------------------------------------------------------------------------------------------------

local function start(world, program)
  return machine.start(program.on_interface and world.net.near or world.here, program.words,
    { redirect = program.redirect })
end

-- More than one line of complaint, or a traceback, is no orderly end.
local function complaint(program)
  local text = program:errors()
  if text:find "traceback" or text:find "Sanitizer" or select(2, text:gsub("\n", "")) > 1 then return text end
end

local function judge_end(result, one, number)
  if not one:wait(LONGEST) then return "did not end" end
  local report = account.report(one:output())
  if report then result.unaccounted = account.unaccounted(report) end
  if number ~= STOP then return complaint(one) end
  if one.status ~= 0 then return ("ended with status %d"):format(one.status) end
  result.resumed = report ~= nil and account.resumed(report)
  return complaint(one)
end

-- A life of the program, undisturbed: why it was no good one, or nil.
local function live(world, program)
  local one = start(world, program)
  local status = one:wait(LONGEST)
  local text = one:output() .. one:errors()
  local report = account.report(text)
  one:close()
  if status == 0 and report and account.unaccounted(report) == 0 and account.resumed(report) then return nil end
  return text
end

-- One signal at one moment.
---@return table result problem?, left?, resumed, unaccounted
local function try(world, program, signal, moment, before)
  local number = signal[2]
  local net = program.on_interface and world.net
  local result = { resumed = true, unaccounted = 0 }
  local one = start(world, program)
  one:wait(moment)
  one:signal(number, signal[3])
  if number == STOP then
    one:wait(STANDSTILL)
    one:signal(CONT)
  end
  result.problem = judge_end(result, one, number)
  local anew = signal.again and live(world, program)
  if anew then result.problem = "does not work anew: " .. anew end
  result.left = machine.left_by(world, one, net, before, program.kept)
  if net and number ~= STOP then result.resumed = machine.kernels_talk(net) end
  if result.problem or result.left or not result.resumed or result.unaccounted > 0 then
    result.text = one:output() .. one:errors()
  end
  one:close()
  return result
end

-- How long an undisturbed life takes; it must be a good one.
local function lifetime(world, program)
  local began = world.now()
  local problem = live(world, program)
  if problem then error(("%s does not work, undisturbed:\n%s"):format(program.name, problem), 0) end
  return world.now() - began
end

-- ---- the matrix -----------------------------------------------------------------------------------------------------

-- Calls row(name, tries) for each cell, and that row's add(result, words) for each try.
---@param world table net, here, random, now
---@param rounds integer
---@param row fun(name: string): table
---@param wanted fun(name: string): boolean
function M.run(world, rounds, row, wanted)
  if rounds == 0 then return end
  for _, program in ipairs(PROGRAMS) do
    local seconds
    local before = machine.look(world, program.on_interface and world.net)
    for _, signal in ipairs(SIGNALS) do
      local name = ("%s: %s"):format(program.name, signal[1])
      if wanted(name) then
        seconds = seconds or lifetime(world, program)
        local one = row(name)
        for _ = 1, rounds do
          local moment = world.random() * seconds
          one:add(try(world, program, signal, moment, before), ("after %.4f s"):format(moment))
        end
        one:done()
      end
    end
  end
end

return M
