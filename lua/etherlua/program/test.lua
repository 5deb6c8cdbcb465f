-- program/test.lua: `etherlua test`: busted inside the program, with its own options and a few of ours.

local effi = require "etherlua.core.ffi"
local files = require "etherlua.core.files"
local places = require "etherlua.program.places"
local runaway = require "etherlua.core.runaway"
local runner = require "etherlua.test.runner"
local scope = require "etherlua.test.scope"
local script = require "etherlua.program.script"
local trace = require "etherlua.program.trace"

local C = effi.C

local M = {}

local USAGE = [[
Usage: etherlua test [SPECS] [-i SPEC] [--lab] [--netns NAME] [--timeout S] [--captures DIR]
                     [--trace-tasks] [OPTIONS OF BUSTED]

Run spec files with busted, each test as a task: blocking calls work in it, before_each, setup and the like.
SPECS are files, or folders with files that end in _spec.lua (default: spec).

   -i, --relay SPEC   What test.relay() and ether.relay() open: KIND:INTERFACE such as afpacket:eth1, or just eth1.
   --lab              They open a network of their own with an emulated access network behind it.
   --netns NAME       Enter this network namespace first: a name, a path or a process id.
   --timeout S        Seconds after which a test that has not ended fails (default 30).
   --captures DIR     Where the frames of tests that fail are kept, in pcap files named by the test (default: TMPDIR,
                      or /tmp, under names of their own).
   --trace-tasks      Print on standard error when a task is spawned, waits, is woken and ends.
   -h, --help         Show this help.

Modules are looked for in the folders of SPECS, too; in the current directory, with its .busted and its src/, only where
SPECS are below it, others may not write to it, and the program has no rights by its file.

All else is busted's (busted --help): -o TAP, --filter PATTERN, --tags TAGS, --repeat N, ...
-o junit -Xoutput FILE writes a report for CI systems.
Exit status: that of busted: 0 when all passed, 1 when something failed; 2 wrong usage; 130 after Ctrl-C.
]]

local NAMES = { ["-i"] = "relay", ["--relay"] = "relay", ["--netns"] = "netns", ["--timeout"] = "timeout",
  ["--captures"] = "captures" }

local FLAGS = { ["--lab"] = "lab", ["--trace-tasks"] = "trace_tasks", ["-h"] = "help", ["--help"] = "help" }

-- Each test opens relays of its own.
local REFUSED = { ["--user"] = "--user is for run and repl: each test opens relays, with the rights that this takes" }

local function misuse(...)
  script.exit(script.USAGE, string.format(...) .. " (etherlua test --help tells more)")
end

-- One of our options that take a value, as "--name value" or "--name=value".
---@return string? name, string? value, integer? how many words it takes
local function option(args, i)
  local name, value = args[i]:match("^(%-%-[%w-]+)=(.*)$")
  if NAMES[name] then return NAMES[name], value, 1 end
  name = NAMES[args[i]]
  if not name then return nil end
  return name, args[i + 1] or misuse("option '%s' requires an argument", args[i]), 2
end

