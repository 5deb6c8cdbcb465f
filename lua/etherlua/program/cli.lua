-- program/cli.lua: the etherlua program: finds the script, runs it as the first task of a run, turns its end into an
-- exit status. What scripts have in common is script.lua's.

local ether = require "etherlua"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local outside = require "etherlua.core.outside"
local sched = require "etherlua.core.sched"
local script = require "etherlua.program.script"
local tasks = require "etherlua.program.tasks"
local trace = require "etherlua.program.trace"

local C = effi.C

local M = {}

local USAGE = [[
Usage: etherlua COMMAND [ARGUMENTS]

Scripted hosts on a wire: MAC addresses, VLAN tags and IP addresses that exist nowhere in the operating system.

Commands:
   run [OPTIONS] SCRIPT [ARGUMENTS]   Run a Lua script: a path, or the name of one that is shipped.
   test [OPTIONS] [SPECS]             Run spec files with busted, each test as a task.
   repl [OPTIONS] [SCRIPT]            Type Lua at a prompt: hosts on a wire, line by line.
   doctor [OPTIONS] [IFACE]           Say what keeps it from working here, or on an interface, and how to mend it.

Options:
   -h, --help                         Show this help. `etherlua run --help` lists the scripts.
   --version                          Show the version.
]]

local function print_error(name, message)
  io.stderr:write(name, ": ", outside.lines(message), "\n")
end

-- ---- finding the script -------------------------------------------------------------------------------------------

local function readable(path)
  local file = io.open(path, "rb")
  if not file then return false end
  local is_file = file:read(0) ~= nil or file:seek("end") == 0
  file:close()
  return is_file
end

-- Names of the scripts that are shipped. As everywhere here, `dir` is their folder, or what a portable program has
-- inside: functions by name that return the chunk.
local function shipped(dir)
  local names = {}
  if type(dir) == "table" then
    for name in pairs(dir) do names[#names + 1] = name end
    table.sort(names)
    return names
  end
  local listing = dir and io.popen(("ls '%s' 2>/dev/null"):format(dir))
  for name in listing and listing:lines() or function() end do
    names[#names + 1] = name:match("^(.+)%.lua$")
  end
  if listing then listing:close() end
  return names
end

-- Returns its path and what loads it.
local function find_script(name, dir)
  if readable(name) then return name, loadfile end
  local base = name:gsub("%.lua$", "")
  if type(dir) == "table" then
    if dir[base] then return base .. ".lua", dir[base] end
  elseif dir and not name:find("/", 1, true) then
    local path = ("%s/%s.lua"):format(dir, base)
    if readable(path) then return path, loadfile end
  end
  local names = shipped(dir)
  script.exit(script.USAGE, ("no such script: %s%s"):format(name,
    #names > 0 and " (shipped are " .. table.concat(names, ", ") .. ")" or ""))
end

local function load_script(path, load)
  local chunk, reason = load(path)
  if not chunk then script.exit(script.USAGE, "cannot load the script: " .. reason) end
  return chunk
end

-- ---- run ----------------------------------------------------------------------------------------------------------

-- Splits into what is the program's and, from the first word that is no option, the script's.
local function split(args)
  local own, i = {}, 1
  while args[i] and args[i]:sub(1, 1) == "-" do
    own[#own + 1] = args[i]
    if script.COMMON[args[i]] and args[i + 1] then
      i = i + 1
      own[#own + 1] = args[i]
    end
    i = i + 1
  end
  return own, args[i], { unpack(args, i + 1) }
end

local function run_parser(dir)
  local parser = script.bare_parser("etherlua run", "Run a Lua script as the first task.")
  script.add_common(parser)
  parser:flag("--trace-tasks", "Print on standard error when a task is spawned, waits, is woken and ends.")
  parser:usage("Usage: etherlua run [OPTIONS] SCRIPT [ARGUMENTS]")
  parser:epilog("SCRIPT is a path, or one of the shipped: " .. table.concat(shipped(dir), ", ") ..
    ". Each has --help of its own; the options above but --trace-tasks may also stand behind it.")
  return parser
end

-- Also what SIGUSR1 asks for is told: what the tasks wait for.
---@param hidden? table<table, boolean> tasks that are left out
local function catch_signals(hidden)
  sched.answer_with(function() io.stderr:write(tasks.list(hidden or {}), "\n") end)
  local code = C.el_signals_catch(sched.engine())
  if code ~= 0 then print_error("etherlua", "cannot catch Ctrl-C: " .. errno.reason(code)) end
end

-- Room for compiled code (JIT 10).
local function size_compiler()
  jit.opt.start("maxtrace=4000", "maxmcode=8192")
end

local function run(args, dir)
  local own, name, rest = split(args)
  local given = run_parser(dir):parse(own)
  script.enter_netns(given.netns)
  if given.trace_tasks then trace.start() end
  given.netns, given.trace_tasks = nil, nil
  script.use_defaults(given)
  if not name then script.exit(script.USAGE, "no script given (etherlua run --help lists those that are shipped)") end
  local path, load = find_script(name, dir)
  local chunk = load_script(path, load)
  rest[0] = path
  _G.arg = rest -- luacheck: ignore 122
  catch_signals()
  local status = ether.run(chunk, unpack(rest))
  return script.status or type(status) == "number" and status or (sched.was_interrupted() and 130) or script.DONE
end

-- ---- repl ---------------------------------------------------------------------------------------------------------

local function repl(args, dir)
  return require("etherlua.program.repl.repl").main(args, {
    scripts = shipped(dir),
    load = function(name) return load_script(find_script(name, dir)) end,
    catch_signals = catch_signals,
  })
end

-- ---- the program --------------------------------------------------------------------------------------------------

local function dispatch(args, env)
  local command = args[1]
  if command == "run" then return run({ unpack(args, 2) }, env.scripts) end
  if command == "test" then return require("etherlua.program.test").main { unpack(args, 2) } end
  if command == "repl" then return repl({ unpack(args, 2) }, env.scripts) end
  if command == "doctor" then return require("etherlua.program.doctor.doctor").main { unpack(args, 2) } end
  if command == "--version" then
    print("etherlua " .. ether.version)
  elseif command == "-h" or command == "--help" then
    io.stdout:write(USAGE)
  else
    script.exit(script.USAGE, command and
      ("unknown command %q: run, repl, test or doctor is allowed (etherlua --help)"):format(command) or
      "no command given (etherlua --help)")
  end
  return script.DONE
end

---@param args string[] the program's arguments
---@param env table scripts: folder of the shipped scripts, or a table of functions that load them, by name
---@return integer exit status
function M.main(args, env)
  io.stdout:setvbuf("line")
  size_compiler()
  local ok, result = xpcall(dispatch, function(err)
    return type(err) == "table" and err or tostring(err)
  end, args, env or {})
  if ok then return result end
  if type(result) == "table" and result.exit_status then
    if result.message then print_error("etherlua", result.message) end
    return result.exit_status
  end
  print_error("etherlua", tostring(result))
  return script.FAILED
end

return M
