-- The manual is complete and well-formed: the man page knows every command and option of the program and no other, the
-- reference has every public function, and what an editor gets is Lua.

local files = require "support.files"

local PROGRAM = os.getenv "ETHERLUA" or "build/etherlua"
local PAGE = "lua/etherlua.1"

-- Returns exit status, and both outputs as one text.
local function shell(command)
  local pipe = assert(io.popen(("( %s ) 2>&1 </dev/null; printf '\n%%d' $?"):format(command)))
  local text, status = pipe:read("*a"):match("^(.*)\n(%d+)$")
  pipe:close()
  return tonumber(status), text
end

local lacks = require("support.shell").missing

-- ---- the man page -------------------------------------------------------------------------------------------------

-- The options at the start of a line: "-h, --help   Show ...", "   -i SPEC,   The relay".
local function options_of_line(line, into)
  local head = line:match("^%s+(%-.-)%s%s") or line:match("^%s+(%-.*)$")
  for option in (head or ""):gmatch "%-%-?[%w][%w-]*" do into[option] = true end
end

local function options_in_help(command)
  local status, text = shell(("%s %s --help"):format(PROGRAM, command == "etherlua" and "" or command))
  assert.equal(0, status)
  local options = {}
  for line in text:gmatch "[^\n]+" do options_of_line(line, options) end
  return options
end

local function commands_in_help()
  local _, text = shell(PROGRAM .. " --help")
  local commands = {}
  for name in text:match("Commands:\n(.-)\n\n"):gmatch "%f[^\n%z]%s+(%l+) " do commands[name] = true end
  return commands
end

-- Options by command: each item is named by .It Fl and followed by the commands that know it.
local function options_in_page(page)
  local by_command = {}
  for items, commands in page:match("\n%.Sh OPTIONS\n(.-)\n%.Sh "):gmatch "%.It ([^\n]+)\n%.Em ([^\n]+) :" do
    for option in items:gmatch "Fl (%S+)" do
      for command in commands:gmatch "%l+" do
        by_command[command] = by_command[command] or {}
        by_command[command]["-" .. option] = true
      end
    end
  end
  return by_command
end

local function commands_in_page(page)
  local commands = {}
  for name in page:match("The commands are:\n(.-)\n%.El"):gmatch "%.It Cm (%l+)" do commands[name] = true end
  return commands
end

describe("etherlua(1)", function()
  local page = files.read_all(PAGE)
  local known = commands_in_help()

  it("is well-formed", function()
    if lacks "mandoc" then return pending(lacks "mandoc") end
    assert.equal("", select(2, shell("mandoc -Tlint -W warning " .. PAGE)))
  end)

  it("has every command of the program", function()
    local written = commands_in_page(page)
    for name in pairs(known) do assert.is_true(written[name], name .. " is not in the man page") end
  end)

  for name in pairs(commands_in_page(page)) do
    it("has the options of " .. name .. ", and no other", function()
      if not known[name] then return pending(name .. " is not in this program") end
      assert.same(options_in_help(name), options_in_page(page)[name])
    end)
  end

  it("has the program's own options, and no other", function()
    assert.same(options_in_help "etherlua", options_in_page(page).etherlua)
  end)

  it("has every variable of the environment that the program reads", function()
    local _, text = shell "grep -rhoE 'getenv[ (]*\"[A-Z_]+' lua engine/program/main.c | grep -oE '[A-Z_]+$' | sort -u"
    for name in text:gmatch "%S+" do assert.truthy(page:find("Ev " .. name, 1, true), name .. " is not in the page") end
    assert.truthy(text:find "NO_COLOR")
  end)
end)

-- ---- the reference ------------------------------------------------------------------------------------------------

local function read_page(folder, name)
  return files.read_all(("%s/%s.html"):format(folder, name))
end

