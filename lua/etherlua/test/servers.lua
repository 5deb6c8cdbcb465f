-- test/servers.lua: real DHCP servers, relay agents and clients for tests, in lab namespaces: kea-dhcp4, dnsmasq, ISC
-- dhcrelay, busybox udhcpc and dhclient. They judge etherlua, so nothing here shares code with it but addresses.
--
-- Each started program has a private temporary folder for all of its files, and `stop` (of a client: `result`) removes
-- it. Nothing of the machine's own DHCP configuration, leases or logs is read or written. Needs root.

local cjson = require "cjson"
local addr = require "etherlua.net.addr"
local files = require "etherlua.core.files"
local options = require "etherlua.core.options"
local shell = require "etherlua.lab.shell"

local M = {}

local READY_TRIES, READY_STEP = 200, 0.05 -- 10 s

local function shell_line(command)
  local pipe = assert(io.popen(command, "r"))
  local line = pipe:read("*l")
  pipe:close()
  return line
end

local function new_folder()
  return assert(shell_line("mktemp -d"), "mktemp -d made no temporary folder")
end

local function remove_folder(folder)
  os.execute("rm -rf " .. files.quote(folder))
end

local function write_all(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function program_path(name)
  return shell_line(("%s; command -v %s"):format(shell.PATH, files.quote(name)))
end

-- Why these programs cannot be run here.
---@param ... string their names
---@return string? reason nil when they can
function M.missing(...)
  if shell_line("id -u") ~= "0" then return "needs root" end
  for _, name in ipairs { ... } do
    if not program_path(name) then return "needs the program " .. shell.with_package(name) end
  end
end

-- A copy of the program in its folder: AppArmor profiles go by path, and the distribution's would forbid the folder.
local function private_copy(name, folder)
  local path = assert(program_path(name), "needs the program " .. shell.with_package(name))
  local copy = folder .. "/" .. name
  assert(os.execute(("cp %s %s"):format(files.quote(path), files.quote(copy))) == 0, "cannot copy " .. path)
  return copy
end

local function append(list, more)
  for _, value in ipairs(more or {}) do list[#list + 1] = value end
  return list
end

local function merge(into, more)
  for key, value in pairs(more or {}) do into[key] = value end
  return into
end

local function list_of(x)
  return type(x) == "table" and x or { x }
end

-- ---- servers -------------------------------------------------------------------------------------------------------

---@class etherlua.test.server
---@field process etherlua.process
---@field folder string
local server = {}
server.__index = server

---@return string
function server:log()
  return self.last_log or self.process:log()
end

-- Ends it and removes its files; its log can still be read.
function server:stop()
  if self.last_log then return end
  self.process:stop()
  self.last_log = self.process:log()
  remove_folder(self.folder)
end

-- Waits for the end of its process; a task that is cancelled meanwhile leaves nothing of it.
local function wait_or_stop(self, seconds)
  local ok, ended = pcall(self.process.wait, self.process, seconds)
  if ok then return ended end
  self:stop()
  error(ended, 0)
end

-- Starts it and waits until its log has the line that says that it serves.
local function start_server(name, ns, folder, argv, ready, trouble)
  local self = setmetatable({ folder = folder }, server)
  local ok, reason = pcall(ns.start, ns, argv, { log = folder .. "/log" })
  if not ok then
    remove_folder(folder)
    error(reason, 0)
  end
  self.process = reason
  for _ = 1, READY_TRIES do
    local ended, log = wait_or_stop(self, READY_STEP), self:log()
    if log:find(trouble, 1, true) or ended then break end
    if log:find(ready, 1, true) then return self end
  end
  self:stop()
  error(("%s did not come up; its log:\n%s"):format(name, self:log()), 0)
end

---@class etherlua.test.server_opts
---@field iface? string default "eth0"
---@field address string of the server, with prefix length: "10.0.0.1/24"; the interface gets it
---@field pool string|string[] "10.0.0.10-10.0.0.250", or several
---@field lease_time? integer seconds, default 3600
---@field routers? string|string[] default the server
---@field dns? string|string[] default the server
---@field renew_time? integer T1, seconds (kea and dnsmasq: option 58)
---@field rebind_time? integer T2, seconds
---@field config? table kea: more of the section Dhcp4
---@field subnet? table kea: more of the subnet
---@field options? table[] kea: more option-data of the subnet
---@field args? string[] dnsmasq: more arguments

local function texts() return options.of_type("a text or a list of texts is needed", "string", "table") end
local function a_table(words) return options.of_type(words, "table") end

-- Either server is told all of it and takes what is its own, so that a test can try both.
local SERVER = { iface = options.text "eth0", address = options.text():needed(), pool = texts():needed(),
  lease_time = options.whole(1, 0xffffffff, 3600), routers = texts(), dns = texts(), renew_time = options.whole(0),
  rebind_time = options.whole(0), config = a_table "a table is needed", subnet = a_table "a table is needed",
  options = a_table "a list of option-data is needed", args = a_table "a list of arguments is needed" }
local KEA, DNSMASQ = options.new("kea", SERVER), options.new("dnsmasq", SERVER)

local function with_defaults(known, given)
  local opts = known:read(given)
  local ip = opts.address:match("^[^/]+")
  opts.routers, opts.dns = opts.routers or ip, opts.dns or ip
  return opts
end

local function configure_interface(ns, opts)
  ns:run(("ip addr replace %s brd + dev %s"):format(files.quote(opts.address), files.quote(opts.iface)))
end

-- "10.0.0.1/24" -> "10.0.0.0/24"
local function network_of(address)
  local ip, length = address:match("^(.+)/(%d+)$")
  local size = 2 ^ (32 - tonumber(length))
  local number = addr.ip4_number(ip)
  return ("%s/%s"):format(addr.ip4_text(number - number % size), length)
end

local function kea_subnet(opts)
  local pools = {}
  for i, pool in ipairs(list_of(opts.pool)) do pools[i] = { pool = pool } end
  return merge({
    id = 1, subnet = network_of(opts.address), interface = opts.iface, pools = pools,
    ["option-data"] = append({
      { name = "routers", data = table.concat(list_of(opts.routers), ",") },
      { name = "domain-name-servers", data = table.concat(list_of(opts.dns), ",") },
    }, opts.options),
  }, opts.subnet)
end

local function kea_config(opts)
  return cjson.encode { Dhcp4 = merge({
    ["interfaces-config"] = { interfaces = { opts.iface }, ["dhcp-socket-type"] = "raw" },
    ["lease-database"] = { type = "memfile", persist = false },
    ["valid-lifetime"] = opts.lease_time,
    ["renew-timer"] = opts.renew_time, ["rebind-timer"] = opts.rebind_time,
    authoritative = true,
    subnet4 = { kea_subnet(opts) },
    loggers = { { name = "kea-dhcp4", severity = "INFO", output_options = { { output = "stdout", flush = true } } } },
  }, opts.config) }
end

---@param ns etherlua.namespace
---@param opts etherlua.test.server_opts
---@return etherlua.test.server
function M.kea(ns, opts)
  opts = with_defaults(KEA, opts)
  configure_interface(ns, opts)
  local folder = new_folder()
  local config = folder .. "/kea.json"
  write_all(config, kea_config(opts))
  local argv = { "env" }
  for _, name in ipairs { "PIDFILE_DIR", "LOCKFILE_DIR", "DHCP_DATA_DIR" } do
    argv[#argv + 1] = ("KEA_%s=%s"):format(name, folder)
  end
  append(argv, { "KEA_LOGGER_DESTINATION=stdout", private_copy("kea-dhcp4", folder), "-c", config })
  return start_server("kea", ns, folder, argv, "DHCP4_STARTED", "DHCPSRV_OPEN_SOCKET_FAIL")
end

local function dnsmasq_options(opts)
  local argv = {}
  for _, pool in ipairs(list_of(opts.pool)) do
    argv[#argv + 1] = ("--dhcp-range=%s,%d"):format(pool:gsub("%s*%-%s*", ","), opts.lease_time)
  end
  argv[#argv + 1] = "--dhcp-option=option:router," .. table.concat(list_of(opts.routers), ",")
  argv[#argv + 1] = "--dhcp-option=option:dns-server," .. table.concat(list_of(opts.dns), ",")
  if opts.renew_time then argv[#argv + 1] = "--dhcp-option=option:T1," .. opts.renew_time end
  if opts.rebind_time then argv[#argv + 1] = "--dhcp-option=option:T2," .. opts.rebind_time end
  return append(argv, opts.args)
end

---@param ns etherlua.namespace
---@param opts etherlua.test.server_opts
---@return etherlua.test.server
function M.dnsmasq(ns, opts)
  opts = with_defaults(DNSMASQ, opts)
  configure_interface(ns, opts)
  local folder = new_folder()
  -- user=root: a change of user would undo the kernel's promise to kill it with us (prctl(2), PR_SET_PDEATHSIG).
  local argv = append({
    "dnsmasq", "--no-daemon", "--user=root", "--conf-file=/dev/null", "--port=0", "--no-resolv", "--no-hosts",
    "--interface=" .. opts.iface, "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--log-dhcp",
    "--dhcp-lease-max=1000000", "--dhcp-leasefile=" .. folder .. "/leases",
  }, dnsmasq_options(opts))
  return start_server("dnsmasq", ns, folder, argv, "sockets bound exclusively", "failed to")
end

---@class etherlua.test.dhcrelay_opts
---@field down string interface of the clients; it has to have an address already
---@field up string interface of the server
---@field server string its address
---@field args? string[] more arguments; default { "-a" }: it adds option 82

local DHCRELAY = options.new("dhcrelay", { down = options.text():needed(), up = options.text():needed(),
  server = options.text():needed(), args = a_table "a list of arguments is needed" })

-- ISC dhcrelay, a DHCP relay agent.
---@param ns etherlua.namespace
---@param given etherlua.test.dhcrelay_opts
---@return etherlua.test.server
function M.dhcrelay(ns, given)
  local opts = DHCRELAY:read(given)
  local folder = new_folder()
  local argv = append({ private_copy("dhcrelay", folder), "-4", "-d", "--no-pid" }, opts.args or { "-a" })
  append(argv, { "-id", opts.down, "-iu", opts.up, opts.server })
  return start_server("dhcrelay", ns, folder, argv, "Socket/fallback", "exiting.")
end

-- ---- clients -------------------------------------------------------------------------------------------------------

-- A client that was started: it writes what its script is told to the file `env` once it has a lease.
---@class etherlua.test.client
---@field process etherlua.process
---@field folder string
local client = {}
client.__index = client

---@return boolean over it has a lease, or has given up
function client:done()
  return self.process:status() ~= nil or files.read(self.folder .. "/env") ~= nil
end

---@return table<string, string>? environment of its script
local function script_environment(folder)
  local text = files.read(folder .. "/env")
  if not text then return nil end
  local env = {}
  for name, value in text:gmatch("([%w_]+)=([^\n]*)\n") do env[name] = value end
  return env
end

-- Ends it and removes its files.
function client:stop()
  self.process:stop()
  remove_folder(self.folder)
end

-- Waits until it is done, ends it and removes its files.
---@param timeout? number seconds, default 20; 0 takes what is there
---@return table? lease ip, subnet, router, dns, lease (seconds, a number), serverid, and env with all it was told
---@return string? log when there is no lease
function client:result(timeout)
  for _ = 1, (timeout or 20) / READY_STEP do
    if self:done() then break end
    wait_or_stop(self, READY_STEP)
  end
  self.process:stop()
  local env, log = script_environment(self.folder), self.process:log()
  remove_folder(self.folder)
  if not env then return nil, log end
  local lease = { env = env }
  for name, variable in pairs(self.names) do lease[name] = env[variable] end
  lease.lease, lease.mask = tonumber(lease.lease), tonumber(lease.mask)
  return lease
end

-- Written beside and renamed, so that a file that is there is complete.
local SCRIPT = [[#!/bin/sh
case "%s" in
bound|renew|BOUND|RENEW|REBIND) cd %s && env >env.new && mv env.new env ;;
esac
exit 0
]]

local function start_client(ns, folder, argv, event, names)
  local script = folder .. "/script"
  write_all(script, SCRIPT:format(event, files.quote(folder)))
  os.execute("chmod 755 " .. files.quote(script))
  local ok, started = pcall(ns.start, ns, argv, { log = folder .. "/log" })
  if not ok then
    remove_folder(folder)
    error(started, 0)
  end
  return setmetatable({ folder = folder, process = started, names = names }, client)
end

local UDHCPC_NAMES = {
  ip = "ip", mask = "mask", subnet = "subnet", router = "router", dns = "dns", lease = "lease", serverid = "serverid",
}

---@class etherlua.test.client_opts
---@field iface? string default "eth0"
---@field args? string[] more arguments

local CLIENT = options.new("a DHCP client program", { iface = options.text "eth0",
  args = a_table "a list of arguments is needed" })

-- Starts busybox udhcpc, which tries for about ten seconds. The interface is not given the address.
---@param ns etherlua.namespace
---@param given? etherlua.test.client_opts
---@return etherlua.test.client
function M.udhcpc_start(ns, given)
  local opts = CLIENT:read(given)
  local folder = new_folder()
  local argv = append({
    "busybox", "udhcpc", "-q", "-n", "-f", "-t", "10", "-T", "1", "-A", "1", "-i", opts.iface,
    "-s", folder .. "/script",
  }, opts.args)
  return start_client(ns, folder, argv, "$1", UDHCPC_NAMES)
end

-- Runs busybox udhcpc to its end; blocks the task.
---@param ns etherlua.namespace
---@param opts? etherlua.test.client_opts
---@return table? lease
---@return string? log as of client:result
function M.udhcpc(ns, opts)
  return M.udhcpc_start(ns, opts):result()
end

local DHCLIENT_NAMES = {
  ip = "new_ip_address", subnet = "new_subnet_mask", router = "new_routers", dns = "new_domain_name_servers",
  lease = "new_dhcp_lease_time", serverid = "new_dhcp_server_identifier",
}

-- Starts ISC dhclient, which tries for about ten seconds. The interface is not given the address.
---@param ns etherlua.namespace
---@param given? etherlua.test.client_opts
---@return etherlua.test.client
function M.dhclient_start(ns, given)
  local opts = CLIENT:read(given)
  local folder = new_folder()
  write_all(folder .. "/conf", "timeout 10;\ninitial-interval 1;\n")
  local argv = append({
    private_copy("dhclient", folder), "-4", "-d", "-1", "-v", "-cf", folder .. "/conf", "-lf", folder .. "/leases",
    "-pf", folder .. "/pid", "-sf", folder .. "/script",
  }, opts.args)
  argv[#argv + 1] = opts.iface
  return start_client(ns, folder, argv, "$reason", DHCLIENT_NAMES)
end

-- Runs ISC dhclient to its end; blocks the task.
---@param ns etherlua.namespace
---@param opts? etherlua.test.client_opts
---@return table? lease
---@return string? log as of client:result
function M.dhclient(ns, opts)
  return M.dhclient_start(ns, opts):result()
end

return M
