-- proto/view.lua: a frame in full, for people: each layer with its offset, its fields and its bytes.
-- The one line for sniffing is proto.describe().

local bytes = require "etherlua.net.bytes"
local literal = require "etherlua.core.literal"
local proto = require "etherlua.proto"

local format, sub = string.format, string.sub

local M = {}

-- Names of fields in order, and values in Lua's own notation.
M.sorted_names, M.literal = literal.sorted_names, literal.literal

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
