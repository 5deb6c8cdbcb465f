-- shell.lua: commands of the shell as specs run them, and things of one test that are closed behind it.

local assert = require "luassert"

local M = {}

-- What a command prints, errors too, and its exit status.
function M.run(command)
  local pipe = assert(io.popen(("{ %s; } </dev/null 2>&1; printf '\\n%%d' $?"):format(command), "r"))
  local text, status = pipe:read("*a"):match("^(.*)\n(%d+)$")
  pipe:close()
  return text, tonumber(status)
end

function M.succeeds(command) return select(2, M.run(command)) == 0 end

-- The output of a command that has to succeed.
function M.output_of(command)
  local text, status = M.run(command)
  assert.equal(0, status, command .. "\n" .. text)
  return text
end

local SANITIZER = os.getenv "SANITIZER"

-- How another LuaJIT is started: it finds our modules, and a library with sanitizers wants to be the first.
M.LUAJIT = ("env LUA_PATH='%s' %sluajit"):format(package.path,
  SANITIZER and ("LD_PRELOAD=%s ASAN_OPTIONS=detect_leaks=0 "):format(SANITIZER) or "")

-- `make test-fast` is nobody's.
M.is_root = not os.getenv "FAST" and M.succeeds "test $(id -u) = 0"

-- Why a program that building does not need cannot be run, or nil. `make test-fast` does without all of them.
---@param name string
---@return string?
function M.missing(name)
  if os.getenv "FAST" or not M.succeeds("command -v " .. name) then return "needs the program " .. name end
end

local made = {}

-- x:close() is called by close_all(), the last first.
function M.keep(x)
  made[#made + 1] = x
  return x
end

function M.close_all()
  while #made > 0 do table.remove(made):close() end
end

return M
