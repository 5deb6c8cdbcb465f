-- Lint looks at comments where no other tool does: their width, and the dashes of Lua.

local shell = require "support.shell"

describe("the check of the comments", function()
  local folder

  setup(function() folder = shell.output_of "mktemp -d":match "[^\n]+" end)
  teardown(function() os.execute("rm -r " .. folder) end)

  local function complaints_about(name, text)
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
    local output, status = shell.run("luajit scripts/doc/comments.lua " .. folder)
    os.remove(folder .. "/" .. name)
    assert.equal(output == "" and 0 or 1, status)
    return output
  end

  it("allows 120 columns, a tab being eight and a letter one", function()
    assert.equal("", complaints_about("a.c", "\t/* " .. ("ä"):rep(106) .. " */\n"))
    assert.truthy(complaints_about("a.c", "\n\t/* " .. ("ä"):rep(107) .. " */\n"):find("a.c:2: 121 columns", 1, true))
    assert.truthy(complaints_about("a.lua", "-- " .. ("x"):rep(118) .. "\n"):find("a.lua:1: 121 columns", 1, true))
  end)

  it("wants three dashes for annotations and what follows them, and two for prose", function()
    assert.equal("", complaints_about("a.lua", "-- Prose.\n---@param a string\n---  goes on\n---@return nil\n"))
    assert.truthy(complaints_about("a.lua", "--- Prose.\n"):find("a.lua:1: prose", 1, true))
    assert.truthy(complaints_about("a.lua", "---@param a string\n--- goes on\n"):find("a.lua:2: prose", 1, true))
    assert.truthy(complaints_about("a.lua", "---  goes on\n"):find("a.lua:1: prose", 1, true))
  end)
end)
