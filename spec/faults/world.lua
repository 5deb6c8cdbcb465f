-- world.lua: what breaks around the program: its interface, under load, and what it needs of the machine. It goes on,
-- or it ends with one clear line; either way its frames are accounted for, and nothing is left.

local account = require "faults.account"
local faults = require "faults.faults"
local machine = require "faults.machine"
local wait = require "support.wait"

local M = {}

local LONGEST = 20 -- seconds that a program may take to its end
local SUBJECT = "spec/faults/subject.lua"
local KINDS = { { "afpacket", "-" }, { "pcap", "-" }, { "xdp", "native" }, { "xdp", "generic" } }

-- ---- one try --------------------------------------------------------------------------------------------------------

-- What is wrong with what it complains of: more than a line, or nothing although it failed.
local function complaint(one, fault)
  local text = one:errors()
  local lines = select(2, text:gsub("\n", ""))
  if text:find "traceback" or text:find "Sanitizer" or lines > 1 and not fault.talks then
    return "complains in more than one line"
  end
  if one.status > 128 then return "ended by signal " .. one.status - 128 end
  if one.status ~= 0 and lines == 0 and not fault.mute then return ("status %d, and no word"):format(one.status) end
end

-- fault.ends: a pattern of the line with which it is to end; fault.may_end: it may, with any.
local function judge(result, one, fault)
  if not one:wait(LONGEST) then return "did not end" end
  local report = account.report(one:output())
  if report then result.unaccounted = account.unaccounted(report) end
  local problem = complaint(one, fault)
  if problem then return problem end
  if one.status ~= 0 and (fault.ends or fault.may_end) then
    result.ended = true
    return fault.ends and not one:errors():find(fault.ends) and "does not say why" or nil
  end
  if one.status ~= 0 then return ("ended with status %d"):format(one.status) end
  if fault.ends then return "goes on" end
  if fault.silent then return nil end -- what it prints is lost
  result.resumed = report ~= nil and account.resumed(report)
  if fault.says and not one:errors():find(fault.says) then return "does not say what is wrong" end
end

local function wait_until_ready(one)
  return wait.eventually(function() return one:output():find "ready" or one:wait(0) end, LONGEST)
end

local function try(world, fault, ns, net, words)
  local before, result = machine.look(world, net), { resumed = true, unaccounted = 0 }
  local one = machine.start(ns, words, fault)
  if fault.disturb then
    wait_until_ready(one)
    fault.disturb(world, net, one)
  end
  result.problem = judge(result, one, fault)
  result.left = machine.left_by(world, one, not fault.ends and net or nil, fault.ends and machine.look(world) or before)
  result.left = fault.after and fault.after(world) or result.left
  result.text = ("status %s\n%s%s"):format(tostring(one.status), one:output(), one:errors())
  one:close()
  return result
end

-- ---- the matrix -----------------------------------------------------------------------------------------------------

local function words_of(fault, kind)
  local words = {}
  for _, word in ipairs(fault.prefix or {}) do words[#words + 1] = word end
  for _, word in ipairs { machine.PATH, "run", SUBJECT, kind[1], kind[2], fault.steps or 80, fault.burst or 10,
    fault.capture } do words[#words + 1] = word end
  return words
end

-- Each kind has an interface of its own, for what is done to that.
local function on_kinds(world, fault, cells)
  for _, kind in ipairs(KINDS) do
    cells[#cells + 1] = { name = ("%s: %s"):format(kind[2] == "-" and kind[1] or table.concat(kind, " "), fault.name),
      try = function()
        local net = machine.network()
        local own = setmetatable({ echo = world.start_echo(net) }, { __index = world })
        local result = try(own, fault, net.near, net, words_of(fault, kind))
        net:close()
        return result
      end }
  end
end

local function on_programs(world, fault, cells)
  for _, program in ipairs(fault.programs or faults.PROGRAMS) do
    cells[#cells + 1] = { name = ("%s: %s"):format(program.name, fault.name), try = function()
      local words = {}
      for _, list in ipairs { fault.prefix or {}, program } do
        for _, word in ipairs(list) do words[#words + 1] = word end
      end
      local redirect = (program.redirect or "") .. " " .. (fault.redirect or "")
      local own = setmetatable({ redirect = redirect, talks = program.talks }, { __index = fault })
      return try(world, own, world.here, nil, words)
    end }
  end
end

-- The cases of each fault.
local function rows_of_cells(world)
  local rows = {}
  for _, fault in ipairs(faults.LINK) do
    rows[#rows + 1] = {}
    on_kinds(world, fault, rows[#rows])
  end
  for _, fault in ipairs(faults.MACHINE) do
    rows[#rows + 1] = {}
    if not fault.programs then on_kinds(world, fault, rows[#rows]) end
    if not fault.kinds_only then on_programs(world, fault, rows[#rows]) end
  end
  return rows
end

-- As kill.run(). short: one case of each fault, which one is by chance.
---@param world table
---@param row fun(name: string): table
---@param wanted fun(name: string): boolean
---@param short boolean
function M.run(world, row, wanted, short)
  for _, cells in ipairs(rows_of_cells(world)) do
    local only = short and world.random(#cells)
    for i, cell in ipairs(cells) do
      if (not only or i == only) and wanted(cell.name) then
        local one = row(cell.name)
        one:add(cell.try(), "once")
        one:done()
      end
    end
  end
end

return M
