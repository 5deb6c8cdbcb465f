-- proto/ipv6_extensions.lua: the chain of IPv6 extension headers (RFC 8200 section 4; authentication header RFC 4302).
-- What a routing header or an option means is not known here.

local bytes = require "etherlua.net.bytes"
local layout = require "etherlua.proto.layout"
local misuse = require "etherlua.core.misuse"
local schema = require "etherlua.proto.schema"

local byte, format, sub = string.byte, string.format, string.sub
local put8 = bytes.put8

local M = {}

M.HOP_BY_HOP, M.ROUTING, M.FRAGMENT, M.AUTHENTICATION, M.DESTINATION_OPTIONS = 0, 43, 44, 51, 60

-- What there may be in a header, whatever its type, and in one of each type.
local COMMON, OPTIONS = { "type", "next_header", "length", "data" }, { inside = { options = schema.list(
  'a list of options is needed, such as { { type = 5, data = "..." } }', { "table" },
  { fields = schema.new("an ipv6 option", { "type", "data" }) }) } }
local NAMES = {
  [M.HOP_BY_HOP] = { "options" },
  [M.ROUTING] = { "routing_type", "segments_left", "type_specific_data" },
  [M.FRAGMENT] = { "reserved", "fragment_offset", "reserved2", "mf", "identification" },
  [M.AUTHENTICATION] = { "reserved", "spi", "sequence_number", "icv" },
  [M.DESTINATION_OPTIONS] = { "options" },
}

M.fields = schema.new("an ipv6 extension header", schema.union(COMMON, NAMES[M.HOP_BY_HOP], NAMES[M.ROUTING],
  NAMES[M.FRAGMENT], NAMES[M.AUTHENTICATION]), OPTIONS)

local fields_of = {}
for number, names in pairs(NAMES) do
  fields_of[number] = schema.new(("ipv6 extension header %d"):format(number), schema.union(COMMON, names),
    names[1] == "options" and OPTIONS or nil)
end

-- What the field with the chain holds.
M.list = schema.list("a list of extension headers is needed, such as { { type = 0, options = {} } }", { "table" },
  { fields = function(header) return fields_of[header.type] or M.fields end })

-- ---- Options of hop-by-hop and destination options headers (RFC 8200 section 4.2) -----------------------------------

local PAD1, PADN = 0, 1

