-- What fuzzing found (`make fuzz`, spec/fuzz): each of these was wrong once.

local ffi = require "ffi"
local C = require "etherlua.core.ffi".C
local ether = require "etherlua"
local fragments = require "support.fragments"
local frames = require "support.frames"
local kinds = require "support.kinds"
local pcap = require "support.pcap"

local le16, le32 = pcap.le16, pcap.le32
local A, B = frames.MAC_A, frames.MAC_B
local SANITIZER = os.getenv "SANITIZER"

describe("what fuzzing found:", function()
  after_each(function()
    pcap.remove_files()
    require("support.leaks").check()
  end)

  it("the distance of two time stamps of a file is known however far they are from 1970, either way", function()
    local function interface(offset)
      return pcap.block(1, le16(1) .. le16(0) .. le32(0) .. le16(9) .. le16(1) .. "\9\0\0\0" .. le16(14) .. le16(8) ..
        le32(offset % 2 ^ 32) .. le32(math.floor(offset / 2 ^ 32) % 2 ^ 32) .. le32(0))
    end
    local function packet(number, ns)
      local frame = pcap.numbered(number)
      return pcap.block(6, le32(number) .. le32(0) .. le32(ns) .. le32(#frame) .. le32(#frame) .. frame)
    end
    local section = pcap.block(0x0a0d0d0a, le32(0x1a2b3c4d) .. le16(1) .. le16(0) .. ("\255"):rep(8))
    local text = section .. interface(-2 ^ 40) .. interface(4611686018) .. packet(0, 0) .. packet(1, 999999999)
    kinds.run_apart(function()
      local relay = ether.open("file:" .. pcap.write_file(text))
      local conn = relay:conn { mac = B }
      local first = conn:recv_frame(1).timestamp
      local distance = conn:recv_frame(1).timestamp - first
      assert.is_true(distance >= 9e9 and distance < 9.3e9, distance)
    end)
  end)

  it("a file may begin with a frame of no bytes", function()
    kinds.run_apart(function()
      local relay = ether.open("file:" .. pcap.file { "", pcap.numbered(1) }, { filter = "" })
      local rest = relay:default_conn { invalid = true }
      assert.same({ "", pcap.numbered(1) }, { frames.whole(rest), (frames.whole(rest)) })
    end)
  end)

  it("no payload fits a datagram when its headers do not fit, and an empty one goes if they do", function()
    kinds.run_apart(function()
      local a = ether.wire()
      local conn = a:conn { mac = A }
      local udp = conn:udp "[fe80::1]:9"
      local CASES = { { 1280, 1232, true }, { 49, 1, true }, { 48, 0, true }, { 47, 0, false }, { 1, 0, false } }
      for _, case in ipairs(CASES) do
        C.el_conn_limit_ip6(conn, case[1])
        assert.equal(case[2], C.el_udp_mtu(udp, 6))
        local sent, message = pcall(udp.send, udp, "", "[fe80::2]:9")
        assert.equal(case[3], sent, message)
        if not sent then assert.matches("the headers of a datagram alone do not fit a packet", message) end
      end
    end)
  end)

  it("bytes behind a packet that was put together are out of bounds for the engine", function()
    if not SANITIZER then return pending "only a build with sanitizers knows bounds: make test SAN=1" end
    ffi.cdef "int __asan_address_is_poisoned(const void *);"
    kinds.run_apart(function()
      local a, b = ether.wire()
      local from, to = a:conn { mac = A }, b:conn { mac = B, reassemble = true }
      for _, piece in ipairs(fragments.cut(fragments.packet(4, "payload of two"), 16)) do from:send(piece, B) end
      local frame = to:recv_frame(1)
      assert.equal(0, ffi.C.__asan_address_is_poisoned(frame.data + frame.len - 1))
      assert.equal(1, ffi.C.__asan_address_is_poisoned(frame.data + frame.len))
    end)
  end)
end)
