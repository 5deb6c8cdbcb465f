-- relay/filter.lua: pcap-filter text as people mean it. `arp` by itself matches untagged frames alone; here it is made
-- to match behind VLAN tags as well. It compiles nothing but for a check: relays do.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local misuse = require "etherlua.core.misuse"

local C = effi.C

local M = {}

local err = ffi.new("char[?]", C.EL_ERR_MAX)

-- A filter for each depth of the VLAN stack, from `tags` on. `vlan` moves all that follows it behind one more tag.
---@param at fun(tags: integer): string the filter for frames with so many tags, or more
---@param tags? integer (0)
---@return string
function M.nest(at, tags)
  tags = tags or 0
  if tags == C.EL_TAGS_MAX then return at(tags) end
  return ("%s or (vlan and (%s))"):format(at(tags), M.nest(at, tags + 1))
end

local UNTAGGED = "(not (ether[%d:2] = 0x8100 or ether[%d:2] = 0x88a8 or ether[%d:2] = 0x9100))"
-- From there on they move what follows, so that it cannot be said twice in one filter.
local MOVES = { vlan = true, mpls = true, pppoes = true, geneve = true, vxlan = true }

-- Raises a one-line error for what is no filter.
---@param text string pcap-filter text
function M.check(text)
  local filter = C.el_filter_open(text, err)
  if filter == nil then misuse.raise("%s", ffi.string(err)) end
  C.el_filter_close(filter)
end

-- Makes a filter see through VLAN tags: what it says of an untagged frame it says of the frame behind any stack of
-- tags. One that speaks of vlan, mpls, pppoes, geneve or vxlan by itself is left as it is.
---@param text string pcap-filter text; "" is every frame
---@return string text raises for what is no filter
function M.any_vlans(text)
  if not text:find("%S") then return "" end
  M.check(text)
  for word in text:gmatch("%w+") do
    if MOVES[word] then return text end
  end
  return M.nest(function(tags)
    if tags == C.EL_TAGS_MAX then return "(" .. text .. ")" end
    local place = 12 + 4 * tags
    return ("(%s and (%s))"):format(UNTAGGED:format(place, place, place), text)
  end)
end

return M