-- Splits into our options and the words for busted.
local function split(args)
  local own, rest, i = {}, {}, 1
  while args[i] do
    local name, value, words = option(args, i)
    local refusal = REFUSED[args[i]:match "^[^=]*"]
    if refusal then misuse("%s", refusal) end
    if name then
      own[name] = value
    elseif FLAGS[args[i]] then
      own[FLAGS[args[i]]] = true
    else
      rest[#rest + 1] = args[i]
    end
    i = i + (words or 1)
  end
  return own, rest
end

local function seconds(text)
  local value = tonumber(text)
  if value and value > 0 and value < math.huge then return value end
  misuse("bad --timeout %q: seconds above 0 are needed", text)
end

-- Its whole path: busted may go elsewhere (-C).
local function use_captures(folder)
  local pipe = io.popen(("{ mkdir -p -- %s && cd -- %s && pwd; } 2>/dev/null"):format(files.quote(folder),
    files.quote(folder)))
  scope.folder = pipe and pipe:read "*l" or misuse("cannot make the folder %s for captures", folder)
  if pipe then pipe:close() end
end

local function load_busted()
  local found, reason = pcall(require, "busted.core")
  if not found and reason:find("module 'busted.core' not found", 1, true) then
    script.exit(script.FAILED, "the test runner needs busted (Debian package lua-busted)")
  end
  return found and reason or error(reason, 0)
end

-- ---- where busted looks for code ------------------------------------------------------------------------------------

-- Options of busted that take the next word.
local VALUED = {}
for word in ([[-p --pattern --exclude-pattern -e -o --output -C --directory -f --config-file --coverage-config-file -t
  --tags --exclude-tags --filter --filter-out -m --lpath --cpath -r --run --repeat --seed --lang --loaders --helper
  --lua -Xoutput -Xhelper]]):gmatch "%S+" do VALUED[word] = true end

---@return string[] specs files and folders among busted's words
local function specs_of(words)
  local specs, i = {}, 1
  while words[i] do
    if VALUED[words[i]] then i = i + 1 elseif words[i]:sub(1, 1) ~= "-" then specs[#specs + 1] = words[i] end
    i = i + 1
  end
  return specs
end

local function names_config(words)
  for _, word in ipairs(words) do
    if word:find "^%-f" or word:find "^%-%-config%-file" then return true end
  end
end

-- Whether specs are all below the current directory, and only we may write to that: then it is what is tested.
local function is_project(specs)
  if places.is_secure() then return false end
  for _, spec in ipairs(specs) do
    if spec:sub(1, 1) == "/" or ("/" .. spec .. "/"):find("/../", 1, true) then return false end
  end
  return require("lfs").attributes(".", "permissions"):sub(8, 8) ~= "w"
end

-- In a project busted has its .busted, its src folder, and its modules are found. Elsewhere what lies in the current
-- directory is nobody's business.
local function set_places(words)
  local specs = specs_of(words)
  for _, spec in ipairs(specs) do
    places.add_folder(spec:find "%.lua$" and places.folder_of(spec) or spec)
  end
  if is_project(specs) then
    package.path, package.cpath = package.path .. ";./?.lua;./?/init.lua", package.cpath .. ";./?.so"
    return
  end
  local path = require "pl.path"
  local isfile = path.isfile
  if not names_config(words) then
    function path.isfile(name) return path.normpath(name) ~= ".busted" and isfile(name) end
  end
  table.insert(words, 1, "--lpath=;")
  table.insert(words, 1, "--cpath=;")
end

-- busted takes its own name for messages from the file that calls it.
local RUN = 'require "busted.runner" { standalone = false }'

-- What busted makes of the tests: all passed, or not.
local function run_busted()
  local ok, reason = pcall(assert(loadstring(RUN, "@etherlua test")))
  if ok then return script.DONE end
  if reason ~= nil then error(reason, 0) end
  return script.FAILED -- busted's way to exit with failures (busted.compatibility) is an error without a message
end

---@param args string[] behind `etherlua test`
---@param host table of the program: catch_signals(opts)
---@return integer exit status
function M.main(args, host)
  local own, rest = split(args)
  if own.help then
    io.stdout:write(USAGE)
    return script.DONE
  end
  if own.timeout then runner.limit = seconds(own.timeout) end
  if own.captures then use_captures(own.captures) end
  local make_core = load_busted()
  runaway.keep_interpreted()
  script.enter_netns(own.netns)
  if own.trace_tasks then trace.start() end
  script.use_defaults { relay = own.relay, lab = own.lab }
  package.loaded["busted.core"] = function()
    local core = make_core()
    runner.install(core, true)
    return core
  end
  set_places(rest)
  package.preload["busted.outputHandlers.junit"] = function() return require("etherlua.test.junit").new end
  table.insert(rest, 1, "--ignore-lua")
  rest[0] = "etherlua test"
  _G.arg = rest -- luacheck: ignore 122
  host.catch_signals { told = function() end } -- the test's error tells
  local status = run_busted()
  local interruption = runner.interruption()
  if not interruption then return status end
  io.stderr:write("etherlua: ", interruption, "\n")
  return 128 + C.el_signals_last()
end

return M
