-- ask/fill.lua: the frames of replies: what a packet of proto/packet.lua leaves out is that of the request, turned
-- around. What is sent without a request is filled in by relay/composed.lua.

local composed = require "etherlua.relay.composed"
local misuse = require "etherlua.core.misuse"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"

local M = {}

local function fill(fields, name, value)
  if fields[name] == nil then fields[name] = value end
end

-- The place of the layer that a reply's first one stands for, or is carried by the one before. Bytes follow what
-- carries them.
local function place_of(name, request)
  local at = name == "ethernet" and 1 or nil
  for i, layer in ipairs(request) do
    local module = rawget(proto, layer.name)
    if layer.name == name then return i end
    if not at and module and module.next then
      for _, carried in pairs(module.next) do at = at or carried == name and i + 1 or nil end
    end
  end
  return at
end

local function place_of_bytes(request)
  local at = 1
  for i, layer in ipairs(request) do
    local module = rawget(proto, layer.name)
    if not module or not module.child or module.is_error and module.is_error(layer.fields) then break end
    at = i + 1
  end
  return at
end

-- The reply's layers with those of the request around them, which are empty yet.
local function wrapped(reply, request)
  if not packet.is_packet(reply) then reply = packet.data(reply) end
  local name = reply[1].name
  local at = name == "data" and place_of_bytes(request) or place_of(name, request)
  if not at then misuse.raise("bad reply: %s does not fit what the request is made of", name) end
  local whole = reply:copy()
  for i = at - 1, 1, -1 do table.insert(whole, 1, { name = request[i].name, fields = {} }) end
  return whole
end

-- What says what is inside is that of the request if nothing inside of the reply says so.
local function fill_selectors(whole, i, asked)
  local inner = whole[i + 1]
  if inner and inner.name ~= "data" then return end
  for _, name in ipairs(proto[asked.name].selectors or {}) do fill(whole[i].fields, name, asked.fields[name]) end
end

-- The frame of a reply: what it leaves out is the request's, turned around. It may begin at any layer of the request,
-- or at one that its layers carry; a text is data behind them.
---@param request { name: string, fields: table }[] from proto.dissect
---@param reply etherlua.packet|string
---@param mac string of the host that replies
---@return etherlua.packet whole
function M.reply(request, reply, mac)
  local whole = wrapped(reply, request)
  if whole[1].name == "ethernet" then fill(whole[1].fields, "dst", composed.group_mac(whole[2])) end
  for i, layer in ipairs(whole) do
    local asked = request[i]
    if not asked or asked.name ~= layer.name then break end
    local module = rawget(proto, layer.name)
    if not module or not module.turn then break end
    for name, value in pairs(module.turn(asked.fields, mac)) do fill(layer.fields, name, value) end
    fill_selectors(whole, i, asked)
    if (layer.name == "ipv4" or layer.name == "ipv6") and not layer.fields.src then
      misuse.raise("bad reply: the request went to %s, so its %s needs a src", asked.fields.dst, layer.name)
    end
  end
  return whole
end

return M
