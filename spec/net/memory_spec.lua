local ffi = require "ffi"
local bytes = require "etherlua.net.bytes"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local memory = require "etherlua.net.memory"

local function buffer(text)
  local p = ffi.new("uint8_t[?]", #text)
  ffi.copy(p, text, #text)
  return p
end

describe("numbers in memory", function()
  it("are read in network byte order", function()
    local p = buffer "\0\xff\xfe\xfd\xfc"
    assert.equal(0xfffe, memory.load16(p, 1))
    assert.equal(0xfffefdfc, memory.load32(p, 1))
  end)

  it("are written in network byte order", function()
    local p = buffer "........"
    memory.store16(p, 1, 0xfffe)
    memory.store32(p, 3, 0xfdfcfbfa)
    assert.equal(".\xff\xfe\xfd\xfc\xfb\xfa.", ffi.string(p, 8))
  end)

  it("are copied as they stand there", function()
    local from, to = buffer "\1\2\3\4\5\6\xff", buffer "......."
    memory.store_native16(to, 0, memory.native16(from, 0))
    memory.store_native32(to, 2, memory.native32(from, 2))
    assert.equal("\1\2\3\4\5\6.", ffi.string(to, 7))
    assert.equal(ffi.cast("int32_t *", from + 3)[0], memory.native32(from, 3))
  end)
end)

describe("MAC addresses in memory", function()
  it("are the same when each octet is", function()
    local mac = "\2\0\0\0\0\1"
    assert.is_true(memory.same_mac(buffer(mac), buffer(mac)))
    for at = 1, 6 do
      local other = mac:sub(1, at - 1) .. "\9" .. mac:sub(at + 1)
      assert.is_false(memory.same_mac(buffer(mac), buffer(other)), at)
    end
  end)

  it("stand for a group when the lowest bit of the first octet is set", function()
    assert.is_true(memory.is_group_mac(buffer "\x33\x33\0\0\0\1"))
    assert.is_false(memory.is_group_mac(buffer "\2\1\1\1\1\1"))
  end)

  it("are what the engine wants where they lie", function()
    local p = buffer "xx\2\0\0\0\0\1"
    assert.equal("02:00:00:00:00:01", tostring(memory.mac_at(p + 2)))
    assert.equal(2, p[2]) -- it lives until here
  end)
end)

describe("the checksum of an ICMPv6 message in memory", function()
  it("is 0 when the message has the right one, of odd length as well", function()
    for _, payload in ipairs { "", "odd" } do
      local ends = { src = "fe80::1", dst = "ff02::1" }
      local message = icmp6.build({ type = icmp6.ECHO_REQUEST, payload = payload }, ends)
      local packet = ipv6.build { src = ends.src, dst = ends.dst, protocol = 58, payload = message }
      local p = buffer(packet)
      assert.equal(0, memory.icmp6_checksum(p + 8, p + 40, #message))
      p[#packet - 1] = bytes.u16(packet, #packet - 1) % 256 + 1
      assert.not_equal(0, memory.icmp6_checksum(p + 8, p + 40, #message))
    end
  end)
end)
