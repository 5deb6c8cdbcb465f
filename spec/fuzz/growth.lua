-- growth.lua: what a frame costs grows as its size does, whatever is repeated in it. A piece of a frame is repeated
-- until there are some octets, and four times as many; instructions and memory of all that reads and shows frames are
-- counted for both. What is linear takes four times as much, what is quadratic sixteen times. Only frames that are read
-- alike are compared: of one that breaks off early nothing can be told.

local cost = require("support.cost").of
local json = require "etherlua.program.json"
local match = require "etherlua.proto.match"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local rules = require "fuzz.rules"
local view = require "etherlua.proto.view"

local M = {}

local SMALL, LARGE = 4096, 4 * 4096 -- octets
local LIMIT = 6
local SOME, MEMORY = 2e5, 2e5       -- instructions and bytes that are no matter
local SECONDS = 2                   -- of the processor, for what functions of C do; no honest frame takes a tenth
local PIECES = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64 }

local USES = {
  describe = proto.describe,
  ["view.describe"] = view.describe,
  ["match.decode"] = function(text) return match.difference({ ip = { ttl = 3 } }, match.decode(text)) end,
  ["json.encode"] = function(text, first) return json.encode(proto.dissect(text, first)) end,
  ["packet.parse"] = function(text, first) return packet.parse(text, first):build() end,
  ["packet code"] = function(text, first) return packet.parse(text, first):code() end,
}

local NAMES = {}
for name in pairs(USES) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

-- A text with a piece of it again and again. Which piece, and at which place, the octets of the frame decide.
local function repeated(text, frame, size)
  local at, length = frame:byte(-1) % #text + 1, PIECES[frame:byte(1) % #PIECES + 1]
  local piece = text:sub(at, at + length - 1)
  return text:sub(1, at - 1) .. piece:rep(math.ceil(size / #piece)) .. text:sub(at)
end

-- The frame with what its layer number `depth` carries made longer, its lengths and checksums made right; nil where
-- that cannot be built. Of layer 0 it is the frame itself.
local function longer(text, first, depth, size)
  if depth == 0 then return repeated(text, text, size) end
  local layers, read = packet.parse(text, first), proto.dissect(text, first)
  if #layers <= depth or not read[depth] or read[depth].name ~= layers[depth].name then return nil end
  local whole, rest = nil, read[depth].fields.payload
  if proto.ends[layers[depth].name] or not rest or rest == "" then return nil end
  for i = 1, depth do
    local layer = { name = layers[i].name, fields = layers[i].fields }
    local one = packet[proto.short_of(layer.name)](layer.fields)
    whole = whole and whole / one or one
  end
  local ok, built = pcall(function() return (whole / repeated(rest, text, size)):build() end)
  return ok and built or nil
end

-- The names of the layers, and how many there are.
local function shape(text, first)
  local names = {}
  for i, layer in ipairs(proto.dissect(text, first)) do names[i] = layer.name end
  return table.concat(names, " ")
end

local function compare(use, small, large, first)
  local fn = function(text) return USES[use](text, first) end
  local few, little = cost(fn, small)
  local began = os.clock()
  local many, much = cost(fn, large)
  if os.clock() - began > SECONDS then
    rules.fail("%s takes %.1f s for %d octets", use, os.clock() - began, #large)
  end
  if many > LIMIT * few + SOME or much > LIMIT * little + MEMORY then
    rules.fail("%s takes %d instructions and %d bytes for %d octets, but %d and %d for %d", use, many, much, #large,
      few, little, #small)
  end
end

-- One layer of the frame and one use of it, which the octets decide: all of them would take a second.
---@param first string name of the first layer
---@param text string
function M.check(first, text)
  if text == "" then return end
  local pairs_of_frames = {}
  for depth = 0, 4 do
    local small, large = longer(text, first, depth, SMALL), longer(text, first, depth, LARGE)
    if small and large and shape(small, first) == shape(large, first) then
      table.insert(pairs_of_frames, { small, large })
    end
  end
  local chosen = pairs_of_frames[text:byte(-1) % math.max(#pairs_of_frames, 1) + 1]
  local use = NAMES[text:byte(math.ceil(#text / 2)) % #NAMES + 1]
  if chosen and (first == "ethernet" or use ~= "match.decode") then compare(use, chosen[1], chosen[2], first) end
end

return M
