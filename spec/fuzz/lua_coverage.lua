-- lua_coverage.lua: which lines of some rooms of lua/etherlua are reached by the targets in Lua: by the inputs that
-- they begin with and have kept, and by what they then make of them for a while. Prints a table: of each target, and of
-- both.
--
--   luajit spec/fuzz/lua_coverage.lua BUILD SECONDS TARGET ...

package.path = "spec/?.lua;" .. package.path

local lines = require "fuzz.lines"

local build, seconds = arg[1], arg[2]
local targets = { unpack(arg, 3) }

local ROOMS = { "proto", "net", "host", "role" }

local function read(path)
  local reached = {}
  for line in io.lines(path) do
    local file, number = line:match "^(%S+) (%d+)$"
    reached[file] = reached[file] or {}
    reached[file][tonumber(number)] = true
  end
  return reached
end

local function build_hook()
  local command = ("%s -shared -fPIC -O2 $(pkg-config --cflags luajit) -o %s/spec_lines.so spec/support/lines.c")
    :format(os.getenv "CC" or "cc", build)
  assert(os.execute(command) == 0, command)
end

local function watch(target)
  local path = ("%s/%s.lines"):format(build, target)
  local status = os.execute(("LINES=%s LUA_CPATH='%s/?.so;;' luajit spec/fuzz/%s.lua %s %s >%s/%s.lines.log 2>&1")
    :format(path, build, target, build, seconds, build, target))
  if status ~= 0 then print(("%s found something: see %s/%s.lines.log"):format(target, build, target)) end
  return read(path)
end

local function files_of(room)
  local list, pipe = {}, assert(io.popen(("find lua/etherlua/%s -name '*.lua' | sort"):format(room)))
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

-- How many lines there are, and how many of them are among each of some that were reached.
local function count(path, columns)
  local all, hit = 0, {}
  for line in pairs(lines.of_file(path)) do
    all = all + 1
    for i, reached in ipairs(columns) do
      hit[i] = (hit[i] or 0) + (reached[path] and reached[path][line] and 1 or 0)
    end
  end
  return all, hit
end

local function print_row(name, all, hit)
  local words = {}
  for i, number in ipairs(hit) do words[i] = ("%6.1f %%"):format(100 * number / all) end
  print(("%-26s %s"):format(name, table.concat(words, " ")))
end

local function print_room(room, columns)
  local rows, sum, sums = {}, 0, {}
  for _, path in ipairs(files_of(room)) do
    local all, hit = count(path, columns)
    rows[#rows + 1] = { "  " .. path:match "^lua/etherlua/[^/]+/(.*)$", all, hit }
    sum = sum + all
    for i, number in ipairs(hit) do sums[i] = (sums[i] or 0) + number end
  end
  print_row(room .. "/", sum, sums)
  for _, row in ipairs(rows) do print_row(unpack(row)) end
end

build_hook()
local columns, both, heads = {}, {}, {}
for i, target in ipairs(targets) do
  columns[i], heads[i] = watch(target), ("%8s"):format(target)
  for path, list in pairs(columns[i]) do
    both[path] = both[path] or {}
    for line in pairs(list) do both[path][line] = true end
  end
end
columns[#columns + 1], heads[#heads + 1] = both, ("%8s"):format "all"
print(("%-26s %s"):format("lines of lua/etherlua/", table.concat(heads, " ")))
for _, room in ipairs(ROOMS) do print_room(room, columns) end