describe("make doc", function()
  local folder

  setup(function()
    folder = io.popen("mktemp -d"):read("*l")
    assert.equal(0, (shell(("luajit scripts/doc/all.lua %s/doc"):format(folder))))
  end)

  teardown(function() os.execute("rm -r " .. folder) end)

  it("writes valid HTML", function()
    if lacks "tidy" then return pending(lacks "tidy") end
    assert.equal("", select(2, shell(("tidy -q -e %s/doc/*.html"):format(folder))))
  end)

  it("has only links that lead somewhere", function()
    local _, listing = shell(("cd %s/doc && ls *.html"):format(folder))
    for file in listing:gmatch "%S+" do
      for target, anchor in files.read_all(folder .. "/doc/" .. file):gmatch 'href="([^"#]*)#?([^"]*)"' do
        if not target:find "^https?:" then
          local text = files.read_all(folder .. "/doc/" .. (target == "" and file or target))
          assert.truthy(anchor == "" or text:find('id="' .. anchor .. '"', 1, true), file .. " links to " .. anchor)
        end
      end
    end
  end)

  it("has every chapter of the manual, linked from the index", function()
    local index = read_page(folder .. "/doc", "index")
    local _, listing = shell "ls scripts/doc/manual"
    for name in listing:gmatch "([%w-]+)%.md" do
      assert.truthy(index:find(('href="%s.html"'):format(name), 1, true), name .. " is not in the index")
      assert.truthy(read_page(folder .. "/doc", name):find("<h1>", 1, true))
    end
    assert.truthy(read_page(folder .. "/doc", "30-api"):find("<table>", 1, true))
  end)

  it("has every function of the API", function()
    local text = read_page(folder .. "/doc", "etherlua")
    for name, value in pairs(require "etherlua") do
      if type(value) == "function" then
        assert.truthy(text:find(('id="ether.%s"'):format(name), 1, true), name .. " is not in the reference")
      end
    end
  end)

  it("has every method of an EtherConn and a RUDPConn", function()
    local ether = require "etherlua"
    local near, far = ether.wire()
    local conn = near:conn { mac = "02:00:00:00:00:01" }
    local udp = conn:udp "10.0.0.1:7"
    for class, object in pairs { conn = conn, udp = udp } do
      local text = read_page(folder .. "/doc", "etherlua.relay." .. class)
      for method in text:gmatch(('id="%s:([%%w_]+)"'):format(class)) do assert.is_function(object[method]) end
      assert.truthy(text:find(('id="%s:recv"'):format(class), 1, true))
    end
    near:close()
    far:close()
  end)

  it("has every function and struct of abi.h", function()
    local text = read_page(folder .. "/doc", "abi")
    for name in files.read_all("engine/abi.h"):gmatch "el_[%w_]+" do assert.truthy(text:find(name, 1, true)) end
  end)

  it("writes definitions that are Lua, one for each module, under the name that require asks for", function()
    local path = ("%s/doc/luals/?.lua;%s/doc/luals/?/init.lua"):format(folder, folder)
    for _, name in ipairs { "etherlua", "etherlua.relay.relay", "etherlua.relay.conn", "etherlua.proto",
      "etherlua.proto.dhcp4", "etherlua.role.dhcp4_client" } do
      local file = assert(package.searchpath(name, path))
      assert.is_table(assert(loadfile(file))())
      assert.equal("---@meta", files.read_all(file):match "^[^\n]+")
    end
  end)

  it("gives FFI objects classes", function()
    local text = files.read_all(folder .. "/doc/luals/etherlua/relay/relay.lua")
    assert.truthy(text:find("---@return etherlua.conn\nfunction relay:conn(given) end", 1, true))
    assert.truthy(text:find("---@field filter? string", 1, true))
  end)

  -- A copy of the sources in which something is missing.
  local function doc_of_changed(file, pattern, replacement)
    shell(("rm -rf %s/copy && mkdir %s/copy"):format(folder, folder))
    shell(("cp -r README.md lua scripts engine %s/copy"):format(folder))
    local path = folder .. "/copy/" .. file
    local text, count = files.read_all(path):gsub(pattern, replacement)
    assert.is_true(count > 0)
    local out = assert(io.open(path, "w"))
    out:write(text)
    out:close()
    return shell(("cd %s/copy && luajit scripts/doc/all.lua ../again"):format(folder))
  end

  it("refuses a public function without a word, naming file and line", function()
    local status, text = doc_of_changed("lua/etherlua/core/channel.lua", "\nreturn M\n",
      "\nfunction Channel:peek(n) return n end\n\nreturn M\n")
    assert.equal(1, status)
    assert.truthy(text:find "lua/etherlua/core/channel.lua:%d+: channel:peek has no %-%-%-@param n\n")
    assert.truthy(text:find "channel:peek has no word about what it does\n")
  end)

  it("refuses a type that nobody knows, and a parameter that is not there", function()
    local status, text = doc_of_changed("lua/etherlua/core/channel.lua", "%-%-%-@param value any",
      "---@param valu anything")
    assert.equal(1, status)
    assert.truthy(text:find("type anything is not known", 1, true))
    assert.truthy(text:find("channel:send has no parameter valu", 1, true))
  end)
end)
