-- program/json.lua: values as JSON, each time in the same order: tables have their names in the order that ordered()
-- gave them, all others by the alphabet. cjson writes the words and numbers, but knows no order.

local cjson = require "cjson"
local literal = require "etherlua.core.literal"
local outside = require "etherlua.core.outside"

local M = {}

-- Gives a table the order in which its names are written; those that are not listed follow.
---@param names any[]
---@param values table by name
---@return table values
function M.ordered(names, values)
  return setmetatable(values, { names = names })
end

-- A list is one without other names; a table that is ordered is none.
local function is_list(value)
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count > 0 and count == #value and not getmetatable(value)
end

local function encode_scalar(value)
  if value == nil then return "null" end
  return cjson.encode(type(value) == "string" and outside.utf8(value) or value)
end

-- A byte that is no UTF-8 is \xNN in texts and names, whatever was received.
---@param value any
---@return string text on one line; raises for what JSON has no word for
function M.encode(value)
  if type(value) ~= "table" then return encode_scalar(value) end
  local parts = {}
  if is_list(value) then
    for i, item in ipairs(value) do parts[i] = M.encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for i, name in ipairs(literal.ordered_names(value, (getmetatable(value) or {}).names)) do
    parts[i] = encode_scalar(tostring(name)) .. ":" .. M.encode(value[name])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return M
