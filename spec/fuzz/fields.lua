-- fields.lua: packets with a field that lies: what is built of them has right lengths and checksums, and says something
-- else than it should. Values are those at which protocols have their edges, and those of other packets.

local packet = require "etherlua.proto.packet"

local M = {}

local NUMBERS = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 64, 67, 68, 127, 128, 133, 134, 135, 136, 137, 255, 1280, 1500, 0x7fff,
  0xffff, 0x7fffffff, 0xfffffffe, 0xffffffff }
local IP4 = { "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "10.0.0.1", "10.0.0.5", "10.0.0.9", "10.0.0.10",
  "10.0.0.11", "10.0.0.255", "240.0.0.1", "169.254.0.1", "0.0.0.1" }
local IP6 = { "::", "::1", "ff02::1", "fe80::1", "fe80::ff:fe00:1", "2001:db8::1", "2001:db8::ff:fe00:1",
  "ff02::1:ff00:1", "::ffff:10.0.0.1" }
local MACS = { "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:00:5e:00:00:01", "33:33:00:00:00:01",
  "02:00:00:00:00:02", "02:01:00:00:00:00" }
local TYPES = { "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM", 0, 9, 255 }

local function text(chance, value)
  if value:find "^%d+%.%d+%.%d+%.%d+$" then return chance:pick(IP4) end
  if value:find "^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$" then return chance:pick(MACS) end
  if value:find "^[%x:]*:[%x:.]*$" then return chance:pick(IP6) end
  if chance:once_in(4) then return "" end
  if chance:once_in(4) then return value .. value end
  return chance:once_in(4) and ("x"):rep(chance:upto(255)) or value:sub(1, chance:upto(#value + 1) - 1)
end

local function number(chance, value)
  if chance:once_in(3) then return math.max(value + chance:upto(5) - 3, 0) end
  return chance:once_in(4) and chance:upto(2 ^ 31 - 2) or chance:pick(NUMBERS)
end

local lie

local function names_of(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

-- One of the values is gone, twice there, or another one.
local function list(chance, values)
  local copy = {}
  for name, value in pairs(values) do copy[name] = value end
  local names = names_of(copy)
  if #names == 0 then return copy end
  local name, way = chance:pick(names), chance:upto(4)
  if way == 1 then
    if type(name) == "number" and name <= #copy then table.remove(copy, name) else copy[name] = nil end
  elseif way == 2 and type(name) == "number" and name <= #copy then
    for _ = 1, chance:once_in(4) and 100 or 1 do table.insert(copy, name, copy[name]) end
  else
    copy[name] = lie(chance, copy[name], name)
  end
  return copy
end

-- Another value instead of one.
lie = function(chance, value, name)
  if name == "message_type" then return chance:pick(TYPES) end
  if type(value) == "number" then return number(chance, value) end
  if type(value) == "boolean" then return not value end
  return type(value) == "table" and list(chance, value) or type(value) == "string" and text(chance, value) or value
end

-- Fields that are not there, of which most protocols have one or another.
local MISSING = { "code", "ttl", "hop_limit", "op", "checksum", "overload", "router_lifetime", "mf" }

-- Up to three fields of a packet lie. Returns it as it was where that cannot be built.
---@param chance table of endure/chance.lua
---@param frame string
---@return string frame
function M.change(chance, frame)
  local one = packet.parse(frame)
  for _ = 1, chance:upto(3) do
    local layer = one[chance:upto(#one)]
    local names = names_of(layer.fields)
    if chance:once_in(12) then layer.fields[chance:pick(MISSING)] = chance:pick(NUMBERS) end
    if #names > 0 then
      local name = chance:pick(names)
      layer.fields[name] = lie(chance, layer.fields[name], name)
    end
  end
  local ok, built = pcall(one.build, one)
  return ok and built or frame
end

return M
