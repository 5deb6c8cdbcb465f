-- core/ffi.lua: the only place that talks to LuaJIT's ffi about the engine: finds libetherlua.so, or the engine inside
-- of a portable program, cdefs the declarations that it carries, and hands out the namespace. Metatypes are declared
-- here too, by the modules that own the methods. Nothing else calls ffi.cdef, ffi.load or ffi.metatype.

require "etherlua.core.pairs" -- before any loop runs
local ffi = require "ffi"

local M = {}

-- Folders of the library relative to this file: the build tree, then an installed tree
-- (PREFIX/share/lua/5.1/etherlua/core/ffi.lua -> PREFIX/lib).
local PLACES = { "../../../build/", "../../../../../lib/" }

local function readable(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

ffi.cdef "extern const char el_abi_text[1]; char *secure_getenv(const char *name);"

-- The environment's choice comes first, for tests with another build of the library; not in a program that has rights
-- by its file, which are not the user's.
local function library_path()
  local chosen = ffi.C.secure_getenv "ETHERLUA_LIB"
  if chosen ~= nil then return ffi.string(chosen) end
  local here = debug.getinfo(1, "S").source:match("^@(.*)ffi%.lua$") or ""
  for _, place in ipairs(PLACES) do
    local path = here .. place .. "libetherlua.so"
    if readable(path) then return path end
  end
  return "libetherlua.so"
end

local function has_engine() return ffi.C.el_abi_text end

M.C = pcall(has_engine) and ffi.C or ffi.load(library_path())
local declarations = ffi.string(ffi.cast("const char *", M.C.el_abi_text))
ffi.cdef(declarations)

-- Each function and constant is looked up once now (JIT 7).
local function look_up(name) return M.C[name] end
for name in declarations:gmatch "[eE][lL]_[%w_]+" do pcall(look_up, name) end

M.metatables = {} -- by name of the struct

-- Gives the C struct `name` its methods; index may be a table or a function.
---@param name string such as "struct el_conn"
---@param metatable table
function M.metatype(name, metatable)
  M.metatables[name] = metatable
  return ffi.metatype(name, metatable)
end

---@param value any
---@return string? name of its C struct, if that has a metatable
---@return table? metatable
function M.struct_of(value)
  for name, metatable in pairs(type(value) == "cdata" and M.metatables or {}) do
    if ffi.istype(name, value) then return name, metatable end
  end
end

return M
