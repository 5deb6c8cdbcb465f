-- program/repl/show.lua: values as the prompt prints them: tables with sorted keys, endpoints with their counters,
-- frames layer by layer. A value that fits is one line. Nothing here prints.

local effi = require "etherlua.core.ffi"
local frames = require "etherlua.relay.frame"
local outside = require "etherlua.core.outside"
local failures = require "etherlua.core.failure"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local view = require "etherlua.proto.view"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

local WIDTH = 100  -- columns of a table on one line
local DEPTH = 3    -- tables inside of tables
local ENTRIES = 50 -- of one table
local TEXT = 200   -- characters of a string

-- ---- colours ------------------------------------------------------------------------------------------------------

M.colours = false -- whether they are wanted

local CODES = { error = "31", string = "32", number = "36", name = "1", faint = "2" }

---@param kind string "error", "string", "number", "name", "faint"
---@param text string
---@return string
function M.paint(kind, text)
  return M.colours and CODES[kind] and ("\27[%sm%s\27[0m"):format(CODES[kind], text) or text
end

-- Length as it is seen.
local function visible(text)
  return #text:gsub("\27%[%d*m", "")
end

-- ---- strings ------------------------------------------------------------------------------------------------------

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

local function escape(text)
  return (text:gsub('[%c\\"\127-\255]', function(c)
    return ESCAPES[c] or ("\\x%02x"):format(c:byte())
  end))
end

-- UTF-8 is left as it is, when all of it is.
local function is_utf8(text)
  return text:find "[\128-\255]" and outside.shown(text) == text
end

local function text_of(text)
  local rest = #text > TEXT and M.paint("faint", ("... (%d bytes: hex() shows all)"):format(#text)) or ""
  local quoted = is_utf8(text) and #text <= TEXT and text or escape(text:sub(1, TEXT))
  return M.paint("string", '"' .. quoted .. '"') .. rest
end

-- ---- tables -------------------------------------------------------------------------------------------------------

