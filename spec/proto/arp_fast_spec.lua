-- The fast path for ARP says of every packet what the whole parser says, and patches what the whole builder built.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local arp = require "etherlua.proto.arp"
local fast = require "etherlua.proto.arp_fast"

local A, B = "02:00:00:00:00:0a", "fe:dc:ba:98:76:54"

-- The packet at the very end of memory that is its own, so that the sanitizer sees a byte too many.
local function read(bytes)
  local packet, memory = fast.packet(), ffi.new("uint8_t[?]", math.max(#bytes, 1))
  ffi.copy(memory, bytes, #bytes)
  if not fast.parse(memory, #bytes, packet) then return nil end
  return { op = packet.op, spa = addr.ip4_text(packet.spa), tpa = addr.ip4_text(packet.tpa),
    sha = addr.mac_text(ffi.string(packet.sha, 6)), tha = addr.mac_text(ffi.string(packet.tha, 6)) }
end

local function read_slowly(bytes)
  local p = arp.parse(bytes)
  if not p or p.hrd ~= 1 or p.pro ~= 0x0800 or p.hln ~= 6 or p.pln ~= 4 then return nil end
  return { op = p.op, spa = p.spa, tpa = p.tpa, sha = p.sha, tha = p.tha }
end

local REPLY = arp.build { op = 2, sha = A, spa = "255.254.253.252", tha = B, tpa = "128.0.0.1" }

describe("the fast path for ARP", function()
  it("reads what the parser reads", function()
    assert.same({ op = 2, sha = A, spa = "255.254.253.252", tha = B, tpa = "128.0.0.1" }, read(REPLY))
    assert.same(read(REPLY), read(REPLY .. ("\0"):rep(18)))
  end)

  it("agrees with the parser on a packet that is cut off anywhere, and on one with any octet changed", function()
    for size = 0, #REPLY do assert.same(read_slowly(REPLY:sub(1, size)), read(REPLY:sub(1, size))) end
    for at = 1, #REPLY do
      for _, octet in ipairs { 0, 1, 4, 6, 8, 255 } do
        local changed = REPLY:sub(1, at - 1) .. string.char(octet) .. REPLY:sub(at + 1)
        assert.same(read_slowly(changed), read(changed))
      end
    end
  end)

  it("patches a question to what the builder would have built", function()
    local template = fast.template { spa = "10.0.0.9" }
    for _, ip in ipairs { "0.0.0.0", "10.0.0.1", "127.255.255.255", "128.0.0.0", "255.255.255.255" } do
      template:ask(addr.mac(B).byte, addr.ip4_number(ip))
      assert.equal(arp.build { sha = B, spa = "10.0.0.9", tpa = ip }, ffi.string(template.data, template.size))
    end
  end)
end)
