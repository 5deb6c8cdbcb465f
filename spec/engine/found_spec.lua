-- What fuzzing found (`make fuzz`, spec/fuzz): each of these was wrong once.

local ffi = require "ffi"
local C = require "etherlua.core.ffi".C
local ether = require "etherlua"
local fragments = require "support.fragments"
local frames = require "support.frames"
local kinds = require "support.kinds"

local A, B = frames.MAC_A, frames.MAC_B
local SANITIZER = os.getenv "SANITIZER"

describe("what fuzzing found:", function()
  after_each(require("support.leaks").check)

  it("no payload fits a datagram when its headers do not fit the link", function()
    kinds.run(function()
      local a = ether.wire()
      local conn = a:conn { mac = A }
      local udp = conn:udp "[fe80::1]:9"
      for _, case in ipairs { { 1280, 1232 }, { 49, 1 }, { 48, 0 }, { 47, 0 }, { 1, 0 } } do
        C.el_conn_limit_ip6(conn, case[1])
        assert.equal(case[2], C.el_udp_mtu(udp, 6))
      end
    end)
  end)

  it("bytes behind a packet that was put together are out of bounds for the engine", function()
    if not SANITIZER then return pending "only a build with sanitizers knows bounds: make test SAN=1" end
    ffi.cdef "int __asan_address_is_poisoned(const void *);"
    kinds.run(function()
      local a, b = ether.wire()
      local from, to = a:conn { mac = A }, b:conn { mac = B, reassemble = true }
      for _, piece in ipairs(fragments.cut(fragments.packet(4, "payload of two"), 16)) do from:send(piece, B) end
      local frame = to:recv_frame(1)
      assert.equal(0, ffi.C.__asan_address_is_poisoned(frame.data + frame.len - 1))
      assert.equal(1, ffi.C.__asan_address_is_poisoned(frame.data + frame.len))
    end)
  end)
end)
