-- leaks.lua: that a spec leaves nothing behind: after_each(require("support.leaks").check)

local assert = require "luassert"
local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local sched = require "etherlua.core.sched"

local M = {}

-- Asserts that no task and no object of the engine is left. Closed objects are freed by the collector; the machine code
-- of hot functions holds those that were their upvalues, so that goes first.
function M.check()
  jit.flush()
  collectgarbage()
  collectgarbage()
  local live = ffi.new("struct el_live")
  effi.C.el_live(live)
  assert.equal(0, tonumber(live.relays), "relays left open")
  assert.equal(0, tonumber(live.conns), "EtherConns left")
  assert.equal(0, tonumber(live.udps), "RUDPConns left")
  assert.equal(0, tonumber(live.taps), "taps left")
  assert.equal(0, sched.live_tasks(), "tasks left")
end

return M
