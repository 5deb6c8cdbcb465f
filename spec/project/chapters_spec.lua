-- The manual tells the truth: every code block of its chapters is run, and prints what it says. The chapter that
-- changes the sources has a spec of its own, changing_spec.lua.

local blocks = require "support.blocks"

local CHANGING = "95%-changing%.md$"

local listing = io.popen("ls scripts/doc/manual/*.md")
for chapter in listing:lines() do
  if not chapter:find(CHANGING) then
    describe("the chapter " .. chapter:match("([%w-]+)%.md$"), function() blocks.specs(chapter, 12) end)
  end
end
listing:close()
