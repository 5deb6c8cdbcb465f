-- helper.lua: what busted loads before the first spec.
--
-- busted forgets the modules that a spec file loaded when the file ends, but C types can be declared only once in a
-- process: the modules that do it are loaded here, and so stay.

require "etherlua.core.ffi"
require "etherlua.net.addr"
if package.searchpath("etherlua", package.path) then require "etherlua" end

-- `make test-fast` tells what can be told without namespaces and programs of others.
if os.getenv "FAST" then
  require("etherlua.lab.lab").root = function() return false, "needs namespaces" end
  require("etherlua.test.servers").missing = function(program) return "needs root and " .. program end
end

-- The C library's names are of files in the root folder there.
if jit.os == "Windows" then
  local count, temporary = 0, os.getenv("TEMP"):gsub("\\", "/")
  os.tmpname = function() -- luacheck: ignore 122
    count = count + 1
    local path = ("%s/spec-%d-%d"):format(temporary, os.time(), count)
    assert(io.open(path, "wb")):close()
    return path
  end
end

-- `make test` preloads a clock into LuaJIT, and sanitizers; the programs that specs start are not to inherit these.
if os.getenv "LD_PRELOAD" then
  local ffi = require "ffi"
  ffi.cdef "int unsetenv(const char *name);"
  ffi.C.unsetenv "LD_PRELOAD"
end
