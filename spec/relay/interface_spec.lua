-- Relays on interfaces: how they are opened, what becomes of them when the interface changes, and that it is left as it
-- was. Every spec has a lab of its own.

local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local files = require "support.files"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local nic_lab = require "support.nic_lab"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B

kinds.each_with_interface("opening a relay", function(it, kind)
  local function refuses(words, on, opts)
    it("says in one line that " .. words[1], function(_, open)
      local one = lab.namespace()
      ether.defer(function() one:close() end)
      one:run("ip link add dev down type veth peer name up; ip link set dev up up; ip tuntap add mode tun name tun7")
      opts = opts or {}
      opts.on = on
      local ok, message = pcall(open, one, opts)
      assert.is_false(ok)
      assert.is_truthy(message:find(words[2], 1, true), message)
      assert.is_nil(message:find("\n"), message)
    end)
  end

  refuses({ "there is no such interface", "no such interface: nope" }, "nope")
  refuses({ "the interface is down, and what to do", "interface down is down: ip link set down up" }, "down")
  refuses({ "there is none with such an alternative name", "no such interface: sixteen-letters-" }, "sixteen-letters-")
  refuses({ "the name is too long", ('bad interface name "%s": 1 to 127 characters'):format(("x"):rep(64)) },
    ("x"):rep(128))
  refuses({ "the name is empty", 'bad interface name "": 1 to 127 characters' }, "")
  refuses({ "it is no Ethernet interface, but a tunnel",
    "tun7 is no Ethernet interface: its link type is none, its driver tun" }, "tun7")

  it("takes alternative names, which may be longer than others", { near_mac = "02:00:00:00:00:77" }, function(l, open)
    for _, name in ipairs { "uplink", ("u"):rep(16), ("u"):rep(127) } do
      l.near:run("ip link property add dev eth0 altname " .. name)
      ether.defer(function() l.near:run("ip link property del dev eth0 altname " .. name) end)
      local relay = open(l.near, { on = name })
      assert.equal("02:00:00:00:00:77", relay.mac)
      relay:close()
    end
  end)

  it("says in one line what is wrong with the options", function(l, open)
    for words, opts in pairs {
      ["bad number of frames 127: at least 128 are needed"] = { frames = 127 },
      ["bad frame_size 2047: 2048 to 131072 is allowed at MTU 1500"] = { frame_size = 2047 },
      ['bad filter "udp or or": '] = { filter = "udp or or" },
      ['unknown option "promisc" of a relay, did you mean "promiscuous"?'] = { promisc = true },
      ["cannot write capture file /nowhere/x.pcap"] = { capture = "/nowhere/x.pcap" },
    } do
      local ok, message = pcall(open, l.near, opts)
      assert.is_false(ok)
      assert.is_truthy(message:find(words, 1, true), message)
      assert.is_nil(message:find("\n"), message)
    end
  end)

  it("needs no kind before the interface's name, which picks afpacket", function(l)
    local relay = l.near:enter(ether.open, "eth0")
    assert.same({ "afpacket", "afpacket:eth0" }, { relay.kind, relay.name })
  end)

  it("tells the interface's MAC address and MTU", { near_mac = "02:00:00:00:00:77", mtu = 1600 }, function(l, open)
    local relay = open(l.near)
    assert.same({ "02:00:00:00:00:77", 1600, kind.spec, kind.spec .. ":eth0" },
      { relay.mac, relay.mtu, relay.kind, relay.name })
    assert.equal("02:00:00:00:00:77", tostring(relay:conn().mac))
  end)

  it("25 times leaves no file open", function(l, open)
    open(l.near):close()
    local before = files.descriptors()
    for _ = 1, 25 do
      local relay = open(l.near, { frames = 128 })
      relay:conn { mac = A }
      relay:close()
    end
    assert.equal(before, files.descriptors())
  end)

  it("in vain leaves no file open", function(l, open)
    pcall(open, l.near, { frames = 1 })
    local before = files.descriptors()
    for _ = 1, 10 do
      assert.is_false((pcall(open, l.near, { frames = 1 })))
      assert.is_false((pcall(open, l.near, { filter = "or" })))
    end
    assert.equal(before, files.descriptors())
  end)

  it("makes the interface promiscuous until the relay is closed", function(l, open)
    local function promiscuous() return l.near:run("ip -d link show eth0"):match("promiscuity (%d)") end
    assert.equal("0", promiscuous())
    local quiet = open(l.near, { promiscuous = false })
    assert.equal("0", promiscuous())
    quiet:close()
    local relay = open(l.near)
    assert.equal("1", promiscuous())
    relay:close()
    assert.equal("0", promiscuous())
  end)
end)

