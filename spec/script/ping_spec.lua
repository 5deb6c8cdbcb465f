-- Ping, against kernels: what is sent is right, what comes back is told apart, and what people see of it.

local alone = require "support.alone"
local cjson = require "cjson"
local ether = require "etherlua"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local neighbour = require "etherlua.host.neighbour"
local pcap = require "support.pcap"
local ping = require "etherlua.role.ping"
local program = require "support.program"
local proto = require "etherlua.proto"
local root_it = require "support.root_it"
local routed = require "support.routed"

local ME, PEER, MAC, MAC2 = "10.0.0.1", "10.0.0.2", "02:00:00:00:00:01", "02:00:00:00:00:02"

-- ---- the role, on a wire ------------------------------------------------------------------------------------------

-- fn(host, send) as a task; send(packet) has the other end send it. Without a replier it answers ARP alone.
local function on_wire(replies, fn)
  return function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local far = replies and other:host { mac = MAC2, ip = PEER .. "/24" }.conn or other:conn { mac = MAC2 }
      if not replies then
        neighbour.of(far):claim(PEER)
        neighbour.of(far):claim "2001:db8::2"
      end
      local host = relay:host { mac = MAC, ip = ME .. "/24", ip6 = "2001:db8::1/64", dad = false }
      fn(host, function(packet) far:send(packet, MAC) end)
    end)
  end
end

local function ip4(src, message)
  return proto.ipv4.build { src = src, dst = ME, protocol = 1, payload = proto.icmp.build(message) }
end

local function request(identifier, src, dst, sequence)
  return proto.ipv4.build { src = src or ME, dst = dst or PEER, protocol = 1,
    payload = proto.icmp.build { type = 8, identifier = identifier, sequence = sequence or 1 } }
end

