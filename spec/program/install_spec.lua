-- The ways the program gets to a machine: make install, one portable file, a Debian package; and that an ordinary user
-- may run it once its file has capabilities. Everything happens below folders of its own and in labs.

local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local nobody = require "support.nobody"
local shell = require "support.shell"
local wait = require "support.wait"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local SANITIZED = ETHERLUA:find("/san/", 1, true) ~= nil
local MAKE = "env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory "

local root_it = require("support.root_it").as_root
local output_of, succeeds, is_root = shell.output_of, shell.succeeds, shell.is_root
local keep, close_all = shell.keep, shell.close_all

-- A new folder that everybody may enter.
local function new_folder()
  local folder = output_of "mktemp -d":match "[^\n]+"
  keep { close = function() os.execute("rm -rf " .. folder) end }
  output_of("chmod 755 " .. folder)
  return folder
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

-- A script that tells which version runs, and where the engine and the modules are.
local WHERE = [[
  local ether, maps = require "etherlua", io.open("/proc/self/maps"):read("*a")
  print(ether.version, debug.getinfo(ether.open, "S").source, maps:match("%S+libetherlua.so"))
]]

-- Runs the program from elsewhere, with nothing in the environment.
local function run(program, arguments)
  return shell.run(('cd / && env -i PATH="$PATH" timeout 30 %s %s'):format(program, arguments))
end

-- That it works, and takes all that is etherlua's from below `root`.
local function assert_runs_from(root)
  local program, script = root .. "/bin/etherlua", write(new_folder() .. "/where.lua", WHERE)
  assert.same({ "etherlua 0.1.0\n", 0 }, { run(program, "--version") })
  assert.same({ ("0.1.0\t@%s/share/lua/5.1/etherlua/relay/relay.lua\t%s/lib/libetherlua.so\n"):format(root, root), 0 },
    { run(program, "run " .. script) })
  local text, status = run(program, "run dhcp4_server --help")
  assert.equal(0, status)
  assert.matches("^Usage: dhcp4_server", text)
end

-- ---- make install -------------------------------------------------------------------------------------------------

describe("make install", function()
  after_each(close_all)

  local SAN = SANITIZED and " SAN=1" or ""
  -- What a tree has besides etherlua; uninstalling leaves these folders, which others may use.
  local SHARED = { ".", "./bin", "./lib", "./share", "./share/doc", "./share/lua", "./share/lua/5.1", "./share/man",
    "./share/man/man1" }

  local function make(target, settings)
    output_of(MAKE .. target .. " " .. settings .. SAN)
  end

  it("makes a tree that works wherever PREFIX is", function()
    local folder = new_folder()
    make("install", "PREFIX=" .. folder)
    assert_runs_from(folder)
    for _, path in ipairs { "share/man/man1/etherlua.1", "share/etherlua/luals/etherlua/init.lua",
      "share/doc/etherlua/index.html", "share/doc/etherlua/10-recipes.html" } do
      assert.is_true(succeeds(("test -s %s/%s"):format(folder, path)), path)
    end
  end)

  it("stages below DESTDIR what is meant for PREFIX", function()
    local folder = new_folder()
    make("install", ("DESTDIR=%s PREFIX=/opt/x"):format(folder))
    assert_runs_from(folder .. "/opt/x")
    assert.equal("opt\n", output_of("ls -A " .. folder))
  end)

  it("is undone by make uninstall, which leaves what is others'", function()
    local folder = new_folder()
    output_of(("cd %s && mkdir -p lib share/lua/5.1 && touch lib/other.so share/lua/5.1/other.lua"):format(folder))
    make("install", "PREFIX=" .. folder)
    make("uninstall", "PREFIX=" .. folder)
    assert.equal("./lib/other.so\n./share/lua/5.1/other.lua\n",
      output_of(("cd %s && find . ! -type d | sort"):format(folder)))
    for path in output_of(("cd %s && find . -type d"):format(folder)):gmatch "[^\n]+" do
      assert.is_true((" " .. table.concat(SHARED, " ") .. " "):find(" " .. path .. " ", 1, true) ~= nil, path)
    end
  end)
end)

