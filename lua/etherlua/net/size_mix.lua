-- net/size_mix.lua: frame sizes as people write them: one, or several with their shares ("64:7,570:4,1518:1", "imix").
-- For the options of scripts that send traffic. Sizes count the frame check sequence, as RFC 2544 section 9 does, and
-- no VLAN tags.

local misuse = require "etherlua.core.misuse"

local M = {}

-- See size_mix.new.
---@class etherlua.size_mix
---@field pattern integer[] sizes in the order in which they are sent, again and again
---@field mean number bytes
---@field smallest integer bytes
---@field largest integer bytes
local Mix = {}
Mix.__index = Mix

local LEAST, MOST = 64, 65000
local MAX_PATTERN = 1000
local IMIX = "64:7,570:4,1518:1"

local function refuse(text, reason)
  misuse.raise("bad size %q: %s", text, reason)
end

local function parts_of(text)
  local parts, total = {}, 0
  for part in (text .. ","):gmatch("(.-),") do
    local size, share = part:match("^(%d+):(%d+)$")
    size, share = tonumber(size or part:match("^%d+$")), tonumber(share or 1)
    if not size then refuse(text, "such as 64, 64:7,570:4,1518:1 or imix is needed") end
    if size < LEAST or size > MOST then refuse(text, ("%d to %d is allowed"):format(LEAST, MOST)) end
    parts[#parts + 1] = { size = size, share = share, credit = 0 }
    total = total + share
  end
  if total < 1 or total > MAX_PATTERN then
    refuse(text, ("shares of 1 to %d in all are allowed"):format(MAX_PATTERN))
  end
  return parts, total
end

-- The part that is furthest behind its share. So sizes alternate instead of coming in blocks.
local function next_part(parts, total)
  local best
  for _, part in ipairs(parts) do
    part.credit = part.credit + part.share
    if not best or part.credit > best.credit then best = part end
  end
  best.credit = best.credit - total
  return best.size
end

---@param text string "512", "64:7,570:4,1518:1" (7 frames of 64 bytes to 4 of 570 and 1 of 1518), or "imix": just that
---@param least? integer what the frames have room for at the least: imix has no smaller ones, others are refused (64)
---@return etherlua.size_mix raises when it is none
function M.new(text, least)
  least = least or LEAST
  local parts, total = parts_of(text == "imix" and IMIX or tostring(text))
  local mix = setmetatable({ pattern = {}, smallest = math.huge, largest = 0 }, Mix)
  for _, part in ipairs(parts) do
    if text == "imix" then part.size = math.max(part.size, least) end
    if part.size < least then refuse(text, ("these frames need %d bytes or more"):format(least)) end
    mix.smallest, mix.largest = math.min(mix.smallest, part.size), math.max(mix.largest, part.size)
  end
  local bytes = 0
  for i = 1, total do
    mix.pattern[i] = next_part(parts, total)
    bytes = bytes + mix.pattern[i]
  end
  mix.mean = bytes / total
  return mix
end

return M
