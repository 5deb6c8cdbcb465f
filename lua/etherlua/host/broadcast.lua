-- host/broadcast.lua: one reader of the broadcasts of a relay and VLAN stack, on behalf of all hosts there: so that
-- what is sent to everybody costs the same for one host and for thousands. It is an EtherConn whose own address is the
-- broadcast address.

local group = require "etherlua.net.group"
local sched = require "etherlua.core.sched"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

-- Returns a function from relay and VLAN stack (struct el_vlans) to the reader's object, made when first asked for and
-- again when its relay was closed meanwhile.
---@param ethertype integer
---@param open function called with the EtherConn; returns the object, in which .conn is set then
---@param read function called with the object as a task of its own: reads until .conn is closed
---@param spawn? function as of ether.spawn: begins that task; one that serves others is the default
---@return function
function M.readers(ethertype, open, read, spawn)
  local begin = spawn or sched.spawn_background
  local of_relays = setmetatable({}, { __mode = "k" }) -- relay -> VLAN stack -> object
  return function(relay, vlans)
    local of_relay, key = of_relays[relay] or {}, vlan_stack.key(vlans)
    of_relays[relay] = of_relay
    local one = of_relay[key]
    if one and one.conn:is_open() then return one end
    local conn = relay:conn { mac = group.BROADCAST, vlans = vlans, ethertypes = { ethertype }, reassemble = true }
    one = open(conn)
    one.conn = conn
    of_relay[key] = one
    begin(read, one)
    return one
  end
end

return M
