-- The command `etherlua doctor` as people run it, on veth pairs of labs: what it finds, that the commands it gives mend
-- what they say, and that it changes nothing. Other kernels and machines are made up (a fake of doctor/system.lua).

local cjson = require "cjson"
local host = require "etherlua.program.doctor.host"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local nobody = require "support.nobody"
local shell = require "support.shell"
local wait = require "support.wait"
local system = require "etherlua.program.doctor.system"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"

local as_root, succeeds = require("support.root_it").as_root, shell.succeeds

-- The findings of `doctor --json` by check, and the exit status. prefix: words of the command before the program.
local function examine(ns, arguments, prefix, program)
  local command = ("%s%s doctor --json %s"):format(prefix or "", program or ETHERLUA, arguments)
  local text, status = ns:enter(shell.run, command)
  local found = {}
  for line in text:gmatch("[^\n]+") do
    local finding = cjson.decode(line)
    found[finding.check] = finding
  end
  return found, status
end

local function assert_found(found, check, status, detail)
  assert.is_not_nil(found[check], "nothing about " .. check)
  assert.equal(status, found[check].status, found[check].detail)
  if detail then assert.equal(detail, found[check].detail) end
end

local function problems(found)
  local names = {}
  for name, finding in pairs(found) do
    if finding.status == "problem" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Everything about the interfaces that the doctor might have changed.
local function everything(ns)
  return ns:run("ip -d link show; ethtool -k eth0; ethtool -l eth0; tc qdisc show; tc filter show dev eth0 ingress; "
    .. "wc -l </proc/net/packet; mount; ls /sys/fs/bpf")
end

local net, made

