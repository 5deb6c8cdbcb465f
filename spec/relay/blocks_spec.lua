-- An afpacket relay whose frames come fast: the kernel hands them over in blocks, by a second socket, until they are
-- slower again. Another process sends, since a process that sends itself is never made to wait for a block.
-- Runs alone: frames are fast from 20,000 a second on, which a machine has to be able to send meanwhile.

local ether = require "etherlua"
local ffi = require "ffi"
local files = require "support.files"
local frames = require "support.frames"
local program = require "support.program"
local shell = require "support.shell"
local xdp = require "support.xdp"
local wait = require "support.wait"

local eventually = wait.eventually
local FAST, SLOW = 100000, 200 -- frames/s
local ROUNDS = 3
local LOOK_AFTER = 1000 -- frames: where they come faster than they are read, there are always more
local LEFT = "eth0:" .. ("%s*%d+"):rep(9) .. "%s+(%d+)" -- frames sent, of /proc/net/dev

-- Sends numbered frames, at one of two rates: each frame that comes has it take the other. Prints how many the kernel
-- took, after so many changes.
local SENDER = [[
local ether, frames = require "etherlua", require "support.frames"
local relay = ether.open "afpacket:eth0"
local conn = relay:conn { mac = frames.MAC_A }
local rates, changes, count = { [0] = %d, [1] = %d }, %d, 0
local pace = ether.pacer { rate = rates[0] }
local function send()
  while true do
    pace:wait()
    count = count + 1
    conn:send(frames.udp { payload = ("%%06d"):format(count), dst_port = 1000 + count %% 2 }, frames.MAC_B)
  end
end
local task = ether.spawn(send)
for i = 1, changes do
  conn:recv()
  pace:set_rate(rates[i %% 2])
end
task:cancel()
pcall(task.join, task)
relay:flush()
print(tonumber(relay:stats().tx_sent))]]

local RECEIVER = [[
local ether = require "etherlua"
local conn = ether.open "afpacket:eth0":conn { mac = "02:00:00:00:00:0b" }
print "ready"
io.stdout:flush()
for _ = 1, 20000 do assert(conn:recv(30)) end
local _, maps = io.popen("ls -l /proc/$PPID/fd"):read("*a"):gsub("bpf%-map", "")
print(maps .. " maps")]]

ffi.cdef "int bpf_map_lookup_elem(int fd, const void *key, void *value);"
local bpf = ffi.load "libbpf.so.1"

-- The file descriptor of the one map that this process has, if any.
local function only_map()
  local list = shell.run(("ls -l /proc/%d/fd"):format(xdp.own_pid()))
  return tonumber(list:match "(%d+) %-> anon_inode:bpf%-map")
end

-- The number of the socket that the kernel gives frames to, as the map says: 1 is that of the blocks.
local function chosen(map)
  local key, value = ffi.new "uint32_t[1]", ffi.new "uint32_t[1]"
  assert(bpf.bpf_map_lookup_elem(map, key, value) == 0, "no map")
  return value[0]
end

