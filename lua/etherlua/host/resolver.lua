-- host/resolver.lua: how a RUDPConn finds the MAC address of a destination, for those that do not broadcast: what
-- conn:udp takes as `resolve`.

local misuse = require "etherlua.core.misuse"
local neighbour = require "etherlua.host.neighbour"

local M = {}

-- Finds MAC addresses. find(to) may block; release() ends what was begun for the own address; moved(own) is told of
-- another own address.
---@class etherlua.resolver
---@field find fun(to: etherlua.addr): etherlua.mac|string|nil, string|nil
---@field release? function
---@field moved? function

-- By ARP or neighbour discovery, answering for the own address meanwhile.
local function by_asking(conn, own)
  local neighbours, self = neighbour.of(conn), {}
  function self.moved(address)
    if self.release then self.release() end
    self.find, self.release = neighbours:resolver(address)
  end
  self.moved(own)
  return self
end

---@param conn etherlua.conn
---@param own etherlua.addr the RUDPConn's
---@param resolve "arp"|function|etherlua.host
---@return etherlua.resolver raises for anything else
function M.new(conn, own, resolve)
  if resolve == "arp" then return by_asking(conn, own) end
  if type(resolve) == "function" then
    return { find = function(to) return resolve(to.ip_text) end }
  end
  if type(resolve) == "table" and resolve.next_hop then -- a host
    return { find = function(to) return resolve:next_hop(to) end }
  end
  misuse.raise('bad resolve %s: "broadcast", "arp", a function or a host is allowed', tostring(resolve))
end

return M
