-- Asking for one address: the script against kernels, beside iputils' arping, and the role against those who lie.

local arp = require "etherlua.proto.arp"
local arping = require "etherlua.role.arping"
local ether = require "etherlua"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local program = require "support.program"
local root_it = require "support.root_it"
local servers = require "etherlua.test.servers"

local MAC, HOST, OTHER = "02:00:00:00:00:07", "02:aa:00:00:00:01", "02:bb:00:00:00:01"
local BROADCAST, ARP = "ff:ff:ff:ff:ff:ff", { ethertype = 0x0806 }

-- ---- the role -----------------------------------------------------------------------------------------------------

-- Asks once on a wire; answer(back) sends what the far end says.
local function asking(opts, answer, fn)
  kinds.run_apart(function()
    local a, b = ether.wire()
    local conn = a:conn { mac = MAC, ethertypes = { 0x0806, 0x86dd }, multicast = true }
    local asker, back = arping.new(conn, opts), b:conn { mac = HOST, multicast = true }
    asker:ask()
    answer(back, assert(back:recv(1)))
    fn(asker)
    a:close()
    b:close()
  end)
end

local function reply_of(fields)
  local all = { op = arp.REPLY, sha = HOST, spa = "10.0.0.1", tha = MAC, tpa = "0.0.0.0" }
  for name, value in pairs(fields) do all[name] = value end
  return arp.build(all)
end

