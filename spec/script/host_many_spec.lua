-- The script host with 10,000 hosts, all of which the kernel reaches.
-- Runs alone: all namespaces share one table of neighbours, which has room for 1,024 by default.

local lab = require "etherlua.lab.lab"
local prefix = require "etherlua.net.prefix"
local program = require "support.program"
local root_it = require "support.root_it"
local shell = require "support.shell"

local COUNT, SLICE = 10000, 400

-- Pings all from the kernel, slice by slice. Returns those that did not answer.
local function unreached(net)
  local path, lost = os.tmpname(), {}
  for first = 0, COUNT - 1, SLICE do
    local file = assert(io.open(path, "w"))
    for i = first, math.min(first + SLICE, COUNT) - 1 do file:write(prefix.ip_add("10.7.1.1", i), "\n") end
    file:close()
    net.far:run("ip neigh flush all")
    local said = net.far:run(("fping -u -i 0.2 -r 4 -t 500 <%s 2>/dev/null || true"):format(path))
    for ip in said:gmatch "%S+" do lost[#lost + 1] = ip end
  end
  os.remove(path)
  return lost
end

for kind, define in pairs { afpacket = root_it, xdp = root_it.as_root } do
  define(("10,000 hosts over %s all answer the kernel's ARP and ping"):format(kind), function()
    if shell.missing "fping" then return pending(shell.missing "fping") end
    local net = lab.new { ipv6 = true }
    finally(function() net:close() end)
    net.far:run("ip addr add 10.7.0.1/16 dev eth0")
    local running = program.start(net.near, ("host -i %s:eth0 --json --count %d --ip 10.7.1.1/16"):format(kind, COUNT))
    running:wait_for '"event":"up"'
    assert.same({}, unreached(net))
    -- One beyond the last does not answer: the judge can say no.
    assert.is_false(pcall(net.far.run, net.far, "ping -c 1 -W 1 10.7.40.17"))
    local status, out = running:interrupt()
    assert.equal(0, status)
    local list = program.objects(out)
    local summary = list[#list]
    assert.is_true(summary.arp >= COUNT and summary.echo >= COUNT)
    assert.same({ COUNT, COUNT, 0, 0, 0 }, { summary.hosts, summary.ready, summary.duplicates, summary.rx_overflow,
      summary.rx_no_memory })
  end)
end
