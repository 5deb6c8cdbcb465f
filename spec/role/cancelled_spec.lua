-- A task that shares a resolver, an endpoint, a pacer or a server with others is cancelled at its first wait, its
-- second, and so on to its last: see endure/victims.lua for what each of them does.

local parks = require "endure.parks"
local victims = require "endure.victims"

local names = {}
for name in pairs(victims) do names[#names + 1] = name end
table.sort(names)

describe("a task that is cancelled at any one of its waits", function()
  after_each(require("support.leaks").check)

  for _, name in ipairs(names) do
    for moment in pairs(parks.MOMENTS) do
      it(("while %s (%s) takes nothing from those beside and behind it"):format(name, moment), function()
        local hit, verdict = parks.victim(victims[name], moment)
        assert.is_nil(verdict)
        assert.is_true(hit.count > 0)
      end)
    end
  end
end)
