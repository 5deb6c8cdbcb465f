-- The manual tells the truth: every code block of its chapters is run, and prints what it says. The chapter that
-- changes the sources has a spec of its own, changing_spec.lua.

local blocks = require "support.blocks"
local files = require "support.files"

local CHANGING = "95%-changing%.md$"

local listing = io.popen("ls scripts/doc/manual/*.md")
for chapter in listing:lines() do
  if not chapter:find(CHANGING) then
    describe("the chapter " .. chapter:match("([%w-]+)%.md$"), function() blocks.specs(chapter, 12) end)
  end
end
listing:close()

-- ---- links ---------------------------------------------------------------------------------------------------------

describe("the links of README and manual", function()
  it("lead to files from where they stand, as on a forge", function()
    local count, found = 0, io.popen "ls README.md scripts/doc/manual/*.md"
    for path in found:lines() do
      for target in files.read_all(path):gmatch "%]%(([^)#:]+)#?[^):]*%)" do
        assert.is_string(files.read_all((path:match "^.*/" or "") .. target), path .. " links to " .. target)
        count = count + 1
      end
    end
    found:close()
    assert.is_true(count > 15)
  end)
end)

-- ---- the tour -----------------------------------------------------------------------------------------------------

-- Rooms to which files are added without a word elsewhere.
local OPEN = { "engine/kinds/", "engine/package/", "lua/etherlua/proto/", "lua/etherlua/role/",
  "lua/etherlua/program/doctor/", "lua/etherlua/program/repl/" }

local function is_open(path)
  for _, folder in ipairs(OPEN) do
    if path:find(folder, 1, true) then return true end
  end
end

describe("the tour of the source", function()
  local tour = files.read_all "scripts/doc/manual/90-source.md"

  it("names every file of the engine", function()
    local found = io.popen "find engine -name '*.[ch]'"
    for path in found:lines() do
      assert.truthy(is_open(path) or tour:find("`" .. path:match "[^/]+$" .. "`", 1, true), path)
    end
    found:close()
  end)

  it("names every Lua module in the line of its room", function()
    local found = io.popen "find lua/etherlua -mindepth 2 -name '*.lua'"
    for path in found:lines() do
      local room, name = path:match "^lua/etherlua/(%w+)/(.+)%.lua$"
      local line = tour:match("\n(| `" .. room .. "/` [^\n]+)")
      assert.truthy(line, "no line is about the room " .. room)
      assert.truthy(is_open(path) or line:find("`" .. name .. "`", 1, true), path)
    end
    found:close()
  end)
end)
