-- support/blocks.lua: runs the code blocks of a Markdown file, so that it tells the truth.
--
-- Blocks run in a folder of their own, in a network namespace with an interface eth1, at whose other end a DHCP server
-- answers and clients without luck go on asking. What is done with a block, its language says:
--
--   lua      a file there, which its first line names; one that no sh block names is run in a lab. What stands behind
--            --> is in its output
--   sh       commands, which have to succeed
--   console  "$ command" and what it prints; "> line" is typed into it. A line "..." stands for others. Numbers with a
--            point, MAC addresses and numbers with 0x may be other ones
--   json     has to be JSON
--   (none)   what the script above prints in a lab
--
-- A block below <!-- not run: REASON --> is skipped for that reason.

local assert = require "luassert"
local cjson = require "cjson"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local wait = require "support.wait"

local M = {}

local PROGRAM = os.getenv "ETHERLUA" or "build/etherlua"
local FIRST = "first.lua" -- what the first script of a file is saved as, when its first line does not say it

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local program = output_of("realpath " .. PROGRAM):match("[^\n]+")
local root = output_of("pwd"):match("[^\n]+")

-- ---- blocks -------------------------------------------------------------------------------------------------------

local function line_at(text, position)
  return select(2, text:sub(1, position):gsub("\n", "")) + 1
end

