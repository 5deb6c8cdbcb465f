-- program/launcher.lua: `etherlua run --ranks N`: starts the script N times on this host, each process a rank of one
-- run, and is their process manager. It opens no relay itself. Ctrl-C goes on to all of them; when one ends early the
-- others hear of it from each other (ranks/), and what is told of the end is rank 0's.

local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local ffi = require "ffi"
local files = require "etherlua.core.files"
local pmi = require "etherlua.ranks.pmi"
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
local FAILED_GRACE = 2 -- seconds
local GUARDED = "ETHERLUA_RANK" -- set in the environment of a rank

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

-- The program again, as a rank. fd: its connection to the process manager.
local function start(self, rank, words, fd)
  local list = { "env", GUARDED .. "=1", unpack(words) }
  for _, word in ipairs(self.command) do list[#list + 1] = word end
  self.pids[rank] = check_started(C.el_process_start_rank(shell.argv(list), fd), "start rank " .. rank)
end

-- With this process as its manager.
local function start_own(self, rank)
  local fds = ffi.new "int[2]"
  check_started(C.el_socket_pair(fds), "connect to a rank")
  self.streams[rank] = streams.new(fds[0])
  local words = { "PMI_FD=" .. fds[1], "PMI_RANK=" .. rank, "PMI_SIZE=" .. self.size,
    "MPI_LOCALRANKID=" .. rank, "MPI_LOCALNRANKS=" .. self.size }
  local cpus = self.cpus
  if cpus then
    for _, word in ipairs { "taskset", "-c", tostring(cpus[rank % #cpus + 1]) } do words[#words + 1] = word end
  end
  start(self, rank, words, fds[1])
  C.el_fd_close(fds[1])
end

-- Waits until the rank has ended.
local function wait_for_end(self, rank)
  while not self.statuses[rank] do
    local status = C.el_process_status(self.pids[rank])
    if status ~= -errno.EAGAIN then self.statuses[rank] = status else shell.park(self.pids[rank]) end
  end
end

local function signal_all(self, signal)
  for rank, pid in pairs(self.pids) do
    if not self.statuses[rank] then C.el_process_signal(pid, signal) end
  end
end

-- When one has failed the others end by themselves, unless they did not know each other yet.
local function watch(self, rank)
  wait_for_end(self, rank)
  local status = self.statuses[rank]
  if status == script.DONE or status == script.REFUSED then return end
  sched.sleep(FAILED_GRACE)
  signal_all(self, TERM)
end

local function serve(self)
  for _, stream in pairs(self.streams) do sched.spawn_background(self.server.serve, self.server, stream) end
end

-- Something ends this process, and so all ranks, which take their time: they may have leases to release.
local function end_all(self)
  local signal = C.el_signals_last()
  signal_all(self, signal > 0 and signal or TERM)
  serve(self)
  for rank in pairs(self.pids) do wait_for_end(self, rank) end
end

local function run_all(self, start_one)
  sched.defer(function() end_all(self) end)
  for rank = 0, self.size - 1 do start_one(self, rank) end
  serve(self)
  for rank in pairs(self.pids) do sched.spawn_background(watch, self, rank) end
  for rank in pairs(self.pids) do wait_for_end(self, rank) end
end

-- ---- the end ------------------------------------------------------------------------------------------------------

-- That of a rank, with a word about what it could not tell.
local function status_of(self, rank, number)
  local status = self.statuses[rank]
  if status < BY_SIGNAL or sched.was_interrupted() then return status end
  io.stderr:write(("etherlua: rank %d was ended by signal %d\n"):format(number, status - BY_SIGNAL))
  return script.FAILED
end

-- That of rank 0, which speaks for all, unless something happened to another one.
local function status_of_all(self)
  local worst = status_of(self, 0, 0)
  for rank = 1, self.size - 1 do
    local status = status_of(self, rank, rank)
    if worst == script.DONE then worst = status end
  end
  return worst
end

local function program()
  local pipe = io.popen "readlink /proc/$PPID/exe"
  local path = pipe:read "*l"
  pipe:close()
  return path or script.exit(script.FAILED, "cannot read /proc/self/exe")
end

local function new(size, ...)
  local self = { size = size, server = servers.new(size), pids = {}, streams = {}, statuses = {},
    command = { program(), "run" } }
  for _, words in ipairs { ... } do
    for _, word in ipairs(words) do self.command[#self.command + 1] = word end
  end
  return self
end

-- Whether this process is to be a rank for a manager that kills all ranks when one is killed.
---@return boolean
function M.is_unguarded()
  return ranks.size > 1 and not os.getenv(GUARDED)
end

-- The rank for such a manager is a child: when that is killed, this process ends as if it had an error, and when this
-- one is killed, the child ends in order.
---@param args string[] what follows `etherlua run`
---@return integer exit status
function M.guard(args)
  local self = new(1, args)
  local _, _, fd = pmi.environment()
  sched.run(run_all, self, function() start(self, 0, {}, fd) end)
  return status_of(self, 0, ranks.rank)
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
  local self = new(given.ranks, without(options), args)
  self.cpus = given.pin and processors()
  sched.run(run_all, self, start_own)
  return status_of_all(self)
end

return M
