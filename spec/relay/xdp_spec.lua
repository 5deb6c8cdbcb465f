-- What only xdp relays do: several queues, an interface of their own programs, and leaving none behind. What they have
-- in common with the other kinds is in the specs of the relay. Every spec has a lab of its own.

local access = require "support.access"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local B = frames.MAC_B
local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL = 9
local open, outcome, send_flows, queue_counters = xdp.open, xdp.outcome, xdp.send_flows, xdp.queue_counters
local xdp_words, promiscuity, rxvlan, lab_it = xdp.xdp_words, xdp.promiscuity, xdp.rxvlan, xdp.lab_it
local bpf_objects, own_pid, all_gone = xdp.bpf_objects, xdp.own_pid, xdp.all_gone

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

  lab_it("has frames left to send with as few as there may be, and many queues", { queues = 16 }, function(l)
    local conn = open(l.far, { frames = 128 }):conn { mac = B }
    for i = 1, 200 do assert.is_true(conn:send(xdp.numbered(i), frames.MAC_A, { timeout = 1 })) end
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
        assert.equal(mode == "native" and 'eth0 has no zero-copy AF_XDP: copy = "auto"' or
          "zero copy on eth0 needs native mode, which is not asked for", misuse.words(message))
      end
      assert.is_nil(xdp_words(l.far))
    end
    assert.equal("native mode, 1 queue", open(l.far, { copy = "copy", need_wakeup = false }).detail)
  end)

  lab_it("says in one line which frame_size an MTU needs whose frames are larger than a page", { mtu = 9000 },
    function(l)
      for size, words in pairs { [8192] = "bad frame_size 8192: 16384 to 131072 is allowed at MTU 9000",
        [20000] = "frames of 20000 bytes cannot be received by AF_XDP at MTU 9000: frame_size has to be a multiple of "
          .. "4096, and 9286 or more" } do
        local ok, message = pcall(open, l.far, { frame_size = size })
        assert.is_false(ok)
        assert.equal(words, misuse.words(message))
      end
      assert.is_nil(xdp_words(l.far))
      open(l.far, { frame_size = 20480 })
    end)

  lab_it("falls back to generic mode where native is not possible, and tells both", { mtu = 3700 }, function(l)
    local b = open(l.far)
    assert.matches("^generic mode %(native: [%a ]+%), %d+ queues?$", b.detail)
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
        for _, opts in ipairs { {}, { mode = "native" }, { mode = "generic" }, { shared = true } } do
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
      assert.is_true(xdp.program_exists(found.programs[1]))
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
