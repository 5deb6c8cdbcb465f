-- clock.lua: runs a Lua program in a process whose clocks a spec can move, or in which time goes by only where somebody
-- waits for it: see clock.c.

local ffi = require "ffi"
local shell = require "support.shell"

local M = {}

-- Runs a command with clock.c preloaded, which is built for that. Its output goes where this process's does.
---@param folder string where clock.so is put
---@param command string
---@return integer status of os.execute
function M.execute(folder, command)
  shell.output_of(("%s -shared -fPIC -o %s/clock.so spec/support/clock.c"):format(os.getenv "CC" or "cc", folder))
  return os.execute(("ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD='%s %s/clock.so' %s"):format(os.getenv "SANITIZER" or "",
    folder, command))
end

---@param program string Lua; it declares with ffi.cdef what it sets of clock.c
---@param ... any its arguments
---@return string output
function M.run(program, ...)
  local folder = shell.output_of("mktemp -d"):match "%S+"
  local file = assert(io.open(folder .. "/child.lua", "w"))
  file:write(program)
  file:close()
  local status = M.execute(folder, ("LUA_PATH='%s;;' luajit %s/child.lua %s >%s/output 2>&1"):format(package.path,
    folder, table.concat({ ... }, " "), folder))
  local output = shell.output_of("cat " .. folder .. "/output")
  os.execute("rm -r " .. folder)
  return status == 0 and output or error(output, 0)
end

ffi.cdef [[int spec_clock_virtual; void spec_clock_stop(void); void spec_clock_go(void);]]

-- From now on time goes by only where somebody waits. Possible in a process that execute() has begun.
---@return boolean whether it is
function M.make_virtual()
  return pcall(function() ffi.C.spec_clock_virtual = 1 end)
end

-- Whether stand_still() works in this process.
---@return boolean
function M.can_stop()
  return (pcall(function() return ffi.C.spec_clock_stop end))
end

-- Calls fn; meanwhile time goes by only where somebody waits, in a process that `make test` began. In others it goes by
-- as always, and what is slow may fail.
---@param fn function
---@param ... any its arguments
function M.stand_still(fn, ...)
  local stops = M.can_stop()
  if stops then ffi.C.spec_clock_stop() end
  local ok, failure = pcall(fn, ...)
  if stops then ffi.C.spec_clock_go() end
  if not ok then error(failure, 0) end
end

return M