-- Every block of a file: language, text, line, for Lua its file's name; skip: why it is not run; above: the script
-- above it.
function M.read(path)
  local text, blocks, script = files.read_all(path), {}, nil
  for above, position, language, body in ("\n" .. text):gmatch("([^\n]*)\n()```(%w*)\n(.-\n)```") do
    local block = { language = language, text = body, line = line_at(text, position - 1), above = script,
      skip = above:match("^<!%-%- not run: (.+) %-%->$") }
    if language == "lua" then
      block.name = body:match("^%-%- ([%w_/]+%.lua)") or not script and FIRST or nil
      script = block
    end
    blocks[#blocks + 1] = block
  end
  assert(select(2, ("\n" .. text):gsub("\n```", "")) == 2 * #blocks, path .. ": a block is not closed")
  return blocks
end

-- A command without its comment, the lines of one that is continued in one.
local function commands_of(block)
  local commands = {}
  for line in block.text:gsub("\\\n", " "):gmatch("[^\n]+") do
    commands[#commands + 1] = line:gsub("%s+#.*", "")
  end
  return commands
end

-- ---- where they run -----------------------------------------------------------------------------------------------

local World = {}
World.__index = World

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local ENVIRONMENT = [[cd %s && export PATH="$PWD/bin:$PATH" LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;' && ]]

-- LuaJIT itself has no sanitizer, so busted gets it from outside, and hands it on to no program that it starts.
local SANITIZED_BUSTED = "LD_PRELOAD=%s ASAN_OPTIONS=detect_leaks=0 timeout 60 busted --helper=helper.lua"
local HELPER = 'local ffi = require "ffi" ffi.cdef "int unsetenv(const char *);" ffi.C.unsetenv "LD_PRELOAD"'

-- The output of a command, which has to succeed.
function World:run(command)
  local sanitizer, busted = os.getenv "SANITIZER", command:match("^busted(.*)")
  if sanitizer and busted then
    write(self.folder .. "/helper.lua", HELPER)
    command = SANITIZED_BUSTED:format(sanitizer) .. busted
  elseif not command:find "^echo " then
    command = "timeout 60 " .. command
  end
  return self.near:run(ENVIRONMENT:format(self.folder, root, root) .. command)
end

local function start(self, ns, ...)
  return ns:start({ program, "run", ... }, { log = self.folder .. "/" .. select(1, ...) .. ".log" })
end

local function open_world(blocks)
  local self = setmetatable({ blocks = blocks, folder = output_of("mktemp -d"):match("[^\n]+") }, World)
  os.execute(("cd %s && mkdir bin && ln -s %s bin/etherlua && ln -s bin build"):format(self.folder, program))
  for _, block in ipairs(blocks) do
    if block.name then write(self.folder .. "/" .. block.name, block.text) end
  end
  self.near, self.far = lab.namespace(), lab.namespace()
  lab.veth(self.near, "eth1", self.far, "eth1")
  wait.for_log(start(self, self.far, "dhcp4_server", "-i", "eth1"), "serving")
  start(self, self.far, "dhcp4_client", "-i", "eth1", "--count", "100000", "--rate", "5", "--tries", "1",
    "--timeout", "1")
  return self
end

function World:close()
  self.near:close()
  self.far:close()
  os.execute("rm -r " .. self.folder)
end

-- ---- running one --------------------------------------------------------------------------------------------------

local function check_output(script, output)
  for expected in script.text:gmatch("%-%-> ([^\n]+)") do
    local found = output:find(expected, 1, true)
    assert.truthy(found, ("%s did not print %q but:\n%s"):format(script.name, expected, output))
  end
end

local function make(target)
  return output_of(("make -s -n -C %s %s"):format(root, target))
end

-- That make does what it says, others test: of the demo, what it runs in the end is run, of all else nothing.
local function run_make(world, target)
  local text = make(target):gsub("\\\n", " ")
  assert.truthy(text:find "%S", "make does not know " .. target)
  local demo = target == "demo" and text:match "etherlua run [^\n]+"
  return demo and world:run(demo:gsub("scripts/", root .. "/scripts/")) or text
end

function World:command(command)
  if command:find("^make ") then return run_make(self, command:match("^make (.*)")) end
  -- There is no address that a test may ask.
  if command:find("^git clone ") then return output_of("git --version >/dev/null && echo") end
  local output = self:run(command)
  for _, block in ipairs(self.blocks) do
    if block.name and command:find(block.name, 1, true) then check_output(block, output) end
  end
  return output
end

local function is_named(world, name)
  for _, block in ipairs(world.blocks) do
    if block.language == "sh" and block.text:find(name, 1, true) then return true end
  end
end

local function sorted_lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  table.sort(lines) -- who answers first is not promised
  return lines
end

-- What differs from run to run is left out: times, invented MAC addresses and numbers.
local function steady(line)
  return (line:gsub("0x%x+", "0x_"):gsub("%f[%x]%x%x:%x%x:%x%x:%x%x:%x%x:%x%x", "MAC")
    :gsub("%f[%w.]%d+%.%d+%f[^%w.]", "_"):gsub("time _?%d*ms", "time _ms"):gsub("%s+", " "))
end

local runners = {}

function runners.sh(world, block)
  for _, command in ipairs(commands_of(block)) do world:command(command) end
end

function runners.lua(world, block)
  assert.is_string(block.name, "its first line has to name its file")
  assert(loadstring(block.text, block.name))
  if not is_named(world, block.name) then world:command("etherlua run --lab " .. block.name) end
end

function runners.json(_, block)
  assert.is_table(cjson.decode(block.text))
end

runners[""] = function(world, block)
  assert.same(sorted_lines(block.text), sorted_lines(world:run("etherlua run --lab " .. block.above.name)))
end

-- What the prompt says before the first line is typed is left out: a pipe does not get it.
function runners.console(world, block)
  local command, rest = block.text:match "^%$ ([^\n]+)\n(.*)$"
  local typed, printed = {}, {}
  for line in (rest:match "\n(> .*)$" or rest):gmatch("[^\n]+") do
    local input = line:match("^> (.*)")
    table.insert(input and typed or printed, input or line)
  end
  write(world.folder .. "/typed", table.concat(typed, "\n") .. "\n")
  local output = steady(world:command(command .. (typed[1] and " <typed" or "")))
  for _, line in ipairs(printed) do
    if not line:find "^%s*%.%.%.$" then
      assert.truthy(output:find(steady(line), 1, true), line .. " is not in:\n" .. output)
    end
  end
end

-- ---- the specs ----------------------------------------------------------------------------------------------------

-- Defines a test for each block of a file, for describe().
---@param path string
---@param longest integer lines that a script may have
function M.specs(path, longest)
  local blocks, words, world = M.read(path), getfenv(2), nil
  local permitted, reason = lab.root()

  words.setup(function() if permitted then world = open_world(blocks) end end)
  words.teardown(function() if world then world:close() end end)

  for _, block in ipairs(blocks) do
    words.it(("has a code block in line %d that runs"):format(block.line), function()
      if block.skip then return words.pending(block.skip) end
      local run = runners[block.language]
      assert.truthy(run, ("nobody runs the language %q"):format(block.language))
      if not permitted then return words.pending(reason) end
      run(world, block)
    end)
  end

  words.it("has short scripts", function()
    for _, block in ipairs(blocks) do
      local lines = select(2, block.text:gsub("\n", ""))
      assert.is_true(not block.name or lines <= longest, ("the script in line %d is too long"):format(block.line))
    end
  end)
end

return M
