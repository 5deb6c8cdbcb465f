-- proto/view.lua: a frame in full, for people: each layer with its offset, its fields and its bytes.
-- The one line for sniffing is proto.describe().

local bytes = require "etherlua.net.bytes"
local literal = require "etherlua.core.literal"
local proto = require "etherlua.proto"
local schemas = require "etherlua.proto.schema"

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

-- ---- fields -------------------------------------------------------------------------------------------------------

local function scalar_text(value, name)
  if type(value) == "number" then
    local words = { value > 255 and format("0x%x", value) or nil }
    words[#words + 1] = name
    return format(#words > 0 and "%.15g (%s)" or "%.15g", value, table.concat(words, ", "))
  end
  if type(value) ~= "string" then return tostring(value) end
  return value == "" and '""' or value:find("[^\32-\126]") and bytes.hex(value) or value
end

-- inside: what a schema says of a table.
local function value_text(value, name, inside)
  if type(value) ~= "table" then return scalar_text(value, name) end
  local parts, names, deeper = {}, nil, {}
  for i, item in ipairs(value) do parts[i] = value_text(item, nil, inside) end
  if #value == 0 then names, deeper = schemas.inner(inside, value) end
  for _, key in ipairs(literal.ordered_names(value, names)) do
    if not (type(key) == "number" and key >= 1 and key <= #value) then
      parts[#parts + 1] = tostring(key) .. " " .. value_text(value[key], nil, deeper[key])
    end
  end
  return #parts == 0 and "none" or table.concat(parts, ", ")
end

-- What the number in a field stands for: the protocol inside, or what the module has a name for.
local function name_of(module, field, fields)
  local value, names = fields[field], module.value_names and module.value_names[field]
  if type(names) == "function" then return names(value, fields) end
  if names then return names[value] end
  for _, selector in ipairs(module.selectors or {}) do
    if selector == field and module.next[value] then return proto.short_of(module.next[value]) end
  end
end

-- A field that has more than one line: a table with names, or a list of tables.
local function is_nested(value)
  return type(value) == "table" and next(value) ~= nil and (value[1] == nil or type(value[1]) == "table")
end

local function nested_rows(schema, field, fields)
  local rows, value, order, inside = {}, fields[field], schema.orders[field], schema.inside[field]
  local _, deeper = schemas.inner(inside, value)
  for i, name in ipairs(literal.ordered_names(value, order and order(fields))) do
    local is_item = type(name) == "number" and value[1] ~= nil
    rows[i] = { name = is_item and "" or tostring(name),
      text = value_text(value[name], nil, is_item and inside or deeper[name]) }
  end
  return rows
end

-- The names of a layer's fields as they are on the wire, options last, then those that are not there.
local function in_order(layer, schema)
  local names = {}
  for _, name in ipairs(literal.ordered_names(layer.fields, schema.names)) do
    if name ~= "payload" and name ~= "options" then names[#names + 1] = name end
  end
  if layer.fields.options ~= nil then names[#names + 1] = "options" end
  return names
end

-- The fields of a layer for people, in wire order and without the payload.
---@param layer { name: string, fields: table }
---@return { name: string, text: string?, rows: { name: string, text: string }[]? }[] rows a field has text, or rows of
---  its own, such as DHCP options
function M.rows(layer)
  local module, rows = proto.ends[layer.name] and {} or proto[layer.name], {}
  local schema = proto.ends[layer.name] or module.fields
  for i, name in ipairs(in_order(layer, schema)) do
    local value = layer.fields[name]
    rows[i] = { name = name, rows = is_nested(value) and nested_rows(schema, name, layer.fields) or nil }
    if not rows[i].rows then
      rows[i].text = value_text(value, name_of(module, name, layer.fields), schema.inside[name])
    end
  end
  return rows
end

local function add_fields(lines, layer)
  for _, row in ipairs(layer.name == "padding" and {} or M.rows(layer)) do
    lines[#lines + 1] = row.rows and "        " .. row.name or format("        %-22s %s", row.name, row.text)
    for _, inner in ipairs(row.rows or {}) do
      lines[#lines + 1] = inner.name == "" and "          " .. inner.text or format("          %-20s %s", inner.name,
        inner.text)
    end
  end
end

-- ---- all of it ----------------------------------------------------------------------------------------------------

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
