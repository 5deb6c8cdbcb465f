-- chance.lua: random numbers that a seed decides, one row of them for each who draws: so what a task of a program does
-- is the same in every run of its seed, whenever it has its turn. Park and Miller's generator (CACM 31, 1988).

local M = {}

local MODULUS, FACTOR = 2147483647, 48271

local Chance = {}
Chance.__index = Chance

-- A row of its own. Numbers that are near each other give rows that have nothing in common.
---@param seed integer
---@param number? integer of whoever draws
function M.new(seed, number)
  local state = (seed * 7919 + (number or 0) * 104729) % (MODULUS - 1) + 1
  local chance = setmetatable({ state = state }, Chance)
  for _ = 1, 3 do chance:upto(2) end
  return chance
end

-- A whole number from 1 to `most`.
---@param most integer
---@return integer
function Chance:upto(most)
  self.state = self.state * FACTOR % MODULUS
  return self.state % most + 1
end

-- True once in so many times.
---@param times integer
---@return boolean
function Chance:once_in(times)
  return self:upto(times) == 1
end

-- One of a list.
function Chance:pick(list)
  return list[self:upto(#list)]
end

-- What SEED of the environment says, or what is given: a spec says which, a long run wants another each time.
---@param otherwise? integer
---@return integer
function M.seed(otherwise)
  local given = os.getenv "SEED"
  if not given or given == "" then return otherwise or os.time() % 1000000 end
  return tonumber(given) or error(("SEED=%s is no number"):format(given), 0)
end

return M
