-- faults.lua: what breaks, and what is to become of the program: see world.lua.

local lab = require "etherlua.lab.lab"
local machine = require "faults.machine"
local wait = require "support.wait"

local M = {}

local KILL, STOP, CONT = 9, 19, 18

local function sleep(seconds) os.execute("sleep " .. seconds) end

-- Sets eth0 down and up again, ten times a second.
local function flap(ns)
  for _ = 1, 8 do
    ns:run "ip link set eth0 down; sleep 0.05; ip link set eth0 up; sleep 0.05"
  end
end

local function near(...)
  local commands = { ... }
  return function(_, net)
    for _, command in ipairs(commands) do
      net.near:run(command)
      sleep(0.1)
    end
  end
end

-- ---- the interface --------------------------------------------------------------------------------------------------

-- steps: milliseconds of load at the least. disturb(world, net, program): what happens meanwhile. after(world): what is
-- left elsewhere.
M.LINK = {
  { name = "link down and up at 10 Hz", steps = 1200, disturb = function(_, net) flap(net.near) end },
  { name = "the other end down and up at 10 Hz", steps = 1200, disturb = function(_, net) flap(net.far) end },
  { name = "stopped while it is flooded", steps = 1500, disturb = function(_, net, one)
    one:signal(STOP)
    net.far:start({ machine.PATH, "run", "-i", "eth0", "spec/faults/echo.lua", 30000 }):wait(20)
    one:signal(CONT)
  end },
  { name = "flooded", steps = 2000, disturb = function(_, net)
    net.far:start({ machine.PATH, "run", "-i", "eth0", "spec/faults/echo.lua", 200000 }):wait(20)
  end },
  { name = "interface renamed", steps = 300, disturb = near("ip link set eth0 name eth7",
    "ip link set eth7 name eth0") },
  { name = "MTU changed", steps = 500, disturb = near("ip link set eth0 mtu 576", "ip link set eth0 mtu 2000",
    "ip link set eth0 mtu 1500") },
  { name = "MAC address changed", steps = 300, disturb = near(
    "own=$(ip -br link show eth0 | tr -s ' ' | cut -d' ' -f3); ip link set eth0 address 02:00:00:00:00:aa; sleep 0.1; "
    .. "ip link set eth0 address $own") },
  { name = "peer killed, and back", steps = 1000, disturb = function(world, net)
    world.echo:stop(KILL)
    sleep(0.1)
    world.start_echo(net)
  end },
  { name = "interface deleted", steps = 5000, ends = "interface gone", disturb = near "ip link del eth0" },
  { name = "interface moved to another namespace", steps = 5000, ends = "interface gone",
    disturb = function(world, net)
      world.other = lab.namespace()
      world.other:start { "sleep", "100" } -- a namespace without a process, and without a name, nobody finds
      net.near:run("ip link set eth0 netns " .. world.other:path())
    end,
    after = function(world)
      local text
      local is_clean = wait.eventually(function()
        text = world.other:run "ip -d link show eth0; ethtool -k eth0"
        return text:find "promiscuity 0 " and text:find "rx%-vlan%-offload: on" and not text:find "xdp"
      end, 1)
      world.other:close()
      return not is_clean and "in the other namespace: " .. text:match "[^\n]+" or nil
    end },
}

-- ---- the machine ----------------------------------------------------------------------------------------------------

-- prefix: words in front of the program's. before: shell text that sets the stage. redirect: behind the words.
local LAB = { name = "lab", machine.PATH, "run", "spec/faults/subject.lua", "lab", "-", 80, 10 }
local PING = { name = "ping", machine.PATH, "run", "ping", "--lab", "--count", 5, "--interval", 0.02, "10.0.0.1" }
local PROMPT = { name = "prompt", machine.PATH, "repl", "--lab", redirect = "<spec/faults/typed.txt",
  talks = true } -- a line that fails says where
local DHCP = { name = "dhcp4_client", machine.PATH, "run", "dhcp4_client", "--lab", "--json" }

M.PROGRAMS = { LAB, PROMPT }

local SANITIZER = os.getenv "SANITIZER"

local SMALL = "mkdir /tmp/small && mount -t tmpfs -o size=64k none /tmp/small &&"

M.MACHINE = {
  { name = "disk full under a capture", before = SMALL, capture = "/tmp/small/x.pcap", steps = 200,
    says = "capture to .* stopped: No space left", kinds_only = true },
  { name = "clock of the wall stepped", prefix = { "env", ("LD_PRELOAD=%s build/faults/clock.so")
    :format(SANITIZER or ""), "FAULTS_CLOCK=1" },
    steps = 200, kinds_only = true },
  { name = "no /sys", before = "mount -t tmpfs none /sys &&", may_end = true },
  { name = "no bpffs", before = "{ ! [ -d /sys/fs/bpf ] || mount -t tmpfs none /sys/fs/bpf; } &&" },
}

if not SANITIZER then -- they read there, and take all addresses
  M.MACHINE[#M.MACHINE + 1] = { name = "no /proc", before = "mount -t tmpfs none /proc &&", may_end = true }
  for _, mega in ipairs { 20, 40, 60, 80, 120, 200 } do -- of addresses
    M.MACHINE[#M.MACHINE + 1] = { name = mega .. " MB of memory", may_end = true,
      prefix = { "prlimit", ("--as=%d"):format(mega * 2 ^ 20) } }
  end
end
for _, count in ipairs { 8, 12, 16, 20 } do -- with 10, or less than 5, not even a shell works
  M.MACHINE[#M.MACHINE + 1] = { name = count .. " file descriptors", prefix = { "prlimit", "--nofile=" .. count },
    may_end = true }
end
for _, one in ipairs { { "standard output full", ">/dev/full" }, { "standard output closed", ">&-" },
  { "reader of standard output gone", "| true" }, { "all standard files closed", "<&- >&- 2>&-" } } do
  M.MACHINE[#M.MACHINE + 1] = { name = one[1], redirect = one[2], may_end = true, silent = true,
    programs = { LAB, PING, PROMPT, DHCP }, mute = one[2]:find "2>&-" ~= nil }
end

return M
