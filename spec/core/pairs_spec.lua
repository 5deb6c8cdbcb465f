-- Loops over pairs() visit every entry, also those that LuaJIT compiles and gives up again.

local files = require "support.files"
local shell = require "support.shell"

-- Walks through a table of tables again and again, and prints how many walks left something out.
local CHILD = [[
  require "etherlua"
  local inner = { 1, 2, 3, 4, 5 }
  local outer, short = { a = inner, b = inner, c = inner, d = inner, e = inner }, 0
  local function back_to_the_interpreter(...)
    for _ = 1, 100 do end
  end
  for _ = 1, 200000 do
    back_to_the_interpreter()
    local count = 0
    for _, list in pairs(outer) do
      for _ in pairs(list) do end
      count = count + 1
    end
    if count ~= 5 then short = short + 1 end
  end
  print(short)
]]

describe("pairs", function()
  it("visits every entry of tables within tables, however often", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(CHILD)
    file:close()
    local output = shell.output_of(shell.LUAJIT .. " " .. path)
    os.remove(path)
    assert.equal("0\n", output)
  end)

  it("is what our own sources use: the other way has the fault", function()
    for path in shell.output_of("find lua scripts -name '*.lua'"):gmatch "[^\n]+" do
      assert.is_nil(files.read_all(path):find "%f[%w]in next,", path)
    end
  end)

  it("keeps to what Lua's own does: the iterator, the table, and errors", function()
    local seen = {}
    for key, value in pairs { 1, 2, x = 3 } do seen[key] = value end
    assert.same({ 1, 2, x = 3 }, seen)
    assert.is_false(pcall(pairs, nil))
    assert.is_nil(next {})
  end)
end)
