-- root_it.lua: busted's `it` for tests that make labs: pending, with the reason, where none can be made.

local lab = require "etherlua.lab.lab"

---@param name string
---@param fn function
return function(name, fn)
  local words = getfenv(2)
  words.it(name, function()
    local possible, reason = lab.root()
    if not possible then return words.pending(reason) end
    fn()
  end)
end
