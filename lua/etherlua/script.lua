-- The name that users write: see program/script.lua.
return require "etherlua.program.script"
