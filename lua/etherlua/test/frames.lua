-- test/frames.lua: two frames side by side with the fields that differ marked. Pure functions on bytes. What a frame is
-- compared with otherwise, a pattern, is in proto/match.lua.

local match = require "etherlua.proto.match"
local view = require "etherlua.proto.view"

local M = {}

local show, is_list, sorted_names = match.show, match.is_list, view.sorted_names

local add_fields

local function add(rows, path, value)
  if type(value) == "table" and not value.vid and not is_list(value) then return add_fields(rows, path, value) end
  rows[#rows + 1] = path
  rows[path] = show(value)
end

add_fields = function(rows, path, fields)
  for _, name in ipairs(sorted_names(fields)) do add(rows, path .. "." .. name, fields[name]) end
end

-- Path -> text of every field, and the paths in order. A payload that is a layer of its own is left out.
local function rows_of(frame)
  local rows = {}
  for i, layer in ipairs(frame.layers) do
    local fields = {}
    for name, value in pairs(layer.fields) do fields[name] = value end
    if frame.layers[i + 1] then fields.payload = nil end
    add_fields(rows, layer.name, fields)
  end
  return rows
end

local function merged(a, b)
  local paths = {}
  for _, path in ipairs(a) do paths[#paths + 1] = path end
  for _, path in ipairs(b) do
    if not a[path] then paths[#paths + 1] = path end
  end
  return paths
end

-- Two frames decoded, the fields that differ marked by a star: expected on the left, received on the right.
---@param expected string bytes
---@param received string bytes
---@return string? text nil when they are the same
function M.compare(expected, received)
  if expected == received then return nil end
  local a, b = match.decode(expected), match.decode(received)
  local left, right = rows_of(a), rows_of(b)
  local lines = { "the frames differ", "  expected  " .. a.line, "  received  " .. b.line }
  for _, path in ipairs(merged(left, right)) do
    local same, x, y = left[path] == right[path], left[path] or "(none)", right[path] or "(none)"
    lines[#lines + 1] = ("%s %-28s %s"):format(same and " " or "*", path, same and x or x .. " | " .. y)
  end
  return table.concat(lines, "\n")
end

return M
