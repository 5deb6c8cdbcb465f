-- runners.lua: `etherlua test` and plain busted as users run them, on spec files in a folder of the test's own, and
-- programs that are sent signals. new() makes the folder, close() removes it.

local files = require "support.files"

local M = {}

local SANITIZER = os.getenv "SANITIZER"

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end
M.output_of = output_of

local ROOT = output_of("pwd"):gsub("\n", "")

local function absolute(path)
  return path:sub(1, 1) == "/" and path or ROOT .. "/" .. path
end

M.PROGRAM = absolute(os.getenv "ETHERLUA" or "build/etherlua")
M.TEST = M.PROGRAM .. " test"
M.BUSTED = ("env LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;' ETHERLUA_LIB='%s' %s luajit \"$(command -v busted)\"")
  :format(ROOT, ROOT, absolute(os.getenv "ETHERLUA_LIB" or "build/libetherlua.so"),
    SANITIZER and ("LD_PRELOAD=%s ASAN_OPTIONS=detect_leaks=0"):format(SANITIZER) or "")

-- What each spec file needs.
M.HEAD = [[
local test = require "etherlua.test"
local ether = require "etherlua"
]]

local Folder = {}
Folder.__index = Folder

function M.new()
  return setmetatable({ path = output_of("mktemp -d"):gsub("\n", "") }, Folder)
end

function Folder:close()
  os.execute("rm -rf '" .. self.path .. "'")
end

function Folder:write(name, text)
  local file = assert(io.open(self.path .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

function Folder:read(name)
  return files.read_all(self.path .. "/" .. name)
end

-- Runs a command in the folder, which is its TMPDIR; returns its exit status and all that it printed.
function Folder:shell(command)
  local status = output_of(("cd '%s' && { TMPDIR='%s' timeout 60 %s; } >'%s/log' 2>&1 </dev/null; echo $?"):format(
    self.path, self.path, command, self.path))
  return tonumber(status), self:read "log"
end

-- Sends the signal, once, when the command has printed the text; else as shell().
function Folder:interrupted(signal, text, command)
  local status = output_of(([[cd '%s' && rm -f log && {
    timeout --foreground -s KILL 60 %s >log 2>&1 </dev/null & pid=$!
    i=0; until grep -qs '%s' log; do i=$((i + 1)); [ $i -lt 500 ] || break; sleep 0.02; done
    kill -%s $pid; wait $pid; echo $?; }]]):format(self.path, command, text, signal))
  return tonumber(status), self:read "log"
end

return M
