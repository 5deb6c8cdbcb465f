-- proto/init.lua: all protocols by name (proto.ipv4 loads proto/ipv4.lua), and the walk through the layers of a frame.
-- Nothing is put together over several frames.
--
-- A protocol is one file in proto/, pure functions on bytes, one line in its parent's table `next`, and a fixture in
-- spec/support/packets.lua. Its module exports what is here; proto/contract.lua and a spec say what one lacks.
--
--   parse(bytes, quoted)     -> fields, or nil and the reason. quoted: an ICMP error may have cut the bytes off.
--   build(fields, context)   -> bytes. context: the fields of the layer around it, for checksums that cover addresses.
--                            What parse() returns builds the same bytes again, what is unknown included.
--   describe(fields)         -> a part of a line for people. details(fields), of what has ports: the same without them.
--   fields                   the names in wire order, their aliases, defaults, and which ones build() derives unless
--                            given: see proto/schema.lua. build() raises for a name that is not among them.
--   checksum_ok(bytes, context)  -> whether the checksum is right
--   short                    a shorter name for layers and patterns, such as "ip4"
--   value_names              field -> what its numbers are called, for people: a table, or a function of the number and
--                            the fields
--
-- Where it carries others:
--   next                     number -> name of the module that reads the payload
--   selectors                the fields that the numbers stand in, for composing; of two, the first takes the lowest of
--                            the child's numbers, the second the highest
--   child(fields)            -> name of the module for fields.payload, or nil; a note: "quoted" if an ICMP error quotes
--                            it, or why there is none; and the octets that it reads, where these are not all
--   carrier(fields)          -> what it needs of the fields of the layer that carries it
--
-- Where it is asked and answers, for proto/answers.lua; without a rule everything answers everything:
--   answers(reply, request)  -> whether its own layer does
--   exchange(fields, is_reply)  -> what a request and its answers have in common, for an index of many requests
--   turn(request, mac)       -> fields that a reply has where nobody says otherwise; mac: of the host that replies
--   is_error(fields)         -> whether it says that the packet that it quotes went no further
--   is_group(ip), UNSPECIFIED  of protocols with IP addresses

local schema = require "etherlua.proto.schema"

local format = string.format

-- A module is loaded when it is first named, so that parents and children need not know each other.
local M = setmetatable({}, {
  __index = function(modules, name)
    local module = require("etherlua.proto." .. name)
    rawset(modules, name, module)
    return module
  end,
})

-- What can stand at the end of the list of layers: bytes that no protocol reads.
---@type table<string, etherlua.proto.schema>
M.ends = {
  data = schema.new("data", { "payload", "note" }),
  malformed = schema.new("malformed", { "protocol", "reason", "payload" }),
}

-- Options and extension headers have no line of their own.
---@param module any
---@return boolean
local function is_protocol(module)
  return type(module) == "table" and rawget(module, "parse") ~= nil and rawget(module, "describe") ~= nil
    and rawget(module, "fields") ~= nil
end

local function collect(names, name)
  if names[name] then return end
  names[name] = true
  for _, child in pairs(M[name].next or {}) do collect(names, child) end
end

-- All protocols: those that Ethernet carries, directly or not, and those that were loaded besides.
---@return string[] names of modules, sorted
function M.names()
  local roots, found, names = { "ethernet" }, {}, {}
  for name, module in pairs(M) do
    if is_protocol(module) then roots[#roots + 1] = name end
  end
  for _, name in ipairs(roots) do collect(found, name) end
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- The name that layers and patterns have for a protocol.
---@param name string of its module
---@return string "ip4", "udp"
function M.short_of(name)
  return M[name].short or name
end

-- The protocol of a name, long or short.
---@param name string "ipv4", "ip4"
---@return string|nil name of its module
function M.find(name)
  for _, full in ipairs(M.names()) do
    if full == name or M.short_of(full) == name then return full end
  end
  local ok, module = pcall(function() return M[name] end)
  return ok and is_protocol(module) and name or nil
end

-- How many layers are looked into. No honest packet has that many, but somebody may send errors about errors about
-- errors (RFC 1122 section 3.2.2 forbids the second), and each one holds, and sums up, all of those inside.
M.LAYERS_MAX = 32

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
    local note, inner
    name, note, inner = module.child(fields)
    payload, quoted = inner or fields.payload, quoted or note == "quoted"
    if #layers == M.LAYERS_MAX then name, note = nil, "too many layers" end
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
