-- Ranks that share an interface over AF_XDP: each has queues of its own, and one program sends each frame to the rank
-- that has its endpoint, or leaves it to the kernel for that. The last one leaves the interface as it was.

local ether = require "etherlua"
local files = require "support.files"
local frames = require "support.frames"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local program = require "support.program"
local shell = require "support.shell"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local QUEUES, FLOWS = 4, 200

-- Rank 0 has the endpoint B and counts what it gets; rank 1 leaves when a file is there. A rank that has a file of its
-- own is killed.
local SCRIPT = [[
local ether = require "etherlua"
local rank = ether.ranks.rank
local relay = ether.open("xdp:eth0", { filter = "" })
print(rank, relay.detail)
local conn = relay:conn { mac = rank == 0 and "]] .. frames.MAC_B .. [[" or "02:00:00:00:00:77" }
ether.ranks.barrier()
if rank == 0 then print "open" end
io.flush()
ether.spawn(function()
  repeat ether.sleep(0.02) until io.open(arg[1] .. rank)
  os.execute "kill -9 $PPID"
end)
if rank == 1 then
  repeat ether.sleep(0.02) until io.open(arg[1])
  relay:close()
  ether.ranks.tell "left"
  ether.sleep(60)
end
for i = 1, tonumber(arg[2]) do conn:recv() end
print "all came"
io.flush()
if ether.ranks.size > 1 then repeat ether.sleep(0.02) until ether.ranks.latest()[2] end
print "left"
io.flush()
ether.sleep(60)
]]

local function is_as_it_was(ns)
  return eventually(function() return xdp.rxvlan(ns) == "on" and not xdp.xdp_words(ns) end)
end

local function sum(list)
  local total = 0
  for _, value in ipairs(list) do total = total + value end
  return total
end

describe("ranks that share an interface over xdp", function()
  local path, go, net

  before_each(function()
    path, go = files.temporary(SCRIPT), os.tmpname()
    os.remove(go)
  end)

  after_each(function()
    os.remove(path)
    for _, rank in ipairs { "", 0, 1 } do os.remove(go .. rank) end
    shell.close_all()
    leaks.check()
  end)

  local function start(queues, count)
    net = shell.keep(lab.new { queues = queues })
    local running = program.start(net.far, ("--ranks 2 %s %s %d"):format(path, go, count))
    running:wait_for "open"
    return running
  end

  local function root_it(name, fn)
    it(name, function()
      if not lab.root() then return pending(select(2, lab.root())) end
      fn()
    end)
  end

  root_it("get what is theirs on any queue, and the other's queues are not taken from it", function()
    local running = start(QUEUES, FLOWS)
    assert.matches("0\tnative mode, 2 of 4 queues", running:output())
    assert.matches("1\tnative mode, 2 of 4 queues", running:output())
    xdp.send_flows(net.near, FLOWS):wait(10)
    running:wait_for "all came"
    local shown, redirected = xdp.queue_counters(net.far)
    assert.same({ 0, 0 }, { redirected[2], redirected[4] })
    assert.is_true(redirected[1] > 0 and redirected[3] > 0)
    assert.is_true(sum(shown) >= FLOWS and sum(redirected) < FLOWS)
    running:interrupt()
    assert.is_true(is_as_it_was(net.far))
  end)

  root_it("keep program and setting until the last one has left", function()
    local running = start(2, FLOWS)
    io.open(go, "w"):close()
    xdp.send_flows(net.near, FLOWS):wait(10)
    running:wait_for "left"
    assert.equal("off", xdp.rxvlan(net.far))
    assert.is_truthy(xdp.xdp_words(net.far))
    running:interrupt()
    assert.is_true(is_as_it_was(net.far))
  end)

  for rank = 0, 1 do
    root_it(("leave the interface as it was when rank %d is killed"):format(rank), function()
      local running = start(2, FLOWS)
      io.open(go .. rank, "w"):close()
      local status = running:finish()
      assert.equal(1, status)
      assert.is_true(is_as_it_was(net.far))
    end)
  end

  root_it("are told when there are fewer queues than ranks", function()
    net = shell.keep(lab.new())
    local status, _, err = program.start(net.far, ("--ranks 2 %s %s 1"):format(path, go)):finish()
    assert.equal(1, status)
    assert.matches("eth0 has 1 queue for 2 processes, and each needs one: ethtool %-L eth0 combined 2, or "
      .. "afpacket:eth0", err)
  end)
end)

describe("a shared xdp relay", function()
  after_each(shell.close_all)

  for name, case in pairs {
    ["takes no program of one's own"] = { { program = "x.o" }, "steer and program are for one process alone: "
      .. "shared = false" },
    ["takes endpoints' frames alone"] = { { steer = "all" }, "steer and program are for one process alone: "
      .. "shared = false" },
  } do
    xdp.lab_it(name, nil, function(l)
      case[1].shared = true
      local ok, reason = pcall(l.far.enter, l.far, ether.open, "xdp:eth0", case[1])
      assert.is_false(ok)
      assert.matches(case[2], reason, 1, true)
    end)
  end
end)
