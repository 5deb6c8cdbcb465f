-- lab.lua: labs: network namespaces and veth pairs made for a script or a test, gone when the process is.
--
--      this process                                          and programs started here
--   .---------------.                                    .---------------.
--   |   lab.near    |          one veth pair             |    lab.far    |
--   |               | eth0 ------------------------ eth0 |               |
--   | the script's  |                                    | the emulated  |
--   | relay         |                                    | access network|
--   '---------------'                                    '---------------'
--
-- A namespace has no name: it is a file descriptor of this process, so the kernel removes it with everything in it
-- however the process ends, SIGKILL included, and started programs are killed with the process too. Nothing is visible
-- in `ip netns` and no file is left. Devices are made with iproute2, which people can read and repeat by hand.
--
-- All of it raises an error when something fails, for a lab that is half there is of no use. All of it blocks the
-- thread while commands run: labs are made before the traffic, not by tasks in the middle of it.

local ffi = require "ffi"
local effi = require "etherlua.ffi"
local addr = require "etherlua.addr"
local gateway = require "etherlua.role.gateway"
local relay = require "etherlua.relay"
local sched = require "etherlua.sched"

local C = effi.C

local M = {}

local EPERM, ENOENT, EAGAIN, EACCES = 1, 2, 11, 13
local KILL, TERM = 9, 15
local STOP_GRACE = 0.7 -- seconds between TERM and KILL
local NAME_MAX = 15    -- IFNAMSIZ - 1

-- Level 0 where the message names the command or value: file and line of this module would only hide it.
local function fail(...)
  error(string.format(...), 0)
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function read_all(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- ---- started programs ----------------------------------------------------------------------------------------------

-- A program that was started in a namespace. It is over when `exit` is set.
---@class etherlua.process
---@field pid integer
---@field path? string of its log
---@field exit? integer exit status, 128 + number when a signal ended it
local process = {}
process.__index = process

-- Keeps the exit status, which the kernel tells only once. Helpers that it left in its session end with it: they would
-- keep the namespace alive and nobody would know of them.
local function take_status(self, status)
  if status == -EAGAIN then return nil end
  C.el_process_signal(self.pid, KILL)
  self.exit = status >= 0 and status or -1
  self.owner.processes[self] = nil
  return self.exit
end

---@return integer? exit status (128 + number when a signal ended it); nil while it runs
function process:status()
  return self.exit or take_status(self, C.el_process_status(self.pid))
end

-- Blocks the whole thread.
---@param timeout number seconds
---@return integer? exit status; nil when it still runs
function process:wait(timeout)
  return self.exit or take_status(self, C.el_process_wait(self.pid, timeout))
end

-- Ends it and those it has started, within a second: with KILL when the signal did not do.
---@param signal? integer number, default 15 (TERM)
---@return integer exit status
function process:stop(signal)
  if self:status() then return self.exit end
  C.el_process_signal(self.pid, signal or TERM)
  if self:wait(STOP_GRACE) then return self.exit end
  C.el_process_signal(self.pid, KILL)
  while not self:wait(1) do end
  return self.exit
end

---@return string text of its log file; empty when there is none
function process:log()
  return self.path and read_all(self.path) or ""
end

-- ---- namespaces ----------------------------------------------------------------------------------------------------

-- A network namespace.
---@class etherlua.namespace
---@field fd integer descriptor; close-on-exec
local namespace = {}
namespace.__index = namespace

local function wrap_namespace(fd, what)
  if fd < 0 then
    local advice = fd == -EPERM and "; root or a user namespace is needed (lab.root() makes one where it may)" or ""
    fail("cannot %s: %s%s", what, effi.reason(fd), advice)
  end
  return setmetatable({ fd = fd, processes = {} }, namespace)
end

local function leave(old, ok, ...)
  local err = C.el_netns_enter(old)
  C.el_fd_close(old)
  if err < 0 then fail("cannot go back to the old network namespace: %s", effi.reason(err)) end
  if not ok then error((...), 0) end
  return ...
end

local function check_open(self)
  if self.fd < 0 then fail("the lab namespace is closed") end
end

-- Runs fn inside the namespace, for things that belong to the namespace in which they were opened, such as a relay.
-- fn must not wait for anything (recv, sleep): other tasks would run in the wrong namespace meanwhile.
---@param fn function called with the other arguments
---@return any ... what fn returns
function namespace:enter(fn, ...)
  check_open(self)
  local old = C.el_netns_open(nil)
  if old < 0 then fail("cannot open the current network namespace: %s", effi.reason(old)) end
  local err = C.el_netns_enter(self.fd)
  if err < 0 then
    C.el_fd_close(old)
    fail("cannot enter the network namespace: %s", effi.reason(err))
  end
  return leave(old, pcall(fn, ...))
end

-- The status comes behind the output, because Lua 5.1's popen does not tell it. /sbin: ordinary users lack it in PATH.
local SHELL = 'PATH="$PATH:/usr/sbin:/sbin" sh -c %s </dev/null 2>&1; printf "\\n%%d" $?'

local function shell(command)
  local pipe = assert(io.popen(SHELL:format(quote(command)), "r"))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*)\n(%d+)$")
  return output or text, tonumber(status) or -1
