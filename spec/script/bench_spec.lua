-- The benchmarks: that each runs alone and prints rows that say what they mean. How fast anything is is not asked here.
-- Runs alone: the programs that it measures against keep both processors busy.

local cjson = require "cjson"
local ether = require "etherlua"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local nobody = require "support.nobody"
local root_it = require("support.root_it").as_root
local servers = require "etherlua.test.servers"
local tc = require "support.tc"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local QUICK = "--rounds 1 --seconds 0.05"

-- Exit status, standard output, standard error.
local function shell(command)
  local err = os.tmpname()
  local pipe = assert(io.popen(("( timeout 120 %s ) 2>%s </dev/null; echo $?"):format(command, err)))
  local out, status = pipe:read("*a"):match("^(.*)(%d+)\n$")
  pipe:close()
  local errors = files.read_all(err)
  os.remove(err)
  return tonumber(status), out, errors
end

-- By default this build's program, from here.
local function bench(name, arguments, program)
  return shell(("%s run scripts/bench/%s.lua %s %s"):format(program or ETHERLUA, name, QUICK, arguments or ""))
end

-- words: shell words in front of the program's.
local function bench_as_nobody(name, arguments, words)
  local copy = nobody.copy()
  finally(function() copy:close() end)
  return bench(name, arguments, ("env -C %s %s%s%s"):format(copy.folder, nobody.AS, words or "", copy.path))
end

-- ---- rows ---------------------------------------------------------------------------------------------------------

-- Field -> types that it may have.
local FIELDS = {
  case = { string = true }, value = { number = true }, floor = { number = true, null = true },
  unit = { string = true }, ratio = { number = true, null = true }, goal = { string = true, null = true },
  met = { boolean = true, null = true }, cpu = { number = true, null = true },
  floor_cpu = { number = true, null = true }, memory = { number = true, null = true },
  note = { string = true, null = true }, ratio_low = { number = true, null = true },
  ratio_high = { number = true, null = true }, busy = { number = true, null = true },
  base = { number = true, null = true },
}

local function type_of(value)
  return value == cjson.null and "null" or type(value)
end

