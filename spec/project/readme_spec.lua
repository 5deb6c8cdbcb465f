-- The README tells the truth: every code block in it is run, and prints what it says. It is short, and leads on.

local blocks = require "support.blocks"
local files = require "support.files"

local PAGE, LINES = "README.md", 250

describe("the README", function()
  blocks.specs(PAGE, 12)

  it("is read in a few minutes", function()
    assert.is_true(select(2, files.read_all(PAGE):gsub("\n", "")) <= LINES)
  end)

  it("has a link to every chapter of the manual", function()
    local text = files.read_all(PAGE)
    local listing = io.popen("ls scripts/doc/manual/*.md")
    for chapter in listing:lines() do assert.truthy(text:find("(" .. chapter .. ")", 1, true), chapter) end
    listing:close()
  end)
end)
