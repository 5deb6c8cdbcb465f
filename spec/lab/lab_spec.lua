-- Labs: what they join, and that nothing of them is left.

local lab = require "etherlua.lab.lab"
local lab_it = require("support.root_it").as_root
local nobody = require "support.nobody"
local shell = require "support.shell"
local eventually = require("support.wait").eventually

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1", "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- Whether any process is in the network namespace or holds it open.
local function is_held(inode)
  local pattern = ("'net:\\[%s\\]'"):format(inode)
  return output_of("ls -l /proc/[0-9]*/ns/net /proc/[0-9]*/fd 2>/dev/null | grep " .. pattern) ~= ""
    or output_of("lsns -t net -no NS | grep -w " .. inode) ~= ""
end

local function is_running(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  if not file then return false end
  local state = file:read("*a"):match("%) (%a)")
  file:close()
  return state ~= "Z"
end

-- How another LuaJIT is started: it finds our modules, and a library with sanitizers wants to be the first.
local ENV = { "env", "LUA_PATH=" .. package.path }
if os.getenv "SANITIZER" then
  ENV[#ENV + 1] = "LD_PRELOAD=" .. os.getenv "SANITIZER"
  ENV[#ENV + 1] = "ASAN_OPTIONS=detect_leaks=0" -- of the programs that it starts
end

local function luajit(...)
  local words = { unpack(ENV) }
  for _, word in ipairs { "luajit", ... } do words[#words + 1] = word end
  return words
end

local ENV_TEXT = "'" .. table.concat(ENV, "' '") .. "'"

-- Starts another LuaJIT that runs the text, in the namespace; waits until its output has the word.
local function start_lua(ns, log, text, word)
  local child = ns:start(luajit("-e", text), { log = log })
  assert(eventually(function() return child:log():find(word) or child:status() end))
  assert(child:log():find(word), child:log())
  return child
end

describe("a lab", function()
  local made, log

  before_each(function()
    made, log = {}, os.tmpname()
  end)

  after_each(function()
    for _, one in ipairs(made) do one:close() end
    os.remove(log)
  end)

  local function keep(x)
    made[#made + 1] = x
    return x
  end

  lab_it("joins two namespaces", function()
    local l = keep(lab.new())
    l.near:run("ip addr add 10.9.0.1/24 dev eth0")
    l.far:run("ip addr add 10.9.0.2/24 dev eth0")
    assert.matches(" 0%% packet loss", l.near:run("busybox ping -c 1 -W 2 10.9.0.2"))
  end)

  lab_it("has the MAC addresses, MTU and number of queues that it is told", function()
    local l = keep(lab.new { near_mac = "02:00:00:00:00:01", far_mac = "02:00:00:00:00:02", mtu = 1600, queues = 3 })
    local near, far = l.near:run("ip -d link show eth0"), l.far:run("ip -d link show eth0")
    assert.matches("02:00:00:00:00:01", near)
    assert.matches("02:00:00:00:00:02", far)
    for _, text in ipairs { near, far } do
      assert.matches("mtu 1600", text)
      assert.matches("numtxqueues 3 numrxqueues 3", text)
      assert.matches("state UP", text)
    end
  end)

  lab_it("sends nothing of its own accord", function()
    local l = keep(lab.new())
    os.execute("sleep 1.5")
    for _, ns in ipairs { l.near, l.far } do
      assert.matches("eth0: +0 +0 ", ns:run("grep eth0 /proc/net/dev"))
    end
  end)

  lab_it("keeps the kernel's IPv6 when asked to", function()
    local l = keep(lab.new { ipv6 = true })
    assert.matches("inet6 fe80", l.near:run("ip -6 addr show dev eth0"))
  end)

  lab_it("lets the kernel send complete checksums when asked to", function()
    local l = keep(lab.new { checksum = false })
    assert.matches("tx%-checksumming: off", l.near:run("ethtool -k eth0"))
    assert.matches("tx%-checksumming: off", l.far:run("ethtool -k eth0"))
  end)

  lab_it("has no names outside", function()
    local l = keep(lab.new { near_mac = "02:00:00:5a:5a:01", far_mac = "02:00:00:5a:5a:02" })
    local named, links = output_of("stat -Lc %i /run/netns/*"), output_of("ip -o link show")
    for _, ns in ipairs { l.near, l.far } do
      assert.not_matches(ns:run("readlink /proc/self/ns/net"):match("%d+"), named)
      assert.not_matches("02:00:00:5a:5a", links)
    end
  end)

  lab_it("refuses names and numbers that no interface can have", function()
    local ns = keep(lab.namespace())
    assert.error_matches(function() lab.veth(ns, "a b", ns, "c") end, 'bad interface name "a b"')
    assert.error_matches(function() lab.veth(ns, "sixteen-letters-", ns, "c") end, "up to 15 letters")
    assert.error_matches(function() lab.new { mtu = "big" } end, "bad mtu big")
    assert.error_matches(function() lab.new { queues = 0 } end, "bad queues 0")
    assert.error_matches(function() lab.new { near_mac = "x" } end, "bad MAC address")
    assert.error_matches(function() lab.new { mac = "x" } end,
      'unknown option "mac" of a lab: known are: checksum, far_mac, ipv6, mtu, near_mac, queues')
    assert.error_matches(function() lab.veth(ns, "a", ns, "b", { mut = 1500 }) end, 'did you mean "mtu"%?')
  end)

  lab_it("is gone after close, with what was started in it", function()
    local l = keep(lab.new())
    local inode = l.near:run("readlink /proc/self/ns/net"):match("%d+")
    local one = l.near:start { "sleep", "100" }
    assert.is_true(is_held(inode))
    l:close()
    assert.is_false(is_held(inode))
    assert.is_false(is_running(one.pid))
    assert.error_matches(function() l.near:run("true") end, "closed")
  end)

  lab_it("is gone after kill -9 of its process, with what was started in it", function()
    local outer = keep(lab.namespace())
    -- The child's lab is joined with our namespace, so the end here shows whether the other one is really gone.
    local child = start_lua(outer, log, [[
      local lab = require "etherlua.lab.lab"
      local l, outer = lab.new(), lab.open()
      lab.veth(outer, "peer", l.far, "eth1")
      local helper = l.far:start { "sleep", "100" }
      io.write("helper ", helper.pid, " inodes ", l.near:run("readlink /proc/self/ns/net"),
        l.far:run("readlink /proc/self/ns/net"), "ready\n")
      io.flush()
      os.execute("sleep 100")
    ]], "ready")
    local helper, near, far = child:log():match("helper (%d+) inodes net:%[(%d+)%]%s+net:%[(%d+)%]")
    assert.is_true(is_held(near))
    assert.is_true(is_held(far))
    assert.is_true(is_running(helper))
    assert.matches("peer", outer:run("ip link"))
    os.execute("kill -9 " .. child.pid)
    assert.is_truthy(eventually(function() return not is_running(helper) end))
    assert.is_truthy(eventually(function() return not is_held(near) and not is_held(far) end))
    assert.is_truthy(eventually(function() return not outer:run("ip link"):find("peer") end))
    assert.equal(128 + 9, child:status())
  end)
end)

describe("a namespace", function()
  local ns, log

  before_each(function()
    log = os.tmpname()
    if shell.is_root then ns = lab.namespace() end
  end)

  after_each(function()
    if ns then ns:close() end
    os.remove(log)
  end)

  lab_it("has loopback, which is up, and nothing else", function()
    assert.equal("lo\n", ns:run("ip -o link | cut -d' ' -f2 | tr -d :"))
    assert.matches("LOOPBACK,UP", ns:run("ip link show lo"))
  end)

  lab_it("runs a function inside, and is left when that raises", function()
    local function here() return output_of("readlink /proc/self/ns/net") end
    local outside = here()
    local inside, nothing, third = ns:enter(function(...) return here(), ... end, nil, 3)
    assert.not_equal(outside, inside)
    assert.is_nil(nothing)
    assert.equal(3, third)
    assert.error_matches(function() ns:enter(error, "told you", 0) end, "told you")
    assert.equal(outside, here())
  end)

  lab_it("raises when a command fails, with the command and its output", function()
    assert.equal("it's fine\n", ns:run("echo \"it's fine\""))
    local ok, message = pcall(ns.run, ns, "echo this is why; echo and this >&2; exit 3")
    assert.is_false(ok)
    assert.matches("status 3: echo this", message)
    assert.matches("\nthis is why\nand this\n", message)
    assert.error_matches(function() ns:run("echo 'open") end, "[Uu]nterminated")
  end)

  lab_it("says which program could not be started, or which log not be written", function()
    assert.error_matches(function() ns:start { "no-such-program" } end, 'cannot start "no%-such%-program": no such')
    assert.error_matches(function() ns:start { "/" } end, 'cannot start "/"')
    assert.error_matches(function() ns:start({ "true" }, { log = "/nowhere/log" }) end, "/nowhere/log: No such file")
    assert.error_matches(function() ns:start {} end, "empty command")
  end)

  lab_it("starts programs with their own log, standard input empty, and tells how they ended", function()
    local one = ns:start({ "sh", "-c", "cat; echo out; echo err >&2; exit 7" }, { log = log })
    assert.equal(7, one:wait(2))
    assert.equal(7, one:status())
    assert.equal("out\nerr\n", one:log())
    assert.equal(7, one:stop())
    assert.equal("", ns:start({ "true" }):log())
  end)

  lab_it("starts programs inside, with none of our files but the first three", function()
    local file = io.open(log, "r")
    local one = ns:start({ "sh", "-c", "readlink /proc/self/ns/net; ls /proc/self/fd | wc -l" }, { log = log })
    one:wait(2)
    file:close()
    -- 0, 1, 2, and the folder that ls reads
    assert.equal(ns:run("readlink /proc/self/ns/net") .. "4\n", one:log())
  end)

  lab_it("stops a program that ignores TERM, and its helpers, within a second", function()
    local one = ns:start({ "sh", "-c", "trap '' TERM; sleep 99 & echo $!; while :; do sleep 1; done" }, { log = log })
    assert(eventually(function() return one:log():find("\n") end))
    local helper = one:log():match("%d+")
    assert.is_nil(one:status())
    assert.equal(128 + 9, one:stop())
    assert.is_false(is_running(one.pid))
    assert.is_truthy(eventually(function() return not is_running(helper) end))
  end)

  lab_it("is opened by process id and by path, and not by what is no namespace", function()
    local one = ns:start { "sleep", "100" }
    local inode = ns:run("readlink /proc/self/ns/net")
    for _, name in ipairs { one.pid, "/proc/" .. one.pid .. "/ns/net" } do
      local other = lab.open(name)
      assert.equal(inode, other:run("readlink /proc/self/ns/net"))
      other:close()
    end
    assert.error_matches(function() lab.open("/dev/null") end, "cannot open the network namespace /dev/null")
    assert.error_matches(function() lab.open("no-such-name") end, "no such file")
  end)

  lab_it("says what to install when ip is missing", function()
    local child = ns:start(luajit("-e", [[
      require("etherlua.lab.shell").PATH = "PATH=/nowhere"
      print(pcall(require("etherlua.lab.lab").new))
    ]]), { log = log })
    child:wait(2)
    assert.matches("false%s+labs need the program ip %(Debian package iproute2%)", child:log())
  end)
end)

describe("the right to make labs", function()
  lab_it("is there for root", function()
    assert.is_true(lab.root())
  end)

  lab_it("is had by nobody in a user namespace", function()
    local copy = nobody.copy()
    finally(function() copy:close() end)
    local text = output_of(("cd %s && %s %sETHERLUA_LIB=%s luajit -e '%s'"):format(copy.folder, ENV_TEXT, nobody.AS,
      copy.library, [[
      local lab = require "etherlua.lab.lab"
      local ok, reason = lab.root()
      if not ok then print("refused: " .. reason) os.exit() end
      assert(lab.root(), "asked again")
      local l = lab.new { mtu = 1600, near_mac = "02:00:00:00:00:07" }
      l.near:run("ip addr add 10.9.0.1/24 dev eth0")
      l.far:run("ip addr add 10.9.0.2/24 dev eth0")
      io.write(l.near:run("busybox ping -c 1 -W 2 10.9.0.2"))
      print(l.near:start({ "sleep", "100" }):stop())
      l:close()
    ]]))
    if text:find("refused: ") then return pending(text) end
    assert.matches(" 0%% packet loss", text)
    assert.matches("\n143\n$", text)
  end)

  lab_it("is refused with the setting that forbids it", function()
    if os.execute("unshare -U -r true 2>/dev/null") ~= 0 then return pending("user namespaces are not allowed here") end
    local script = os.tmpname()
    local file = io.open(script, "w")
    file:write('print(require("etherlua.lab.lab").root())')
    file:close()
    local text = output_of(("%s unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; "
      .. "exec setpriv --bounding-set=-all luajit %s'"):format(ENV_TEXT, script))
    os.remove(script)
    assert.matches("nil%s+labs need network namespaces.*sysctl user.max_user_namespaces", text)
  end)
end)