local function rows_of(text)
  local rows = {}
  for line in text:gmatch("[^\n]+") do rows[#rows + 1] = cjson.decode(line) end
  return rows
end

local function check_fields(row)
  for name, types in pairs(FIELDS) do
    assert.is_true(types[type_of(row[name])], ("%s of %s is %s"):format(name, row.case, tostring(row[name])))
  end
  for name in pairs(row) do assert.is_not_nil(FIELDS[name], name .. " is no documented field") end
end

-- Whether the value or ratio is where the goal says.
local function is_met(row)
  local judged = row.ratio ~= cjson.null and row.ratio or row.value
  local sign, limit = row.goal:match("^([<>]=) (.+)$")
  if sign == ">=" then return judged >= tonumber(limit) end
  if sign == "<=" then return judged <= tonumber(limit) end
  return math.abs(judged - 1) <= tonumber(row.goal:match("^1 %+%- (.+)$"))
end

local function check_row(row)
  check_fields(row)
  if row.floor ~= cjson.null then -- of a single round the medians are the values
    assert.is_true(math.abs(row.ratio / (row.value / row.floor) - 1) < 1e-4, "ratio of " .. row.case)
    assert.same({ row.ratio, row.ratio }, { row.ratio_low, row.ratio_high })
  end
  local busy = row.busy ~= cjson.null and row.busy > 0.1
  if row.goal == cjson.null or busy then return assert.equal(cjson.null, row.met) end
  assert.equal(is_met(row), row.met, row.case)
end

local function check_rows(name, count, arguments)
  local status, out, err = bench(name, "--json " .. (arguments or ""))
  assert.same({ 0, "" }, { status, err })
  local rows = rows_of(out)
  assert.equal(count, #rows)
  for _, row in ipairs(rows) do check_row(row) end
  return rows
end

-- ---- the benchmarks -----------------------------------------------------------------------------------------------

describe("the benchmark", function()
  local function lab_it(name, fn)
    it(name, function()
      local missing = tc.missing() or servers.missing("clang", "ethtool", "taskset", "tc")
      if missing then return pending(missing) end
      if shell("taskset -c 1 true") ~= 0 then return pending("needs two cores") end
      fn()
    end)
  end

  lab_it("send measures both kinds of relay", function()
    for _, row in ipairs(check_rows("send", 6)) do assert.is_true(row.value > 0 and row.floor > 0, row.case) end
  end)

  lab_it("recv measures floods, frames lost below them, and what a frame costs beside tcpdump", function()
    for _, row in ipairs(check_rows("recv", 9)) do
      local lost, cost = row.case:find("^lost") ~= nil, row.case:find("CPU of a frame", 1, true) ~= nil
      assert.is_true(row.value > 0 or lost and row.value == 0, row.case)
      assert.matches(lost and "^at .+ M/s$" or cost and "^floor: tcpdump$" or "^floor: .+; offered .+ M/s$", row.note)
    end
  end)

  lab_it("pingpong measures round trips over the kind of relay that -i names", function()
    local rows = check_rows("pingpong", 2, "-i xdp")
    assert.same({ "round trip, median, xdp", "round trip, 99th percentile, xdp" }, { rows[1].case, rows[2].case })
    assert.is_true(rows[1].value <= rows[2].value and rows[1].floor <= rows[2].floor)
  end)

  it("endpoints measures without privileges, and draws", function()
    local path = os.tmpname()
    local rows = check_rows("endpoints", 4, "--count 1000 --plot " .. path)
    local plot = files.read_all(path)
    os.remove(path)
    local cases = {}
    for i, row in ipairs(rows) do
      cases[i] = ("%s, %s"):format(row.case, row.unit)
      assert.is_true(row.value > 0, row.case)
    end
    assert.same({ "1000 endpoints with tasks, memory, MB", "1000 endpoints with tasks, making, s",
      "frame to one of 1000 endpoints, ns", "frames to 1000 endpoints in turn, ns" }, cases)
    assert.matches("^<svg .*</svg>\n$", plot)
    assert.equal(2 * 4, select(2, plot:gsub("<circle", ""))) -- 1, 10, 100 and 1,000 endpoints
    assert.is_nil(plot:find("nan") or plot:find("inf"))
  end)

  lab_it("scan measures whole programs beside those of others, all of which find everybody", function()
    local missing = servers.missing("arp-scan", "fping")
    if missing then return pending(missing) end
    for i, row in ipairs(check_rows("scan", 2)) do
      assert.is_true(row.value > 0 and row.floor > 0, row.case)
      assert.equal(i == 1 and "the floor is arp-scan" or "the floor is fping", row.note)
    end
  end)

  lab_it("ranks measures two beside one", function()
    local row = check_rows("ranks", 1)[1]
    assert.is_true(row.value > 0 and row.floor > 0)
  end)

  lab_it("dora measures leases", function()
    check_rows("dora", 2)
  end)

  lab_it("pacer measures rates", function()
    for _, row in ipairs(check_rows("pacer", 8)) do assert.matches("gaps of the last round", row.note) end
  end)

  lab_it("dhcp measures sessions against its own server and Kea", function()
    local missing = servers.missing("kea-dhcp4")
    if missing then return pending(missing) end
    for _, row in ipairs(check_rows("dhcp", 8, "--clients 200")) do
      assert.is_true(row.unit == "sessions" and row.value == 0 or row.value > 0, row.case)
    end
  end)

  lab_it("says of a case that it cannot run, and why", function()
    local status, out = bench("send", "--json -i nosuch")
    assert.equal(0, status)
    for _, row in ipairs(rows_of(out)) do
      assert.same({ cjson.null, cjson.null, 'cannot run: no floor program for relay kind "nosuch"' },
        { row.value, row.met, row.note })
    end
  end)

  it("prints a table for people", function()
    local status, out, err = bench("endpoints", "--count 10")
    assert.same({ 0, "" }, { status, err })
    assert.matches("^case +etherlua +floor +unit +ratio +goal +CPU s/M +floor's +MB\n10 endpoints with tasks", out)
  end)

  root_it("tells users without privileges what is missing", function()
    local status, out, err = bench_as_nobody("send", "--json -i xdp")
    if status ~= 0 then -- not even a lab can be had
      assert.equal(1, status)
      return assert.matches("^etherlua: [^\n]+\n$", err)
    end
    for _, row in ipairs(rows_of(out)) do assert.matches("^cannot run: ", row.note) end
  end)
end)

describe("all benchmarks", function()
  it("are run one after the other and end in one table", function()
    if not lab.root() then return pending("needs root") end
    local status, out, err = bench("all", "pingpong dora")
    assert.same({ 0, "" }, { status, err })
    assert.equal(1, select(2, out:gsub("CPU s/M", "")))
    assert.equal(1 + 2 + 2, select(2, out:gsub("\n", "")))
  end)

  it("print the rows of each as JSON", function()
    if not lab.root() then return pending("needs root") end
    local status, out = bench("all", "dora --json")
    local rows = rows_of(out)
    assert.same({ 0, 2 }, { status, #rows })
    for _, row in ipairs(rows) do check_row(row) end
  end)

  root_it("do not pass over one that ends early", function()
    local status, out = bench_as_nobody("all", "pingpong --json", "PATH=/nowhere ")
    local rows = rows_of(out)
    assert.same({ 1, 1, "pingpong" }, { status, #rows, rows[1].case })
    assert.same({ cjson.null, cjson.null }, { rows[1].value, rows[1].met })
    assert.matches("^cannot run: ", rows[1].note)
  end)

  it("are compared with those of another version, and remembered", function()
    if not lab.root() then return pending("needs root") end
    local base, history = select(2, shell "mktemp -d"):match "%S+", os.tmpname()
    shell(('ln -s "$(pwd)/scripts" %s/scripts; ln -s "$(realpath $(dirname %s))" %s/build'):format(base, ETHERLUA,
      base))
    local status, out, err = bench("all", ("dora --json --base %s --history %s"):format(base, history))
    local rows, kept = rows_of(out), rows_of(files.read_all(history))
    os.remove(history)
    shell("rm -r " .. base)
    assert.same({ 0, "", 2, 2 }, { status, err, #rows, #kept })
    for i, row in ipairs(rows) do
      assert.is_true(row.base > 0, row.case)
      assert.same({ row.case, row.value, ether.version }, { kept[i].case, kept[i].value, kept[i].version })
    end
    status, out, err = bench("all", "dora --base /nowhere")
    assert.same({ 2, "" }, { status, out })
    assert.matches("^etherlua: bad %-%-base /nowhere: there is no build/etherlua[^\n]*\n$", err)
  end)

  it("refuse names of others", function()
    local status, out, err = bench("all", "nosuch")
    assert.same({ 2, "" }, { status, out })
    assert.matches("^etherlua: argument 'cases' must be one of 'send', 'recv', ", err)
  end)
end)
