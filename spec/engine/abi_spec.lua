-- The boundary between C and Lua: that engine/abi.h, the text that the library carries, the layouts that LuaJIT made of
-- it, and the symbols that the library exports are one and the same thing.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local shell = require "support.shell"

local LIBRARY = os.getenv "ETHERLUA_LIB" or "build/libetherlua.so"
local CC = os.getenv "CC" or "cc"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1", "r"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- Runs fn with the path of a temporary folder.
local function with_folder(fn)
  local folder = output_of "mktemp -d":match "%S+"
  finally(function() os.execute("rm -r " .. folder) end)
  return fn(folder)
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local carried = ffi.string(ffi.cast("const char *", effi.C.el_abi_text))
local code = carried:gsub("/%*.-%*/", "")

-- "uint64_t a, *b[2]" -> "a", "b"
local function names_in(declaration)
  local names = {}
  for declarator in (declaration:gsub("%b[]", "") .. ","):gmatch "(.-)," do
    names[#names + 1] = declarator:match "([%w_]+)%s*$"
  end
  return names
end

-- Every struct that is defined in the text: name -> list of its fields.
local function structs_in(text)
  local structs = {}
  for name, body in text:gmatch "struct ([%w_]+) (%b{})" do
    structs[name] = {}
    for declaration in body:sub(2):gmatch "(.-);" do
      for _, field in ipairs(names_in(declaration)) do table.insert(structs[name], field) end
    end
  end
  return structs
end

-- The functions that are declared in the text, sorted.
local function functions_in(text)
  local names = {}
  for name in text:gsub("%b{}", ""):gmatch "(el_[%w_]+)%s*%b();" do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- A program that prints "struct NAME SIZE" and "struct NAME.FIELD OFFSET" lines.
local function layout_program(structs)
  local lines = { "#include <stddef.h>", "#include <stdint.h>", "#include <stdio.h>", '#include "abi.h"',
    "int main(void)", "{" }
  for name, fields in pairs(structs) do
    lines[#lines + 1] = ('printf("struct %s %%zu\\n", sizeof(struct %s));'):format(name, name)
    for _, field in ipairs(fields) do
      lines[#lines + 1] = ('printf("struct %s.%s %%zu\\n", offsetof(struct %s, %s));'):format(name, field, name, field)
    end
  end
  lines[#lines + 1] = "return 0; }\n"
  return table.concat(lines, "\n")
end

local function layouts_in_c(structs)
  return with_folder(function(folder)
    write(folder .. "/layout.c", layout_program(structs))
    local messages = output_of(("%s -std=c11 -Iengine -o %s/layout %s/layout.c"):format(CC, folder, folder))
    assert.equal("", messages)
    local layouts = {}
    for what, number in output_of(folder .. "/layout"):gmatch "struct (%S+) (%d+)\n" do
      layouts[what] = tonumber(number)
    end
    return layouts
  end)
end

local function layouts_in_lua(structs)
  local layouts = {}
  for name, fields in pairs(structs) do
    layouts[name] = ffi.sizeof("struct " .. name)
    for _, field in ipairs(fields) do layouts[name .. "." .. field] = ffi.offsetof("struct " .. name, field) end
  end
  return layouts
end

-- Names in the symbol table that nm shows with the option, sorted.
local function symbols(option)
  local names = {}
  for line in output_of(("nm -D %s %s"):format(option, LIBRARY)):gmatch "[^\n]+" do
    names[#names + 1] = line:match "(%S+)$"
  end
  table.sort(names)
  return names
end

describe("engine/abi.h", function()
  it("is the very text that the library carries", function()
    assert.is_true(carried == read "engine/abi.h")
  end)

  it("starts with #pragma once and has no other preprocessor line", function()
    assert.matches("^#pragma once\n", carried)
    assert.is_nil(carried:match "\n%s*#[^\n]*")
  end)

  it("lays every struct out in C as in Lua", function()
    local structs = structs_in(code)
    local in_c = layouts_in_c(structs)
    assert.same(in_c, layouts_in_lua(structs))
    assert.equal(6, in_c.el_mac)
    assert.equal(16, in_c["el_addr.port"])
  end)

  it("hides no struct and no field from the spec above", function()
    local _, definitions = code:gsub("struct [%w_]+ {", "")
    local count, semicolons, declared = 0, 0, 0
    for name, fields in pairs(structs_in(code)) do
      count = count + 1
      local body = code:match("struct " .. name .. " (%b{})")
      semicolons = semicolons + select(2, body:gsub("[;,]", ""))
      declared = declared + #fields
    end
    assert.equal(definitions, count)
    assert.equal(semicolons, declared)
  end)

  it("compiles without a warning behind nothing but stdint.h", function()
    local messages = with_folder(function(folder)
      write(folder .. "/alone.c", '#include <stdint.h>\n#include "abi.h"\n')
      local flags = " -std=c11 -Wall -Wextra -Werror -pedantic -Iengine -fsyntax-only "
      return output_of(CC .. flags .. folder .. "/alone.c")
    end)
    assert.equal("", messages)
  end)

  it("says something about every function: in its paragraph, or about the struct before it", function()
    local silent, above = {}, ""
    for paragraph in (carried .. "\n"):gmatch "(.-\n)\n+" do
      if not paragraph:find("/*", 1, true) and not above:find "struct [%w_]+ {" then
        for _, name in ipairs(functions_in(paragraph)) do silent[#silent + 1] = name end
      end
      above = paragraph
    end
    assert.same({}, silent)
  end)
end)

describe("the library", function()
  it("exports the functions of abi.h, its text, and nothing else", function()
    local expected = functions_in(code)
    table.insert(expected, "el_abi_text")
    table.sort(expected)
    assert.same(expected, symbols "--defined-only")
  end)

  it("has every function of abi.h where LuaJIT looks for it", function()
    for _, name in ipairs(functions_in(code)) do assert.is_truthy(effi.C[name], name) end
  end)

  it("needs symbols of the C library, but none of Lua", function()
    local names = table.concat(symbols "--undefined-only", " ")
    assert.matches("memcpy", names)
    assert.not_matches("lua", names)
  end)

  it("hears a signal when Lua has let go of it, too, as a program does that ends", function()
    local out, status = shell.run(([[%s -e '
      local ffi = require "ffi"
      ffi.cdef "struct el_engine *el_engine_open(void); int el_signals_catch(struct el_engine *engine);"
      do
        local library = ffi.load "%s"
        print(library.el_signals_catch(library.el_engine_open()))
      end
      collectgarbage()
      collectgarbage()
      os.execute "kill -TERM $PPID"
      print "goes on"']]):format(shell.LUAJIT, LIBRARY))
    assert.same({ "0\ngoes on\n", 0 }, { out, status })
  end)
end)
