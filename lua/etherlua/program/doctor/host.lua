-- host.lua: the doctor's checks of the machine and of this program's rights. M.checks is the list: a name, and a
-- function of the system (system.lua) that returns status, detail and the command that mends it; nothing at all when
-- there is nothing to say. A new check is a function and a line in the list.

local M = {}

-- ---- versions -----------------------------------------------------------------------------------------------------

-- First kernel that has it.
local FEATURES = { { 5, 4, "AF_XDP" }, { 5, 9, "XDP links" }, { 5, 11, "epoll_pwait2" } }

local function kernel(sys)
  local version = sys.release:match("^[%d.]+") or sys.release
  local major, minor = version:match("^(%d+)%.(%d+)")
  local here, missing = {}, {}
  for _, feature in ipairs(FEATURES) do
    local since, name = feature[1] * 1000 + feature[2], feature[3]
    local is_here = (tonumber(major) or 0) * 1000 + (tonumber(minor) or 0) >= since
    table.insert(is_here and here or missing, is_here and name or ("%s (%d.%d)"):format(name, feature[1], feature[2]))
  end
  if #missing == 0 then return "ok", ("kernel %s: %s"):format(version, table.concat(here, ", ")) end
  return "problem", ("kernel %s is too old for %s"):format(version, table.concat(missing, ", "))
end

local function luajit()
  if not jit.version:find("^LuaJIT 2%.1") then return "problem", jit.version .. ": LuaJIT 2.1 is needed" end
  if not jit.status() then return "problem", jit.version .. ": its compiler is off, scripts will be slow" end
  return "ok", jit.version .. ", compiler on"
end

local function architecture()
  if jit.arch == "x64" then return "ok", "architecture x86-64" end
  return "note", ("architecture %s: only x86-64 is tested"):format(jit.arch)
end

-- ---- capabilities -------------------------------------------------------------------------------------------------

local NEEDED = { "cap_net_raw", "cap_net_admin", "cap_bpf", "cap_ipc_lock", "cap_sys_admin" }

