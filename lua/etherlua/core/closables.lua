-- core/closables.lua: what a run has to close at its end, in the order of opening. What is closed earlier is taken out,
-- in constant time, and leaves nothing: a list whose links know their neighbours, and by object the link that it is in.

local M = {}

---@class etherlua.closables
local Closables = {}
Closables.__index = Closables

---@return etherlua.closables
function M.new()
  return setmetatable({ links = {}, number = 0, count = 0 }, Closables)
end

-- obj is the last that was opened.
---@param obj table with close()
function Closables:add(obj)
  self:remove(obj)
  self.number, self.count = self.number + 1, self.count + 1
  local link = { obj = obj, number = self.number, before = self.last }
  if self.last then self.last.behind = link end
  self.last, self.links[obj] = link, link
end

-- obj is closed. Nothing happens when it is not in the list.
---@param obj table
---@return boolean whether it was
function Closables:remove(obj)
  local link = self.links[obj]
  if not link then return false end
  local before, behind = link.before, link.behind
  if before then before.behind = behind end
  if behind then behind.before = before else self.last = before end
  self.links[obj], self.count = nil, self.count - 1
  return true
end

-- Takes out the last one.
---@return table? obj nil when there is none
function Closables:pop()
  local link = self.last
  if not link then return nil end
  self:remove(link.obj)
  return link.obj
end

-- How many were ever added: for since().
---@return integer
function Closables:mark()
  return self.number
end

-- What was added behind the mark and is not closed.
---@param mark integer
---@return table[] in the order of opening
function Closables:since(mark)
  local list, link = {}, self.last
  while link and link.number > mark do
    list[#list + 1] = link.obj
    link = link.before
  end
  for i = 1, math.floor(#list / 2) do
    list[i], list[#list + 1 - i] = list[#list + 1 - i], list[i]
  end
  return list
end

return M
