-- proto/options.lua: the list of options behind an IPv4 header (RFC 791 section 3.1) or a TCP header (RFC 9293 section
-- 3.1), which have one format: an octet 0 ends the list, an octet 1 is padding, all others are type, length, data.
-- What an option means is not known here.

local bytes = require "etherlua.net.bytes"
local schema = require "etherlua.proto.schema"

local byte, format, sub = string.byte, string.format, string.sub

local M = {}

local END, NO_OPERATION = 0, 1

M.fields = schema.new("an option", { "type", "data" })

-- What a field with such options holds; build() takes raw bytes as well.
M.list = schema.list('a list of options is needed, such as { { type = 7, data = "..." } }', { "table" },
  { fields = M.fields, instead = "string" })

-- The option at a position and where the next one begins, or nil, reason.
local function parse_option(protocol, raw, at)
  local kind, size = byte(raw, at, at + 1)
  if kind == NO_OPERATION then return { type = kind }, at + 1 end
  local have = #raw - at + 1
  if size and size < 2 then return nil, format("%s: option %d has length %d", protocol, kind, size) end
  if have < (size or 2) then return bytes.short(protocol, have, size or 2, format("bytes of option %d", kind)) end
  return { type = kind, data = sub(raw, at + 2, at + size - 1) }, at + size
end

-- What ends the list, or nil if build() pads just so.
local function parse_end(raw, at)
  local rest = sub(raw, at + 1)
  if #rest < 3 and not rest:find("[^%z]") then return nil end
  return { type = END, data = rest }
end

---@param protocol string for the reason
---@param raw string what the header's length says there is of options: a multiple of 4 octets
---@return table[]? list of { type, data }; without data for type 1. The end is left out if it is mere padding, else it
---  comes last with what follows it as data
---@return string? reason
function M.parse(protocol, raw)
  local list, at = {}, 1
  while at <= #raw do
    if byte(raw, at) == END then
      list[#list + 1] = parse_end(raw, at)
      break
    end
    local option, next_at = parse_option(protocol, raw, at)
    if not option then return nil, next_at end
    list[#list + 1], at = option, next_at
  end
  return list
end

local function option_bytes(protocol, option)
  local kind, data = option.type, bytes.string(protocol .. " option data", option.data)
  local first = bytes.put8(protocol .. " option type", kind)
  if kind == END or kind == NO_OPERATION then return first .. data end
  return first .. bytes.put8(protocol .. " option length", #data + 2) .. data
end

---@param protocol string for errors
---@param options? table[]|string list as from parse, or raw bytes, which may be wrong
---@return string bytes padded with zeros to a multiple of 4; raises if they are more than the 40 that fit a header
function M.build(protocol, options)
  local raw = options or ""
  if type(options) == "table" then
    local parts = {}
    for i, option in ipairs(options) do parts[i] = option_bytes(protocol, option) end
    raw = table.concat(parts)
  end
  return bytes.pad_to(bytes.string(protocol .. " options", raw, 40), 4)
end

return M
