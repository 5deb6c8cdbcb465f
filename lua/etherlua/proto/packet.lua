-- proto/packet.lua: layers that compose, for scripts and the prompt:
--   ether { dst = ... } / ip4 { dst = ... } / udp { dst_port = 53 } / "data"
-- What follows fills in what names it (EtherType, protocol, ports), and build() lengths and checksums, unless given.
-- A layer knows its name and fields; their meaning is in the module of that name. Not for the hot path.

local bytes = require "etherlua.net.bytes"
local misuse = require "etherlua.core.misuse"
local proto = require "etherlua.proto"
local schema = require "etherlua.proto.schema"
local suggest = require "etherlua.core.suggest"
local view = require "etherlua.proto.view"

local M = {}

-- Layers without a module of their own; a VLAN tag becomes a part of its frame.
local PLAIN = { data = proto.ends.data, malformed = proto.ends.malformed, vlan = proto.ethernet.tag_fields,
  padding = schema.new("padding", { "payload" }) }

local function short_of(name)
  return PLAIN[name] and name or proto.short_of(name)
end

local function schema_of(name)
  return PLAIN[name] or proto[name].fields
end

-- A list of layers.
---@class etherlua.packet
local methods = {}
local Packet = {}

-- packet.udp is the fields of the first such layer, to be read and written.
function Packet.__index(packet, key)
  if methods[key] then return methods[key] end
  for _, layer in ipairs(packet) do
    if layer.name == key or short_of(layer.name) == key then return layer.fields end
  end
end

-- ---- Composing ----------------------------------------------------------------------------------------------------

local function copy_of(fields)
  local copy = {}
  for name, value in pairs(fields) do copy[name] = value end
  return copy
end

local function one_layer(name, fields)
  return setmetatable({ { name = name, fields = fields } }, Packet)
end

local function bytes_layer(name, payload)
  if type(payload) ~= "string" then
    misuse.raise("bad %s %s: a string or a layer is needed", name, tostring(payload))
  end
  return one_layer(name, { payload = payload })
end