-- ---- make portable ------------------------------------------------------------------------------------------------

local portable -- path of the program, once it is built

-- Builds it when this run has not yet. Returns nil after saying why it is not tried.
local function build_portable()
  if SANITIZED then return pending("the portable program is built without sanitizers") end
  if os.getenv "FAST" then return pending("needs packages of its own") end
  if not portable then
    output_of(MAKE .. "portable")
    portable = output_of "realpath build/portable/etherlua":match "[^\n]+"
  end
  return portable
end

-- A copy of it, alone in its folder.
local function portable_copy(folder)
  output_of(("cp %s %s/etherlua"):format(portable, folder))
  return folder .. "/etherlua"
end

local function portable_it(name, fn, needs_root)
  it(name, function()
    if needs_root and not is_root then return pending("needs root") end
    if build_portable() then fn() end
  end)
end

local LIBC = { ["libc.so.6"] = true, ["libm.so.6"] = true, ["libdl.so.2"] = true, ["libpthread.so.0"] = true,
  ["ld-linux-x86-64.so.2"] = true }

describe("the portable program", function()
  after_each(close_all)

  -- A root folder with the program and libc, besides what the kernel and every system have.
  local function new_root()
    local root = new_folder()
    output_of(("mkdir %s/proc %s/sys %s/dev"):format(root, root, root))
    portable_copy(root)
    return root
  end

  -- Copies the shared libraries of a program to where they are looked for.
  local function copy_libraries(root, program)
    for path in output_of("ldd " .. program):gmatch "(/%S+) %(0x" do
      output_of(("cp -L --parents %s %s"):format(path, root))
    end
  end

  -- Programs that labs need, in /bin.
  local function add_programs(root)
    output_of(("mkdir %s/bin && cp $(command -v busybox) $(command -v ip) %s/bin"):format(root, root))
    for _, name in ipairs { "sh", "grep", "sleep" } do output_of(("ln -s busybox %s/bin/%s"):format(root, name)) end
    for _, name in ipairs { "busybox", "ip" } do copy_libraries(root, "$(command -v " .. name .. ")") end
  end

  local CHROOT = [[unshare --mount sh -ec 'cd %s
    mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev
    exec env -i PATH=/bin timeout 30 $(command -v chroot) . /etherlua "$@"' sh %s]]

  local function run_in(root, arguments) return shell.run(CHROOT:format(root, arguments)) end

  portable_it("needs the shared libraries of libc alone", function()
    local count = 0
    for name in output_of("objdump -p " .. portable):gmatch "NEEDED%s+(%S+)" do
      assert.is_true(LIBC[name], name)
      count = count + 1
    end
    assert.is_true(count > 0)
  end)

  portable_it("runs as a copy, with the engine, all modules and the scripts inside", function()
    local folder = new_folder()
    local program, script = portable_copy(folder), write(new_folder() .. "/where.lua", WHERE)
    assert.same({ "etherlua 0.1.0\n", 0 }, { run(program, "--version") })
    assert.same({ "0.1.0\t@etherlua/relay/relay.lua\tnil\n", 0 }, { run(program, "run " .. script) })
    local names = output_of("cd scripts && ls *.lua"):gsub("%.lua\n$", ""):gsub("%.lua\n", ", ")
    assert.is_truthy(run(program, "run --help"):gsub("%s+", " "):find(names, 1, true))
    for _, name in ipairs { "dhcp4_client", "dhcp4_load.lua", "dhcp4_server" } do
      local text, status = run(program, ("run %s --help"):format(name))
      assert.equal(0, status, text)
      assert.matches("^Usage: " .. name:gsub("%.lua", ""), text)
    end
    assert.same({ ("etherlua: no such script: nosuch (shipped are %s)\n"):format(names), 2 },
      { run(program, "run nosuch") })
    assert.equal("etherlua\n", output_of("ls -A " .. folder))
  end)

  portable_it("has every module of the tree, and no other comes before it", function()
    local folder = new_folder()
    local program = portable_copy(folder)
    output_of(("mkdir -p %s/m/etherlua"):format(folder))
    write(folder .. "/m/etherlua/init.lua", "error 'the wrong module'")
    local script = { ("package.path = '%s/m/?.lua;%s/m/?/init.lua'; package.cpath = ''"):format(folder, folder) }
    for path in output_of "cd lua && find . -name '*.lua'":gmatch "%./([^\n]+)%.lua" do
      local name = path:gsub("/init$", ""):gsub("/", ".")
      -- What tests use needs busted, which is the machine's.
      local loader = name:find "^etherlua%.test" and "package.preload[%q]" or "require %q"
      script[#script + 1] = ("assert(%s)"):format(loader:format(name))
    end
    assert.is_true(#script > 30)
    script[#script + 1] = "require 'argparse' require 'cjson' print 'all'"
    assert.same({ "all\n", 0 }, { run(program, "run " .. write(folder .. "/all.lua", table.concat(script, "\n"))) })
  end)

  portable_it("names file and line of a module in its errors", function()
    local script = write(new_folder() .. "/bad.lua", 'require "etherlua.net.bytes".u16(nil, 1)')
    assert.matches("^etherlua: etherlua/net/bytes%.lua:%d+: bad argument ", (run(portable, "run " .. script)))
  end)

  portable_it("runs in a root folder that holds libc and nothing else", function()
    local root = new_root()
    copy_libraries(root, portable)
    assert.same({ "etherlua 0.1.0\n", 0 }, { run_in(root, "--version") })
    assert.matches("^Usage: dhcp4_load", (run_in(root, "run dhcp4_load --help")))
    local text, status = run_in(root, "doctor")
    assert.equal(3, status)
    assert.matches("\n  ok       LuaJIT 2%.1[^\n]+compiler on\n", text)
    assert.matches("\n  problem  no ip, no tc, no ethtool: ", text)
    assert.same({ "etherlua: labs need the program sh, in /bin\n", 2 }, { run_in(root, "run --lab dhcp4_client") })
  end, true)

  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    portable_it(("leases an address over %s in a lab, in a root folder with ip and a shell"):format(kind), function()
      if not succeeds "command -v busybox" then return pending("needs the program busybox") end
      local root = new_root()
      copy_libraries(root, portable)
      add_programs(root)
      local text, status = run_in(root, ("run --lab -i %s dhcp4_client --vlan 100.200"):format(kind))
      assert.equal(0, status, text)
      assert.matches(" vlan 100%.200  10%.0%.0%.10/8 ", text)
    end, true)
  end
end)

-- ---- make deb -----------------------------------------------------------------------------------------------------

describe("the Debian package", function()
  local deb

  after_each(close_all)

  local function deb_it(name, fn)
    it(name, function()
      if SANITIZED then return pending("packages are built without sanitizers") end
      if shell.missing "dpkg-deb" then return pending(shell.missing "dpkg-deb") end
      if not deb then
        output_of(MAKE .. "deb")
        deb = output_of "realpath build/etherlua_0.1.0_$(dpkg --print-architecture).deb":match "[^\n]+"
      end
      fn()
    end)
  end

  deb_it("says what it is, and depends on the packages of all that it loads", function()
    assert.equal("etherlua 0.1.0\n", output_of(("dpkg-deb -W --showformat='${Package} ${Version}\\n' %s"):format(deb)))
    local depends = ", " .. output_of(("dpkg-deb -f %s Depends"):format(deb)):gsub("\n", ",")
    for _, name in ipairs { "libc6", "libluajit%-5%.1%-2", "libpcap0%.8[%w]*", "libxdp1", "libbpf%d", "lua%-argparse",
      "lua%-cjson", "iproute2" } do
      assert.matches(", " .. name .. "[ ,]", depends)
    end
  end)

  deb_it("has files below /usr only, which belong to root", function()
    local count = 0
    for owner, path in output_of("dpkg-deb -c " .. deb):gmatch "%S+ (%S+) +%d+ %S+ %S+ %.(/[^\n]*)" do
      assert.equal("root/root", owner)
      assert.is_true(path == "/" or path:find "^/usr/" ~= nil, path)
      count = count + 1
    end
    assert.is_true(count > 50)
  end)

  deb_it("unpacks to a tree that works", function()
    local root = new_folder()
    output_of(("dpkg-deb -x %s %s"):format(deb, root))
    assert_runs_from(root .. "/usr")
  end)

  deb_it("is installed and removed by dpkg, which leaves nothing", function()
    if not is_root then return pending("needs root") end
    local root = new_folder()
    output_of(("cd %s && mkdir -p var/lib/dpkg/info var/lib/dpkg/updates && touch var/lib/dpkg/status"):format(root))
    local dpkg = ("dpkg --root=%s --force-depends --force-script-chrootless --log=%s/log "):format(root, root)
    output_of(dpkg .. "-i " .. deb)
    assert_runs_from(root .. "/usr")
    output_of(dpkg .. "-r etherlua")
    assert.equal("log\nvar\n", output_of("ls " .. root))
  end)
end)

-- ---- capabilities on the file -------------------------------------------------------------------------------------

describe("a program with capabilities on its file", function()
  local net

  after_each(function()
    close_all()
    leaks.check()
  end)

  -- The least that each kind needs.
  local NEEDS = { afpacket = { "cap_net_raw" }, pcap = { "cap_net_raw" },
    xdp = { "cap_net_raw", "cap_net_admin", "cap_bpf", "cap_ipc_lock" } }
  local TWO_FILES, ONE_FILE = "installed", "portable"

  local function place(form)
    local folder = new_folder()
    if form == ONE_FILE then return build_portable() and portable_copy(folder) end
    if SANITIZED then return pending("the sanitizer wants no capabilities on the file") end
    output_of(MAKE .. "install PREFIX=" .. folder)
    return folder .. "/bin/etherlua"
  end

  -- As ordinary users have it: no locked memory to speak of.
  local function as_nobody(ns, program, arguments)
    return ns:enter(shell.run, ("prlimit --memlock=65536 %stimeout 30 %s %s"):format(nobody.AS, program, arguments))
  end

  -- For each form of the program: fn(program, give), where give(capabilities) puts these on its file.
  local function capable_it(name, fn)
    for _, form in ipairs { TWO_FILES, ONE_FILE } do
      root_it(("(%s) %s"):format(form, name), function()
        if not succeeds "command -v setcap" then return pending("needs the program setcap") end
        local program = place(form)
        if not program then return end
        if not succeeds(("setcap cap_net_raw+ep %s"):format(program)) then
          return pending("the file system of " .. program .. " has no capabilities")
        end
        if not succeeds(nobody.AS .. program .. " --version") then return pending("nobody may not run " .. program) end
        fn(program, function(list) output_of(("setcap %s+ep %s"):format(table.concat(list, ","), program)) end)
      end)
    end
  end

  -- A network with a DHCP server at its far end.
  local function serve()
    net = keep(lab.new())
    local log = new_folder() .. "/log"
    local server = net.far:start({ ETHERLUA, "run", "dhcp4_server", "-i", "eth0", "--pool", "10.0.0.10-10.0.0.99" },
      { log = log })
    wait.for_log(server, "serving")
    return net
  end

  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    local name = ("leases an address over %s as user nobody, with no more than it needs"):format(kind)
    capable_it(name, function(program, give)
      give(NEEDS[kind])
      local near = serve().near
      local before = near:run "ethtool -k eth0; ip -d link show eth0"
      local text, status = as_nobody(near, program, ("run dhcp4_client -i %s:eth0 --vlan 100"):format(kind))
      assert.equal(0, status, text)
      assert.matches(" vlan 100  10%.0%.0%.%d+/8 ", text)
      assert.equal(before, near:run "ethtool -k eth0; ip -d link show eth0")
    end)
  end

  local MISSING = {
    cap_net_raw = "^etherlua: no privilege to open eth0: CAP_NET_RAW is missing %(run as root, or: setcap "
      .. "cap_net_raw%+ep /%S+/etherlua%)\n$",
    cap_net_admin = "no privilege for XDP: CAP_BPF and CAP_NET_ADMIN are missing %(run as root; outside of labs also: "
      .. "setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock%+ep PROGRAM%)\n$",
    cap_ipc_lock = "^etherlua: no locked memory for %d+ frames: ulimit %-l unlimited, or CAP_IPC_LOCK\n$",
  }
  MISSING.cap_bpf = MISSING.cap_net_admin

  capable_it("says which capability is missing when one of xdp's is", function(program, give)
    net = keep(lab.new())
    for i, missing in ipairs(NEEDS.xdp) do
      local list = { unpack(NEEDS.xdp) }
      table.remove(list, i)
      give(list)
      local text, status = as_nobody(net.near, program, "run dhcp4_client -i xdp:eth0")
      assert.equal(missing == "cap_ipc_lock" and 2 or 1, status)
      assert.matches(MISSING[missing], text)
    end
  end)

  capable_it("makes labs in a user namespace, whatever its capabilities", function(program, give)
    if not succeeds(nobody.AS .. "unshare -Un true") then return pending("user namespaces are not allowed here") end
    local here = keep(lab.open())
    local all = { unpack(NEEDS.xdp) }
    all[#all + 1] = "cap_sys_admin"
    for _, list in ipairs { NEEDS.afpacket, NEEDS.xdp, all } do
      give(list)
      local text, status = as_nobody(here, program, "run --lab dhcp4_client")
      assert.equal(0, status, text)
      text, status = as_nobody(here, program, "run --lab -i xdp dhcp4_client")
      assert.equal(2, status)
      assert.matches(MISSING.cap_bpf, text)
    end
  end)

  capable_it("enters a network namespace with CAP_SYS_ADMIN, and says so without", function(program, give)
    local holder, here = serve().near:start { "sleep", "60" }, keep(lab.open())
    local name = "etherlua-spec-" .. output_of(("readlink /proc/%d/ns/net"):format(holder.pid)):match "%d+"
    output_of(("ip netns attach %s %d"):format(name, holder.pid))
    keep { close = function() os.execute("ip netns delete " .. name) end }
    local by_name = ("run --netns %s dhcp4_client -i eth0"):format(name)
    assert.same({ ('etherlua: cannot enter network namespace "%s": not permitted (run as root, or give the program '
      .. "CAP_SYS_ADMIN too)\n"):format(name), 2 }, { as_nobody(here, program, by_name) })
    give { "cap_net_raw", "cap_sys_admin" }
    local text, status = as_nobody(here, program, by_name)
    assert.equal(0, status, text)
    -- A process of another user's does not tell which one is its.
    assert.same({ ('etherlua: cannot enter network namespace "%d": not permitted (run as root)\n'):format(holder.pid),
      2 }, { as_nobody(here, program, ("run --netns %d dhcp4_client -i eth0"):format(holder.pid)) })
  end)

  -- As exec leaves a program that got its rights by the file, on kernels that see to it.
  root_it("makes labs also when its files in /proc are root's", function()
    if not succeeds(nobody.AS .. "unshare -Un true") then return pending("user namespaces are not allowed here") end
    local script = write(new_folder() .. "/lab.lua", [[
      local ffi = require "ffi"
      ffi.cdef "int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long);"
      ffi.C.prctl(4, 0, 0, 0, 0) -- PR_SET_DUMPABLE
      assert(require "etherlua.lab.lab".root())
      print(io.open("/proc/self/uid_map"):read "*a")
    ]])
    assert.matches("^%s+0%s+65534%s+1\n", (shell.run(nobody.AS .. keep(nobody.copy()).path .. " run " .. script)))
  end)
end)
