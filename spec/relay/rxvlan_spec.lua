-- The receive VLAN offload, which an xdp relay switches off: it is on again afterwards, whoever is killed when, and
-- wherever the interface is by then.

local files = require "support.files"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local shell = require "support.shell"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL = 9
local open, rxvlan, lab_it = xdp.open, xdp.rxvlan, xdp.lab_it

local SCRIPT = [[
local relay = require("etherlua").open "xdp:eth0"
io.write "open\n"
require("etherlua").sleep(60)]]

-- The process of this one that is to switch it on again.
local function keeper_of(pid)
  return assert(tonumber(shell.output_of(("pgrep -P %d -x etherlua-keeper"):format(pid)):match "%d+"))
end

local function is_on_again(ns)
  return eventually(function() return rxvlan(ns) == "on" end, 2)
end

describe("the receive VLAN offload, behind an xdp relay,", function()
  local path, log

  before_each(function() path, log = files.temporary(SCRIPT), os.tmpname() end)

  after_each(function()
    os.remove(path)
    os.remove(log)
    leaks.check()
  end)

  local function start(l, ...)
    local words = { ... }
    for _, word in ipairs { ETHERLUA, "run", path } do words[#words + 1] = word end
    local program = l.far:start(words, { log = log })
    assert(eventually(function() return program:log():find "open\n" or program:status() end))
    return program
  end

  lab_it("is on when the process was killed right behind switching it off", nil, function(l)
    local program = start(l, unpack(xdp.after_ioctl "[ $PPID != $FIRST ] || kill -9 $PPID"))
    assert.equal(128 + KILL, program:status())
    assert.is_true(is_on_again(l.far))
  end)

  for _, how in ipairs { "closed", "killed" } do
    lab_it(("is on where the interface is, when it was moved before the process was %s"):format(how), nil, function(l)
      local third = lab.namespace()
      local program = start(l)
      assert.equal("off", rxvlan(l.far))
      l.far:run("ip link set eth0 netns " .. third:path())
      assert.equal("off", rxvlan(third))
      program:stop(how == "killed" and KILL or nil)
      assert.is_true(is_on_again(third))
      third:close()
    end)
  end

  lab_it("is on where the interface is, by its name, when its number was taken there", nil, function(l)
    local third = lab.namespace()
    local index = l.far:run "ip -o link show eth0":match "%d+"
    third:run "ip link add taken type veth" -- and its peer: the first numbers
    assert.is_truthy(third:run "ip -o link":find("\n" .. index .. ":"))
    local b = open(l.far)
    l.far:run("ip link set eth0 netns " .. third:path())
    b:close()
    assert.equal("on", rxvlan(third))
    third:close()
  end)

  lab_it("stays off at another interface of that MAC address and name, when the relay's own is gone", {
    far_mac = "02:00:00:00:99:01" }, function(l)
    local other = lab.new { far_mac = "02:00:00:00:99:01" }
    local a, b = open(l.far), open(other.far)
    l.far:run "ip link del eth0"
    a:close()
    assert.equal("off", rxvlan(other.far))
    b:close()
    assert.equal("on", rxvlan(other.far))
    other:close()
  end)

  lab_it("is on when the keeper was killed, and the relay is closed", nil, function(l)
    local b = open(l.far)
    os.execute("kill -9 " .. keeper_of(xdp.own_pid()))
    assert.equal("off", rxvlan(l.far))
    b:close()
    assert.equal("on", rxvlan(l.far))
  end)

  lab_it("is no business of a signal to the process group", nil, function(l)
    local program = start(l)
    os.execute(("kill -9 -%d"):format(program.pid))
    assert.is_true(is_on_again(l.far))
  end)

  lab_it("is mended by the next relay when the keeper was killed with its process, which is said", nil, function(l)
    local program = start(l)
    os.execute(("kill -9 %d %d"):format(keeper_of(program.pid), program.pid))
    program:wait(2)
    assert.equal("off", rxvlan(l.far))
    os.remove(log)
    program = start(l)
    assert.matches("etherlua: xdp:eth0: a process that was killed had left rxvlan off; it is on again when this "
      .. "relay is closed\n", program:log())
    assert.equal("off", rxvlan(l.far))
    program:stop()
    assert.equal("on", rxvlan(l.far))
  end)

  lab_it("has a keeper that keeps nothing open of another relay", nil, function(l)
    local a, b = open(l.near), open(l.far)
    a:close()
    open(l.near):close()
    assert.equal("0", l.near:run "ip -d link show eth0":match "promiscuity (%d)")
    b:close()
  end)

  -- The file that tells the next relay that a process was killed with its keeper.
  local function record_of(ns)
    local inode = ns:run "readlink /proc/self/ns/net":match "%d+"
    return (shell.run(("ls -d /run/etherlua/rxvlan-%s-* 2>/dev/null || true"):format(inode)))
  end

  lab_it("stays off that was off, and nothing is left in /run", nil, function(l)
    l.far:run "ethtool -K eth0 rxvlan off"
    open(l.far):close()
    assert.equal("off", rxvlan(l.far))
    l.far:run "ethtool -K eth0 rxvlan on"
    local b = open(l.far)
    assert.is_truthy(record_of(l.far) ~= "")
    b:close()
    assert.equal("", record_of(l.far))
  end)

  lab_it("is untouched when the process was killed before it had a keeper, and no file is left", nil, function(l)
    local program = start(l, unpack(xdp.preloaded "killed_fork"))
    assert.equal(128 + KILL, program:status())
    assert.equal("on", rxvlan(l.far))
    assert.equal("", record_of(l.far))
  end)
end)
