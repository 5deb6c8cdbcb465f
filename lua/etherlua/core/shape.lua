-- core/shape.lua: the shape of tables that callers give. A table of another shape than what reads it expects would be
-- read in part, or not at all, in silence: so it is an error that says what was given.

local literal = require "etherlua.core.literal"
local misuse = require "etherlua.core.misuse"

local M = {}

local type, floor = type, math.floor

-- How many keys there are, -1 when one is none of a list of that many.
local function count_keys(value, size)
  local count = 0
  for key in pairs(value) do
    if type(key) ~= "number" or key < 1 or key > size or key ~= floor(key) then return -1 end
    count = count + 1
  end
  return count
end

-- Whether its keys are 1, 2, 3 and so on, without a hole, and nothing else. Makes nothing.
---@param value any
---@return boolean
function M.is_list(value)
  return type(value) == "table" and count_keys(value, #value) == #value
end

-- Raises an error that says what was given, unless it is a list.
---@param what string what it is for: "VLAN stack"
---@param value any
---@param allowed string such as "a list of VLAN IDs is needed"
---@return table value
function M.check_list(what, value, allowed)
  if not M.is_list(value) then misuse.raise("bad %s %s: %s", what, literal.show(value), allowed) end
  return value
end

return M
