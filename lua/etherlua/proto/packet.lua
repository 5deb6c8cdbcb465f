-- proto/packet.lua: layers that compose, for scripts and the prompt:
--   ether { dst = ... } / ip4 { dst = ... } / udp { dst_port = 53 } / "data"
-- What follows fills in what names it (EtherType, protocol, ports), and build() lengths and checksums, unless given.
-- A layer knows its name and fields; their meaning is in the module of that name. Not for the hot path.

local bytes = require "etherlua.net.bytes"
local proto = require "etherlua.proto"
local view = require "etherlua.proto.view"

local misuse = bytes.misuse

local M = {}

-- Constructors that are not named as the protocol's module, and the other way round.
local NAMES = { ether = "ethernet", ip4 = "ipv4", ip6 = "ipv6" }
local SHORT = { ethernet = "ether", ipv4 = "ip4", ipv6 = "ip6" }

-- Layers without a module of their own.
local PLAIN = { data = true, malformed = true, padding = true, vlan = true }

-- Short names of fields.
local ALIASES = { sport = "src_port", dport = "dst_port" }

-- What a layer has when nobody says otherwise: no source (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2, RFC 768).
local DEFAULTS = { ethernet = { src = "00:00:00:00:00:00" }, ipv4 = { src = "0.0.0.0" }, ipv6 = { src = "::" },
  udp = { src_port = 0 }, tcp = { src_port = 0 } }

-- A list of layers.
---@class etherlua.packet
local methods = {}
local Packet = {}

-- packet.udp is the fields of the first such layer, to be read and written.
function Packet.__index(packet, key)
  if methods[key] then return methods[key] end
  for _, layer in ipairs(packet) do
    if layer.name == (NAMES[key] or key) then return layer.fields end
  end
end

-- ---- Composing ----------------------------------------------------------------------------------------------------

local function copy_of(fields, names)
  local copy = {}
  for name, value in pairs(fields) do copy[names and names[name] or name] = value end
  return copy
end

local function one_layer(name, fields)
  return setmetatable({ { name = name, fields = fields } }, Packet)
end

local function bytes_layer(name, payload)
  if type(payload) ~= "string" then misuse("bad %s %s: a string or a layer is needed", name, tostring(payload)) end
  return one_layer(name, { payload = payload })
end

local function is_protocol(name)
  local ok, module = pcall(function() return PLAIN[name] or proto[name] end)
  return ok and (module == true or module.parse and module.build and module.describe)
end

-- A constructor is made when it is first named: packet.udp { src_port = ... }, packet.vlan { vid = 100 }.
setmetatable(M, {
  __index = function(_, short)
    local name = NAMES[short] or short
    if not is_protocol(name) then misuse("bad layer %q: there is no such protocol", tostring(short)) end
    M[short] = function(fields)
      fields = fields or {}
      if type(fields) ~= "table" then misuse("bad %s %s: a table of fields is needed", short, tostring(fields)) end
      return one_layer(name, copy_of(fields, ALIASES))
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
  for _, defaults in ipairs { wanted and wanted(inner.fields) or {}, DEFAULTS[layer.name] or {} } do
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
    misuse("bad packet: %s", layer.name == "vlan" and "vlan has to follow ether" or "padding has to be last")
  end
  local fields = complete(layer, packet[i + 1])
  if packet[i + 1] then fields.payload = payload end
  local built = proto[layer.name].build(fields, context_of(packet, i))
  if built:sub(#built - #payload + 1) ~= payload then misuse("bad packet: %s has no payload", layer.name) end
  return built
end

-- The bytes of the packet; tostring() does the same.
---@return string bytes; raises for bad values, and for a layer that lacks what it needs
function methods:build()
  local count, payload, padding = #self, "", ""
  if count > 1 and self[count].name == "padding" then count, padding = count - 1, self[count].fields.payload end
  local packet = { unpack(self, 1, count) }
  for i = count, 1, -1 do payload = build_layer(packet, i, payload) end
  return payload .. padding
end

Packet.__tostring = methods.build

-- ---- Reading ------------------------------------------------------------------------------------------------------

-- Take those fields away that build() fills in by itself.
local function simplify(packet, names_of)
  local whole = packet:build()
  for _, layer in ipairs(packet) do
    for _, name in ipairs(names_of(layer)) do
      local value = layer.fields[name]
      layer.fields[name] = nil
      local ok, built = pcall(methods.build, packet)
      if not ok or built ~= whole then layer.fields[name] = value end
    end
  end
  return packet
end

local function is_bytes(layer)
  return layer.name == "data" or layer.name == "malformed"
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
  local packet, padding = buildable(proto.dissect(whole, NAMES[first] or first), whole)
  if padding ~= "" then packet[#packet + 1] = { name = "padding", fields = { payload = padding } } end
  return simplify(setmetatable(packet, Packet), function(layer)
    return not PLAIN[layer.name] and proto[layer.name].derived or {}
  end)
end

-- ---- Text ---------------------------------------------------------------------------------------------------------

local function layer_code(layer)
  local value = PLAIN[layer.name] and layer.fields.payload or layer.fields
  return ("p.%s %s"):format(SHORT[layer.name] or layer.name, view.literal(value))
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
  local name, rest = SHORT[first.name] or first.name, { unpack(self, 2) }
  return rest[1] and name .. " / " .. methods.summary(rest) or name
end

-- The layers with offsets, fields and bytes.
---@return string lines
function methods:describe()
  if is_bytes(self[1]) then return bytes.dump(self:build()) end
  return view.describe(self:build(), self[1].name)
end

return M
