-- What only xdp relays do: several queues, an interface shared with the kernel, steering, and leaving no program. What
-- they have in common with the other kinds is in the other relay_*_spec files. Every spec has a lab of its own.

local access = require "support.access"
local ether = require "etherlua"
local ffi = require "ffi"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B
local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL = 9

-- Asks the kernel whether a program or map still exists: libbpf's own calls.
ffi.cdef "int bpf_prog_get_fd_by_id(uint32_t id); int bpf_map_get_fd_by_id(uint32_t id); int close(int fd);"
local bpf = ffi.load "libbpf.so.1"

local function exists(id, get)
  local fd = get(id)
  if fd >= 0 then ffi.C.close(fd) end
  return fd >= 0
end

-- ---- helpers --------------------------------------------------------------------------------------------------------

local function open(ns, opts)
  return ns:enter(ether.open, "xdp:eth0", opts)
end

-- Waits for a program without keeping the tasks from running; returns its exit status.
local function outcome(process)
  eventually(function() return process:status() end)
  return process:status()
end

local function numbered(i) return frames.udp { payload = ("%06d"):format(i) } end
local function number_in(packet) return tonumber(packet:sub(29)) end

-- All numbers that wait or are still under way, in the order in which they came.
local function numbers(conn)
  local list = {}
  for packet in function() return (conn:recv(0.2)) end do list[#list + 1] = number_in(packet) end
  return list
end

-- `count` pings from the near kernel to the far one, which is at 10.0.0.2.
local function ping(l, count)
  local command = ("exec busybox ping -q -c %d -i 0.1 -W 1 10.0.0.2 >/dev/null"):format(count)
  return l.near:start { "sh", "-c", command }
end

local function one_to(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local function mac(i)
  return ("02:10:%02x:%02x:%02x:01"):format(math.floor(i / 65536) % 256, math.floor(i / 256) % 256, i % 256)
end

local function give_addresses(l)
  l.near:run("ip addr add 10.0.0.1/24 dev eth0")
  l.far:run("ip addr add 10.0.0.2/24 dev eth0")
end

-- Datagrams that the near kernel sends to 10.0.0.9, which is at MAC address B; each is a flow of its own, and so they
-- are spread over the queues.
local function send_flows(ns, count)
  ns:run("ip addr add 10.0.0.1/24 dev eth0; ip neigh replace 10.0.0.9 lladdr " .. B .. " dev eth0")
  local loop = "for i in {1..%d}; do echo $i >/dev/udp/10.0.0.9/$((1000 + i)); done"
  return ns:start { "bash", "-c", loop:format(count) }
end

-- Frames that the program was shown and redirected on each queue.
local function queue_counters(ns)
  local shown, redirected = {}, {}
  for name, value in ns:run("ethtool -S eth0"):gmatch("rx_queue_(%d_xdp_%a+): (%d+)") do
    local queue, what = name:match("(%d)_xdp_(%a+)")
    local list = what == "packets" and shown or what == "redirect" and redirected
    if list then list[queue + 1] = tonumber(value) end
  end
  return shown, redirected
end

local function xdp_words(ns) return ns:run("ip -d link show eth0"):match("xdp[^\n]*") end
local function promiscuity(ns) return ns:run("ip -d link show eth0"):match("promiscuity (%d)") end

local function rxvlan(ns) return ns:run("ethtool -k eth0"):match("rx%-vlan%-offload: (%a+)") end

-- What the process has of BPF: how many file descriptors of each kind, and the numbers of programs and maps.
local function bpf_objects(pid)
  local pipe = assert(io.popen(("ls -l /proc/%d/fd; cat /proc/%d/fdinfo/* 2>/dev/null"):format(pid, pid)))
  local text = pipe:read("*a")
  pipe:close()
  local found = { kinds = {}, programs = {}, maps = {} }
  for name in text:gmatch("anon_inode:%[?(bpf[%w_-]+)") do found.kinds[name] = (found.kinds[name] or 0) + 1 end
  for id in text:gmatch("prog_id:%s*(%d+)") do found.programs[#found.programs + 1] = tonumber(id) end
  for id in text:gmatch("map_id:%s*(%d+)") do found.maps[#found.maps + 1] = tonumber(id) end
  return found
end

local function own_pid()
  local file = assert(io.open("/proc/self/stat"))
  local pid = file:read("*n")
  file:close()
  return pid
end

-- The kernel frees programs and maps a moment after their last user has gone.
local function all_gone(found)
  return eventually(function()
    for _, id in ipairs(found.programs) do
      if exists(id, bpf.bpf_prog_get_fd_by_id) then return false end
    end
    for _, id in ipairs(found.maps) do
      if exists(id, bpf.bpf_map_get_fd_by_id) then return false end
    end
    return true
  end)
end

-- fn(lab) as a task, with a lab of its own.
local function lab_it(name, opts, fn)
  it(name, function()
    local possible, reason = lab.root()
    if not possible then return pending(reason) end
    local l = lab.new(opts)
    finally(function() l:close() end)
    kinds.run(fn, l)
  end)
end

describe("an xdp relay", function()
  after_each(leaks.check)

  -- ---- queues -------------------------------------------------------------------------------------------------------

  for _, mode in ipairs { "native", "generic" } do
    lab_it("receives whichever queue its frames arrive on, in " .. mode .. " mode", { queues = 4 }, function(l)
      local b = open(l.far, { mode = mode })
      assert.equal(mode .. " mode, 4 queues", b.detail)
      local conn = b:conn { mac = B, ethertypes = { frames.IP4 } }
      send_flows(l.near, 200)
      for i = 1, 200 do assert.is_truthy(conn:recv(2), "datagram " .. i) end
      if mode == "generic" then return end -- which counts nothing
      local shown, redirected = queue_counters(l.far)
      assert.equal(4, #shown)
      for queue = 1, 4 do assert.is_true(shown[queue] > 0 and redirected[queue] == shown[queue], "queue " .. queue) end
    end)
  end

  lab_it("has rings for the first queues alone when it is told how many, and gets the others' frames all the same",
    { queues = 4 }, function(l)
      local b = open(l.far, { queues = 2 })
      assert.equal("native mode, 2 queues", b.detail)
      local conn = b:conn { mac = B, ethertypes = { frames.IP4 } }
      local sender = send_flows(l.near, 200)
      assert.equal(0, outcome(sender))
      local received = 0
      while conn:recv(0.2) do received = received + 1 end
      local shown = queue_counters(l.far)
      assert.equal(200, shown[1] + shown[2] + shown[3] + shown[4])
      assert.equal(200, received)
      assert.is_true(shown[3] > 0 and shown[4] > 0)
    end)

  -- ---- options ------------------------------------------------------------------------------------------------------

  lab_it("says in one line what is wrong with its options", { queues = 4 }, function(l)
    for _, case in ipairs {
      { "bad number of queues 5: eth0 has 4, up to 64 are possible", { queues = 5 } },
      { "bad queues -1: a whole number from 1", { queues = -1 } },
      { "bad queues 1.5: a whole number from 1", { queues = 1.5 } },
      { "bad queues many: a whole number from 1", { queues = "many" } },
      { 'bad mode turbo: "auto", "native" or "generic" is allowed', { mode = "turbo" } },
      { 'bad copy zero: "auto", "copy" or "zerocopy" is allowed', { copy = "zero" } },
      { "frames of 8192 bytes cannot be received by AF_XDP at MTU 1500: frame_size 2048 or", { frame_size = 8192 } },
      { "frames of 3000 bytes cannot be received by AF_XDP at MTU 1500: frame_size 2048 or", { frame_size = 3000 } },
      { "bad frame_size 1024: 2048 to 131072", { frame_size = 1024 } },
      { "bad frame_size big: a whole number from 1", { frame_size = "big" } },
      { 'bad steer none: "endpoints", "all" or a list of 1 to 8 EtherTypes', { steer = "none" } },
      { "a list of 1 to 8 EtherTypes", { steer = {} } },
      { "a list of 1 to 8 EtherTypes", { steer = { 1536, 1537, 1538, 1539, 1540, 1541, 1542, 1543, 1544 } } },
      { "bad EtherType ip in steer: 0x0600 to 0xffff is allowed", { steer = { "ip" } } },
      { "bad EtherType 65536 in steer: 0x0600 to 0xffff is allowed", { steer = { 0x10000 } } },
      { "bad EtherType 0 in steer: 0x0600 to 0xffff is allowed", { steer = { 0x0800, 0 } } },
    } do
      local ok, message = pcall(open, l.far, case[2])
      assert.is_false(ok, case[1])
      assert.is_truthy(message:find(case[1], 1, true), message)
      assert.is_nil(message:find("\n") or message:find("relay.lua", 1, true), message)
      assert.is_nil(xdp_words(l.far))
    end
  end)

  lab_it("refuses zero-copy in one line where the driver has none, and leaves nothing attached", nil, function(l)
    for _, mode in ipairs { "native", "generic" } do
      local ok, message = pcall(open, l.far, { copy = "zerocopy", mode = mode })
      if ok then
        assert.matches("mode", message.detail)
        message:close()
      else
        assert.equal('eth0 has no zero-copy AF_XDP: copy = "auto"', misuse.words(message))
      end
      assert.is_nil(xdp_words(l.far))
    end
    assert.equal("native mode, 1 queue", open(l.far, { copy = "copy", need_wakeup = false }).detail)
  end)

  lab_it("refuses in one line an MTU whose frames are larger than a page", { mtu = 3900 }, function(l)
    for _, opts in ipairs { {}, { mode = "generic" }, { mode = "native" } } do
      local ok, message = pcall(open, l.far, opts)
      assert.is_false(ok)
      assert.matches("^frames of 8192 bytes cannot be received by AF_XDP at MTU 3900: [^\n]+$", misuse.words(message))
    end
    assert.is_nil(xdp_words(l.far))
  end)

  lab_it("falls back to generic mode where native is not possible, and tells both", { mtu = 3700 }, function(l)
    local b = open(l.far)
    assert.matches("^generic mode %(native: ", b.detail)
    assert.matches("^xdpgeneric", xdp_words(l.far))
    b:close()
    assert.error_matches(function() open(l.far, { mode = "native" }) end, "^cannot attach XDP to eth0 in native mode: ")
  end)

  it("refuses an interface that has an XDP program already, names it and leaves it there", function()
    local possible, reason = lab.root()
    reason = not possible and reason or access.missing()
    if reason then return pending(reason) end
    local l, source, object = lab.new(), os.tmpname(), os.tmpname()
    finally(function()
      l:close()
      os.remove(source)
      os.remove(object)
    end)
    local file = assert(io.open(source, "w"))
    file:write('__attribute__((section("xdp"), used)) int bystander(void *ctx) { return 2; }\n')
    file:close()
    l.far:run(("clang -O2 -g -target bpf -x c -c %s -o %s"):format(source, object))
    for _, mode in ipairs { "xdpdrv", "xdpgeneric" } do
      l.far:run(("unshare -m ip link set dev eth0 %s obj %s sec xdp"):format(mode, object))
      kinds.run(function()
        for _, opts in ipairs { {}, { mode = "native" }, { mode = "generic" } } do
          local ok, message = pcall(open, l.far, opts)
          assert.is_false(ok)
          assert.matches("^an XDP program is attached to eth0 already: bystander %(id %d+%)$", misuse.words(message))
        end
      end)
      assert.matches("name bystander", l.far:run("ip -d link show eth0"))
      l.far:run(("ip link set dev eth0 %s off"):format(mode))
    end
    kinds.run(function() assert.equal("native mode, 1 queue", open(l.far).detail) end)
  end)
end)

describe("the kernel beside an xdp relay", function()
  after_each(leaks.check)

  for _, mode in ipairs { "native", "generic" } do
    lab_it("keeps its TCP connections while 1,000 endpoints have traffic, in " .. mode .. " mode", { queues = 2 },
      function(l)
        give_addresses(l)
        local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far, { mode = mode })
        local near, conns, log = a:conn { mac = A }, {}, os.tmpname()
        ether.defer(function() os.remove(log) end)
        for i = 1, 1000 do conns[i] = b:conn { mac = mac(i) } end
        local server = l.far:start { "busybox", "nc", "-l", "-p", "7777", "-e", "sha256sum" } -- its result goes back
        assert.is_truthy(eventually(function() return l.far:run("cat /proc/net/tcp*"):find(":1E61", 1, true) end))
        local bytes = "yes etherlua | head -c 20000000"
        local client = l.near:start({ "sh", "-c", bytes .. " | busybox nc 10.0.0.2 7777" }, { log = log })
        local rounds = 0
        repeat
          rounds = rounds + 1
          for i = 1, 1000 do
            near:send(numbered(rounds), mac(i))
            if i % 50 == 0 then ether.sleep(0) end
          end
          for i = 1, 1000 do assert.equal(rounds, number_in((assert(conns[i]:recv(1))))) end
        until rounds >= 10 and client:status() or rounds == 1000
        assert.same({ 0, 0 }, { client:status(), outcome(server) })
        assert.equal(l.near:run(bytes .. " | sha256sum"), client:log())
        assert.equal(0, frames.assert_balanced(b).rx_missed)
      end)

    lab_it("answers ARP and ping, and receives group frames like the endpoints that asked, in " .. mode .. " mode", nil,
      function(l)
        give_addresses(l)
        local b = open(l.far, { mode = mode })
        local member = b:conn { mac = B, multicast = true }
        local own = b:conn { mac = frames.BROADCAST, ethertypes = { frames.ARP } }
        local other, tagged = b:conn { mac = mac(1) }, b:conn { mac = mac(2), vlans = 7, multicast = true }
        local pings = ping(l, 3)
        local payload, from = member:recv(2)
        assert.same({ 28, frames.ARP }, { #payload, from.ethertype })
        assert.equal(payload, (own:recv(1)))
        assert.equal(0, outcome(pings))
        assert.matches("lladdr " .. b.mac, l.near:run("ip neigh show 10.0.0.2"))
        assert.same({ nil, "timeout" }, { other:recv(0.02) })
        assert.same({ nil, "timeout" }, { tagged:recv(0) })
        assert.equal(0, member:stats().queued) -- the replies and pings were the kernel's alone
      end)
  end

  lab_it("gets no frame of the EtherTypes that are steered, to whomever; all others stay its own", nil, function(l)
    give_addresses(l)
    local b = open(l.far, { steer = { 0x88b5, 0x88b6 }, filter = "" })
    local near = l.near:enter(ether.open, "afpacket:eth0", { filter = "" }):conn { mac = A, ethertypes = { 0x88b5 } }
    local rest, conn = b:default_conn(), b:conn { mac = B, ethertypes = { 0x88b5 }, multicast = true }
    local witness = l.far:enter(ether.open, "afpacket:eth0", { filter = "not ip6" }):default_conn()
    for ethertype = 0x88b5, 0x88b7 do
      near:send("to me", B, { ethertype = ethertype })
      near:send("to nobody", mac(9), { ethertype = ethertype })
      near:send("to all", frames.BROADCAST, { ethertype = ethertype, vlans = "5.6" })
    end
    near:send("to all", frames.BROADCAST, { ethertype = 0x88b5 })
    near:relay():flush()
    assert.equal(0, outcome(ping(l, 1)))
    local seen = { [conn] = "", [rest] = "", [witness] = "" }
    for endpoint in pairs(seen) do
      for payload, from in function() return endpoint:recv(0.1) end do
        seen[endpoint] = ("%s %x %s"):format(seen[endpoint], from.ethertype, payload:match("^to %a+") or "")
      end
    end
    local kernels = " 88b7 to me 88b7 to nobody 88b7 to all 806  800 "
    assert.equal(" 88b5 to me 88b5 to all", seen[conn])
    assert.equal(kernels, seen[witness])
    assert.equal(" 88b5 to nobody 88b5 to all 88b6 to me 88b6 to nobody 88b6 to all" .. kernels, seen[rest])
  end)

  lab_it('gets no IP and ARP with steer = "all"', nil, function(l)
    give_addresses(l)
    local b = open(l.far, { steer = "all" })
    local conn, rest = b:conn { mac = B, multicast = true }, b:default_conn()
    local pings = ping(l, 1)
    local _, from = conn:recv(2)
    assert.equal(frames.ARP, from.ethertype)
    assert.equal(1, outcome(pings))
    assert.not_matches("lladdr", l.near:run("ip neigh show 10.0.0.2"))
    l.near:run("ip neigh replace 10.0.0.2 lladdr " .. b.mac .. " dev eth0")
    pings = ping(l, 1)
    assert.equal(frames.IP4, select(2, assert(rest:recv(2))).ethertype)
    assert.equal(1, outcome(pings))
  end)
end)

describe("an endpoint of an xdp relay", function()
  after_each(leaks.check)

  lab_it("loses nothing while 10,000 others come and go", { queues = 2 }, function(l)
    local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far)
    local near, first, others = a:conn { mac = A }, b:conn { mac = B, recv_depth = 5000 }, {}
    local tagged = b:conn { mac = B, vlans = "7.8", recv_depth = 5000 }
    for i = 1, 10000 do
      others[i] = b:conn { mac = mac(i) }
      if i > 200 then others[i - 200]:close() end
      if i % 5 == 0 then
        near:send(numbered(i / 5), B)
        near:send(numbered(i / 5), B, { vlans = "7.8" })
        near:send(numbered(i), mac(i - 201)) -- for one that has gone
        ether.sleep(0)
      end
    end
    assert.same(one_to(2000), numbers(first))
    assert.same(one_to(2000), numbers(tagged))
    near:send(numbered(1), mac(9801))
    assert.same({ 1 }, numbers(others[9801]))
    assert.equal(0, frames.assert_balanced(b).rx_missed)
  end)

  lab_it("is one of 100,000, which receive at any place among them", nil, function(l)
    local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far)
    local near, conns, before = a:conn { mac = A }, {}, ether.now()
    for i = 1, 100000 do conns[i] = b:conn { mac = mac(i) } end
    assert.is_true(ether.now() - before < 20)
    for i = 1, 100000, 9999 do
      near:send(numbered(i), mac(i))
      assert.equal(i, number_in((assert(conns[i]:recv(1)))))
    end
    near:send(numbered(0), mac(100001))
    before = ether.now()
    b:close()
    assert.is_true(ether.now() - before < 20)
  end)

  for _, which in ipairs { "first", "second" } do
    lab_it("stays when the " .. which .. " of two with its MAC address and VLAN stack is closed", nil, function(l)
      local a, b = l.near:enter(ether.open, "afpacket:eth0", { filter = "" }), open(l.far, { filter = "" })
      local near, types = a:conn { mac = A }, { first = 0x88b5, second = 0x88b6 }
      local conns = {}
      for _, name in ipairs { "first", "second" } do
        conns[name] = b:conn { mac = B, vlans = 9, ethertypes = { types[name] } }
      end
      conns[which]:close()
      local other = which == "first" and "second" or "first"
      near:send(("x"):rep(46), B, { ethertype = types[which], vlans = 9 })
      near:send(("y"):rep(46), B, { ethertype = types[other], vlans = 9 })
      assert.equal(("y"):rep(46), (conns[other]:recv(1)))
      assert.equal(1, b:stats().rx_unclaimed) -- steered, for the other one is still there
      conns[other]:close()
      near:send(("z"):rep(46), B, { ethertype = types[other], vlans = 9 })
      ether.sleep(0.05)
      assert.equal(2, frames.assert_balanced(b).rx_frames) -- now it is the kernel's
    end)
  end

  -- The access node pushes tags by tc, which leaves the outer one beside the frame, and redirects what it pushed them
  -- on; when its txvlan is off the tag comes inside the frame.
  local function from_access_node(vlans, inner, mode, txvlan)
    local possible, reason = lab.root()
    reason = not possible and reason or access.missing()
    if reason then return pending(reason) end
    local l = access.new { vlans = vlans }
    finally(function() l:close() end)
    kinds.run(function()
      local b = open(l.client, { mode = mode })
      local conn = b:conn { mac = B, vlans = vlans, ethertypes = { frames.IP4 } }
      local other = vlans ~= "" and b:conn { mac = B, vlans = inner, ethertypes = { frames.IP4 } }
      l.node:run("ethtool -K cli txvlan " .. txvlan)
      assert.equal(0, outcome(send_flows(l.server, 20)))
      for _ = 1, 20 do
        local _, from = assert(conn:recv(1))
        assert.equal(vlans, tostring(from.vlans))
      end
      assert.is_nil(conn:recv(0.05))
      if other then assert.is_nil(other:recv(0)) end -- whose tags are those in the frame
      if mode == "native" then assert.equal(20, (select(2, queue_counters(l.client)))[1]) end
    end)
  end

  for vlans, inner in pairs { [""] = "", ["100"] = "", ["100.200"] = "200", ["100.200.300"] = "200.300" } do
    for _, mode in ipairs { "native", "generic" } do
      for _, txvlan in ipairs { "on", "off" } do
        local name = "receives frames of VLAN %q in %s mode from an access node whose txvlan is %s"
        it(name:format(vlans, mode, txvlan), function() from_access_node(vlans, inner, mode, txvlan) end)
      end
    end
  end
end)

describe("what an xdp relay sends", function()
  after_each(leaks.check)

  -- Sends 200,000 frames; at those with a number in `events` something happens. Then all is counted, and more sent.
  local function flood(l, mode, events)
    local a, b = open(l.near, { mode = mode }), open(l.far, { mode = mode })
    local near, far, received = a:conn { mac = A }, b:conn { mac = B }, 0
    sched.spawn_background(function()
      while far:recv_frame() do received = received + 1 end
    end)
    local packet, reasons = frames.udp(), {}
    for i = 1, 200000 do
      if events[i] then events[i](a) end
      local ok, reason = near:send(packet, B, { timeout = 2 })
      if not ok then reasons[reason] = true end
      if i % 64 == 0 then ether.sleep(0) end
    end
    assert.is_truthy(eventually(function() return a:stats().tx_pending == 0 end))
    local stats = frames.assert_balanced(a)
    assert.equal(200000, stats.tx_frames)
    local before = received
    assert.is_truthy(eventually(function()
      near:send(packet, B)
      return received > before
    end))
    frames.assert_balanced(b)
    return stats, reasons
  end

  for _, mode in ipairs { "native", "generic" } do
    lab_it("never gets stuck in a flood of 200,000, in " .. mode .. " mode", nil, function(l)
      local stats, reasons = flood(l, mode, {})
      assert.same({}, reasons)
      assert.equal(200000, stats.tx_sent)
    end)

    lab_it("never gets stuck when the other end goes down and up, in " .. mode .. " mode", nil, function(l)
      local stats, reasons = flood(l, mode, {
        [50000] = function() l.far:run("ip link set eth0 down") end,
        [120000] = function() l.far:run("ip link set eth0 up") end,
      })
      assert.same({}, reasons) -- the kernel does not tell AF_XDP
      assert.equal(200000, stats.tx_sent)
    end)

    lab_it("never gets stuck when its own link goes down and up, in " .. mode .. " mode", nil, function(l)
      local stats, reasons = flood(l, mode, {
        [50000] = function() l.near:run("ip link set eth0 down") end,
        [120000] = function(a)
          frames.assert_balanced(a)
          l.near:run("ip link set eth0 up")
        end,
      })
      assert.same({ ["link down"] = true }, reasons)
      assert.is_true(stats.tx_link_down > 60000 and stats.tx_sent > 100000)
      assert.equal(0, stats.tx_error + stats.tx_refused)
    end)
  end
end)

describe("what an xdp relay leaves behind", function()
  after_each(leaks.check)

  lab_it("is nothing after it was opened and closed forty times", { queues = 2 }, function(l)
    local before, all = bpf_objects(own_pid()), { programs = {}, maps = {} }
    for i = 1, 40 do
      local b = open(l.far, { mode = i % 2 == 0 and "generic" or "native", frames = 1024 })
      b:conn { mac = B }
      if i % 9 == 0 then -- while it is open there are some
        local now = bpf_objects(own_pid())
        assert.same({ 2, 1 }, { now.kinds["bpf-prog"], now.kinds.bpf_link or now.kinds["bpf-link"] })
        assert.is_true(#now.programs >= 1 and #now.maps >= 3)
        assert.matches(i % 2 == 0 and "^xdpgeneric" or "^xdp ", xdp_words(l.far))
        for _, id in ipairs(now.programs) do table.insert(all.programs, id) end
        for _, id in ipairs(now.maps) do table.insert(all.maps, id) end
      end
      b:close()
    end
    assert.same(before, bpf_objects(own_pid()))
    assert.is_true(all_gone(all))
    assert.same({ nil, "0" }, { xdp_words(l.far), promiscuity(l.far) })
  end)

  lab_it("is the receive VLAN offload as it was, which hides tags from it", nil, function(l)
    for _, value in ipairs { "on", "off" } do
      l.far:run("ethtool -K eth0 rxvlan " .. value)
      local b = open(l.far)
      assert.equal("off", rxvlan(l.far))
      assert.error_matches(function() open(l.far) end, "attached to eth0 already")
      assert.equal("off", rxvlan(l.far))
      b:close()
      assert.equal(value, rxvlan(l.far))
    end
  end)

  for _, mode in ipairs { "native", "generic" } do
    lab_it("is nothing after its process was killed, in " .. mode .. " mode", nil, function(l)
      local script, log = os.tmpname(), os.tmpname()
      ether.defer(function()
        os.remove(script)
        os.remove(log)
      end)
      local file = assert(io.open(script, "w"))
      file:write(([[
        local relay = require("etherlua").open("xdp:eth0", { mode = "%s" })
        local conn = relay:conn { mac = "%s", multicast = true }
        io.write("open\n")
        conn:recv()]]):format(mode, B))
      file:close()
      local program = l.far:start({ ETHERLUA, "run", script }, { log = log })
      assert.is_truthy(eventually(function() return program:log() == "open\n" end), program:log())
      local found = bpf_objects(program.pid)
      assert.is_true(#found.programs >= 1 and #found.maps >= 3)
      assert.is_true(exists(found.programs[1], bpf.bpf_prog_get_fd_by_id))
      assert.matches("^xdp", xdp_words(l.far))
      assert.equal("1", promiscuity(l.far))
      assert.equal("off", rxvlan(l.far))
      program:stop(KILL)
      assert.is_true(all_gone(found))
      assert.same({ nil, "0" }, { xdp_words(l.far), promiscuity(l.far) })
      assert.is_truthy(eventually(function() return rxvlan(l.far) == "on" end))
      assert.equal("1 queue", open(l.far).detail:match("1 queue"))
    end)
  end
end)
