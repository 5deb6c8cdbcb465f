-- The chapter about changing etherlua tells the truth: its recipes are followed, block by block, in a copy of the
-- sources that is built like this build. A block whose first line names a file is written there, diff changes a file,
-- and sh and console run commands.

local blocks = require "support.blocks"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local shell = require "support.shell"

local CHAPTER = "scripts/doc/manual/95-changing.md"
local SAN = (os.getenv "ETHERLUA_LIB" or ""):find "/san/" and true or false

-- What a build has made is copied, too, so that only what a recipe adds is compiled. Those who started this process
-- have said which program and which library to take, and how make shall run; that is not for the copy.
local COPY = [[tar cf - --exclude=build/portable --exclude=build/deb --exclude=build/doc --exclude="build/test*" \
  --exclude=build/fuzz --exclude=build/coverage \
  Makefile README.md engine bpf lua scripts spec .busted build | tar xf - -C %s]]
local CLEAN = "cd %s && unset ETHERLUA ETHERLUA_LIB LUA_PATH MAKEFLAGS MAKELEVEL MFLAGS SANITIZER LD_PRELOAD && "

local copy

local function write(path, text)
  local file = assert(io.open(copy .. "/" .. path, "w"))
  file:write(text)
  file:close()
end

-- Each - and unchanged line has to be there, once, in this order; the + lines come instead.
local function apply(block)
  local path, lines = block.text:match "^%-%-%- ([^\n]+)\n(.*)$"
  local old, new = {}, {}
  for mark, line in lines:gmatch "([-+ ])([^\n]*)\n" do
    if mark ~= "+" then old[#old + 1] = line .. "\n" end
    if mark ~= "-" then new[#new + 1] = line .. "\n" end
  end
  local text, wanted = files.read_all(copy .. "/" .. path), table.concat(old)
  local first, last = text:find(wanted, 1, true)
  assert.truthy(first, path .. " has no longer:\n" .. wanted)
  assert.is_nil(text:find(wanted, last, true), path .. " has more than once:\n" .. wanted)
  write(path, text:sub(1, first - 1) .. table.concat(new) .. text:sub(last + 1))
end

-- The output of a command, which has to succeed. A program in build/san would look for its library in build/.
local function run(command)
  if SAN then
    command = command:gsub("make", "make SAN=1", 1)
      :gsub("build/etherlua", "ETHERLUA_LIB=build/san/libetherlua.so build/san/etherlua")
  end
  return shell.output_of(CLEAN:format(copy) .. command)
end

local runners = {}

function runners.lua(block)
  assert(loadstring(block.text))
  write(block.text:match "^%-%- ([%w_/]+%.lua)", block.text)
end

function runners.c(block)
  write(block.text:match "^/%*\n %* ([%w_/]+%.c):", block.text)
end

runners.diff = apply

function runners.sh(block)
  for command in block.text:gmatch "[^\n]+" do
    local output = run(command)
    local expected = block.above.text:match "%-%-> ([^\n]+)"
    if expected then assert.truthy(output:find(expected, 1, true), output) end
  end
end

function runners.console(block)
  local command, printed = block.text:match "^%$ ([^\n]+)\n(.*)$"
  assert.equal(printed, run(command))
end

describe("the chapter 95-changing", function()
  local permitted, reason = lab.root()

  setup(function()
    copy = shell.output_of "mktemp -d":match "[^\n]+"
    shell.output_of(COPY:format(copy))
  end)

  teardown(function() os.execute("rm -r " .. copy) end)

  for _, block in ipairs(blocks.read(CHAPTER)) do
    it(("has a code block in line %d that works"):format(block.line), function()
      if block.skip then return pending(block.skip) end
      if block.text:find("--lab", 1, true) and not permitted then return pending(reason) end
      local runner = runners[block.language]
      assert.truthy(runner, ("nobody runs the language %q"):format(block.language))
      runner(block)
    end)
  end
end)
