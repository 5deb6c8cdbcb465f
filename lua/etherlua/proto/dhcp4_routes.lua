-- proto/dhcp4_routes.lua: the types of the DHCP options with routes, as those in dhcp4_options.lua: classless ones,
-- lists of { prefix, router } (RFC 3442), and ones without a mask, lists of { destination, router } (RFC 2132 section
-- 5.8).

local bytes = require "etherlua.net.bytes"
local misuse = require "etherlua.core.misuse"
local schema = require "etherlua.proto.schema"

local byte, char, sub, ceil = string.byte, string.char, string.sub, math.ceil
local ip4_at = bytes.ip4_at

local M = {}

-- The shape of a list of tables with these fields; raises for any other value.
local function shape_of(example, owner, names)
  local list = schema.list(("a table with at least one value is needed, a list such as { %s }"):format(example),
    { "table" }, { filled = true, fields = schema.new(owner, names) })
  return function(routes, label, is_pattern)
    list:check(label, nil, routes, is_pattern)
    return routes
  end
end

local function build_prefix(prefix, label)
  local net, width = tostring(prefix):match("^(.+)/(%d+)$")
  if not net then misuse.raise("bad %s %q: a prefix such as 10.0.0.0/8 is needed", label, tostring(prefix)) end
  width = bytes.check(label .. " prefix length", tonumber(width), 0, 32)
  return char(width) .. sub(bytes.ip(label, net, 4), 1, ceil(width / 8))
end

local classless_shape = shape_of('{ prefix = "10.0.0.0/8", router = "10.0.0.1" }', "a route", { "prefix", "router" })

-- As many octets of a destination as its prefix length needs.
M.classless = {
  shape = classless_shape,
  parse = function(raw)
    local routes, at = {}, 1
    while at <= #raw do
      local width = byte(raw, at)
      local router_at = at + 1 + ceil(width / 8)
      if width > 32 or router_at + 3 > #raw then return nil end
      local net = ip4_at(sub(raw, at + 1, router_at - 1) .. "\0\0\0\0", 1)
      routes[#routes + 1] = { prefix = net .. "/" .. width, router = ip4_at(raw, router_at) }
      at = router_at + 4
    end
    return raw ~= "" and routes or nil
  end,
  build = function(routes, label)
    local parts = {}
    for i, route in ipairs(classless_shape(routes, label)) do
      parts[i] = build_prefix(route.prefix, label) .. bytes.ip(label .. " router", route.router, 4)
    end
    return table.concat(parts)
  end,
}

local static_shape = shape_of('{ destination = "10.0.0.5", router = "10.0.0.1" }', "a static route",
  { "destination", "router" })

-- Pairs of a destination and its router.
M.static = {
  shape = static_shape,
  parse = function(raw)
    if raw == "" or #raw % 8 ~= 0 then return nil end
    local routes = {}
    for at = 1, #raw, 8 do
      routes[#routes + 1] = { destination = ip4_at(raw, at), router = ip4_at(raw, at + 4) }
    end
    return routes
  end,
  build = function(routes, label)
    local parts = {}
    for i, route in ipairs(static_shape(routes, label)) do
      parts[i] = bytes.ip(label .. " destination", route.destination, 4)
        .. bytes.ip(label .. " router", route.router, 4)
    end
    return table.concat(parts)
  end,
}

return M
