-- program/doctor/doctor.lua: the command `etherlua doctor`: says what keeps etherlua from working on this machine and
-- on an interface, and the command that mends it. It changes nothing. The checks are in doctor/host.lua and
-- doctor/interface.lua, what they ask in doctor/system.lua, all of it for Windows in doctor/windows.lua; here are the
-- command line and the output.

local console = require "etherlua.console"
local outside = require "etherlua.core.outside"
local script = require "etherlua.program.script"

local M = {}

-- The checks, and what they ask.
local host, interface, system
if jit.os == "Windows" then
  local windows = require "etherlua.program.doctor.windows"
  host, interface, system = windows.host, windows.interface, windows.system
else
  host, interface = require "etherlua.program.doctor.host", require "etherlua.program.doctor.interface"
  system = require "etherlua.program.doctor.system"
end

-- ---- findings -----------------------------------------------------------------------------------------------------

---@class etherlua.finding
---@field check string
---@field status string "ok", "note" or "problem"
---@field detail string
---@field fix? string command

-- The arguments are those of the checks.
local function run_checks(checks, ...)
  local found = {}
  for _, check in ipairs(checks) do
    local status, detail, fix = check[2](...)
    if status then found[#found + 1] = { check = check[1], status = status, detail = detail, fix = fix } end
  end
  return found
end

local function examine_interface(sys, name)
  local facts = interface.facts(sys, name)
  if not facts then script.exit(script.USAGE, ("no such interface: %s (etherlua doctor lists them)"):format(name)) end
  return { title = "interface " .. name, run_checks(interface.checks(facts), facts, sys) }
end

-- The machine first: its settings are not seen from all namespaces.
local function examine(opts)
  local sys = system.new(opts.netns)
  local sections = { { title = "this machine", run_checks(host.checks, sys) } }
  script.enter_netns(opts.netns)
  if opts.interface then
    sections[2] = examine_interface(sys, opts.interface)
  else
    sections[2] = { title = "interfaces (etherlua doctor NAME examines one)", interface.list(sys) }
  end
  return sections
end

-- ---- output -------------------------------------------------------------------------------------------------------

local INDENT = 11 -- two spaces, the longest status, two spaces
local FIX_COLUMN = 60
local NARROWEST = 20
local COLOURS = { ok = "32", note = "33", problem = "1;31" }

-- Columns of the terminal that standard output is; nil when it is none, and lines may have any length.
local function terminal_width()
  return console.is_terminal(1) and console.columns() or nil
end

local function wrap(text, width)
  local lines, line = {}, ""
  for spaces, word in text:gmatch("(%s*)(%S+)") do
    if line ~= "" and #line + #spaces + #word > width then
      lines[#lines + 1], line = line, word
    else
      line = line .. spaces .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(INDENT))
end

local function paint(status, colours)
  local text = ("%-7s"):format(status)
  return colours and ("\27[%sm%s\27[0m"):format(COLOURS[status], text) or text
end

-- On one line where it fits, else with the command on a line of its own, in one piece, to be copied; once for several
-- findings that it mends.
local function print_finding(finding, following, width, colours)
  local detail, fix = outside.shown(finding.detail), finding.fix and outside.shown(finding.fix)
  local line = fix and ("%-" .. FIX_COLUMN .. "s  %s"):format(detail, fix) or detail
  if width and #line + INDENT > width then
    line = wrap(detail, math.max(width - INDENT, NARROWEST))
    if fix and not (following and following.fix == fix) then line = line .. "\n" .. (" "):rep(INDENT) .. fix end
  end
  io.stdout:write("  ", paint(finding.status, colours), "  ", line, "\n")
end

local function print_text(sections, problems)
  local width = terminal_width()
  local colours = width and not os.getenv "NO_COLOR"
  for _, section in ipairs(sections) do
    print(outside.shown(section.title))
    local findings = section[1]
    for i, finding in ipairs(findings) do print_finding(finding, findings[i + 1], width, colours) end
  end
  print(problems == 0 and "no problems" or problems == 1 and "1 problem" or problems .. " problems")
end

local NAMES = { "check", "status", "detail", "fix" }

local function print_json(sections)
  for _, section in ipairs(sections) do
    for _, finding in ipairs(section[1]) do script.print_json(NAMES, finding) end
  end
end

-- ---- the command --------------------------------------------------------------------------------------------------

local function new_parser()
  local parser = script.bare_parser("etherlua doctor",
    "Say what keeps etherlua from working on this machine, or on an interface, and how to mend it.")
  parser:argument("interface", "The interface to examine; default: a list of them."):args("?"):argname("IFACE")
  parser:option("--netns", "Enter this network namespace first: a name, a path or a process id."):argname("NAME")
  parser:flag("--json", "Print one JSON object a line.")
  parser:epilog("Relays of each kind are opened on the interface and closed at once; the host keeps its traffic, but "
    .. "a few network cards restart their link when XDP is attached. Exit status: 0 no problem, 3 problems, 2 wrong "
    .. "usage.")
  return parser
end

local function count_problems(sections)
  local count = 0
  for _, section in ipairs(sections) do
    for _, finding in ipairs(section[1]) do
      if finding.status == "problem" then count = count + 1 end
    end
  end
  return count
end

---@param args string[] what follows "doctor"
---@return integer exit status
function M.main(args)
  local opts = new_parser():parse(args)
  local sections = examine(opts)
  local problems = count_problems(sections)
  if opts.json then print_json(sections) else print_text(sections, problems) end
  return problems == 0 and script.DONE or script.REFUSED
end

return M
