-- The README tells the truth: its first script prints what it says.

local files = require "support.files"
local lab = require "etherlua.lab"

local program = os.getenv "ETHERLUA" or "build/etherlua"

describe("the README", function()
  local readme = files.read_all("README.md")

  it("shows a script that prints what is said below it", function()
    local permitted, reason = lab.root()
    if not permitted then return pending(reason) end
    local code, printed = readme:match("```lua\n(.-)```.-```\n(.-)```")
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(code)
    file:close()
    local pipe = io.popen(("%s run --lab %s 2>&1"):format(program, path))
    local output = pipe:read("*a")
    pipe:close()
    os.remove(path)
    local lines, expected = {}, {}
    for line in output:gmatch("[^\n]+") do lines[#lines + 1] = line end
    for line in printed:gmatch("[^\n]+") do expected[#expected + 1] = line end
    table.sort(lines) -- who answers first is not promised
    assert.same(expected, lines)
    assert.is_true(select(2, code:gsub("\n", "")) <= 12)
  end)

  it("names every file of the engine and every Lua module in its tour", function()
    local tour = readme:match("## Tour of the source(.-)\n## ")
    local listing = io.popen("cd engine && ls *.c *.h && cd ../lua/etherlua && ls *.lua")
    for name in listing:lines() do
      if name ~= "core.h" then assert.truthy(tour:find(name, 1, true), name .. " is not in the tour") end
    end
    listing:close()
  end)
end)
