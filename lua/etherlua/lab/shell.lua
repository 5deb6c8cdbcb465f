-- lab/shell.lua: the commands that labs are made with: running them, and what to install when one is missing. A command
-- runs in a session of its own, so that Ctrl-C at the terminal reaches this process alone, and its shell is killed when
-- this process is.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local files = require "etherlua.core.files"
local loop = require "etherlua.core.loop"

local C = effi.C

local M = {}

M.NO_SHELL = -1 -- a command's status when none could be started to run it
M.NOT_FOUND = 127 -- that of one that there is not

-- What a command begins with. Ordinary users lack /sbin in PATH. An empty part of it is the current directory.
M.PATH = 'PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin"'

local KILL, TERM = 9, 15
local STOP_GRACE = 0.2 -- seconds behind TERM
M.GRACE = 0.5 -- seconds that a command has to finish when the run is to end
local GRACE = M.GRACE

-- A list of texts for C; the list has to live as long.
---@param list string[]
---@return ffi.cdata*
function M.argv(list)
  local argv = ffi.new("const char *[?]", #list + 1)
  for i, word in ipairs(list) do argv[i - 1] = word end
  return argv
end

local function ends_asked()
  return C.el_signals_count() - C.el_signals_asked()
end

local BLIND_PAUSE = 0.005 -- seconds between two looks at a process for which no descriptor is left

-- Parks the task until the process has ended, or the time is up; it may return early.
---@param pid integer
---@param deadline? number
function M.park(pid, deadline)
  local fd = C.el_process_fd(pid)
  if fd < 0 then return loop.sleep(BLIND_PAUSE) end
  local ok, failure = pcall(loop.wait_fd, fd, deadline)
  C.el_fd_close(fd)
  if not ok then error(failure, 0) end
end

-- Signals cut waiting short.
local function wait(pid, seconds)
  local deadline = loop.now() + seconds
  while true do
    local status = C.el_process_wait(pid, math.min(GRACE, math.max(0, deadline - loop.now())))
    if status ~= -errno.EAGAIN or loop.now() >= deadline then return status end
  end
end

local function stop(pid)
  C.el_process_signal(pid, TERM)
  local status = wait(pid, STOP_GRACE)
  if status ~= -errno.EAGAIN then return status end
  C.el_process_signal(pid, KILL)
  return wait(pid, math.huge)
end

-- Returns its status, and whether it was stopped because a signal asks for the end of the run.
local function finish(pid)
  local asked = ends_asked()
  while ends_asked() == asked do
    local status = C.el_process_wait(pid, GRACE)
    if status ~= -errno.EAGAIN then return status, false end
  end
  local status = wait(pid, GRACE)
  if status ~= -errno.EAGAIN then return status, false end
  return stop(pid), true
end

-- What asks for the end of the run cancels the task that waits here, too, but none at its deferred functions.
local function check_stopped(stopped)
  local task = stopped and loop.running()
  if task and not task.ending then error(loop.CANCELLED, 0) end
end

local function start_failure(code)
  if code == -errno.ENOENT then return "labs need the program sh, in /bin" end
  return ("cannot start /bin/sh, which labs need: %s"):format(errno.reason(code))
end

-- A shell command as a program that is started, and its arguments.
---@param command string
---@return string[]
function M.words(command)
  return { "/bin/sh", "-c", ("%s; export PATH; %s"):format(M.PATH, command) }
end

-- Runs a shell command and waits for it, which blocks the thread. A signal that asks for the end of the run lets it
-- have half a second more, and no other one begins.
---@param command string
---@return string output both standard output and errors; why none could be started
---@return integer status
function M.run(command)
  check_stopped(loop.signal_pending())
  local words, fd = M.words(command), C.el_process_log()
  if fd < 0 then return start_failure(fd), M.NO_SHELL end
  local log = ("/proc/self/fd/%d"):format(fd)
  local pid, status, stopped = C.el_process_start(M.argv(words), -1, log), M.NO_SHELL, false
  if pid >= 0 then status, stopped = finish(pid) end
  local output = pid >= 0 and files.read(log) or start_failure(pid)
  C.el_fd_close(fd)
  check_stopped(stopped)
  return output, status
end

-- What Debian calls the package of a program, where that is not the program's name.
local PACKAGES = { ip = "iproute2", tc = "iproute2", nft = "nftables", dnsmasq = "dnsmasq-base",
  ["kea-dhcp4"] = "kea-dhcp4-server", dhcrelay = "isc-dhcp-relay", dhclient = "isc-dhcp-client",
  arping = "iputils-arping" }

-- The name of a program and of the package that it is in, for messages.
---@param program string
---@return string such as "nft (Debian package nftables)"
function M.with_package(program)
  return ("%s (Debian package %s)"):format(program, PACKAGES[program] or program)
end

return M
