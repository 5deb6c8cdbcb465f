-- ranks/pmi.lua: PMI-1, the protocol in which MPICH's process managers, and Slurm's, tell the processes of one run of
-- each other: lines of NAME=VALUE words on the descriptor PMI_FD. This is the client; server.lua is the other end.
--
-- A process says that it is there (init), asks for the name of the space of keys, puts values there, waits for all
-- others (barrier_in), gets theirs, and says that it ends (finalize).

local loop = require "etherlua.core.loop"
local stream = require "etherlua.ranks.stream"

local M = {}

M.VALUE_MAX = 1024 -- bytes of a value, its end included, unless the server allows less
local TIMEOUT_BYE = 2 -- seconds

-- The words of a line. A value has no spaces.
---@param line string
---@return table<string, string> by name; cmd says what it is
function M.words(line)
  local words = {}
  for name, value in line:gmatch "([^%s=]+)=(%S*)" do words[name] = value end
  return words
end

---@class etherlua.ranks.pmi
---@field space string name of the space of keys
---@field value_max integer bytes of a value
local Client = {}
Client.__index = Client

local function fail(...)
  error("the process manager on PMI_FD: " .. string.format(...), 0)
end

-- Sends a command and waits for its answer.
local function ask(self, answer, format, ...)
  local sent, reason = self.stream:write_line(("cmd=" .. format):format(...))
  while sent do
    local line
    line, reason = self.stream:read_line()
    if not line then break end
    local words = M.words(line)
    if words.cmd == answer then return words end
    fail("%q instead of %s", line, answer)
  end
  fail("%s", reason)
end

-- Whether this process is one of several; then its rank, and how many there are.
---@return integer? rank
---@return integer? size
---@return integer? fd
function M.environment()
  local fd, rank, size = tonumber(os.getenv "PMI_FD"), tonumber(os.getenv "PMI_RANK"), tonumber(os.getenv "PMI_SIZE")
  if not (fd and rank and size) then return nil end
  return rank, size, fd
end

-- The same among those on this host, in MPICH's words: PMI-1 has none for it. A manager that does not say so is taken
-- to have all of them here.
---@return integer? rank
---@return integer? size
function M.local_environment()
  return tonumber(os.getenv "MPI_LOCALRANKID"), tonumber(os.getenv "MPI_LOCALNRANKS")
end

-- Says that this process is there. Blocks the task, as all calls here do; all raise an error when the manager is gone.
---@param fd integer
---@return etherlua.ranks.pmi
function M.open(fd)
  local self = setmetatable({ stream = stream.new(fd) }, Client)
  local answer = ask(self, "response_to_init", "init pmi_version=1 pmi_subversion=1")
  if answer.rc ~= "0" or answer.pmi_version ~= "1" then fail("it speaks PMI %s, not 1", answer.pmi_version or "?") end
  local maxes = ask(self, "maxes", "get_maxes")
  self.value_max = math.min(M.VALUE_MAX, tonumber(maxes.vallen_max) or 0) - 1
  self.space = ask(self, "my_kvsname", "get_my_kvsname").kvsname
  return self
end

-- From the next barrier on others can get it.
---@param key string
---@param value string of printable characters, no spaces
function Client:put(key, value)
  if #value > self.value_max then fail("a value of %d bytes: %d are allowed", #value, self.value_max) end
  local answer = ask(self, "put_result", "put kvsname=%s key=%s value=%s", self.space, key, value)
  if answer.rc ~= "0" then fail("it refuses %s: %s", key, answer.msg or "?") end
end

---@param key string
---@return string? value nil: nobody has put it
function Client:get(key)
  local answer = ask(self, "get_result", "get kvsname=%s key=%s", self.space, key)
  return answer.rc == "0" and answer.value or nil
end

-- Waits until all processes are here.
function Client:barrier()
  ask(self, "barrier_out", "barrier_in")
end

-- Says that this process ends. The manager may be gone by then.
function Client:close()
  if self.stream:write_line("cmd=finalize") then
    self.stream:read_line(loop.now() + TIMEOUT_BYE)
  end
  self.stream:close()
end

return M
