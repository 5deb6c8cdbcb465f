-- init.lua: the public API of etherlua. Everything here is a promise to users; what it does is in the modules named.

local ffi = require "ffi"
local addr = require "etherlua.addr"
local channel = require "etherlua.channel"
local effi = require "etherlua.ffi"
local histogram = require "etherlua.histogram"
local lab = require "etherlua.lab"
local pacer = require "etherlua.pacer"
local relay = require "etherlua.relay"
local sched = require "etherlua.sched"
local select = require "etherlua.select"
local sr = require "etherlua.sr"

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
  -- The relay that the command line names, with -i SPEC or --lab.
  ---@param opts? etherlua.relay_opts as those of open()
  ---@return etherlua.relay
  relay = function(opts) return (require("etherlua.script").relay(nil, opts)) end,
  lab = lab.new,
  sr = sr.sr,
  sr1 = sr.sr1,
  -- addresses
  addr = addr.addr,
  mac = addr.mac,
  mac_add = addr.mac_add,
  vlans = addr.vlans,
}
