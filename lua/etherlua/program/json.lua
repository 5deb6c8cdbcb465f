-- program/json.lua: values as JSON, each time in the same order: tables have their names in the order that ordered()
-- gave them, all others by the alphabet. cjson writes the words and numbers, but knows no order.

local cjson = require "cjson"
local view = require "etherlua.proto.view"

local M = {}

-- Gives a table the order in which its names are written; those that are not listed follow.
---@param names any[]
---@param values table by name
---@return table values
function M.ordered(names, values)
  return setmetatable(values, { names = names })
end

local function each_name(value, fn)
  local listed = {}
  for _, name in ipairs((getmetatable(value) or {}).names or {}) do
    if value[name] ~= nil and not listed[name] then fn(name) end
    listed[name] = true
  end
  for _, name in ipairs(view.sorted_names(value)) do
    if not listed[name] then fn(name) end
  end
end

-- A list is one without other names; a table that is ordered is none.
local function is_list(value)
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count > 0 and count == #value and not getmetatable(value)
end

---@param value any
---@return string text on one line; raises for what JSON has no word for
function M.encode(value)
  if type(value) ~= "table" then return value == nil and "null" or cjson.encode(value) end
  local parts = {}
  if is_list(value) then
    for i, item in ipairs(value) do parts[i] = M.encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  each_name(value, function(name)
    parts[#parts + 1] = cjson.encode(tostring(name)) .. ":" .. M.encode(value[name])
  end)
  return "{" .. table.concat(parts, ",") .. "}"
end

return M
