-- The README tells the truth: every code block in it is run, and prints what it says.
--
-- Blocks are run in a folder of their own, in a network namespace with an interface eth1, at whose other end a DHCP
-- server answers and clients without luck go on asking. A Lua block is a file there: its first line names it. One that
-- no command names is run in a lab. What stands behind --> is in the output. A block below <!-- not run: REASON --> is
-- skipped for that reason.

local cjson = require "cjson"
local files = require "support.files"
local lab = require "etherlua.lab.lab"

local PROGRAM = os.getenv "ETHERLUA" or "build/etherlua"
local LONGEST = 12 -- lines of a script

local readme = files.read_all("README.md")

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local program = output_of("realpath " .. PROGRAM):match("[^\n]+")
local root = output_of("pwd"):match("[^\n]+")

-- ---- blocks -------------------------------------------------------------------------------------------------------

local function line_at(position)
  return select(2, readme:sub(1, position):gsub("\n", "")) + 1
end

local function name_of(block, first)
  return block.text:match("^%-%- ([%w_]+%.lua)") or first and "first.lua"
end

-- Every block: language, text, line, and for Lua its file's name; skip: why it is not run.
local function blocks_of(text)
  local blocks, scripts = {}, 0
  for above, position, language, body in text:gmatch("([^\n]*)\n()```(%w*)\n(.-\n)```") do
    local block = { language = language, text = body, line = line_at(position),
      skip = above:match("^<!%-%- not run: (.+) %-%->$") }
    if language == "lua" then
      block.name = name_of(block, scripts == 0)
      scripts = scripts + 1
    end
    blocks[#blocks + 1] = block
  end
  return blocks
end

local blocks = blocks_of(readme)

-- A command without its comment, the lines of one that is continued in one.
local function commands_of(block)
  local commands = {}
  for line in block.text:gsub("\\\n", " "):gmatch("[^\n]+") do
    commands[#commands + 1] = line:gsub("%s+#.*", "")
  end
  return commands
end

local function is_named(name)
  for _, block in ipairs(blocks) do
    if block.language == "sh" and block.text:find(name, 1, true) then return true end
  end
end

-- ---- where they run -----------------------------------------------------------------------------------------------

local folder, near, far

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
local function run(command)
  local sanitizer, busted = os.getenv "SANITIZER", command:match("^busted(.*)")
  if sanitizer and busted then
    write(folder .. "/helper.lua", HELPER)
    command = SANITIZED_BUSTED:format(sanitizer) .. busted
  else
    command = "timeout 60 " .. command
  end
  return near:run(ENVIRONMENT:format(folder, root, root) .. command)
end

local function start(ns, ...)
  return ns:start({ program, "run", ... }, { log = folder .. "/" .. select(1, ...) .. ".log" })
end

local function has_said(process, text)
  for _ = 1, 500 do
    if process:log():find(text, 1, true) then return true end
    os.execute("sleep 0.02")
  end
end

local function open_world()
  folder = output_of("mktemp -d"):match("[^\n]+")
  os.execute(("mkdir %s/bin && ln -s %s %s/bin/etherlua && ln -s bin %s/build"):format(folder, program, folder, folder))
  for _, block in ipairs(blocks) do
    if block.name then write(folder .. "/" .. block.name, block.text) end
  end
  near, far = lab.namespace(), lab.namespace()
  lab.veth(near, "eth1", far, "eth1")
  assert(has_said(start(far, "dhcp4_server", "-i", "eth1"), "serving"))
  start(far, "dhcp4_client", "-i", "eth1", "--count", "100000", "--rate", "5", "--tries", "1", "--timeout", "1")
end

local function close_world()
  if near then near:close() end
  if far then far:close() end
  if folder then os.execute("rm -r " .. folder) end
end

-- ---- running one --------------------------------------------------------------------------------------------------

local function check_output(script, output)
  for expected in script.text:gmatch("%-%-> ([^\n]+)") do
    local found = output:find(expected, 1, true)
    assert.truthy(found, ("%s did not print %q but:\n%s"):format(script.name, expected, output))
  end
end

local function run_command(command)
  if command:find("^make ") then
    return run(("make -s -n -C %s %s"):format(root, command:match("^make (.*)"))) -- that these do it, others test
  elseif command:find("^git clone ") then
    return output_of("git --version >/dev/null && echo") -- there is no address that a test may ask
  end
  local output = run(command)
  for _, block in ipairs(blocks) do
    if block.name and command:find(block.name, 1, true) then check_output(block, output) end
  end
end

local runners = {}

function runners.sh(block)
  for _, command in ipairs(commands_of(block)) do run_command(command) end
end

function runners.lua(block)
  assert.is_string(block.name, "its first line has to name its file")
  assert(loadstring(block.text, block.name))
  assert.is_true(select(2, block.text:gsub("\n", "")) <= LONGEST, block.name .. " is too long")
  if not is_named(block.name) then run_command("etherlua run --lab " .. block.name) end
end

function runners.json(block)
  assert.is_table(cjson.decode(block.text))
end

local function sorted_lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  table.sort(lines) -- who answers first is not promised
  return lines
end

-- A session at the prompt: what stands behind "> " is typed, and the rest is printed.
function runners.text(block)
  local typed, printed = {}, {}
  for line in block.text:match("\n(> .*)$"):gmatch("[^\n]+") do
    local input = line:match("^> (.*)")
    table.insert(input and typed or printed, input or line)
  end
  write(folder .. "/typed", table.concat(typed, "\n") .. "\n")
  local output = run("etherlua repl --lab <typed")
  for _, line in ipairs(printed) do assert.truthy(output:find(line, 1, true), line .. " is not in:\n" .. output) end
end

-- Without a language: what the script above prints in a lab.
runners[""] = function(block, script)
  assert.same(sorted_lines(block.text), sorted_lines(run("etherlua run --lab " .. script.name)))
end

describe("the README", function()
  local permitted, reason = lab.root()

  setup(function() if permitted then open_world() end end)
  teardown(close_world)

  local script
  for _, block in ipairs(blocks) do
    local above = script
    it(("has a code block in line %d that runs"):format(block.line), function()
      if block.skip then return pending(block.skip) end
      if not permitted then return pending(reason) end
      runners[block.language](block, above)
    end)
    if block.name then script = block end
  end

  it("has no block whose language nobody runs, and gives a reason for each that is not run", function()
    for _, block in ipairs(blocks) do
      assert.truthy(block.skip or runners[block.language], ("line %d: language %q"):format(block.line, block.language))
    end
    assert.is_true(#blocks > 15)
    assert.equal(select(2, readme:gsub("\n```", "")), 2 * #blocks)
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
