-- test.lua: what spec files use: require "etherlua.test". With it each test is a task, under `etherlua test` and under
-- plain `busted --lua=luajit`. Labs, wires and relays from here are closed at the end of the test that took them (in
-- setup: of the block). They capture to a pcap file in TMPDIR that is kept when a test fails and named in its message.
--
--   local test = require "etherlua.test"
--   it("leases an address", function()
--     local lab = test.lab {}
--     lab:serve "far"
--     local conn = lab:relay("near"):conn { mac = "02:00:00:00:00:01" }
--     assert(dhcp4_client.lease(conn))
--   end)

require "etherlua"
local chosen = require "etherlua.relay.chosen"
local expect = require "etherlua.test.expect"
local lab = require "etherlua.test.lab"
local match = require "etherlua.proto.match"
local misuse = require "etherlua.core.misuse"
local relay = require "etherlua.relay.relay"
local runner = require "etherlua.test.runner"
local servers = require "etherlua.test.servers"

local core = runner.running_core()
if core then runner.install(core) end

local M = {}

-- expect(endpoint):to_receive(pattern, within), :to_receive_nothing(within, pattern)
M.expect = expect.expect

-- Bytes of a frame -> its fields by layer: .ethernet, .ip, .udp, .line and so on.
M.decode = match.decode

-- Why these programs cannot be run here, or nil: for pending().
M.missing = servers.missing

-- Relay options with a capture file, unless they name one.
local function with_capture(scope, of, given)
  local opts = {}
  for name, value in pairs(given or {}) do opts[name] = value end
  opts.capture = opts.capture or scope:capture(of)
  return opts
end

-- A network of the test's own.
---@param opts? etherlua.test.lab_opts
---@return etherlua.test.lab
function M.lab(opts)
  local scope = runner.scope()
  return scope:own(lab.new(opts, function(of) return scope:capture(of) end))
end

-- Two relays joined in memory; no privileges. Frames of the first are captured, which are those of both.
---@param opts? table as of ether.wire
---@return table a
---@return table b
function M.wire(opts)
  local scope = runner.scope()
  return scope:owning(relay.wire, with_capture(scope, "the wire", opts))
end

-- A relay as of ether.open.
---@param spec string such as "afpacket:eth1"
---@param opts? table
---@return table relay
function M.open(spec, opts)
  local scope = runner.scope()
  return scope:owning(relay.open, spec, with_capture(scope, spec, opts))
end

-- The relay that the command line names: etherlua test -i SPEC or --lab.
---@param opts? table as of ether.open
---@return table relay
function M.relay(opts)
  local scope = runner.scope()
  return (scope:owning(chosen.open, with_capture(scope, "the relay", opts)))
end

-- How long a body of this file, describe block or test may take from here on; default 30 s or what --timeout says.
-- Said in a body, it has that long from now.
---@param seconds number
function M.timeout(seconds)
  if type(seconds) ~= "number" or not (seconds > 0 and seconds < math.huge) then
    misuse.raise("bad timeout %s: seconds above 0 are needed", tostring(seconds))
  end
  runner.set_limit(seconds)
end

return M
