-- relay/link.lua: waiting for the link of an interface, which many cards lose for seconds when an xdp relay is opened
-- or closed on it. os/carrier.h says when it is waited for.

local effi = require "etherlua.core.ffi"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

local LOOK = 0.01 -- seconds
local PATIENCE = C.EL_LINK_PATIENCE

-- Blocks the task, where there is none the thread. Whether the link is there.
local function wait(handle, deadline)
  while sched.now() < deadline do
    if sched.may_wait() then sched.sleep(LOOK) end
    if C.el_relay_settle(handle, sched.may_wait() and 0 or PATIENCE) ~= 0 then return true end
  end
  return false
end

local function add_to_detail(relay, words)
  relay.detail = relay.detail == "" and words or relay.detail .. ", " .. words
end

-- Waits until the link is as it was before the relay was opened, for 10 s at the most, and says so in its detail. When
-- the task is cancelled meanwhile the relay is closed.
---@param relay etherlua.relay
function M.settle(relay)
  if C.el_relay_settle(relay.handle, 0) ~= 0 then return end
  local began = sched.now()
  local ok, there = pcall(wait, relay.handle, began + PATIENCE)
  if not ok then
    relay:close()
    error(there, 0)
  end
  add_to_detail(relay, (there and "waited %.1f s for its link" or "no link after %.1f s"):format(sched.now() - began))
end

return M
