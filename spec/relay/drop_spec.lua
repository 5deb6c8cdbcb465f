-- What a relay hands to nobody: frames of which a length cannot be, and those that its filter does not match.

local bytes = require "etherlua.net.bytes"
local frames = require "support.frames"
local kinds = require "support.kinds"

local CUT_TAG = "a tag without an EtherType behind it" -- which the kernel throws away, when there is one in between

local SHAPED = "NICs make short frames longer, and some drop what is malformed"

-- name -> a frame of which one length cannot be
local INVALID = {
  ["an IPv4 header length under 20"] = frames.frame(frames.udp { ihl = 4 }),
  ["an IPv4 header longer than the packet"] = frames.frame(frames.udp { ihl = 15, payload = "" }),
  ["an IPv4 total length under the header's"] = frames.frame(frames.udp { total_length = 19 }),
  ["an IPv4 total length over the frame's"] = frames.frame(frames.udp { total_length = 20 + 8 + 7 + 1 }),
  ["another version in an IPv4 packet"] = frames.frame(frames.udp { version = 5 }, { ethertype = 0x0800 }),
  ["a UDP length under 8"] = frames.frame(frames.udp { udp_length = 7 }),
  ["a UDP length over the packet's"] = frames.frame(frames.udp { udp_length = 8 + 7 + 1 }),
  ["a UDP length over the packet's, but within the padding"] = frames.frame(frames.udp { udp_length = 16 } .. "\0\0"),
  ["a UDP header cut off"] = frames.frame(frames.udp { total_length = 27 }),
  ["another version in an IPv6 packet"] = frames.frame(frames.udp6 { version = 4 }, { ethertype = 0x86dd }),
  ["an IPv6 payload length over the frame's"] = frames.frame(frames.udp6 { payload_length = 16 }),
  ["an IPv6 header cut off"] = frames.frame(frames.udp6():sub(1, 39)),
  ["an IPv6 extension header over the packet's end"] =
    frames.frame(frames.udp6 { next_header = 0, payload = "", src_port = 0x11ff }),
  ["an IPv6 fragment header cut off"] = frames.frame(frames.udp6 { next_header = 44, payload_length = 7 }),
  ["an ARP packet cut off"] = frames.frame("\0\1\8\0\6\4\0\1" .. ("\0"):rep(19), { ethertype = 0x0806 }),
  ["an ARP header cut off"] = frames.frame("\0\1\8\0\6\4\0", { ethertype = 0x0806 }),
  [CUT_TAG] = frames.frame("\0\1", { ethertype = 0x8100 }),
  ["a second tag without an EtherType behind it"] = frames.frame("\0\1\8", { ethertype = 0x8100, vlans = { 5 } }),
}

kinds.each("a relay", function(it, kind)
  for words, frame in pairs(INVALID) do
    local dropped = kind.interface and words == CUT_TAG and 1 or 0
    it("counts a frame with " .. words .. " as invalid, and goes on", { veth = SHAPED }, function(a, b)
      local inject, rest = frames.injector(a), b:default_conn()
      inject(frame)
      inject(frames.frame(frames.udp()))
      assert.equal(bytes.hex(frames.frame(frames.udp())), bytes.hex(frames.whole(rest) or ""))
      local stats = frames.assert_balanced(b)
      assert.same({ 2 - dropped, 1 - dropped, 1 }, { stats.rx_frames, stats.rx_invalid, stats.rx_delivered })
    end)
  end

  it("hands only frames that its filter matches to endpoints", { filter = "vlan 100 and udp" }, function(a, b)
    local inject, rest = frames.injector(a), b:default_conn()
    inject(frames.frame(frames.udp()))
    inject(frames.frame(frames.udp(), { vlans = { 200 } }))
    inject(frames.frame(frames.udp(), { vlans = { 200, 100 } }))
    inject(frames.frame(frames.udp { protocol = 6 }, { vlans = { 100 } }))
    inject(frames.frame(frames.udp { payload = "this" }, { vlans = { 100 } }))
    assert.equal(frames.udp { payload = "this" }, (rest:recv(1)))
    assert.equal(1, rest:stats().received)
    frames.assert_balanced(b)
  end)

  it("can filter by the inner tag", { filter = "vlan 100 and vlan 200 and ip6" }, function(a, b)
    local inject, rest = frames.injector(a), b:default_conn()
    inject(frames.frame(frames.udp6(), { vlans = { 200, 100 } }))
    inject(frames.frame(frames.udp6(), { vlans = { 100 } }))
    inject(frames.frame(frames.udp6 { payload = "this" }, { vlans = { 100, 200 } }))
    assert.equal(frames.udp6 { payload = "this" }, (rest:recv(1)))
  end)

  it("can be given another filter, and none", { filter = "ip6" }, function(a, b)
    local inject, rest = frames.injector(a), b:default_conn()
    b:filter("arp")
    inject(frames.frame(frames.udp6()))
    assert.is_nil((rest:recv(0.05)))
    b:filter("")
    inject(frames.frame(frames.udp()))
    assert.equal(frames.udp(), (rest:recv(1)))
  end)

  it("says in one line what is wrong with a filter, and keeps the one that it has", { filter = "ip6" }, function(a, b)
    local ok, message = pcall(b.filter, b, "vlan and and")
    assert.is_false(ok)
    assert.matches('bad filter "vlan and and": .*syntax error', message)
    assert.is_nil(message:find("\n"))
    local inject, rest = frames.injector(a), b:default_conn()
    inject(frames.frame(frames.udp()))
    inject(frames.frame(frames.udp6()))
    assert.equal(frames.udp6(), (rest:recv(1)))
  end)
end)
