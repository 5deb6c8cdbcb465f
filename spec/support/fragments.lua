-- fragments.lua: packets cut into fragments by the protocol modules, which share no code with the engine, and put back
-- together. A packet is a table { version, src, dst, identification, protocol, payload, and other header fields }.

local assert = require "luassert"
local frames = require "support.frames"
local ip = require "etherlua.proto.ip"
local proto = require "etherlua.proto"

local M = {}

M.HOP, M.ROUTING, M.DESTINATION, M.FRAGMENT = 0, 43, 60, 44

-- Octets that differ from place to place, so that shifts are seen.
---@param size integer
---@param seed? integer
---@return string
function M.pattern(size, seed)
  local block = {}
  for i = 0, 250 do block[i + 1] = string.char((i * 7 + (seed or 0)) % 256) end
  return table.concat(block):rep(math.ceil(size / 251)):sub(1, size)
end

-- A packet with a UDP datagram from port 1000 to port 2000.
---@param version integer
---@param data string of the datagram
---@param fields? table of the IP header
---@return table
function M.packet(version, data, fields)
  local packet = { version = version, identification = 7, protocol = 17,
    src = version == 4 and "10.0.0.1" or "2001:db8::1", dst = version == 4 and "10.0.0.2" or "2001:db8::2" }
  for name, value in pairs(fields or {}) do packet[name] = value end
  packet.payload = proto.udp.build({ src_port = 1000, dst_port = 2000, payload = data }, packet)
  return packet
end

local function copy_of(packet)
  local fields = {}
  for name, value in pairs(packet) do fields[name] = value end
  return fields
end

-- The octets of the whole packet.
---@param packet table
---@return string
function M.whole(packet)
  return ip.build(packet)
end

-- The fragment with `size` octets from `offset` on. more: whether others follow; by default, when it is not the end.
---@param packet table
---@param offset integer a multiple of 8
---@param size integer
---@param more? boolean
---@return string
function M.piece(packet, offset, size, more)
  local fields = copy_of(packet)
  fields.payload = packet.payload:sub(offset + 1, offset + size)
  if more == nil then more = offset + size < #packet.payload end
  if packet.version == 4 then
    fields.fragment_offset, fields.mf = offset / 8, more
    return ip.build(fields)
  end
  fields.extension_headers = {}
  for i, header in ipairs(packet.extension_headers or {}) do fields.extension_headers[i] = header end
  table.insert(fields.extension_headers, { type = M.FRAGMENT, fragment_offset = offset / 8, mf = more,
    identification = packet.identification })
  return ip.build(fields)
end

-- All fragments, with so many octets in each but the last.
---@param packet table
---@param size integer a multiple of 8
---@return string[]
function M.cut(packet, size)
  local list = {}
  for offset = 0, #packet.payload - 1, size do
    list[#list + 1] = M.piece(packet, offset, math.min(size, #packet.payload - offset))
  end
  return list
end

-- What a fragment says: { offset, more, identification, payload, and what parse() returns }.
local function read(packet)
  if packet:byte() < 0x60 then
    local fields = assert(proto.ipv4.parse(packet))
    assert.is_true(proto.ipv4.checksum_ok(packet), "header checksum")
    fields.offset, fields.more = fields.fragment_offset * 8, fields.mf
    return fields
  end
  local fields = assert(proto.ipv6.parse(packet))
  local header = table.remove(fields.extension_headers)
  assert.equal(M.FRAGMENT, header.type)
  fields.offset, fields.more = header.fragment_offset * 8, header.mf
  fields.identification = header.identification
  return fields
end

-- Checks that these are all fragments of one packet, in order, none longer than the MTU, each but the last as long as
-- it can be.
---@param list string[] IP packets
---@param mtu integer
---@return table fields of the whole packet, its payload among them
function M.join(list, mtu)
  local whole, parts, identification = nil, {}, nil
  local at = 0
  for i, packet in ipairs(list) do
    local fields = read(packet)
    whole, identification = whole or fields, identification or fields.identification
    assert.same({ at, i < #list, identification }, { fields.offset, fields.more, fields.identification })
    assert.is_true(#packet <= mtu and (i == #list or #packet > mtu - 8), #packet .. " bytes at MTU " .. mtu)
    at, parts[i] = at + #fields.payload, fields.payload
  end
  whole.payload = table.concat(parts)
  return whole
end

-- All orders of 1 to n.
---@param n integer
---@return integer[][]
function M.orders(n)
  if n == 1 then return { { 1 } } end
  local list = {}
  for _, order in ipairs(M.orders(n - 1)) do
    for at = 1, n do
      local longer = {}
      for i = 1, n - 1 do longer[i] = order[i] end
      table.insert(longer, at, n)
      list[#list + 1] = longer
    end
  end
  return list
end

-- Changes the order of the list's elements at random.
---@param list any[]
function M.shuffle(list)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
end

-- A function that sends IP packets from a to b, and a RUDPConn on b at the packets' destination, whose EtherConn puts
-- fragments together. opts: of that EtherConn, which is returned, too.
---@param a etherlua.relay
---@param b etherlua.relay
---@param opts? table
---@return fun(...: string), etherlua.udp ip4, etherlua.udp ip6, etherlua.conn
function M.receiver(a, b, opts)
  local given = { mac = frames.MAC_B, reassemble = true }
  for name, value in pairs(opts or {}) do given[name] = value end
  local from, to = a:conn { mac = frames.MAC_A, vlans = given.vlans }, b:conn(given)
  local function send(...)
    for _, packet in ipairs { ... } do from:send(packet, frames.MAC_B) end
    a:flush()
  end
  return send, to:udp "10.0.0.2:2000", to:udp "[2001:db8::2]:2000", to
end

return M
