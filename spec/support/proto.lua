-- support/proto.lua: what the specs of all protocol modules do alike: find them, cut packets off, flip their bytes,
-- throw random ones at a parser, and look at error messages. No spec itself; failures are raised with the packet in
-- hex.

local bytes = require "etherlua.net.bytes"
local contract = require "etherlua.proto.contract"
local proto = require "etherlua.proto"

local M = {}

-- The files of proto/ that both read and describe something.
local function names_of_files()
  local names = {}
  local folder = debug.getinfo(contract.lacks, "S").source:match "^@(.*)contract%.lua$"
  local listing = assert(io.popen("ls " .. folder))
  for file in listing:lines() do
    local name = file:match "^([%w_]+)%.lua$"
    local module = name and name ~= "init" and require("etherlua.proto." .. name)
    if module and rawget(module, "parse") and rawget(module, "describe") then names[#names + 1] = name end
  end
  listing:close()
  return names
end

-- All protocols: those that proto/init.lua knows, and the files of proto/ that are one.
---@return string[] names of modules
function M.names()
  local found, names = {}, {}
  for _, list in ipairs { proto.names(), names_of_files() } do
    for _, name in ipairs(list) do
      if not found[name] then names[#names + 1] = name end
      found[name] = true
    end
  end
  return names
end

local function fail(packet, ...)
  error(string.format(...) .. ": " .. bytes.hex(packet), 0)
end

-- Whether two values are equal, tables by what is in them.
---@return boolean
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end
M.same = same

-- Every beginning of a packet has to be refused with a reason that names the protocol.
---@param module table
---@param protocol string
---@param packet string
---@param whole? table<integer, boolean> lengths at which a shorter packet is a whole one
function M.refuses_truncation(module, protocol, packet, whole)
  for size = 0, #packet - 1 do
    local cut = packet:sub(1, size)
    local fields, reason = module.parse(cut)
    if whole and whole[size] then
      if not fields then fail(cut, "%d bytes are refused: %s", size, reason) end
    elseif fields then
      fail(cut, "%d of %d bytes are accepted", size, #packet)
    elseif type(reason) ~= "string" or not reason:find(protocol .. ": ", 1, true) then
      fail(cut, "the reason for refusing %d bytes is %s", size, tostring(reason))
    end
  end
end

-- A packet has to be refused with this very reason.
function M.refuses(module, packet, expected)
  local fields, reason = module.parse(packet)
  if fields or reason ~= expected then fail(packet, "expected %q, got %q", expected, tostring(reason)) end
end

-- Parse, and if that works describe, build and parse again: nothing may raise, and what was built has to say the same.
local function survives(module, packet)
  local fields, reason = module.parse(packet)
  if not fields then
    if type(reason) ~= "string" then fail(packet, "refused without a reason") end
    return false
  end
  local line = module.describe(fields)
  if type(line) ~= "string" or line:find("\n", 1, true) then fail(packet, "not one line: %s", tostring(line)) end
  local again, why = module.parse(module.build(fields))
  if not again then fail(packet, "what was built from it is refused (%s)", why) end
  if not same(fields, again) then fail(packet, "another packet was built from it") end
  return true
end

-- Every single byte flipped, all bits and the lowest.
function M.survives_flips(module, packet)
  for at = 1, #packet do
    for _, flip in ipairs { 0xff, 0x01 } do
      survives(module, packet:sub(1, at - 1) .. string.char(bit.bxor(packet:byte(at), flip)) .. packet:sub(at + 1))
    end
  end
end

local function mutated(packet)
  for _ = 1, math.random(8) do
    local at = math.random(#packet)
    packet = packet:sub(1, at - 1) .. string.char(math.random(0, 255)) .. packet:sub(at + 1)
  end
  local size = math.random(4)
  if size == 1 then return packet:sub(1, math.random(0, #packet)) end
  return size == 2 and packet .. ("\255"):rep(math.random(40)) or packet
end

local function random_bytes()
  local octets = {}
  for i = 1, math.random(0, 120) do octets[i] = string.char(math.random(0, 255)) end
  return table.concat(octets)
end

-- 10,000 buffers, one in ten random and the others made from good packets. Returns how many were understood.
function M.survives_fuzzing(module, packets)
  math.randomseed(20240229)
  local understood = 0
  for i = 1, 10000 do
    local packet = i % 10 == 0 and random_bytes() or mutated(packets[i % #packets + 1])
    if survives(module, packet) then understood = understood + 1 end
  end
  return understood
end

-- The error of fn(...) has to contain a text (no pattern).
function M.raises(text, fn, ...)
  local ok, message = pcall(fn, ...)
  if ok then error("no error was raised; expected: " .. text, 0) end
  if not tostring(message):find(text, 1, true) then
    error(("expected: %s\nraised: %s"):format(text, tostring(message)), 0)
  end
end

-- Fields that were given to build() have to come back from parse().
function M.comes_back(module, given, context)
  local got, reason = module.parse(module.build(given, context))
  if not got then error(reason, 0) end
  for name, value in pairs(given) do
    if not same(value, got[name]) then
      error(("%s is %s instead of %s"):format(name, tostring(got[name]), tostring(value)), 0)
    end
  end
  return got
end

return M
