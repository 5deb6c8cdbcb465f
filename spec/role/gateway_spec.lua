-- What the emulated gateway returns of what it hears: the very bytes, for ping, UDP echo and the packets that its
-- errors are about. Whom it answers is in dhcp4_server_spec.lua.

local ether = require "etherlua"
local gateway = require "etherlua.role.gateway"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local match = require "etherlua.proto.match"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"

local A, IP, OWN = "02:00:00:00:00:0a", "10.0.0.1", "10.0.0.10"
local ALL = table.concat((function()
  local list = {}
  for i = 0, 255 do list[i + 1] = string.char(i) end
  return list
end)())

-- fn(ask) as a task; ask(payload) sends it to the gateway from A and returns what comes back, decoded by
-- layers, or nil.
local function with_gateway(fn)
  return function()
    kinds.run_apart(function()
      local near, far = ether.wire()
      local gw = gateway.new(far, { pool = "10.0.0.10-10.0.0.250" })
      sched.spawn_background(function() gw:serve() end)
      local conn = near:default_conn()
      fn(function(payload)
        conn:send(payload, gw.mac, { src_mac = A })
        local frame = conn:recv_frame(0.05)
        if not frame then return nil end
        return match.decode(tostring(frame))
      end)
    end)
  end
end

local function packet(protocol, payload, fields)
  local all = { src = OWN, dst = IP, protocol = protocol, payload = payload }
  for name, value in pairs(fields or {}) do all[name] = value end
  return proto.ipv4.build(all)
end

local function datagram(port, payload)
  return packet(17, proto.udp.build({ src_port = 5000, dst_port = port, payload = payload }, { src = OWN, dst = IP }))
end

describe("the gateway", function()
  after_each(leaks.check)

  it("returns a ping as it came, with its type of service", with_gateway(function(ask)
    local echo = { type = 8, code = 0, identifier = 0xffff, sequence = 0, payload = ALL .. "odd" }
    local reply = ask(packet(1, proto.icmp.build(echo), { tos = 0xb8 }))
    assert.same({ 0, 0xffff, 0, ALL .. "odd", 0xb8 }, { reply.icmp.type, reply.icmp.identifier, reply.icmp.sequence,
      reply.icmp.payload, reply.ipv4.tos })
    assert.is_true(proto.icmp.checksum_ok(reply.ipv4.payload))
  end))

  it("returns a damaged ping with a checksum that does not fit it either", with_gateway(function(ask)
    for i = 1, 600 do
      local echo = proto.icmp.build { type = 8, identifier = 257 * i % 65536, sequence = i, payload = "whole" }
      assert.is_true(proto.icmp.checksum_ok(ask(packet(1, echo)).ipv4.payload))
      local damaged = ask(packet(1, echo:sub(1, -2) .. "X"))
      assert.equal("wholX", damaged.icmp.payload)
      assert.is_false(proto.icmp.checksum_ok(damaged.ipv4.payload))
    end
  end))

  it("returns a datagram to its echo service as it came", with_gateway(function(ask)
    for _, payload in ipairs { "", ALL, "\0" } do assert.equal(payload, ask(datagram(7, payload)).udp.payload) end
  end))

  it("quotes the packet that nobody took, and not what fills up its frame", with_gateway(function(ask)
    for _, payload in ipairs { "", "x", ALL } do
      local sent = datagram(9, payload)
      local reply = ask(sent .. ("\0"):rep(46 - #sent))
      assert.same({ 3, 3 }, { reply.icmp.type, reply.icmp.code })
      assert.equal(sent, reply.icmp.payload)
    end
  end))
end)
