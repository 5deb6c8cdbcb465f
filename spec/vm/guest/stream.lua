-- A stream of the kernel's TCP, which the offloads of both ends (TSO, GRO, LRO) make the most of: a mirror beside it is
-- shown packets that are larger than the MTU.

local kinds = require "support.kinds"

local BYTES = 300000
local FRAME_MAX = 1518

local function add_up(mirror)
  local seen, cut, large = 0, 0, 0
  for frame in function() return (mirror:recv_frame(5)) end do
    assert.equal(frame.cut > 0, frame.invalid)
    seen, cut = seen + frame.len, cut + frame.cut
    if frame.len + frame.cut > FRAME_MAX then large = large + 1 end
  end
  return seen, cut, large
end

kinds.each_with_interface("a mirror beside a stream, with GRO and LRO on,", function(it)
  it("is shown all of it, or how much of each packet was cut", function(l, open)
    l.near:run "ethtool -K eth0 gro on; ethtool -K eth0 lro on || true; ip addr add 10.0.0.1/24 dev eth0"
    l.far:run "ip addr add 10.0.0.2/24 dev eth0"
    local relay, log = open(l.near), os.tmpname()
    local mirror = relay:default_conn { mirror = true, invalid = true, recv_depth = 10000 }
    local server = l.near:start({ "sh", "-c", "busybox nc -l -p 99 | wc -c" }, { log = log })
    l.far:start { "bash", "-c", ("until head -c %d /dev/zero >/dev/tcp/10.0.0.1/99; do sleep 0.1; done"):format(BYTES) }
    local seen, cut, large = add_up(mirror)
    assert.equal(0, server:wait(20))
    os.remove(log)
    local words = ("seen %d, cut %d, %d large, missed %d"):format(seen, cut, large, relay:stats().rx_missed)
    assert.is_true(seen + cut + relay:stats().rx_missed > BYTES, words)
  end)
end)
