-- Scanning by ARP: the role on a wire against hosts that answer, lie and flood; the script against kernels.

local addr = require "etherlua.net.addr"
local alone = require "support.alone"
local arp = require "etherlua.proto.arp"
local arp_fast = require "etherlua.proto.arp_fast"
local arp_scan = require "etherlua.role.arp_scan"
local ether = require "etherlua"
local ffi = require "ffi"
local ip_range = require "etherlua.net.ip_range"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local one_works = require("support.wait").one_works
local root_it = require "support.root_it"
local sched = require "etherlua.core.sched"
local program = require "support.program"
local shell = require "support.shell"
local terminal = require "support.terminal"
local vlan_range = require "etherlua.net.vlan_range"

local MAC, HOST, OTHER = "02:00:00:00:ff:ff", "02:aa:00:00:00:01", "02:bb:00:00:00:01"
local BROADCAST, ARP = "ff:ff:ff:ff:ff:ff", { ethertype = 0x0806 }

-- ---- the role -----------------------------------------------------------------------------------------------------

-- Runs a scan on a wire. answer(request, reply, vlans) is called with each request at the far end; reply(fields, opts)
-- answers it: fields over those of a right answer, opts: to, vlans, src_mac, llc (as in IEEE 802.2 networks).
local function scanning(opts, answer, fn)
  kinds.run_apart(function()
    local a, b = ether.wire()
    local heard, back = b:default_conn(), b:conn { mac = HOST, ethertypes = { 0x88b5 } }
    sched.spawn_background(function()
      while true do
        local frame = heard:recv_frame()
        if not frame then return end
        local request, vlans = arp.parse(frame.body), frame.vlans
        answer(request, function(fields, more)
          local all = { op = arp.REPLY, sha = HOST, spa = request.tpa, tha = request.sha, tpa = request.spa }
          for name, value in pairs(fields or {}) do all[name] = value end
          more = more or {}
          local payload = (more.llc and "\xaa\xaa\3\0\0\0\8\6" or "") .. arp.build(all)
          back:send(payload, more.to or request.sha, { ethertype = more.llc and #payload or 0x0806,
            vlans = more.vlans or vlans, src_mac = more.src_mac })
        end, tostring(vlans))
      end
    end)
    opts.targets, opts.vlans = ip_range.new(opts.targets), vlan_range.new(opts.vlans)
    opts.mac, opts.rate, opts.timeout = opts.mac or MAC, opts.rate or 1e5, opts.timeout or 0.05
    local scan = arp_scan.new(a, opts)
    assert.is_true(scan:run())
    local list = {}
    for one in scan:answers() do
      list[#list + 1] = one.ip .. " " .. one.mac .. (one.vlans ~= "" and " " .. one.vlans or "")
    end
    fn(scan, list)
    scan:close()
    a:close()
    b:close()
  end)
end

describe("an ARP scan", function()
  after_each(leaks.check)

  it("finds who answers, and asks again who does not", function()
    local asked = {}
    scanning({ targets = "10.0.0.1-10.0.0.6", tries = 3 }, function(request, reply)
      asked[request.tpa] = (asked[request.tpa] or 0) + 1
      assert(request.spa == "0.0.0.0" and request.sha == MAC)
      if request.tpa == "10.0.0.2" or request.tpa == "10.0.0.5" and asked["10.0.0.5"] == 2 then reply() end
    end, function(scan, list)
      assert.same({ "10.0.0.2 " .. HOST, "10.0.0.5 " .. HOST }, list)
      assert.same({ ["10.0.0.1"] = 3, ["10.0.0.2"] = 1, ["10.0.0.3"] = 3, ["10.0.0.4"] = 3, ["10.0.0.5"] = 2,
        ["10.0.0.6"] = 3 }, asked)
      assert.same({ 6, 15, 2, 0, 2 }, { scan.count, scan.sent, scan.answered, scan.ignored, scan.times.count })
    end)
  end)

  it("asks on every VLAN stack, as another host each, and lists by VLAN stack and address", function()
    scanning({ targets = { "10.0.0.9", "10.0.0.3" }, vlans = "100-101.7" }, function(request, reply, vlans)
      assert(request.sha == (vlans == "100.7" and MAC or "02:00:00:01:00:00"))
      reply()
    end, function(_, list)
      assert.same({ "10.0.0.3 " .. HOST .. " 100.7", "10.0.0.9 " .. HOST .. " 100.7", "10.0.0.3 " .. HOST .. " 101.7",
        "10.0.0.9 " .. HOST .. " 101.7" }, list)
    end)
  end)

  it("hears answers that are broadcast", function()
    scanning({ targets = "10.0.0.1" }, function(_, reply) reply({}, { to = BROADCAST }) end, function(scan, list)
      assert.same({ "10.0.0.1 " .. HOST }, list)
      assert.equal(0, #scan:leaks())
    end)
  end)

  for _, tha in ipairs { "00:00:00:00:00:00", BROADCAST } do
    it("finds a host whose answers have the target hardware address " .. tha, function()
      scanning({ targets = "10.0.0.1-10.0.0.2", vlans = "100-101", tries = 1 }, function(request, reply)
        reply({ tha = tha }, { to = request.tpa == "10.0.0.1" and BROADCAST or nil })
      end, function(scan, list)
        assert.same({ "10.0.0.1 " .. HOST .. " 100", "10.0.0.2 " .. HOST .. " 100", "10.0.0.1 " .. HOST .. " 101",
          "10.0.0.2 " .. HOST .. " 101" }, list)
        assert.same({ 0, 0 }, { scan.ignored, #scan:leaks() })
      end)
    end)
  end

  it("tells by the frame's destination which VLAN stack was asked on when an answer does not", function()
    scanning({ targets = "10.0.0.1", vlans = "100-101", tries = 1 }, function(request, reply, vlans)
      if vlans == "100" then reply({ tha = BROADCAST }, { vlans = "101", to = request.sha }) end
    end, function(scan)
      assert.same({ "100", "101" }, { scan:leaks()[1].vlans, scan:leaks()[1].came_with })
    end)
  end)

  it("tells who has sent an answer when that is not who has the address", function()
    scanning({ targets = "10.0.0.1-10.0.0.2" }, function(request, reply)
      reply({ sha = "00:00:5e:00:01:01" }, { src_mac = OTHER })
      if request.tpa == "10.0.0.2" then reply({ sha = "00:00:5e:00:01:02" }, { src_mac = HOST }) end
    end, function(scan)
      local senders = {}
      for one in scan:answers() do senders[#senders + 1] = one.mac .. " " .. one.sent_by end
      assert.same({ "00:00:5e:00:01:01 " .. OTHER, "00:00:5e:00:01:01 " .. OTHER, "00:00:5e:00:01:02 " .. HOST },
        senders)
    end)
    scanning({ targets = "10.0.0.1" }, function(_, reply) reply() end, function(scan)
      assert.is_nil(scan:answers()().sent_by)
    end)
  end)

  it("passes over answers as IEEE 802.2 networks have them, and hears the others", function()
    scanning({ targets = "10.0.0.1", tries = 1 }, function(_, reply)
      reply({ sha = OTHER }, { llc = true })
      reply()
    end, function(_, list) assert.same({ "10.0.0.1 " .. HOST }, list) end)
  end)

  it("tells two hosts with one address, each once", function()
    scanning({ targets = "10.0.0.1-10.0.0.2" }, function(request, reply)
      reply()
      reply()
      if request.tpa == "10.0.0.2" then
        reply { sha = OTHER }
        reply { sha = OTHER }
      end
    end, function(scan, list)
      assert.same({ "10.0.0.1 " .. HOST, "10.0.0.2 " .. HOST, "10.0.0.2 " .. OTHER }, list)
      assert.same({ 2, 1, 3 }, { scan.answered, scan.duplicates, scan.repeated })
    end)
  end)

  it("takes an answer with a tag of VID 0 for one of the VLAN that was asked", function()
    scanning({ targets = "10.0.0.1", vlans = "100-101", tries = 1 }, function(_, reply, vlans)
      reply({}, { vlans = "0." .. vlans })
    end, function(scan)
      assert.same({ 2, 0 }, { scan.answered, #scan:leaks() })
    end)
  end)

  it("tells answers that come with another VLAN stack, asked on or not, as leaks", function()
    scanning({ targets = "10.0.0.1", vlans = "100-101", tries = 1 }, function(_, reply, vlans)
      if vlans == "100" then
        reply({}, { vlans = "101", to = BROADCAST })
        reply({}, { vlans = "300" })
        reply({}, { vlans = "" })
        reply({}, { vlans = { { vid = 100, tpid = 0x88a8 } } })
      end
    end, function(scan, list)
      local came = {}
      for i, leak in ipairs(scan:leaks()) do came[i] = leak.vlans .. " " .. leak.came_with end
      table.sort(came)
      assert.same({ {}, 0 }, { list, scan.answered })
      assert.same({ "100 ", "100 101", "100 300", "100 88a8:100" }, came)
    end)
  end)

  it("ignores and counts what is no answer to it", function()
    local wrong = { { op = 1 }, { op = 3 }, { spa = "10.0.0.9" }, { tha = OTHER }, { tha = "02:00:00:00:ff:fe" },
      { sha = "01:00:5e:00:00:01" }, { sha = BROADCAST } }
    scanning({ targets = "10.0.0.1", tries = 1 }, function(_, reply)
      for _, fields in ipairs(wrong) do reply(fields) end
    end, function(scan, list)
      assert.same({ {}, 0, #wrong }, { list, scan.answered, scan.ignored })
    end)
  end)

  it("believes no answer to what it has not asked yet", function()
    scanning({ targets = "10.0.0.1-10.0.0.2", rate = 20, tries = 1 }, function(request, reply)
      if request.tpa == "10.0.0.1" then reply { spa = "10.0.0.2" } end
    end, function(scan)
      assert.same({ 0, 1 }, { scan.answered, scan.ignored })
    end)
  end)

  it("keeps a bounded number of owners of one address", function()
    scanning({ targets = "10.0.0.1" }, function(_, reply)
      for i = 1, 300 do reply { sha = addr.mac_add(OTHER, i) } end
    end, function(scan, list)
      assert.equal(16, #list)
      assert.equal(284, scan.unlisted)
      assert.equal(1, scan.duplicates)
    end)
  end)

  it("goes no faster than the rate", function()
    local started = ether.now()
    scanning({ targets = "10.0.0.1-10.0.0.100", rate = 500, tries = 1 }, function() end, function(scan)
      assert.equal(100, scan.sent)
      assert.is_true(ether.now() - started >= 0.198)
    end)
  end)

  it("refuses what is too large before anything is opened", function()
    local a, b = ether.wire()
    local function refusal(targets, vlans)
      local ok, reason = pcall(arp_scan.new, a, { targets = ip_range.new(targets), vlans = vlan_range.new(vlans),
        mac = MAC })
      assert.is_false(ok)
      return misuse.words(reason)
    end
    assert.equal("4294967294 addresses are too many, 1193.0 hours at 1000 a second: up to 16777216 are possible",
      refusal "0.0.0.0/0")
    assert.equal("16760836 VLAN stacks are too many: up to 200000 are possible", refusal("10.0.0.1", "1-4094.1-4094"))
    assert.matches("^20961280 addresses", refusal("10.0.0.1-10.0.20.0", "1-4094"))
    a:close()
    b:close()
  end)

  alone.it("makes no garbage for a question or an answer", function()
    local COUNT, kilobytes = 65536, nil
    kinds.run_apart(function()
      local a, b = ether.wire()
      local back = b:conn { mac = HOST, ethertypes = { 0x0806 }, multicast = true }
      local reply = arp_fast.template { op = arp.REPLY, sha = HOST }
      local own, other, asked = addr.mac(HOST), addr.mac(MAC), arp_fast.packet()
      sched.spawn_background(function() -- answers as fast as a host can, without garbage of its own
        while back.ep.relay ~= nil do
          local frame = back:recv_frame()
          if not frame then return end
          arp_fast.parse(frame.data + frame.payload, frame.payload_len, asked)
          reply:ask(own.byte, 0)
          ffi.copy(reply.data + 14, frame.data + frame.payload + 24, 4)
          ffi.copy(reply.data + 18, asked.sha, 6)
          back:send(reply.data, reply.size, other, ARP)
        end
      end)
      local scan = arp_scan.new(a, { targets = ip_range.new("10.0.0.0/16", true), vlans = vlan_range.new(), mac = MAC,
        rate = 1e6, timeout = 0.2, tries = 6 })
      scan:open()
      collectgarbage()
      collectgarbage "stop"
      local before = collectgarbage "count"
      scan:run()
      kilobytes = collectgarbage "count" - before
      collectgarbage "restart"
      assert.equal(COUNT, scan.answered)
      a:close()
      b:close()
    end)
    -- Of the two frames that an address takes the views may be objects, of 16 bytes; a string or a table is more.
    assert.is_true(kilobytes * 1024 / COUNT < 40, ("%.1f bytes an address"):format(kilobytes * 1024 / COUNT))
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

describe("arp_scan", function()
  local reason = lab.root()
  reason = not reason and "needs root" or nil
  local net, near, far

  setup(function()
    if reason then return end
    net = lab.new { far_mac = HOST }
    near, far = net.near, net.far
    for _, ip in ipairs { "10.0.0.1", "10.0.0.2", "10.0.0.77" } do far:run("ip addr add " .. ip .. "/24 dev eth0") end
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function found(said)
    local list = {}
    for i = 1, #said - 1 do list[i] = said[i].ip .. " " .. said[i].mac .. " " .. said[i].vlans end
    return list, said[#said]
  end

  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    root_it("finds the addresses of a kernel over " .. kind, function()
      local status, said, text = program.json(near, "arp_scan --json -i " .. kind .. ":eth0 --timeout 0.3 10.0.0.0/24")
      local list, summary = found(said)
      assert.equal(0, status, text)
      assert.same({ "10.0.0.1 " .. HOST .. " ", "10.0.0.2 " .. HOST .. " ", "10.0.0.77 " .. HOST .. " " }, list)
      assert.same({ 254, 3, 254 + 251, 0, 3 }, { summary.questions, summary.answered, summary.sent, summary.duplicates,
        summary.times_ms.count })
    end)
  end

  root_it("leaves the kernel's ARP cache as it was, unless it has an address of its own", function()
    local SCAN = "arp_scan -i eth0 --mac 02:cc:00:00:00:01 --timeout 0.1 "
    assert.equal(0, (program.json(near, SCAN .. "10.0.0.1")))
    assert.is_nil(far:run("ip neigh show"):find("02:cc", 1, true))
    assert.equal(0, (program.json(near, SCAN .. "--ip 10.0.0.9 10.0.0.1")))
    assert.is_truthy(far:run("ip neigh show"):find("10.0.0.9 dev eth0 lladdr 02:cc", 1, true))
  end)

  root_it("flags an address that two hosts have, with status 3", function()
    local squatter = program.start_host(far, "10.0.0.2")
    local status, said, text = program.json(near, "arp_scan --json -i eth0 --timeout 0.3 10.0.0.1-10.0.0.3")
    local status_text, _, lines = program.json(near, "arp_scan -i eth0 --timeout 0.3 10.0.0.1-10.0.0.3")
    squatter.close()
    assert.same({ 3, 3 }, { status, status_text }, text)
    local macs = { [said[2].mac] = true, [said[3].mac] = true }
    assert.same({ "10.0.0.1", false, "10.0.0.2", true, "10.0.0.2", true }, { said[1].ip, said[1].duplicate, said[2].ip,
      said[2].duplicate, said[3].ip, said[3].duplicate })
    assert.same({ [HOST] = true, [OTHER] = true }, macs)
    assert.equal(1, said[4].duplicates)
    assert.equal(2, select(2, lines:gsub("DUPLICATE: 2 MAC addresses answer", "")))
  end)

  root_it("finds hosts on their VLANs alone", function()
    local one = program.start_host(far, "10.0.0.5", "100.7")
    local status, said, text = program.json(near, "arp_scan --json -i eth0 --timeout 0.3 --vlan 99-101.6-8 10.0.0.5")
    one.close()
    assert.equal(0, status, text)
    assert.same({ "10.0.0.5 " .. OTHER .. " 100.7" }, (found(said)))
    assert.equal(9, said[2].questions)
  end)

  root_it("hints at proxy ARP", function()
    for _, command in ipairs { "ip link add v0 type veth peer name v1", "ip link set v0 up", "ip link set v1 up",
      "ip route add 10.9.0.0/24 dev v0", "echo 1 >/proc/sys/net/ipv4/ip_forward",
      "echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp", "echo 0 >/proc/sys/net/ipv4/neigh/eth0/proxy_delay" } do
      far:run(command)
    end
    local status, said, text = program.json(near, "arp_scan --json -i eth0 --ip 10.0.0.9 --timeout 0.5 10.9.0.0/28")
    local _, _, lines = program.json(near, "arp_scan -i eth0 --ip 10.0.0.9 --timeout 0.5 10.9.0.0/28")
    far:run("ip link del v0")
    assert.equal(0, status, text)
    assert.same({ [HOST] = 14 }, said[#said].proxies)
    assert.is_truthy(lines:find(HOST .. " answers for 14 addresses: proxy ARP?", 1, true), lines)
  end)

  root_it("ends with status 3 when nobody answers", function()
    local status, said, text = program.json(near, "arp_scan --json -i eth0 --timeout 0.1 192.168.7.0/29")
    assert.same({ 3, 0, 12, 0 }, { status, said[1].answered, said[1].sent, said[1].unsent }, text)
  end)

  root_it("goes on when the link is down for a while, and counts what it could not send", function()
    near:run("ip link set eth0 down")
    local status, _, text = program.json(near, "arp_scan -i eth0 10.0.0.1")
    near:run("ip link set eth0 up")
    assert.same({ 2, "etherlua: interface eth0 is down: ip link set eth0 up\n" }, { status, text })
    local scan = program.start(near, "arp_scan -i eth0 --retry 0 --rate 20 10.0.0.1-10.0.0.77")
    program.wait_for_socket(near)
    near:run "ip link set eth0 down; sleep 0.5; ip link set eth0 up"
    local out, err
    status, out, err = scan:finish()
    text = out .. err
    assert.equal(0, status, text)
    assert.is_truthy(text:find("\n10.0.0.77 ", 1, true), text)
    assert.is_truthy(text:find("%d+ not sent: link down"), text)
  end)

  root_it("ends with status 1 when the interface goes", function()
    local other = lab.new()
    local scan = program.start(other.near, "arp_scan -i eth0 --rate 50 10.0.0.0/24")
    program.wait_for_socket(other.near)
    other.near:run "ip link del eth0"
    local status, _, err = scan:finish()
    other:close()
    assert.equal(1, status, err)
    assert.is_truthy(err:find("etherlua: afpacket:eth0: interface gone\n", 1, true), err)
  end)

  root_it("tells on Ctrl-C what it has found so far", function()
    one_works(function(n)
      local status, said, text = program.json(near, "arp_scan --json --lab --rate 100 10.0.0.0/16", 1.5 * n)
      local last = said[2] or {}
      return not (status == 0 and said[1].ip == "10.0.0.1" and last.questions == 65534 and last.answered == 1
        and last.sent > 10 and last.sent < 1000) and text or nil
    end)
  end)

  root_it("scans a /16 of the lab", function()
    local status, said, text = program.json(near, "arp_scan --json --lab --rate 50000 --retry 0 10.0.0.0/16")
    assert.same({ 0, 65534, 65534, "10.0.0.1" }, { status, said[2].questions, said[2].sent, said[1].ip }, text)
  end)

  root_it("shows on a terminal how far it is, and takes that away for what it has found", function()
    if shell.missing "tmux" then return pending(shell.missing "tmux") end
    local term = terminal.start { program.PATH, "run", "arp_scan", "--lab", "--rate", "30", "--retry", "0",
      "10.0.0.1-10.0.0.99" }
    term:wait_for "pass 1 of 1: "
    local screen = term:wait_for "status 0"
    term:close()
    assert.is_nil(screen:find("pass 1", 1, true), screen)
    assert.is_truthy(screen:find("\n10.0.0.1 ", 1, true), screen)
  end)

  it("says in one line what is wrong with its options", function()
    program.assert_refused("arp_scan", {
      ["10.0.0.0/33"] = 'bad prefix "10.0.0.0/33": a length of 0 to 32 is allowed',
      ["10.0.0.1-10"] = 'bad IP address "10"',
      ["-i lo 0.0.0.0/0"] = "4294967294 addresses are too many, 1193.0 hours at 1000 a second: up to 16777216",
      ["-i lo --rate 0 10.0.0.1"] = 'bad value "0": 0.001 to ',
      ["-i lo --mac ff:ff:ff:ff:ff:ff 10.0.0.1"] = "a host's is no group address",
      ["-i lo --vlan-range 5-4 10.0.0.1"] = 'bad VLAN range "5-4"',
      ["10.0.0.1"] = "no relay: give -i SPEC",
    })
  end)
end)
