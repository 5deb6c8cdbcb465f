-- system.lua: what the doctor's checks ask: files of /proc, programs, the process's rights, and how a command that
-- mends something has to be written here. Nothing of it changes anything. Checks get it as an argument, so that a test
-- can hand them another machine.

local files = require "etherlua.core.files"
local shell = require "etherlua.lab.shell"

local M = {}

---@class etherlua.system
---@field euid integer
---@field netns? string what --netns named
local system = {}
system.__index = system

-- Numbers of capabilities(7).
local CAPABILITIES = { cap_net_admin = 12, cap_net_raw = 13, cap_ipc_lock = 14, cap_sys_admin = 21,
  cap_sys_resource = 24, cap_bpf = 39 }
local ALL_USERS = 4294967295 -- length of the id map outside of user namespaces

-- What the programs that open interfaces need. SYS_ADMIN is not among them: only --netns and labs use it.
local FOR_RELAYS = "cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep"

system.read = files.read

---@param path string
---@return boolean
function system.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- The number that a file below /proc/sys holds.
---@param name string such as "net/core/bpf_jit_enable"
---@return number?
function system:setting(name)
  return tonumber(self.read("/proc/sys/" .. name) or "")
end

function system.quote(text)
  return text:find("^[%w_./:@%%+-]+$") and text or files.quote(text)
end

-- Runs a shell command that only looks.
---@param command string
---@return string output of standard output alone
---@return boolean done whether its exit status was 0
function system.output(command)
  local pipe = io.popen(('%s; { %s; } </dev/null 2>/dev/null; printf "\\n$?"'):format(shell.PATH, command), "r")
  if not pipe then return "", false end -- no shell
  local output, status = pipe:read("*a"):match("^(.*)\n(%d+)$")
  pipe:close()
  return output or "", status == "0"
end

function system:is_installed(program)
  return select(2, self.output("command -v " .. files.quote(program)))
end

-- ---- rights -------------------------------------------------------------------------------------------------------

local function has_bit(set, number)
  return math.floor(set / 2 ^ number) % 2 == 1
end

-- Whether the process may use the capability. CAP_SYS_ADMIN is the kernel's older word for CAP_BPF.
---@param name string "cap_net_raw"
function system:has(name)
  if has_bit(self.effective, CAPABILITIES[name]) then return true end
  return name == "cap_bpf" and has_bit(self.effective, CAPABILITIES.cap_sys_admin)
end

-- How to get it: a capability that is not even in the bounding set is withheld by a container.
---@param name string
---@return string
function system:grant(name)
  if not has_bit(self.bounding, CAPABILITIES[name]) then
    return "start the container with --cap-add=" .. name:upper():gsub("^CAP_", "")
  end
  return self:as_root(("setcap %s %s"):format(FOR_RELAYS, self.quote(self.program)))
end

---@param command string
---@return string
function system:as_root(command)
  return (self.euid == 0 and "" or "sudo ") .. command
end

-- A command about an interface, which has to be run in the namespace that --netns names.
---@param command string
---@return string
function system:in_netns(command)
  local name = self.netns
  if not name then return self:as_root(command) end
  if name:find("^%d+$") then name = ("/proc/%s/ns/net"):format(name) end
  local enter = name:find("/", 1, true) and "nsenter --net=" or "ip netns exec "
  return self:as_root(enter .. self.quote(name) .. " " .. command)
end

-- ---- the machine --------------------------------------------------------------------------------------------------

-- Soft and hard limit of /proc/self/limits, unlimited is math.huge.
---@param name string "Max open files"
---@return number soft
---@return number hard
function system:limit(name)
  local soft, hard = self.limits:match(name .. "%s+(%S+)%s+(%S+)")
  return tonumber(soft) or math.huge, tonumber(hard) or math.huge
end

-- Of this program. From the memory map, because a program with capabilities on its file is not let into /proc/PID/exe
-- of its parent, and we have no readlink of our own: what is mapped lowest is the program itself.
local function program_path()
  return (system.read("/proc/self/maps") or ""):match("(/[^\n]+)") or "etherlua"
end

M.output = system.output

---@param netns? string what --netns named
---@return etherlua.system
function M.new(netns)
  local status = system.read("/proc/self/status") or ""
  local function hex(name) return tonumber(status:match(name .. ":%s*(%x+)") or "0", 16) end
  return setmetatable({
    netns = netns,
    euid = tonumber(status:match("Uid:%s*%d+%s+(%d+)")),
    effective = hex("CapEff"),
    bounding = hex("CapBnd"),
    in_userns = tonumber((system.read("/proc/self/uid_map") or ""):match("(%d+)%s*$")) ~= ALL_USERS,
    limits = system.read("/proc/self/limits") or "",
    release = (system.read("/proc/sys/kernel/osrelease") or "unknown"):match("%S+"),
    program = program_path(),
  }, system)
end

return M
