-- program/places.lua: where the program looks for modules: in its own tree, in the folder of the script that it runs,
-- and where LUA_PATH and LUA_CPATH say, or else where the system has them. The current directory is none of these
-- places: what lies there by chance, or by somebody's intention, does not run as root. What the program itself is made
-- of comes from its own places whatever a script does to package.path.

local M = {}

-- By the first part of the name.
local OWN = { etherlua = true, argparse = true, cjson = true }

local SEPARATOR = package.config:sub(1, 1)
local BEHIND_FOLDER = ("^(.*)[/%s][^/%s]*$"):format(SEPARATOR, SEPARATOR) -- a slash separates everywhere

local ENOENT = 2 -- no module of ours is loaded yet

local tree, rest, crest = "", package.path, package.cpath -- templates
local folders = {} -- of scripts
local secure = false

-- The defaults of LuaJIT begin with the current directory.
local function absolute_only(path)
  local kept = {}
  for template in path:gmatch "[^;]+" do
    if template:sub(1, 1) == "/" then kept[#kept + 1] = template end
  end
  return table.concat(kept, ";")
end

-- As Lua reads LUA_PATH: two semicolons stand for the defaults.
local function chosen(given, default)
  if not given then return default end
  return (given:gsub(";;", function() return ";" .. default .. ";" end))
end

-- One that is there, but cannot be opened: many files are open, or somebody has taken the right to read it.
local function check_readable(name, template)
  local file, reason, code = io.open((template:gsub("%?", (name:gsub("%.", "/")))), "rb")
  if file then return file:close() end
  if code == ENOENT then return end
  local words = ("cannot load %s: %s"):format(name, reason)
  error(setmetatable({ exit_status = 1, message = words }, { __tostring = function() return words end }), 0)
end

-- For package.loaders.
local function load_own_from(path, cpath)
  return function(name)
    if not OWN[name:match "^[^.]*"] then return nil end
    local file = package.searchpath(name, path)
    if file then return assert(loadfile(file)) end
    file = package.searchpath(name, cpath)
    if file then return assert(package.loadlib(file, "luaopen_" .. name:gsub("%.", "_"))) end
    for template in (path .. ";" .. cpath):gmatch "[^;]+" do check_readable(name, template) end
  end
end

local function apply()
  local path, cpath = {}, {}
  for i, folder in ipairs(folders) do
    path[i], cpath[i] = ("%s/?.lua;%s/?/init.lua;"):format(folder, folder), folder .. "/?.so;"
  end
  package.path, package.cpath = tree .. table.concat(path) .. rest, table.concat(cpath) .. crest
end

-- For the program, before anything else is loaded.
---@param own string templates of its tree; "" when its modules are inside
---@param defaults { path: string, cpath: string } LuaJIT's
---@param given { path: string?, cpath: string?, secure: boolean } the environment's; secure: the program has rights
---  that its user has not
function M.set(own, defaults, given)
  local path, cpath = absolute_only(defaults.path), absolute_only(defaults.cpath)
  secure = given.secure
  tree, rest, crest = own, chosen(given.path, path), chosen(given.cpath, cpath)
  table.insert(package.loaders, 2, load_own_from(own .. path, cpath)) -- behind package.preload
  apply()
end

-- Whether the program has rights that its user has not, by its file.
---@return boolean
function M.is_secure()
  return secure
end

-- Modules are looked for in this folder, too: behind the tree, and in front of all else.
---@param folder string
function M.add_folder(folder)
  folders[#folders + 1] = folder
  apply()
end

-- The folder that a path is in.
---@param path string
---@return string
function M.folder_of(path)
  local folder = path:match(BEHIND_FOLDER)
  return folder == "" and "/" or folder or "."
end

return M
