-- lab/netns.lua: network namespaces and the programs that are started in them. A namespace has no name: it is a file
-- descriptor of this process, so the kernel removes it with everything in it however the process ends, SIGKILL
-- included, and started programs are killed with the process too. Nothing is visible in `ip netns`, no file is left.
--
-- All of it raises an error when something fails. A task that runs a command or waits for a program blocks itself
-- alone; elsewhere, and where a lab is made, the thread is blocked.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local files = require "etherlua.core.files"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local rights = require "etherlua.core.rights"
local sched = require "etherlua.core.sched"
local shell = require "etherlua.lab.shell"

local C = effi.C

local M = {}

local KILL, TERM = 9, 15
local STOP_GRACE = 0.7 -- seconds between TERM and KILL

-- Level 0 where the message names the command or value: file and line of this module would only hide it.
local function fail(...)
  error(string.format(...), 0)
end

-- ---- started programs ---------------------------------------------------------------------------------------------

-- A program that was started in a namespace. It is over when `exit` is set.
---@class etherlua.process
---@field pid integer
---@field path? string of its log
---@field exit? integer exit status, 128 + number when a signal ended it
---@field leaves? boolean what it has started in the background goes on when it has ended
local process = {}
process.__index = process

-- Keeps the exit status, which the kernel tells only once. Helpers that it left in its session end with it: they would
-- keep the namespace alive and nobody would know of them.
local function take_status(self, status)
  if status == -errno.EAGAIN then return nil end
  if not self.leaves then C.el_process_signal(self.pid, KILL) end
  self.exit = status >= 0 and status or -1
  self.owner.processes[self] = nil
  return self.exit
end

---@return integer? exit status (128 + number when a signal ended it); nil while it runs
function process:status()
  return self.exit or take_status(self, C.el_process_status(self.pid))
end

-- Blocks the whole thread.
local function wait_here(self, timeout)
  return self.exit or take_status(self, C.el_process_wait(self.pid, timeout))
end

-- Blocks the task, where there is none the thread.
---@param timeout? number seconds (for ever)
---@return integer? exit status; nil when it still runs
function process:wait(timeout)
  if timeout then misuse.check_seconds("timeout", timeout) end
  if not sched.may_wait() then
    repeat wait_here(self, timeout or 1) until timeout or self.exit
    return self.exit
  end
  local deadline = timeout and sched.now() + timeout
  while not self:status() and not (deadline and sched.now() >= deadline) do shell.park(self.pid, deadline) end
  return self.exit
end

-- Ends it and those it has started, within a second: with KILL when the signal did not do. Blocks the thread.
---@param signal? integer number, default 15 (TERM)
---@return integer exit status
function process:stop(signal)
  if self:status() then return self.exit end
  C.el_process_signal(self.pid, signal or TERM)
  if wait_here(self, STOP_GRACE) then return self.exit end
  C.el_process_signal(self.pid, KILL)
  while not wait_here(self, 1) do end
  return self.exit
end

---@return string text of its log file; empty when there is none
function process:log()
  return self.path and files.read(self.path) or ""
end

-- ---- namespaces ---------------------------------------------------------------------------------------------------

-- A network namespace.
---@class etherlua.namespace
---@field fd integer descriptor; close-on-exec
local namespace = {}
namespace.__index = namespace

-- What is started in one is ended later, and the kernel does so only for who has the right.
local function check_rights()
  local user = rights.user()
  if user then fail("labs and their namespaces need the rights that --user %s gives up", user) end
end

local function wrap_namespace(fd, what)
  if fd < 0 then
    local advice = fd == -errno.EPERM and
      "; root or a user namespace is needed (lab.root() makes one where it may)" or ""
    fail("cannot %s: %s%s", what, errno.reason(fd), advice)
  end
  return setmetatable({ fd = fd, processes = {} }, namespace)
end

local function leave(old, ok, ...)
  sched.release()
  local err = C.el_netns_enter(old)
  C.el_fd_close(old)
  if err < 0 then fail("cannot go back to the old network namespace: %s", errno.reason(err)) end
  if not ok then error((...), 0) end
  return ...
end

local function check_open(self)
  if self.fd < 0 then misuse.raise("the lab namespace is closed") end
end

