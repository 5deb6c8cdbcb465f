-- embed.lua: writes the C file that makes a program portable: all Lua modules, argparse, the shipped scripts, and the
-- entries of C modules that are linked in. Sources, not bytecode: messages keep their lines, and any LuaJIT reads them.
-- Run by `make portable` in the folder of the Makefile.

local LIBRARIES = { "cjson" }
local MODULES = { "argparse" } -- of others, in Lua

local out = { '#include "program/embedded.h"\n' }
local count = 0

local function put(...) out[#out + 1] = string.format(...) end

-- What the file holds is between two labels of the assembler.
local function add(entries, name, chunk, path)
  count = count + 1
  put('__asm__(".section .rodata\\nfile%d: .incbin \\"%s\\"\\nend%d:\\n.text\\n");', count, path, count)
  put("extern const char file%d[], end%d[];", count, count)
  entries[#entries + 1] = ('\t{"%s", "@%s", file%d, end%d},'):format(name, chunk, count, count)
end

local function files(command)
  local pipe = assert(io.popen(command .. " | LC_ALL=C sort"))
  local paths = {}
  for path in pipe:lines() do paths[#paths + 1] = path end
  pipe:close()
  assert(#paths > 0, "no files found by: " .. command)
  return paths
end

local function modules()
  local entries = {}
  for _, path in ipairs(files "find lua -name '*.lua'") do
    local chunk = path:gsub("^lua/", "")
    add(entries, chunk:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."), chunk, path)
  end
  for _, name in ipairs(MODULES) do
    add(entries, name, name .. ".lua", assert(package.searchpath(name, package.path)))
  end
  return entries
end

local function scripts()
  local entries = {}
  for _, path in ipairs(files "ls scripts/*.lua") do
    local chunk = path:match "[^/]+$"
    add(entries, chunk:gsub("%.lua$", ""), chunk, path)
  end
  return entries
end

local function define(declaration, entries)
  put("\nconst %s[] = {\n%s\n\t{NULL},\n};", declaration, table.concat(entries, "\n"))
end

local function libraries()
  local entries = {}
  for _, name in ipairs(LIBRARIES) do
    put("int luaopen_%s(lua_State *L);", name)
    entries[#entries + 1] = ('\t{"%s", luaopen_%s},'):format(name, name)
  end
  return entries
end

define("struct embedded embedded_modules", modules())
define("struct embedded embedded_scripts", scripts())
define("luaL_Reg embedded_libraries", libraries())
io.write(table.concat(out, "\n"), "\n")
