-- run.lua: the test run. Spec files run side by side, each under a busted of its own; those that say so in a comment of
-- their own, "-- Runs alone: REASON", run afterwards, one at a time. A file that passed is a line, of one that failed
-- all that it printed is shown. The last line is "N passed, N failed, N skipped".
--
--   luajit spec/support/run.lua JOBS SECONDS LOGS [FILE OR FOLDER ...]
--
-- JOBS files at once, each for SECONDS at the longest; LOGS is a folder for what they print, and for how long they
-- took, so that the next run starts the longest first. The environment names the command, BUSTED. xargs(1) counts the
-- jobs; a file's processes are in a PID namespace of their own where that is possible, and end with it.

local jobs, limit, logs = arg[1], arg[2], arg[3]
local BUSTED = assert(os.getenv "BUSTED", "BUSTED is not set")
local FILTERED = BUSTED:find(" %-%-filter") or BUSTED:find " %-%-tags" -- then most files have nothing to run
local SLOWEST = 5

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function succeeds(command)
  return os.execute(command .. " 2>/dev/null") == 0
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- Where what a spec file prints, or notes, goes.
local function log_of(path, ending)
  return ("%s/%s.%s"):format(logs, path:gsub("/", "."), ending)
end

-- ---- which files ----------------------------------------------------------------------------------------------------

local FIND = [[for path in %s; do
  if [ -f "$path" ]; then echo "$path"; else find "$path" -name '*_spec.lua'; fi; done | sort -u]]

