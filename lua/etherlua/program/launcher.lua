-- program/launcher.lua: `etherlua run --ranks N`: starts the script N times on this host, each process a rank of one
-- run, and is their process manager. It opens no relay itself. Ctrl-C goes on to all of them; when one ends early the
-- others hear of it from each other (ranks/), and what is told of the end is rank 0's.

local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local ffi = require "ffi"
local files = require "etherlua.core.files"
local ranks = require "etherlua.ranks"
local script = require "etherlua.program.script"
local sched = require "etherlua.core.sched"
local servers = require "etherlua.ranks.server"
local shell = require "etherlua.lab.shell"
local streams = require "etherlua.ranks.stream"

local C = effi.C

local M = {}

local TERM, BY_SIGNAL = 15, 128 -- behind that a status is the number of the signal that ended it
local RANKS_MAX = 1024
local LOOK_EVERY = 0.2 -- seconds, at a process for which no descriptor is left

-- ---- processors ---------------------------------------------------------------------------------------------------

-- Those that this process may use.
---@return integer[]
local function processors()
  local list, text = {}, files.read "/proc/self/status" or ""
  for first, last in (text:match "Cpus_allowed_list:%s*(%S+)" or ""):gmatch "(%d+)%-?(%d*)" do
    for number = tonumber(first), tonumber(last) or tonumber(first) do list[#list + 1] = number end
  end
  return list
end

-- ---- ranks --------------------------------------------------------------------------------------------------------

local function check_started(code, what)
  if code < 0 then script.exit(script.FAILED, ("cannot %s: %s"):format(what, errno.reason(code))) end
  return code
end

-- The program again, with the environment of a rank.
local function words_of(self, rank, fd)
  local words = { "env", "PMI_FD=" .. fd, "PMI_RANK=" .. rank, "PMI_SIZE=" .. self.size }
  local cpus = self.cpus
  if cpus then
    for _, word in ipairs { "taskset", "-c", tostring(cpus[rank % #cpus + 1]) } do words[#words + 1] = word end
  end
  for _, word in ipairs(self.command) do words[#words + 1] = word end
  return words
end

local function start(self, rank)
  local fds = ffi.new "int[2]"
  check_started(C.el_socket_pair(fds), "connect to a rank")
  local pid = C.el_process_start_rank(shell.argv(words_of(self, rank, fds[1])), fds[1])
  C.el_fd_close(fds[1])
  check_started(pid, "start rank " .. rank)
  self.pids[rank] = pid
  self.streams[rank] = streams.new(fds[0])
end

-- Waits until the process has ended. Blocks the task.
local function wait_for(pid)
  local fd = C.el_process_fd(pid)
  if fd < 0 then return sched.sleep(LOOK_EVERY) end
  local ok, failure = pcall(sched.wait_fd, fd)
  C.el_fd_close(fd)
  if not ok then error(failure, 0) end
end

-- Waits until all have ended.
local function wait_for_all(self)
  for rank, pid in pairs(self.pids) do
    while not self.statuses[rank] do
      local status = C.el_process_status(pid)
      if status ~= -errno.EAGAIN then self.statuses[rank] = status else wait_for(pid) end
    end
  end
end

local function serve(self)
  for _, stream in pairs(self.streams) do sched.spawn_background(self.server.serve, self.server, stream) end
end

-- Something ends this process, and so all ranks, which take their time: they may have leases to release.
local function end_all(self)
  local signal = C.el_signals_last()
  for rank, pid in pairs(self.pids) do
    if not self.statuses[rank] then C.el_process_signal(pid, signal > 0 and signal or TERM) end
  end
  serve(self)
  wait_for_all(self)
end

local function run_all(self)
  sched.defer(function() end_all(self) end)
  for rank = 0, self.size - 1 do start(self, rank) end
  serve(self)
  wait_for_all(self)
end

-- ---- the end ------------------------------------------------------------------------------------------------------

-- That of rank 0, which speaks for all; or that of one that could not tell it what happened.
local function status_of_all(self)
  local worst = self.statuses[0]
  for rank = 0, self.size - 1 do
    local status = self.statuses[rank]
    if status >= BY_SIGNAL and not sched.was_interrupted() then
      io.stderr:write(("etherlua: rank %d was ended by signal %d\n"):format(rank, status - BY_SIGNAL))
      worst = script.FAILED
    elseif worst == script.DONE then
      worst = status
    end
  end
  return worst
end

local function program()
  local pipe = io.popen "readlink /proc/$PPID/exe"
  local path = pipe:read "*l"
  pipe:close()
  return path or script.exit(script.FAILED, "cannot read /proc/self/exe")
end

-- The program's own options without those that are for this.
local function without(options)
  local list, i = {}, 1
  while options[i] do
    if options[i] == "--ranks" then
      i = i + 1
    elseif options[i] ~= "--pin" and not options[i]:find "^%-%-ranks=" then
      list[#list + 1] = options[i]
    end
    i = i + 1
  end
  return list
end

local function check(given, script_name)
  local problem = ranks.size > 1 and "--ranks given to what is a rank already"
    or given.lab and "--lab and --ranks given: one of them is allowed, as ranks share a network"
    or not script_name and "no script given (etherlua run --help lists those that are shipped)"
    or script_name == "-" and "ranks cannot share a script on standard input"
  if problem then script.exit(script.USAGE, problem) end
end

---@param parser table of lua-argparse
function M.add(parser)
  parser:option("--ranks", "Run it so many times on this host, each process a rank of one run."):argname("N")
    :convert(script.number(1, RANKS_MAX, true))
  parser:flag("--pin", "With --ranks: keep each on a processor of its own, as far as there are enough.")
end

-- Runs all ranks.
---@param given table what the options say
---@param options string[] in front of the script's name
---@param args string[] the script's name and what follows it
---@return integer exit status
function M.main(given, options, args)
  check(given, args[1])
  local command = { program(), "run", unpack(without(options)) }
  for _, word in ipairs(args) do command[#command + 1] = word end
  local self = { size = given.ranks, cpus = given.pin and processors(), server = servers.new(given.ranks), pids = {},
    streams = {}, statuses = {}, command = command }
  sched.run(run_all, self)
  return status_of_all(self)
end

return M