local function capabilities(sys)
  local names = {}
  for _, name in ipairs(NEEDED) do
    if sys:has(name) then names[#names + 1] = name:upper():gsub("^CAP_", "") end
  end
  if #names > 0 then return "ok", "capabilities: " .. table.concat(names, ", ") end
end

-- A check for one capability.
local function capability(name, status, loss)
  return function(sys)
    if sys:has(name) then return end
    return status, ("no %s: %s"):format(name:upper(), loss), status == "problem" and sys:grant(name) or nil
  end
end

-- Root in a user namespace has every capability, and BPF looks for those outside.
local function user_namespace(sys)
  if sys.in_userns then return "note", "in a user namespace: no xdp relays, whatever the capabilities say" end
end

-- ---- limits -------------------------------------------------------------------------------------------------------

local MIB = 1024 * 1024
local XDP_MEMORY = 32 -- MiB: 16384 frames of 2048 bytes, which is a relay's default

local function memlock(sys)
  local soft, hard = sys:limit("Max locked memory")
  local amount = soft == math.huge and "unlimited" or ("%d MB"):format(soft / MIB)
  if sys:has("cap_ipc_lock") then return "ok", "locked memory: as much as needed (CAP_IPC_LOCK)" end
  if soft >= XDP_MEMORY * MIB then return "ok", "locked memory: " .. amount end
  if sys:has("cap_sys_resource") or hard >= XDP_MEMORY * MIB then
    return "ok", ("locked memory: %s, which an xdp relay may raise"):format(amount)
  end
  return "problem", ("locked memory: %s, an xdp relay needs %d MB"):format(amount, XDP_MEMORY),
    sys:grant("cap_ipc_lock")
end

local FEW_FILES = 256 -- a relay with 64 queues, a lab and room for a script's own

local function open_files(sys)
  local soft, hard = sys:limit("Max open files")
  if soft >= FEW_FILES then return "ok", "open files: " .. (soft == math.huge and "unlimited" or soft) end
  local fix = hard >= FEW_FILES and "ulimit -n " .. FEW_FILES or sys:as_root("prlimit --pid $$ --nofile=1024")
  return "problem", ("open files: %d are few"):format(soft), fix
end

-- ---- BPF ----------------------------------------------------------------------------------------------------------

local function bpf_jit(sys)
  local value = sys:setting("net/core/bpf_jit_enable")
  if not value then return "note", "BPF compiler: only the first network namespace tells whether it is on" end
  if value > 0 then return "ok", "BPF compiler on" end
  return "problem", "BPF compiler off: xdp relays are slow", sys:as_root("sysctl net.core.bpf_jit_enable=1")
end

local function btf(sys)
  if sys.exists("/sys/kernel/btf/vmlinux") then return "ok", "BTF of the kernel present" end
  return "note", "no BTF of the kernel: not needed by etherlua's program, but other BPF tools want it"
end

local function bpf_files(sys)
  local mounted = (sys.read("/proc/mounts") or ""):find(" bpf ", 1, true)
  return "ok", "BPF file system " .. (mounted and "mounted" or "not mounted") .. ": not needed"
end

local function unprivileged_bpf(sys)
  if sys:has("cap_bpf") or sys:setting("kernel/unprivileged_bpf_disabled") == 0 then return end
  return "note", "unprivileged BPF is disabled, as is usual: xdp needs CAP_BPF in any case"
end

-- ---- labs ---------------------------------------------------------------------------------------------------------

local PROGRAMS = { { "ip", "iproute2" }, { "tc", "iproute2" }, { "ethtool", "ethtool" } } -- and Debian's packages

local function programs(sys)
  local missing, packages = {}, {}
  for _, one in ipairs(PROGRAMS) do
    if not sys:is_installed(one[1]) then
      missing[#missing + 1] = one[1]
      if packages[#packages] ~= one[2] then packages[#packages + 1] = one[2] end
    end
  end
  if #missing == 0 then return "ok", "programs: ip, tc, ethtool" end
  local install = sys:is_installed("apt-get") and "apt-get install " or "dnf install "
  return "problem", ("no %s: labs and this report want it"):format(table.concat(missing, ", no ")),
    sys:as_root(install .. table.concat(packages, " "))
end

-- Settings that keep ordinary users from user namespaces, the value that does, and the one that does not.
local REFUSALS = { { "kernel/unprivileged_userns_clone", 0, 1 }, { "user/max_user_namespaces", 0, 10000 },
  { "kernel/apparmor_restrict_unprivileged_userns", 1, 0 } }

local function labs(sys)
  if sys:has("cap_sys_admin") then return "ok", "labs and --netns: permitted" end
  if select(2, sys.output("unshare -Un true")) then return "ok", "labs: permitted, in a user namespace" end
  for _, one in ipairs(REFUSALS) do
    if sys:setting(one[1]) == one[2] then
      return "problem", "labs: user namespaces are not permitted to ordinary users",
        sys:as_root(("sysctl %s=%d"):format((one[1]:gsub("/", ".")), one[3]))
    end
  end
  if not sys:is_installed("unshare") then return "note", "labs: no program unshare to try a user namespace with" end
  return "problem", "labs: the kernel refuses a user namespace (a container's seccomp profile?)",
    "start the container with --cap-add=SYS_ADMIN"
end

-- ---- the list -----------------------------------------------------------------------------------------------------

M.checks = {
  { "kernel", kernel },
  { "luajit", luajit },
  { "architecture", architecture },
  { "capabilities", capabilities },
  { "cap_net_raw", capability("cap_net_raw", "problem", "no relay can be opened on an interface") },
  { "cap_net_admin", capability("cap_net_admin", "problem", "xdp relays will fail") },
  { "cap_bpf", capability("cap_bpf", "problem", "xdp relays will fail") },
  { "cap_sys_admin", capability("cap_sys_admin", "note", "--netns has to be run as root") },
  { "user_namespace", user_namespace },
  { "memlock", memlock },
  { "open_files", open_files },
  { "bpf_jit", bpf_jit },
  { "btf", btf },
  { "bpf_file_system", bpf_files },
  { "unprivileged_bpf", unprivileged_bpf },
  { "programs", programs },
  { "labs", labs },
}

return M