-- Runs fn inside the namespace, for things that belong to the namespace in which they were opened, such as a relay.
-- fn must not wait for anything (recv, sleep): other tasks would run in the wrong namespace meanwhile.
---@param fn function
---@param ... any that it is called with
---@return any ... what fn returns
function namespace:enter(fn, ...)
  check_open(self)
  local old = C.el_netns_open(nil)
  if old < 0 then fail("cannot open the current network namespace: %s", errno.reason(old)) end
  local err = C.el_netns_enter(self.fd)
  if err < 0 then
    C.el_fd_close(old)
    fail("cannot enter the network namespace: %s", errno.reason(err))
  end
  sched.hold() -- other tasks would run in the wrong namespace
  return leave(old, pcall(fn, ...))
end

-- Waits for the end of a command. A task that is cancelled meanwhile lets it have half a second more, and ends it.
local function await_command(one)
  one.leaves = true
  local ok, failure = pcall(one.wait, one)
  if ok then return end
  if not wait_here(one, shell.GRACE) then one:stop() end
  error(failure, 0)
end

-- Runs a shell command as a program, so that other tasks go on.
---@return string output
---@return integer status
local function run_as_task(self, command)
  local fd = C.el_process_log()
  if fd < 0 then fail("cannot run a command: %s", errno.reason(fd)) end
  local path, one = ("/proc/self/fd/%d"):format(fd), nil
  local ok, failure = pcall(function()
    one = self:start(shell.words(command), { log = path })
    await_command(one)
  end)
  local output = one and one:log()
  C.el_fd_close(fd)
  if not ok then error(failure, 0) end
  return output, one.exit
end

-- Runs a shell command inside and waits for it: blocks the task, where there is none the thread.
---@param command string
---@return string output both standard output and errors; raises an error with them when the exit status is not 0
function namespace:run(command)
  check_open(self)
  local output, status
  if sched.may_wait() then
    output, status = run_as_task(self, command)
  else
    output, status = self:enter(shell.run, command)
  end
  if status ~= 0 then fail("command failed with status %d: %s\n%s", status, command, output) end
  return output
end

local function texts(list)
  local result = {}
  for i, word in ipairs(list) do result[i] = tostring(word) end
  return result
end

local function start_failure(program, code)
  -- EACCES is also what one gets for a program that is nowhere, when a folder of PATH may not be read.
  local is_missing = code == -errno.ENOENT or code == -errno.EACCES
  local reason = is_missing and "no such program in PATH, or it may not be executed"
    or errno.reason(code)
  fail("cannot start %q: %s", program, reason)
end

-- Here and not from the failed start, where it could not be told from a missing program.
local function check_log(path)
  local err = ffi.new("char[?]", C.EL_ERR_MAX)
  if C.el_process_check_log(path, err) ~= 0 then fail("%s", ffi.string(err)) end
end

-- The namespace as a path, for commands that want to be told of one.
---@return string
function namespace:path()
  check_open(self)
  local pid = files.read("/proc/self/stat"):match("^%d+") -- not getpid: there is no such call in the ABI
  return ("/proc/%s/fd/%d"):format(pid, self.fd)
end

local START = options.new("namespace:start", { log = options.path() })

-- Starts a program inside; it is not a shell command. It is killed when this process ends, however that ends.
---@param list string[] program (looked up in PATH) and arguments
---@param opts? { log: string } log: file that gets its output and errors, appended (default: ours)
---@return etherlua.process
function namespace:start(list, opts)
  check_open(self)
  local words = texts(list)
  if #words == 0 then
    misuse.raise("cannot start an empty command: a list such as {\"dnsmasq\", \"--no-daemon\"} is needed")
  end
  local path = START:read(opts).log
  if path then check_log(path) end
  local pid = C.el_process_start(shell.argv(words), self.fd, path)
  if pid < 0 then start_failure(words[1], pid) end
  local started = setmetatable({ pid = pid, path = path, owner = self }, process)
  self.processes[started] = true
  return started
end

