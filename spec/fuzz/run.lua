-- run.lua: fuzzes with the targets that are built, and with those in Lua, one after the other, each for its part of the
-- time. Prints a line for each, and for a finding what was found and where its input is kept.
--
--   luajit spec/fuzz/run.lua BUILD SECONDS JOBS [TARGET ...]
--
-- BUILD/target has the targets. BUILD/corpus/TARGET keeps what was found to be of interest, for the next run;
-- BUILD/findings the inputs of findings, until the next `make clean`. Capture files named in CAPTURES are seeds, too.
-- Exit status: 1 when there was a finding. With its input a target is run once more like this:
--
--   BUILD/target/TARGET BUILD/findings/TARGET-crash-...
--   luajit spec/fuzz/TARGET.lua BUILD/findings/TARGET-...
--
-- A target in Lua is as many processes as there are JOBS. Each has a seed of its own, of which SEED=n is the first.

local build, seconds, jobs = arg[1], tonumber(arg[2]), tonumber(arg[3])
local targets = { unpack(arg, 4) }

-- What gets more than one part of the time, for how much it does; and inputs that are long.
local PARTS = { ingress = 3, send = 2, codec = 2, role = 3 }
local LENGTHS = { ingress = 8192, file = 8192, address = 64 }
local LIMITS = "-timeout=20 -rss_limit_mb=3072 -print_final_stats=1"

assert(seconds and seconds > 0 and jobs and #targets > 0, "run.lua BUILD SECONDS JOBS TARGET ...")

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function path_of(...)
  return table.concat({ build, ... }, "/")
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- A LuaJIT of its own, because the engine is loaded there.
local function make_seeds()
  local command = ("luajit spec/fuzz/seeds.lua %s %s"):format(path_of "seeds", os.getenv "CAPTURES" or "")
  if os.execute(command) ~= 0 then error("no seeds: " .. command, 0) end
end

local function findings_of(target)
  local list = {}
  for path in output_of(("ls -tr %s-* 2>/dev/null"):format(path_of("findings", target))):gmatch "[^\n]+" do
    list[#list + 1] = path
  end
  return list
end

-- A target that is not built is a file of Lua.
local function is_lua(target)
  return not exists(path_of("target", target)) and exists(("spec/fuzz/%s.lua"):format(target))
end

-- libFuzzer's own processes stop at their first finding, and so does the one that started them.
local function command_of(target, time)
  local words = { path_of("target", target), LIMITS, "-max_total_time=" .. time,
    "-max_len=" .. (LENGTHS[target] or 4096), "-artifact_prefix=" .. path_of("findings", target) .. "-" }
  if jobs > 1 then words[#words + 1] = "-fork=" .. jobs end
  local dictionary = ("spec/fuzz/%s.dict"):format(target)
  if exists(dictionary) then words[#words + 1] = "-dict=" .. dictionary end
  words[#words + 1] = path_of("corpus", target)
  words[#words + 1] = path_of("seeds", target)
  return table.concat(words, " ")
end

local LATE = 30 -- seconds after which what does not end is ended

local first_seed = tonumber(os.getenv "SEED") or os.time() % 1000000

local function seed_of(job)
  return first_seed + (job - 1) * 1000000
end

-- All processes of a target in Lua; then what each of them printed. The status is that of one that found something.
local function lua_command_of(target, time)
  local words = { "jobs=; status=0;" }
  local one = "SEED=%d timeout -k 5 %d luajit spec/fuzz/%s.lua %s %d >%s.%d 2>&1 & jobs=\"$jobs $!\";"
  for i = 1, jobs do
    words[#words + 1] = one:format(seed_of(i), time + LATE, target, build, time, path_of(target), i)
  end
  words[#words + 1] = "for job in $jobs; do wait $job || status=$?; done;"
  for i = 1, jobs do words[#words + 1] = ("cat %s.%d; rm %s.%d;"):format(path_of(target), i, path_of(target), i) end
  return ("{ %s (exit $status); }"):format(table.concat(words, " "))
end

-- What was executed in a process that did not end by itself is a finding. Returns the words for each.
local function keep_unfinished(target)
  local words = {}
  for job = 1, jobs do
    local kept = path_of("findings", ("%s-unfinished-%d"):format(target, seed_of(job)))
    if os.rename(path_of(("%s-%d.running"):format(target, seed_of(job))), kept) then
      words[#words + 1] = ("found: it did not end\n  again: luajit spec/fuzz/%s.lua %s"):format(target, kept)
    end
  end
  return words
end

-- Of all processes. With -fork the number stands in the progress lines alone.
local function executions(text)
  local sum
  for count in text:gmatch "stat::number_of_executed_units:%s*(%d+)" do sum = (sum or 0) + tonumber(count) end
  if sum then return sum end
  local last = 0
  for number in text:gmatch "\n#(%d+): cov" do last = tonumber(number) end
  return last
end

-- The lines that say what was wrong.
local function reason(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    if line:find "^found: " or line:find "^  again: " or line:find "^luajit: " then
      list[#list + 1] = line
    elseif line:find "Assertion" or line:find "runtime error" or line:find "SUMMARY" or line:find "no seed" then
      list[#list + 1] = "  " .. line
    end
  end
  return table.concat(list, "\n")
end

-- Returns whether there was no finding.
local function fuzz(target, time)
  local before, log = #findings_of(target), path_of(target .. ".log")
  os.execute(("mkdir -p %s %s %s"):format(path_of("corpus", target), path_of("seeds", target), path_of "findings"))
  local command = is_lua(target) and lua_command_of(target, time) or command_of(target, time)
  local status = os.execute(("%s >%s 2>&1"):format(command, log))
  local file = assert(io.open(log, "rb"))
  local text = file:read "*a"
  file:close()
  local unfinished = keep_unfinished(target)
  local found = findings_of(target)
  local count = #found - before
  if status ~= 0 and count == 0 then count = 1 end
  print(("%-8s %9d executions in %4d s  %d findings"):format(target, executions(text), time, count))
  if count == 0 then return true end
  print(reason(text))
  for _, words in ipairs(unfinished) do print(words) end
  for i = before + 1, is_lua(target) and 0 or #found do print("  input: " .. found[i]) end
  print("  all of it: " .. log)
  return false
end

local all = 0
for _, target in ipairs(targets) do all = all + (PARTS[target] or 1) end
for _, target in ipairs(targets) do
  if not is_lua(target) then
    make_seeds()
    break
  end
end
local clean = true
for _, target in ipairs(targets) do
  local time = math.max(1, math.floor(seconds * (PARTS[target] or 1) / all))
  clean = fuzz(target, time) and clean
  io.flush()
end
os.exit(clean and 0 or 1)
