-- proto/ip.lua: an IP packet of the version that its destination has, for those who speak both. What both headers have
-- is given once, under the name of either: ttl or hop_limit, tos or traffic_class. What only the other version has is
-- left out. It is no protocol of its own.

local ipv4 = require "etherlua.proto.ipv4"
local ipv6 = require "etherlua.proto.ipv6"
local schema = require "etherlua.proto.schema"

local M = {}

-- All fields that either version has.
M.fields = schema.new("ip", schema.union(ipv4.fields.names, ipv6.fields.names),
  { inside = { options = ipv4.fields.inside.options, extension_headers = ipv6.fields.inside.extension_headers } })

local TWINS = { ttl = "hop_limit", hop_limit = "ttl", tos = "traffic_class", traffic_class = "tos" }

---@param fields table as for ipv4.build and ipv6.build; dst says which version it is
---@return string packet
function M.build(fields)
  M.fields:check(fields)
  local version = tostring(fields.dst):find(":", 1, true) and ipv6 or ipv4
  local own = {}
  for name, value in pairs(fields) do
    if version.fields.known[name] then
      own[name] = value
    elseif TWINS[name] and own[TWINS[name]] == nil then
      own[TWINS[name]] = value
    end
  end
  return version.build(own)
end

return M
