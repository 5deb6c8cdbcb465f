-- structure_spec.lua: the house keeps its rules: arrows point down, no circles, no long files or functions, no globals.
-- What scripts/doc/structure.lua reads out of the sources is asked for; and it is shown that it would notice.

local files = require "support.files"
local shell = require "support.shell"

local ASK = "luajit -e 'for _, line in ipairs(dofile(\"scripts/doc/structure.lua\").problems()) do print(line) end'"

local function problems(folder)
  return (shell.output_of(("cd %s && %s"):format(folder, ASK)))
end

describe("the structure", function()
  it("has no upward arrow, no cycle, no long file or function, no global, no stray ffi.cdef", function()
    assert.equal("", problems ".")
  end)

  it("can be drawn", function()
    local text = shell.output_of "luajit scripts/doc/structure.lua"
    assert.truthy(text:find('"lua:relay" -> "lua:core"', 1, true))
    assert.truthy(text:find('"c:loop" -> "c:relay"', 1, true))
  end)
end)

describe("the structure's rules", function()
  local folder

  setup(function() folder = shell.output_of("mktemp -d"):gsub("%s", "") end)
  teardown(function() os.execute("rm -rf " .. folder) end)

  -- What is said when something stands in front of a file, or a new file is there.
  local function said_with(path, text)
    shell.output_of(("rm -rf %s/copy && mkdir %s/copy && cp -r lua scripts engine bpf %s/copy"):format(folder, folder,
      folder))
    local whole = folder .. "/copy/" .. path
    local old = shell.succeeds("test -e " .. whole) and files.read_all(whole) or ""
    local file = assert(io.open(whole, "w"))
    file:write(text, "\n", old)
    file:close()
    return problems(folder .. "/copy")
  end

  local RATE = "lua/etherlua/net/rate.lua"

  for words, case in pairs {
    ["an upward require"] = { RATE, 'local x = require "etherlua.relay.conn"',
      "upward arrow: net/rate -> relay/conn\n" },
    ["a lazy upward require"] = { "lua/etherlua/relay/udp.lua",
      'local function f() return require("etherlua.role.ping") end', "upward arrow: relay/udp -> role/ping\n" },
    ["a require of what a module was called before"] = { "lua/etherlua/role/ping.lua",
      'local x = require "etherlua.role.neighbour"', "by its old name: role/ping -> role/neighbour\n" },
    ["a cycle within a room"] = { "lua/etherlua/net/addr.lua", 'local x = require "etherlua.net.prefix"',
      "cycle: net/addr -> net/prefix -> net/addr" },
    ["a global"] = { RATE, "global = 1", RATE .. " writes the global global\n" },
    ["C that is declared elsewhere"] = { RATE, 'local ffi = require "ffi"; ffi.cdef "int x;"',
      RATE .. " declares C: core/ffi.lua alone does\n" },
    ["an upward include"] = { "engine/pool.c", '#include "relay.h"',
      "upward arrow: engine/pool -> engine/relay (includes relay.h)\n" },
    ["an upward call"] = { "engine/table.c", "void f(void *x)\n{\n\tel_relay_close(x);\n}",
      "upward arrow: engine/table -> engine/open (calls el_relay_close())\n" },
    ["a C file that has no place"] = { "engine/new_unit.c", "", "engine/new_unit has no place in the list of units\n" },
    ["a long file"] = { RATE, ("\n"):rep(400), RATE .. " has 4" },
    ["a long function in Lua"] = { RATE, "local function f()\n" .. ("  f()\n"):rep(60) .. "end",
      RATE .. ":1: a function of 62 lines: up to 60\n" },
    ["a long function in C"] = { "engine/table.c", "void g(void)\n{\n" .. ("\tg();\n"):rep(60) .. "}",
      "engine/table.c:1: a function of 63 lines: up to 60\n" },
  } do
    it("notice " .. words, function()
      local path, text, said = unpack(case)
      local got = said_with(path, text)
      assert.truthy(got:find(said, 1, true), got)
    end)
  end
end)
