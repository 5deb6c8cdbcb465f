-- proto/match.lua: decoded frames, and patterns that they are compared with: what a test expects and what a responder
-- answers. Pure functions on bytes.

local bytes = require "etherlua.net.bytes"
local misuse = require "etherlua.core.misuse"
local ip = require "etherlua.proto.ip"
local proto = require "etherlua.proto"
local suggest = require "etherlua.core.suggest"
local view = require "etherlua.proto.view"

local M = {}

-- ---- decoding -----------------------------------------------------------------------------------------------------

-- A decoded frame: the fields of each layer by the name of its protocol module; of two layers of one name, such as in
-- what an ICMP error quotes, those of the outer one.
---@class etherlua.decoded
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

-- The line is made when it is asked for: most frames are only looked at.
local Decoded = {
  __index = function(decoded, key)
    if key ~= "line" then return nil end
    decoded.line = proto.describe(decoded.bytes)
    return decoded.line
  end,
}

-- Every layer of a frame.
---@param frame string
---@return etherlua.decoded
function M.decode(frame)
  local decoded = { bytes = frame, layers = proto.dissect(frame) }
  for _, layer in ipairs(decoded.layers) do decoded[layer.name] = decoded[layer.name] or layer.fields end
  decoded.ip = decoded.ipv4 or decoded.ipv6
  return setmetatable(decoded, Decoded)
end

-- ---- patterns -----------------------------------------------------------------------------------------------------

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
  for i, name in ipairs(view.sorted_names(value)) do
    parts[i] = (type(name) == "number" and "" or name .. " = ") .. M.show(value[name])
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local show = M.show

-- A list has to be of the same length; of other tables only what is named counts.
---@param value table
---@return boolean
function M.is_list(value)
  return #value > 0 or next(value) == nil
end

local differs

local function table_differs(want, got, path)
  if type(got) ~= "table" then return path, want, got end
  if M.is_list(want) and #want ~= #got then return path, want, got end
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

-- ---- names in patterns --------------------------------------------------------------------------------------------

-- What a decoded frame has besides its layers.
local OF_FRAME = { bytes = true, line = true, layers = true }

-- `ip` is either version.
local function schema_of(name)
  if name == "ip" then return ip.fields end
  return proto.ends[name] or proto[name].fields
end

local function known_layers()
  local names = { "ip", "data", "malformed" }
  for _, name in ipairs(proto.names()) do names[#names + 1] = proto.short_of(name) end
  return names
end

-- The name that a decoded frame has for a layer.
local function layer_of(name)
  local known = (name == "ip" or proto.ends[name]) and name or type(name) == "string" and proto.find(name)
  if not known then
    misuse.raise("bad pattern: unknown layer %q%s", tostring(name), suggest.words(name, known_layers()))
  end
  return known
end

-- What a layer has to be: fields with the names that decoded frames have, false, or a function.
local function fields_wanted(layer, value)
  if type(value) == "table" then return schema_of(layer):renamed(value, true) end
  if value and type(value) ~= "function" then
    misuse.raise("bad pattern %s of layer %s: a table of fields, false or a function is needed", tostring(value), layer)
  end
  return value
end

-- A pattern with the names that decoded frames have. A name that is not known is an error.
---@param pattern table
---@return table
function M.named(pattern)
  local wanted = {}
  for name, value in pairs(pattern) do
    local layer = OF_FRAME[name] and name or layer_of(name)
    wanted[layer] = OF_FRAME[name] and value or fields_wanted(layer, value)
  end
  return wanted
end

local function by_fields(wanted)
  return function(frame)
    local path, want, found = differs(wanted, frame)
    if not path then return nil end
    if found == nil then return ("%s is missing, %s is wanted"):format(path, show(want)) end
    return ("%s is %s, not %s"):format(path, show(found), show(want))
  end
end

-- Where a Lua pattern is in a text. What is wrong with one may show only in a text that matches up to there.
local function find(text, pattern)
  local ok, at = pcall(string.find, text, pattern)
  if not ok then misuse.raise("bad pattern %q: %s", pattern, misuse.words(at)) end
  return at
end

local function by_pattern(pattern)
  find("", pattern)
  return function(frame)
    return not find(text_of(frame), pattern) and ("neither line nor payload match %q"):format(pattern) or nil
  end
end

-- What compares frames with a pattern: a table of decoded fields such as { ip = { dst = "10.0.0.1" }, arp = false }
-- (layers and fields also by their short names; a function as a value is called with the field; false: there is none;
-- a number stands for a VLAN tag of this ID), a function of the decoded frame, or a Lua pattern for its decoded line or
-- its payload. A name that is not known is an error.
---@param pattern table|string|fun(frame: etherlua.decoded): any
---@return fun(frame: etherlua.decoded): string? difference nil when the frame matches
function M.compile(pattern)
  if type(pattern) == "function" then
    return function(frame) return not pattern(frame) and "the function does not accept it" or nil end
  elseif type(pattern) == "string" then
    return by_pattern(pattern)
  elseif type(pattern) ~= "table" then
    misuse.raise("bad pattern %s: a table of fields, a function or a Lua pattern is needed", tostring(pattern))
  end
  return by_fields(M.named(pattern))
end

-- Compares one frame with a pattern; for many there is compile().
---@param pattern table|string|fun(frame: etherlua.decoded): any
---@param frame etherlua.decoded
---@return string? difference nil when it matches
function M.difference(pattern, frame)
  return M.compile(pattern)(frame)
end

return M
