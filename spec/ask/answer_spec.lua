-- conn:answer: responders on a wire, and before the kernel, whose own ping, ARP and UDP ask them.

local ether = require "etherlua"
local files = require "support.files"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local p = require "etherlua.proto.packet"
local sched = require "etherlua.core.sched"
local settle = require("support.wait").settle

local A, B, ALL = frames.MAC_A, frames.MAC_B, frames.BROADCAST
local IP_A, IP_B = "10.0.0.1", "10.0.0.2"
local V6_A, V6_B = "2001:db8::1", "2001:db8::2"

-- fn(conn, host, near): who asks, and who is to answer.
local function on_wire(fn, vlans)
  return function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      fn(near:conn { mac = A, vlans = vlans, multicast = true },
        far:conn { mac = B, vlans = vlans, multicast = true, ethertypes = {} }, near)
    end)
  end
end

local QUICK = { timeout = 0.05, src = IP_A, dst_mac = B }

local function ask(conn, request, opts)
  return (ether.sr1(conn, request, opts or QUICK))
end

local PING = p.ip4 { dst = IP_B } / p.icmp { type = 8, identifier = 7, sequence = 3 } / "ping"
local QUERY = p.ip4 { dst = IP_B } / p.udp { sport = 1000, dport = 53 } / "query"

