-- core/literal.lua: values in Lua's own notation: whole, for code, and cut short, for messages about what was given.

local format = string.format

local M = {}

local SHORT, DEPTH = 100, 3 -- characters, tables in one another

local function literal_string(text)
  local escaped = text:gsub('["\\]', "\\%0"):gsub("[^\32-\126]", function(c) return format("\\%03d", c:byte()) end)
  return '"' .. escaped .. '"'
end

-- The names of fields in alphabetical order, numbers behind them, then what is neither.
---@param fields table
---@return any[]
function M.sorted_names(fields)
  local names, rank = {}, { string = 1, number = 2 }
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local one, other = rank[type(a)] or 3, rank[type(b)] or 3
    if one ~= other then return one < other end
    if one == 3 then return tostring(a) < tostring(b) end
    return a < b
  end)
  return names
end

-- The names of fields that are there: those of a list first, in its order, the others behind them as sorted_names has
-- them. Each comes once.
---@param fields table
---@param first? any[] names
---@return any[]
function M.ordered_names(fields, first)
  local names, seen = {}, {}
  for _, list in ipairs { first or {}, M.sorted_names(fields) } do
    for _, name in ipairs(list) do
      if fields[name] ~= nil and not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  return names
end

local literal

local function literal_key(key, depth)
  return type(key) == "string" and key:find("^[%a_][%w_]*$") and key or format("[%s]", literal(key, depth))
end

local function literal_table(value, depth)
  local parts = {}
  for i, item in ipairs(value) do parts[i] = literal(item, depth) end
  local listed = #parts
  for _, key in ipairs(M.sorted_names(value)) do
    if not (type(key) == "number" and key >= 1 and key <= listed) then
      parts[#parts + 1] = literal_key(key, depth) .. " = " .. literal(value[key], depth)
    end
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

literal = function(value, depth)
  if type(value) == "string" then return literal_string(value) end
  if type(value) == "number" then return format("%.15g", value) end
  if type(value) ~= "table" then return tostring(value) end
  if depth == 0 then return next(value) == nil and "{}" or "{ ... }" end
  return literal_table(value, depth and depth - 1)
end

-- A value as Lua reads it, on one line.
---@param value nil|boolean|number|string|table without cycles
---@return string
function M.literal(value)
  return literal(value)
end

-- Any value for a message: a table as M.literal has it, but cut short; all others as tostring() has them.
---@param value any
---@return string
function M.show(value)
  if type(value) ~= "table" then return tostring(value) end
  local text = literal(value, DEPTH)
  return #text <= SHORT and text or text:sub(1, SHORT - 4) .. " ..."
end

return M
