-- The link of an interface that goes away because a relay is opened or closed, as with drivers that reset their card:
-- here the other end of a veth pair goes down and up again behind each call that switches an offload.

local files = require "support.files"
local leaks = require "support.leaks"
local shell = require "support.shell"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL = 9

-- What it has printed tells whether other tasks ran meanwhile, and whether the link was there at the end.
local SCRIPT = [[
local ether = require "etherlua"
local turns, done = 0, false
ether.spawn(function()
  repeat
    ether.sleep(0.01)
    turns = turns + 1
  until done
end)
local relay = ether.open(arg[1])
done = true
print("detail: " .. relay.detail, turns > 20 and "others ran" or "others stood still")
io.stdout:flush()
if arg[2] then ether.sleep(tonumber(arg[2])) end]]

local CANCELLED = [[
local ether, ffi, effi = require "etherlua", require "ffi", require "etherlua.core.ffi"
local task = ether.spawn(function() ether.open(arg[1]) end)
ether.sleep(0.5)
task:cancel()
pcall(task.join, task)
local live = ffi.new "struct el_live"
effi.C.el_live(live)
print(("cancelled, %d relays"):format(tonumber(live.relays)))]]

-- Takes the link away for a moment, and holds nothing of what the program has open.
local FLAP = "nsenter --net=%s ip link set eth0 down; (sleep %s; nsenter --net=%s ip link set eth0 up) " ..
  "</dev/null >/dev/null 2>&1 3>&- &"

local KINDS = { "afpacket", "pcap", "xdp" }

describe("a link that is away because", function()
  local path, log

  before_each(function() path, log = files.temporary(SCRIPT), os.tmpname() end)

  after_each(function()
    os.remove(path)
    os.remove(log)
    leaks.check()
  end)

  -- Starts the program at the far end, where the other end's link goes down for so many seconds.
  local function start(l, seconds, kind, ...)
    local words = seconds and xdp.after_ioctl(FLAP:format(l.near:path(), seconds, l.near:path())) or {}
    for _, word in ipairs { ETHERLUA, "run", path, kind .. ":eth0", ... } do words[#words + 1] = word end
    return l.far:start(words, { log = log })
  end

  local function said(program)
    assert.equal(0, eventually(function() return program:status() end, 30), program:log())
    return program:log()
  end

  local function has_link(l) return l.far:run "ip link show eth0":find("LOWER_UP", 1, true) ~= nil end

  xdp.lab_it("a relay is opened is waited for by this task alone, which its detail says", nil, function(l)
    local program = start(l, 0.6, "xdp", "3")
    assert.is_truthy(eventually(function() return program:log() ~= "" or program:status() end))
    assert.is_true(has_link(l))
    program:stop()
    assert.matches("detail: native mode, 1 queue, waited 0%.%d s for its link\tothers ran\n", program:log())
  end)

  for _, kind in ipairs(KINDS) do
    xdp.lab_it(("another process closed a relay is waited for by %s, which says so"):format(kind), nil, function(l)
      said(start(l, 0.6, "xdp"))
      os.remove(log)
      local text = said(start(l, nil, kind))
      assert.matches("waited [01]%.%d s for its link\t", text)
      assert.is_true(has_link(l))
    end)
  end

  xdp.lab_it("another process was killed that had a relay is waited for", nil, function(l)
    local program = start(l, 0.6, "xdp", "60")
    assert.is_truthy(eventually(function() return program:log() ~= "" end))
    program:stop(KILL)
    assert.is_true(eventually(function() return not has_link(l) end))
    os.remove(log)
    assert.matches("waited [01]%.%d s for its link\t", said(start(l, nil, "afpacket")))
  end)

  xdp.lab_it("a cable is not plugged in is not waited for", nil, function(l)
    l.near:run "ip link set eth0 down"
    for _, kind in ipairs(KINDS) do
      os.remove(log)
      assert.is_nil(said(start(l, nil, kind)):find("link", 1, true))
    end
  end)

  xdp.lab_it("a relay was closed for good is waited for no more than 10 s", nil, function(l)
    assert.matches("no link after 10%.%d s", said(start(l, 30, "xdp")))
    os.remove(log)
    assert.is_nil(said(start(l, nil, "afpacket")):find("waited", 1, true))
  end)

  xdp.lab_it("a relay was closed leaves no process, once it is back, and nothing of the relay", nil, function(l)
    said(start(l, 0.6, "xdp"))
    local own = l.far:run "readlink /proc/self/ns/net"
    local function holders()
      return (shell.run "for p in $(pgrep -x etherlua-link); do readlink /proc/$p/ns/net; done; true")
    end
    assert.is_truthy(holders():find(own, 1, true))
    assert.equal("0", l.far:run "ip -d link show eth0":match "promiscuity (%d)")
    assert.is_true(eventually(function() return not holders():find(own, 1, true) end))
  end)

  xdp.lab_it("a relay is opened is no more waited for by a task that is cancelled, and the relay is closed", nil,
    function(l)
      files.write(path, CANCELLED)
      assert.equal("cancelled, 0 relays\n", said(start(l, 3, "xdp")))
    end)
end)
