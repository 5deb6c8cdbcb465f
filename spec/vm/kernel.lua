-- kernel.lua: what the machine's own kernel does with the NICs, as a judge of what is the card's and what is ours.

local M = {}

-- Whether the kernel at `to` answers pings of a size.
---@param ns etherlua.namespace they are sent there
---@param to string IP address
---@param size integer bytes of an ICMP message's data
---@return boolean
function M.pings(ns, to, size)
  local process = ns:start({ "ping", "-q", "-c", "3", "-i", "0.2", "-W", "5", "-s", tostring(size), to },
    { log = "/dev/null" })
  return process:wait(30) == 0
end

return M