local function by_type_and_value(a, b)
  local kind, other = type(a), type(b)
  if kind ~= other then return kind < other end
  if kind == "number" or kind == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do
    if not (type(key) == "number" and key >= 1 and key <= #t and key % 1 == 0) then keys[#keys + 1] = key end
  end
  table.sort(keys, by_type_and_value)
  return keys
end

local function key_text(key)
  if type(key) == "string" and key:match "^[%a_][%w_]*$" then return key end
  return "[" .. M.value(key, DEPTH) .. "]"
end

local function entries(t, depth, seen)
  local parts, keys = {}, sorted_keys(t)
  for i = 1, math.min(#t, ENTRIES) do parts[i] = M.value(t[i], depth + 1, seen) end
  for i = 1, math.min(#keys, ENTRIES - #parts) do
    parts[#parts + 1] = key_text(keys[i]) .. " = " .. M.value(rawget(t, keys[i]), depth + 1, seen)
  end
  local rest = #t + #keys - #parts
  if rest > 0 then parts[#parts + 1] = M.paint("faint", ("... (%d more)"):format(rest)) end
  return parts
end

-- Objects inside of tables are not looked into: they know all the others.
local function table_text(t, depth, seen)
  if next(t) == nil then return "{}" end
  if seen[t] or depth >= DEPTH or depth > 0 and getmetatable(t) then return "{...}" end
  seen[t] = true
  local parts = entries(t, depth, seen)
  seen[t] = nil
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if visible(line) <= WIDTH - 2 * depth and not line:find "\n" then return line end
  local indent = ("  "):rep(depth + 1)
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

-- ---- objects ------------------------------------------------------------------------------------------------------

-- Counters that have counted, the others tell nothing.
local function counters(value)
  local ok, stats = pcall(function() return value:stats() end)
  if not ok then return "closed" end
  local parts = {}
  for _, name in ipairs(sorted_keys(stats)) do
    if stats[name] ~= 0 then parts[#parts + 1] = ("%s %s"):format(name, tostring(stats[name])) end
  end
  return #parts > 0 and table.concat(parts, ", ") or "nothing received"
end

-- An endpoint or relay on one line.
---@param value any
---@return string
function M.endpoint(value)
  local name = tostring(value)
  if type(value) == "table" and value.mac then name = ("%s (%s, MTU %d)"):format(name, value.mac, value.mtu) end
  if type(value) == "cdata" and not value:is_open() then return M.paint("name", name) .. "  closed" end
  return M.paint("name", name) .. "  " .. counters(value)
end

local function cut(text)
  return #text > TEXT and text:sub(1, TEXT) .. "..." or text
end

-- The fields of a layer: those of one line, and the lines of the others, such as DHCP options.
local function fields_text(layer)
  local parts, lines = {}, {}
  for _, row in ipairs(view.rows(layer)) do
    if row.text then parts[#parts + 1] = row.name .. " " .. cut(row.text) end
    for _, inner in ipairs(row.rows or {}) do
      local name = inner.name == "" and row.name or row.name .. " " .. inner.name
      lines[#lines + 1] = ("\n%18s%s %s"):format("", name, cut(inner.text))
    end
  end
  if #parts + #lines == 0 then parts[1] = #(layer.fields.payload or "") .. " bytes" end
  return table.concat(parts, ", ") .. table.concat(lines)
end

-- What a packet says: a line for all of it, and one for each layer with the offset at which it begins.
---@param whole string
---@param first? string name of the first layer ("ethernet")
---@return string
function M.layers(whole, first)
  local lines = { proto.describe(whole, first) }
  for _, layer in ipairs(view.layers(whole, first)) do
    if layer.name ~= "padding" then
      lines[#lines + 1] = ("%5d  %s  %s"):format(layer.from, M.paint("name", ("%-9s"):format(layer.name)),
        fields_text(layer))
    end
  end
  return table.concat(lines, "\n")
end

-- The bytes of what has them: a text, a frame or a packet.
---@param x any
---@return string|nil bytes nil: it has none; raises for a packet that cannot be built
---@return string|nil first name of the layer that they begin with
function M.bytes(x)
  if type(x) == "string" or effi.struct_of(x) == "struct el_lent" then return tostring(x), "ethernet" end
  if packet.is_packet(x) then return x:build(), proto.ends[x[1].name] and "ethernet" or x[1].name end
end

-- A text for print(): frames and packets as they are shown, anything else as tostring() has it.
---@param x any
---@return string
function M.printed(x)
  if packet.is_packet(x) or effi.struct_of(x) == "struct el_lent" then return M.value(x) end
  return tostring(x)
end

-- A composed packet: its layers when it is looked at by itself.
local function packet_text(one, depth)
  local ok, whole = pcall(one.build, one)
  if depth == 0 and ok and not proto.ends[one[1].name] then return M.layers(whole, one[1].name) end
  return one:summary()
end

local STRUCTS = {
  ["struct el_conn"] = M.endpoint,
  ["struct el_udp"] = M.endpoint,
  ["struct el_lent"] = function(frame)
    if frames.is_gone(frame) then return "frame (released)" end
    return M.layers(tostring(frame))
  end,
  ["struct el_vlans"] = function(vlans) return #vlans == 0 and "untagged" or "vlan " .. vlan_stack.key(vlans) end,
}

-- ---- all of it ----------------------------------------------------------------------------------------------------

local function object_text(value)
  local describe = STRUCTS[effi.struct_of(value) or ""]
  return describe and describe(value) or tostring(value)
end

local TYPES = {
  string = text_of,
  number = function(number) return M.paint("number", ("%.14g"):format(number)) end,
  cdata = object_text,
  ["function"] = function(fn)
    local info = debug.getinfo(fn, "S")
    if info.what == "C" then return "function" end
    return ("function %s:%d"):format(info.short_src:match "[^/]*$", info.linedefined)
  end,
  table = function(t, depth, seen)
    if packet.is_packet(t) then return packet_text(t, depth) end
    local metatable = getmetatable(t)
    if type(metatable) == "table" and metatable.__tostring then
      return depth == 0 and type(t.stats) == "function" and M.endpoint(t) or tostring(t)
    end
    return table_text(t, depth, seen)
  end,
}

---@param value any
---@param depth? integer tables that it is inside of
---@param seen? table those tables
---@return string without a newline at the end
function M.value(value, depth, seen)
  local describe = TYPES[type(value)]
  return describe and describe(value, depth or 0, seen or {}) or tostring(value)
end

---@param failure any what error() was given
---@return string
function M.message(failure)
  if type(failure) == "string" then return outside.lines(failure) end
  local ok, text = pcall(M.value, failure)
  return ok and text or failures.text(failure)
end

---@param count integer
---@param values table
---@return string|nil all values; nil when there is none
function M.values(count, values)
  local texts, lines = {}, false
  for i = 1, count do
    texts[i] = M.value(values[i])
    lines = lines or texts[i]:find "\n" ~= nil
  end
  return count > 0 and table.concat(texts, lines and "\n" or "  ") or nil
end

return M
