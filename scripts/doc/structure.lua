-- structure.lua: the house as the sources have it: which file needs which, on the C side and on the Lua side, and what
-- breaks its rules. An arrow points down: to a room, or in C a unit, that stands further left in the lists of
-- order.lua. The spec asks for problems(); `make structure` draws what it finds:
--
--   luajit scripts/doc/structure.lua | dot -Tsvg -o build/structure.svg

local bit = require "bit"
local util = require "jit.util"
local vmdef = require "jit.vmdef"
local order = dofile "scripts/doc/order.lua"

local M = {}

local LINES_MAX, FUNCTION_MAX = 400, 60

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- What a shell command prints, line by line.
local function lines_of(command)
  local list, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function files(...)
  return lines_of(("find %s -type f | LC_ALL=C sort"):format(table.concat({ ... }, " ")))
end

-- ---- Lua ----------------------------------------------------------------------------------------------------------

-- "lua/etherlua/relay/conn.lua" -> "relay/conn"; init.lua of a room is the room.
local function name_of(path)
  return (path:match "^lua/etherlua/(.*)%.lua$":gsub("/init$", ""))
end

local function room_of(name)
  local room = name:match "^([^/]+)/" or name
  for _, known in ipairs(order.ROOMS) do
    if room == known then return room end
  end
  return "api"
end

-- A line that only says where a module went.
local function is_alias(text)
  return text:find '^%-%-[^\n]*\nreturn require "[%w_.]+"\n$' ~= nil
end

-- Modules that no file is: the program has them inside.
local BUILT_IN = { console = true, interrupt = true }

