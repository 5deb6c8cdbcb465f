-- scan.lua: how long it takes to find all hosts of a /16 that are there, from the start of the program to its end:
-- arp_scan beside arp-scan, which ask for each by ARP, and ping_sweep beside fping, which ping each, by a router. The
-- floors are these programs, not of ours. The other end is the kernel itself (floor/everybody.bpf.c).

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local ether = require "etherlua"
local files = require "etherlua.core.files"
local script = require "etherlua.script"

local TARGETS, COUNT = "10.0.0.0/16", 65534
local GOAL = bench.at_most(1)

local opts = script.parse(bench.parser("scan", "Measure scans of very many addresses."), arg)
local net = bench.lab { everybody = true }
net.near:configure "ip addr add 10.255.0.1/15 dev eth0 && ip route add 10.0.0.0/16 via 10.254.0.1"

local OURS = "%s run %s -i %s:eth0 --rate 1e9 --retry 0 %s %s"

-- Seconds for a command of a shell, pinned, that has to print so many lines of hosts.
local function time(command, found)
  local path = os.tmpname()
  local start = ether.now()
  net.near:run(("taskset -c 0 sh -c %s >%s 2>&1; :"):format(files.quote(command), path))
  local seconds, _, count = ether.now() - start, files.read(path):gsub(found, "")
  os.remove(path)
  if count ~= COUNT then error(("%d of %d hosts found by: %s"):format(count, COUNT, command), 0) end
  return { seconds = seconds }
end

local CASES = {
  { "ARP scan", "arp_scan", "", "\n10%.%d+%.%d+%.%d+ +02:",
    "arp-scan -I eth0 -g -B 1000M -r 1 10.0.0.1-10.0.255.254", "\n10%.%d+%.%d+%.%d+\t02:", "arp-scan" },
  { "ping sweep", "ping_sweep", "--ip 10.255.0.2/15 --gateway 10.254.0.1", "\n10%.%d+%.%d+%.%d+ +%d+%.%d+ ms",
    "fping -a -r 0 -i 0.01 -t 500 -g " .. TARGETS, "10%.%d+%.%d+%.%d+\n", "fping" },
}

for _, case in ipairs(CASES) do
  local name, script_name, more, found, theirs, theirs_found, tool = unpack(case)
  for _, kind in ipairs(bench.kinds(opts, "afpacket")) do
    bench.case(opts, { case = ("%s of a /16, %s"):format(name, kind), unit = "s", goal = GOAL }, function()
      if os.execute(("command -v %s >/dev/null"):format(tool)) ~= 0 then error("needs the program " .. tool, 0) end
      local command = OURS:format(files.quote(bench.program()),
        files.quote(("%s../%s.lua"):format(bench.folder, script_name)), kind, more, TARGETS)
      local rounds = bench.rounds(opts, function() return time(command, found) end, function()
        return time(theirs, theirs_found)
      end)
      local result = bench.summary(rounds, "seconds")
      result.note = "the floor is " .. tool
      return result
    end)
  end
end
