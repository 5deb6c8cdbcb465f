-- test/frames.lua: frames as tests look at them: decoded, compared with a pattern, and two of them side by side with
-- the fields that differ marked. Pure functions on bytes.

local bytes = require "etherlua.bytes"
local proto = require "etherlua.proto"

local M = {}

-- ---- decoding -----------------------------------------------------------------------------------------------------

-- A decoded frame: the fields of each layer by the name of its protocol module.
---@class etherlua.test.frame
---@field bytes string the whole frame
---@field line string as proto.describe
---@field layers { name: string, fields: table }[]
---@field ethernet table dst, src, vlans, ethertype, payload
---@field ip? table the fields of ipv4 or ipv6, whichever it is
---@field ipv4? table
---@field ipv6? table
---@field arp? table
---@field udp? table src_port, dst_port, payload
---@field icmp? table
---@field icmp6? table
---@field dhcp4? table
---@field data? table payload that no module reads

---@param frame string
---@return etherlua.test.frame
function M.decode(frame)
  local decoded = { bytes = frame, line = proto.describe(frame), layers = proto.dissect(frame) }
  for _, layer in ipairs(decoded.layers) do decoded[layer.name] = layer.fields end
  decoded.ip = decoded.ipv4 or decoded.ipv6
  return decoded
end

-- ---- patterns -----------------------------------------------------------------------------------------------------

local function sorted_names(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

-- A field, or a pattern, as text for messages.
---@param value any
---@return string
function M.show(value)
  if type(value) == "string" then
    return value:find("[^\32-\126]") and "0x" .. bytes.hex(value) or ("%q"):format(value)
  end
  if type(value) ~= "table" then return tostring(value) end
  if value.vid then return tostring(value.vid) end
  local parts = {}
  for i, name in ipairs(sorted_names(value)) do
    parts[i] = (type(name) == "number" and "" or name .. " = ") .. M.show(value[name])
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local show = M.show

-- A list has to be of the same length; of other tables only what is named counts.
local function is_list(want)
  return #want > 0 or next(want) == nil
end

local differs

local function table_differs(want, got, path)
  if type(got) ~= "table" then return path, want, got end
  if is_list(want) and #want ~= #got then return path, want, got end
  for name, value in pairs(want) do
    local at, wanted, found = differs(value, got[name], (path and path .. "." or "") .. name)
    if at then return at, wanted, found end
  end
end

-- Where got is not as wanted: the path of the field, and both values.
differs = function(want, got, path)
  if type(want) == "function" then
    if want(got) then return nil end
    return path, "what the function accepts", got
  elseif type(want) == "table" then
    return table_differs(want, got, path)
  elseif type(got) == "table" and type(want) == "number" then
    got = got.vid -- a VLAN tag
  end
  if want == false and got == nil or want == got then return nil end
  return path, want, got
end

local function text_of(frame)
  return frame.line .. "\n" .. (frame.udp and frame.udp.payload or frame.ethernet.payload or "")
end

-- Compares a frame with a pattern: a table of decoded fields such as { ip = { dst = "10.0.0.1" }, arp = false }
-- (a function as a value is called with the field; false: there is none; a number stands for a VLAN tag of this ID), a
-- function of the decoded frame, or a Lua pattern for its decoded line or its payload.
---@param pattern table|string|fun(frame: etherlua.test.frame): any
---@param frame etherlua.test.frame
---@return string? difference nil when it matches
function M.difference(pattern, frame)
  if type(pattern) == "function" then
    return not pattern(frame) and "the function does not accept it" or nil
  elseif type(pattern) == "string" then
    return not text_of(frame):find(pattern) and ("neither line nor payload match %q"):format(pattern) or nil
  elseif type(pattern) ~= "table" then
    error(("bad pattern %s: a table of fields, a function or a Lua pattern is needed"):format(tostring(pattern)), 0)
  end
  local path, wanted, found = differs(pattern, frame)
  if not path then return nil end
  if found == nil then return ("%s is missing, %s is wanted"):format(path, show(wanted)) end
  return ("%s is %s, not %s"):format(path, show(found), show(wanted))
end

-- ---- two frames side by side --------------------------------------------------------------------------------------

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
  local a, b = M.decode(expected), M.decode(received)
  local left, right = rows_of(a), rows_of(b)
  local lines = { "the frames differ", "  expected  " .. a.line, "  received  " .. b.line }
  for _, path in ipairs(merged(left, right)) do
    local same, x, y = left[path] == right[path], left[path] or "(none)", right[path] or "(none)"
    lines[#lines + 1] = ("%s %-28s %s"):format(same and " " or "*", path, same and x or x .. " | " .. y)
  end
  return table.concat(lines, "\n")
end

return M
