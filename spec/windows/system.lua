-- system.lua: what busted needs of the module of this name (Debian's lua-system) where that is not to be had.

local ether = require "etherlua"

return { gettime = os.time, monotime = ether.now, sleep = ether.sleep }
