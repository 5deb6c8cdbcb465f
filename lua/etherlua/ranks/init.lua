-- ranks/init.lua: several processes that run one script, on one host or on many: ether.ranks. Each is a rank, with a
-- number; a process by itself is rank 0 of 1, and then nothing here waits for anybody.
--
-- A process manager starts them and tells them of each other by PMI-1 (pmi.lua): mpiexec.hydra, srun, or
-- `etherlua run --ranks N`. By that they learn where rank 0 is, and connect to it; all else goes over these
-- connections, so that the end of a process is noticed at once, whoever started it.

local addr = require "etherlua.net.addr"
local claims = require "etherlua.ranks.claims"
local effi = require "etherlua.core.ffi"
local ffi = require "ffi"
local failures = require "etherlua.core.failure"
local files = require "etherlua.core.files"
local hubs = require "etherlua.ranks.hub"
local members = require "etherlua.ranks.member"
local misuse = require "etherlua.core.misuse"
local pmi = require "etherlua.ranks.pmi"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"
local values = require "etherlua.ranks.value"

local C = effi.C

local own_rank, size, descriptor = pmi.environment()
local local_rank, local_size = pmi.local_environment()

local M = {}

---@type integer number of this process, from 0
M.rank = own_rank or 0
---@type integer how many there are
M.size = size or 1
---@type integer number of this process among those on this host, from 0
M.local_rank = size and local_rank or M.rank
---@type integer how many there are on this host
M.local_size = size and local_size or M.size

local hub, member -- of this process: one of them, when it has joined others
local meetings = { run = 0, ["end"] = 0 }
local manager
local changes -- of endpoints, which all are to know
local check -- ends the run in progress when another rank has failed

-- ---- beginning and end, for the program ---------------------------------------------------------------------------

local KEY, ADDRESSES_MAX = "etherlua", 16
local LOOPBACK = { ["127.0.0.1"] = true, ["::1"] = true }

-- What tells this host, and its network, from others.
local function host_name()
  local boot = files.read "/proc/sys/kernel/random/boot_id" or "?"
  local pipe = io.popen "readlink /proc/self/ns/net"
  local network = pipe:read "*l" or "?"
  pipe:close()
  return ((boot .. network):gsub("[^%w]", ""))
end

