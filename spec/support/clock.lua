-- clock.lua: runs a Lua program in a process whose clocks a spec can move: see clock.c.

local shell = require "support.shell"

local M = {}

---@param program string Lua; it declares with ffi.cdef what it sets of clock.c
---@param ... any its arguments
---@return string output
function M.run(program, ...)
  local folder = shell.output_of("mktemp -d"):match "%S+"
  shell.output_of(("%s -shared -fPIC -o %s/clock.so spec/support/clock.c"):format(os.getenv "CC" or "cc", folder))
  local file = assert(io.open(folder .. "/child.lua", "w"))
  file:write(program)
  file:close()
  local command = ("%s LD_PRELOAD='%s %s/clock.so' LUA_PATH='%s;;' luajit %s/child.lua %s"):format(
    "ASAN_OPTIONS=detect_leaks=0", os.getenv "SANITIZER" or "",
    folder, package.path, folder, table.concat({ ... }, " "))
  local ok, output = pcall(shell.output_of, command)
  os.execute("rm -r " .. folder)
  return ok and output or error(output, 0)
end

return M
