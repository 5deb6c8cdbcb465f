-- xdp.lua: what the specs of xdp relays share: labs, programs beside them, and what the kernel knows of BPF.

local ether = require "etherlua"
local ffi = require "ffi"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local sched = require "etherlua.core.sched"
local shell = require "support.shell"
local eventually = require("support.wait").eventually

local M = {}

-- Asks the kernel whether a program or map still exists: libbpf's own calls.
ffi.cdef "int bpf_prog_get_fd_by_id(uint32_t id); int bpf_map_get_fd_by_id(uint32_t id); int close(int fd);"
local bpf = ffi.load "libbpf.so.1"

local function exists(id, get)
  local fd = get(id)
  if fd >= 0 then ffi.C.close(fd) end
  return fd >= 0
end

function M.open(ns, opts)
  return ns:enter(ether.open, "xdp:eth0", opts)
end

-- The words in front of a program with a file of this folder, in C, preloaded.
---@param name string
---@return string[]
function M.preloaded(name)
  local shim = os.tmpname()
  shell.output_of(("%s -shared -fPIC -o %s spec/support/%s.c"):format(os.getenv "CC" or "cc", shim, name))
  sched.close_at_end { close = function() os.remove(shim) end }
  return { "env", ("LD_PRELOAD=%s %s"):format(os.getenv "SANITIZER" or "", shim) }
end

-- The words in front of a program that is to run a command behind each call that switches an offload: after_ioctl.c.
---@param command string
---@return string[]
function M.after_ioctl(command)
  local words = M.preloaded "after_ioctl"
  words[#words + 1] = "AFTER_IOCTL=unset LD_PRELOAD; " .. command -- a sanitizer is not for what it starts
  return words
end

-- Waits for a program without keeping the tasks from running; returns its exit status.
function M.outcome(process)
  eventually(function() return process:status() end)
  return process:status()
end

function M.numbered(i) return frames.udp { payload = ("%06d"):format(i) } end
function M.number_in(packet) return tonumber(packet:sub(29)) end

-- All numbers that wait or are still under way, in the order in which they came.
function M.numbers(conn)
  local list = {}
  for packet in function() return (conn:recv(0.2)) end do list[#list + 1] = M.number_in(packet) end
  return list
end

-- `count` pings from the near kernel to the far one, which is at 10.0.0.2.
function M.ping(l, count)
  local command = ("exec busybox ping -q -c %d -i 0.1 -W 1 10.0.0.2 >/dev/null"):format(count)
  return l.near:start { "sh", "-c", command }
end

function M.one_to(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

function M.mac(i)
  return ("02:10:%02x:%02x:%02x:01"):format(math.floor(i / 65536) % 256, math.floor(i / 256) % 256, i % 256)
end

function M.give_addresses(l)
  l.near:run("ip addr add 10.0.0.1/24 dev eth0")
  l.far:run("ip addr add 10.0.0.2/24 dev eth0")
end

-- Datagrams that the near kernel sends to 10.0.0.9, which is at MAC address B; each is a flow of its own, and so they
-- are spread over the queues.
function M.send_flows(ns, count)
  ns:run("ip addr add 10.0.0.1/24 dev eth0; ip neigh replace 10.0.0.9 lladdr " .. frames.MAC_B .. " dev eth0")
  local loop = "for i in {1..%d}; do echo $i >/dev/udp/10.0.0.9/$((1000 + i)); done"
  return ns:start { "bash", "-c", loop:format(count) }
end

-- Frames that the program was shown and redirected on each queue.
function M.queue_counters(ns)
  local shown, redirected = {}, {}
  for name, value in ns:run("ethtool -S eth0"):gmatch("rx_queue_(%d_xdp_%a+): (%d+)") do
    local queue, what = name:match("(%d)_xdp_(%a+)")
    local list = what == "packets" and shown or what == "redirect" and redirected
    if list then list[queue + 1] = tonumber(value) end
  end
  return shown, redirected
end

function M.xdp_words(ns) return ns:run("ip -d link show eth0"):match("xdp[^\n]*") end
function M.promiscuity(ns) return ns:run("ip -d link show eth0"):match("promiscuity (%d)") end

function M.rxvlan(ns) return ns:run("ethtool -k eth0"):match("rx%-vlan%-offload: (%a+)") end

-- What the process has of BPF: how many file descriptors of each kind, and the numbers of programs and maps.
function M.bpf_objects(pid)
  local pipe = assert(io.popen(("ls -l /proc/%d/fd; cat /proc/%d/fdinfo/* 2>/dev/null"):format(pid, pid)))
  local text = pipe:read("*a")
  pipe:close()
  local found = { kinds = {}, programs = {}, maps = {} }
  for name in text:gmatch("anon_inode:%[?(bpf[%w_-]+)") do found.kinds[name] = (found.kinds[name] or 0) + 1 end
  for id in text:gmatch("prog_id:%s*(%d+)") do found.programs[#found.programs + 1] = tonumber(id) end
  for id in text:gmatch("map_id:%s*(%d+)") do found.maps[#found.maps + 1] = tonumber(id) end
  return found
end

function M.own_pid()
  local file = assert(io.open("/proc/self/stat"))
  local pid = file:read("*n")
  file:close()
  return pid
end

-- Whether the kernel has a program with this number.
function M.program_exists(id)
  return exists(id, bpf.bpf_prog_get_fd_by_id)
end

-- The kernel frees programs and maps a moment after their last user has gone.
function M.all_gone(found)
  return eventually(function()
    for _, id in ipairs(found.programs) do
      if M.program_exists(id) then return false end
    end
    for _, id in ipairs(found.maps) do
      if exists(id, bpf.bpf_map_get_fd_by_id) then return false end
    end
    return true
  end)
end

-- fn(lab) as a task, with a lab of its own.
function M.lab_it(name, opts, fn)
  local words = getfenv(2)
  words.it(name, function()
    local possible, reason = lab.root()
    if not possible then return words.pending(reason) end
    local l = kinds.new_lab(opts)
    words.finally(function() l:close() end)
    kinds.run(fn, l)
  end)
end

return M
