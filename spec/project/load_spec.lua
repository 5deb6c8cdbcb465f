-- What the library loads: who requires etherlua pays for no command line, no JSON, no DHCP server and no lab until they
-- are used.

local shell = require "support.shell"

local MODULES = [[
  require "etherlua"
  %s
  for name in pairs(package.loaded) do print(name) end
]]

-- The modules that are loaded when a script has required etherlua and done this.
local function loaded(code)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(MODULES:format(code or ""))
  file:close()
  local pipe = assert(io.popen(("%s %s 2>&1"):format(shell.LUAJIT, path)))
  local names = {}
  for name in pipe:lines() do names[name] = true end
  pipe:close()
  os.remove(path)
  assert(names.etherlua, "it could not be loaded")
  return names
end

describe("require \"etherlua\"", function()
  it("loads no command line, no JSON, no roles that serve, no lab", function()
    local names = loaded()
    for _, name in ipairs { "argparse", "cjson", "etherlua.program.script", "etherlua.role.gateway",
      "etherlua.role.dhcp4_server", "etherlua.role.dhcp4_client", "etherlua.lab.lab", "etherlua.lab.netns",
      "etherlua.lab.access", "etherlua.test" } do
      assert.is_nil(names[name], name .. " is loaded")
    end
  end)

  it("has labs that load no DHCP server before they serve", function()
    local names = loaded 'require "etherlua.lab.lab"'
    assert.is_true(names["etherlua.lab.netns"])
    for _, name in ipairs { "etherlua.lab.access", "etherlua.role.gateway", "etherlua.role.dhcp4_server" } do
      assert.is_nil(names[name], name .. " is loaded")
    end
  end)

  it("has tests that load no DHCP server before a lab of theirs serves", function()
    local names = loaded 'require "etherlua.test.lab"'
    for _, name in ipairs { "etherlua.lab.access", "etherlua.role.gateway", "etherlua.role.dhcp4_server" } do
      assert.is_nil(names[name], name .. " is loaded")
    end
  end)
end)