-- Files, and the spec files of folders, those that took longest first; a file that never ran may take long.
local function spec_files(roots)
  local list, seconds = {}, {}
  for path in output_of(FIND:format(table.concat(roots, " "))):gmatch "[^\n]+" do
    list[#list + 1] = path
    seconds[path] = tonumber(read(log_of(path, "seconds"))) or math.huge
  end
  table.sort(list, function(a, b)
    if seconds[a] ~= seconds[b] then return seconds[a] > seconds[b] end
    return a < b
  end)
  return list
end

local function split(files)
  local together, alone = {}, {}
  for _, path in ipairs(files) do
    local list = ("\n" .. read(path)):find("\n-- Runs alone: ", 1, true) and alone or together
    list[#list + 1] = path
  end
  return together, alone
end

-- ---- running them ---------------------------------------------------------------------------------------------------

-- Whoever starts one of these ends it by ending, however that happens: so Ctrl-C, or SIGKILL, leaves nothing behind.
local WITH_PARENT = "setpriv --pdeathsig KILL "
local CONFINED = "unshare --fork --pid --kill-child --mount-proc true"
local ISOLATE = succeeds(CONFINED) and CONFINED:gsub("true$", "") or ""

-- Runs the spec file "$1". sh collects what is orphaned in the namespace; its exit status is busted's.
local ONE = ([[
echo "start $1"
log=LOGS/$(echo "$1" | tr / .)
begin=$(date +%s.%N)
AT=$log.at; export AT
: >"$AT"
exec 3>&1 >"$log.log" 2>&1 </dev/null
WITH_PARENT timeout -s KILL LIMIT WITH_PARENT ISOLATE sh -c "$BUSTED"' "$1"; exit $?' sh "$1" 3>&-
echo "end $1 $? $begin $(date +%s.%N)" >&3
]]):gsub("%u[%u_]+", { LOGS = logs, LIMIT = limit, WITH_PARENT = WITH_PARENT, ISOLATE = ISOLATE })

local is_terminal = succeeds "test -t 1"
local running, done, count = {}, 0, 0

local function show_progress()
  if not is_terminal then return end
  local names = {}
  for path in pairs(running) do names[#names + 1] = path:match "([^/]+)_spec.lua$" end
  table.sort(names)
  io.write(("\r\27[K%d of %d: %s"):format(done, count, table.concat(names, " ")):sub(1, 100))
  io.flush()
end

local function print_line(...)
  io.write(is_terminal and "\r\27[K" or "", ...)
  io.write "\n"
  io.flush()
end

-- Why a file counts as failed although busted did not say so, or nil.
local function verdict(status, seconds, text, at)
  local where = at ~= "" and (", in: " .. at) or ""
  if status == 137 and seconds >= tonumber(limit) then
    return ("took longer than %s s and was ended%s"):format(limit, where)
  end
  local failed = text:match "%d+ passed, (%d+) failed, %d+ skipped\n$"
  if not failed then return ("ended without totals, with status %d%s"):format(status, where) end
  if status ~= 0 and failed == "0" and not text:find "\n0 passed, 0 failed, 0 skipped\n$" then
    return ("ended with status %d after its totals"):format(status)
  end
end

local COUNTS = "(%d+) passed, (%d+) failed, (%d+) skipped\n$"

-- What became of a file: { path, seconds, passed, failed, skipped, why, text }.
local function result_of(path, status, seconds)
  local text = read(log_of(path, "log"))
  local passed, failed, skipped = text:match(COUNTS)
  local result = { path = path, seconds = seconds, text = text, passed = tonumber(passed or 0),
    failed = tonumber(failed or 0), skipped = tonumber(skipped or 0) }
  result.why = verdict(status, seconds, text, read(log_of(path, "at")))
  local nothing = result.passed + result.failed + result.skipped == 0
  if nothing and not result.why and not FILTERED then result.why = "has no tests" end
  if result.why and result.failed == 0 then result.failed = 1 end
  result.silent = nothing and not result.why
  return result
end

local function print_result(result)
  if result.silent then return end
  print_line(("[%d/%d] %-36s %d passed, %d failed, %d skipped  %.2f s"):format(done, count, result.path, result.passed,
    result.failed, result.skipped, result.seconds))
  if result.failed > 0 then
    io.write(result.text)
    io.flush()
  end
  if result.why then print_line("FAILED: ", result.path, " ", result.why) end
  if result.failed > 0 then return end
  for line in result.text:gmatch "[^\n]+" do
    if line:find "^skipped: " then print_line(line) end
  end
end

local function finish(path, status, begin, finished)
  running[path] = nil
  done = done + 1
  local result = result_of(path, tonumber(status), tonumber(finished) - tonumber(begin))
  if not FILTERED then write(log_of(path, "seconds"), ("%.2f\n"):format(result.seconds)) end
  print_result(result)
  return result
end

-- Runs files, so many at once, and appends what became of each to `results`.
local function run(files, at_once, results)
  if #files == 0 then return end
  write(logs .. "/one.sh", ONE)
  write(logs .. "/files", table.concat(files, "\n") .. "\n")
  local command = "exec %sxargs -P %d -n 1 -d '\\n' -a %s/files %ssh %s/one.sh"
  local pipe = assert(io.popen(command:format(WITH_PARENT, at_once, logs, WITH_PARENT, logs)))
  for line in pipe:lines() do
    local what, path, rest = line:match "^(%l+) (%S+)%s*(.*)$"
    if what == "start" then running[path] = true end
    if what == "end" then results[#results + 1] = finish(path, rest:match "(%d+) (%S+) (%S+)") end
    show_progress()
  end
  pipe:close()
end

-- ---- all of it ------------------------------------------------------------------------------------------------------

local function summary(results)
  local passed, failed, skipped = 0, count - #results, 0 -- files that never came back have failed
  for _, result in ipairs(results) do
    passed, failed, skipped = passed + result.passed, failed + result.failed, skipped + result.skipped
  end
  if failed > 0 then print_line "\nfailed:" end
  for _, result in ipairs(results) do
    if result.failed > 0 then print_line(("  %-36s %d"):format(result.path, result.failed)) end
  end
  table.sort(results, function(a, b) return a.seconds > b.seconds end)
  print_line "\nslowest:"
  for i = 1, math.min(SLOWEST, #results) do
    print_line(("  %-36s %.1f s"):format(results[i].path, results[i].seconds))
  end
  print_line(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  return failed == 0 and passed + skipped > 0
end

local function main()
  os.execute("mkdir -p " .. logs)
  local together, alone = split(spec_files { unpack(arg, 4) })
  count = #together + #alone
  local results = {}
  run(together, jobs, results)
  run(alone, 1, results)
  os.exit(summary(results) and 0 or 1, true)
end

main()
