-- core/ids.lua: small positive numbers that name things to the engine: given out, taken back, given out again.

local M = {}

local Ids = {}
Ids.__index = Ids

---@return integer
function Ids:take()
  local id = table.remove(self.free)
  if id then return id end
  self.last = self.last + 1
  return self.last
end

---@param id integer that take() gave
function Ids:give_back(id)
  self.free[#self.free + 1] = id
end

---@return table ids
function M.new()
  return setmetatable({ free = {}, last = 0 }, Ids)
end

return M