local function known_names()
  local names = {}
  for _, name in ipairs(proto.names()) do names[#names + 1] = short_of(name) end
  for name in pairs(PLAIN) do names[#names + 1] = name end
  return names
end

-- The layer of a name, long or short.
local function layer_of(name)
  local full = PLAIN[name] and name or proto.find(tostring(name))
  if not full then
    misuse.raise("bad layer %q: there is no such protocol%s", tostring(name), suggest.words(name, known_names()))
  end
  return full
end

-- A constructor is made when it is first named: packet.udp { src_port = ... }, packet.vlan { vid = 100 }.
setmetatable(M, {
  __index = function(_, short)
    local name = layer_of(short)
    M[short] = function(fields)
      fields = fields or {}
      if type(fields) ~= "table" then
        misuse.raise("bad %s %s: a table of fields is needed", short, tostring(fields))
      end
      return one_layer(name, schema_of(name):renamed(fields))
    end
    return M[short]
  end,
})

-- Bytes as they are; a string in a composition is the same.
---@param payload string
function M.data(payload) return bytes_layer("data", payload) end

-- Bytes behind the packet that no length counts, such as those that fill up a frame.
---@param payload string
function M.padding(payload) return bytes_layer("padding", payload) end

-- A tag becomes one of the frame's.
local function add_layer(packet, layer)
  local last = packet[#packet]
  if layer.name == "vlan" and last and last.name == "ethernet" then
    last.fields.vlans = { unpack(last.fields.vlans or {}) }
    table.insert(last.fields.vlans, copy_of(layer.fields))
  else
    packet[#packet + 1] = { name = layer.name, fields = copy_of(layer.fields) }
  end
end

---@param x any
---@return boolean whether x is a packet
function M.is_packet(x)
  return getmetatable(x) == Packet
end

-- A packet of its own, with the same fields.
---@return etherlua.packet
function methods:copy()
  local copy = setmetatable({}, Packet)
  for i, layer in ipairs(self) do copy[i] = { name = layer.name, fields = copy_of(layer.fields) } end
  return copy
end

-- outer / inner: a new packet; the operands stay as they are.
function Packet.__div(outer, inner)
  local packet = setmetatable({}, Packet)
  local parts = { M.is_packet(outer) and outer or M.data(outer), M.is_packet(inner) and inner or M.data(inner) }
  for _, part in ipairs(parts) do
    for _, layer in ipairs(part) do add_layer(packet, layer) end
  end
  return packet
end

-- ---- Building -----------------------------------------------------------------------------------------------------

local function numbers_of(parent, child)
  local low, high
  for number, name in pairs(parent.next) do
    if name == child then low, high = math.min(low or number, number), math.max(high or number, number) end
  end
  return { low, high }
end

-- All fields of a layer but its payload: what was given, what the layer inside it says and wants, defaults.
local function complete(layer, inner)
  local fields, module = copy_of(layer.fields), proto[layer.name]
  local numbers = inner and module.selectors and numbers_of(module, inner.name) or {}
  for i, name in ipairs(module.selectors or {}) do
    if fields[name] == nil then fields[name] = numbers[i] end
  end
  local wanted = inner and not PLAIN[inner.name] and proto[inner.name].carrier
  for _, defaults in ipairs { wanted and wanted(inner.fields) or {}, module.fields.defaults } do
    for name, value in pairs(defaults) do
      if fields[name] == nil then fields[name] = value end
    end
  end
  return fields
end

-- What is around layer i, for checksums that cover its addresses.
local function context_of(packet, i)
  local outer = packet[i - 1]
  return outer and not PLAIN[outer.name] and complete(outer, packet[i]) or nil
end

local function build_layer(packet, i, payload)
  local layer = packet[i]
  if layer.name == "data" then return layer.fields.payload .. payload end
  if PLAIN[layer.name] then
    misuse.raise("bad packet: %s", layer.name == "vlan" and "vlan has to follow ether" or "padding has to be last")
  end
  local fields = complete(layer, packet[i + 1])
  if packet[i + 1] then
    if not proto[layer.name].fields.known.payload then misuse.raise("bad packet: %s has no payload", layer.name) end
    fields.payload = payload
  end
  local built = proto[layer.name].build(fields, context_of(packet, i))
  if built:sub(#built - #payload + 1) ~= payload then misuse.raise("bad packet: %s has no payload", layer.name) end
  return built
end

-- The layers without padding, and the bytes from each of them to the end of the last.
local function build_layers(packet)
  local layers, count = {}, #packet
  if count > 1 and packet[count].name == "padding" then count = count - 1 end
  for i = 1, count do layers[i] = packet[i] end
  local built = { [count + 1] = "" }
  for i = count, 1, -1 do built[i] = build_layer(layers, i, built[i + 1]) end
  return layers, built
end

-- The bytes of the packet; tostring() does the same.
---@return string bytes; raises for bad values, and for a layer that lacks what it needs
function methods:build()
  local layers, built = build_layers(self)
  return built[1] .. (#layers < #self and self[#self].fields.payload or "")
end

Packet.__tostring = methods.build

-- ---- Reading ------------------------------------------------------------------------------------------------------

-- Whether layer i and its neighbours, which alone look at its fields, still make the same bytes. The whole packet is
-- not built for that: it may have many layers and fields.
local function makes_the_same(layers, built, i)
  for at = math.max(i - 1, 1), math.min(i + 1, #layers) do
    local ok, now = pcall(build_layer, layers, at, built[at + 1])
    if not ok or now ~= built[at] then return false end
  end
  return true
end

-- Take those fields away that build() fills in by itself.
local function simplify(packet, names_of)
  local layers, built = build_layers(packet)
  for i, layer in ipairs(layers) do
    for _, name in ipairs(names_of(layer)) do
      local value = layer.fields[name]
      layer.fields[name] = nil
      if value ~= nil and not makes_the_same(layers, built, i) then layer.fields[name] = value end
    end
  end
  return packet
end

local function is_bytes(layer)
  return proto.ends[layer.name] ~= nil
end

-- The layers of bytes as far as they can be built again from their fields, and what is left behind them.
local function buildable(layers, whole)
  local packet, own, padding = {}, whole, ""
  for i, layer in ipairs(layers) do
    local fields, outer = copy_of(layer.fields), layers[i - 1] and layers[i - 1].fields
    local ok, built = true, own
    if not is_bytes(layer) then ok, built = pcall(proto[layer.name].build, fields, outer) end
    if is_bytes(layer) or not ok or own:sub(1, #built) ~= built then
      packet[i] = { name = "data", fields = { payload = own } }
      return packet, padding
    end
    padding, own = own:sub(#built + 1) .. padding, fields.payload
    if layers[i + 1] then fields.payload = nil end
    packet[i] = { name = layer.name, fields = fields }
  end
  return packet, padding
end

-- The packet that is in some bytes. Lengths and checksums that are right are left out, so that they are right as well
-- after a change; what is not understood, or would not be built the same, is data.
---@param whole string
---@param first? string name of the first layer: "ether" (the default), "ip4", "ip6", ...
---@return table packet of which build() makes the same bytes
function M.parse(whole, first)
  local packet, padding = buildable(proto.dissect(whole, first and layer_of(first)), whole)
  if padding ~= "" then packet[#packet + 1] = { name = "padding", fields = { payload = padding } } end
  return simplify(setmetatable(packet, Packet), function(layer)
    return not PLAIN[layer.name] and proto[layer.name].fields.derived or {}
  end)
end

-- ---- Text ---------------------------------------------------------------------------------------------------------

local function layer_code(layer)
  local value = PLAIN[layer.name] and layer.fields.payload or layer.fields
  return ("p.%s %s"):format(short_of(layer.name), view.literal(value))
end

-- The Lua that makes this packet, without what need not be said.
---@return string code a chunk that returns a packet of the same bytes
function methods:code()
  local copy, parts = self:copy(), {}
  simplify(copy, function(layer) return PLAIN[layer.name] and {} or view.sorted_names(layer.fields) end)
  for i, layer in ipairs(copy) do parts[i] = layer_code(layer) end
  return 'local p = require "etherlua.proto.packet"\nreturn ' .. table.concat(parts, "\n  / ")
end

-- One line, as proto.describe(); of a layer that cannot be built yet, the name alone.
---@return string
function methods:summary()
  local first = self[1]
  if is_bytes(first) then return ("data %d bytes"):format(#self:build()) end
  local ok, whole = pcall(methods.build, self)
  if ok then return proto.describe(whole, first.name) end
  local name, rest = short_of(first.name), { unpack(self, 2) }
  return rest[1] and name .. " / " .. methods.summary(rest) or name
end

-- The layers with offsets, fields and bytes.
---@return string lines
function methods:describe()
  if is_bytes(self[1]) then return bytes.dump(self:build()) end
  return view.describe(self:build(), self[1].name)
end

return M
