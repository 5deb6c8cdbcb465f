-- Whole frames, sent and received as they are, valid or not; and the frames of the host beside the relay.

local bytes = require "etherlua.net.bytes"
local capture = require "etherlua.relay.capture"
local ether = require "etherlua"
local filter = require "etherlua.relay.filter"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local linux_it = require "support.linux_it"
local pcap = require "support.pcap"
local proto = require "etherlua.proto"

local A, B = frames.MAC_A, frames.MAC_B
local good = frames.frame(frames.udp(), { vlans = { { vid = 7, tpid = 0x88a8, pcp = 3, dei = true }, 9 } })

local RAW = {
  ["in two tags"] = good,
  ["in six tags"] = frames.frame("x", { vlans = { 1, 2, 3, 4, 5, 6 }, ethertype = 0x88b5 }),
  ["of a header alone"] = frames.frame("x", { ethertype = 0x88b5 }):sub(1, 14),
  ["with an 802.3 length"] = frames.frame("\66\66\3" .. ("\0"):rep(43), { ethertype = 46 }),
  ["with padding behind its packet"] = frames.frame(frames.udp() .. ("\170"):rep(30), {}),
  ["with an IP header that cannot be"] = frames.frame("\65" .. ("\255"):rep(50), { ethertype = 0x0800 }),
  ["with half a tag"] = frames.frame("x", { ethertype = 0x8100 }):sub(1, 14),
}

-- The kernel drops half a tag before any socket sees it.
local HALF = { ["with half a tag"] = true }

local VETH = {
  ["of a header alone"] = "cards pad what is short",
  ["with an IP header that cannot be"] = "cards may drop what they cannot read",
}

kinds.each("a whole frame", function(it, kind)
  for words, frame in pairs(RAW) do
    if kind.interface and HALF[words] then goto continue end
    it("arrives byte for byte: one " .. words, { veth = VETH[words] }, function(a, b)
      local rest = b:default_conn { mirror = true, invalid = true }
      assert.is_true(a:send(frame))
      local got = assert(rest:recv_frame(3))
      frames.assert_same_bytes(frame, tostring(got))
      assert.equal(words:find("cannot be") ~= nil or words:find("half") ~= nil, got.invalid)
      assert.equal(0, got.cut)
      frames.assert_balanced(b)
    end)
    ::continue::
  end

  it("is sent from a pointer, and mirrored whether valid or not", function(a)
    local mirror = a:default_conn { mirror = true, invalid = true }
    for _, frame in pairs(RAW) do
      assert.is_true(a:send(frames.pointer(frame)))
      a:flush()
      local got = assert(mirror:recv_frame(3))
      frames.assert_same_bytes(frame, tostring(got))
      assert.is_true(got.outgoing)
    end
    frames.assert_balanced(a)
  end)

  it("is refused when it is too long or too short", function(a)
    assert.same({ nil, "too short" }, { a:send(("x"):rep(13)) })
    assert.same({ nil, "too short" }, { a:send("") })
    for _, case in ipairs { { 0x88b5, 1514 }, { 0x8100, 1518 }, { 0x88a8, 1514 } } do
      local header = (A .. B):gsub("%X", "")
      local head = bytes.unhex(header) .. string.char(math.floor(case[1] / 256), case[1] % 256)
      assert.is_true(a:send(head .. ("x"):rep(case[2] - 14)))
      assert.same({ nil, "too long" }, { a:send(head .. ("x"):rep(case[2] - 13)) })
    end
    assert.equal(3, frames.when_sent(a).tx_sent)
  end)
end)

