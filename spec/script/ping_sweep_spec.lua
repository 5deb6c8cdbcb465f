-- The script ping_sweep, and its role, against a kernel that has very many addresses.

local cjson = require "cjson"
local ether = require "etherlua"
local frames = require "support.frames"
local ip_range = require "etherlua.net.ip_range"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local ping_sweep = require "etherlua.role.ping_sweep"
local program = require "support.program"
local proto = require "etherlua.proto"
local root_it = require "support.root_it"
local sched = require "etherlua.core.sched"

local reason = select(2, lab.root())
local OWN = "--ip 10.0.255.1/16 "

describe("the script ping_sweep", function()
  local net

  -- The kernel has 10.0.0.1 to 10.0.0.9, all of 10.0.16.0/20, and behind it, as a router, 10.9.0.0/28.
  setup(function()
    if reason then return end
    net = lab.new()
    net.far:run [[ip addr add 10.0.255.254/16 dev eth0
      for i in 1 2 3 4 5 6 7 8 9; do ip addr add 10.0.0.$i/32 dev eth0; done
      ip route add local 10.0.16.0/20 dev lo; ip link set lo up; ip route add local 10.9.0.0/28 dev lo]]
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function sweep(arguments) return program.said(net.near, "ping_sweep -i eth0 " .. OWN .. arguments) end

  local function objects(arguments)
    local list, status, text = {}, sweep("--json " .. arguments)
    for line in text:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(line) end
    return table.remove(list), list, status
  end

  root_it("lists who answers, in order, once each, and says how many did", function()
    local status, text = sweep "--timeout 0.2 10.0.0.0/28"
    assert.equal(0, status, text)
    local found = {}
    for ip in text:gmatch "\n(10%.%d+%.%d+%.%d+) +%d+%.%d+ ms" do found[#found + 1] = ip:match "%d+$" end
    assert.equal("1 2 3 4 5 6 7 8 9", table.concat(found, " "))
    assert.matches("^asking 14 addresses on afpacket:eth0 as 10%.0%.255%.1 %(02:", text)
    assert.matches("\n9 of 14 answered in 0%.%d s: 28 sent, 19 of them ARP\n  ms  min ", text)
  end)

  root_it("lists who does not answer, which is its failure, and who answers ARP alone", function()
    net.far:run "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all"
    local status, text = sweep "--silent --timeout 0.2 10.0.0.8-10.0.0.10"
    net.far:run "echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_all"
    assert.equal(3, status, text)
    assert.matches("\n10%.0%.0%.8 +answers ARP alone\n10%.0%.0%.9 +answers ARP alone\n10%.0%.0%.10 +silent\n0 of 3 ",
      text)
    status, text = sweep "--silent 10.0.0.1-10.0.0.9"
    assert.equal(0, status, text)
    assert.matches("\n9 of 9 answered in ", text)
  end)

  root_it("finds all of thousands at any rate, by asking each once", function()
    for _, rate in ipairs { "1e9", "20000" } do
      local summary, answers, status = objects("--rate " .. rate .. " 10.0.16.0/20")
      assert.same({ 0, 4094, 4094, 4094 }, { status, #answers, summary.answered, summary.rtt_ms.count })
      assert.same({ "10.0.16.1", "10.0.31.254" }, { answers[1].ip, answers[4094].ip })
      assert.same({ 4094, 8188, 0 }, { summary.arp, summary.sent, summary.repeated })
    end
  end)

  root_it("asks what is not on the link by the router, for whose MAC address it asks once", function()
    local summary, answers, status = objects "--gateway 10.0.255.254 --timeout 0.2 --all 10.9.0.0/27"
    assert.same({ 0, 16, 16, 0 }, { status, #answers, summary.answered, summary.arp })
    local status_without, text = sweep "10.9.0.1"
    assert.equal(3, status_without, text)
    assert.matches("\n0 of 1 answered in .*\n  2 not sent: no route\n", text)
    status_without, text = sweep "--gateway 10.0.99.99 10.9.0.1"
    assert.equal(3, status_without, text)
    assert.matches("\n  2 not sent: the router does not answer\n", text)
  end)

  root_it("asks again who did not answer, and leaves out its own address", function()
    local summary = objects "--retry 2 --timeout 0.05 10.0.0.200"
    assert.same({ 1, 0, 3 }, { summary.questions, summary.answered, summary.arp })
    summary = objects "--timeout 0.05 10.0.255.1-10.0.255.2"
    assert.same({ 1, 2 }, { summary.questions, summary.sent })
  end)

  root_it("leases an address in a lab, and tells what it has found after Ctrl-C", function()
    local status, text = program.said(net.near, "ping_sweep --lab --vlan 100.200 10.0.0.1")
    assert.equal(0, status, text)
    assert.matches("1 of 1 answered", text)
    local running = program.start(net.near, "ping_sweep -i eth0 " .. OWN .. "--rate 5 10.0.16.0/20")
    running:wait_for "asking"
    ether.run(function() ether.sleep(0.6) end)
    status, text = running:interrupt()
    assert.equal(0, status, text)
    assert.matches("\n10%.0%.16%.1 .*\n%d+ of 4094 answered", text)
  end)

  local WRONG = {
    [""] = "missing argument 'addresses'",
    ["10.0.0"] = 'bad IP address "10.0.0"',
    ["--size 2000 10.0.0.1"] = "2000 octets of data do not fit the MTU: up to 1472 do",
    ["--all 10.0.0.0/7"] = "33554432 addresses are too many: up to 16777216 are possible",
    ["--rate 0 10.0.0.1"] = "bad value",
  }
  for arguments, words in pairs(WRONG) do
    root_it(("refuses with a line: `%s`"):format(arguments), function()
      local status, text = sweep(arguments)
      assert.equal(2, status, text)
      assert.truthy(text:find(words, 1, true), text)
      assert.matches("^[^\n]+\n$", text)
    end)
  end
end)

-- Has 10.0.0.2, and answers each ping twice, once with another sequence, and once for a neighbour that nobody asked.
local function answer(conn)
  for payload, from in function() return conn:recv() end do
    if from.ethertype == frames.ARP then
      local packet = proto.arp.parse(payload)
      if packet.tpa == "10.0.0.2" then
        conn:send(proto.arp.build { op = 2, sha = tostring(conn.mac), spa = packet.tpa, tha = packet.sha,
          tpa = packet.spa }, from.mac, { ethertype = frames.ARP })
      end
    else
      local packet = proto.ipv4.parse(payload)
      local message = proto.icmp.parse(packet.payload)
      for _, change in ipairs { {}, {}, { sequence = 7 }, { src = "10.0.0.3" } } do
        conn:send(proto.ipv4.build { src = change.src or packet.dst, dst = packet.src, protocol = 1,
          payload = proto.icmp.build { type = 0, identifier = message.identifier,
            sequence = change.sequence or message.sequence, payload = message.payload } }, from.mac)
      end
    end
  end
end

describe("role.ping_sweep", function()
  it("ignores replies that answer nothing, and counts those that come again", function()
    kinds.run_apart(function()
      local a, b = ether.wire()
      local host, peer = a:host { ip = "10.0.0.1/24" }, b:conn { mac = frames.MAC_B, multicast = true }
      local sweep = ping_sweep.new(host, { targets = ip_range.new { "10.0.0.2-10.0.0.3" }, tries = 1, timeout = 0.1 })
      sched.spawn_background(answer, peer)
      assert.is_true(sweep:run())
      local said = sweep:summary()
      assert.same({ 2, 1, 1, 1, 2 }, { said.questions, said.neighbours, said.answered, said.repeated, said.ignored })
      sweep:close()
      sweep:close()
      assert.same({ nil, "closed" }, { sweep:run() })
    end)
  end)

  it("raises for what is no host, or has no IPv4 address", function()
    kinds.run_apart(function()
      local a = ether.wire()
      local targets = ip_range.new { "10.0.0.2" }
      assert.error_matches(function() ping_sweep.new(a, { targets = targets }) end, "a host is needed")
      assert.error_matches(function() ping_sweep.new(a:host {}, { targets = targets }) end, "has no IPv4 address")
      local host = a:host { mac = frames.MAC_A, ip = "10.0.0.1/8" }
      assert.error_matches(function() ping_sweep.new(host, { targets = targets, rat = 1 }) end, "rat")
    end)
  end)
end)
