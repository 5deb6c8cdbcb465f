-- What fuzzing found (`make fuzz`, spec/fuzz): each of these was wrong once.

local C = require "etherlua.core.ffi".C
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"

local A = frames.MAC_A

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
end)