-- What fn() writes to standard error.
local function errors_of(fn)
  local real, written = io.stderr, {}
  io.stderr = { write = function(_, ...) -- luacheck: ignore 122
    for _, text in ipairs { ... } do written[#written + 1] = text end
  end }
  local ok, failure = pcall(fn)
  io.stderr = real -- luacheck: ignore 122
  if not ok then error(failure, 0) end
  return table.concat(written)
end

local function raises(text, fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok, "no error: " .. text)
  assert.is_truthy(tostring(failure):find(text, 1, true), tostring(failure))
end

describe("conn:answer", function()
  after_each(leaks.check)

  -- ---- what a reply leaves out is turned around -------------------------------------------------------------------

  it("answers ARP, with nothing said but that it is a reply", on_wire(function(conn, host)
    host:answer { match = { arp = { op = 1, tpa = IP_B } }, reply = p.arp {} }
    local found = ask(conn, p.arp { tpa = IP_B }, { src = IP_A })
    assert.same({ A, B, 2, B, IP_B, A, IP_A }, { found.ether.dst, found.ether.src, found.arp.op, found.arp.sha,
      found.arp.spa, found.arp.tha, found.arp.tpa })
    assert.is_nil(ask(conn, p.arp { tpa = "10.0.0.9" }, { src = IP_A, timeout = 0.02 }))
  end))

  it("answers with the VLAN tags that came, priorities too", on_wire(function(conn, host)
    host:answer { match = { arp = { op = 1 } }, reply = p.arp {} }
    local tags = { { vid = 5, tpid = 0x88a8, pcp = 3 }, { vid = 6 } }
    local found = ask(conn, p.ether { dst = ALL, vlans = tags } / p.arp { tpa = IP_B })
    assert.same({ 5, 0x88a8, 3, 6 }, { found.ether.vlans[1].vid, found.ether.vlans[1].tpid, found.ether.vlans[1].pcp,
      found.ether.vlans[2].vid })
  end, { { vid = 5, tpid = 0x88a8 }, 6 }))

  it("answers a ping with its payload", on_wire(function(conn, host)
    host:answer { match = { icmp = { type = 8 } }, reply = function(request) return request.data.payload end }
    local found = ask(conn, PING)
    assert.same({ IP_B, IP_A, 0, 7, 3, "ping" }, { found.ip4.src, found.ip4.dst, found.icmp.type,
      found.icmp.identifier, found.icmp.sequence, found.data.payload })
  end))

  it("answers a datagram from the port that it came to, with a text or a layer", on_wire(function(conn, host)
    host:answer { match = { udp = { dst_port = 53 } }, reply = "text" }
    host:answer { match = { udp = { dport = 54 } }, reply = p.udp { sport = 99 } / "layer" }
    local found = ask(conn, QUERY)
    assert.same({ 53, 1000, "text" }, { found.udp.src_port, found.udp.dst_port, found.data.payload })
    conn:send((p.ip4 { src = IP_A, dst = IP_B } / p.udp { sport = 1000, dport = 54 }):build(), B)
    found = p.parse(tostring(conn:recv_frame(1)))
    assert.same({ 99, 1000, "layer" }, { found.udp.src_port, found.udp.dst_port, found.data.payload })
  end))

  it("answers a SYN with a reset or an acknowledgment of it", on_wire(function(conn, host)
    host:answer { match = { tcp = { dst_port = 80 } }, reply = p.tcp { syn = true, ack = true } }
    host:answer { match = { tcp = {} }, reply = p.tcp { rst = true, ack = true } }
    local syn = { dport = 80, syn = true, sequence_number = 0xffffffff }
    local found = ask(conn, p.ip4 { dst = IP_B } / p.tcp(syn))
    assert.same({ true, 0 }, { found.tcp.syn, found.tcp.acknowledgment_number })
    syn.dport = 81
    assert.is_true(ask(conn, p.ip4 { dst = IP_B } / p.tcp(syn)).tcp.rst)
  end))

  it("answers with a layer that the request's headers carry, such as an error about it", on_wire(function(conn, host)
    host:answer { match = { udp = {} }, reply = function(request)
      return p.icmp { type = 3, code = 3 } / request:build():sub(15)
    end }
    assert.same({ 3, 3 }, { ask(conn, QUERY).icmp.type, ask(conn, QUERY).icmp.code })
  end))

  it("answers DHCP with the same transaction and client", on_wire(function(conn, host)
    host:answer { match = { dhcp4 = { options = { message_type = "DISCOVER" } } },
      reply = p.ip4 { src = IP_B, dst = "255.255.255.255" } / p.udp {}
        / p.dhcp4 { yiaddr = IP_A, options = { message_type = "OFFER" } } }
    local found = ask(conn, p.ip4 { src = "0.0.0.0", dst = "255.255.255.255" } / p.udp {}
      / p.dhcp4 { xid = 99, chaddr = A, options = { message_type = "DISCOVER" } }, { timeout = 1 })
    assert.same({ 99, A, IP_A, 67, 68 }, { found.dhcp4.xid, found.dhcp4.chaddr, found.dhcp4.yiaddr,
      found.udp.src_port, found.udp.dst_port })
  end))

  it("answers neighbour solicitation once it says as whom", on_wire(function(conn, host)
    host:answer { match = { icmp6 = { type = 135 } }, reply = function(request)
      return p.ip6 { src = request.icmp6.target } / p.icmp6 {}
    end }
    local found = ask(conn, p.ip6 { dst = "ff02::1:ff00:2" } / p.icmp6 { type = 135, target = V6_B }, { src = V6_A })
    assert.same({ 136, V6_B, B, true, 255 }, { found.icmp6.type, found.icmp6.target,
      found.icmp6.target_link_layer_address, found.icmp6.solicited, found.ip6.hop_limit })
  end))

  it("sends what goes to a group to the group's MAC address", on_wire(function(conn, host)
    local to = { ["224.0.0.251"] = "01:00:5e:00:00:fb", ["239.129.1.2"] = "01:00:5e:01:01:02",
      ["255.255.255.255"] = frames.BROADCAST, ["ff02::1:2"] = "33:33:00:01:00:02" }
    for dst, mac in pairs(to) do
      local ip = dst:find ":" and p.ip6 { src = "fe80::2", dst = dst } or p.ip4 { src = IP_B, dst = dst }
      local responder = host:answer { reply = ip / p.udp { src_port = 5353, dst_port = 5353 } / "answer" }
      conn:send(p.ip4 { src = IP_A, dst = IP_B } / p.udp { src_port = 5353, dst_port = 5353 } / "question", B)
      local frame = assert(conn:recv_frame(1))
      assert.same({ mac, dst }, { frame.dst_mac, frame.dst_ip })
      responder:close()
    end
  end))

  it("answers protocols that nobody knows", on_wire(function(conn, host)
    host:answer { match = { ethernet = { ethertype = 0x88b5 } }, reply = "pong" }
    local other = conn:relay():conn { mac = A, ethertypes = { 0x88b5 } }
    other:send("ping", B, { ethertype = 0x88b5 })
    local payload, from = other:recv(1)
    assert.same({ "pong", 0x88b5 }, { payload, from.ethertype })
  end))

  it("answers as the host that was asked, where that is another than its own", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local conn = near:conn { mac = A }
      far:default_conn():answer { match = { icmp = { type = 8 } }, reply = "" }
      local found = ask(conn, PING, { src = IP_A, dst_mac = "02:00:00:00:00:99" })
      assert.equal("02:00:00:00:00:99", found.ether.src)
    end)
  end)

  -- ---- which frames, which replies ----------------------------------------------------------------------------------

  it("takes a function of the packet or a Lua pattern, too, and everything without", on_wire(function(conn, host)
    for _, match in ipairs { function(request) return request.icmp end, "echo request" } do
      local responder = host:answer { match = match, reply = "" }
      assert.is_truthy(ask(conn, PING))
      assert.is_nil(ask(conn, QUERY))
      responder:close()
    end
    host:answer { reply = "" }
    assert.is_truthy(ask(conn, PING))
  end))

  it("sends every packet of a list, and nothing for nil", on_wire(function(conn, host)
    local lists = { { "one", p.icmp {} / "two" }, {}, nil }
    local asked = 0
    local responder = host:answer { match = { icmp = { type = 8 } }, reply = function()
      asked = asked + 1
      return lists[asked]
    end }
    local answered = ether.sr(conn, PING, { timeout = 0.05, multi = true, src = IP_A, dst_mac = B })
    assert.same({ "one", "two" }, { answered[1].received.data.payload, answered[2].received.data.payload })
    assert.is_nil(ask(conn, PING))
    assert.is_nil(ask(conn, PING))
    assert.same({ 3, 1, 0, 0 }, { responder.matched, responder.answered, responder.ignored, responder.failed })
  end))

  it("gives a frame to the first of several responders that it matches", on_wire(function(conn, host)
    local first = host:answer { match = { udp = { dst_port = 53 } }, reply = "first" }
    local second = host:answer { match = { udp = {} }, reply = "second" }
    assert.equal("first", ask(conn, QUERY).data.payload)
    assert.same({ 1, 0, 0, 0 }, { first.matched, first.ignored, second.matched, second.ignored })
    first:close()
    assert.equal("second", ask(conn, QUERY).data.payload)
    assert.equal("responder on EtherConn 02:00:00:00:00:0b: 1 matched, 1 answered, 0 ignored, 0 failed",
      tostring(second))
  end))

  it("does not take what an ICMP error quotes for the packet itself", on_wire(function(conn, host)
    local list = { host:answer { match = { ip = { dst = "10.0.0.9" } }, reply = "" },
      host:answer { match = { udp = { dport = 7 } }, reply = "" },
      host:answer { match = { icmp = { type = 3 }, udp = { dport = 7 } }, reply = function() end } }
    conn:send((p.ip4 { src = IP_A, dst = IP_B } / p.icmp { type = 3 }
      / (p.ip4 { src = IP_B, dst = "10.0.0.9" } / p.udp { dport = 7 })):build(), B)
    settle()
    for i, matched in ipairs { 0, 0, 1 } do
      assert.same({ matched, 1 - matched }, { list[i].matched, list[i].ignored })
    end
  end))

  -- ---- the life of a responder --------------------------------------------------------------------------------------

  it("goes on, and others may read again, when it is closed", on_wire(function(conn, host)
    local responder = host:answer { reply = "" }
    responder:close()
    responder:close()
    conn:send(frames.udp(), B)
    assert.is_string((host:recv(1)))
    responder = host:answer { reply = "" }
    settle() -- now its reader waits
    responder:close()
    assert.same({ nil, "timeout" }, { ether.sr1(host, p.arp { tpa = IP_A }, { timeout = 0 }) })
    host:answer { match = { icmp = {} }, reply = "" }
    assert.is_truthy(ask(conn, PING))
    responder = host:answer { reply = "" }
    host:close()
    assert.equal("closed", responder:join(1))
    responder:close()
  end))

  it("does not hold the run, but can be waited for", function()
    local start = ether.now()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local responder = far:conn({ mac = B }):answer { reply = "" }
      assert.same({ nil, "timeout" }, { responder:join(0.02) })
      near:close()
    end)
    assert.is_true(ether.now() - start < 5)
  end)

  it("is the one reader", on_wire(function(_, host)
    host:answer { reply = "" }
    ether.sleep(0)
    raises("another task is reading this endpoint already", host.recv, host, 1)
  end))

  it("may block in its function, and other tasks go on", on_wire(function(conn, host)
    host:answer { match = { icmp = { type = 8 } }, reply = function() ether.sleep(0.05) return "late" end }
    local ticks = 0
    local ticker = ether.spawn(function() while true do ether.sleep(0.005) ticks = ticks + 1 end end)
    assert.equal("late", ask(conn, PING, { src = IP_A, dst_mac = B, timeout = 2 }).data.payload)
    assert.is_true(ticks > 2)
    ticker:cancel()
  end))

  it("can be closed while its function waits, which is no failure", on_wire(function(conn, host)
    local responder = host:answer { match = { icmp = {} }, reply = function() ether.sleep(60) end }
    assert.equal("", errors_of(function()
      conn:send((p.ip4 { src = IP_A, dst = IP_B } / p.icmp { type = 8 }):build(), B)
      settle()
      responder:close()
      assert.same({ nil, "cancelled" }, { responder:join(1) })
    end))
    assert.same({ 1, 0 }, { responder.matched, responder.failed })
  end))

  -- ---- failures -----------------------------------------------------------------------------------------------------

  it("counts errors in its functions and replies that cannot be made, tells the first, and goes on",
    on_wire(function(conn, host)
      local responder = host:answer { match = { icmp = { type = 8 } }, reply = function(request)
        if request.data.payload == "bad" then return request.nothing.here end
        return request.data.payload
      end }
      local bad = p.ip4 { src = IP_A, dst = IP_B } / p.icmp { type = 8 } / "bad"
      local text = errors_of(function()
        for _ = 1, 3 do conn:send(bad:build(), B) end
        settle()
      end)
      assert.matches("^etherlua: responder on EtherConn 02:.*answer_spec.lua:%d+: attempt to index field 'nothing'",
        text)
      assert.equal(1, select(2, text:gsub("attempt to index", "")))
      assert.equal("ping", ask(conn, PING).data.payload)
      assert.same({ 4, 1, 3 }, { responder.matched, responder.answered, responder.failed })
      assert.matches("attempt to index", responder.last_error)
    end))

  it("says what is wrong with a reply", on_wire(function(conn, host)
    for reply, complaint in pairs {
      [p.icmp6 { type = 129 }] = "bad reply: icmp6 does not fit what the request is made of",
      [p.udp { sport = -1 } / "x"] = "bad udp src_port",
      [("x"):rep(3000)] = "payload of 30%d%d bytes does not fit",
    } do
      local responder = host:answer { match = { udp = {} }, reply = reply }
      errors_of(function() assert.is_nil(ask(conn, QUERY)) end)
      assert.matches(complaint, responder.last_error)
      responder:close()
    end
    local responder = host:answer { match = { udp = {} }, reply = "who?" }
    errors_of(function()
      assert.is_nil(ask(conn, p.ip4 { dst = "224.0.0.251" } / p.udp { sport = 1, dport = 7 } / "x"))
    end)
    assert.matches("the request went to 224.0.0.251, so its ipv4 needs a src", responder.last_error)
  end))

  it("lives through hostile frames", function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local inject, conn = frames.injector(near), near:conn { mac = A }
      local host = far:conn { mac = B, ethertypes = {} }
      local responder = host:answer { reply = function(request) return request[#request].fields.payload end }
      local good = (p.ether { src = A, dst = B } / p.ip4 { src = IP_A, dst = IP_B } / p.udp { sport = 9, dport = 68 }
        / p.dhcp4 { options = { message_type = "OFFER" } }):build()
      errors_of(function()
        for size = 14, #good do inject(good:sub(1, size)) end
        for at = 13, 60 do inject(good:sub(1, at - 1) .. string.char(255 - good:byte(at)) .. good:sub(at + 1)) end
        ether.sleep(0.05)
        assert.is_true(responder.matched > 20) -- of the others the engine says that they are invalid
        assert.equal("ping", ask(conn, PING).data.payload)
      end)
    end)
  end)

  it("refuses what it cannot be", on_wire(function(_, host)
    local answer = host.answer
    raises("bad options 5 of answer: a table is needed", answer, host, 5)
    raises('unknown option "mach" of answer, did you mean "match"?', answer, host, { mach = {}, reply = "" })
    raises('bad pattern: unknown layer "upd", did you mean "udp"?', answer, host, { match = { upd = {} }, reply = "" })
    raises('unknown field "dst_prot" of udp, did you mean "dst_port"?', answer, host,
      { match = { udp = { dst_prot = 53 } }, reply = "" })
    raises("spec/ask/answer_spec.lua:", answer, host, { match = { upd = {} }, reply = "" })
    raises("bad match 5: a table of fields, a function or a Lua pattern is needed", answer, host,
      { match = 5, reply = "" })
    raises("no reply given to answer: a packet, a string or a function that returns one is needed", answer, host)
    host:close()
    raises("this endpoint is closed", answer, host, { reply = "" })
  end))
end)

