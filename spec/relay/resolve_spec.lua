-- resolve: from the IP address that a datagram is sent to, to the MAC address that it goes to.

local arp = require "etherlua.proto.arp"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local settle = require("support.wait").settle

local A, B = frames.MAC_A, frames.MAC_B

-- The destination MAC of the next frame.
local function dst_of(endpoint)
  local frame = assert(endpoint:recv_frame(1))
  return frame.dst_mac
end

kinds.each('resolve', function(it)
  it('"broadcast", the default, sends to everybody', function(a, b)
    local conn, rest = a:conn { mac = A }, b:default_conn()
    conn:udp("10.0.0.1:1"):send("x", "10.0.0.2:2")
    conn:udp("10.0.0.1:2", { resolve = "broadcast" }):send("x", "10.0.0.2:2")
    assert.same({ frames.BROADCAST, frames.BROADCAST }, { dst_of(rest), dst_of(rest) })
  end)

  it("a function is asked with the IP address, and may wait", function(a, b)
    local asked, rest = {}, b:default_conn()
    local udp = a:conn({ mac = A }):udp("10.0.0.1:1", { resolve = function(ip)
      asked[#asked + 1] = ip
      settle()
      return B
    end })
    assert.is_true(udp:send("x", "10.0.0.2:2"))
    assert.equal(B, dst_of(rest))
    assert.same({ "10.0.0.2" }, asked)
  end)

  it("a function is not asked for group addresses", function(a, b)
    local rest = b:default_conn()
    local conn = a:conn { mac = A }
    local function resolve() error("asked") end
    conn:udp("10.0.0.1:1", { resolve = resolve }):send("x", "255.255.255.255:2")
    conn:udp("10.0.0.1:2", { resolve = resolve }):send("x", "224.0.0.1:2")
    conn:udp("[fe80::1]:1", { resolve = resolve }):send("x", "[ff02::1]:2")
    local found = { dst_of(rest), dst_of(rest), dst_of(rest) }
    table.sort(found) -- cards and drivers keep the order of one flow alone
    assert.same({ "01:00:5e:00:00:01", "33:33:00:00:00:01", frames.BROADCAST }, found)
  end)

  it("a function that knows no MAC address says why, and nothing is sent", function(a)
    local conn = a:conn { mac = A }
    local udp = conn:udp("10.0.0.1:1", { resolve = function() return nil, "no route" end })
    assert.same({ nil, "no route" }, { udp:send("x", "10.0.0.2:2") })
    udp = conn:udp("10.0.0.1:2", { resolve = function() end })
    assert.same({ nil, "unresolved" }, { udp:send("x", "10.0.0.2:2") })
    assert.equal(0, a:stats().tx_frames)
  end)

  it('"arp" finds another host that has it, too, both ways and with tags', function(a, b)
    local near = a:conn({ mac = A, vlans = "5.6" }):udp("10.0.0.1:1", { resolve = "arp" })
    local far = b:conn({ mac = B, vlans = "5.6" }):udp("10.0.0.2:2", { resolve = "arp" })
    assert.is_true(near:send("there", "10.0.0.2:2"))
    local payload, from = far:recv(1)
    assert.equal("there", payload)
    assert.is_true(far:send("back", from))
    assert.equal("back", (near:recv(1)))
  end)

  it('"arp" asks once for many datagrams, and for many tasks that wait for the same address', function(a, b)
    local near = a:conn({ mac = A }):udp("10.0.0.1:1", { resolve = "arp" })
    local far = b:conn { mac = B }
    for _, ip in ipairs { "10.0.0.2", "10.0.0.3" } do far:udp(ip .. ":2", { resolve = "arp", recv_depth = 1000 }) end
    local heard, tasks = b:default_conn { mirror = true, recv_depth = 1000 }, {}
    -- There are cards that hear nothing for a second after they were opened.
    assert.is_true((near:send("x", "10.0.0.3:2")))
    while heard:recv(0.1) do end
    local before = frames.when_sent(a).tx_sent
    for i = 1, 20 do tasks[i] = ether.spawn(function() return near:send("x", "10.0.0.2:2") end) end
    for _, task in ipairs(tasks) do assert.is_true((task:join())) end
    for _ = 1, 20 do near:send("x", "10.0.0.2:2") end
    local questions, datagrams = {}, 0
    for frame in function() return heard:recv_frame(0.1) end do
      if not frame.outgoing and frame.ethertype == 0x0806 then
        local question = arp.parse(frame.body)
        questions[#questions + 1] = ("%d %s %s"):format(question.op, question.spa, question.tpa)
      elseif not frame.outgoing then
        datagrams = datagrams + 1
      end
    end
    assert.same({ { "1 10.0.0.1 10.0.0.2" }, 40 }, { questions, datagrams })
    assert.equal(1 + 40, frames.when_sent(a).tx_sent - before)
  end)

  it('"arp" gives nil and a reason after three questions without an answer', function(a, b)
    local rest = b:default_conn()
    local near = a:conn({ mac = A }):udp("10.0.0.1:1", { resolve = "arp" })
    local before = ether.now()
    assert.same({ nil, "no answer from neighbour 10.0.0.9" }, { near:send("x", "10.0.0.9:2") })
    local took = ether.now() - before
    assert.is_true(took >= 1 and took < 10, tostring(took))
    for _ = 1, 3 do
      local request = arp.parse((rest:recv(0)))
      assert.same({ 1, A, "10.0.0.1", "10.0.0.9" }, { request.op, request.sha, request.spa, request.tpa })
    end
    assert.same({ nil, "timeout" }, { rest:recv(0) })
  end)

  it('"arp" answers for its own address alone, to the one that asked', function(a, b)
    b:conn({ mac = B }):udp("10.0.0.2:2", { resolve = "arp" })
    local conn = a:conn { mac = A }
    for _, ip in ipairs { "10.0.0.3", "10.0.0.2" } do
      conn:send(arp.build { sha = A, spa = "10.0.0.1", tpa = ip }, frames.BROADCAST, { ethertype = 0x0806 })
    end
    local reply, from = conn:recv(1)
    assert.equal(B, from.mac)
    local fields = arp.parse(reply)
    assert.same({ 2, B, "10.0.0.2", A, "10.0.0.1" }, { fields.op, fields.sha, fields.spa, fields.tha, fields.tpa })
    assert.same({ nil, "timeout" }, { conn:recv(0.02) })
  end)

  it('"arp" leaves ARP to the EtherConn as well', function(a, b)
    local conn = b:conn { mac = B }
    conn:udp("10.0.0.2:2", { resolve = "arp" })
    local request = arp.build { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }
    a:conn({ mac = A }):send(request, B, { ethertype = 0x0806 })
    assert.equal(request, conn:recv(1):sub(1, #request)) -- cards pad
  end)

  it('"arp" answers for the new address after set_addr, not for the old one', function(a, b)
    local udp = b:conn({ mac = B }):udp("10.0.0.2:2", { resolve = "arp" })
    udp:set_addr("10.0.0.3:2")
    local conn = a:conn { mac = A }
    for _, ip in ipairs { "10.0.0.2", "10.0.0.3" } do
      conn:send(arp.build { sha = A, spa = "10.0.0.1", tpa = ip }, frames.BROADCAST, { ethertype = 0x0806 })
    end
    assert.equal("10.0.0.3", arp.parse((conn:recv(1))).spa)
    assert.same({ nil, "timeout" }, { conn:recv(0.02) })
  end)

  it('"arp" asks in the name of the new address after set_addr', function(a, b)
    local udp, rest = a:conn({ mac = A }):udp("0.0.0.0:68", { resolve = "arp" }), b:default_conn()
    udp:set_addr("10.0.0.3:68")
    local task = ether.spawn(function() udp:send("x", "10.0.0.2:2") end)
    assert.equal("10.0.0.3", arp.parse((rest:recv(1))).spa)
    task:cancel()
  end)

  it('"arp" answers no more for an address whose last RUDPConn was closed', function(a, b)
    local host, conn = b:conn { mac = B }, a:conn { mac = A }
    local one, two = host:udp("10.0.0.2:2", { resolve = "arp" }), host:udp("10.0.0.2:3", { resolve = "arp" })
    local request = arp.build { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }
    one:close()
    conn:send(request, frames.BROADCAST, { ethertype = 0x0806 })
    assert(conn:recv(1))
    two:close()
    conn:send(request, frames.BROADCAST, { ethertype = 0x0806 })
    assert.same({ nil, "timeout" }, { conn:recv(0.02) })
  end)

  it('"arp" survives ARP and ND frames that make no sense', function(a, b)
    local inject = frames.injector(a)
    local conn = b:conn { mac = B }
    conn:udp("10.0.0.2:2", { resolve = "arp" })
    local icmp6 = frames.udp6 { protocol = 58 }
    local junk = { ("\0"):rep(28), ("\0"):rep(8), "\0\1\8\0\0\0\0\1", "\0\1\8\0\4\6\0\1" .. ("x"):rep(20),
      "\0\6\134\221\8\16\0\1" .. ("x"):rep(48), arp.build { op = 9, sha = A, spa = "10.0.0.2", tpa = "10.0.0.2" } }
    for _, packet in ipairs(junk) do
      inject(frames.frame(packet, { ethertype = 0x0806, dst = frames.BROADCAST }))
      inject(frames.frame(packet, { ethertype = 0x0806 }))
    end
    for size = 40, #icmp6 do
      inject(frames.frame(icmp6:sub(1, 4) .. "\0" .. string.char(size - 40) .. icmp6:sub(7, size)))
    end
    inject(frames.frame(arp.build { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }, { ethertype = 0x0806 }))
    local reply = a:conn({ mac = A }):recv(1)
    assert.equal("10.0.0.2", arp.parse(reply).spa)
  end)
end)
