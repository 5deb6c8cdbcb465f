-- lab/access.lua: the access network that labs have at their far end: role/gateway.lua with addresses where nobody is
-- misled by a router that leads nowhere, and serving already. Whoever needs none of it does not load it.

local gateway = require "etherlua.role.gateway"
local sched = require "etherlua.core.sched"

local M = {}

-- Its options where the caller says nothing else.
M.DEFAULTS = { pool = "10.0.0.10-10.0.255.254", ip6 = "2001:db8::/64" }

-- A gateway of that kind; it does not serve yet.
---@param relay etherlua.relay
---@param opts? etherlua.gateway_opts instead of those in access.DEFAULTS
---@return etherlua.gateway
function M.new(relay, opts)
  local all = {}
  for _, given in ipairs { M.DEFAULTS, opts or {} } do
    for name, value in pairs(given) do all[name] = value end
  end
  return gateway.new(relay, all)
end

-- The same, serving in a task that ends with it, its relay or the run.
---@param relay etherlua.relay
---@param opts? etherlua.gateway_opts
---@return etherlua.gateway
function M.serve(relay, opts)
  local one = M.new(relay, opts)
  sched.spawn_background(function() one:serve() end)
  return one
end

return M
