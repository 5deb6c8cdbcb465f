-- role/dhcp4/load_release.lua: how the clients of a load give their addresses back (RFC 2131 4.4.6): evenly spread.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local dhcp4_fast = require "etherlua.proto.dhcp4_fast"
local memory = require "etherlua.net.memory"
local pacer = require "etherlua.core.pacer"

local store_native32 = memory.store_native32

local M = {}

local addr_t = ffi.typeof "struct el_addr"

-- server, from: addresses that are set for each one.
local function send(farewell, client, udp, server, opts)
  farewell:address(client.xid, client.mac, 0)
  farewell:release(client.ip, client.server_id)
  store_native32(opts.from.ip, 0, client.ip)
  store_native32(server.ip, 0, client.server_id)
  opts.mac = client.server_mac
  return udp:send(farewell.data, farewell.size, server, opts)
end

-- Blocks until all that are bound have sent theirs; counts them in load.released.
---@param load etherlua.dhcp4_load
---@param rate number a second
function M.run(load, rate)
  local farewell = dhcp4_fast.template { options = { message_type = "RELEASE", server_id = "0.0.0.0" } }
  local pace = pacer.new { rate = rate }
  local server, opts = addr_t(addr.addr "0.0.0.0:67"), { from = addr_t(addr.addr "0.0.0.0:68") }
  for i = 0, load.started - 1 do
    local client = load.states[i]
    if client.bound == 1 then
      pace:wait()
      client.bound = 0
      if send(farewell, client, load.udps[i], server, opts) then load.released = load.released + 1 end
    end
  end
end

return M
