-- victims.lua: what tasks do that share something with others, in which a cancellation may come at any wait: resolving
-- an address, pinging, asking, leasing, keeping a pace. Each is a function of two relays on one wire, which returns
--   victim(): what the task does that is cancelled;
--   beside(): what another one does meanwhile, and has to succeed (true) whatever becomes of the victim;
--   after(): what has to succeed when the victim is gone.

local dhcp4_client = require "etherlua.role.dhcp4_client"
local ether = require "etherlua"
local gateway = require "etherlua.role.gateway"
local p = require "etherlua.proto.packet"
local sched = require "etherlua.core.sched"

local A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"

local M = {}

local function second() ether.sleep(0.001) end -- the victim is the first

local function gateway_on(relay)
  local one = gateway.new(relay, { pool = "10.0.0.10-10.0.0.200" })
  sched.spawn_background(function() one:serve() end)
end

function M.resolving(a, b)
  b:host { mac = B, ip = "10.0.0.2/24" }:udp(7)
  local udp = a:conn({ mac = A }):udp("10.0.0.1:1", { resolve = "arp" })
  local function send() return udp:send("x", "10.0.0.2:7") == true end
  return { victim = send, beside = send, after = send }
end

M["resolving with one resolver for two endpoints"] = function(a, b)
  b:host { mac = B, ip = "10.0.0.2/24" }
  local host = a:host { mac = A, ip = "10.0.0.1/24" }
  local one, other = host:udp(1), host:udp(2)
  return { victim = function() return one:send("x", "10.0.0.2:7") end,
    beside = function() return other:send("x", "10.0.0.2:7") == true end,
    after = function() return one:send("x", "10.0.0.2:7") == true end }
end

function M.pinging(a, b)
  b:host { mac = B, ip = "10.0.0.2/24" }
  local host = a:host { mac = A, ip = "10.0.0.1/24" }
  local function ping() return type(host:ping("10.0.0.2", { timeout = 2 })) == "number" end
  return { victim = ping, beside = ping, after = ping }
end

function M.asking(a, b)
  b:host { mac = B, ip = "10.0.0.2/24" }
  local conn = a:conn { mac = A }
  local function ask()
    return ether.sr1(conn, p.ether { dst = B } / p.arp { spa = "10.0.0.1", tpa = "10.0.0.2" }, { timeout = 2 }) ~= nil
  end
  return { victim = ask, after = ask }
end

function M.leasing(a, b)
  gateway_on(b)
  local conn, other = a:conn { mac = A }, a:conn { mac = C }
  local function lease(on)
    local got = dhcp4_client.lease(on)
    if got then got:close() end
    return got ~= nil
  end
  return { victim = function() return lease(conn) end, beside = function() return lease(other) end,
    after = function() return lease(conn) end }
end

M["keeping a pace"] = function()
  local pacer = ether.pacer { rate = 2000 }
  local function wait()
    for _ = 1, 5 do pacer:wait() end
    return true
  end
  return { victim = wait, beside = wait, after = wait }
end

M["reading one endpoint after the other"] = function(a, b)
  local near, far = a:conn({ mac = A }):udp "10.0.0.1:1", b:conn({ mac = B }):udp "10.0.0.2:2"
  local function read() return far:recv(2) == "x" end
  return { victim = read, beside = function()
    second()
    return near:send("x", "10.0.0.2:2", { mac = B }) == true and near:send("x", "10.0.0.2:2", { mac = B }) == true
  end, after = read }
end

M["handing values on"] = function()
  local channel = ether.channel(1)
  return { victim = function()
    channel:send(1)
    channel:send(2)
    return channel:recv()
  end, beside = function()
    second()
    for i = 1, 3 do
      ether.spawn(function() channel:send(i) end)
      if not channel:recv(2) then return false end
    end
    return true
  end, after = function()
    while channel:recv(0) do second() end
    return channel:send(9, 2) and channel:recv(2) == 9
  end }
end

return M
