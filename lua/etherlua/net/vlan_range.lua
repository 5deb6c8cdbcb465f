-- net/vlan_range.lua: many VLAN stacks in a few words: "100-199", "100.1-4094". For the options of scripts that spread
-- hosts over VLANs or ask on each of them.

local misuse = require "etherlua.core.misuse"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

-- See vlan_range.new.
---@class etherlua.vlan_range
---@field count integer stacks
local Range = {}
Range.__index = Range

local function tag_range(text, whole)
  local first, last = text:match("^(%d+)%-(%d+)$")
  first, last = tonumber(first or text:match("^%d+$")), tonumber(last or text:match("^%d+$"))
  if not first then
    misuse.raise("bad VLAN range %q: such as 100-199 or 100.1-4094 is needed", whole)
  end
  vlan_stack.new { first, last }
  if first > last then misuse.raise("bad VLAN range %q: the first VLAN ID is behind the last", whole) end
  return { first = first, count = last - first + 1 }
end

---@param text? string "100.1-4094", outer tag first, a range or a single VLAN ID each; nil: untagged alone
---@return etherlua.vlan_range raises when it is none
function M.new(text)
  local self, lowest = { tags = {}, stacks = {}, count = 1 }, {}
  for part in text and (text .. "."):gmatch("(.-)%.") or function() end do
    local range = tag_range(part, text)
    self.tags[#self.tags + 1], lowest[#lowest + 1] = range, range.first
    self.count = self.count * range.count
  end
  vlan_stack.new(lowest)
  return setmetatable(self, Range)
end

-- The stack of a number: counted up from the last tag, and after the last stack the first again.
---@param i integer from 0
---@return etherlua.vlans made once
function Range:at(i)
  local n = i % self.count
  local stack = self.stacks[n]
  if stack then return stack end
  local ids, rest = {}, n
  for tag = #self.tags, 1, -1 do
    ids[tag] = self.tags[tag].first + rest % self.tags[tag].count
    rest = math.floor(rest / self.tags[tag].count)
  end
  self.stacks[n] = vlan_stack.new(ids)
  return self.stacks[n]
end

return M