-- Stops its programs and lets go of it; the kernel removes it once nothing else is in it.
function namespace:close()
  if self.fd < 0 then return end
  local started = {}
  for one in pairs(self.processes) do started[#started + 1] = one end
  for _, one in ipairs(started) do one:stop() end
  C.el_fd_close(self.fd)
  self.fd = -1
end

-- ---- making and opening them --------------------------------------------------------------------------------------

local LOOPBACK_UP = "ip link set lo up"

-- The command that turns the kernel's IPv6 on or off. A kernel without IPv6 has no such file.
---@param names string of interfaces, with spaces between; "default": those that come later
---@param on boolean
---@return string
function M.ipv6_command(names, on)
  return ("for n in %s; do f=/proc/sys/net/ipv6/conf/$n/disable_ipv6; [ ! -e $f ] || echo %d >$f; done"):format(names,
    on and 0 or 1)
end

-- Of interfaces that come later, bridges and VLANs too, or the kernel's MLD reports and solicitations would be the
-- first frames on them, and some of the next.
local SILENT = M.ipv6_command("default", false)

-- A command of iproute2 or the like, with a word about the package when it is not installed.
---@param command string
---@return string output
function namespace:configure(command)
  local output, status = self:enter(shell.run, command)
  if status == shell.NO_SHELL then fail(output) end
  if status == shell.NOT_FOUND then
    fail("labs need the program %s", shell.with_package(command:match("^%S+")))
  end
  if status ~= 0 then fail("command failed with status %d: %s\n%s", status, command, output) end
  return output
end

-- A new network namespace with nothing in it but loopback, which is up. The kernel's IPv6 is off on other interfaces.
---@return etherlua.namespace
function M.new()
  check_rights()
  local ns = wrap_namespace(C.el_netns_new(), "make a network namespace")
  local ok, reason = pcall(ns.configure, ns, LOOPBACK_UP .. " && " .. SILENT)
  if not ok then
    ns:close()
    error(reason, 0)
  end
  return ns
end

-- A namespace that is there already. Closing the object leaves it there.
---@param name? string name under /run/netns, path or process id; default: the one that we are in
---@return etherlua.namespace
function M.open(name)
  check_rights()
  local what = "open the network namespace " .. (name or "of this process")
  return wrap_namespace(C.el_netns_open(name and tostring(name)), what)
end

-- ---- the right to make them ---------------------------------------------------------------------------------------

local function setting(path)
  return tonumber(files.read("/proc/sys/" .. path) or "")
end

-- What to do when the kernel does not let us have a user namespace.
local function refusal(code)
  if setting("kernel/unprivileged_userns_clone") == 0 then
    return "user namespaces are for root only here; as root: sysctl kernel.unprivileged_userns_clone=1"
  end
  if setting("user/max_user_namespaces") == 0 then
    return "no user namespaces are allowed here; as root: sysctl user.max_user_namespaces=10000"
  end
  if setting("kernel/apparmor_restrict_unprivileged_userns") == 1 then
    return "AppArmor keeps user namespaces from ordinary users; as root: "
      .. "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  end
  return ("the kernel refuses a user namespace (%s), perhaps because of a container's seccomp profile: run as root, or "
    .. "give the container CAP_SYS_ADMIN"):format(errno.reason(code))
end

-- To make one is not all: rights that this program has by its file are not those of the programs that it starts.
---@return boolean
---@return string? reason nil: it is not permitted
local function may_make_namespaces()
  local fd = C.el_netns_new()
  if fd < 0 then return false, fd ~= -errno.EPERM and errno.reason(fd) or nil end
  local ns = wrap_namespace(fd)
  local output, status = ns:enter(shell.run, LOOPBACK_UP)
  ns:close()
  if status == 0 or status == shell.NOT_FOUND or status == shell.NO_SHELL then return true end
  return false, not output:find "[Nn]ot permitted" and output:match "[^\n]+" or nil
end

local userns_error -- code of the one attempt

-- Makes sure that this process may create namespaces: as root nothing happens, another user's process moves into a user
-- namespace in which it is root, and from there sees none of the machine's interfaces. There is no way back from it,
-- and it has to be done before threads are started.
---@return boolean? true; or nil and what to do about it
---@return string? reason
function M.root()
  check_rights()
  local may, reason = may_make_namespaces()
  if may then return true end
  if reason then return nil, "labs need a network namespace: " .. reason end
  userns_error = userns_error or C.el_userns_enter()
  if userns_error == 0 and may_make_namespaces() then return true end
  return nil, "labs need network namespaces, which are not permitted: " .. refusal(userns_error)
end

return M
