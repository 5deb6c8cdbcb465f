-- The scripts that share their work among ranks: each rank does its part, with addresses of its own, and rank 0 tells
-- of all together, as if one process had done it.

local access = require "etherlua.lab.access"
local cjson = require "cjson"
local ether = require "etherlua"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local program = require "support.program"
local root_it = require "support.root_it"
local shell = require "support.shell"
local terminal = require "support.terminal"

local RANKS = 4

-- Lets the gateway serve until so many objects were printed.
local function wait_for_objects(process, log, count)
  while not process:status() and select(2, files.read_all(log):gsub("}\n", "")) < count do ether.sleep(0.05) end
end

-- Runs words to their end where our gateway serves at the far end. Returns the objects printed, the last one apart, the
-- status, and what the gateway has counted. enough: Ctrl-C comes when there are so many objects.
local function beside_gateway(words, enough)
  local net, log = shell.keep(lab.new()), os.tmpname()
  local status, counted
  ether.run(function()
    local gateway = access.serve(net.far:enter(ether.open, "eth0"))
    local process = net.near:start(words, { log = log })
    if enough then
      wait_for_objects(process, log, enough)
      os.execute("kill -INT " .. process.pid)
    end
    status = process:wait(60)
    counted = gateway:summary()
  end)
  local text = files.read_all(log)
  os.remove(log)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local ok, value = pcall(cjson.decode, line)
    if ok then list[#list + 1] = value elseif not line:find "^%[mpiexec" then error(text) end
  end
  return table.remove(list), list, status, counted
end

local STARTED_BY = {
  etherlua = { program.PATH, "run", "--ranks", RANKS },
  ["mpiexec.hydra"] = { "mpiexec.hydra", "-n", RANKS, program.PATH, "run" },
}

local function as_ranks(script, arguments, starter)
  local words = { unpack(STARTED_BY[starter or "etherlua"]) }
  for word in ("%s -i eth0 --json %s"):format(script, arguments):gmatch "%S+" do words[#words + 1] = word end
  return words
end

-- How many different values there are of fn(object).
local function different(list, fn)
  local seen, count = {}, 0
  for _, one in ipairs(list) do
    local value = fn(one)
    if value ~= nil and not seen[value] then seen[value], count = true, count + 1 end
  end
  return count
end

describe("as ranks", function()
  after_each(shell.close_all)

  for starter in pairs(STARTED_BY) do
    local function started_it(name, fn)
      root_it(("%s, started by %s"):format(name, starter), function()
        local missing = starter ~= "etherlua" and shell.missing(starter)
        if missing then return pending(missing) end
        fn()
      end)
    end

    started_it("dhcp4_load gives one exact report", function()
      local said, others, status, server = beside_gateway(as_ranks("dhcp4_load", "--clients 1000", starter))
      assert.same({ 0, 0, 1000, 1000, 0, 0, 1000 }, { status, #others, said.clients, said.bound, said.failed,
        said.unfinished, said.dora_ms.count })
      assert.same({ 1000, 0 }, { server.bound, server.conflicts })
    end)

    started_it("dhcp4_client releases all leases at Ctrl-C, and tells of them once", function()
      local words = as_ranks("dhcp4_client", "--count 9 --hold", starter)
      local said, leases, status, server = beside_gateway(words, 9)
      assert.same({ 0, 9, 9, 0, 9 }, { status, said.clients, said.bound, said.failed, #leases })
      assert.same({ 9, 0 }, { server.release, server.bound })
    end)
  end

  root_it("dhcp4_client leases as many addresses as there are hosts, and releases them", function()
    local said, leases, status, server = beside_gateway(as_ranks("dhcp4_client", "--count 42"))
    assert.same({ 0, 42, 42, 0 }, { status, said.clients, said.bound, said.failed })
    assert.same({ 42, 42, 42 }, { #leases, different(leases, function(one) return one.mac end),
      different(leases, function(one) return one.ip end) })
    assert.equal(0, server.bound)
  end)

  root_it("slaac gives each host an address of its own", function()
    local said, hosts, status = beside_gateway(as_ranks("slaac", "--count 10"))
    assert.same({ 0, 10, 10, 0, 10 }, { status, said.hosts, said.configured, said.failed, said.times_ms.count })
    assert.equal(10, different(hosts, function(one) return one.addresses[1].ip end))
  end)

  root_it("host says once that all are up, the kernel reaches each, and one summary counts all", function()
    if shell.missing "fping" then return pending(shell.missing "fping") end
    local net = shell.keep(lab.new())
    net.far:run "ip addr add 10.7.255.254/16 dev eth0"
    local arguments = ("--ranks %d host -i eth0 --json --count 10 --ip 10.7.1.1/16"):format(RANKS)
    local running = program.start(net.near, arguments)
    running:wait_for '"event":"up"'
    net.far:run "fping -q -r 5 -g 10.7.1.1 10.7.1.10"
    local status, out, err = running:interrupt()
    local list = program.objects(out)
    assert.same({ 0, "", 2, 10, 10 }, { status, err, #list, list[1].hosts, list[1].ready })
    local sum = list[2]
    assert.same({ "summary", 10, 10, 0 }, { sum.event, sum.hosts, sum.ready, sum.duplicates })
    assert.is_true(sum.echo >= 10 and sum.arp >= 10, out)
  end)

  root_it("arp_scan lists who answers in order, once each, whoever asked", function()
    local net = shell.keep(lab.new())
    net.far:run "ip link set lo up; ip addr add 10.0.255.254/16 dev eth0; ip route add local 10.0.16.0/22 dev lo"
    local arguments = ("--ranks %d arp_scan -i eth0 --json --rate 1e9 10.0.15.240-10.0.20.9"):format(RANKS)
    local status, list, text = program.json(net.near, arguments)
    local said = table.remove(list)
    assert.same({ 0, 1024, 1024, 1050, 1024 }, { status, #list, said.answered, said.questions, said.times_ms.count },
      text)
    for i, one in ipairs(list) do
      assert.equal(("10.0.%d.%d"):format(16 + math.floor((i - 1) / 256), (i - 1) % 256), one.ip)
    end
  end)

  root_it("traffic sends its rate in all, and tells of each flow and of their sum once", function()
    local ns = shell.keep(lab.namespace())
    lab.veth(ns, "eth0", ns, "eth1")
    local arguments = ("--ranks %d traffic -i eth0 --to eth1 --json --flows 10 --rate 1000 --duration 1"):format(RANKS)
    local status, list, text = program.json(ns, arguments)
    local said = table.remove(list)
    assert.equal(0, status, text)
    assert.same({ 10, 10 }, { #list, different(list, function(one) return one.src end) })
    local received = 0
    for _, flow in ipairs(list) do received = received + flow.received end
    assert.same({ 10, said.sent, said.sent, 0, said.sent }, { said.flows, said.received, received, said.lost,
      said.latency_ms.count })
    assert.is_true(said.sent > 0 and said.sent + said.slipped <= 1000, text)
  end)

  root_it("a failure is an object of its own, behind the summary", function()
    local net = shell.keep(lab.new())
    local running = program.start(net.near, "--ranks 3 host -i eth0 --json --count 6 --ip 10.7.1.1/16 --no-dad")
    running:wait_for '"event":"up"'
    local pids = net.near:run("pgrep -f 'run host -i eth[0] --json'")
    os.execute("kill -9 " .. pids:match "%d+%s*$")
    local status, out, err = running:finish()
    local list = program.objects(out)
    assert.same({ 1, "summary", "it was lost" }, { status, list[#list - 1].event, list[#list].error }, out .. err)
    assert.truthy(err:find(("etherlua: rank %d: it was lost\n"):format(list[#list].rank), 1, true), err)
  end)

  root_it("one line on the terminal tells of all while they run", function()
    if shell.missing "tmux" then return pending(shell.missing "tmux") end
    local term = shell.keep(terminal.start({ program.PATH, "run", "--ranks", 2, "dhcp4_load", "-i", "lo", "--clients",
      10, "--timeout", 20 }))
    term:wait(function(screen) return screen:find "0 of 10 " end, "the line of all")
    term:key "C-c"
    term:wait_for "status "
  end)
end)
