-- core/loading.lua: dofile and require while a run is in progress: the same in Lua, so that what they load can wait.
-- Those of LuaJIT are functions of C, which no wait passes through.

local loop = require "etherlua.core.loop"
local misuse = require "etherlua.core.misuse"

local M = {}

local PAUSE = 0.001 -- seconds between two looks whether another task has loaded a module

local function run_file(path)
  local chunk, reason = loadfile(path)
  if not chunk then error(reason, 0) end
  return chunk()
end

-- ---- modules ------------------------------------------------------------------------------------------------------

-- By name: what is being loaded, or was and failed: load, a function that is on the stack of the coroutine co
-- meanwhile (nil: the main one), and the task that is in.
local begun = {}

-- Whether it has not come to its end.
local function is_running(one)
  for level = 0, math.huge do
    local info
    if one.co then info = debug.getinfo(one.co, level, "f") else info = debug.getinfo(level + 1, "f") end
    if not info then return false end
    if info.func == one.load then return true end
  end
end

-- Waits until another task has loaded it. Raises an error for a module that needs itself.
local function wait_for_other(name)
  local one = begun[name]
  while one and begun[name] == one and is_running(one) do
    if one.task == loop.running() then misuse.raise("loop loading module '%s': it needs itself", name) end
    loop.sleep(PAUSE)
  end
end

-- The function that loads it.
local function loader_of(name)
  local tried = {}
  for _, find in ipairs(package.loaders) do
    local found = find(name)
    if type(found) == "function" then return found end
    if type(found) == "string" then tried[#tried + 1] = found end
  end
  misuse.raise_lines("module '%s' not found:%s", name, table.concat(tried))
end

local function load_module(name)
  local loader = loader_of(name)
  local function load()
    local value = loader(name) -- no tail call: is_running() has to find this function
    return value
  end
  begun[name] = { load = load, co = coroutine.running(), task = loop.running() }
  local value = load()
  begun[name] = nil
  if value ~= nil then package.loaded[name] = value end
  if package.loaded[name] == nil then package.loaded[name] = true end
  return package.loaded[name]
end

local function load_once(name)
  if type(name) ~= "string" then misuse.raise("bad module name %s: a text is needed", tostring(name)) end
  if not package.loaded[name] then wait_for_other(name) end
  return package.loaded[name] or load_module(name)
end

-- ---- a run --------------------------------------------------------------------------------------------------------

local before -- what they were; nil outside a run

-- A run begins.
function M.install()
  before = { dofile = dofile, require = require }
  _G.dofile, _G.require = run_file, load_once -- luacheck: ignore 122
end

-- It has ended: what was there is put back, unless somebody has replaced it since.
function M.uninstall()
  if _G.dofile == run_file then _G.dofile = before.dofile end -- luacheck: ignore 122
  if _G.require == load_once then _G.require = before.require end -- luacheck: ignore 122
  before, begun = nil, {}
end

return M
