-- net/digest_map.lua: numbers by digest (net/digest.lua), for what strangers name. A table of Lua is laid out anew each
-- time that it is full, so one that is nearly full and whose keys come and go takes time by its size for a few of them;
-- this one takes constant time for each, and grows by doubling. Nobody can choose keys that collide. It never shrinks.

local bit = require "bit"
local ffi = require "ffi"

local band = bit.band

local M = {}

local FIRST_SIZE = 64 -- slots, a power of two

-- value: one more than the number, 0 in a slot that is free.
local slots_t = ffi.typeof "struct { uint32_t word[4], value; }[?]"

local key = ffi.new "uint32_t[4]"

-- See digest_map.new.
---@class etherlua.digest_map
---@field count integer numbers in it
local Map = {}
Map.__index = Map

---@return etherlua.digest_map
function M.new()
  return setmetatable({ slots = slots_t(FIRST_SIZE), mask = FIRST_SIZE - 1, count = 0 }, Map)
end

local function is_here(slot, word)
  return slot.word[0] == word[0] and slot.word[1] == word[1] and slot.word[2] == word[2] and slot.word[3] == word[3]
end

-- The slot that has a digest, or the free one where it belongs. It is in its own, or behind others in its way.
local function find(slots, mask, word)
  local at = band(word[0], mask)
  while slots[at].value ~= 0 and not is_here(slots[at], word) do at = band(at + 1, mask) end
  return slots[at], at
end

local function grow(map)
  local old, size = map.slots, (map.mask + 1) * 2
  map.slots, map.mask = slots_t(size), size - 1
  for i = 0, size / 2 - 1 do
    if old[i].value ~= 0 then ffi.copy(find(map.slots, map.mask, old[i].word), old[i], ffi.sizeof(old[i])) end
  end
end

---@param digest string 16 bytes
---@return integer|nil number
function Map:get(digest)
  ffi.copy(key, digest, 16)
  local value = find(self.slots, self.mask, key).value
  return value ~= 0 and value - 1 or nil
end

-- Enters a digest that it does not have.
---@param digest string 16 bytes
---@param number integer from 0 to 2^32 - 2
function Map:add(digest, number)
  if self.count * 4 >= self.mask * 3 then grow(self) end
  ffi.copy(key, digest, 16)
  local slot = find(self.slots, self.mask, key)
  ffi.copy(slot.word, key, 16)
  slot.value = number + 1
  self.count = self.count + 1
end

-- Those behind a slot that is free now move up, unless they are where they belong.
local function close_gap(slots, mask, gap)
  local at = band(gap + 1, mask)
  while slots[at].value ~= 0 do
    local home = band(slots[at].word[0], mask)
    if band(at - home, mask) >= band(at - gap, mask) then
      ffi.copy(slots[gap], slots[at], ffi.sizeof(slots[at]))
      gap = at
    end
    at = band(at + 1, mask)
  end
  slots[gap].value = 0
end

-- Forgets a digest, if it has it.
---@param digest string 16 bytes
function Map:remove(digest)
  ffi.copy(key, digest, 16)
  local slot, at = find(self.slots, self.mask, key)
  if slot.value == 0 then return end
  self.count = self.count - 1
  close_gap(self.slots, self.mask, at)
end

return M
