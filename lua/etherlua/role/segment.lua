-- The name that users write: see host/segment.lua.
return require "etherlua.host.segment"
