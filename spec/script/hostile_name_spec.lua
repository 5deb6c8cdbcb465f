-- Names that would command a terminal: of interfaces, files and scripts, wherever they are printed.

local files = require "support.files"
local lab = require "etherlua.lab.lab"
local program = require "support.program"
local root_it = require "support.root_it"
local shell = require "support.shell"

local EVIL = "a\27[2Jb\7"
local quote = require("etherlua.core.files").quote

local function assert_fit(text)
  assert.is_nil(text:find "[%z\1-\8\11-\31\127]", text)
  assert.truthy(text:find("a\\x1b[2Jb\\x07", 1, true) or text:find("a\\27[2Jb\\7", 1, true), text)
end

describe("a name that would command a terminal", function()
  local folder

  before_each(function()
    folder = shell.output_of "mktemp -d":gsub("\n", "")
    files.write(folder .. "/" .. EVIL .. ".lua", [[
      local ether = require "etherlua"
      ether.spawn(function() ether.sleep(0.01) end)
      error "no"]])
  end)

  after_each(function() os.execute("rm -rf " .. folder) end)

  local function run(command)
    return (shell.run(("cd %s && %s"):format(folder, command)))
  end

  local ETHERLUA = program.PATH:gsub("^[^/]", shell.output_of "pwd":gsub("\n", "") .. "/%0")

  it("is shown without its escape sequences in messages about files, scripts and options", function()
    for _, arguments in ipairs { "run %s", "run ./%s", "run %s.lua/x", "run --trace-tasks ./%s.lua",
      "run sniff -r %s", "run sniff -i %s", "run sniff -i wire:%s", "run sniff -i lo --netns %s",
      "run sniff -i %s --capture /nowhere/x", "run --user %s sniff -i lo", "run ping -i lo --ip %s 10.0.0.1",
      "run ping --%s", "%s", "doctor %s", "repl %s" } do
      local words = arguments:gsub("%%s", function() return quote(EVIL) end)
      assert_fit(run(("%s %s </dev/null"):format(ETHERLUA, words)))
    end
  end)

  it("is shown so at the prompt, too", function()
    files.write(folder .. "/lines", ('%s = x y\nerror "%s"\nether.open "file:%s"\n'):format(EVIL, EVIL, EVIL))
    assert_fit(run(ETHERLUA .. " repl <lines"))
  end)

  root_it("is shown so when it is an interface's", function()
    local net = lab.new()
    finally(function() net:close() end)
    net.near:run("ip link set dev eth0 down; ip link set dev eth0 name " .. quote(EVIL) .. "; ip link set dev " ..
      quote(EVIL) .. " up")
    assert_fit(net.near:run(ETHERLUA .. " doctor || true"))
    assert_fit(net.near:run(("%s doctor %s || true"):format(ETHERLUA, quote(EVIL))))
    assert_fit(net.near:run(("%s run arping -i %s --ip 10.0.0.2 --count 1 --timeout 0.05 10.0.0.1 || true"):format(
      ETHERLUA, quote(EVIL))))
  end)
end)
