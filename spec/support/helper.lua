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

-- `make test SAN=1` preloads the sanitizer into LuaJIT; the programs that specs start are not to inherit it.
local ffi = require "ffi"
ffi.cdef "int unsetenv(const char *name);"
ffi.C.unsetenv "LD_PRELOAD"