-- ---- before the kernel ----------------------------------------------------------------------------------------------

describe("the kernel is answered", function()
  local permitted, reason = lab.root()
  local host_lines = {
    function(host) host:answer { match = { arp = { op = 1, tpa = IP_B } }, reply = p.arp {} } end,
    function(host)
      host:answer { match = { icmp = { type = 8 } }, reply = function(request) return request.data.payload end }
    end,
    function(host)
      host:answer { match = { udp = { dst_port = 53 } }, reply = function(q) return q.data.payload:upper() end }
    end,
    function(host)
      host:answer { match = { icmp6 = { type = 135, target = V6_B } }, reply = function()
        return p.ip6 { src = V6_B } / p.icmp6 {}
      end }
    end,
    function(host)
      host:answer { match = { icmp6 = { type = 128 } }, reply = function(request) return request.data.payload end }
    end,
  }

  -- What a program in the far namespace prints while the responders are at work.
  local function program_it(name, command, expected)
    it(name, function()
      if not permitted then return pending(reason) end
      local path = os.tmpname()
      kinds.run(function()
        local net = ether.lab { ipv6 = true, checksum = false }
        sched.close_at_end(net)
        net.far:run("ip addr add 10.0.0.1/24 dev eth0 && ip addr add 2001:db8::1/64 dev eth0 nodad")
        local host = net:relay():conn { mac = B, multicast = true }
        for _, line in ipairs(host_lines) do line(host) end
        local program = net.far:start({ "bash", "-c", command }, { log = path })
        for _ = 1, 500 do
          if program:status() then break end
          ether.sleep(0.02)
        end
        program:stop()
      end)
      local text = files.read_all(path)
      os.remove(path)
      assert.matches(expected, text)
      leaks.check()
    end)
  end

  program_it("when it asks for a MAC address", "busybox arping -f -c 3 -w 3 -I eth0 10.0.0.2",
    "reply from 10.0.0.2 [[]" .. B .. "[]]")
  program_it("when it pings", "busybox ping -c 3 -i 0.1 -W 2 10.0.0.2", "3 packets received, 0%% packet loss")
  program_it("when it pings over IPv6", "busybox ping6 -c 3 -i 0.1 -W 2 2001:db8::2",
    "3 packets received, 0%% packet loss")
  program_it("when it sends a datagram",
    "exec 3<>/dev/udp/10.0.0.2/53; echo hello >&3; timeout 2 head -n 1 <&3", "HELLO")
end)