end

-- Runs a shell command inside and waits for it. Commands that talk to a task of this process would wait for ever: those
-- have to be started with ns:start.
---@param command string
---@return string output both standard output and errors; raises an error with them when the exit status is not 0
function namespace:run(command)
  local output, status = self:enter(shell, command)
  if status ~= 0 then fail("command failed with status %d: %s\n%s", status, command, output) end
  return output
end

local function argv_of(list)
  local argv = ffi.new("const char *[?]", #list + 1)
  for i, word in ipairs(list) do argv[i - 1] = word end
  return argv
end

local function texts(list)
  local result = {}
  for i, word in ipairs(list) do result[i] = tostring(word) end
  return result
end

local function start_failure(program, code)
  -- EACCES is also what one gets for a program that is nowhere, when a folder of PATH may not be read.
  local reason = (code == -ENOENT or code == -EACCES) and "no such program in PATH, or it may not be executed"
    or effi.reason(code)
  fail("cannot start %q: %s", program, reason)
end

-- Here and not from the failed start, where it could not be told from a missing program.
local function check_log(path)
  local file, reason = io.open(path, "ab")
  if not file then fail("cannot write the log %s", reason) end
  file:close()
end

-- Starts a program inside; it is not a shell command. It is killed when this process ends, however that ends.
---@param list string[] program (looked up in PATH) and arguments
---@param opts? { log: string } log: file that gets its output and errors, appended (default: ours)
---@return etherlua.process
function namespace:start(list, opts)
  check_open(self)
  local words = texts(list)
  if #words == 0 then fail("cannot start an empty command: a list such as {\"dnsmasq\", \"--no-daemon\"} is needed") end
  local path = opts and opts.log
  if path then check_log(path) end
  local pid = C.el_process_start(argv_of(words), self.fd, path)
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

-- ---- making them ---------------------------------------------------------------------------------------------------

local COMMAND_NOT_FOUND = 127

-- A command of iproute2 or the like, with a word about the package when it is not installed.
local function configure(ns, command)
  local output, status = ns:enter(shell, command)
  if status == COMMAND_NOT_FOUND then
    local program = command:match("^%S+")
    fail("labs need the program %s (Debian package %s)", program, program == "ip" and "iproute2" or program)
  end
  if status ~= 0 then fail("command failed with status %d: %s\n%s", status, command, output) end
  return output
end

-- A new network namespace with nothing in it but loopback, which is up.
---@return etherlua.namespace
function M.namespace()
  local ns = wrap_namespace(C.el_netns_new(), "make a network namespace")
  local ok, reason = pcall(configure, ns, "ip link set lo up")
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
  local what = "open the network namespace " .. (name or "of this process")
  return wrap_namespace(C.el_netns_open(name and tostring(name)), what)
end

-- Not getpid: there is no such call in the ABI, and no need for one.
local function own_pid()
  return tonumber(read_all("/proc/self/stat"):match("^%d+"))
end

local function check_name(name)
  if type(name) ~= "string" or #name > NAME_MAX or not name:match("^[%w_][%w_.-]*$") then
    fail("bad interface name %q: up to %d letters, digits and any of _ . - are allowed", tostring(name), NAME_MAX)
  end
end

local function check_number(name, value, low)
  if value ~= nil and (type(value) ~= "number" or value < low or value ~= math.floor(value)) then
    fail("bad %s %s: a whole number from %d is needed", name, tostring(value), low)
  end
end

-- One end's part of `ip link add`.
local function link_words(name, mac, opts)
  local words = { "name", name }
  if mac then words[#words + 1] = "address " .. tostring(addr.mac(mac)) end
  if opts.mtu then words[#words + 1] = "mtu " .. opts.mtu end
  if opts.queues then words[#words + 1] = ("numtxqueues %d numrxqueues %d"):format(opts.queues, opts.queues) end
  return table.concat(words, " ")
end

-- Before the link is up, or the kernel's router solicitation and MLD reports would be the first frames on it.
local function silence(ns, name)
  ns:run(("f=/proc/sys/net/ipv6/conf/%s/disable_ipv6; [ ! -e $f ] || echo 1 >$f"):format(name))
end

local function bring_up(ns, name, opts)
  if opts.ipv6 ~= true then silence(ns, name) end
  if opts.checksum == false then configure(ns, ("ethtool -K %s tx off"):format(name)) end
  configure(ns, ("ip link set dev %s up"):format(name))
end

local UP_TRIES = 150 -- of 20 ms
local WAIT_UP = [[i=0; until ip link show dev %s | grep -q 'state UP'; do
  i=$((i + 1)); [ $i -lt %d ] || exit 1; sleep 0.02; done]]

---@class etherlua.veth_opts
---@field mtu? integer bytes, of both ends
---@field mac_a? string
---@field mac_b? string
---@field queues? integer receive and transmit queues of each end (default 1)
---@field ipv6? boolean true: the kernel's IPv6 stays on. Default: off, so that nothing is sent of its own accord
---@field checksum? boolean false: the kernel's own UDP and TCP leave with complete checksums (needs ethtool)

-- Joins two namespaces by a veth pair; both ends are up, with carrier, when it returns.
---@param ns_a etherlua.namespace
---@param name_a string
---@param ns_b etherlua.namespace
---@param name_b string
---@param opts? etherlua.veth_opts
function M.veth(ns_a, name_a, ns_b, name_b, opts)
  opts = opts or {}
  check_name(name_a)
  check_name(name_b)
  check_number("MTU", opts.mtu, 68)
  check_number("number of queues", opts.queues, 1)
  check_open(ns_b)
  -- By its path the namespace can be told to `ip` without giving it a name.
  configure(ns_a, ("ip link add %s type veth peer %s netns /proc/%d/fd/%d"):format(link_words(name_a, opts.mac_a, opts),
    link_words(name_b, opts.mac_b, opts), own_pid(), ns_b.fd))
  bring_up(ns_a, name_a, opts)
  bring_up(ns_b, name_b, opts)
  -- The kernel may tell of the carrier up to a second late, and servers refuse an interface that is not running yet.
  ns_a:run(WAIT_UP:format(name_a, UP_TRIES))
  ns_b:run(WAIT_UP:format(name_b, UP_TRIES))
end

-- ---- the lab -------------------------------------------------------------------------------------------------------

-- Two namespaces joined by a veth pair, interface "eth0" in both.
---@class etherlua.lab
---@field near etherlua.namespace where the script's relay is opened
---@field far etherlua.namespace where the access network is
local lab = {}
lab.__index = lab

-- Stops what was started in it and removes it.
function lab:close()
  if self.far then self.far:close() end
  if self.near then self.near:close() end
end

-- Opens a relay in the near namespace, where a script's relay belongs.
---@param kind? string relay kind, default "afpacket"
---@param opts? table relay options
---@return table relay
function lab:relay(kind, opts)
  return self.near:enter(relay.open, (kind or "afpacket") .. ":eth0", opts)
end

-- Runs the emulated access network in the far namespace, as a task that ends with the run: gateway 10.0.0.1 with DHCP,
-- ARP and ping on every VLAN stack.
---@param opts? table as dhcp4_server.new; pool, server and so on
---@return table gateway
function lab:serve(opts)
  opts = opts or { pool = "10.0.0.10-10.0.255.254" }
  self.gateway = gateway.new(self.far:enter(relay.open, "afpacket:eth0"), opts)
  sched.spawn_background(function() self.gateway:run() end)
  return self.gateway
end

---@class etherlua.lab_opts as those of lab.veth
---@field mtu? integer
---@field queues? integer
---@field near_mac? string
---@field far_mac? string
---@field ipv6? boolean
---@field checksum? boolean

---@param opts? etherlua.lab_opts
---@return etherlua.lab
function M.new(opts)
  opts = opts or {}
  local self = setmetatable({}, lab)
  local ok, reason = pcall(function()
    self.near, self.far = M.namespace(), M.namespace()
    M.veth(self.near, "eth0", self.far, "eth0", {
      mtu = opts.mtu, queues = opts.queues, mac_a = opts.near_mac, mac_b = opts.far_mac,
      ipv6 = opts.ipv6, checksum = opts.checksum,
    })
  end)
  if not ok then
    self:close()
    error(reason, 0)
  end
  return self
end

-- ---- the right to make them ----------------------------------------------------------------------------------------

local function setting(path)
  return tonumber(read_all("/proc/sys/" .. path) or "")
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
    .. "give the container CAP_SYS_ADMIN"):format(effi.reason(code))
end

local function may_make_namespaces()
  local fd = C.el_netns_new()
  if fd >= 0 then C.el_fd_close(fd) end
  return fd >= 0
end

local userns_error -- code of the one attempt

-- Makes sure that this process may create namespaces: as root nothing happens, another user's process moves into a user
-- namespace in which it is root, and from there sees none of the machine's interfaces. There is no way back from it,
-- and it has to be done before threads are started.
---@return boolean? true; or nil and what to do about it
---@return string? reason
function M.root()
  if may_make_namespaces() then return true end
  userns_error = userns_error or C.el_userns_enter()
  if userns_error == 0 and may_make_namespaces() then return true end
  return nil, "labs need network namespaces, which are not permitted: " .. refusal(userns_error)
end

return M