describe("frames that come fast", function()
  local log

  before_each(function() log = os.tmpname() end)
  after_each(function() os.remove(log) end)

  -- The sender, for so many changes of its rate. A task that goes to another processor may overtake its own frames.
  local function start_sender(ns, changes)
    local path = files.temporary(SENDER:format(FAST, SLOW, changes))
    ether.defer(function() os.remove(path) end)
    return ns:start({ "taskset", "-c", "0", "env", ("LUA_PATH=%s"):format(package.path), program.PATH, "run", path },
      { log = log })
  end

  -- A relay at the near end, an endpoint that the sender's frames are for, and how it is read: until the kernel has
  -- given frames to a socket for a while. seen is called with each number.
  local function open(l, opts, seen)
    opts.frames, opts.recv_depth = 65536, 65536
    local relay = l.near:enter(ether.open, "afpacket:eth0", opts)
    local conn, map = relay:conn { mac = frames.MAC_B }, only_map()
    return relay, conn, function(socket)
      local looks = 0
      assert.is_true(eventually(function()
        for _ = 1, LOOK_AFTER do
          local packet = conn:recv(0)
          if not packet then break end
          seen(xdp.number_in(packet))
        end
        looks = chosen(map) == socket and looks + 1 or 0
        return looks == 5
      end))
    end
  end

  local function change_rate(conn) conn:send(frames.udp {}, frames.MAC_A) end

  xdp.lab_it("are handed over in blocks until they are slower, in the order in which they came, and none is lost", nil,
    function(l)
      local last, count = 0, 0
      local function seen(number)
        assert.is_true(number > last, ("%d behind %d"):format(number, last))
        last, count = number, count + 1
      end
      local relay, conn, read_until = open(l, {}, seen)
      local sender = start_sender(l.far, 2 * ROUNDS)
      for _ = 1, ROUNDS do
        read_until(1)
        change_rate(conn)
        read_until(0)
        change_rate(conn)
      end
      assert.equal(0, eventually(function() return sender:status() end), sender:log())
      for packet in function() return (conn:recv(0.2)) end do seen(xdp.number_in(packet)) end
      local stats = frames.assert_balanced(relay)
      assert.equal(tonumber(sender:log()), count + stats.rx_missed + stats.rx_overflow)
    end)

  xdp.lab_it("are filtered all the same", nil, function(l)
    local odd, even = 0, 0
    local relay, _, read_until = open(l, { filter = "udp dst port 1000" }, function(number)
      if number % 2 == 0 then even = even + 1 else odd = odd + 1 end
    end)
    local sender = start_sender(l.far, 1)
    read_until(1)
    relay:filter "udp dst port 1001"
    even, odd = 0, 0
    ether.sleep(0.1) -- what came before
    read_until(1)
    even, odd = 0, 0
    read_until(1)
    sender:stop()
    assert.is_true(odd > 0 and even == 0, ("%d of the one kind, %d of the other"):format(odd, even))
  end)

  xdp.lab_it("come again after the link was down, fast and slow", nil, function(l)
    local count = 0
    local _, conn, read_until = open(l, {}, function() count = count + 1 end)
    local sender = start_sender(l.far, 2)
    for socket = 1, 0, -1 do
      read_until(socket)
      l.near:run "ip link set eth0 down && sleep 0.1 && ip link set eth0 up"
      read_until(socket)
      count = 0
      assert.is_true(eventually(function()
        read_until(socket)
        return count > 10
      end))
      change_rate(conn)
    end
    sender:stop()
  end)

  xdp.lab_it("from this end are none that it receives", nil, function(l)
    local relay = open(l, {}, error)
    local sender = start_sender(l.near, 1)
    local function left() return tonumber(l.near:run("cat /proc/net/dev"):match(LEFT)) end
    assert.is_true(eventually(function() return left() > 5000 end))
    assert.equal(0, relay:stats().rx_frames)
    sender:stop()
  end)

  xdp.lab_it("leave nothing in the kernel", nil, function(l)
    local relay, _, read_until = open(l, {}, function() end)
    local found = xdp.bpf_objects(xdp.own_pid())
    assert.same({ 1, "number" }, { #found.maps, type(found.maps[1]) })
    local sender = start_sender(l.far, 1)
    read_until(1)
    relay:close()
    assert.is_true(xdp.all_gone(found))
    sender:stop()
  end)

  xdp.lab_it("come one by one without the right to load programs", nil, function(l)
    local path = files.temporary(RECEIVER)
    local receiver = l.near:start({ "setpriv", "--bounding-set", "-bpf,-sys_admin,-perfmon", program.PATH, "run",
      path }, { log = log })
    wait.for_log(receiver, "ready")
    local sender = start_sender(l.far, 1)
    assert.equal(0, eventually(function() return receiver:status() end), receiver:log())
    assert.equal("ready\n0 maps\n", receiver:log())
    sender:stop()
    os.remove(path)
  end)
end)
