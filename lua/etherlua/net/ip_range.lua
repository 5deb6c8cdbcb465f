-- net/ip_range.lua: many IPv4 addresses in a few words: "10.0.0.0/24", "10.0.0.1-10.0.0.99", "10.0.0.7". For the
-- options of scripts that ask many addresses. Addresses are numbers here: scans count through millions of them.

local addr = require "etherlua.net.addr"
local prefix = require "etherlua.net.prefix"
local misuse = require "etherlua.core.misuse"

local floor = math.floor

local M = {}

-- See ip_range.new.
---@class etherlua.ip_range
---@field count integer addresses
local Range = {}
Range.__index = Range

-- Network and broadcast address of a prefix are no host's (RFC 1122 3.2.1.3), but where it has no room for them
-- (RFC 3021).
local function of_prefix(text, all)
  local one = prefix.new(text)
  if one.version ~= 4 then misuse.raise("bad addresses %q: IPv4 alone is possible", text) end
  local first = addr.ip4_number(one:network())
  local last = first + one:size() - 1
  if all or one.length > 30 then return first, last end
  return first + 1, last - 1
end

local function bounds(text, all)
  local first, last = tostring(text):match("^([^/-]+)%-([^/-]+)$")
  if not first then return of_prefix(text, all) end
  first, last = addr.ip4_number(first), addr.ip4_number(last)
  if first > last then misuse.raise("bad addresses %q: the first is behind the last", text) end
  return first, last
end

-- Sorted parts in one another or side by side become one.
local function merged(parts)
  table.sort(parts, function(a, b) return a.first < b.first end)
  local list = { parts[1] }
  for i = 2, #parts do
    local one = list[#list]
    if parts[i].first > one.last + 1 then
      list[#list + 1] = parts[i]
    else
      one.last = math.max(one.last, parts[i].last)
    end
  end
  return list
end

-- The addresses of all texts together, each once, in ascending order.
---@param texts string|string[] "10.0.0.0/24" (its hosts), "10.0.0.1-10.0.0.99", "10.0.0.7"
---@param all? boolean also the network and broadcast addresses of prefixes
---@return etherlua.ip_range raises when one is none
function M.new(texts, all)
  local parts = {}
  for i, text in ipairs(type(texts) == "table" and texts or { texts }) do
    local first, last = bounds(text, all)
    parts[i] = { first = first, last = last }
  end
  if #parts == 0 then misuse.raise("no addresses: such as 10.0.0.0/24 are needed") end
  local self = setmetatable({ parts = merged(parts), count = 0 }, Range)
  for _, part in ipairs(self.parts) do
    part.base = self.count
    self.count = self.count + part.last - part.first + 1
  end
  return self
end

-- So many of the addresses, from a number on.
---@param first integer from 0
---@param count integer from 1
---@return etherlua.ip_range
function Range:slice(first, count)
  local slice, last = setmetatable({ parts = {}, count = count }, Range), first + count - 1
  for _, part in ipairs(self.parts) do
    local from, to = math.max(first, part.base), math.min(last, part.base + part.last - part.first)
    if from <= to then
      table.insert(slice.parts, { first = part.first + from - part.base, last = part.first + to - part.base,
        base = from - first })
    end
  end
  return slice
end

local function search(parts, field, value)
  local low, high = 0, #parts
  while low < high do
    local middle = floor((low + high + 1) / 2)
    if parts[middle][field] <= value then low = middle else high = middle - 1 end
  end
  return parts[low]
end

-- The last part whose field is not above the value; nil when all are. It often is the one of the call before: then
-- there is no loop (JIT 1).
local function part_of(range, field, value)
  local part = range.recent
  local beyond = part and value - part[field]
  if not beyond or beyond < 0 or beyond > part.last - part.first then
    part = search(range.parts, field, value)
    range.recent = part
  end
  return part
end

-- The address of a number.
---@param i integer from 0 to count - 1
---@return integer as of addr.ip4_number
function Range:at(i)
  local part = part_of(self, "base", i)
  return part.first + i - part.base
end

-- The number of an address.
---@param ip integer as of addr.ip4_number
---@return integer|nil i from 0; nil for an address that is none of them
function Range:index(ip)
  local part = part_of(self, "first", ip)
  return part and ip <= part.last and part.base + ip - part.first or nil
end

return M
