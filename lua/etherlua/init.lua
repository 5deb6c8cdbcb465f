-- init.lua: the public API of etherlua. Everything here is a promise to users; what it does is in the modules named.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local channel = require "etherlua.core.channel"
local chosen = require "etherlua.relay.chosen"
local effi = require "etherlua.core.ffi"
local histogram = require "etherlua.core.histogram"
local pacer = require "etherlua.core.pacer"
local relay = require "etherlua.relay.relay"
local sched = require "etherlua.core.sched"
local select = require "etherlua.core.select"
local sr = require "etherlua.ask.sr"

return {
  version = ffi.string(effi.C.el_version()),
  -- tasks
  run = sched.run,
  spawn = sched.spawn,
  sleep = sched.sleep,
  now = sched.now,
  select = select.wait,
  defer = sched.defer,
  channel = channel.new,
  histogram = histogram.new,
  pacer = pacer.new,
  -- the wire
  open = relay.open,
  wire = relay.wire,
  relay = chosen.open,
  -- Two new namespaces joined by a veth pair: see lab/lab.lua.
  ---@param opts? etherlua.lab_opts
  ---@return etherlua.lab
  lab = function(opts) return require("etherlua.lab.lab").new(opts) end,
  sr = sr.sr,
  sr1 = sr.sr1,
  -- addresses
  addr = addr.addr,
  mac = addr.mac,
  mac_add = addr.mac_add,
  vlans = addr.vlans,
}
