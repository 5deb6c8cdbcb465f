-- The name that users write: see host/neighbour.lua.
return require "etherlua.host.neighbour"
