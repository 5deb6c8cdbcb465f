-- all.lua: runs the benchmarks one after the other, each as a program of its own, and prints one table at the end. With
-- --base each is run by another tree's program, too, in turn: what these have in common is compared.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local cjson = require "cjson"
local ether = require "etherlua"
local files = require "etherlua.core.files"
local lab = require "etherlua.lab.lab"
local script = require "etherlua.script"

local ALL = { "send", "recv", "pingpong", "endpoints", "hosts", "pacer", "scan", "ranks", "dora", "dhcp" }
local POLL = 0.5 -- seconds; the benchmark shall have the machine

local parser = bench.parser("all", "Run the benchmarks and print one table.")
parser:option("--plot", "Write a plot of cost against number of endpoints to this file (SVG)."):argname("FILE")
parser:option("--base", "Built sources of another version, to compare with."):argname("FOLDER")
parser:option("--history", "Append all rows to this file, a JSON object a line, with time and version."):argname("FILE")
parser:argument("cases", ("Benchmarks to run (default: all): %s."):format(table.concat(ALL, ", "))):args("*")
  :choices(ALL)
local opts = script.parse(parser, arg)

-- What a benchmark is started with.
---@param name string
---@param base? string folder of the other version
local function words_for(name, base)
  local program, folder = bench.program(), bench.folder
  if base then program, folder = base .. "/build/etherlua", base .. "/scripts/bench/" end
  local words = { program, "run", folder .. name .. ".lua", "--json" }
  local function add(option, value)
    if value then words[#words + 1], words[#words + 2] = option, value end
  end
  add("--rounds", opts.rounds)
  add("--seconds", opts.seconds)
  add("-i", opts.relay)
  if name == "endpoints" and not base then add("--plot", opts.plot) end
  return words
end

-- The rows in the text, and the last line that is none.
local function rows_of(text)
  local rows, rest = {}, nil
  for line in text:gmatch("[^\n]+") do
    if line:sub(1, 1) == "{" then rows[#rows + 1] = cjson.decode(line) else rest = line end
  end
  return rows, rest
end

-- Runs one. One that ends early has a row more, which says so.
---@return table[] rows
---@return boolean ok
local function run(here, name, base)
  local log = os.tmpname()
  ether.defer(function() os.remove(log) end)
  local process = here:start(words_for(name, base), { log = log })
  while not process:status() do ether.sleep(POLL) end
  local rows, rest = rows_of(process:log())
  if process.exit == 0 then return rows, true end
  rows[#rows + 1] = { case = name, note = ("cannot run: %s"):format(rest or "status " .. process.exit) }
  return rows, false
end

-- Each row gets the value that the other version has in the same case.
local function compare(rows, others)
  local values = {}
  for _, row in ipairs(others) do values[row.case] = row.value end
  for _, row in ipairs(rows) do row.base = values[row.case] end
end

local function open_history()
  if not opts.history then return nil end
  local file, problem = io.open(opts.history, "a")
  return file or script.exit(script.FAILED, problem)
end

local function remember(file, rows)
  for _, row in ipairs(rows) do
    row.time, row.version = os.time(), ether.version
    if not file:write(cjson.encode(row), "\n") then break end
    row.time, row.version = nil, nil
  end
  if not file:close() then script.exit(script.FAILED, "cannot write to " .. opts.history) end
end

if opts.base and not files.read(opts.base .. "/build/etherlua") then
  script.exit(script.USAGE, ("bad --base %s: there is no build/etherlua"):format(opts.base))
end
local history = open_history()
local permitted, reason = lab.root()
if not permitted then script.exit(script.FAILED, reason) end
local here, current, done, all_ok = lab.open(), nil, 0, true
ether.defer(function() here:close() end)
local names = #opts.cases > 0 and opts.cases or ALL
script.progress(function() return ("%s (%d of %d)"):format(current, done + 1, #names) end)
local rows = {}
for _, name in ipairs(names) do
  current = name
  local others = opts.base and run(here, name, opts.base) or {}
  local more, ok = run(here, name)
  compare(more, others)
  for _, row in ipairs(more) do rows[#rows + 1] = row end
  done, all_ok = done + 1, all_ok and ok
end
bench.print_rows(opts, rows)
if history then remember(history, rows) end
return all_ok and script.DONE or script.FAILED
