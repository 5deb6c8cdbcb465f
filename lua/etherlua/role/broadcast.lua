-- The name that users write: see host/broadcast.lua.
return require "etherlua.host.broadcast"