describe("asking for one address", function()
  after_each(leaks.check)

  it("probes for an IPv4 address (RFC 5227), and says how the answer came", function()
    asking({ target = "10.0.0.1" }, function(back, question)
      assert.equal(arp.build { sha = MAC, tpa = "10.0.0.1" }, question)
      back:send(reply_of {}, MAC, ARP)
      back:send(reply_of { sha = OTHER }, BROADCAST, ARP)
    end, function(asker)
      local first, second = asker:answer(1), asker:answer(1)
      assert.same({ HOST, false, OTHER, true }, { first.mac, first.broadcast, second.mac, second.broadcast })
      assert.same({ { HOST, OTHER }, 1, 2 }, { asker.owners, asker.answered, asker.answers })
    end)
  end)

  it("takes for an answer neither what is for others nor what makes no sense, nor waits longer for it", function()
    local wrong = { { op = 1 }, { spa = "10.0.0.2" }, { tha = OTHER }, { sha = BROADCAST } }
    asking({ target = "10.0.0.1" }, function(back)
      for _, fields in ipairs(wrong) do back:send(reply_of(fields), MAC, ARP) end
      back:send(("\0"):rep(28), MAC, ARP)
    end, function(asker)
      local started = ether.now()
      assert.same({ nil, "timeout" }, { asker:answer(0.1) })
      assert.is_true(ether.now() - started < 5)
      assert.equal(#wrong + 1, asker.ignored)
    end)
  end)

  it("finds a host whose answers name no target hardware address, and tells who has sent them", function()
    asking({ target = "10.0.0.1" }, function(back)
      back:send(reply_of { tha = "00:00:00:00:00:00" }, MAC, ARP)
      back:send(reply_of { tha = BROADCAST }, BROADCAST, ARP)
      back:send(reply_of { sha = "00:00:5e:00:01:01" }, MAC, ARP)
    end, function(asker)
      for _, broadcast in ipairs { false, true } do
        local answer = asker:answer(1)
        assert.same({ HOST, broadcast }, { answer.mac, answer.broadcast })
        assert.is_nil(answer.sent_by)
      end
      local last = asker:answer(1)
      assert.same({ "00:00:5e:00:01:01", HOST }, { last.mac, last.sent_by })
    end)
  end)

  it("does not listen for ever to a flood", function()
    local flood
    asking({ target = "10.0.0.1" }, function(back)
      flood = ether.spawn(function()
        local ended = ether.now() + 30
        while ether.now() < ended do back:send(reply_of { tha = OTHER }, MAC, ARP) end
      end)
    end, function(asker)
      local started = ether.now()
      assert.is_nil((asker:answer(0.2)))
      assert.is_true(ether.now() - started < 15)
      flood:cancel()
      flood:join()
    end)
  end)

  local function advertise(back, fields, hop_limit)
    local ends = { src = "fe80::1", dst = "ff02::1" }
    local all = { type = 136, target = "fe80::1", override = true, target_link_layer_address = OTHER }
    for name, value in pairs(fields) do all[name] = value end
    back:send(ipv6.build { src = ends.src, dst = ends.dst, protocol = 58, hop_limit = hop_limit or 255,
      payload = icmp6.build(all, ends) }, "33:33:00:00:00:01")
  end

  it("probes for an IPv6 address (RFC 4862 5.4.2), and believes what RFC 4861 7.1.2 lets it", function()
    asking({ target = "fe80::1" }, function(back, question)
      local packet = ipv6.parse(question)
      local message = icmp6.parse(packet.payload)
      assert.same({ "::", "ff02::1:ff00:1", 255, 135, "fe80::1" }, { packet.src, packet.dst, packet.hop_limit,
        message.type, message.target })
      assert.is_nil(message.source_link_layer_address)
      assert.is_true(icmp6.checksum_ok(packet.payload, packet))
      advertise(back, {}, 64)
      advertise(back, { target = "fe80::2" })
      advertise(back, { checksum = 7 })
      advertise(back, {})
    end, function(asker)
      local answer = asker:answer(1)
      assert.same({ OTHER, true, 3 }, { answer.mac, answer.broadcast, asker.ignored })
    end)
  end)

  it("refuses what no host can have, and a source of the other kind", function()
    kinds.run_apart(function()
      local a, b = ether.wire()
      local conn = a:conn { mac = MAC }
      for _, target in ipairs { "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1" } do
        local ok, reason = pcall(arping.new, conn, { target = target })
        assert.same({ false, ("bad target %s: it is no host's address"):format(target) }, { ok, misuse.words(reason) })
      end
      local ok, reason = pcall(arping.new, conn, { target = "fe80::1", source = "10.0.0.1" })
      assert.same({ false, "bad source 10.0.0.1: an IPv6 address is needed, as fe80::1 is one" },
        { ok, misuse.words(reason) })
      a:close()
      b:close()
    end)
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

describe("arping", function()
  local reason = lab.root()
  reason = not reason and "needs root" or nil
  local net, near, far

  setup(function()
    if reason then return end
    net = lab.new { far_mac = HOST, near_mac = "02:aa:00:00:00:02", ipv6 = true }
    near, far = net.near, net.far
    far:run("ip addr add 10.0.0.1/24 dev eth0")
    far:run("ip addr add 2001:db8::1/64 dev eth0 nodad")
    near:run("ip addr add 10.0.0.2/24 dev eth0")
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function asked(arguments, interrupt_after)
    local status, said, text = program.json(near, "arping --json " .. arguments, interrupt_after)
    return status, said, said[#said], text
  end

  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    root_it("asks a kernel over " .. kind .. ", everybody first and then only who answered", function()
      local status, said, summary, text = asked("-i " .. kind .. ":eth0 --interval 0.1 --timeout 0.3 10.0.0.1")
      assert.equal(0, status, text)
      assert.same({ "10.0.0.1", HOST, 1, false, false }, { said[1].ip, said[1].mac, said[1].question,
        said[1].broadcast, said[1].duplicate })
      assert.same({ 3, 1, 3, 3, 1, 3 }, { summary.sent, summary.broadcasts, summary.answered, summary.answers,
        summary.owners, summary.times_ms.count })
    end)
  end

  root_it("agrees with iputils' arping", function()
    local missing = servers.missing "arping"
    if missing then return pending(missing) end
    local theirs = near:run("arping -c 3 -I eth0 10.0.0.1")
    local status, _, text = program.json(near, "arping -i eth0 --interval 0.1 10.0.0.1")
    assert.equal(0, status, text)
    local replies = "Unicast reply from 10%.0%.0%.1 %[" .. HOST .. "%]  [%d.]+ ?ms"
    assert.equal(3, select(2, theirs:lower():gsub(replies:lower(), "")), theirs)
    assert.equal(3, select(2, text:gsub(replies, "")), text)
    for ip, statuses in pairs { ["10.0.0.99"] = { 0, 0 }, ["10.0.0.1"] = { 1, 3 } } do -- free, and in use
      theirs = near:run(("arping -D -c 2 -I eth0 %s; echo status $?"):format(ip))
      assert.is_truthy(theirs:find("status " .. statuses[1], 1, true), theirs)
      status = program.json(near, "arping -i eth0 --dad --interval 0.1 --timeout 0.1 " .. ip)
      assert.equal(statuses[2], status)
    end
  end)

  root_it("asks for IPv6 addresses too, as nobody and as somebody", function()
    for _, arguments in ipairs { "2001:db8::1", "--ip 2001:db8::7 2001:db8::1", "--broadcast 2001:db8::1" } do
      local status, said, summary, text = asked("-i eth0 --interval 0.1 --timeout 0.3 " .. arguments)
      assert.equal(0, status, text)
      assert.same({ HOST, 3, 3 }, { said[1].mac, summary.answered, summary.sent }, text)
      assert.equal(arguments:find "broadcast" and 3 or 1, summary.broadcasts)
      assert.equal(not arguments:find "ip ", said[1].broadcast)
    end
  end)

  root_it("says in JSON and in words that nobody answers, with status 3", function()
    local status, said, summary, text = asked("-i eth0 --count 2 --interval 0.1 --timeout 0.1 10.0.0.9")
    assert.same({ 3, 1, 2, 2, 0 }, { status, #said, summary.sent, summary.broadcasts, summary.answered }, text)
    assert.equal(3, (program.json(near, "arping -i eth0 --count 1 --timeout 0.1 10.0.0.9")))
  end)

  root_it("flags two hosts that have one address, with status 3", function()
    local squatter = program.start_host(far, "10.0.0.1")
    local status, _, summary, text = asked("-i eth0 --broadcast --count 2 --interval 0.2 --timeout 0.3 10.0.0.1")
    local other, _, words = program.json(near, "arping -i eth0 --count 1 --timeout 0.3 10.0.0.1")
    squatter.close()
    assert.same({ 3, 3, 2, 4, 2 }, { status, other, summary.owners, summary.answers, summary.answered }, text)
    assert.is_truthy(words:find("ms  DUPLICATE\n", 1, true), words)
    assert.is_truthy(words:find("\n  DUPLICATE: 02:", 1, true), words)
  end)

  root_it("ends at the first answer where that is all that is wanted", function()
    local status, _, summary = asked("-i eth0 --first 10.0.0.1")
    assert.same({ 0, 1 }, { status, summary.sent })
    status, _, summary = asked("-i eth0 --dad 10.0.0.1")
    assert.same({ 3, 1 }, { status, summary.sent })
  end)

  root_it("tells everybody of its address, which a kernel that knows it notes", function()
    near:run("ip neigh replace 10.0.0.50 lladdr 02:00:00:00:00:99 dev eth0 nud stale")
    local ANNOUNCE = "arping -i eth0 --announce --interval 0.1 --mac " .. OTHER
    local _, _, text = program.json(far, ANNOUNCE .. " --count 2 10.0.0.50")
    assert.is_truthy(text:find("2 announced", 1, true), text)
    assert.is_truthy(near:run("ip neigh show 10.0.0.50"):find(OTHER, 1, true))
    near:run("ip neigh replace 2001:db8::50 lladdr 02:00:00:00:00:99 dev eth0 nud stale")
    program.json(far, ANNOUNCE .. " --count 1 2001:db8::50")
    assert.is_truthy(near:run("ip -6 neigh show 2001:db8::50"):find(OTHER, 1, true))
  end)

  root_it("asks behind VLAN tags, and works in the lab", function()
    local status, said, summary, text = asked("--lab --vlan 100.200 --count 2 --interval 0.1 10.0.0.1")
    assert.same({ 0, "100.200", 2 }, { status, said[1].vlans, summary.answered }, text)
  end)

  root_it("asks until Ctrl-C, and sums up then", function()
    local status, _, summary, text = asked("-i eth0 --count 0 --interval 0.1 10.0.0.1", 1)
    assert.equal(0, status, text)
    assert.is_true(summary.sent >= 3 and summary.answered >= 3, text)
  end)

  it("says in one line what is wrong with its options", function()
    program.assert_refused("arping", {
      [""] = "missing argument 'target'",
      ["10.0.0"] = 'bad IP address "10.0.0"',
      ["--interval 0 10.0.0.1"] = 'bad value "0": 0.001 to 86400 is allowed',
      ["--count 1.5 10.0.0.1"] = "bad value \"1.5\": a whole number from 0 to ",
      ["--dad --announce 10.0.0.1"] = "can not be used together",
      ["10.0.0.1"] = "no relay: give -i SPEC",
    })
  end)
end)
