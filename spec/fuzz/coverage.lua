-- coverage.lua: which lines and branches of some files of the engine are reached by the inputs that fuzzing begins with
-- and has kept, and by the specs of the engine that need no privileges. Prints a table: of the inputs, and of both.
--
--   luajit spec/fuzz/coverage.lua BUILD FUZZED TARGET ...
--
-- BUILD has the engine and the targets as clang builds them for llvm-cov(1), FUZZED is where run.lua worked. Branches
-- are counted in either direction. `llvm-cov show -instr-profile=BUILD/all.profdata BUILD/libetherlua.so FILE` shows
-- the lines.

local json = require "cjson"

local build, fuzzed = arg[1], arg[2]
local targets = { unpack(arg, 3) }

local FILES = { "parse.c", "demux.c", "reassemble.c", "incomplete.c", "fragment.c", "kinds/file.c",
  "savefile.c" }
local SPECS = { "spec/engine", "spec/relay" }
local NOT_ITS = "abi_spec.lua" -- which counts the library's symbols: here there are those of the profile, too

local function run(command, ...)
  command = command:format(...)
  return os.execute(command) == 0 or error("failed: " .. command, 0)
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- Each input runs once. A target that ends with a finding has told of the other inputs nothing.
local function run_inputs(target)
  run("find %s/corpus/%s %s/seeds/%s -type f 2>/dev/null | LLVM_PROFILE_FILE=%s/profiles/fuzz-%s-%%p.profraw " ..
    "xargs -r -n 500 %s/target/%s >%s/%s.log 2>&1", fuzzed, target, fuzzed, target, build, target, build, target, build,
    target)
end

local function run_specs()
  local list = output_of(("find %s -name '*_spec.lua' ! -name %s | sort"):format(table.concat(SPECS, " "), NOT_ITS))
  local environment = ("FAST=1 ETHERLUA=%s/etherlua ETHERLUA_LIB=%s/libetherlua.so "):format(build, build) ..
    ("LLVM_PROFILE_FILE=%s/profiles/spec-%%p.profraw"):format(build)
  local failed = 0
  for path in list:gmatch "[^\n]+" do
    local status = os.execute(("env %s luajit $(command -v busted) --ignore-lua %s >>%s/specs.log 2>&1")
      :format(environment, path, build))
    if status ~= 0 then failed = failed + 1 end
  end
  if failed > 0 then print(("%d spec files failed: see %s/specs.log"):format(failed, build)) end
end

-- What llvm-cov says of each file, from profiles whose names begin so.
local function summary(name, profiles)
  run("llvm-profdata merge -sparse -o %s/%s.profdata %s/profiles/%s", build, name, build, profiles)
  local objects = {}
  for i, target in ipairs(targets) do objects[i] = ("-object %s/target/%s"):format(build, target) end
  local export = "llvm-cov export -summary-only -instr-profile=%s/%s.profdata %s/libetherlua.so %s 2>%s/%s.log"
  local text = output_of(export:format(build, name, build, table.concat(objects, " "), build, name))
  local found = {}
  for _, file in ipairs(json.decode(text).data[1].files) do
    found[file.filename:match "engine/(.*)$" or ""] = file.summary
  end
  return found
end

local function percent(part)
  return ("%5.1f %%"):format(part.count > 0 and 100 * part.covered / part.count or 100)
end

run("rm -rf %s/profiles %s/specs.log && mkdir -p %s/profiles", build, build, build)
run("LLVM_PROFILE_FILE=/dev/null ETHERLUA_LIB=%s/libetherlua.so luajit spec/fuzz/seeds.lua %s/seeds", build, fuzzed)
for _, target in ipairs(targets) do run_inputs(target) end
run_specs()
local inputs, both = summary("fuzz", "fuzz-*"), summary("all", "*")
print(("%-14s %18s   %18s"):format("", "inputs alone", "and the specs"))
print(("%-14s %9s %8s   %9s %8s"):format("", "lines", "branches", "lines", "branches"))
for _, name in ipairs(FILES) do
  local one, all = inputs[name], both[name]
  print(("%-14s %9s %8s   %9s %8s"):format(name, percent(one.lines), percent(one.branches), percent(all.lines),
    percent(all.branches)))
end
