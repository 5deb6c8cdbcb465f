-- init.lua: the public API of etherlua. Everything here is a promise to users; what it does is in the modules named.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local channel = require "etherlua.core.channel"
local chosen = require "etherlua.relay.chosen"
local effi = require "etherlua.core.ffi"
local histogram = require "etherlua.core.histogram"
local loop = require "etherlua.core.loop"
local pacer = require "etherlua.core.pacer"
local ranks = require "etherlua.ranks"
local relay = require "etherlua.relay.relay"
local run = require "etherlua.core.run"
local select = require "etherlua.core.select"
local sr = require "etherlua.ask.sr"
local task = require "etherlua.core.task"
local vlan_stack = require "etherlua.net.vlan_stack"

return {
  version = ffi.string(effi.C.el_version()),
  -- tasks
  run = run.run,
  spawn = task.spawn,
  sleep = loop.sleep,
  now = loop.now,
  select = select.wait,
  defer = task.defer,
  channel = channel.new,
  histogram = histogram.new,
  pacer = pacer.new,
  -- several processes that run one script
  ranks = ranks,
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
  vlans = vlan_stack.new,
}
