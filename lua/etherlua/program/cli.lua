-- program/cli.lua: the etherlua program: finds the script, runs it as the first task of a run, turns its end into an
-- exit status. What scripts have in common is script.lua's.

local ether = require "etherlua"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local failures = require "etherlua.core.failure"
local outside = require "etherlua.core.outside"
local files = require "etherlua.core.files"
local launcher = require "etherlua.program.launcher"
local places = require "etherlua.program.places"
local ranks = require "etherlua.ranks"
local rights = require "etherlua.core.rights"
local runaway = require "etherlua.core.runaway"
local sched = require "etherlua.core.sched"
local script = require "etherlua.program.script"
local tasks = require "etherlua.program.tasks"
local trace = require "etherlua.program.trace"

local C = effi.C

local M = {}

local STDIN = "-"
local SEPARATOR = package.config:sub(1, 1) -- of folders

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

-- In one piece: other ranks write there, too.
local function print_error(name, message)
  io.stderr:write(("%s: %s\n"):format(name, outside.lines(message)))
end

-- ---- finding the script -------------------------------------------------------------------------------------------

-- Names of the scripts that are shipped. As everywhere here, `dir` is their folder, or what a portable program has
-- inside: functions by name that return the chunk.
local function shipped(dir)
  local names = {}
  if type(dir) == "table" then
    for name in pairs(dir) do names[#names + 1] = name end
    table.sort(names)
    return names
  end
  local listing = dir and io.popen(("ls %s 2>/dev/null"):format(files.quote(dir)))
  for name in listing and listing:lines() or function() end do
    names[#names + 1] = name:match("^(.+)%.lua$")
  end
  if listing then listing:close() end
  return names
end

-- The chunk of one that is shipped, or nil.
local function load_shipped(name, dir)
  local base = name:gsub("%.lua$", "")
  if type(dir) == "table" then return dir[base] and dir[base](), base .. ".lua" end
  local path = ("%s/%s.lua"):format(dir or "", base)
  local text = dir and files.read(path)
  if text then return loadstring(text, "@" .. path), path end
end

local function is_here(name)
  return files.exists("./" .. name)
end

local function no_such_script(name, dir)
  local hint, names = is_here(name) and (", but there is ./%s"):format(outside.shown(name)) or "", shipped(dir)
  script.exit(script.USAGE, ("no such script: %s%s%s"):format(outside.shown(name), hint,
    #names > 0 and " (shipped are " .. table.concat(names, ", ") .. ")" or ""))
end

-- The text of a script, read once: it may come out of a pipe.
local function read_script(path, dir)
  local file, reason, code, text = io.stdin, nil, nil, nil
  if path ~= STDIN then file, reason, code = io.open(path, "rb") end
  if code == errno.ENOENT then no_such_script(path, dir) end
  if file then text, reason = file:read "*a" end
  if file and path ~= STDIN then file:close() end
  if text then return text end
  script.exit(script.USAGE, ("cannot read the script %s: %s"):format(outside.shown(path), (reason:gsub("^.*: ", ""))))
end

-- What has a slash, or the ending of a script and is there, is a path; "-" is standard input.
local function is_path(name)
  return name:find("/", 1, true) or name:find(SEPARATOR, 1, true) or name == STDIN or
    name:find "%.lua$" and is_here(name)
end

-- A name means one that is shipped, whatever lies in the current directory. Returns the chunk, and its path.
local function load_script(name, dir)
  if not is_path(name) then
    local chunk, path = load_shipped(name, dir)
    if not chunk then no_such_script(name, dir) end
    return chunk, path
  end
  local chunk, reason = loadstring(read_script(name, dir), name == STDIN and "=stdin" or "@" .. name)
  if not chunk then script.exit(script.USAGE, "cannot load the script: " .. reason) end
  if name ~= STDIN then places.add_folder(places.folder_of(name)) end
  return chunk, name
end

-- ---- run ----------------------------------------------------------------------------------------------------------

-- Splits into what is the program's and, from the first word that is no option, the script's.
local function split(args)
  local own, i = {}, 1
  while args[i] and args[i]:find "^%-." do
    own[#own + 1] = args[i]
    if (script.COMMON[args[i]] or args[i] == "--ranks") and args[i + 1] then
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
  launcher.add(parser)
  parser:usage("Usage: etherlua run [OPTIONS] SCRIPT [ARGUMENTS]")
  parser:epilog("SCRIPT is one of those that are shipped: " .. table.concat(shipped(dir), ", ") ..
    "; or a path, with a slash in it or .lua at its end; or - for standard input. Each has --help of its own; the " ..
    "options above but --trace-tasks, --ranks and --pin may also stand behind it. Modules that a script requires " ..
    "are looked for in the script's own folder too, but not in the current directory.")
  return parser
end

local function tell_runaway(place)
  io.stderr:write("etherlua: interrupted at ", outside.shown(place), ", in code that never waits\n")
end

local function catch_end()
  local code = C.el_signals_catch(sched.engine())
  if code ~= 0 then print_error("etherlua", "cannot catch Ctrl-C: " .. errno.reason(code)) end
end

-- Also what SIGUSR1 asks for is told: what the tasks wait for.
---@param opts? table hidden: set of tasks that are left out; told: fn(place), code that never waits has been ended;
---  patient: Ctrl-C never ends the process because such code is compiled
local function catch_signals(opts)
  opts = opts or {}
  sched.answer_with(function() io.stderr:write(outside.lines(tasks.list(opts.hidden or {})), "\n") end)
  catch_end()
  runaway.watch_signals(opts.patient or false, opts.told or tell_runaway)
end

-- Room for compiled code (JIT 10).
local function size_compiler()
  jit.opt.start("maxtrace=4000", "maxmcode=8192")
end

-- With --user rights are given up when the first task waits for the first time, whatever relays it has opened by then;
-- script.relay() does not wait for that.
local function dropping_rights(chunk)
  if not rights.user() then return chunk end
  return function(...)
    sched.spawn_background(script.check, rights.drop)
    return chunk(...)
  end
end

-- ---- ranks --------------------------------------------------------------------------------------------------------

-- A failure of another rank ends this one in order. Rank 0 tells it.
local function check_others(trouble)
  if trouble then error({ exit_status = script.FAILED, message = ranks.rank == 0 and trouble or nil }, 0) end
end

-- The same for machines, behind what the script has printed.
local function print_failure()
  local rank, reason = ranks.failure()
  if rank and script.is_json then script.print_json({ "rank", "error" }, { rank = rank, error = reason }) end
end

-- The script as a rank of several.
local function as_rank(chunk)
  if ranks.size == 1 then return chunk end
  return function(...)
    ranks.listen(check_others)
    return chunk(...)
  end
end

local function run(args, dir)
  local own, name, rest = split(args)
  local given = run_parser(dir):parse(own)
  if given.pin and not given.ranks then script.exit(script.USAGE, "--pin needs --ranks") end
  if given.ranks then
    catch_end()
    return launcher.main(given, own, { name, unpack(rest) })
  end
  if launcher.is_unguarded() then
    catch_end()
    return launcher.guard(args)
  end
  if ranks.size > 1 then ether.run(ranks.join) end
  script.enter_netns(given.netns)
  script.check(rights.plan, given.user)
  if given.trace_tasks then trace.start() end
  given.netns, given.user, given.trace_tasks = nil, nil, nil
  script.use_defaults(given)
  if not name then script.exit(script.USAGE, "no script given (etherlua run --help lists those that are shipped)") end
  local chunk
  chunk, rest[0] = load_script(name, dir)
  _G.arg = rest -- luacheck: ignore 122
  catch_signals()
  local status = ether.run(as_rank(dropping_rights(chunk)), unpack(rest))
  check_others(ranks.trouble())
  if ranks.size > 1 then ether.run(ranks.leave) end
  return script.status or type(status) == "number" and status or (sched.was_interrupted() and 130) or script.DONE
end

-- ---- repl ---------------------------------------------------------------------------------------------------------

local function repl(args, dir)
  return require("etherlua.program.repl.repl").main(args, {
    scripts = shipped(dir),
    load = function(name) return (load_script(name, dir)) end,
    catch_signals = catch_signals,
  })
end

-- ---- the program --------------------------------------------------------------------------------------------------

local function dispatch(args, env)
  local command = args[1]
  if command == "run" then return run({ unpack(args, 2) }, env.scripts) end
  if command == "test" then
    return require("etherlua.program.test").main({ unpack(args, 2) }, { catch_signals = catch_signals })
  end
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
    return type(err) == "table" and err or failures.text(err)
  end, args, env or {})
  if ok then return result end
  local status = failures.exit_status(result)
  local message = not status and failures.text(result) or result.message
  if ranks.size > 1 then pcall(ether.run, ranks.leave) end
  if message and not ranks.is_told() then print_error("etherlua", message) end
  print_failure()
  return status or script.FAILED
end

return M
