-- Tags of VID 0: they carry a priority, and are no VLAN (IEEE 802.1Q 9.6).

local frames = require "support.frames"
local kinds = require "support.kinds"
local settle = require("support.wait").settle

local A, B, BROADCAST = frames.MAC_A, frames.MAC_B, frames.BROADCAST
local PRIORITY = { { vid = 0, pcp = 5 } }

local function stack_of(endpoint)
  local _, from = assert(endpoint:recv(1))
  return tostring(from.vlans)
end

kinds.each("an EtherConn", function(it)
  it("that is untagged receives frames tagged VID 0, and sees the tag", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = B, multicast = true }, b:default_conn()
    for _, mac in ipairs { B, BROADCAST } do
      from:send(frames.udp(), mac, { vlans = PRIORITY })
      local packet, sender = assert(conn:recv(1))
      assert.same({ frames.udp(), "0", 5 }, { packet, tostring(sender.vlans), sender.vlans[1].pcp })
    end
    from:send(frames.udp(), B, { vlans = "0.0" })
    from:send(frames.udp(), B, { vlans = { { vid = 0, tpid = 0x88a8 }, 0 } })
    assert.same({ "0.0", "0.0" }, { stack_of(conn), stack_of(conn) })
    from:send(frames.udp(), B, { vlans = "0.7" })
    assert.equal("0.7", stack_of(rest))
    from:send(frames.udp(), BROADCAST, { vlans = "7.0" })
    assert.equal("7.0", stack_of(rest))
    assert.equal(4, conn:stats().received)
  end)

  it("on a VLAN stack receives frames whose stack has tags of VID 0 besides", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B, vlans = "100.200", multicast = true }
    local other = b:conn { mac = B, vlans = "0.100", multicast = true }
    for _, stack in ipairs { "0.100.200", "100.0.200", "100.200.0", "0.100.200.0" } do
      for _, mac in ipairs { B, BROADCAST } do
        from:send(frames.udp(), mac, { vlans = stack })
        assert.equal(stack, stack_of(conn))
      end
    end
    from:send(frames.udp(), B, { vlans = "0.100" })
    assert.equal("0.100", stack_of(other))
    assert.same({ 8, 1 }, { conn:stats().received, other:stats().received })
  end)

  it("with the very stack of a frame, VID 0 and all, receives it alone", function(a, b)
    local from, rest = a:conn { mac = A }, b:conn { mac = B, multicast = true }
    local exact = b:conn { mac = B, vlans = PRIORITY, ethertypes = { frames.IP4 }, multicast = true }
    local elsewhere = b:conn { mac = "02:00:00:00:00:0c", multicast = true }
    from:send(frames.udp(), B, { vlans = 0 })
    from:send(frames.udp(), BROADCAST, { vlans = 0 })
    from:send(frames.udp6(), B, { vlans = 0 })
    from:send(frames.udp6(), BROADCAST, { vlans = 0 })
    from:send(frames.udp(), B)
    for _ = 1, 2 do assert.equal(frames.udp(), (exact:recv(1))) end
    for _ = 1, 3 do assert(rest:recv(1)) end
    for _ = 1, 2 do assert(elsewhere:recv(1)) end
    assert.same({ 2, 3, 2 }, { exact:stats().received, rest:stats().received, elsewhere:stats().received })
    frames.assert_balanced(b)
  end)

  it("whose own MAC is a group address receives one tagged VID 0 once", function(a, b)
    local from = a:conn { mac = A }
    local own, all = b:conn { mac = BROADCAST, multicast = true }, b:conn { mac = B, multicast = "all" }
    from:send(frames.udp(), BROADCAST, { vlans = 0 })
    from:send(frames.udp(), B)
    for _ = 1, 2 do assert(all:recv(1)) end
    assert.same({ 1, 2 }, { own:stats().received, all:stats().received })
  end)

  it("passes datagrams tagged VID 0 to its RUDPConns", function(a, b)
    local from, conn = a:conn { mac = A }, b:conn { mac = B }
    local udp, any = conn:udp "10.0.0.2:2000", conn:udp("10.0.0.2:1", { accept_any = true })
    from:send(frames.udp(), B, { vlans = 0 })
    from:send(frames.udp { dst_port = 9 }, B, { vlans = 0 })
    assert.same({ frames.PAYLOAD, frames.PAYLOAD }, { (udp:recv(1)), (any:recv(1)) })
  end)

  it("leaves frames tagged VID 0 to the default endpoint when it has closed", function(a, b)
    local from, conn, rest = a:conn { mac = A }, b:conn { mac = B }, b:default_conn()
    conn:close()
    from:send(frames.udp(), B, { vlans = 0 })
    assert.equal("0", stack_of(rest))
  end)
end)

-- All that the EtherConn sends from now on is tagged VID 0, whatever its stack says.
local function tag_priority(conn)
  local at = conn.header_len
  conn.header[at], conn.header[at + 1], conn.header[at + 2], conn.header[at + 3] = 0x81, 0x00, 0xa0, 0x00
  conn.header_len = at + 4
end

kinds.each("a host", function(it)
  it("answers ARP, neighbour discovery and ping tagged VID 0", function(a, b)
    local host = b:host { mac = B, ip = "10.0.0.2/24", ip6 = "2001:db8::2/64", dad = false }
    local asking = a:host { mac = A, ip = "10.0.0.1/24", ip6 = "2001:db8::1/64", dad = false }
    assert(host:ready(1) and asking:ready(1))
    settle() -- what they have said to all hosts so far has no tag
    tag_priority(asking.conn)
    tag_priority(asking.segment.conn)
    local seen = b:default_conn { mirror = true }
    assert.is_number(asking:ping("10.0.0.2", { timeout = 1 }))
    assert.is_number(asking:ping("2001:db8::2", { timeout = 1 }))
    local came = {}
    for frame in function() return (seen:recv_frame(0)) end do
      if not frame.outgoing then came[("%04x %s"):format(frame.ethertype, tostring(frame.vlans))] = true end
    end
    assert.same({ ["0800 0"] = true, ["0806 0"] = true, ["86dd 0"] = true }, came)
  end)
end)