describe("opening a relay", function()
  it("says in one line which kinds there are when it is of another one", function()
    for _, spec in ipairs { "carrier-pigeon:eth0", "AFPACKET:eth0", ":eth0", ("x"):rep(300) .. ":eth0" } do
      local ok, message = pcall(ether.open, spec)
      assert.is_false(ok)
      assert.matches('unknown relay kind in ".*": KIND:NAME with KIND one of.* afpacket', message)
      assert.is_nil(message:find("\n"))
    end
  end)

  it("refuses what is no text", function()
    assert.error_matches(function() ether.open(nil) end, "bad relay nil: KIND:NAME is needed")
    assert.error_matches(function() ether.open({}) end, "bad relay table.*: KIND:NAME is needed")
  end)
end)

kinds.each_with_interface("the default filter", function(it)
  it("lets in ARP, IPv4 and IPv6 in any VLAN stack, and nothing else", function(l, open)
    local inject, b = frames.injector(open(l.near)), open(l.far, { filter = false })
    local rest = b:default_conn()
    local sent, places, order = {}, {}, {}
    for _, stack in ipairs { {}, { 1 }, { { vid = 1, tpid = 0x88a8 }, 2 }, { { vid = 1, tpid = 0x9100 } }, { 1, 2, 3 },
      { 1, 2, 3, 4 } } do
      inject(frames.frame(("\0"):rep(46), { vlans = stack, ethertype = 0x88b5 }))
      inject(frames.frame(("\0"):rep(46), { vlans = stack, ethertype = 0x8863 }))
      for _, packet in ipairs { frames.udp { payload = ("x"):rep(1000) }, frames.udp6(), "" } do
        local fields = { vlans = stack }
        if packet == "" then packet, fields.ethertype = "\0\1\8\0\6\4\0\1" .. ("\0"):rep(38), frames.ARP end
        sent[#sent + 1] = frames.frame(packet, fields)
        places[sent[#sent]] = #sent
        inject(sent[#sent])
      end
    end
    for i = 1, #sent do
      local frame = frames.whole(rest)
      order[i] = places[frame] or frame and bytes.hex(frame) or "nothing"
    end
    if nic_lab.given then table.sort(order) end -- cards and drivers keep the order of one flow alone
    assert.equal("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18", table.concat(order, " "))
    local stats = b:stats()
    assert.equal(#sent, stats.rx_frames - stats.rx_filtered)
  end)

  it("is widened by endpoints with another EtherType, in any VLAN stack", function(l, open)
    local inject, b = frames.injector(open(l.near)), open(l.far, { filter = false })
    local pppoe = b:conn { mac = B, vlans = "5.6", ethertypes = { 0x8863, 0x8864 } }
    local ip = b:conn { mac = B }
    for _, ethertype in ipairs { 0x8863, 0x8864 } do
      inject(frames.frame(("\0"):rep(46), { vlans = { 5, 6 }, ethertype = ethertype }))
      assert.equal(ethertype, select(2, pppoe:recv(1)).ethertype)
    end
    inject(frames.frame(frames.udp()))
    assert.equal(frames.udp(), (ip:recv(1)))
  end)

  it("is gone with an endpoint that wants every EtherType", function(l, open)
    local inject, b = frames.injector(open(l.near)), open(l.far, { filter = false })
    local conn = b:conn { mac = B, ethertypes = {} }
    inject(frames.frame(("\0"):rep(46), { ethertype = 0x88b5 }))
    assert.equal(("\0"):rep(46), (conn:recv(1)))
  end)

  it("leaves a filter that was given alone", function(l, open)
    local inject, b = frames.injector(open(l.near)), open(l.far, { filter = "ether proto 0x88b5" })
    local conn = b:conn { mac = B, ethertypes = { 0x88b5, 0x88b6 } }
    inject(frames.frame(("\0"):rep(46), { ethertype = 0x88b6 }))
    inject(frames.frame(("\0"):rep(47), { ethertype = 0x88b5 }))
    assert.equal(("\0"):rep(47), (conn:recv(1)))
  end)
end)

kinds.each_with_interface("a relay", function(it, kind)
  it("receives beside another one on the same interface", function(l, open)
    local from = open(l.near):conn { mac = A }
    if kind.xdp then -- an interface has one XDP program
      open(l.far)
      return assert.error_matches(function() open(l.far) end, "attached to eth0 already: etherlua_")
    end
    local one, two = open(l.far):conn { mac = B }, open(l.far):conn { mac = B }
    from:send(frames.udp(), B)
    assert.equal(frames.udp(), (one:recv(1)))
    assert.equal(frames.udp(), (two:recv(1)))
  end)

  it("that is not promiscuous receives what is for the interface", { far_mac = B }, function(l, open)
    local from, b = open(l.near):conn { mac = A }, open(l.far, { promiscuous = false })
    local conn = b:conn()
    from:send(frames.udp(), B)
    assert.equal(frames.udp(), (conn:recv(1)))
  end)

  it("receives what the kernel's own hosts send", function(l, open)
    local conn = open(l.far):conn { mac = B, multicast = true, ethertypes = { frames.ARP } }
    l.near:run("ip addr add 10.0.0.1/24 dev eth0")
    l.near:start { "busybox", "ping", "-c", "1", "-W", "1", "10.0.0.2" }
    local payload, from = conn:recv(2)
    assert.is_truthy(payload and (#payload == 28 or nic_lab.given and #payload == 46)) -- some cards pad
    assert.equal(l.near:run("ip link show eth0"):match("link/ether (%S+)"), from.mac)
  end)

  it("says that the link is down, and goes on both ways when it is up again", function(l, open)
    local a, b = open(l.near), open(l.far)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    for _ = 1, 3 do
      l.near:run("ip link set eth0 down")
      local reason
      for _ = 1, 3 do
        _, reason = near:send(frames.udp(), B)
        ether.sleep(0.01)
      end
      assert.equal("link down", reason)
      assert.same({ nil, "timeout" }, { near:recv(0.02) })
      l.near:run("ip link set eth0 up")
      assert.is_truthy(eventually(function()
        near:send(frames.udp { payload = "there" }, B)
        far:send(frames.udp { payload = "back" }, A)
        return far:recv(0.02) and near:recv(0.02)
      end))
      repeat until not near:recv(0.1) -- what was late
    end
    local stats = frames.assert_balanced(a)
    assert.is_true(stats.tx_link_down >= 3)
    assert.equal(0, stats.tx_error)
  end)

  it("counts what it cannot send while the other end of the link is down, and goes on", {
    veth = "its end tells the other one that it is down" }, function(l, open)
    local a, b = open(l.near), open(l.far)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    l.far:run("ip link set eth0 down")
    near:send(frames.udp(), B)
    a:flush()
    local stats = frames.assert_balanced(a)
    assert.equal(kind.xdp and 1 or 0, stats.tx_sent) -- the kernel does not tell AF_XDP
    assert.equal(kind.xdp and 0 or 1, stats.tx_link_down + stats.tx_refused)
    l.far:run("ip link set eth0 up")
    assert.is_truthy(eventually(function()
      near:send(frames.udp(), B)
      return far:recv(0.02)
    end))
  end)

  local DELETED = { veth = "a NIC is unplugged, not deleted" }

  it('tells its readers "interface gone" when that is deleted', DELETED, function(l, open)
    for _ = 1, 15 do -- the kernel tells of it in two steps, which must not be seen one without the other
      local a = open(l.near)
      local conn = a:conn { mac = A }
      local readers = {}
      for i, endpoint in ipairs { conn, conn:udp("10.0.0.1:1"), a:default_conn() } do
        readers[i] = ether.spawn(function() return endpoint:recv(5) end)
      end
      local deletion = l.near:start { "ip", "link", "del", "eth0" }
      for _, reader in ipairs(readers) do assert.same({ nil, "interface gone" }, { reader:join() }) end
      assert.same({ nil, "interface gone" }, { conn:recv(1) })
      assert.same({ nil, "interface gone" }, { conn:recv(0) })
      assert.equal(0, deletion:wait(2))
      a:close()
      lab.veth(l.near, "eth0", l.far, "eth0")
    end
  end)

  it('tells its readers "interface gone" when that is deleted after its link went down', DELETED, function(l, open)
    local conn = open(l.near):conn { mac = A }
    local reader = ether.spawn(function() return conn:recv(5) end)
    l.near:run("ip link set eth0 down")
    ether.sleep(0.1)
    l.near:run("ip link del eth0")
    assert.same({ nil, "interface gone" }, { reader:join() })
  end)

  it('tells its senders "interface gone" when that is deleted, and closes', DELETED, function(l, open)
    local a = open(l.near)
    local conn = a:conn { mac = A }
    local udp = conn:udp("10.0.0.1:1")
    conn:send(frames.udp(), B)
    a:flush()
    l.near:run("ip link del eth0")
    conn:send(frames.udp(), B)
    ether.sleep(0.01)
    assert.same({ nil, "interface gone" }, { conn:send(frames.udp(), B) })
    assert.same({ nil, "interface gone" }, { udp:send("x", "10.0.0.2:1") })
    frames.assert_balanced(a)
    a:close()
  end)

  it("counts the frames that the kernel had no room for", { veth = "a NIC loses frames uncounted" }, function(l, open)
    local a, b = open(l.near), open(l.far)
    local from = a:conn { mac = A }
    b:conn { mac = B }
    for _ = 1, 20000 do from:send(frames.udp(), B) end
    a:flush()
    assert.is_true(eventually(function() return b:stats().rx_frames + b:stats().rx_missed == 20000 end))
    assert.is_true(frames.assert_balanced(b).rx_missed > 0)
  end)
end)