describe("role.ping", function()
  after_each(leaks.check)

  it("tells duplicates from first replies", on_wire(false, function(host, send)
    local asker = ping.new(host, PEER, { times = ether.histogram() })
    assert.is_true(asker:send(1))
    for _ = 1, 3 do send(ip4(PEER, { type = 0, identifier = asker.identifier, sequence = 1, payload = "x" })) end
    local first, second, third = asker:recv(1), asker:recv(1), asker:recv(1)
    assert.same({ nil, true, true }, { first.duplicate, second.duplicate, third.duplicate })
    assert.same({ 1, 1, 2, 1 }, { asker.sent, asker.received, asker.duplicates, asker.times.count })
    assert.is_true(first.rtt > 0 and second.rtt == nil)
  end))

  it("takes no reply to what was not asked, nor one from somebody else", on_wire(false, function(host, send)
    local asker = ping.new(host, PEER)
    assert.is_true(asker:send(1))
    send(ip4(PEER, { type = 0, identifier = asker.identifier, sequence = 2 }))
    send(ip4(PEER, { type = 0, identifier = (asker.identifier + 1) % 0x10000, sequence = 1 }))
    send(ip4("10.0.0.7", { type = 0, identifier = asker.identifier, sequence = 1 }))
    assert.same({ nil, "timeout" }, { asker:recv(0.05) })
    assert.equal(0, asker.received)
  end))

  it("believes an error only when it quotes its own request", on_wire(false, function(host, send)
    local asker = ping.new(host, PEER)
    assert.is_true(asker:send(1))
    local id = asker.identifier
    local right = request(id)
    for _, quote in ipairs { request((id + 1) % 0x10000), request(id, "10.0.0.8"), request(id, ME, "10.0.0.8"),
      request(id, ME, PEER, 2), right:sub(1, 19), right:sub(1, 27), ("\255"):rep(40), "" } do
      send(ip4("10.0.0.7", { type = 3, code = 1, payload = quote }))
    end
    send(ip4("10.0.0.7", { type = 13, payload = "" }):sub(1, 28)) -- a timestamp request that is too short
    send(ip4("10.0.0.7", { type = 5, code = 1, gateway = "10.0.0.9", payload = right }))
    local pong = asker:recv(1)
    assert.same({ "redirect (host) to 10.0.0.9", nil, 0 }, { pong.notice, pong.error, asker.errors })
    send(ip4("10.0.0.7", { type = 3, code = 1, payload = right }))
    pong = asker:recv(1)
    assert.same({ "10.0.0.7", "destination unreachable (host)", 1 }, { pong.from, pong.error, asker.errors })
    assert.is_true(asker:drain(0))
  end))

  for version, ends in pairs { [4] = { ME, PEER }, [6] = { "2001:db8::1", "2001:db8::2" } } do
    it("compares the data of a reply with what was sent, on IPv" .. version, on_wire(false, function(host, send)
      local message, me, peer = version == 4 and proto.icmp or proto.icmp6, ends[1], ends[2]
      assert.is_true((host:ready(1)))
      local asker = ping.new(host, peer, { size = 20 })
      local good = ""
      for octet = 0, 19 do good = good .. string.char(octet) end
      for sequence, case in ipairs {
        { good }, { good:sub(1, 16) .. "\239" .. good:sub(18), "wrong data byte #16 should be 0x10 but was 0xef" },
        { good:sub(1, 12), "12 bytes of data, 20 were sent (truncated)" },
        { "", "0 bytes of data, 20 were sent (truncated)" },
        { good .. "x", "21 bytes of data, 20 were sent" }, { "\1\2", "wrong data byte #0 should be 0x0 but was 0x1" },
      } do
        assert.is_true(asker:send(sequence))
        send(proto.ip.build { src = peer, dst = me, protocol = version == 4 and 1 or 58, payload = message.build({
          type = message.ECHO_REPLY, identifier = asker.identifier, sequence = sequence, payload = case[1] },
          { src = peer, dst = me }) })
        local pong = asker:recv(1)
        assert.same({ case[2], case[2] and true, 8 + #case[1] }, { pong.error, pong.damaged, pong.size })
        assert.is_true(pong.rtt >= 0)
      end
      local all = asker:summary()
      assert.same({ 6, 5, 0 }, { all.received, all.corrupted, all.errors })
    end))
  end

  it("has no good answer in damaged data", function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local host, far, change = relay:host { mac = MAC, ip = ME .. "/24" }, other:conn { mac = MAC2 }, tostring
      neighbour.of(far):claim(PEER)
      far:answer { match = { icmp = { type = 8 } }, reply = function(asked) return change(asked.data.payload) end }
      assert.is_true(host:ping(PEER) > 0)
      change = function(data) return data:sub(1, -2) .. "x" end
      assert.same({ nil, PEER .. " answered with wrong data byte #55 should be 0x37 but was 0x78" },
        { host:ping(PEER) })
      change = function(data) return data:sub(1, -2) end
      assert.same({ nil, PEER .. " answered with 55 bytes of data, 56 were sent (truncated)" }, { host:ping(PEER) })
    end)
  end)

  it("has its own replies alone when several ask at once, also where sequences begin anew", on_wire(true, function(host)
    local askers = { ping.new(host, PEER), ping.new(host, PEER) }
    assert.is_true(askers[1].identifier ~= askers[2].identifier)
    for sequence = 65534, 65538 do
      for _, asker in ipairs(askers) do assert.is_true(asker:send(sequence)) end
    end
    for _, asker in ipairs(askers) do
      for _, expected in ipairs { 65534, 65535, 0, 1, 2 } do assert.equal(expected, asker:recv(1).sequence) end
      assert.same({ 5, 5, 0 }, { asker.sent, asker.received, asker.duplicates })
      asker:close()
    end
    assert.has_error(function()
      ping.new(host, PEER, { identifier = 7 })
      ping.new(host, PEER, { identifier = 7 })
    end, "identifier 7 is in use")
  end))

  alone.it("makes no garbage when it only counts", on_wire(true, function(host)
    local asker = ping.new(host, PEER, { quiet = true, times = ether.histogram() })
    local function flood(from, to)
      for sequence = from, to do
        asker:send(sequence)
        assert(asker:wait(sequence, 1))
      end
    end
    flood(1, 3000)
    for sequence = 1, 0x10000 do asker.sent_at[sequence % 0x10000] = 0 end -- the table's own room is no garbage
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    flood(3001, 13000)
    local per_packet = (collectgarbage "count" - before) * 1024 / 10000
    collectgarbage "restart"
    assert.equal(13000, asker.received)
    assert.is_true(per_packet < 200, ("%.0f bytes a packet"):format(per_packet))
  end))
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

-- A host that changes an octet of what it echoes.
local DAMAGING = [[
local ether = require "etherlua"
local conn = ether.open("eth0"):conn { mac = "02:00:00:00:00:02", multicast = true }
require("etherlua.host.neighbour").of(conn):claim "10.0.0.2"
conn:answer { match = { icmp = { type = 8 } }, reply = function(asked)
  local data = asked.data.payload
  return data:sub(1, 30) .. "!" .. data:sub(32)
end }:join()
]]

local reason = select(2, lab.root())

describe("the script ping", function()
  local net, client

  setup(function()
    if reason then return end
    net = routed.new()
    client = net:host "client"
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function ping_from(version, arguments, to)
    return program.said(client, ("ping -i eth0 %s %s %s"):format(routed.HOST[version], arguments,
      to or routed.SERVER[version]))
  end

  for version = 4, 6, 2 do
    local v = " over IPv" .. version
    local server = routed.SERVER[version]

    root_it("prints a line for each reply and a summary, as ping does," .. v, function()
      local status, text = ping_from(version, "--count 3 --interval 0.05")
      local own, size = version == 4 and "10.0.1.5" or "2001:db8:1::5", version == 4 and 84 or 104
      assert.equal(0, status, text)
      assert.is_truthy(text:find(("PING %s from %s (02:"):format(server, own), 1, true), text)
      assert.is_truthy(text:find(("): 56(%d) bytes of data.\n"):format(size), 1, true), text)
      for i = 1, 3 do
        local line = ("\n64 bytes from %s: icmp_seq=%d ttl=62 time="):format(server, i)
        assert.is_truthy(text:find(line, 1, true), text)
      end
      assert.is_truthy(text:find(("\n--- %s ping statistics ---\n3 packets transmitted, 3 received, 0%% packet loss, "
        .. "time "):format(server), 1, true), text)
      assert.matches("\nrtt min/avg/max/mdev = [%d.]+/[%d.]+/[%d.]+/[%d.]+ ms\nrtt ms  min .* p99%.9 .*\n$", text)
    end)

    root_it("prints JSON objects" .. v, function()
      local status, text = ping_from(version, "--count 2 --interval 0.05 --json")
      local said = program.objects(text)
      assert.same({ 0, 3 }, { status, #said }, text)
      assert.same({ 1, server, 64, 62, cjson.null, cjson.null }, { said[1].icmp_seq, said[1].from, said[1].bytes,
        said[1].ttl, said[1].error, said[1].duplicate })
      assert.is_true(said[1].rtt_ms > 0)
      local sum = said[3]
      assert.same({ server, 2, 2, 0, 0, 0, 0, 2 }, { sum.target, sum.transmitted, sum.received, sum.duplicates,
        sum.errors, sum.unsent, sum.loss_percent, sum.rtt_ms.count }, text)
    end)

    root_it("says who dropped a request whose TTL was used up, with status 3," .. v, function()
      for ttl, from in ipairs(version == 4 and { "10.0.1.1", "10.0.2.1" } or { "2001:db8:1::1", "2001:db8:2::1" }) do
        local status, text = ping_from(version, "--count 1 --ttl " .. ttl)
        assert.equal(3, status)
        assert.is_truthy(text:find(("\nFrom %s icmp_seq=1 time exceeded (in transit)\n"):format(from), 1, true), text)
        assert.is_truthy(text:find("1 packets transmitted, 0 received, +1 errors, 100% packet loss", 1, true), text)
      end
    end)

    root_it("says that a network, or a host, cannot be reached" .. v, function()
      local status, text = ping_from(version, "--count 1", version == 4 and "10.9.9.9" or "2001:db8:99::9")
      assert.equal(3, status)
      assert.is_truthy(text:find(version == 4 and "From 10.0.1.1 icmp_seq=1 destination unreachable (net)"
        or "From 2001:db8:1::1 icmp_seq=1 destination unreachable (no route)", 1, true), text)
      local nobody = version == 4 and "10.0.1.77" or "2001:db8:1::77"
      status, text = ping_from(version, "--count 1", nobody)
      assert.equal(3, status)
      assert.is_truthy(text:find("icmp_seq=1 no answer from neighbour " .. nobody, 1, true), text)
    end)

    root_it("says whose MTU is too small" .. v, function()
      net:host("r1"):run "ip link set far mtu 1300"
      local status, text = ping_from(version, "--count 1 --size 1400 --df")
      net:host("r1"):run "ip link set far mtu 1500"
      assert.equal(3, status)
      assert.is_truthy(text:find(version == 4 and "From 10.0.1.1 icmp_seq=1 destination unreachable (fragmentation " ..
        "needed) mtu 1300" or "From 2001:db8:1::1 icmp_seq=1 packet too big mtu 1300", 1, true), text)
    end)

    root_it("sends what tshark finds no fault with, at any size" .. v, function()
      local capture = os.tmpname()
      for _, size in ipairs { 0, 1, 57, version == 4 and 1472 or 1452 } do
        local status, text = ping_from(version, ("--count 3 --rate 100 --tos 184 --size %d --capture %s"):format(size,
          capture))
        assert.equal(0, status, text)
        local filter = version == 4 and "icmp" or "icmpv6"
        local shown = client:run(("tshark -r %s -T fields -e %s.type -e %s 2>/dev/null"):format(capture, filter,
          version == 4 and "ip.dsfield" or "ipv6.tclass"))
        assert.equal(3, select(2, shown:gsub(version == 4 and "%f[^\n%z]8\t0xb8" or "%f[^\n%z]128\t0x0*b8", "")), shown)
        local faults = client:run(("tshark -r %s -o ip.check_checksum:TRUE -Y '_ws.malformed or _ws.expert.severity >= "
          .. "6291456 or icmp.checksum.status == 0 or icmpv6.checksum.status == 0 or ip.checksum.status == 0' "
          .. "2>/dev/null"):format(capture))
        assert.equal("", faults)
      end
      os.remove(capture)
    end)

    root_it("floods, and sends at a rate, without lines" .. v, function()
      for _, how in ipairs { "--flood", "--rate 5000" } do
        local status, text = ping_from(version, "--count 500 " .. how)
        assert.equal(0, status, text)
        assert.is_truthy(text:find("\n500 packets transmitted, 500 received, 0% packet loss", 1, true), text)
        assert.is_nil(text:find("icmp_seq", 1, true))
      end
    end)
  end

  root_it("says what got no answer in time", function()
    net:host("server"):run "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all"
    local status, text = ping_from(4, "--count 2 --interval 0.1 --timeout 0.2")
    local _, json = ping_from(4, "--count 1 --timeout 0.1 --json")
    local _, quiet = ping_from(4, "--count 3 --rate 100 --timeout 0.1")
    net:host("server"):run "echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_all"
    assert.equal(3, status)
    assert.is_truthy(text:find("\nicmp_seq=1 no answer\nicmp_seq=2 no answer\n\n---", 1, true), text)
    assert.same({ 1, "no answer" }, { program.objects(json)[1].icmp_seq, program.objects(json)[1].error })
    assert.is_truthy(quiet:find("3 packets transmitted, 0 received, 100% packet loss", 1, true), quiet)
  end)

  root_it("says which data is damaged, as ping does, counts it, and ends with status 3", function()
    local pair, script = lab.new(), pcap.write_file(DAMAGING)
    local far = program.start(pair.far, script)
    program.wait_for_socket(pair.far)
    local arguments = "ping -i eth0 --ip 10.0.0.1/24 --interval 0.05 --count 2 10.0.0.2"
    local status, text = program.said(pair.near, arguments)
    assert.equal(3, status, text)
    assert.matches("\n64 bytes from 10%.0%.0%.2: icmp_seq=1 ttl=64 time=[%d.]+ ms\n"
      .. "wrong data byte #30 should be 0x1e but was 0x21\n64 bytes", text)
    assert.is_truthy(text:find("2 packets transmitted, 2 received, +2 corrupted, 0% packet loss", 1, true), text)
    local _, json = program.said(pair.near, arguments .. " --json")
    local said = program.objects(json)
    assert.same({ "wrong data byte #30 should be 0x1e but was 0x21", 2, 2, 0 }, { said[1].error, said[3].received,
      said[3].corrupted, said[3].errors })
    far:interrupt()
    pair:close()
    pcap.remove_files()
  end)

  root_it("goes on until Ctrl-C, and prints the summary then", function()
    local running = program.start(client, ("ping -i eth0 %s --interval 0.05 %s"):format(routed.HOST[4],
      routed.SERVER[4]))
    running:wait_for "icmp_seq=3"
    local status, text = running:interrupt()
    assert.equal(0, status, text)
    local sent, received = text:match "\n(%d+) packets transmitted, (%d+) received, 0%% packet loss"
    assert.is_true(sent == received and tonumber(sent) >= 3, text)
  end)
end)
