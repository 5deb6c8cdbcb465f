-- term.lua: what busted needs of the module of this name (Debian's lua-term) where that is not to be had.

return { isatty = function() return false end }
