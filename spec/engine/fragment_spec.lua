-- IP packets and datagrams that do not fit the MTU: what an EtherConn opened with `fragment` makes of them, what it
-- refuses to cut, and that the kernel and Scapy agree with it about fragments, both ways.

local bytes = require "etherlua.net.bytes"
local effi = require "etherlua.core.ffi"
local ether = require "etherlua"
local fragments = require "support.fragments"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"
local shell = require "support.shell"
local settle = require("support.wait").settle

local A, B = frames.MAC_A, frames.MAC_B
local FROM = { [4] = "10.0.0.1:1000", [6] = "[2001:db8::1]:1000" }
local TO = { [4] = "10.0.0.2:2000", [6] = "[2001:db8::2]:2000" }
local LARGEST = { [4] = 65507, [6] = 65527 }

-- The test as a task, with the two ends of a wire.
local function on_wire(opts, fn)
  if not fn then opts, fn = nil, opts end
  return function()
    kinds.run_apart(function() fn(ether.wire(opts)) end)
  end
end

-- All IP packets that wait at the endpoint.
local function packets_at(endpoint)
  local list = {}
  for payload in function() return (endpoint:recv(0)) end do list[#list + 1] = payload end
  return list
end

local function assert_too_long(send, ...)
  local ok, reason = pcall(send, ...)
  assert.is_false(ok)
  assert.matches("payload of %-?%d+ bytes does not fit: up to %d+ are allowed", reason)
  return reason
end

-- ---- round trips ----------------------------------------------------------------------------------------------------

local SIZES = { 0, 1, 1451, 1452, 1453, 1471, 1472, 1473, 2951, 2952, 2953, 2959, 2960, 2961, 20000, 65507 }

kinds.each("fragments", function(it)
  for _, version in ipairs { 4, 6 } do
    for _, vlans in ipairs { "", "100", "100.200" } do
      it(("carry datagrams of any size over IPv%d, VLAN stack %q"):format(version, vlans), function(a, b)
        local near = a:conn({ mac = A, vlans = vlans, fragment = true }):udp(FROM[version])
        local far = b:conn({ mac = B, vlans = vlans, reassemble = true }):udp(TO[version])
        for i, size in ipairs(SIZES) do
          local data = fragments.pattern(size, i)
          near:send(data, TO[version], { mac = B })
          local got, from = far:recv(2)
          assert.is_true(got == data, ("%d bytes came as %s"):format(size, got and #got or from))
          assert.equal(FROM[version], tostring(from))
        end
        local stats = frames.assert_balanced(b)
        assert.same({ 0, stats.rx_merged }, { stats.rx_fragments, frames.assert_balanced(a).tx_frames -
          (#SIZES - stats.rx_reassembled) })
      end)
    end
  end
end)

-- ---- what is sent ---------------------------------------------------------------------------------------------------

local STACKS = { "", "100", "100.200", { { vid = 100, tpid = 0x88a8 }, 200, 300, 400 } }

describe("an EtherConn that fragments", function()
  after_each(leaks.check)

  for _, version in ipairs { 4, 6 } do
    for _, mtu in ipairs { 68, 576, 1280, 1500, 9000 } do
      it(("fills the MTU of %d with any VLAN stack over IPv%d"):format(mtu, version), on_wire({ mtu = mtu },
        function(a, b)
          local rest = b:default_conn { recv_depth = 20000 }
          for _, stack in ipairs(STACKS) do
            local conn = a:conn { mac = A, vlans = stack, fragment = true }
            local room = effi.C.el_conn_mtu(conn)
            local udp = conn:udp(FROM[version], { ttl = 9, tos = 0xb8 })
            local fits = room >= (version == 4 and 28 or 56)
            for _, size in ipairs { 3 * mtu, 3 * mtu + 1, 3 * mtu + 7, 3 * mtu + 8, LARGEST[version] } do
              local data = fragments.pattern(size)
              if fits then
                udp:send(data, TO[version], { mac = B })
                a:flush()
                local whole = fragments.join(packets_at(rest), room)
                assert.is_true(proto.udp.checksum_ok(whole.payload, whole))
                assert.is_true(proto.udp.parse(whole.payload).payload == data)
                assert.equal(9, whole.ttl or whole.hop_limit)
                assert.equal(0xb8, whole.tos or whole.traffic_class)
              else -- an MTU of 68 and four tags: no room for an IPv6 header and a unit of data
                assert_too_long(udp.send, udp, data, TO[version], { mac = B })
              end
            end
            conn:close()
          end
          frames.assert_balanced(a)
        end))
    end

    it(("does not cut what fits over IPv%d"):format(version), on_wire(function(a, b)
      local rest, conn = b:default_conn(), a:conn { mac = A, fragment = true }
      local size = 1500 - (version == 4 and 28 or 48)
      local udp = conn:udp(FROM[version])
      udp:send(fragments.pattern(size), TO[version], { mac = B })
      udp:send(fragments.pattern(size + 1), TO[version], { mac = B })
      a:flush()
      local list = packets_at(rest)
      assert.same({ 3, 1500 }, { #list, #list[1] })
      assert.equal(size, #proto.udp.parse(proto["ipv" .. version].parse(list[1]).payload).payload)
    end))

    it(("refuses a datagram larger than IPv%d can carry, and says what it can"):format(version), on_wire(function(a)
      local udp = a:conn({ mac = A, fragment = true }):udp(FROM[version])
      local reason = assert_too_long(udp.send, udp, fragments.pattern(LARGEST[version] + 1), TO[version])
      assert.matches(("%d bytes.*up to %d are"):format(LARGEST[version] + 1, LARGEST[version]), reason)
      local pointer = frames.pointer "x"
      for _, length in ipairs { -1, 65536, 2 ^ 32 - 1 } do
        assert_too_long(udp.send, udp, pointer, length, TO[version])
      end
      assert.equal(0, frames.assert_balanced(a).tx_frames)
    end))

    it(("sends no more fragments than a small relay has room for over IPv%d"):format(version),
      on_wire({ frames = 128, mtu = 100 }, function(a, b)
        local udp, rest = a:conn({ mac = A, fragment = true }):udp(FROM[version]), b:default_conn()
        local most = 32 * (version == 4 and 80 or 48) - 8
        assert.matches(("up to %d are"):format(most), assert_too_long(udp.send, udp, ("x"):rep(most + 1), TO[version]))
        udp:send(("x"):rep(most), TO[version], { mac = B })
        a:flush()
        assert.equal(32, #packets_at(rest))
      end))

    it(("gives each of many packets another identification over IPv%d"):format(version), on_wire(function(a, b)
      local conn, rest, seen = a:conn { mac = A, fragment = true }, b:default_conn(), {}
      local udps = { conn:udp(FROM[version]), conn:udp((FROM[version]:gsub("1000$", "1001"))) }
      for i = 1, 1000 do
        udps[i % 2 + 1]:send(fragments.pattern(1500), TO[version], { mac = B })
        a:flush()
        local packet = packets_at(rest)[1]
        local id = version == 4 and bytes.u16(packet, 5) or bytes.u32(packet, 45)
        assert.is_nil(seen[id])
        seen[id] = true
      end
    end))
  end

  it("cuts an IP packet that conn:send() is given", on_wire(function(a, b)
    local conn, rest = a:conn { mac = A, fragment = true }, b:default_conn()
    for _, version in ipairs { 4, 6 } do
      local packet = fragments.packet(version, fragments.pattern(5000), { protocol = 200, identification = 77 })
      conn:send(fragments.whole(packet), B)
      a:flush()
      local whole = fragments.join(packets_at(rest), 1500)
      assert.same({ 200, packet.src, packet.dst }, { whole.protocol, whole.src, whole.dst })
      assert.is_true(whole.payload == packet.payload)
      if version == 4 then assert.equal(77, whole.identification) end
    end
  end))

  it("puts the source address and the tags of a single send on all fragments", on_wire(function(a, b)
    local conn, rest = a:conn { mac = A, fragment = true }, b:default_conn()
    local whole, other = fragments.whole(fragments.packet(4, fragments.pattern(4000))), "02:00:00:00:00:99"
    conn:send(whole, B, { src_mac = other, vlans = "1.2.3" })
    a:flush()
    for _ = 1, 3 do
      local frame = assert(rest:recv_frame(0))
      assert.same({ other, "1.2.3", B, true }, { frame.src_mac, tostring(frame.vlans), frame.dst_mac, frame.fragment })
      assert.is_true(frame.len <= 1500 + 14 + 4)
    end
  end))

  it("copies the options that are to be in each fragment, and no others (RFC 791 3.1)", on_wire(function(a, b)
    local conn, rest = a:conn { mac = A, fragment = true }, b:default_conn()
    local alert, record = { type = 148, data = "\0\0" }, { type = 7, data = "\4\0\0\0\0" }
    local packet = fragments.packet(4, fragments.pattern(4000), { options = { record, { type = 1 }, alert } })
    conn:send(fragments.whole(packet), B)
    a:flush()
    local list = packets_at(rest)
    assert.equal(3, #list)
    for i, piece in ipairs(list) do
      local ip = proto.ipv4.parse(piece)
      assert.is_true(proto.ipv4.checksum_ok(piece))
      assert.same(i == 1 and { 8, 3 } or { 6, 1 }, { ip.ihl, #ip.options })
      assert.equal(148, ip.options[#ip.options].type)
    end
  end))

  it("puts the fragment header behind the unfragmentable part (RFC 8200 4.5)", on_wire(function(a, b)
    local conn, rest = a:conn { mac = A, fragment = true }, b:default_conn()
    local hop, route, dest = { type = 0 }, { type = 43 }, { type = 60 }
    local cases = { { { hop }, 1 }, { { hop, dest, route, dest }, 3 }, { { dest }, 0 }, { { dest, route }, 2 } }
    for _, case in ipairs(cases) do
      local headers, count = case[1], case[2]
      conn:send(fragments.whole(fragments.packet(6, fragments.pattern(4000), { extension_headers = headers })), B)
      a:flush()
      local list = packets_at(rest)
      assert.equal(3, #list)
      for _, piece in ipairs(list) do
        local kinds_of = {}
        for i, header in ipairs(proto.ipv6.parse(piece).extension_headers) do kinds_of[i] = header.type end
        for i = 1, count do assert.equal(headers[i].type, kinds_of[i]) end
        assert.equal(fragments.FRAGMENT, kinds_of[count + 1])
      end
    end
  end))

  it("cuts a fragment once more", on_wire(function(a, b)
    local conn, rest = a:conn { mac = A, fragment = true }, b:default_conn()
    local packet = fragments.packet(4, fragments.pattern(9000))
    for _, range in ipairs { { 0, 4000 }, { 4000, 5008 } } do conn:send(fragments.piece(packet, unpack(range)), B) end
    a:flush()
    local data, at = {}, 0
    local list = packets_at(rest)
    for i, piece in ipairs(list) do
      local ip = proto.ipv4.parse(piece)
      assert.same({ at, i < #list }, { ip.fragment_offset * 8, ip.mf })
      at, data[i] = at + #ip.payload, ip.payload
    end
    assert.is_true(table.concat(data) == packet.payload)
  end))

  local function whole(version, fields)
    return fragments.whole(fragments.packet(version, fragments.pattern(2000), fields))
  end

  local REFUSED = {
    ["with DF"] = whole(4, { df = true }),
    ["that is shorter than it says"] = whole(4):sub(1, -2),
    ["that is longer than it says"] = whole(6) .. "x",
    ["with an option that is longer than the header"] = whole(4, { options = "\148\9\0\0" }),
    ["with an option of length 0"] = whole(4, { options = "\148\0\0\0" }),
    ["with an option of length 1"] = whole(4, { options = "\148\1\0\0" }),
    ["that has a fragment header"] = fragments.piece(fragments.packet(6, fragments.pattern(2000)), 0, 2008),
    ["whose headers fill a fragment (RFC 7112)"] = whole(6, { extension_headers = { { type = 60,
      data = ("\0"):rep(1598) } } }),
    ["whose headers are cut off"] = proto.ipv6.build { src = "::1", dst = "::2", next_header = 60,
      payload = "\17\255" .. ("\0"):rep(1700) },
    ["whose IHL is under 5"] = "\68" .. whole(4):sub(2),
    ["whose version is none"] = "\80" .. whole(4):sub(2),
  }
  for words, packet in pairs(REFUSED) do
    it("refuses to cut a packet " .. words, on_wire(function(a)
      local conn = a:conn { mac = A, fragment = true }
      local opts = { ethertype = packet:byte() < 0x60 and frames.IP4 or frames.IP6 }
      assert.matches("without DF", assert_too_long(conn.send, conn, packet, B, opts))
      assert.equal(0, frames.assert_balanced(a).tx_frames)
    end))
  end

  it("refuses to cut what is no IP packet", on_wire(function(a)
    local conn = a:conn { mac = A, fragment = true }
    for _, ethertype in ipairs { 0x0806, 0x88b5, 0x86dd } do
      assert_too_long(conn.send, conn, whole(4), B, { ethertype = ethertype })
    end
  end))

  it("is no other: without the option nothing is cut", on_wire(function(a)
    local conn = a:conn { mac = A }
    local udp = conn:udp(FROM[4])
    assert.not_matches("without DF", assert_too_long(conn.send, conn, whole(4), B))
    assert.matches("up to 1472 are", assert_too_long(udp.send, udp, fragments.pattern(1473), TO[4]))
  end))

  it("sends all fragments of a packet or none, and waits for room", on_wire({ frames = 128 }, function(a, b)
    local udp = a:conn({ mac = A, fragment = true }):udp(FROM[4])
    local far = b:conn({ mac = B, reassemble = true }):udp(TO[4])
    local from, borrowed = b:conn { mac = "02:00:00:00:00:99" }, {}
    for i = 1, 110 do -- the frames of the relay, but 18: lent, so nobody can have them
      local mac = ("02:00:00:00:02:%02x"):format(i)
      local conn = a:conn { mac = mac }
      from:send(frames.udp(), mac)
      b:flush()
      borrowed[i] = assert(conn:recv_frame(0))
    end
    local data = fragments.pattern(30000) -- 21 fragments
    local before = a:stats().tx_frames
    assert.same({ nil, "full" }, { udp:send(data, TO[4], { mac = B, timeout = 0 }) })
    assert.equal(before, frames.assert_balanced(a).tx_frames)
    ether.spawn(function()
      settle()
      for i = 1, 10 do borrowed[i]:release() end
    end)
    assert.is_true(udp:send(data, TO[4], { mac = B }))
    assert.is_true(data == (far:recv(1)))
    assert.equal(before + 21, frames.assert_balanced(a).tx_frames)
    for _, frame in ipairs(borrowed) do frame:release() end
  end))

  it("keeps the order of what is sent before and behind many fragments", on_wire({ mtu = 68 }, function(a, b)
    local udp = a:conn({ mac = A, fragment = true }):udp(FROM[4])
    local far = b:conn({ mac = B, reassemble = true }):udp(TO[4])
    for i = 1, 3 do
      udp:send("before " .. i, TO[4], { mac = B })
      udp:send(fragments.pattern(65507, i), TO[4], { mac = B }) -- 1,365 fragments
      assert.is_true(a:stats().tx_pending < 64)
      udp:send("behind " .. i, TO[4], { mac = B })
      assert.equal("before " .. i, (far:recv(1)))
      assert.is_true(fragments.pattern(65507, i) == (far:recv(1)))
      assert.equal("behind " .. i, (far:recv(1)))
    end
    frames.assert_balanced(a)
  end))

  it("loses all fragments, each counted, when nobody is at the other end", on_wire({ mtu = 68 }, function(a, b)
    local udp = a:conn({ mac = A, fragment = true }):udp(FROM[4])
    b:close()
    udp:send(fragments.pattern(4800 - 8), TO[4], { mac = B })
    assert.same({ nil, "link down" }, { udp:send(fragments.pattern(4800 - 8), TO[4], { mac = B }) })
    assert.equal(200, frames.assert_balanced(a).tx_link_down)
  end))
end)

-- ---- judges ---------------------------------------------------------------------------------------------------------

local possible, reason = lab.root()

-- A lab whose far end is the kernel's, with addresses and, for ours, neighbours.
local function kernel_lab(mtu)
  local one = lab.new { mtu = mtu, ipv6 = true, far_mac = B }
  one.far:configure(("ip addr add 10.0.0.2/24 dev eth0; ip -6 addr add 2001:db8::2/64 dev eth0 nodad;" ..
    " ip neigh add 10.0.0.1 lladdr %s dev eth0; ip -6 neigh add 2001:db8::1 lladdr %s dev eth0"):format(A, A))
  return one
end

-- fn(lab, conn) as a task; conn is ours, and fragments both ways.
local function against_kernel(name, mtu, fn)
  it(name, function()
    if not possible then return pending(reason) end
    kinds.run(function()
      local one = kernel_lab(mtu)
      ether.defer(function() one:close() end)
      fn(one, one:relay(nil, { filter = "" }):conn { mac = A, fragment = true, reassemble = true })
    end)
    leaks.check()
  end)
end

-- Waits for the end of a program while tasks run.
local function finish(process)
  for _ = 1, 500 do
    if process:status() then return process.exit end
    settle()
  end
  error("still running after 10 s: " .. process:log())
end

-- Answers pings, as a host does.
local function answer_pings(conn)
  while true do
    local packet = conn:recv()
    if not packet then return end
    local version = packet:byte() < 0x60 and 4 or 6
    local ip = proto["ipv" .. version].parse(packet)
    local icmp, request = proto[version == 4 and "icmp" or "icmp6"], version == 4 and 8 or 128
    local echo = (ip.protocol == 1 or ip.protocol == 58) and icmp.parse(ip.payload, ip)
    if echo and echo.type == request then
      echo.type, echo.checksum = version == 4 and 0 or 129, nil
      conn:send(proto["ipv" .. version].build { src = ip.dst, dst = ip.src, protocol = ip.protocol,
        identification = version == 4 and ip.identification or nil,
        payload = icmp.build(echo, { src = ip.dst, dst = ip.src }) }, B)
    end
  end
end

local ECHO = [[
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 2000))
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data[::-1], peer)
]]

local SCAPY = [[
import random, sys
from scapy.all import IP, IPv6, UDP, Ether, Raw, fragment, fragment6, raw, IPv6ExtHdrFragment
random.seed(7)
for size in 100, 1500, 8001, 60000:
    data = bytes(i * 7 % 251 for i in range(size))
    pieces = fragment(IP(src="10.0.0.1", dst="10.0.0.2", id=size) / UDP(sport=1000, dport=2000) / data, fragsize=528)
    pieces += fragment6(IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=size) /
                        UDP(sport=1000, dport=2000) / data, 1280)
    random.shuffle(pieces)
    print(size)
    for piece in pieces:
        print(raw(piece).hex())
]]

describe("the kernel and an EtherConn that fragments and reassembles", function()
  for _, options in ipairs { "-s 65507 10.0.0.1", "-6 -s 20000 2001:db8::1", "-6 -s 65527 2001:db8::1" } do
    for _, mtu in ipairs { 1280, 1500, 9000 } do
      against_kernel(("agree about ping %s at MTU %d"):format(options, mtu), mtu, function(one, conn)
        sched.spawn_background(function() answer_pings(conn) end)
        local log = os.tmpname()
        ether.defer(function() os.remove(log) end)
        local words = { "ping", "-c", "3", "-i", "0.2", "-W", "3" }
        for word in options:gmatch "%S+" do words[#words + 1] = word end
        local process = one.far:start(words, { log = log })
        local status = finish(process)
        assert.equal(0, status, process:log())
        assert.matches("3 received, 0%% packet loss", process:log())
      end)
    end
  end

  for _, version in ipairs { 4, 6 } do
    against_kernel(("agree about datagrams of up to %d bytes over IPv%d"):format(LARGEST[version], version), 1500,
      function(one, conn)
        local udp = conn:udp(FROM[version])
        one.far:start { "python3", "-c", ECHO, version == 4 and "10.0.0.2" or "2001:db8::2" }
        local up
        for _ = 1, 50 do
          udp:send("up?", TO[version], { mac = B })
          up = up or udp:recv(0.1)
          if up then break end
        end
        assert.equal("?pu", up)
        for _, size in ipairs { 1472, 1473, 3000, 60000, LARGEST[version] } do
          local data = fragments.pattern(size)
          while udp:recv(0) do end -- of the questions above
          udp:send(data, TO[version], { mac = B })
          local got
          repeat got = udp:recv(3) until got ~= "?pu"
          assert.is_true(got == data:reverse(), ("%d bytes came as %s"):format(size, got and #got or "nothing"))
        end
      end)
  end
end)

describe("Scapy's fragments", function()
  it("are put together in any order", function()
    local python
    for _, program in ipairs { "/usr/bin/python3", "python3" } do
      python = python or shell.succeeds(program .. " -c 'import scapy.all'") and program or nil
    end
    if not python then return pending("needs Scapy (Debian package python3-scapy)") end
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(SCAPY)
    file:close()
    local text = shell.output_of(python .. " -W ignore " .. path .. " 2>/dev/null")
    os.remove(path)
    kinds.run_apart(function()
      local a, b = ether.wire()
      local send, four, six = fragments.receiver(a, b)
      local function check(size)
        for _, udp in ipairs(size and { four, six } or {}) do
          local got = udp:recv(0)
          assert.equal(size, got and #got)
          for i = 0, size - 1, 97 do assert.equal(i * 7 % 251, got:byte(i + 1)) end
        end
        return size and 1 or 0
      end
      local size, sizes, sent = nil, 0, 0
      for line in text:gmatch "[^\n]+" do
        if #line < 8 then
          sizes, size = sizes + check(size), tonumber(line)
        else
          send(bytes.unhex(line))
          sent = sent + 1
        end
      end
      assert.equal(4, sizes + check(size))
      local stats = frames.assert_balanced(b)
      assert.same({ 6, sent - 2 }, { stats.rx_reassembled, stats.rx_merged }) -- 100 bytes fit
    end)
    leaks.check()
  end)
end)