-- Requires of ours, lazy ones too. A name that is put together, such as "etherlua.proto." .. name, is of its own room.
local function requires_of(text, names)
  local found = {}
  for name in text:gsub("%-%-[^\n]*", ""):gmatch 'require%s*%(?%s*"etherlua([%w_.]*)"' do
    name = name:gsub("^%.", ""):gsub("%.", "/")
    if name == "" then name = "init" end
    if not BUILT_IN[name] and not name:find "/$" then
      found[#found + 1] = names[name] and name or error("no module " .. name)
    end
  end
  return found
end

-- Modules by name: path, room, needs (names), lazy (set of names that are needed within functions alone), is_alias.
---@return table<string, table>
function M.modules()
  local modules, names = {}, {}
  for _, path in ipairs(files "lua/etherlua -name '*.lua'") do
    local name = name_of(path)
    names[name] = true
    modules[name] = { path = path, room = room_of(name), text = read(path) }
  end
  for name, module in pairs(modules) do
    module.is_alias = is_alias(module.text)
    module.needs, module.lazy = requires_of(module.text, names), {}
    local eager = {}
    for line in module.text:gmatch "[^\n]+" do
      if line:find "^local [%w_]+ = require" or line:find "^require" or line:find "^return require" then
        for _, needed in ipairs(requires_of(line, names)) do eager[needed] = true end
      end
    end
    for i = #module.needs, 1, -1 do
      local needed = module.needs[i]
      module.lazy[needed] = not eager[needed]
      if needed == name then table.remove(module.needs, i) end -- in code that it writes
    end
  end
  return modules
end

local function rank(list)
  local ranks = {}
  for i, words in ipairs(list) do
    for name in words:gmatch "%S+" do ranks[name] = i end
  end
  return ranks
end

-- ---- C ------------------------------------------------------------------------------------------------------------

-- Comments and texts are no calls.
local function code_of(text)
  return (text:gsub("/%*.-%*/", " "):gsub('"[^"\n]*"', '""'):gsub("//[^\n]*", ""))
end

-- Names of functions that a .c file defines for others.
local function definitions(code)
  local names = {}
  for head in ("\n" .. code):gmatch "\n([%a_][^\n;{}#]-%b())%s*\n?{" do
    local name = head:match "([%a_][%w_]*)%s*%b()$"
    if name and not head:find "^static" and not head:find "^%s" then names[#names + 1] = name end
  end
  return names
end

local WINDOWS = "os/windows/"

-- Path -> unit. A file in os/windows/ stands in the place of the unit that has its name elsewhere, if there is one.
local function names_of_units(paths)
  local names, by_last = {}, {}
  for _, path in ipairs(paths) do
    local name = path == "engine/abi.c" and "abi_text" or path:match "^engine/(.*)%.[ch]$"
    names[path] = name
    if not name:find(WINDOWS, 1, true) then by_last[name:match "[^/]+$"] = name end
  end
  for path, name in pairs(names) do
    if name:find(WINDOWS, 1, true) then names[path] = by_last[name:match "[^/]+$"] or name end
  end
  return names
end

-- Units by name: paths, needs (unit -> how: "includes x.h", "calls el_x").
---@return table<string, table>
function M.units()
  local units, owner = {}, {}
  local paths = files "engine -name '*.[ch]' -not -path '*/package/*' -not -path '*/include/*'"
  local names = names_of_units(paths)
  for _, path in ipairs(paths) do
    local name = names[path]
    units[name] = units[name] or { paths = {}, needs = {}, code = "" }
    table.insert(units[name].paths, path)
    local code = name ~= "abi" and code_of(read(path)) or "" -- that declares everybody's functions, and calls none
    units[name].code = units[name].code .. code
    if path:find "%.c$" then
      for _, defined in ipairs(definitions(code)) do owner[defined] = owner[defined] or name end
    end
  end
  for name, unit in pairs(units) do
    for _, path in ipairs(unit.paths) do
      for header in read(path):gmatch '#include "([^"\n]+)%.h"' do
        if units[header] and header ~= name then unit.needs[header] = ("includes %s.h"):format(header) end
      end
    end
    for called in unit.code:gmatch "([%a_][%w_]*)%s*%(" do
      local of = owner[called]
      if of and of ~= name then unit.needs[of] = ("calls %s()"):format(called) end
    end
  end
  return units
end

-- ---- rules --------------------------------------------------------------------------------------------------------

-- Names in a circle, or nil. needs(name) -> list of names.
local function find_cycle(names, needs)
  local state, trail = {}, {}
  local function visit(name)
    if state[name] == "done" then return nil end
    trail[#trail + 1] = name
    if state[name] then
      while trail[1] ~= name do table.remove(trail, 1) end
      return trail
    end
    state[name] = "open"
    for _, next_name in ipairs(needs(name)) do
      local cycle = visit(next_name)
      if cycle then return cycle end
    end
    state[name] = "done"
    trail[#trail] = nil
  end
  for _, name in ipairs(names) do
    local cycle = visit(name)
    if cycle then return cycle end
  end
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function check_lua(modules, complain)
  local ranks, used = rank(order.ROOMS), {}
  for _, name in ipairs(sorted(modules)) do
    local module = modules[name]
    for _, needed in ipairs(module.is_alias and {} or module.needs) do
      local arrow = ("%s -> %s"):format(name, needed)
      if ranks[modules[needed].room] > ranks[module.room] then
        if not order.FORWARDERS[arrow] then complain("upward arrow: %s", arrow) end
        if order.FORWARDERS[arrow] and not module.lazy[needed] then complain("not lazy: %s", arrow) end
        used[arrow] = true
      end
      if modules[needed].is_alias then complain("by its old name: %s", arrow) end
    end
  end
  for arrow in pairs(order.FORWARDERS) do
    if not used[arrow] then complain("on the list of exceptions for nothing: %s", arrow) end
  end
  local cycle = find_cycle(sorted(modules), function(name)
    local down = {}
    for _, needed in ipairs(modules[name].needs) do
      if not order.FORWARDERS[("%s -> %s"):format(name, needed)] then down[#down + 1] = needed end
    end
    return down
  end)
  if cycle then complain("cycle: %s", table.concat(cycle, " -> ")) end
end

-- The ranks of units; one that is not named has that of its folder's *.
local function unit_ranks()
  return setmetatable(rank(order.UNITS), { __index = function(ranks, name)
    return rawget(ranks, (name:match "^.*/" or "") .. "*")
  end })
end

local function check_c(units, complain)
  local ranks = unit_ranks()
  for _, name in ipairs(sorted(units)) do
    if not ranks[name] then complain("engine/%s has no place in the list of units", name) end
    for _, needed in ipairs(sorted(units[name].needs)) do
      if ranks[needed] and ranks[name] and ranks[needed] >= ranks[name] then
        complain("upward arrow: engine/%s -> engine/%s (%s)", name, needed, units[name].needs[needed])
      end
    end
  end
  for _, name in ipairs(sorted(ranks)) do
    if not units[name] and not name:find "%*$" then
      complain("engine/%s is in the list of units, but there is none", name)
    end
  end
end

-- First and last line of each function of a C file: by clang-format, bodies stand between braces in column 1.
local function c_functions(path)
  local spans, first, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    if line == "{" then first = number - 1 end
    if line == "}" and first then
      spans[#spans + 1] = { first, number }
      first = nil
    end
  end
  return spans
end

local GSET = (vmdef.bcnames:find("GSET", 1, true) - 1) / 6

-- Of a function and those within it: first and last lines, and the globals that they set, as the bytecode has them.
local function look_into(fn, spans, globals)
  local info = util.funcinfo(fn)
  if info.linedefined > 0 then spans[#spans + 1] = { info.linedefined, info.lastlinedefined } end
  for pc = 1, info.bytecodes - 1 do
    local instruction = util.funcbc(fn, pc)
    if bit.band(instruction, 0xff) == GSET then
      globals[#globals + 1] = util.funck(fn, -bit.rshift(instruction, 16) - 1)
    end
  end
  for i = 1, info.gcconsts do
    local constant = util.funck(fn, -i)
    if type(constant) == "proto" then look_into(constant, spans, globals) end
  end
  return spans, globals
end

local function lua_functions(path)
  return look_into(assert(loadfile(path)), {}, {})
end

local function check_lengths(path, spans, complain)
  local _, count = read(path):gsub("\n", "")
  if count > LINES_MAX and not order.LONG[path] then complain("%s has %d lines: up to %d", path, count, LINES_MAX) end
  if order.LONG[path] and count <= LINES_MAX then complain("%s is on the list of long files for nothing", path) end
  for _, span in ipairs(spans) do
    local length = span[2] - span[1] + 1
    if length > FUNCTION_MAX then
      complain("%s:%d: a function of %d lines: up to %d", path, span[1], length, FUNCTION_MAX)
    end
  end
end

local function check_files(modules, units, complain)
  for _, name in ipairs(sorted(units)) do
    for _, path in ipairs(units[name].paths) do check_lengths(path, c_functions(path), complain) end
  end
  local paths = files("lua scripts -name '*.lua'")
  for _, path in ipairs(paths) do
    local spans, globals = lua_functions(path)
    check_lengths(path, spans, complain)
    for _, global in ipairs(globals) do complain("%s writes the global %s", path, global) end
  end
  for _, name in ipairs(sorted(modules)) do
    local module = modules[name]
    if name ~= "core/ffi" and module.text:find "ffi%.cdef" then
      complain("%s declares C: core/ffi.lua alone does", module.path)
    end
  end
end

-- What breaks the rules, a line each.
---@return string[]
function M.problems()
  local list = {}
  local function complain(...) list[#list + 1] = string.format(...) end
  local modules, units = M.modules(), M.units()
  check_lua(modules, complain)
  check_c(units, complain)
  check_files(modules, units, complain)
  return list
end

-- ---- the picture --------------------------------------------------------------------------------------------------

-- One side as a graph of Graphviz. boxes: names in their order, the lowest first; arrows: "a -> b" -> label.
local function add_side(out, title, prefix, boxes, arrows)
  local function put(...) out[#out + 1] = string.format(...) end
  put('subgraph "cluster_%s" {\nlabel="%s";', prefix, title)
  for i = #boxes, 1, -1 do put('"%s%s" [label="%s"];', prefix, boxes[i], boxes[i]) end
  for arrow, style in pairs(arrows) do
    local from, to = arrow:match "^(.-) %-> (.*)$"
    put('"%s%s" -> "%s%s"%s;', prefix, from, prefix, to, style)
  end
  put "}"
end

local function room_arrows(modules)
  local arrows = {}
  for name, module in pairs(modules) do
    for _, needed in ipairs(module.needs) do
      local from, to = module.room, modules[needed].room
      local up = order.FORWARDERS[("%s -> %s"):format(name, needed)]
      local arrow = ("%s -> %s"):format(from, to)
      if from ~= to and not module.is_alias then
        arrows[arrow] = up and ' [style=dashed, color=gray, constraint=false]' or ""
      end
    end
  end
  return arrows
end

local function unit_arrows(units)
  local arrows = {}
  for name, unit in pairs(units) do
    for needed in pairs(unit.needs) do
      if needed ~= "common" and needed ~= "abi" then arrows[("%s -> %s"):format(name, needed)] = "" end
    end
  end
  return arrows
end

-- Rooms of Lua and units of C with their arrows, in Graphviz's language.
---@return string
function M.dot()
  local out = { 'digraph etherlua {\nrankdir=TB; node [shape=box, fontname="sans-serif"]; fontname="sans-serif";' }
  local units = M.units()
  add_side(out, "lua/etherlua", "lua:", order.ROOMS, room_arrows(M.modules()))
  add_side(out, "engine", "c:", sorted(units), unit_arrows(units))
  out[#out + 1] = "}"
  return table.concat(out, "\n") .. "\n"
end

if arg and arg[0] and arg[0]:find "structure%.lua$" then io.write(M.dot()) end

return M
