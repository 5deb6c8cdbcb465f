-- The fast path for DHCPv4 says of every message what the whole parser says, and patches what the whole builder built.

local bit = require "bit"
local ffi = require "ffi"
local dhcp4 = require "etherlua.proto.dhcp4"
local fast = require "etherlua.proto.dhcp4_fast"

local KINDS = { "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM" }
local MAC, OTHER_MAC = "02:00:00:11:22:33", "aa:bb:cc:dd:ee:ff"

local function number_of(kind)
  for number, name in ipairs(KINDS) do
    if name == kind then return number end
  end
  return kind or 0
end

-- The message at the very end of memory that is its own, so that the sanitizer sees a byte too many.
local function read(message)
  local reply, memory = fast.reply(), ffi.new("uint8_t[?]", math.max(#message, 1))
  ffi.copy(memory, message, #message)
  if not fast.parse(memory, #message, reply) then return nil end
  local mac = {}
  for i = 0, 5 do mac[i + 1] = ("%02x"):format(reply.chaddr[i]) end
  return { op = reply.op, kind = reply.kind, xid = reply.xid, yiaddr = reply.yiaddr, server_id = reply.server_id,
    chaddr = table.concat(mac, ":") }
end

local function read_slowly(message)
  local fields = dhcp4.parse(message)
  if not fields or fields.hlen ~= 6 then return nil end
  return { op = fields.op, kind = number_of(fields.options.message_type), xid = bit.bswap(bit.tobit(fields.xid)),
    yiaddr = fast.ip4(fields.yiaddr), server_id = fast.ip4(fields.options.server_id or "0.0.0.0"),
    chaddr = fields.chaddr }
end

local function agree(message)
  assert.same(read_slowly(message), read(message))
end

local function message(kind, more)
  local fields = { op = 2, xid = 0xfedcba98, yiaddr = "10.1.2.3", chaddr = MAC, options = { message_type = kind,
    server_id = "10.0.0.1", lease_time = 3600, subnet_mask = "255.0.0.0", routers = { "10.0.0.1" } } }
  for name, value in pairs(more or {}) do fields[name] = value end
  return dhcp4.build(fields)
end

local function with_options(bytes)
  return message("OFFER", { pad = false }):sub(1, 240) .. bytes
end

local MESSAGES = {
  offer = message "OFFER", ack = message "ACK", nak = message("NAK", { yiaddr = "0.0.0.0" }),
  unpadded = message("OFFER", { pad = false }),
  ["options in the usual order"] = message("ACK", { option_order = { 1, 3, 51, 54, 53 } }),
  ["options in sname and file"] = message("ACK", { overload = true, option_order = { 53, 1, 51, 54, 3 } }),
  ["no server"] = message("OFFER", { options = { message_type = "OFFER" } }),
  ["no message type"] = message("OFFER", { options = { server_id = "10.0.0.1" } }),
  ["no options"] = with_options "\255",
  ["no end"] = with_options "\53\1\2",
  ["pad options"] = with_options "\0\0\53\1\2\0\54\4\1\2\3\4\0\255",
  ["server in two parts"] = with_options "\53\1\2\54\2\10\0\54\2\0\1\255",
  ["two message types"] = with_options "\53\1\2\53\1\5\255",
  ["long message type"] = with_options "\53\2\2\2\255",
  ["empty message type"] = with_options "\53\0\255",
  ["short server"] = with_options "\53\1\2\54\3\10\0\0\255",
  ["long server"] = with_options "\53\1\2\54\8\10\0\0\1\10\0\0\2\255",
  ["two servers, and no end"] = with_options "\53\1\2\54\4\10\0\0\1\54\4\10\0\0\2",
  ["an option cut short"] = with_options "\53\1\2\54\4\10\0\0\1\15\20ab",
  ["message type 0"] = with_options "\53\1\0\255",
  ["unknown message type"] = with_options "\53\1\200\54\4\1\2\3\4\255",
  ["an overload that is none"] = with_options "\52\1\9\53\1\2\255",
  ["another hardware"] = message("OFFER", { hlen = 4, chaddr = "abcd" }),
}

describe("the fast path for DHCPv4", function()
  for name, whole in pairs(MESSAGES) do
    it("agrees with the parser: " .. name, function()
      agree(whole)
    end)

    it("agrees with the parser at every length: " .. name, function()
      for size = 0, #whole do agree(whole:sub(1, size)) end
    end)

    it("agrees with the parser with every byte flipped: " .. name, function()
      for at = 1, #whole do
        for _, flip in ipairs { 0xff, 0x01 } do
          agree(whole:sub(1, at - 1) .. string.char(bit.bxor(whole:byte(at), flip)) .. whole:sub(at + 1))
        end
      end
    end)
  end

  it("agrees with the parser on options of random bytes", function()
    math.randomseed(20240229)
    for _ = 1, 20000 do
      local octets = {}
      for i = 1, math.random(0, 24) do octets[i] = string.char(({ 0, 1, 2, 4, 52, 53, 54, 255 })[math.random(8)]) end
      agree(with_options(table.concat(octets)))
    end
  end)

  it("reads what it is asked for", function()
    assert.same({ op = 2, kind = fast.OFFER, xid = bit.bswap(0xfedcba98), yiaddr = fast.ip4 "10.1.2.3",
      server_id = fast.ip4 "10.0.0.1", chaddr = MAC }, read(MESSAGES.offer))
    assert.equal(fast.NAK, read(MESSAGES.nak).kind)
    assert.equal(fast.ip4 "10.0.0.1", read(MESSAGES["long server"]).server_id)
    assert.equal(fast.ip4 "10.0.0.1", read(MESSAGES["two servers, and no end"]).server_id)
  end)

  it("reads a message without making garbage once it is compiled", function()
    local memory, reply = ffi.new("uint8_t[?]", #MESSAGES.offer), fast.reply()
    ffi.copy(memory, MESSAGES.offer, #MESSAGES.offer)
    local function many()
      for _ = 1, 10000 do fast.parse(memory, #MESSAGES.offer, reply) end
    end
    for _ = 1, 5 do many() end -- compiled code comes about in between
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    many()
    local made = (collectgarbage "count" - before) * 1024
    collectgarbage "restart"
    assert.is_true(made / 10000 < 1, made .. " bytes in 10000 messages")
  end)
end)

describe("a template", function()
  local chaddr = ffi.new("uint8_t[6]", 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff)
  local OPTIONS = { message_type = "REQUEST", requested_address = "0.0.0.0", server_id = "0.0.0.0",
    parameter_request_list = { 1, 3 } }

  local function text(template)
    return ffi.string(template.data, template.size)
  end

  it("becomes the very message that is built", function()
    local template = fast.template { options = OPTIONS }
    template:address(bit.bswap(0x12345678), chaddr, 258.9)
    template:request(fast.ip4 "10.0.0.5", fast.ip4 "10.0.0.1")
    assert.equal(dhcp4.build { xid = 0x12345678, secs = 258, chaddr = OTHER_MAC, options = {
      message_type = "REQUEST", requested_address = "10.0.0.5", server_id = "10.0.0.1",
      parameter_request_list = { 1, 3 } } }, text(template))
  end)

  it("of a RELEASE too", function()
    local template = fast.template { options = { message_type = "RELEASE", server_id = "0.0.0.0" } }
    template:address(0, chaddr, 0)
    template:release(fast.ip4 "10.0.0.5", fast.ip4 "10.0.0.1")
    assert.equal(dhcp4.build { ciaddr = "10.0.0.5", chaddr = OTHER_MAC, options = { message_type = "RELEASE",
      server_id = "10.0.0.1" } }, text(template))
  end)

  it("tells no more seconds than there is room for", function()
    local template = fast.template { options = OPTIONS }
    template:address(0, chaddr, 1e6)
    assert.equal(0xffff, dhcp4.parse(text(template)).secs)
  end)
end)