-- "TOKEN,HOST,ADDRESS,ADDRESS,..."
local function invitation(token, port)
  local list = ffi.new("struct el_addr[?]", ADDRESSES_MAX)
  local words = { token, host_name() }
  for i = 0, C.el_socket_addrs(list, ADDRESSES_MAX) - 1 do
    list[i].port = port
    words[#words + 1] = tostring(list[i])
  end
  return table.concat(words, ",")
end

local function token()
  return ("%08x%08x%08x%08x"):format(random.u32(), random.u32(), random.u32(), random.u32())
end

-- The addresses of an invitation that may be reached from here: on the same host the loopback ones alone.
local function addresses_of(words)
  local list, here = {}, words[2] == host_name()
  for i = 3, #words do
    if here == (LOOPBACK[addr.addr(words[i]).ip_text] or false) then list[#list + 1] = words[i] end
  end
  return list
end

local function join_as_first()
  local port
  local word = token()
  hub, port = hubs.new(M.size, word)
  manager:put(KEY, invitation(word, port))
  manager:barrier()
  hub:join()
end

local function join_first()
  manager:barrier()
  local text = manager:get(KEY)
  if not text then error("rank 0 is no etherlua, or another version of it", 0) end
  local words = {}
  for word in text:gmatch "[^,]+" do words[#words + 1] = word end
  member = members.new(M.rank, words[1], addresses_of(words))
end

-- Connects the ranks. Blocks the task; raises an error when they do not find each other.
function M.join()
  if M.size == 1 then return end
  manager = pmi.open(descriptor)
  if M.rank == 0 then join_as_first() else join_first() end
end

-- ---- endpoints ----------------------------------------------------------------------------------------------------

-- Where the endpoints on an interface are, in words that no other interface has. Nil in a process by itself.
---@param interface string
---@return string?
function M.place(interface)
  if M.size == 1 then return nil end
  return ("%s (host and network %s)"):format(interface, host_name():gsub("^(%x%x%x%x%x%x%x%x)%x*net", "%1, "))
end

local function tell_changes(list)
  if member then return member:claim(list) end
  hub:claim(M.rank, list)
  check(hub:trouble())
end

-- An endpoint was opened or closed here. That another rank has it, too, ends the run.
---@param endpoint string with the words of place()
---@param change integer 1: one more was opened, -1: closed
function M.claim(endpoint, change)
  if not check then return end
  changes = changes or claims.changes(tell_changes)
  changes:add(endpoint, change)
end

-- ---- failures -----------------------------------------------------------------------------------------------------

-- What ends the run in progress here ends it on all other ranks, too.
local function tell_of_failure()
  local failure = sched.failure()
  if not failure then return end
  local text = failures.text(failure)
  if hub then hub:fail(0, text) else member:fail(text) end
end

local function watch()
  sched.defer(tell_of_failure)
  sched.park(sched.current())
end

-- A failure of another rank is heard in the run in progress, one here ends the run on the others.
---@param fn fun(trouble?: string) called when something was heard: an error in it ends the run
function M.listen(fn)
  local one = hub or member
  if not one then return end
  check = fn
  sched.spawn_background(watch)
  one:listen(check)
end

local function leave()
  local one = hub or member
  if one then one:leave() end
  if manager then manager:close() end
end

-- Ends this process's part, when the task ends; whatever asks for the end meanwhile.
function M.leave()
  sched.defer(leave)
end

-- At rank 0.
---@return string? words which rank failed, and why
function M.trouble()
  return hub and hub:trouble()
end

-- At rank 0.
---@return integer? rank that failed first
---@return string? reason
function M.failure()
  local failure = hub and hub:first_failure()
  if failure then return failure.rank, failure.reason end
end

-- Whether rank 0 tells what goes wrong here.
---@return boolean
function M.is_told()
  return member ~= nil
end

-- ---- what scripts use ---------------------------------------------------------------------------------------------

-- This rank's part of n things, such as clients: consecutive, and no two ranks' parts differ by more than one.
---@param n integer
---@return integer first from 0
---@return integer count
function M.share(n)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 0 then
    misuse.raise("bad share of %s: a whole number from 0 is needed", tostring(n))
  end
  local first = math.floor(n * M.rank / M.size)
  return first, math.floor(n * (M.rank + 1) / M.size) - first
end

-- Deferred functions have meetings of their own: where the run ended is not the same on all ranks. What was opened and
-- closed ahead of it is known behind it.
local function next_meeting()
  if changes then changes:flush() end
  local kind = sched.current().ending and "end" or "run"
  meetings[kind] = meetings[kind] + 1
  return kind .. meetings[kind]
end

-- The value of rank 0, at all ranks, when all are here but for those that have ended. Blocks this task alone. All ranks
-- call agree, barrier, gather and reduce in the same order.
---@param value any number, text, boolean, histogram, or a table of these
---@return any
function M.agree(value)
  local name = next_meeting()
  if hub then
    hub:meet(name)
    hub:part(name, value)
  elseif member then
    member:come(name)
    return member:wait(name)
  end
  return value
end

-- Waits until all ranks are here, but for those that have ended. Blocks this task alone.
function M.barrier()
  M.agree()
end

-- The values of all ranks, at rank 0, which waits for the others.
---@param value any number, text, boolean, histogram, or a table of these
---@return any[]? values by rank, from 1; none of a rank that has ended. Nil at the other ranks
function M.gather(value)
  local name = next_meeting()
  if member then return member:come(name, value) end
  local list = { value }
  for rank, message in pairs(hub and hub:meet(name) or {}) do list[rank + 1] = message.value end
  return list
end

-- Tells rank 0 how things are, without waiting for anybody: latest() has what each rank told last.
---@param value any as for gather
function M.tell(value)
  if member then member:tell(value) end
end

---@return any[] values by rank, from 2: rank 1's is the second. At rank 0
function M.latest()
  local list = {}
  for rank, value in pairs(hub and hub:latest() or {}) do list[rank + 1] = value end
  return list
end

-- What the tables in a list by rank have, added up name by name: numbers, histograms, and tables of these.
---@param list table<integer, table> from 1 to the number of ranks; some may be missing
---@param greatest? string[] names of numbers of which the greatest counts, such as how long something took
---@return table sum that shares nothing with them
function M.sum(list, greatest)
  return values.sum(list, M.size, greatest)
end

-- The sum of what all ranks have, at rank 0, which waits for the others.
---@param counters table of numbers and histograms, and of tables of these
---@param greatest? string[] as of sum
---@return table? sum that shares nothing with counters; nil at the other ranks
function M.reduce(counters, greatest)
  local list = M.gather(counters)
  return list and M.sum(list, greatest)
end

-- A path of this rank's own, where there are several: trace.pcap is trace.1.pcap for rank 1.
---@param path? string
---@return string?
function M.own_path(path)
  if not path or M.size == 1 then return path end
  local stem, ending = path:match "^(.-)(%.[^./]*)$"
  return ("%s.%d%s"):format(stem or path, M.rank, ending or "")
end

-- Ends the run on all ranks, in order; rank 0 tells the reason.
---@param reason string
function M.abort(reason)
  error(setmetatable({ exit_status = 1, message = tostring(reason) }, { __tostring = function() return reason end }), 0)
end

return M
