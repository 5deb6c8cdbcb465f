-- all.lua: runs the benchmarks one after the other, each as a program of its own, and prints one table at the end.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local cjson = require "cjson"
local ether = require "etherlua"
local lab = require "etherlua.lab.lab"
local script = require "etherlua.script"

local ALL = { "send", "recv", "pingpong", "endpoints", "hosts", "pacer", "scan", "dora", "dhcp" }
local POLL = 0.5 -- seconds; the benchmark shall have the machine

local parser = bench.parser("all", "Run the benchmarks and print one table.")
parser:option("--plot", "Write a plot of cost against number of endpoints to this file (SVG)."):argname("FILE")
parser:argument("cases", ("Benchmarks to run (default: all): %s."):format(table.concat(ALL, ", "))):args("*")
  :choices(ALL)
local opts = script.parse(parser, arg)

-- What a benchmark is started with.
local function words_for(name)
  local words = { bench.program(), "run", bench.folder .. name .. ".lua", "--json" }
  local function add(option, value)
    if value then words[#words + 1], words[#words + 2] = option, value end
  end
  add("--rounds", opts.rounds)
  add("--seconds", opts.seconds)
  add("-i", opts.relay)
  if name == "endpoints" then add("--plot", opts.plot) end
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
local function run(here, name)
  local log = os.tmpname()
  ether.defer(function() os.remove(log) end)
  local process = here:start(words_for(name), { log = log })
  while not process:status() do ether.sleep(POLL) end
  local rows, rest = rows_of(process:log())
  if process.exit == 0 then return rows, true end
  rows[#rows + 1] = { case = name, note = ("cannot run: %s"):format(rest or "status " .. process.exit) }
  return rows, false
end

local permitted, reason = lab.root()
if not permitted then script.exit(script.FAILED, reason) end
local here, current, done, all_ok = lab.open(), nil, 0, true
ether.defer(function() here:close() end)
local names = #opts.cases > 0 and opts.cases or ALL
script.progress(function() return ("%s (%d of %d)"):format(current, done + 1, #names) end)
local rows = {}
for _, name in ipairs(names) do
  current = name
  local more, ok = run(here, name)
  for _, row in ipairs(more) do rows[#rows + 1] = row end
  done, all_ok = done + 1, all_ok and ok
end
bench.print_rows(opts, rows)
return all_ok and script.DONE or script.FAILED
