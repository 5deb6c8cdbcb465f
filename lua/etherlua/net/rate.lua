-- net/rate.lua: how fast traffic goes, as people write it: packets a second ("5000", "100k", "1.5Mpps") or bits a
-- second ("50Mbit", "1Gbps"). For the options of scripts that send at a rate.

local misuse = require "etherlua.core.misuse"

local M = {}

-- See rate.new. One of the two is set.
---@class etherlua.rate
---@field pps? number packets a second
---@field bps? number bits a second
local Rate = {}
Rate.__index = Rate

local SCALE = { [""] = 1, k = 1e3, K = 1e3, M = 1e6, G = 1e9 }
local UNITS = { [""] = "pps", pps = "pps", bit = "bps", ["bit/s"] = "bps", bps = "bps" }
-- What a pacer can do (pacer.lua), and one bit a packet more than there can be.
local LOWEST, HIGHEST = { pps = 1e-6, bps = 1e-3 }, { pps = 1e9, bps = 1e13 }

---@param text string a number, k, M or G, and a unit: nothing or pps for packets a second; bit, bit/s or bps for bits
---@return etherlua.rate raises when it is none. "1G" is none: nobody sends so many packets
function M.new(text)
  local digits, prefix, suffix = tostring(text):match("^([%d.]+)([kKMG]?)(%a*/?s?)$")
  local value, unit = tonumber(digits), UNITS[suffix]
  if prefix == "G" and suffix == "" then unit = nil end
  value = value and unit and value * SCALE[prefix]
  if not value or value < LOWEST[unit] or value > HIGHEST[unit] then
    misuse.raise("bad rate %q: packets a second such as 5000, 100k or 2Mpps, or bits a second such as 50Mbit or "
      .. "1Gbit, are needed", tostring(text))
  end
  return setmetatable({ [unit] = value }, Rate)
end

-- In packets of this size.
---@param bytes number mean size of a frame
---@return number packets a second
function Rate:packets(bytes)
  return self.pps or self.bps / (8 * bytes)
end

return M
