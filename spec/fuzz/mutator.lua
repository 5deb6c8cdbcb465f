-- mutator.lua: bytes made wrong, a little or much: bits flipped, pieces cut out, put in, doubled, spliced in from
-- others, lengths that are none, and numbers at which protocols have their edges.

local bit = require "bit"
local bytes = require "etherlua.net.bytes"
local proto = require "etherlua.proto"
local protocols = require "support.proto"

local M = {}

M.LONGEST = 4096 -- octets of what comes out

local EDGES = { 0, 1, 2, 4, 7, 8, 15, 16, 20, 31, 32, 40, 60, 63, 64, 65, 127, 128, 129, 192, 224, 239, 240, 253, 254,
  255, 256, 1500, 0x7fff, 0x8000, 0xfffe, 0xffff }

local function put(width, number)
  if width == 4 then return bytes.put32("an edge", number) end
  return width == 2 and bytes.put16("an edge", number) or string.char(number % 256)
end

-- Octets that mean something: edges, and the numbers by which protocols name what they carry.
local dictionary = {}
for _, edge in ipairs(EDGES) do
  for _, width in ipairs { 1, 2, 4 } do dictionary[#dictionary + 1] = put(width, edge) end
end
for _, text in ipairs { "\255\255\255\255", "\127\255\255\255", "\128\0\0\0", ("\0"):rep(16), ("\255"):rep(16),
  "\27[2J", "\r\n", "\239\187\191", "\99\130\83\99", "\254\128", "%s%n", "'\"\\" } do
  dictionary[#dictionary + 1] = text
end
for _, name in ipairs(protocols.names()) do
  for number in pairs(proto[name].next or {}) do
    if type(number) == "number" then dictionary[#dictionary + 1] = put(number > 255 and 2 or 1, number) end
  end
end
table.sort(dictionary)

local function replaced(text, at, length, by)
  return text:sub(1, at - 1) .. by .. text:sub(at + length)
end

-- A piece of a text, nearly always a short one.
local function piece(chance, text)
  local at = chance:upto(math.max(#text, 1))
  return text:sub(at, at + chance:upto(chance:once_in(4) and math.max(#text, 1) or 16) - 1), at
end

local WAYS = {}

function WAYS.flip(chance, text)
  local at = chance:upto(#text)
  return replaced(text, at, 1, string.char(bit.bxor(text:byte(at), 2 ^ (chance:upto(8) - 1))))
end

function WAYS.octet(chance, text)
  return replaced(text, chance:upto(#text), 1, string.char(chance:upto(256) - 1))
end

function WAYS.cut(chance, text)
  return text:sub(1, chance:upto(#text) - 1)
end

function WAYS.take_out(chance, text)
  local part, at = piece(chance, text)
  return replaced(text, at, #part, "")
end

function WAYS.put_in(chance, text)
  return replaced(text, chance:upto(#text), 0, string.char(chance:upto(256) - 1):rep(chance:upto(8)))
end

function WAYS.double(chance, text)
  local part, at = piece(chance, text)
  return replaced(text, at, 0, part:rep(chance:upto(4)))
end

function WAYS.splice(chance, text, other)
  return text:sub(1, chance:upto(#text)) .. other:sub(chance:upto(#other + 1))
end

function WAYS.borrow(chance, text, other)
  local part = piece(chance, other)
  return replaced(text, chance:upto(#text), chance:once_in(2) and #part or 0, part)
end

-- A number that may be a length: an edge, or what is left, or nearly so.
function WAYS.length(chance, text)
  local at, width = chance:upto(#text), chance:upto(2)
  local left = #text - at + 1
  local number = chance:once_in(2) and chance:pick(EDGES) or math.max(left + chance:upto(9) - 5, 0)
  return replaced(text, at, width, put(width, number % 256 ^ width))
end

function WAYS.word(chance, text)
  local word = chance:pick(dictionary)
  return replaced(text, chance:upto(#text), chance:once_in(4) and 0 or #word, word)
end

local names = {}
for name in pairs(WAYS) do names[#names + 1] = name end
table.sort(names)

-- One to four changes.
---@param chance table of endure/chance.lua
---@param text string
---@param other string what pieces are taken from
---@return string
function M.mutate(chance, text, other)
  for _ = 1, chance:upto(4) do
    if text == "" then text = chance:pick(dictionary) end
    text = WAYS[chance:pick(names)](chance, text, other)
  end
  return text:sub(1, M.LONGEST)
end

return M
