-- ranks/value.lua: what ranks tell each other, as text and back: numbers, texts, booleans, tables of these, and
-- histograms, bucket by bucket. Sums are exact: a number is written with all of its digits.

local ffi = require "ffi"
local histogram = require "etherlua.core.histogram"
local misuse = require "etherlua.core.misuse"

local M = {}

local histogram_t = ffi.typeof "struct el_histogram"
local BUCKETS = ffi.sizeof(histogram_t().bucket) / 8
local NUMBER, HISTOGRAM = "number", "histogram" -- the only name in a table that stands for one

local json

-- Loaded when first needed: most processes are by themselves.
local function codec()
  if not json then
    json = require("cjson").new()
    json.encode_sparse_array(true, 1, 1)
  end
  return json
end

-- ---- histograms ---------------------------------------------------------------------------------------------------

-- Of the buckets: place, count, place, count, ... of those that are not empty.
local function pack_histogram(from)
  local buckets = {}
  for i = 0, BUCKETS - 1 do
    local count = tonumber(from.bucket[i])
    if count > 0 then
      buckets[#buckets + 1] = i
      buckets[#buckets + 1] = count
    end
  end
  return { [HISTOGRAM] = { recorded = from.count, refused = from.invalid, lowest = ("%a"):format(from.lowest),
    highest = ("%a"):format(from.highest), sum = ("%a"):format(from.sum), buckets = buckets } }
end

local function unpack_histogram(values)
  local to = histogram.new()
  to.recorded, to.refused = values.recorded, values.refused
  for _, name in ipairs { "lowest", "highest", "sum" } do to[name] = tonumber(values[name]) end
  for i = 1, #values.buckets, 2 do to.bucket[values.buckets[i]] = values.buckets[i + 1] end
  return to
end

-- ---- values -------------------------------------------------------------------------------------------------------

local function pack_number(value)
  if value % 1 == 0 and math.abs(value) < 1e14 then return value end -- as many digits as cjson writes
  return { [NUMBER] = ("%a"):format(value) }
end

local function pack(value)
  if ffi.istype(histogram_t, value) then return pack_histogram(value) end
  if type(value) == "number" then return pack_number(value) end
  if type(value) == "string" or type(value) == "boolean" then return value end
  if type(value) ~= "table" then
    misuse.raise("bad value %s: numbers, texts, booleans, histograms and tables of these are allowed",
      tostring(value))
  end
  local copy = {}
  for name, item in pairs(value) do copy[name] = pack(item) end
  return copy
end

local function unpack_value(value)
  if type(value) ~= "table" then return value end
  if value[NUMBER] then return tonumber(value[NUMBER]) end
  if value[HISTOGRAM] then return unpack_histogram(value[HISTOGRAM]) end
  local copy = {}
  for name, item in pairs(value) do copy[name] = unpack_value(item) end
  return copy
end

---@param value any
---@return string text on one line
function M.encode(value)
  return codec().encode(pack(value))
end

---@param text string from encode
---@return any value nil: it is not from there
function M.decode(text)
  local ok, value = pcall(codec().decode, text)
  if ok then return unpack_value(value) end
end

---@param value any
---@return any copy that shares nothing with it
function M.copy(value)
  return M.decode(M.encode(value))
end

-- ---- sums ---------------------------------------------------------------------------------------------------------

local function refuse(a, b, name)
  misuse.raise("no sum of %s and %s in %s: numbers, histograms and tables of these are needed", tostring(a),
    tostring(b), name)
end

local add_table

local function add(a, b, name, greatest)
  if a == nil then return b end
  if type(a) == "number" and type(b) == "number" then return greatest[name] and math.max(a, b) or a + b end
  if ffi.istype(histogram_t, a) and ffi.istype(histogram_t, b) then
    a:add(b)
    return a
  end
  if type(a) ~= "table" or type(b) ~= "table" then refuse(a, b, name) end
  return add_table(a, b, greatest)
end

function add_table(a, b, greatest)
  for name, item in pairs(b) do a[name] = add(a[name], item, name, greatest) end
  return a
end

-- What the tables have, added up name by name: numbers, histograms, and tables of these.
---@param list table<integer, table> some may be missing
---@param size integer of the list
---@param greatest? string[] names of numbers of which the greatest counts
---@return table sum that shares nothing with them
function M.sum(list, size, greatest)
  local sum, names = {}, {}
  for _, name in ipairs(greatest or {}) do names[name] = true end
  for i = 1, size do
    if list[i] then add_table(sum, M.copy(list[i]), names) end
  end
  return sum
end

return M
