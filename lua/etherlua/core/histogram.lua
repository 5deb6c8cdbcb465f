-- core/histogram.lua: how long things took. An object is the engine's struct el_histogram: 45 KB that Lua owns and its
-- collector frees. Recording is one call of C and allocates nothing; who records chooses what is measured.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local misuse = require "etherlua.core.misuse"

local C = effi.C

local M = {}

local histogram_t = ffi.typeof("struct el_histogram")

-- See ether.histogram. Times in seconds.
---@class etherlua.histogram
---@field count integer
---@field min? number exact; nil while it is empty, as max and mean
---@field max? number exact
---@field mean? number exact
---@field invalid integer values that were no times
local methods = {}

-- A histogram of times from 1 ns to 16,384 s, told apart to 1 %. Shorter times count as 1 ns at the most, longer ones
-- as the longest recorded.
---@return etherlua.histogram
function M.new()
  return histogram_t()
end

-- Adds one time.
---@param seconds number from 0; one that is negative, infinite or not a number is counted as invalid and left out
function methods:record(seconds)
  if type(seconds) ~= "number" then
    misuse.raise("bad time %s: seconds as a number are needed", tostring(seconds))
  end
  C.el_histogram_record(self, seconds)
end

-- The time that this share of the values does not exceed: not below it, and at most 1 % above; never above max.
---@param share number 0 (min) to 1 (max)
---@return number|nil seconds; nil while it is empty
function methods:percentile(share)
  if type(share) ~= "number" or not (share >= 0 and share <= 1) then
    misuse.raise("bad share %s: 0 to 1 is allowed", tostring(share))
  end
  if self.recorded == 0 then return nil end
  return C.el_histogram_percentile(self, share)
end

-- Adds what another one has recorded, which stays as it is.
---@param other etherlua.histogram
function methods:add(other)
  if not ffi.istype(histogram_t, other) then
    misuse.raise("bad histogram %s: an ether.histogram is needed", tostring(other))
  end
  C.el_histogram_add(self, other)
end

-- Forgets everything.
function methods:reset()
  ffi.fill(self, ffi.sizeof(histogram_t))
end

-- Seconds; while it is empty there is only count.
---@class etherlua.summary
---@field count integer
---@field min? number
---@field mean? number
---@field p50? number
---@field p90? number
---@field p99? number
---@field p99_9? number
---@field max? number

-- What people look at.
---@return etherlua.summary
function methods:summary()
  return {
    count = self.count, min = self.min, mean = self.mean, max = self.max,
    p50 = self:percentile(0.5), p90 = self:percentile(0.9), p99 = self:percentile(0.99),
    p99_9 = self:percentile(0.999),
  }
end

local fields = {
  count = function(histogram) return tonumber(histogram.recorded) end,
  invalid = function(histogram) return tonumber(histogram.refused) end,
  min = function(histogram) return histogram.recorded > 0 and histogram.lowest or nil end,
  max = function(histogram) return histogram.recorded > 0 and histogram.highest or nil end,
  mean = function(histogram)
    return histogram.recorded > 0 and histogram.sum / tonumber(histogram.recorded) or nil
  end,
}

effi.metatype("struct el_histogram", {
  __index = function(histogram, key)
    local method = methods[key]
    if method then return method end
    local field = fields[key]
    return field and field(histogram)
  end,
  __tostring = function(histogram)
    return ("histogram of %d times"):format(histogram.count)
  end,
})

return M
