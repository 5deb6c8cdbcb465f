-- net/vlan_stack.lua: VLAN stacks as people write them and as the engine wants them: TPID, VLAN ID, PCP and DEI of each
-- tag, the outer one first. TPIDs and VLAN IDs are identity, priorities are not.

local ffi = require "ffi"
local bit = require "bit"
local effi = require "etherlua.core.ffi"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local shape = require "etherlua.core.shape"

local C = effi.C
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift

local M = {}

-- One VLAN tag.
---@class etherlua.tag
---@field vid integer
---@field pcp integer
---@field dei boolean
---@field tpid integer

-- A VLAN stack, outer tag first: vlans[1] is the outer tag, an etherlua.tag, and #vlans how many there are. tostring()
-- is such as "100.200"; == compares TPIDs and VLAN IDs, also with anything that ether.vlans takes.
---@class etherlua.vlans
---@field count integer tags

local vlans_t = ffi.typeof("struct el_vlans")

local TAG = options.new("a VLAN tag", { vid = options.any(), pcp = options.any(), dei = options.any(),
  tpid = options.any() })

local function check_range(name, value, low, high)
  if type(value) ~= "number" or value ~= math.floor(value) or value < low or value > high then
    misuse.raise("bad %s %s: %d to %d is allowed", name, value == "" and '""' or tostring(value), low, high)
  end
  return value
end

local function set_tag(tag, x)
  if type(x) ~= "table" then x = { vid = x } end
  TAG:check(x)
  tag.tpid = check_range("VLAN TPID", x.tpid or numbers.ethertype.DOT1Q, 0x0600, 0xffff)
  tag.tci = bor(check_range("VLAN ID", tonumber(x.vid) or x.vid, 0, 4094),
    lshift(check_range("VLAN PCP", x.pcp or 0, 0, 7), 13), (x.dei == true or x.dei == 1) and 0x1000 or 0)
end

local ALLOWED = "a list of VLAN IDs or tags is needed, such as { 100, { vid = 200, pcp = 5 } }"

local function list_of(x)
  if x == nil or x == "" then return {} end
  if type(x) == "number" then return { x } end
  if type(x) == "table" then return x.vid and { x } or shape.check_list("VLAN stack", x, ALLOWED) end
  local list = {}
  for part in (tostring(x) .. "."):gmatch("(.-)%.") do list[#list + 1] = part end
  return list
end

---@param x nil|integer|string|table|etherlua.vlans 100, "100.200", {100, 200}, {{vid=100, tpid=0x88a8, pcp=5}, 200}
---@return etherlua.vlans outer tag first
function M.new(x)
  if ffi.istype(vlans_t, x) then return x end
  local list, vlans = list_of(x), vlans_t()
  if #list > C.EL_TAGS_MAX then
    misuse.raise("bad VLAN stack: %d tags given, at most %d are allowed", #list, C.EL_TAGS_MAX)
  end
  for i, tag in ipairs(list) do set_tag(vlans.tag[i - 1], tag) end
  vlans.count = #list
  return vlans
end

-- keep_vid0: false leaves tags of VID 0 out.
local function key_of(vlans, keep_vid0)
  local parts = {}
  for i = 0, vlans.count - 1 do
    local vid = band(vlans.tag[i].tci, 0xfff)
    if vid ~= 0 or keep_vid0 then parts[#parts + 1] = ("%04x:%d"):format(vlans.tag[i].tpid, vid) end
  end
  return table.concat(parts, ".")
end

-- Text that tells apart what the demux tells apart: TPID and VID of each tag, not PCP and DEI.
---@param vlans etherlua.vlans
---@return string such as "8100:100.8100:200"
function M.key(vlans)
  return key_of(vlans, true)
end

-- Text that tells VLANs apart: a tag of VID 0 carries a priority, and is no VLAN (IEEE 802.1Q 9.6).
---@param vlans etherlua.vlans
---@return string such as "8100:100", also of the stack 100.0
function M.vlan_key(vlans)
  return key_of(vlans, false)
end

---@param vlans etherlua.vlans
---@param other etherlua.vlans
---@return boolean same whether both are of the same VLAN
function M.same_vlan(vlans, other)
  return M.vlan_key(vlans) == M.vlan_key(other)
end

-- A stack as text beside another one: with TPIDs where the VLAN IDs would not tell the two apart.
---@param vlans etherlua.vlans
---@param other etherlua.vlans
---@return string such as "100.200" or "88a8:100.8100:200"
function M.text(vlans, other)
  local text = tostring(vlans)
  return text == tostring(other) and vlans ~= other and M.key(vlans) or text
end

local function tag_fields(tag)
  return { vid = band(tag.tci, 0xfff), pcp = rshift(tag.tci, 13), dei = band(tag.tci, 0x1000) ~= 0, tpid = tag.tpid }
end

effi.metatype("struct el_vlans", {
  __len = function(vlans) return vlans.count end,
  -- vlans[1] is the outer tag as a table { vid, pcp, dei, tpid }
  __index = function(vlans, i)
    if type(i) == "number" and i >= 1 and i <= vlans.count then return tag_fields(vlans.tag[i - 1]) end
  end,
  __tostring = function(vlans)
    local vids = {}
    for i = 0, vlans.count - 1 do vids[i + 1] = band(vlans.tag[i].tci, 0xfff) end
    return table.concat(vids, ".")
  end,
  -- Equal are stacks that the demux takes for one: priorities do not count. The other side may be anything that
  -- M.new takes.
  __eq = function(a, b)
    if rawequal(a, nil) or rawequal(b, nil) then return false end
    return M.key(M.new(a)) == M.key(M.new(b))
  end,
})

return M