local function keep(x)
  made[#made + 1] = x
  return x
end

local function temporary(text)
  local path = os.tmpname()
  keep { close = function() os.remove(path) end }
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

describe("etherlua doctor", function()
  before_each(function() made = {} end)

  after_each(function()
    while #made > 0 do table.remove(made):close() end
    leaks.check()
  end)

  local function root_it(name, fn)
    as_root(name, function()
      net = keep(lab.new())
      fn()
    end)
  end

  -- fn gets the path of a program of root's that nobody may run, too, and of which the test may change the file.
  local function nobody_it(name, fn)
    root_it(name, function() fn(keep(nobody.copy()).path) end)
  end

  -- ---- an interface -----------------------------------------------------------------------------------------------

  root_it("finds no problem on a healthy veth, where afpacket, pcap and both modes of xdp work", function()
    local found, status = examine(net.near, "eth0")
    assert.same({ {}, 0 }, { problems(found), status })
    assert_found(found, "state", "ok", "eth0 is up, with carrier")
    assert_found(found, "driver", "ok")
    assert.matches("^driver veth", found.driver.detail)
    assert_found(found, "queues", "ok", "queues: 1 receive, 1 transmit")
    assert_found(found, "mtu", "ok", "MTU 1500: afpacket, pcap, xdp")
    assert_found(found, "xdp_program", "ok", "no XDP program attached")
    assert_found(found, "promiscuous", "ok", "not promiscuous now")
    assert_found(found, "afpacket", "ok", "afpacket works")
    assert_found(found, "pcap", "ok", "pcap works")
    assert_found(found, "xdp_native", "ok", "xdp works: native mode, 1 queue")
    assert_found(found, "xdp_generic", "ok", "xdp works: generic mode, 1 queue")
    assert_found(found, "xdp_zero_copy", "note")
    assert.matches("^xdp zero%-copy: eth0 has no zero%-copy", found.xdp_zero_copy.detail)
  end)

  root_it("says of an interface that is none for Ethernet just that, and tries no relay", function()
    net.near:run("ip tuntap add mode tun name tun7; ip link set tun7 up")
    local found, status = examine(net.near, "tun7")
    assert.same({ { "link_type" }, 3 }, { problems(found), status })
    assert_found(found, "link_type", "problem", "tun7 is no Ethernet interface (none): relays need one")
    for _, check in ipairs { "state", "mtu", "afpacket", "pcap", "xdp_native", "xdp_generic" } do
      assert.is_nil(found[check], check)
    end
  end)

  root_it("examines an interface by an alternative name", function()
    local name = ("u"):rep(40)
    net.near:run("ip link property add dev eth0 altname " .. name)
    local found, status = examine(net.near, name)
    assert.same({ {}, 0 }, { problems(found), status })
    assert_found(found, "state", "ok", "eth0 is up, with carrier")
  end)

  root_it("leaves interfaces, offloads, mounts and XDP as they were", function()
    local near, far = everything(net.near), everything(net.far)
    assert.equal(0, select(2, examine(net.near, "eth0")))
    assert.equal(near, everything(net.near))
    assert.equal(far, everything(net.far))
    assert.is_nil(near:find("prog/xdp", 1, true))
  end)

  root_it("counts the queues that are in use", function()
    local many = keep(lab.new { queues = 3 })
    local found = examine(many.near, "eth0")
    assert_found(found, "queues", "ok", "queues: 3 receive, 3 transmit")
    assert_found(found, "xdp_native", "ok", "xdp works: native mode, 3 queues")
  end)

  root_it("tells of an interface that is down, and its command brings it up", function()
    net.near:run("ip link set eth0 down")
    local found, status = examine(net.near, "eth0")
    assert.same({ { "state" }, 3 }, { problems(found), status })
    assert_found(found, "state", "problem", "eth0 is down")
    assert_found(found, "not_tried", "note", "relays not tried: the interface is down")
    assert.is_nil(found.afpacket)
    net.near:run(found.state.fix)
    assert.equal(0, select(2, examine(net.near, "eth0")))
  end)

  root_it("tells of a missing carrier", function()
    net.far:run("ip link set eth0 down")
    local found, status = examine(net.near, "eth0")
    assert.same({ { "state" }, 3 }, { problems(found), status })
    assert.matches("no carrier", found.state.detail)
    assert_found(found, "afpacket", "ok")
  end)

  root_it("names the other end that is down, when it is in the same namespace", function()
    local ns = keep(lab.namespace())
    ns:run("ip link add far0 type veth peer name near0; ip link set near0 up")
    local found = examine(ns, "near0")
    assert.equal("ip link set dev far0 up", found.state.fix)
    ns:run(found.state.fix)
    assert_found(examine(ns, "near0"), "state", "ok")
  end)

  root_it("says which relays carry jumbo frames", function()
    local jumbo = keep(lab.new { mtu = 9000 })
    local found, status = examine(jumbo.near, "eth0")
    assert.same({ {}, 0 }, { problems(found), status })
    assert_found(found, "mtu", "ok", "MTU 9000: afpacket, pcap; xdp in several buffers a frame")
    for _, name in ipairs { "afpacket", "xdp_native", "xdp_generic" } do assert_found(found, name, "ok") end
  end)

  root_it("shows the reason when the driver refuses native mode, and that generic mode works", function()
    local large = keep(lab.new { mtu = 3600 })
    local found, status = examine(large.near, "eth0")
    assert.same({ {}, 0 }, { problems(found), status })
    assert_found(found, "xdp_native", "note")
    assert.matches("^xdp native: cannot attach XDP to eth0 .*: Numerical result out of range$", found.xdp_native.detail)
    assert_found(found, "xdp_generic", "ok", "xdp works: generic mode, 1 queue")
    assert.is_nil(found.xdp_zero_copy)
  end)

  root_it("tells that rxvlan is on, which an xdp relay sees to itself", function()
    for value, detail in pairs { on = "^rxvlan on: an xdp relay switches it off", off = "^rxvlan off: xdp sees" } do
      net.near:run("ethtool -K eth0 rxvlan " .. value)
      local found = examine(net.near, "eth0")
      assert_found(found, "rxvlan", "ok")
      assert.matches(detail, found.rxvlan.detail)
    end
  end)

  for _, offload in ipairs { "gro", "tso" } do
    root_it(("tells of %s that is on, with the command that turns it off"):format(offload), function()
      net.near:run(("ethtool -K eth0 %s on"):format(offload))
      local found, status = examine(net.near, "eth0")
      assert.equal(0, status)
      assert_found(found, offload, "note")
      assert.equal(("ethtool -K eth0 %s off"):format(offload), found[offload].fix)
      net.near:run(found[offload].fix)
      assert_found(examine(net.near, "eth0"), offload, "ok")
    end)
  end

  root_it("names the XDP program that is attached and who holds it; its command removes it", function()
    local script = temporary [[local ether = require "etherlua"; ether.open("xdp:eth0"); print("up"); ether.sleep(60)]]
    local holder = net.near:start({ ETHERLUA, "run", script }, { log = temporary "" })
    wait.for_log(holder, "up\n")
    local found, status = examine(net.near, "eth0")
    assert.same({ { "xdp_program" }, 3 }, { problems(found), status })
    assert.matches(("^etherlua_%%a+ %%(id %%d+%%) is attached by etherlua, process %d: "):format(holder.pid),
      found.xdp_program.detail)
    assert_found(found, "promiscuous", "note", "promiscuous now, for 1 user")
    assert_found(found, "xdp_native", "note")
    assert.matches("^xdp native: an XDP program is attached to eth0 already: ", found.xdp_native.detail)
    assert_found(found, "afpacket", "ok")
    net.near:run(found.xdp_program.fix)
    assert.is_not_nil(holder:wait(5))
    assert.equal(0, select(2, examine(net.near, "eth0")))
  end)

  root_it("gives the command for an XDP program that no process holds", function()
    if not succeeds "command -v clang" then return pending("needs the program clang") end
    local object = temporary ""
    local source = '__attribute__((section("xdp"), used)) int pass(void *c) { return 2; }'
    net.near:run(("echo '%s' | clang -O2 -target bpf -x c -c -o %s -"):format(source, object))
    net.near:run(("unshare -m ip link set eth0 xdpgeneric obj %s sec xdp"):format(object))
    local found = examine(net.near, "eth0")
    assert_found(found, "xdp_program", "problem")
    assert.equal("ip link set dev eth0 xdpgeneric off", found.xdp_program.fix)
    net.near:run(found.xdp_program.fix)
    assert.equal(0, select(2, examine(net.near, "eth0")))
  end)

  root_it("does its best without ethtool, and says so", function()
    local text, status = net.near:enter(shell.run, ([[unshare -m sh -c 'mount --bind /dev/null $(command -v ethtool);
      %s doctor --json eth0']]):format(ETHERLUA))
    assert.equal(3, status)
    assert.matches('"programs","status":"problem","detail":"no ethtool: [^\n]+install ethtool"', text)
    assert.matches('"xdp works: native mode, 1 queue"', text)
    assert.is_nil(text:find('"check":"rxvlan"', 1, true))
  end)

  root_it("enters the network namespace that --netns names, and so do its commands", function()
    local holder = net.near:start { "sleep", "60" }
    net.near:run("ip link set eth0 down")
    local found, status = examine(keep(lab.open()), ("--netns %d eth0"):format(holder.pid))
    assert.equal(3, status)
    assert.equal(("nsenter --net=/proc/%d/ns/net ip link set dev eth0 up"):format(holder.pid), found.state.fix)
    assert.is_true(succeeds(found.state.fix))
    found, status = examine(keep(lab.open()), ("eth0 --netns /proc/%d/ns/net"):format(holder.pid))
    assert.same({ {}, 0 }, { problems(found), status })
  end)

  -- ---- the machine ------------------------------------------------------------------------------------------------

  root_it("lists the interfaces when none is named", function()
    net.far:run("ip link set eth0 down")
    local found, status = examine(net.far, "")
    assert.equal(0, status)
    assert_found(found, "interface lo", "note", "lo    up          MTU 65536  loopback")
    assert_found(found, "interface eth0", "note", "eth0  down        MTU 1500   veth")
    assert_found(examine(net.near, ""), "interface eth0", "note", "eth0  no carrier  MTU 1500   veth")
  end)

  nobody_it("says what an ordinary user lacks, tries what it can, and prints nothing else", function(program)
    local found, status = examine(net.near, "eth0", nobody.AS, program)
    assert.equal(3, status)
    for _, check in ipairs { "cap_net_raw", "cap_net_admin", "cap_bpf", "memlock", "afpacket", "pcap" } do
      if check ~= "memlock" or found.memlock.status ~= "ok" then
        assert_found(found, check, "problem")
        assert.matches("^sudo setcap cap_net_raw,.*,cap_ipc_lock%+ep /.*/etherlua$", found[check].fix)
      end
    end
    assert_found(found, "afpacket", "problem", "afpacket: no privilege to open eth0: CAP_NET_RAW is missing")
    assert_found(found, "not_tried", "note", "xdp not tried, without CAP_NET_ADMIN and CAP_BPF")
    assert_found(found, "state", "ok")
  end)

  nobody_it("gives a setcap command after which an ordinary user has everything", function(program)
    if ETHERLUA:find("/san/", 1, true) then return pending("the sanitizer wants no capabilities on the file") end
    if not succeeds "command -v setcap" then return pending("needs the program setcap") end
    local fix = examine(net.near, "eth0", nobody.AS, program).cap_bpf.fix
    assert.equal(program, fix:match("%S+$"))
    if not succeeds((fix:gsub("^sudo ", ""))) then return pending("no capabilities on files of " .. program) end
    local found = examine(net.near, "eth0", nobody.AS, program)
    assert.same({}, problems(found))
    assert_found(found, "xdp_native", "ok", "xdp works: native mode, 1 queue")
    assert_found(found, "capabilities", "ok", "capabilities: NET_RAW, NET_ADMIN, BPF, IPC_LOCK")
  end)

  it("gives every problem that a command can mend its command, and JSON the four promised names", function()
    local text = shell.run(ETHERLUA .. " doctor --json")
    local count = 0
    for line in text:gmatch("[^\n]+") do
      assert.matches('^{"check":"[^"]+","status":"%l+","detail":".+","fix":.+}$', line)
      assert.is_not_nil(cjson.decode(line))
      count = count + 1
    end
    assert.is_true(count > 10)
  end)

  -- ---- other machines ---------------------------------------------------------------------------------------------

  local function on(fields)
    local sys = setmetatable(fields, { __index = system.new() })
    local found = {}
    for _, check in ipairs(host.checks) do
      local status, detail, fix = check[2](sys)
      if status then found[check[1]] = { status = status, detail = detail, fix = fix } end
    end
    return found
  end

  it("says what an older kernel lacks", function()
    assert_found(on { release = "5.4.0-42-generic" }, "kernel", "problem",
      "kernel 5.4.0 is too old for XDP links (5.9), epoll_pwait2 (5.11)")
    assert_found(on { release = "5.10.0" }, "kernel", "problem", "kernel 5.10.0 is too old for epoll_pwait2 (5.11)")
    assert_found(on { release = "5.11" }, "kernel", "ok")
    assert_found(on { release = "6.1.0-rc1+" }, "kernel", "ok")
  end)

  it("tells a container that withholds a capability from a program that lacks it", function()
    local found = on { effective = 0, bounding = 0, euid = 0 }
    assert.equal("start the container with --cap-add=NET_RAW", found.cap_net_raw.fix)
    found = on { effective = 0, bounding = 2 ^ 40 - 1, euid = 1000, program = "/opt/my tools/etherlua" }
    assert.equal("sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep '/opt/my tools/etherlua'",
      found.cap_net_raw.fix)
  end)

  it("takes CAP_SYS_ADMIN for CAP_BPF, as the kernel does", function()
    assert.is_nil(on { effective = 2 ^ 21 }.cap_bpf)
    assert_found(on { effective = 2 ^ 38 }, "cap_bpf", "problem")
  end)

  local function limits(memlock, files)
    return { effective = 0, bounding = 2 ^ 40 - 1, euid = 1000, limits = ("Max open files            %s files     \n"
      .. "Max locked memory         %s bytes     \n"):format(files, memlock) }
  end

  it("knows which limits are too low", function()
    local found = on(limits("65536                65536", "64                   4096"))
    assert_found(found, "memlock", "problem", "locked memory: 0 MB, an xdp relay needs 32 MB")
    assert_found(found, "open_files", "problem", "open files: 64 are few")
    assert.equal("ulimit -n 256", found.open_files.fix)
    found = on(limits("unlimited            unlimited", "unlimited            unlimited"))
    assert_found(found, "memlock", "ok", "locked memory: unlimited")
    assert_found(found, "open_files", "ok", "open files: unlimited")
  end)

  it("names the packages of missing programs", function()
    local found = on { euid = 0, is_installed = function(_, name) return name == "apt-get" end }
    assert_found(found, "programs", "problem", "no ip, no tc, no ethtool: labs and this report want it")
    assert.equal("apt-get install iproute2 ethtool", found.programs.fix)
  end)

  -- ---- output -----------------------------------------------------------------------------------------------------

  -- On a terminal of so many columns.
  local function on_terminal(columns, command)
    local text = shell.run(('script -qec "stty cols %d; %s" /dev/null'):format(columns, command))
    return (text:gsub("\r", ""))
  end

  it("prints a line for each finding and no colours when the output is no terminal", function()
    local text = shell.run(ETHERLUA .. " doctor")
    assert.matches("^this machine\n  ok       kernel [%d.]+: ", text)
    assert.is_nil(text:find("\27", 1, true))
    for line in text:gmatch("[^\n]+") do
      local fits = line:find("^  ok       %S") or line:find("^  note     %S") or line:find("^  problem  %S")
      assert.is_truthy(fits or line:find("^%S"), line)
    end
  end)

  it("wraps at words on a terminal of 40 columns, in colours unless NO_COLOR is set", function()
    local text = on_terminal(40, ETHERLUA .. " doctor")
    assert.matches("\n  \27%[32mok     \27%[0m  architecture x86%-64\n", text)
    local plain = on_terminal(40, "NO_COLOR=1 " .. ETHERLUA .. " doctor")
    assert.equal(plain, (text:gsub("\27%[[%d;]*m", "")))
    assert.matches("\n  ok       kernel [%d.]+: AF_XDP, XDP\n           links, epoll_pwait2\n", plain)
  end)

  nobody_it("keeps a command in one piece, and prints it once for several problems", function(program)
    local text = on_terminal(80, ("NO_COLOR=1 %s%s doctor"):format(nobody.AS, program))
    assert.matches("no CAP_NET_RAW: [^\n]+\n  problem  no CAP_NET_ADMIN: [^\n]+\n  problem  no CAP_BPF: [^\n]+\n"
      .. "           sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock%+ep /[^\n]+\n", text)
  end)

  it("shows help, and answers wrong usage with one line and status 2", function()
    local text, status = shell.run(ETHERLUA .. " doctor --help")
    assert.equal(0, status)
    assert.matches("^Usage: etherlua doctor ", text)
    assert.same({ "etherlua: no such interface: nosuch (etherlua doctor lists them)\n", 2 },
      { shell.run(ETHERLUA .. " doctor nosuch") })
    assert.same({ "etherlua: no such interface: a b'c (etherlua doctor lists them)\n", 2 },
      { shell.run(ETHERLUA .. " doctor \"a b'c\"") })
    assert.same({ "etherlua: too many arguments (etherlua doctor --help tells more)\n", 2 },
      { shell.run(ETHERLUA .. " doctor lo lo") })
    assert.same({ 'etherlua: cannot enter network namespace "nosuch": no such file\n', 2 },
      { shell.run(ETHERLUA .. " doctor --netns nosuch") })
  end)
end)
