-- root_it.lua: busted's `it` for tests that make labs: pending, with the reason, where none can be made.
-- root_it.as_root is the same for tests that become others, or change what only root may.

local lab = require "etherlua.lab.lab"
local shell = require "support.shell"

local function needs_root()
  return shell.is_root, "needs root"
end

-- `it` of the spec file at this level.
local function define(level, possible, name, fn)
  local words = getfenv(level + 1)
  words.it(name, function()
    local yes, reason = possible()
    if not yes then return words.pending(reason) end
    fn()
  end)
end

return setmetatable({
  as_root = function(name, fn) define(2, needs_root, name, fn) end,
}, {
  __call = function(_, name, fn) define(2, lab.root, name, fn) end,
})