local function build_option(option)
  if option.type == PAD1 then return "\0" end
  local data = bytes.string("ipv6 option data", option.data)
  return put8("ipv6 option type", option.type) .. put8("ipv6 option length", #data) .. data
end

-- With padding, because what is in front of them are two octets.
local function build_options(options)
  local parts = {}
  for i, option in ipairs(options or {}) do parts[i] = build_option(option) end
  local body = table.concat(parts)
  local padding = -(#body + 2) % 8
  if padding == 0 then return body end
  return body .. build_option(padding == 1 and { type = PAD1 } or { type = PADN, data = ("\0"):rep(padding - 2) })
end

-- Padding at the end is left out if build_options() would pad just so.
local function without_padding(options, body)
  local last = table.remove(options)
  if last and (last.type > PADN or build_options(options) ~= body) then options[#options + 1] = last end
  return options
end

local function parse_options(body, header)
  local options, at, have = {}, 1, #body
  while at <= have do
    local kind, size = byte(body, at, at + 1)
    local option = { type = kind }
    if kind == PAD1 then
      size = -1
    elseif not size or at + 1 + size > have then
      return bytes.short("ipv6", have - at + 1, (size or 0) + 2, format("bytes of option %d", kind))
    else
      option.data = sub(body, at + 2, at + 1 + size)
    end
    options[#options + 1] = option
    at = at + 2 + size
  end
  header.options = without_padding(options, body)
  return header
end

-- ---- Kinds of headers -----------------------------------------------------------------------------------------------
-- Type -> unit of the length octet; uncounted, how many units that does not count; parse(body, header), which fills in
-- what follows the first two octets and returns the header (or nil, reason); build(header) -> body.

-- Fields at fixed places, and the rest as bytes.
local function fixed(entries, rest)
  local start = layout.new("ipv6", entries)
  return function(body, header)
    if #body < start.size then
      return bytes.short("ipv6", #body + 2, start.size + 2, format("bytes of extension header %d", header.type))
    end
    start:parse(body, 1, header)
    if rest then header[rest] = sub(body, start.size + 1) end
    return header
  end, function(header)
    return start:build(header) .. bytes.string("ipv6 extension header", rest and header[rest])
  end
end

local function kind(unit, uncounted, parse, build)
  return { unit = unit, uncounted = uncounted, parse = parse, build = build }
end

local kinds = {
  [M.HOP_BY_HOP] = kind(8, 1, parse_options, function(header) return build_options(header.options) end),
  [M.DESTINATION_OPTIONS] = kind(8, 1, parse_options, function(header) return build_options(header.options) end),
  [M.ROUTING] = kind(8, 1, fixed({ { "routing_type", "u8" }, { "segments_left", "u8" } }, "type_specific_data")),
  [M.AUTHENTICATION] = kind(4, 2, fixed({ { "reserved", "u16" }, { "spi", "u32" }, { "sequence_number", "u32" } },
    "icv")),
  -- Where others have the length, this has something reserved.
  [M.FRAGMENT] = kind(8, 1, fixed { { bits = { { "fragment_offset", 13 }, { "reserved2", 2 }, { "mf", 1 } } },
    { "identification", "u32" } }),
}

-- ---- The chain ------------------------------------------------------------------------------------------------------

-- The header at a position of the packet and its size, or nil, reason.
local function parse_header(packet, number, at, have)
  local what = format("bytes of extension header %d", number)
  if have < 8 then return bytes.short("ipv6", have, 8, what) end
  local known, second = kinds[number], byte(packet, at + 1)
  local size = number == M.FRAGMENT and 8 or (second + known.uncounted) * known.unit
  if have < size then return bytes.short("ipv6", have, size, what) end
  local header, reason = known.parse(sub(packet, at + 2, at + size - 1), { type = number })
  if not header then return nil, reason end
  if number == M.FRAGMENT and second ~= 0 then header.reserved = second end
  return header, size
end

-- Follow the chain behind the fixed header.
---@param packet string
---@param number integer the fixed header's next header
---@param stop integer position of the packet's last octet
---@return table[]? headers list of { type, options = list of { type, data } } (0 and 60; an option 0 has no data;
---  padding at the end is left out where build pads just so), { type = 43, routing_type, segments_left,
---  type_specific_data }, { type = 44, fragment_offset (units of 8 octets), mf, identification }, { type = 51, spi,
---  sequence_number, icv }
---@return integer|string protocol at the end of the chain, or the reason
---@return integer? at where that begins
function M.parse(packet, number, stop)
  local headers, at = {}, 41
  while kinds[number] do
    local header, size = parse_header(packet, number, at, stop - at + 1)
    if not header then return nil, size end
    headers[#headers + 1] = header
    number, at = byte(packet, at), at + size
    -- Behind the header of a later fragment comes data, whatever its next header says (RFC 8200 section 4.5).
    if (header.fragment_offset or 0) > 0 then break end
  end
  return headers, number, at
end

local function build_header(header, next_header)
  local known = kinds[header.type]
  if not known then
    misuse.raise("bad ipv6 extension header type %s: 0, 43, 44, 51 or 60 is allowed", tostring(header.type))
  end
  local body = "??" .. (header.data and bytes.string("ipv6 extension header data", header.data) or known.build(header))
  -- Eight octets are the least, also where the unit is four.
  body = bytes.pad_to(body .. ("\0"):rep(8 - #body), known.unit)
  local length = header.type == M.FRAGMENT and (header.reserved or 0) or #body / known.unit - known.uncounted
  return put8("ipv6 next_header", header.next_header or next_header)
    .. put8("ipv6 extension header length", header.length or length) .. sub(body, 3)
end

---@param headers table[] as from parse; data, what follows the first two octets, is taken instead of the other fields;
---  next_header and length (as sent) are filled in unless given
---@param protocol integer
---@return string chain
---@return integer next_header of the fixed header
function M.build(headers, protocol)
  local chain, next_header = {}, protocol
  for i = #headers, 1, -1 do
    chain[i] = build_header(headers[i], next_header)
    next_header = headers[i].type
  end
  return table.concat(chain), next_header
end

return M
