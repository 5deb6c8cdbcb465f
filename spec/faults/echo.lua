-- echo.lua: the peer of subject.lua: sends back what it gets, as long as it lives; or sends so many frames and ends.
--
--   etherlua run -i eth0 spec/faults/echo.lua [FRAMES]

local load = dofile "spec/faults/load.lua"
local relay = require("etherlua").relay { filter = "" }
if arg[1] then return load.flood(relay, tonumber(arg[1])) end
print "ready"
load.echo(relay)
