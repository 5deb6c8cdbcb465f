-- program.lua: the etherlua program in a namespace, as a user runs it: its status, what it prints and what it complains
-- of, apart or together, and the objects that --json has it print.

local assert = require "luassert"
local cjson = require "cjson"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local shell = require "support.shell"
local wait = require "support.wait"

local M = {}

local INT = 2
local LONGEST = 120 -- seconds that it may take to its end: for what hangs

M.PATH = os.getenv "ETHERLUA" or "build/etherlua"

local Program = {}
Program.__index = Program

-- Starts `etherlua run ARGUMENTS`, a line of shell words. In `filter`, if there is one, a shell command reads what it
-- prints, and the status is that command's.
---@param ns etherlua.namespace|nil nil: this one
---@param arguments string
---@param filter? string
function M.start(ns, arguments, filter)
  local self = setmetatable({ out = os.tmpname(), err = os.tmpname(), own = not ns and lab.open() or nil,
    kill = filter and "pkill -%d -P %d etherlua" or "kill -%d %d" }, Program)
  local command = ("exec %s run %s >%s 2>%s"):format(M.PATH, arguments, self.out, self.err)
  if filter then
    command = ("%s run %s 2>%s | { %s; } >%s"):format(M.PATH, arguments, self.err, filter, self.out)
  end
  self.process = (ns or self.own):start { "sh", "-c", command }
  return self
end

-- Waits until so many frames have come in on eth0.
---@param ns etherlua.namespace
---@param count integer
function M.wait_for_frames(ns, count)
  local function received() return tonumber(ns:run("grep eth0 /proc/net/dev"):match "eth0: *%d+ +(%d+)") end
  if not wait.eventually(function() return received() >= count end) then
    error(("%d of %d frames came"):format(received(), count), 2)
  end
end

-- What it has printed so far.
function Program:output() return files.read_all(self.out) end

-- Waits until this text was printed; an error when it ends before, or takes too long.
function Program:wait_for(text)
  local function has_it() return self:output():find(text, 1, true) end
  wait.eventually(function() return has_it() or self.process:status() end)
  if has_it() then return end
  error(("%q was not printed but:\n%s%s"):format(text, self:output(), files.read_all(self.err)), 2)
end

-- Waits until its relay has a packet socket that receives. Not for a relay of the kind pcap or xdp.
---@param ns etherlua.namespace
function M.wait_for_socket(ns)
  local function receives() return ns:run("cat /proc/net/packet"):find(" 3%s+0003%s+%d+%s+1 ") end
  if not wait.eventually(receives) then error("no packet socket receives", 2) end
end

-- Its exit status, standard output and standard error, once it has ended. signal: sent first.
---@param signal? integer
function Program:finish(signal)
  if signal then os.execute(self.kill:format(signal, self.process.pid)) end
  local status = self.process:wait(LONGEST)
  self.process:stop()
  local out, err = self:output(), files.read_all(self.err)
  os.remove(self.out)
  os.remove(self.err)
  if self.own then self.own:close() end
  return status, out, err
end

-- Ctrl-C, and its end.
function Program:interrupt() return self:finish(INT) end

-- Needs no right to enter namespaces.
local function run_here(arguments)
  local out, err = os.tmpname(), os.tmpname()
  local _, status = shell.run(("%s run %s >%s 2>%s"):format(M.PATH, arguments, out, err))
  local texts = { files.read_all(out), files.read_all(err) }
  os.remove(out)
  os.remove(err)
  return status, texts[1], texts[2]
end

-- Runs it to its end.
function M.run(ns, arguments, filter)
  if not ns and not filter then return run_here(arguments) end
  return M.start(ns, arguments, filter):finish()
end

-- The same; what it prints and what it complains of are one text.
---@return integer|nil status
---@return string text
function M.said(ns, arguments)
  local status, out, err = M.run(ns, arguments)
  return status, out .. err
end

-- The JSON objects that are lines of a text.
function M.objects(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, 1) == "{" then list[#list + 1] = cjson.decode(line) end
  end
  return list
end

-- Runs it to its end, or until Ctrl-C, so long after it began to receive on eth0 (-i eth0) or was started.
---@param ns etherlua.namespace
---@param arguments string
---@param seconds? number
---@return integer|nil status
---@return table[] objects
---@return string text
function M.json(ns, arguments, seconds)
  local program = M.start(ns, arguments)
  if seconds and arguments:find "%-i eth0" then M.wait_for_socket(ns) end
  if seconds then os.execute("sleep " .. seconds) end
  local status, out, err = program:finish(seconds and INT)
  return status, M.objects(out), out .. err
end

-- Starts a script of the spec's own on eth0, and returns when it has printed "ready".
---@param ns etherlua.namespace
---@param source string Lua
---@return table program close() ends it
function M.start_script(ns, source)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local program = M.start(ns, "-i eth0 " .. path)
  local ok, problem = pcall(program.wait_for, program, "ready")
  os.remove(path)
  function program.close()
    program.process:stop()
    program:finish()
  end
  if ok then return program end
  program.close()
  error(problem, 0)
end

-- A host beside the kernel on eth0, which answers for one address.
---@param ns etherlua.namespace
---@param ip string
---@param vlans? string
---@return table program close() ends it
function M.start_host(ns, ip, vlans)
  return M.start_script(ns, ([[
    local ether = require "etherlua"
    ether.relay():conn { mac = "02:bb:00:00:00:01", vlans = %q }:udp("%s:9", { resolve = "arp" })
    print "ready"
    io.stdout:flush()
    ether.sleep(60)
  ]]):format(vlans or "", ip))
end

-- Asserts that a script refuses each of these: arguments -> what its one line says; status 2.
function M.assert_refused(script, cases)
  for arguments, words in pairs(cases) do
    local text, status = shell.run(("%s run %s %s"):format(M.PATH, script, arguments))
    assert.equal(2, status, text)
    assert.is_truthy(text:find(words, 1, true), text)
    assert.equal(1, select(2, text:gsub("\n", "")), text)
  end
end

return M
