-- proto/view.lua: a frame in full, for people: each layer with its offset, its fields and its bytes.
-- The one line for sniffing is proto.describe().

local bytes = require "etherlua.net.bytes"
local proto = require "etherlua.proto"

local format, sub = string.format, string.sub

local M = {}

-- ---- Lua's own notation -------------------------------------------------------------------------------------------

local function literal_string(text)
  local escaped = text:gsub('["\\]', "\\%0"):gsub("[^\32-\126]", function(c) return format("\\%03d", c:byte()) end)
  return '"' .. escaped .. '"'
end

-- The names of fields in alphabetical order, numbers behind them.
---@param fields table
---@return any[]
function M.sorted_names(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    if type(a) ~= type(b) then return type(a) == "string" end
    return a < b
  end)
  return names
end

local function literal_key(key)
  return type(key) == "string" and key:find("^[%a_][%w_]*$") and key or format("[%s]", M.literal(key))
end

-- A value as Lua reads it, on one line.
---@param value nil|boolean|number|string|table without cycles
---@return string
function M.literal(value)
  if type(value) == "string" then return literal_string(value) end
  if type(value) == "number" then return format("%.15g", value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = M.literal(item) end
  local listed = #parts
  for _, key in ipairs(M.sorted_names(value)) do
    if not (type(key) == "number" and key >= 1 and key <= listed) then
      parts[#parts + 1] = literal_key(key) .. " = " .. M.literal(value[key])
    end
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

-- ---- The layers ---------------------------------------------------------------------------------------------------

-- How many octets of a layer are in front of its payload: what build() makes without one. Of a quoted header that was
-- cut off there is no more than the rest.
local function header_size(layer, rest)
  local fields = {}
  for name, value in pairs(layer.fields) do fields[name] = value end
  fields.payload = nil
  local ok, header = pcall(proto[layer.name].build, fields)
  return ok and math.min(#header, rest) or rest
end

local function value_text(value)
  if type(value) == "number" and value > 255 then return format("%.15g (0x%x)", value, value) end
  if type(value) ~= "string" then return M.literal(value) end
  return value:find("[^\32-\126]") and bytes.hex(value) or value
end

local function add_fields(lines, layer)
  for _, name in ipairs(M.sorted_names(layer.fields)) do
    if name ~= "payload" then
      lines[#lines + 1] = format("        %-22s %s", name, value_text(layer.fields[name]))
    end
  end
end

-- The title of a layer, and its bytes behind its fields.
local function add_layer(lines, frame, layer)
  local from, to = layer.from, layer.to
  lines[#lines + 1] = format("%04x  %s, %d bytes", from, layer.name, to - from)
  add_fields(lines, layer)
  if to > from then lines[#lines + 1] = "  " .. bytes.dump(sub(frame, from + 1, to), from):gsub("\n", "\n  ") end
end

-- Each layer with its place in the frame; a layer "padding" for what is left over.
---@param frame string
---@param first? string name of the first layer; default "ethernet"
---@return table[] layers of proto.dissect; from, to: offsets of its octets without the payload
function M.layers(frame, first)
  local layers, at = proto.dissect(frame, first), 0
  for _, layer in ipairs(layers) do
    local size = proto.ends[layer.name] and #layer.fields.payload or header_size(layer, #frame - at)
    layer.from, layer.to = at, at + size
    at = layer.to
  end
  if at < #frame then layers[#layers + 1] = { name = "padding", fields = {}, from = at, to = #frame } end
  return layers
end

---@param frame string
---@param first? string name of the first layer; default "ethernet"
---@return string lines: for each layer its offset in hex, name, size, fields and bytes; last what is left over, such as
---  padding
function M.describe(frame, first)
  local lines = {}
  for _, layer in ipairs(M.layers(frame, first)) do add_layer(lines, frame, layer) end
  return table.concat(lines, "\n")
end

return M
