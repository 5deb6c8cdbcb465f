-- reassembly.lua: EtherConns that put fragments together, on a wire, and their counters.

local assert = require "luassert"
local ether = require "etherlua"
local fragments = require "support.fragments"
local frames = require "support.frames"
local kinds = require "support.kinds"

local M = {}

-- The test as a task, with the two ends of a wire.
function M.on_wire(opts, fn)
  if not fn then opts, fn = nil, opts end
  return function()
    kinds.run_apart(function() fn(ether.wire(opts)) end)
  end
end

-- Checks that the counters of b add up, and that these are what is given, the rest of their kind 0.
function M.assert_counted(b, expected)
  local stats, got, all = frames.assert_balanced(b), {}, {}
  for _, name in ipairs { "reassembled", "fragments", "merged", "frag_duplicate", "frag_timeout", "frag_overlap",
    "frag_invalid", "frag_limit", "invalid", "closed" } do
    got[name], all[name] = stats["rx_" .. name], expected[name] or 0
  end
  assert.same(all, got)
end

-- `it`, of the spec file that calls, once for each version.
function M.both(name, fn, opts)
  local words = getfenv(2)
  for _, version in ipairs { 4, 6 } do
    words.it(name .. " over IPv" .. version, M.on_wire(opts, function(a, b) fn(a, b, version) end))
  end
end

-- A receiver whose RUDPConn of that IP version is the second result.
function M.receiver(a, b, version, opts)
  local send, four, six, conn = fragments.receiver(a, b, opts)
  return send, version == 4 and four or six, conn
end

function M.picked(list, order)
  local out = {}
  for i, place in ipairs(order) do out[i] = list[place] end
  return unpack(out)
end

return M
