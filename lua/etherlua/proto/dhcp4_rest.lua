-- proto/dhcp4_rest.lua: what stands in a DHCP message behind values that do not fill their places. Mostly these are
-- zeros, and nothing is kept; some boot loaders leave there what was in their memory. And how options were laid out
-- that are in the place of others. What was received is built again, so that relays echo what they must echo.

local literal = require "etherlua.core.literal"
local misuse = require "etherlua.core.misuse"

local byte, concat, find, sub = string.byte, table.concat, string.find, string.sub

local M = {}

local NAMES = { chaddr = true, sname = true, file = true, options = true, areas = true }
local CHADDR, SNAME, FILE, COOKIE, OPTIONS = 29, 45, 109, 237, 241 -- where they begin
local PAD, OVERLOAD, END = 0, 52, 255

-- Zeros by their number, of those that every message has.
local ZEROS = {}
for size = 0, 512 do ZEROS[size] = ("\0"):rep(size) end

local function keep(rest, name, message, from, to)
  local octets = sub(message, from, to)
  if octets == ZEROS[#octets] or not find(octets, "[^%z]") then return rest end
  rest = rest or {}
  rest[name] = octets
  return rest
end

-- All that may hold options, where these are not laid out as build() does: with padding in between, or some of them in
-- the place of sname and file.
local function keep_areas(rest, message, fields, build)
  fields.rest = rest
  local ok, built = pcall(build, fields)
  if ok and built == message then return rest end
  rest = rest or {}
  rest.areas = sub(message, SNAME, COOKIE - 1) .. sub(message, OPTIONS)
  return rest
end

-- What build() would make zeros of, or lay out in another way.
---@param message string
---@param fields table from dhcp4.parse: hlen, sname, file, overload
---@param end_at integer where the options end
---@param build? fun(fields: table): string of dhcp4, where options are not simply one behind the other
---@return table<string, string>|nil rest by the name of what it stands behind: chaddr, sname, file, options; or areas
function M.of(message, fields, end_at, build)
  local rest = keep(nil, "chaddr", message, CHADDR + fields.hlen, SNAME - 1)
  if build then return keep_areas(rest, message, fields, build) end
  rest = keep(rest, "sname", message, SNAME + #fields.sname, FILE - 1)
  rest = keep(rest, "file", message, FILE + #fields.file, COOKIE - 1)
  return keep(rest, "options", message, end_at + 1, #message)
end

-- ---- options that are not one behind the other --------------------------------------------------------------------

-- The options of one area as they came, without what is none.
local function add_options(parts, area, overload)
  local at = 1
  while at <= #area and byte(area, at) ~= END do
    local code, size = byte(area, at, at + 1)
    local stop = code == PAD and at or at + 1 + (size or 0)
    if code ~= PAD and not (overload and code == OVERLOAD) then parts[#parts + 1] = sub(area, at, stop) end
    at = stop + 1
  end
end

-- A text of an area, or the options that are in its place, which go to the parts.
local function text_of(parts, area, name, overload)
  if overload ~= name and overload ~= "both" then return area:match "^%Z*" end
  add_options(parts, area, overload)
  return ""
end

-- The areas as they came, where they still say the same.
---@param fields table as for dhcp4.build
---@param options string the bytes of its options, but for which is overloaded
---@return string|nil sname nil: they say something else, or there are none
---@return string? file
---@return string? options
function M.areas(fields, options)
  local areas, overload, parts = fields.rest and fields.rest.areas, fields.overload, {}
  if not areas then return nil end
  local sname, file, main = sub(areas, 1, FILE - SNAME), sub(areas, FILE - SNAME + 1, COOKIE - SNAME),
    sub(areas, COOKIE - SNAME + 1)
  add_options(parts, main, overload)
  local file_text, sname_text = text_of(parts, file, "file", overload), text_of(parts, sname, "sname", overload)
  local same = concat(parts) == options and file_text == (fields.file or "") and sname_text == (fields.sname or "")
  if same then return sname, file, main end
end

-- ---- building -----------------------------------------------------------------------------------------------------

---@param text string
---@param size integer octets
---@return string text with zeros behind it
function M.filled_up(text, size)
  return text .. (ZEROS[size - #text] or ("\0"):rep(size - #text))
end

-- A value with what came behind it; with zeros where it leaves another room than it did.
---@param fields table as for dhcp4.build
---@param name string
---@param text string
---@param size integer octets
---@return string
function M.completed(fields, name, text, size)
  local rest = fields.rest and fields.rest[name]
  return rest and #text + #rest == size and text .. rest or M.filled_up(text, size)
end

-- Raises an error unless a value of the field is what it has to be.
---@param value any
---@param is_pattern? boolean
function M.check(value, is_pattern)
  local ok = type(value) == "table"
  for name, octets in pairs(ok and value or {}) do
    ok = ok and NAMES[name] and (type(octets) == "string" or is_pattern and type(octets) ~= "table")
  end
  if not ok then
    misuse.raise("bad rest %s of dhcp4: octets of chaddr, sname, file, options or areas are needed",
      literal.show(value))
  end
end

return M
