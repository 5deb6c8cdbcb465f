-- The link of an interface that goes away because a relay is opened or closed, as with drivers that reset their card:
-- here the other end of a veth pair goes down and up again behind each call that switches an offload.

local files = require "support.files"
local leaks = require "support.leaks"
local shell = require "support.shell"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL = 9

-- Opens a relay and says what it tells. The file arg[2], the gate, is there only between the moment that another task
-- has run for a while and that the relay is open. With arg[3] it goes on for so many seconds.
local SCRIPT = [[
local ether = require "etherlua"
local opened = false
local other = ether.spawn(function()
  for _ = 1, 20 do ether.sleep(0.01) end
  if not opened then io.open(arg[2], "w"):close() end
end)
local relay = ether.open(arg[1])
opened = true
other:join()
os.remove(arg[2])
print("detail: " .. relay.detail)
io.stdout:flush()
if arg[3] then ether.sleep(tonumber(arg[3])) end]]

local CANCELLED = [[
local ether, ffi, effi = require "etherlua", require "ffi", require "etherlua.core.ffi"
local task = ether.spawn(function() ether.open(arg[1]) end)
ether.sleep(0.5)
task:cancel()
pcall(task.join, task)
local live = ffi.new "struct el_live"
effi.C.el_live(live)
print(("cancelled, %d relays"):format(tonumber(live.relays)))]]

-- Takes the link away until a command has ended, and holds nothing of what the program has open.
local FLAP = "nsenter --net=%s ip link set eth0 down; (%s; nsenter --net=%s ip link set eth0 up) " ..
  "</dev/null >/dev/null 2>&1 3>&- &"
local GATE = "until [ -e %s ]; do sleep 0.05; done"

local KINDS = { "afpacket", "pcap", "xdp" }

describe("a link that is away because", function()
  local path, log, gate, till_gate
  local gates = {} -- of all tests: who waits for one finds it open in the end

  before_each(function()
    path, log, gate = files.temporary(SCRIPT), os.tmpname(), os.tmpname()
    os.remove(gate)
    gates[#gates + 1], till_gate = gate, GATE:format(gate)
  end)

  local function open_gate() files.write(gate, "") end

  after_each(function()
    os.remove(path)
    os.remove(log)
    open_gate()
    leaks.check()
  end)

  teardown(function()
    for _, name in ipairs(gates) do os.remove(name) end
  end)

  -- Starts the program at the far end, where the other end's link goes down until the command `away` has ended.
  local function start(l, away, kind, ...)
    local words = away and xdp.after_ioctl(FLAP:format(l.near:path(), away, l.near:path())) or {}
    for _, word in ipairs { ETHERLUA, "run", path, kind .. ":eth0", gate, ... } do words[#words + 1] = word end
    return l.far:start(words, { log = log })
  end

  local function said(program)
    assert.equal(0, eventually(function() return program:status() end, 30), program:log())
    return program:log()
  end

  local function has_link(l) return l.far:run "ip link show eth0":find("LOWER_UP", 1, true) ~= nil end

  xdp.lab_it("a relay is opened is waited for by this task alone, which its detail says", nil, function(l)
    local program = start(l, till_gate, "xdp", "60")
    assert.is_truthy(eventually(function() return program:log() ~= "" or program:status() end))
    assert.is_true(has_link(l))
    program:stop()
    assert.matches("detail: native mode, 1 queue, waited %d%.%d s for its link\n", program:log())
  end)

  for _, kind in ipairs(KINDS) do
    xdp.lab_it(("another process closed a relay is waited for by %s, which says so"):format(kind), nil, function(l)
      said(start(l, till_gate, "xdp"))
      os.remove(log)
      assert.matches("waited %d%.%d s for its link\n", said(start(l, nil, kind)))
      assert.is_true(has_link(l))
    end)
  end

  xdp.lab_it("another process was killed that had a relay is waited for", nil, function(l)
    local program = start(l, till_gate, "xdp", "60")
    assert.is_truthy(eventually(function() return program:log() ~= "" end))
    program:stop(KILL)
    assert.is_true(eventually(function() return not has_link(l) end))
    os.remove(log)
    assert.matches("waited %d%.%d s for its link\n", said(start(l, nil, "afpacket")))
  end)

  xdp.lab_it("a cable is not plugged in is not waited for", nil, function(l)
    l.near:run "ip link set eth0 down"
    for _, kind in ipairs(KINDS) do
      os.remove(log)
      assert.is_nil(said(start(l, nil, kind)):find("link", 1, true))
    end
  end)

  xdp.lab_it("a relay was closed for good is waited for no more than 10 s", nil, function(l)
    assert.matches("no link after 10%.%d s", said(start(l, "sleep 30", "xdp")))
    os.remove(log)
    assert.is_nil(said(start(l, nil, "afpacket")):find("waited", 1, true))
  end)

  xdp.lab_it("a relay was closed leaves no process, once it is back, and nothing of the relay", nil, function(l)
    said(start(l, till_gate, "xdp"))
    local own = l.far:run "readlink /proc/self/ns/net"
    local function holders()
      return (shell.run "for p in $(pgrep -x etherlua-link); do readlink /proc/$p/ns/net; done; true")
    end
    assert.is_truthy(holders():find(own, 1, true))
    assert.equal("0", l.far:run "ip -d link show eth0":match "promiscuity (%d)")
    open_gate()
    assert.is_true(eventually(function() return not holders():find(own, 1, true) end))
  end)

  xdp.lab_it("a relay is opened is no more waited for by a task that is cancelled, and the relay is closed", nil,
    function(l)
      files.write(path, CANCELLED)
      assert.equal("cancelled, 0 relays\n", said(start(l, "sleep 3", "xdp")))
    end)
end)
