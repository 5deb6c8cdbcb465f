-- proto/init.lua: all protocols by name (proto.ipv4 loads proto/ipv4.lua), and the walk through the layers of a frame.
-- A parent names the module of its payload by child(fields), from its table `next`; so a new protocol is one file here
-- and one line in its parent's table. Nothing is put together over several frames.
-- For packet.lua a module says: selectors, the fields that `next` is about (of two, the first takes the lowest of the
-- child's numbers, the second the highest); derived, what build() fills in unless given; carrier(fields), what it needs
-- of the header that carries it.

local format = string.format

-- A module is loaded when it is first named, so that parents and children need not know each other.
local M = setmetatable({}, {
  __index = function(modules, name)
    local module = require("etherlua.proto." .. name)
    rawset(modules, name, module)
    return module
  end,
})

---@param frame string
---@param first? string name of the first layer; default "ethernet"
---@param quoted? boolean it is quoted by an ICMP error, which may have cut it off
---@return { name: string, fields: table }[] layers from the outside, what an ICMP error quotes included; the last may
---  be "data" with payload and perhaps note (why it was not looked into), or "malformed" with protocol, reason, payload
function M.dissect(frame, first, quoted)
  local layers, name, payload = {}, first or "ethernet", frame
  while name do
    local module = M[name]
    local fields, reason = module.parse(payload, quoted)
    if not fields then
      layers[#layers + 1] = { name = "malformed", fields = { protocol = name, reason = reason, payload = payload } }
      return layers
    end
    layers[#layers + 1] = { name = name, fields = fields }
    if not module.child then return layers end
    local note
    name, note = module.child(fields)
    payload, quoted = fields.payload, quoted or note == "quoted"
    if not name and payload and payload ~= "" then
      layers[#layers + 1] = { name = "data", fields = { payload = payload, note = note } }
    end
  end
  return layers
end

-- What can stand at the end of the list; the rest describe themselves.
local describe_end = {
  data = function(fields) return format("data %d bytes", #fields.payload) end,
  malformed = function(fields) return format("malformed (%s)", fields.reason) end,
}

-- Addresses and ports of the layer above read best as one.
local with_ports = {
  ipv4 = "IPv4 %s:%d > %s:%d",
  ipv6 = "IPv6 [%s]:%d > [%s]:%d",
}

-- The text of layer i, or nil if the layers around it say it all.
local function layer_text(layers, i)
  local layer, inner, outer = layers[i], layers[i + 1], layers[i - 1]
  if with_ports[layer.name] and inner and inner.fields.src_port then
    local ip, ports = layer.fields, inner.fields
    return format(with_ports[layer.name], ip.src, ports.src_port, ip.dst, ports.dst_port)
  elseif layer.fields.src_port and outer and with_ports[outer.name] then
    local module = M[layer.name]
    if module.details then return layer.name:upper() .. module.details(layer.fields) end
    return not (inner and rawget(M, inner.name)) and layer.name:upper() or nil
  end
  return (describe_end[layer.name] or M[layer.name].describe)(layer.fields)
end

---@param layers { name: string, fields: table }[] from dissect()
---@return string line
function M.describe_layers(layers)
  local texts = {}
  for i = 1, #layers do texts[#texts + 1] = layer_text(layers, i) end
  return table.concat(texts, " ")
end

---@param frame string
---@param first? string name of the first layer; default "ethernet"
---@return string line such as "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff vlan 100 ARP who-has 10.0.0.1 tell 10.0.0.5"
function M.describe(frame, first)
  return M.describe_layers(M.dissect(frame, first))
end

return M
