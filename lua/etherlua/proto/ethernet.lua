-- proto/ethernet.lua: Ethernet II frames with any number of VLAN tags (IEEE 802.3, 802.1Q).
-- No padding to 60 octets and no frame check sequence: the interface adds both. An 802.3 length is left in ethertype.

local bit = require "bit"
local bytes = require "etherlua.net.bytes"
local numbers = require "etherlua.net.numbers"
local schema = require "etherlua.proto.schema"

local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local format, sub = string.format, string.sub
local u16 = bytes.u16
local TYPES = numbers.ethertype

local M = {}

local TAG_SIZE = 4

-- EtherType -> the module that reads the payload.
M.next = {
  [TYPES.IPV4] = "ipv4",
  [TYPES.ARP] = "arp",
  [TYPES.IPV6] = "ipv6",
}

M.selectors = { "ethertype" }

M.short = "ether"

-- What a VLAN tag has.
M.tag_fields = schema.new("a VLAN tag", { "tpid", "pcp", "dei", "vid" })

M.fields = schema.new("ethernet", { "dst", "src", "vlans", "ethertype", "payload" },
  { defaults = { src = "00:00:00:00:00:00" }, inside = { vlans = schema.list(
    "a list of VLAN IDs or tags is needed, such as { 100, { vid = 200, pcp = 5 } }", { "number", "table" },
    { fields = M.tag_fields, compared = "cdata" }) } })

-- What marks a VLAN tag.
M.tpids = { [TYPES.DOT1Q] = true, [TYPES.DOT1AD] = true, [TYPES.QINQ] = true }

-- Whether an address stands for several hosts.
---@param mac string
---@return boolean
function M.is_group(mac)
  return tonumber(sub(mac, 1, 2), 16) % 2 == 1
end

---@param fields table
---@return string? name of the module for the payload
function M.child(fields)
  return M.next[fields.ethertype]
end

-- Octets that VLAN tags take of an interface's MTU: it lets one 802.1Q tag pass for nothing.
---@param count integer
---@param outer? integer TPID of the outer one (0x8100)
---@return integer
function M.tags_in_mtu(count, outer)
  if count > 0 and (outer or TYPES.DOT1Q) == TYPES.DOT1Q then count = count - 1 end
  return TAG_SIZE * count
end

-- The VLAN tags that follow an EtherType which says so.
---@param protocol string for the reason
---@param frame string
---@param ethertype integer
---@param at integer behind it
---@return table[]? vlans as of parse, or nil
---@return integer|string ethertype behind the last tag, or the reason
---@return integer? at where the payload begins
function M.parse_tags(protocol, frame, ethertype, at)
  local vlans = {}
  while M.tpids[ethertype] do
    if #frame < at + 3 then return bytes.short(protocol, #frame, at + 3) end
    local tci = u16(frame, at)
    local dei = band(tci, 0x1000) ~= 0
    vlans[#vlans + 1] = { tpid = ethertype, vid = band(tci, 0xfff), pcp = rshift(tci, 13), dei = dei }
    ethertype, at = u16(frame, at + 2), at + 4
  end
  return vlans, ethertype, at
end

---@param frame string
---@return table? fields dst, src, vlans = list of { tpid, vid, pcp, dei } outer first, ethertype, payload with padding
---@return string? reason
function M.parse(frame)
  if #frame < 14 then return bytes.short("ethernet", #frame, 14) end
  local vlans, ethertype, at = M.parse_tags("ethernet", frame, u16(frame, 13), 15)
  if not vlans then return nil, ethertype end
  return {
    dst = bytes.mac_at(frame, 1),
    src = bytes.mac_at(frame, 7),
    vlans = vlans,
    ethertype = ethertype,
    payload = sub(frame, at),
  }
end

local function tag_bytes(tag)
  if type(tag) ~= "table" then tag = { vid = tag } end
  local tci = bor(bytes.check("VLAN ID", tag.vid, 0, 4095), lshift(bytes.check("VLAN PCP", tag.pcp or 0, 0, 7), 13),
    bytes.flag("VLAN DEI", tag.dei) and 0x1000 or 0)
  return bytes.put16("VLAN TPID", tag.tpid or TYPES.DOT1Q) .. bytes.put16("VLAN TCI", tci)
end

-- An EtherType with VLAN tags in front of it.
---@param vlans? (table|integer)[] as of build
---@param ethertype integer
---@return string octets
function M.build_tags(vlans, ethertype)
  local tags = {}
  for i, tag in ipairs(vlans or {}) do tags[i] = tag_bytes(tag) end
  return table.concat(tags) .. bytes.put16("ethertype", ethertype)
end

---@param fields table as from parse; vlans may hold plain VIDs, none is untagged
---@return string frame
function M.build(fields)
  M.fields:check(fields)
  return bytes.mac("ethernet dst", fields.dst) .. bytes.mac("ethernet src", fields.src)
    .. M.build_tags(fields.vlans, fields.ethertype) .. bytes.string("ethernet payload", fields.payload)
end

-- Tags of VID 0 carry a priority, and are no VLAN (IEEE 802.1Q 9.6).
local function vlan_at(tags, i)
  while tags[i] and tags[i].vid == 0 do i = i + 1 end
  return tags[i], i + 1
end

local function same_vlans(one, other)
  local i, j = 1, 1
  local tag, its
  repeat
    tag, i = vlan_at(one, i)
    its, j = vlan_at(other, j)
    if not tag or not its then return tag == its end
  until tag.vid ~= its.vid or tag.tpid ~= its.tpid
  return false
end

-- Whether a frame came back to who sent the other one, or to all, in the same VLAN stack; priorities may differ.
---@param reply table from parse
---@param request table from parse
---@return boolean
function M.answers(reply, request)
  return (reply.dst == request.src or M.is_group(reply.dst)) and reply.ethertype == request.ethertype
    and same_vlans(reply.vlans, request.vlans)
end

-- What a reply has where nobody says otherwise: it comes from the address that was asked, or from the host's own.
---@param request table from parse
---@param mac string of the host that answers
---@return table fields
function M.turn(request, mac)
  return { dst = request.src, src = M.is_group(request.dst) and mac or request.dst, vlans = request.vlans }
end

---@param vlans table[]
---@return string such as " vlan 100.200 pcp 5.0", "" without tags
function M.vlan_text(vlans)
  local vids, pcps, marked = {}, {}, false
  for i, tag in ipairs(vlans) do
    vids[i], pcps[i] = tag.vid, tag.pcp
    marked = marked or tag.pcp ~= 0
  end
  if #vids == 0 then return "" end
  return " vlan " .. table.concat(vids, ".") .. (marked and " pcp " .. table.concat(pcps, ".") or "")
end

---@param fields table from parse
---@return string
function M.describe(fields)
  local kind = ""
  if fields.ethertype < 0x600 then
    kind = " 802.3"
  elseif not M.child(fields) then
    kind = format(" ethertype 0x%04x", fields.ethertype)
  end
  return format("%s > %s%s%s", fields.src, fields.dst, M.vlan_text(fields.vlans), kind)
end

return M
