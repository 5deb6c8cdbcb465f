-- Ranks on several hosts, which are network namespaces on one bridge, with two ranks each. MPICH's process manager
-- starts them as it would by rsh.

local access = require "etherlua.lab.access"
local cjson = require "cjson"
local ether = require "etherlua"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local shell = require "support.shell"

local PROGRAM = require("support.program").PATH
local CLIENTS = os.getenv "SANITIZER" and 20000 or 100000 -- with sanitizers all takes its time
local POOL = "10.0.0.10-10.3.255.254" -- more than there are clients, as a server may

-- What rsh is asked: HOST COMMAND. The hosts are processes whose network it enters.
local RSH = [[#!/bin/sh
case $1 in
h1) ns=%s ;;
h2) ns=%s ;;
esac
shift
exec nsenter --net="$ns" sh -c "$*"
]]

-- Namespaces: the switch, where the server is, and the hosts behind it.
local function new_network()
  local switch, hosts = shell.keep(lab.namespace()), {}
  switch:configure "ip link add br0 type bridge && ip link set br0 up && ip addr add 192.0.2.254/24 dev br0"
  for i = 1, 2 do
    local host, port = shell.keep(lab.namespace()), "p" .. i
    lab.veth(switch, port, host, "eth0")
    switch:configure(("ip link set %s master br0"):format(port))
    host:configure(("ip addr add 192.0.2.%d/24 dev eth0"):format(i))
    hosts[i] = host
  end
  return switch, hosts
end

describe("ranks on two hosts", function()
  after_each(shell.close_all)

  it(("lease %d different addresses for as many clients, and report once"):format(CLIENTS), function()
    local missing = not lab.root() and select(2, lab.root()) or shell.missing "mpiexec.hydra"
    if missing then return pending(missing) end
    local switch, hosts = new_network()
    local rsh, log = files.temporary(RSH:format(hosts[1]:path(), hosts[2]:path())), os.tmpname()
    os.execute("chmod +x " .. rsh)
    local status, server
    ether.run(function()
      local gateway = access.serve(switch:enter(ether.open, "br0"), { pool = POOL })
      local process = switch:start({ "mpiexec.hydra", "-launcher", "rsh", "-launcher-exec", rsh, "-iface", "br0",
        "-hosts", "h1,h2", "-n", "4", "-ppn", "2", PROGRAM, "run", "dhcp4_load", "-i", "eth0", "--json",
        "--clients", tostring(CLIENTS) }, { log = log })
      status = process:wait(300)
      server = gateway:summary()
    end)
    local text = files.read_all(log)
    os.remove(rsh)
    os.remove(log)
    assert.equal(0, status, text)
    local _, lines = text:gsub("\n", "")
    assert.equal(1, lines, text)
    local said = cjson.decode(text)
    assert.same({ CLIENTS, CLIENTS, 0, 0, CLIENTS }, { said.clients, said.bound, said.failed, said.unfinished,
      said.dora_ms.count }, text)
    assert.same({ CLIENTS, 0, 0 }, { server.bound, server.exhausted, server.conflicts })
  end)
end)
