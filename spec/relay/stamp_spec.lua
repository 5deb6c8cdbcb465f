-- The kernel stamps frames by the clock on the wall. When somebody sets that clock, frame.timestamp stays the time by
-- the engine's clock at which the frame came.

local clock = require "support.clock"
local root_it = require "support.root_it"

-- Prints for each frame whether its time stamp lies between its sending and its reading, and whether relay:wall() tells
-- the time of the machine's clock. The kernel's clock is not touched: the process is told another time, so that stamps
-- are of before the change, or its first look was, so that they are of after it.
local CHILD = [[
  local kind, at_first, later = arg[1], tonumber(arg[2]), tonumber(arg[3])
  local ffi = require "ffi"
  ffi.cdef "extern double spec_wall_ahead;"
  ffi.C.spec_wall_ahead = at_first
  local ether, lab = require "etherlua", require "etherlua.lab.lab"
  local MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
  ether.run(function()
    local one = lab.new {}
    local function open(end_of) return one[end_of]:enter(ether.open, kind .. ":eth0", { filter = "" }) end
    local a, b = open "near", open "far"
    local from, to = a:conn { mac = MAC_A }:udp "10.0.0.1:9", b:conn { mac = MAC_B }:udp "10.0.0.2:9"
    local function frame_is_in_time()
      local sent, wall = ether.now(), os.time() + ffi.C.spec_wall_ahead
      from:send("x", "10.0.0.2:9", { mac = MAC_B })
      local frame = assert(to:recv_frame(5))
      print(frame.timestamp >= sent - 1e-3 and frame.timestamp <= ether.now() + 1e-3,
        math.abs(tonumber(b:wall(frame.timestamp)) / 1e9 - wall) < 5)
      frame:release()
    end
    frame_is_in_time()
    ffi.C.spec_wall_ahead = later
    ether.sleep(0.01)
    for _ = 1, 3 do frame_is_in_time() end
  end)
]]

describe("the time stamp of a frame", function()
  for _, kind in ipairs { "afpacket", "pcap" } do
    for _, seconds in ipairs { 10, -10, 1e9 } do
      root_it(("over %s is right when the clock was set by %d s on its way"):format(kind, seconds), function()
        assert.equal(("true\ttrue\n"):rep(4), clock.run(CHILD, kind, 0, seconds))
      end)
      root_it(("over %s is right after the clock was set by %d s"):format(kind, -seconds), function()
        assert.equal(("true\ttrue\n"):rep(4), clock.run(CHILD, kind, seconds, 0))
      end)
    end
  end
end)
