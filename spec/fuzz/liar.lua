-- liar.lua: who is between two honest parties, and lies to both: to what one sends the other gets, or it gets itself
-- back, the truth, something near it, an old truth, too much, nothing, or what was never said.

local ethernet = require "etherlua.proto.ethernet"
local fields = require "fuzz.fields"
local fill = require "etherlua.ask.fill"
local mutator = require "fuzz.mutator"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"

local M = {}

local FRAMES_MAX = 500 -- that it sends in all: the two may answer each other for ever
local KEPT_MAX = 64
local LEAST = 14        -- octets that can be sent

local Liar = {}
Liar.__index = Liar

-- A side: the relay that it has there, and who watches the honest party behind it.
---@param chance table of endure/chance.lua
---@param sides table[] two: { relay =, witness = }
---@param seeds string[] frames
function M.new(chance, sides, seeds)
  local self = setmetatable({ chance = chance, sides = sides, seeds = seeds, sent = 0, kept = {},
    honesty = chance:pick { 1, 2, 4, 12 } }, Liar)
  sides[1].other, sides[2].other = sides[2], sides[1]
  for _, side in ipairs(sides) do side.conn = side.relay:default_conn { invalid = true } end
  return self
end

local function send(self, side, frame)
  if self.sent >= FRAMES_MAX or #frame < LEAST or not side.conn:is_open() then return end
  self.sent = self.sent + 1
  side.witness:told(frame)
  if side.relay:send(frame) and #self.kept < KEPT_MAX then self.kept[#self.kept + 1] = frame end
end

-- ---- lies ---------------------------------------------------------------------------------------------------------

local MACS = { "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "33:33:ff:00:00:01" }

-- Somebody else's words, said to one of the two.
local function addressed(self, frame)
  local chance = self.chance
  local one = ethernet.parse(frame)
  if not one then return frame end
  one.dst = self.last_source and chance:once_in(2) and self.last_source or chance:pick(MACS)
  if chance:once_in(2) then one.vlans = nil end
  local ok, built = pcall(ethernet.build, one)
  return ok and built or frame
end

local function reply_to(frame)
  local layers = proto.dissect(frame)
  local inner = layers[#layers]
  while inner and proto.ends[inner.name] and #layers > 1 do
    layers[#layers] = nil
    inner = layers[#layers]
  end
  local ok, built = pcall(function()
    return fill.reply(layers, packet[proto.short_of(inner.name)] {}, "02:00:00:00:00:09"):build()
  end)
  return ok and built or frame
end

local WAYS = {
  function(self, frame) return fields.change(self.chance, frame) end,
  function(self, frame) return fields.change(self.chance, frame) end,
  function(self, frame) return mutator.mutate(self.chance, frame, self.chance:pick(self.seeds)) end,
  function(self, frame) return #self.kept > 0 and self.chance:pick(self.kept) or frame end,
  function(self) return addressed(self, self.chance:pick(self.seeds)) end,
  function(self) return fields.change(self.chance, addressed(self, self.chance:pick(self.seeds))) end,
  function(self, frame) return fields.change(self.chance, reply_to(frame)) end,
}

local function lie(self, frame)
  local chance = self.chance
  local told = chance:pick(WAYS)(self, frame)
  if #told > 1514 then told = told:sub(1, 1514) end
  return told
end

local function later(self, side, frame)
  local pause = self.chance:upto(1000) / self.chance:pick { 10, 1000, 100000 }
  sched.spawn_background(function()
    sched.sleep(pause)
    send(self, side, frame)
  end)
end

local function flood(self, side, frame)
  local told = lie(self, frame)
  for _ = 1, self.chance:upto(200) do send(self, side, self.chance:once_in(2) and told or frame) end
end

-- What becomes of a frame that came from a side.
local function hear(self, side, frame)
  local chance, other = self.chance, side.other
  self.last_source = ethernet.parse(frame) and ethernet.parse(frame).src
  if chance:once_in(60) then return flood(self, chance:once_in(2) and side or other, frame) end
  if chance:once_in(6) then send(self, side, lie(self, frame)) end
  if not chance:once_in(self.honesty + 1) then return send(self, other, frame) end
  local way = chance:upto(6)
  if way == 1 then return later(self, other, frame) end
  if way == 2 then return later(self, side, lie(self, frame)) end
  if way == 3 then return end
  send(self, other, lie(self, frame))
  if way == 4 then send(self, other, frame) end
end

-- Reads what one side sends, for ever.
---@param number integer of the side
function Liar:listen(number)
  local side = self.sides[number]
  while side.conn:is_open() do
    local frame = side.conn:recv_frame()
    if not frame then return end
    local text = tostring(frame)
    frame:release()
    side.witness:sent(text)
    hear(self, side, text)
    sched.sleep(0)
  end
end

-- Says something now and then, asked or not, for ever.
function Liar:talk()
  while self.sides[1].conn:is_open() do
    sched.sleep(self.chance:upto(100) / 20)
    send(self, self.chance:pick(self.sides), addressed(self, lie(self, self.chance:pick(self.seeds))))
  end
end

return M