kinds.each_with_interface("what the host sends", function(it, kind)
  local function ping(l)
    l.near:run("ip addr add 10.9.9.1/24 dev eth0 && ip neigh add 10.9.9.2 dev eth0 lladdr 02:00:00:00:00:99 && "
      .. "(ping -c 1 -W 1 10.9.9.2 >/dev/null || true)")
  end

  it("is heard by a mirror that asks for it, and marked", function(l, open)
    local relay = open(l.near, { outgoing = true })
    local mirror = relay:default_conn { mirror = true }
    ping(l)
    local frame = assert(mirror:recv_frame(2))
    assert.same({ relay.mac, "02:00:00:00:00:99", "10.9.9.2", true },
      { frame.src_mac, frame.dst_mac, frame.dst_ip, frame.outgoing })
  end)

  it("is not heard without, and never by another endpoint", function(l, open)
    for outgoing, count in pairs { [false] = 0, [true] = 1 } do
      local relay = open(l.near, { outgoing = outgoing })
      local conn = relay:conn { mac = "02:00:00:00:00:99" }
      ping(l)
      assert.same({ nil, "timeout" }, { conn:recv(0.2) })
      assert.equal(kind.steers and relay:stats().rx_frames or count, relay:stats().rx_unclaimed)
      relay:close()
      l.near:run("ip addr flush dev eth0 && ip neigh flush dev eth0")
    end
  end)
end)

describe("a capture", function()
  after_each(function()
    pcap.remove_files()
    leaks.check()
  end)

  it("holds the frames that were written to it, with time, length and what was cut", function()
    kinds.run(function()
      local path = pcap.new_path()
      local relay = ether.open("file:" .. pcap.file { good, { good:sub(1, 30), len = #good, at = 5.000000001 } })
      local rest, file = relay:default_conn { mirror = true, invalid = true }, capture.new(path)
      for frame in function() return (rest:recv_frame(1)) end do file:write(frame, relay:wall(frame)) end
      assert.same({ true }, { file:flush() })
      file:close()
      local list = pcap.records(path)
      assert.same({ 2, good, #good }, { #list, list[1][1], list[1].len })
      assert.same({ good:sub(1, 30), #good }, { list[2][1], list[2].len })
      assert.equal(pcap.START + 5 - 0.25, list[2].sec)
      assert.is_true(math.abs(list[2].ns - 250000001) < 250) -- what a double keeps of START
    end)
  end)

  linux_it("says why it cannot be written", function()
    kinds.run(function()
      assert.error_matches(function() capture.new "/nowhere/x" end,
        "^cannot write capture file /nowhere/x: No such file")
      local relay = ether.open("file:" .. pcap.file { good })
      local file = capture.new "/dev/full"
      file:write(assert(relay:default_conn({ mirror = true }):recv_frame(1)), 0)
      assert.same({ nil, "No space left on device" }, { file:flush() })
    end)
  end)
end)

describe("a filter for any VLAN stack", function()
  after_each(function()
    pcap.remove_files()
    leaks.check()
  end)

  local udp = frames.udp()
  local arp = proto.arp.build { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }
  local STACKS = { {}, { 100 }, { 100, 200 }, { { vid = 1, tpid = 0x88a8 }, 2, 3 }, { 1, 2, 3, 4 } }

  local function count_of(text)
    local list = {}
    for _, vlans in ipairs(STACKS) do
      list[#list + 1] = frames.frame(udp, { vlans = vlans })
      list[#list + 1] = frames.frame(arp, { vlans = vlans, ethertype = 0x0806 })
    end
    local count = 0
    kinds.run(function()
      local rest = ether.open("file:" .. pcap.file(list), { filter = filter.any_vlans(text) }):default_conn()
      while rest:recv_frame(1) do count = count + 1 end
    end)
    return count
  end

  for text, count in pairs { [""] = 10, arp = 5, ["not arp"] = 5, ["udp port 2000"] = 5, ["udp or arp"] = 10,
    ["not (udp and dst port 2000)"] = 5, ["host 10.0.0.2 and not arp"] = 5, ["ip and udp[8] = 0x70"] = 5,
    ["ether host " .. A] = 10, ["vlan 100"] = 4, ["vlan and arp"] = 1 } do
    it(("matches %d of 10 frames: %q"):format(count, text), function() assert.equal(count, count_of(text)) end)
  end

  it("says what is wrong with the text that it was given", function()
    assert.error_matches(function() filter.any_vlans "arp and" end, 'bad filter "arp and": ')
  end)
end)
