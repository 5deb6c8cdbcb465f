-- What a hostile frame costs grows as its size does, whatever it is made of. Nothing is timed: instructions and bytes
-- of new memory are counted, with the JIT off.

local bytes = require "etherlua.net.bytes"
local cost = require("support.cost").of
local jit = require "jit"
local match = require "etherlua.proto.match"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local view = require "etherlua.proto.view"

local SMALL, LARGE = 4096, 4 * 4096
local LIMIT = 6 -- what is linear takes 4 times as much, what is quadratic 16 times

-- ---- frames -------------------------------------------------------------------------------------------------------

local function frame_of(ethertype, payload)
  return proto.ethernet.build { src = "02:00:00:00:00:01", dst = "02:00:00:00:00:02", ethertype = ethertype,
    payload = payload }
end

local function udp4(payload)
  return frame_of(0x0800, proto.ipv4.build { src = "10.0.0.1", dst = "10.0.0.2", protocol = 17,
    payload = proto.udp.build { src_port = 68, dst_port = 67, checksum = 0, payload = payload } })
end

local function dhcp_of(option)
  local message = proto.dhcp4.build { options = { message_type = "DISCOVER" }, pad = false }
  return function(size) return udp4(message:sub(1, -2) .. option:rep(size / #option) .. "\255") end
end

local function errors4(size)
  local whole = ""
  while #whole < size do
    whole = proto.ipv4.build { src = "10.0.0.1", dst = "10.0.0.2", protocol = 1,
      payload = proto.icmp.build { type = 3, payload = whole } }
  end
  return frame_of(0x0800, whole)
end

local function icmp6_packet(fields)
  local ends = { src = "fe80::1", dst = "fe80::2" }
  return proto.ipv6.build { src = ends.src, dst = ends.dst, protocol = 58, hop_limit = 255,
    payload = proto.icmp6.build(fields, ends) }
end

local function errors6(size)
  local whole = ""
  while #whole < size do whole = icmp6_packet { type = 1, payload = whole } end
  return frame_of(0x86dd, whole)
end

local function advertisement(size)
  local options = {}
  for i = 1, size / 32 do
    options[i] = { type = 3, prefix_length = 64, prefix = "2001:db8::" .. i, valid_lifetime = i,
      preferred_lifetime = i }
  end
  return frame_of(0x86dd, icmp6_packet { type = 134, options = options })
end

local function headers6(size)
  local chain = ("\0\0\1\4\0\0\0\0"):rep(size / 8 - 1) .. "\59\0\1\4\0\0\0\0"
  return frame_of(0x86dd, "\96\0\0\0" .. bytes.put16("length", #chain) .. "\0\64" .. ("\0"):rep(32) .. chain)
end

local FRAMES = {
  ["errors about errors"] = errors4,
  ["errors about errors on IPv6"] = errors6,
  ["VLAN tags"] = function(size) return frame_of(0x8100, ("\0\1\129\0"):rep(size / 4) .. "\0\1\8\0") end,
  ["IPv6 extension headers"] = headers6,
  ["prefixes"] = advertisement,
  ["parts of one DHCP option"] = dhcp_of "\12\1x",
  ["long parts of one DHCP option"] = dhcp_of("\43\254" .. ("x"):rep(254)),
  ["empty DHCP options"] = dhcp_of "\12\0",
  ["DHCP options that say where options are"] = dhcp_of "\52\1\3\12\1x",
  ["sub-options of a relay agent"] = dhcp_of "\82\6\1\1x\2\1y",
  ["DHCP padding"] = dhcp_of "\0",
  ["data"] = function(size) return udp4(("x"):rep(size)) end,
}

local USES = {
  ["a line"] = proto.describe,
  ["the whole description"] = view.describe,
  ["a pattern"] = function(frame) return match.difference({ ip = { ttl = 3 } }, match.decode(frame)) end,
  ["a packet"] = function(frame) assert.is_true(packet.parse(frame):build() == frame) end,
  ["its code"] = function(frame) return packet.parse(frame):code() end,
}

describe("the cost of a frame full of", function()
  setup(function()
    jit.off()
    jit.flush()
  end)

  teardown(function() jit.on() end)

  for what, make in pairs(FRAMES) do
    it(what .. " grows with its size, no faster", function()
      for use, fn in pairs(USES) do
        fn(make(64)) -- what is loaded and remembered once
        local few_steps, little = cost(fn, make(SMALL))
        local steps, memory = cost(fn, make(LARGE))
        assert.is_true(steps < LIMIT * few_steps, ("%s: %d and %d instructions"):format(use, few_steps, steps))
        assert.is_true(memory < LIMIT * little + 1e5, ("%s: %d and %d bytes"):format(use, little, memory))
      end
    end)
  end
end)

describe("the layers of a frame", function()
  it("are looked into as far as an honest packet has them, the rest is data", function()
    local frame = errors4(9000)
    local layers = proto.dissect(frame)
    assert.equal(proto.LAYERS_MAX + 1, #layers)
    assert.same({ "data", "too many layers" }, { layers[#layers].name, layers[#layers].fields.note })
    assert.is_true(packet.parse(frame):build() == frame)
    assert.is_true(loadstring(packet.parse(frame):code())():build() == frame)
  end)
end)
