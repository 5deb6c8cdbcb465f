-- proto/dhcp4_relay_agent.lua: the type of the DHCP option that relay agents add (RFC 3046 section 2.0), as those in
-- dhcp4_options.lua: sub-options, by name or code, without padding and end. They may come in any order: "order" is a
-- list of their codes where it is not the usual one.

local bytes = require "etherlua.net.bytes"
local literal = require "etherlua.core.literal"
local misuse = require "etherlua.core.misuse"
local schema = require "etherlua.proto.schema"
local suggest = require "etherlua.core.suggest"

local byte, char, concat, sub = string.byte, string.char, table.concat, string.sub

local M = {}

-- Code of a sub-option -> its name, and back (RFC 3046 section 2.0).
M.SUB_NAMES, M.SUB_CODES = { "circuit_id", "remote_id" }, { circuit_id = 1, remote_id = 2 }
local SUB_NAMES, SUB_CODES = M.SUB_NAMES, M.SUB_CODES
local SUB_ALLOWED = { "circuit_id", "remote_id", "order" }

---@param raw string
---@return table|nil values nil where two have one code, or the bytes do not fit: then those of the whole are kept
function M.parse(raw)
  local values, order, at, is_usual = {}, {}, 1, true
  while at <= #raw do
    local code, size = byte(raw, at, at + 1)
    local key = SUB_NAMES[code] or code
    if at == #raw or at + 1 + size > #raw or values[key] then return nil end
    values[key] = sub(raw, at + 2, at + 1 + size)
    is_usual = is_usual and code > (order[#order] or -1)
    order[#order + 1] = code
    at = at + 2 + size
  end
  if not is_usual then values.order = order end
  return raw ~= "" and values or nil
end

local function sub_code(key, label)
  local code = SUB_CODES[key] or key
  if type(code) == "number" and code >= 0 and code <= 255 and code % 1 == 0 then return code end
  local near = suggest.nearest(key, SUB_ALLOWED)
  misuse.raise("bad %s sub-option %q%s: %s or a code, 0 to 255, is allowed", label, tostring(key),
    near and (", did you mean %q?"):format(near) or "", concat(SUB_ALLOWED, ", "))
end

local sub_order_list = schema.list("a list of sub-options is needed, such as { 2, 1 }", { "number", "string" })

local function check_sub_option(key, value, label, is_pattern)
  if key ~= "order" then sub_code(key, label) end
  if is_pattern and (value == false or type(value) == "function") then return end
  if key == "order" then
    sub_order_list:check("order", label, value, is_pattern)
  else
    bytes.string(label .. " sub-option", value, 255)
  end
end

-- Raises unless a value has the shape of the option.
---@param values any
---@param label string that names the option
---@param is_pattern? boolean
---@return table values
function M.shape(values, label, is_pattern)
  local has_one = false
  for key, value in pairs(type(values) == "table" and values or {}) do
    check_sub_option(key, value, label, is_pattern)
    has_one = has_one or key ~= "order" or is_pattern
  end
  if has_one then return values end
  misuse.raise('bad %s %s: a table with at least one value is needed, such as { circuit_id = "port 7" }', label,
    literal.show(values))
end

-- Sub-options by code.
local function sub_values(values, label)
  local by_code = {}
  for key, value in pairs(values) do
    local code = key ~= "order" and sub_code(key, label)
    if by_code[code] then misuse.raise("bad %s: sub-option %d is given twice", label, code) end
    if code then by_code[code] = value end
  end
  return by_code
end

-- Their codes as they are sent: those that are listed first, the others behind them.
local function sub_order(by_code, order, label)
  local codes, rest, listed = {}, {}, {}
  for _, key in ipairs(order or {}) do
    local code = sub_code(key, label)
    if by_code[code] and not listed[code] then codes[#codes + 1] = code end
    listed[code] = true
  end
  for code in pairs(by_code) do
    if not listed[code] then rest[#rest + 1] = code end
  end
  table.sort(rest)
  for _, code in ipairs(rest) do codes[#codes + 1] = code end
  return codes
end

---@param values table as from parse
---@param label string that names the option
---@return string raw; raises for bad values
function M.build(values, label)
  local by_code, parts = sub_values(M.shape(values, label), label), {}
  for i, code in ipairs(sub_order(by_code, values.order, label)) do
    parts[i] = char(code, #by_code[code]) .. by_code[code]
  end
  return concat(parts)
end

return M
