-- helper.lua: what busted loads before the first spec.
--
-- busted forgets the modules that a spec file loaded when the file ends, but C types can be declared only once in a
-- process: the modules that do it are loaded here, and so stay.

require "etherlua.core.ffi"
require "etherlua.net.addr"
if package.searchpath("etherlua", package.path) then require "etherlua" end

-- `make test SAN=1` preloads the sanitizer into LuaJIT; the programs that specs start are not to inherit it.
local ffi = require "ffi"
ffi.cdef "int unsetenv(const char *name);"
ffi.C.unsetenv "LD_PRELOAD"
