-- machine.lua: what a program could leave on the machine, looked at before it starts and behind its end.
--
-- Each program carries a mark in its environment, and so does every process that it starts: what has the mark behind
-- its end is left over. Its /tmp and /run are folders of its own, so that others on the machine are not taken for it: a
-- namespace lives as long as a process has it, or a file in /run.

local effi = require "etherlua.core.ffi"
local ffi = require "ffi"
local files = require "etherlua.core.files"
local lab = require "etherlua.lab.lab"
local shell = require "etherlua.lab.shell"
local wait = require "support.wait"

local C = effi.C

local M = {}

local KILL = 9
local PATIENCE = 0.6 -- seconds of pauses, which is 30 looks, for what the kernel removes in its own time

M.PATH = os.getenv "ETHERLUA" or "build/etherlua"
local ROOT = shell.run("pwd"):match "[^\n]+"

-- ---- a network ------------------------------------------------------------------------------------------------------

-- The kernel's IPv6 comes anew when the MTU was too small for it, and would speak.
local GIVE = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip addr add %s/24 dev eth0 && " ..
  "ip neigh replace %s lladdr %s nud permanent dev eth0"
local networks = 0

-- A lab whose kernels have addresses, 10.0.0.1 near, 10.0.0.2 far, and do not ask for each other's.
function M.network()
  networks = networks + 1
  local near, far = ("02:00:00:%02x:00:fd"):format(networks), ("02:00:00:%02x:00:fe"):format(networks)
  local net = lab.new { near_mac = near, far_mac = far }
  net.near:run(GIVE:format("10.0.0.1", "10.0.0.2", far))
  net.far:run(GIVE:format("10.0.0.2", "10.0.0.1", near))
  return net
end

-- Whether the kernels at both ends reach each other, as they did before.
function M.kernels_talk(net)
  return pcall(net.near.run, net.near, "busybox ping -q -c 1 -W 2 10.0.0.2")
end

-- ---- programs -------------------------------------------------------------------------------------------------------

local Program = {}
Program.__index = Program

local count = 0

-- A shell command that runs the words with /tmp and /run of their own; what this tree has below /tmp stays there.
local STAGE = [[mkdir -p "$T/tmp" "$T/run" && exec >"$T/out" 2>"$T/err" && mount --make-rprivate / && case $PWD/ in
  /tmp/*) mkdir -p "$T/tmp/${PWD#/tmp/}" && mount --rbind "$PWD" "$T/tmp/${PWD#/tmp/}" ;; esac &&
  mount --rbind "$T/run" /run && mount --rbind "$T/tmp" /tmp && cd "$PWD" && %s %s "$@" %s]]

local OWN = files.read("/proc/self/stat"):match "^%d+"

-- Starts a program, a list of words, in a namespace. opts.before: shell text, ending in "&&", that sets the stage;
-- opts.redirect: shell text behind the words.
---@param ns etherlua.namespace
---@param words string[]
---@param opts? { before: string?, redirect: string? }
function M.start(ns, words, opts)
  opts = opts or {}
  count = count + 1
  local redirect = opts.redirect or "" -- the status of a pipe is that of its end
  local self = setmetatable({ mark = ("ETHERLUA_FAULTS=%s.%d."):format(OWN, count),
    folder = ("%s/build/faults/%s.%d"):format(ROOT, OWN, count) }, Program)
  local list = { "env", self.mark, "T=" .. self.folder, "TMPDIR=/tmp", "PWD=" .. ROOT, "unshare", "-m", "sh", "-c",
    STAGE:format(opts.before or "", redirect:find "|" and "" or "exec", redirect), "sh" }
  for _, word in ipairs(words) do list[#list + 1] = tostring(word) end
  local argv = ffi.new("const char *[?]", #list + 1)
  for i, word in ipairs(list) do argv[i - 1] = word end
  self.pid = C.el_process_start(argv, ns.fd, nil)
  assert(self.pid > 0, "cannot start " .. list[1])
  return self
end

-- group: to the processes of its group, too.
function Program:signal(number, group)
  if not self.status then ffi.C.kill(group and -self.pid or self.pid, number) end
end

-- Waits for its end. Not namespace:start(), which would kill what it left.
---@param seconds number
---@return integer? status 128 + number when a signal ended it; nil: it still runs
function Program:wait(seconds)
  if not self.status then
    local status = C.el_process_wait(self.pid, seconds)
    if status >= 0 then self.status = status end
  end
  return self.status
end

function Program:output() return files.read(self.folder .. "/out") or "" end
function Program:errors() return files.read(self.folder .. "/err") or "" end

-- Ends what is left of it, and removes its folder.
function Program:close()
  for _, pid in ipairs(self.left or {}) do ffi.C.kill(pid, KILL) end
  while not self:wait(1) do self:signal(KILL) end
  os.execute("rm -rf " .. self.folder)
end

-- ---- looking --------------------------------------------------------------------------------------------------------

-- The interface's XDP programs, promiscuity, MTU, addresses and offloads; packet sockets; pinned BPF objects. Then
-- processes with the mark, and files in the program's folders.
local LOOK = [[ip -d -o link show | sed 's/@[^:]*//'; ethtool -k eth0 2>/dev/null; grep -c . /proc/net/packet
  find /sys/fs/bpf -path /sys/fs/bpf/ip -prune -o -path '/sys/fs/bpf/tc*' -prune -o -print 2>/dev/null]]
local LEFT = [[; grep -lazs -- '%s' /proc/[0-9]*/environ; cd %s 2>/dev/null && find tmp run -xdev -type f]]

-- What is there now; in the near namespace of a network, or here.
---@param world table net, here
---@param net? etherlua.lab
---@return string
function M.look(world, net)
  return (net and net.near or world.here):run(LOOK .. "; true")
end

local function first_difference(before, after)
  local old = {}
  for line in before:gmatch "[^\n]+" do old[line] = true end
  for line in after:gmatch "[^\n]+" do
    if not old[line] then return line end
  end
  return before ~= after and "less than before" or nil
end

-- Processes are names and files are paths; one that is dead and not waited for is none.
local function living(text)
  local pids = {}
  local rest = text:gsub("/proc/(%d+)/environ\n", function(pid)
    local stat = files.read("/proc/" .. pid .. "/stat")
    if not stat or stat:find "%) [ZX]" then return "" end
    pids[#pids + 1] = tonumber(pid)
    return ("process %s\n"):format(stat:match "%((.-)%) ")
  end)
  return rest, pids
end

-- What the program left behind, or nil.
---@param world table
---@param program table of start()
---@param net? etherlua.lab
---@param before string of look()
---@param kept? string pattern of a file that may stay
---@return string?
function M.left_by(world, program, net, before, kept)
  local problem
  local look = (LOOK .. LEFT .. "; true"):format(program.mark, program.folder)
  wait.eventually(function()
    local now
    now, program.left = living((net and net.near or world.here):run(look))
    problem = first_difference(before, kept and now:gsub(kept, "") or now)
    return not problem
  end, PATIENCE)
  return problem
end

ffi.cdef "int kill(int pid, int number);"

return M
