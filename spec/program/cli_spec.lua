-- The program as people run it: what it prints and returns, what it says to bad input, how it ends, what is left then.

local cjson = require "cjson"
local lab = require "etherlua.lab.lab"
local nobody = require "support.nobody"
local root_it = require("support.root_it").as_root
local eventually = require("support.wait").eventually

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local KILL, INT, TERM, USR1, HUP = 9, 2, 15, 10, 1

local function read_all(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("*a")
  file:close()
  return text
end

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- Runs a shell command; returns exit status, standard output, standard error.
local function shell(command)
  local out, err = os.tmpname(), os.tmpname()
  local status = tonumber(output_of(("( %s ) >%s 2>%s </dev/null; echo $?"):format(command, out, err)))
  local texts = { read_all(out), read_all(err) }
  os.remove(out)
  os.remove(err)
  return status, texts[1], texts[2]
end

local function etherlua(arguments)
  return shell(("timeout 20 %s %s"):format(ETHERLUA, arguments))
end

local function is_alive(pid)
  local state = read_all("/proc/" .. pid .. "/stat"):match("%) (%a)")
  return state ~= nil and state ~= "Z"
end

-- Things of one test; closed behind it, the last first.
local made = {}

local function keep(x)
  made[#made + 1] = x
  return x
end

local function close_all()
  while #made > 0 do table.remove(made):close() end
end

local function temporary(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text or "")
  file:close()
  keep { close = function() os.remove(path) end }
  return path
end

-- Starts the program in a namespace (default ours), its output in a log.
local function start(ns, ...)
  return (ns or keep(lab.open())):start({ ETHERLUA, ... }, { log = temporary() })
end

local function wait_for(process, text)
  assert(eventually(function() return process:log():find(text, 1, true) or process:status() end))
  assert.is_truthy(process:log():find(text, 1, true), process:log())
end

local function signal(process, number)
  os.execute(("kill -%d %d"):format(number, process.pid))
end

describe("the etherlua program", function()
  after_each(close_all)

  -- ---- what it says -----------------------------------------------------------------------------------------------

  it("shows help and its version on standard output, with status 0", function()
    for _, arguments in ipairs { "--help", "-h", "run --help", "run -h", "run dhcp4_client --help" } do
      local status, out, err = etherlua(arguments)
      assert.same({ 0, "" }, { status, err })
      assert.matches("^Usage: ", out)
    end
    assert.same({ 0, "etherlua 0.1.0\n", "" }, { etherlua("--version") })
  end)

  it("lists the shipped scripts in the help of run", function()
    local _, out = etherlua("run --help")
    assert.matches("dhcp4_client, .*dhcp4_server", (out:gsub("%s+", " ")))
  end)

  local CLIENT = "run dhcp4_client -i lo "
  local MORE = " (dhcp4_client --help tells more)"
  local SHIPPED = " (shipped are "
  -- arguments, beginning of the one line on standard error, its end
  local WRONG = {
    { "", "no command given (etherlua --help)" },
    { "frob", 'unknown command "frob": run, repl, test or doctor is allowed (etherlua --help)' },
    { "run", "no script given (etherlua run --help lists those that are shipped)" },
    { "run --frob x", "unknown option '--frob' (etherlua run --help tells more)" },
    { "run -i", "option '-i' requires an argument (etherlua run --help tells more)" },
    { "run nosuch", "no such script: nosuch" .. SHIPPED, ")" },
    { "run /tmp", "cannot read the script /tmp: Is a directory" },
    { "run --netns nosuch dhcp4_client", 'cannot enter network namespace "nosuch": no such file' },
    { "run dhcp4_client", "no relay: give -i SPEC, such as -i afpacket:eth1, or --lab for a network of its own" },
    { "run dhcp4_client -i nosuchif", "no such interface: nosuchif", root = true },
    { "run dhcp4_client -i nosuch:lo", 'unknown relay kind in "nosuch:lo": KIND:NAME with KIND one of afpacket', "" },
    { "run dhcp4_client -i ''", 'bad interface name "": 1 to 127 characters' },
    { CLIENT .. "--frob", "unknown option '--frob'" .. MORE },
    { CLIENT .. "extra", "too many arguments" .. MORE },
    { CLIENT .. "--mac 02:00", 'bad MAC address "02:00": six pairs of hex digits are needed, such as '
      .. "02:00:00:11:22:33" .. MORE },
    { CLIENT .. "--mac 01:00:5e:00:00:01", "bad MAC address \"01:00:5e:00:00:01\": a host's is no group address" ..
      MORE },
    { CLIENT .. "--vlan 4095", "bad VLAN ID 4095: 0 to 4094 is allowed" .. MORE },
    { CLIENT .. "--vlan 5000", "bad VLAN ID 5000: 0 to 4094 is allowed" .. MORE },
    { CLIENT .. "--vlan 100.x", "bad VLAN ID x: 0 to 4094 is allowed" .. MORE },
    { CLIENT .. "--vlan 1.2.3.4.5", "bad VLAN stack: 5 tags given, at most 4 are allowed" .. MORE },
    { CLIENT .. "--count 0", 'bad value "0": a whole number from 1 to 1000000 is allowed' .. MORE },
    { CLIENT .. "--rate x", 'bad value "x": 0.001 to anything is allowed' .. MORE },
    { CLIENT .. "--request ::1", 'bad IPv4 address "::1": such as 10.0.0.1 is needed' .. MORE },
    { CLIENT .. "--arp-probe x", "argument for option '--arp-probe' must be one of 'quick', 'rfc', 'off'" .. MORE },
    { CLIENT .. "--option 60", 'bad option "60": NAME=VALUE or CODE=VALUE is needed' .. MORE },
    { CLIENT .. "--option lease_time=x", "bad DHCP option lease_time x: 0 to 4294967295 is allowed" .. MORE },
    { CLIENT .. "--option nosuch=x", 'unknown DHCP option "nosuch": a code from 1 to 254 is needed, or one of ', MORE },
    { "run dhcp4_server -i lo --pool 10.0.0.1-x", 'bad pool "10.0.0.1-x": FIRST-LAST such as ',
      "10.0.0.10-10.0.0.254 is needed", root = true },
    { "run dhcp4_server -i lo --pool 10.0.0.9-10.0.0.1", "bad pool \"10.0.0.9-10.0.0.1\": the first address is behind",
      " the last", root = true },
    { CLIENT .. "--capture /nowhere/x", "cannot write capture file /nowhere/x: No such file or directory",
      root = true },
    { CLIENT .. "--option 43=" .. ("a"):rep(65600), "DHCP messages with these options need up to ", " fit the MTU of "
      .. "afpacket:lo", root = true },
  }

  for _, wrong in ipairs(WRONG) do
    local arguments, first, last = wrong[1], "etherlua: " .. wrong[2], (wrong[3] or "") .. "\n"
    it(("answers %q with one clear line and status 2"):format(arguments:sub(1, 60)), function()
      if wrong.root and not require("support.shell").is_root then return pending("needs root") end
      local status, out, err = etherlua(arguments)
      assert.same({ 2, "" }, { status, out })
      assert.equal(first, err:sub(1, #first))
      assert.equal(last, err:sub(-#last))
      assert.equal(1, select(2, err:gsub("\n", "")))
      if not wrong[3] then assert.equal(#first + #last, #err) end
    end)
  end

  it("says in one line that a script does not parse, where and why", function()
    local path = temporary("local x =\n= 3\n")
    assert.same({ 2, "", ("etherlua: cannot load the script: %s:2: unexpected symbol near '='\n"):format(path) },
      { etherlua("run " .. path) })
  end)

  root_it("tells a script of a bad filter, and of a payload over the MTU, in the first line", function()
    local status, _, err = etherlua("run " .. temporary([[require "etherlua".open("lo", { filter = "frob and" })]]))
    assert.equal(1, status)
    assert.matches('^etherlua: [^\n]*:1: bad filter "frob and": ', err)
    status, _, err = etherlua("run " .. temporary([[
      local a = require "etherlua".wire { mtu = 1500 }
      a:conn { mac = "02:00:00:00:00:01" }:send(("x"):rep(1501), "02:00:00:00:00:02", { ethertype = 0x0800 })
    ]]))
    assert.equal(1, status)
    assert.matches("^etherlua: [^\n]*payload of 1501 bytes does not fit: up to 1500 are allowed\n", err)
  end)

  root_it("names the missing capability and how to give it, with status 1", function()
    local status, out, err = shell(nobody.AS .. keep(nobody.copy()).path .. " run dhcp4_client -i lo")
    assert.same({ 1, "" }, { status, out })
    assert.matches("^etherlua: no privilege to open lo: CAP_NET_RAW is missing %(run as root, or: setcap "
      .. "cap_net_raw%+ep %S+%)\n$", err)
  end)

  -- ---- scripts ----------------------------------------------------------------------------------------------------

  it("runs a script by path, with its arguments in arg and ...", function()
    local path = temporary("print(arg[0], #arg, arg[1], arg[2], select('#', ...), ...)")
    local status, out = etherlua("run --json " .. path .. " --json 'b c'")
    assert.same({ 0, path .. "\t2\t--json\tb c\t2\t--json\tb c\n" }, { status, out })
  end)

  it("runs a shipped script by name, with and without .lua, from any folder", function()
    local program = output_of("realpath " .. ETHERLUA):match("[^\n]+")
    for _, name in ipairs { "dhcp4_client", "dhcp4_client.lua" } do
      assert.equal(0, (shell(("cd / && %s run %s --help"):format(program, name))))
    end
  end)

  it("ends with the number that the script returns, or 0", function()
    assert.equal(0, (etherlua("run " .. temporary("return"))))
    assert.equal(0, (etherlua("run " .. temporary("return 'text'"))))
    assert.equal(3, (etherlua("run " .. temporary("return 3"))))
    assert.equal(77, (etherlua("run " .. temporary("return 77"))))
  end)

  it("prints with --trace-tasks what tasks do, on standard error", function()
    local path = temporary [[
      local ether = require "etherlua"
      print(select("#", ...))
      ether.spawn(function() ether.sleep(0.001) end):join()
    ]]
    local status, out, err = etherlua("run --trace-tasks " .. path .. " --trace-tasks")
    assert.same({ 0, "1\n" }, { status, out })
    assert.equal("task 1 spawned by the engine\ntask 2 spawned by task 1\ntask 1 waits for task 2\n"
      .. "task 2 sleeps, 0.001 s at most\ntask 2 woken by the engine\ntask 2 ends: returned\n"
      .. "task 1 woken by task 2\ntask 1 ends: returned\n", (("\n" .. err):gsub("\n%d+%.%d%d%d%d%d%d ", "\n"):sub(2)))
  end)

  local SPAWN = { spawned = 'require "etherlua".spawn', background = 'require "etherlua.core.sched".spawn_background' }

  for kind, how in pairs(SPAWN) do
    it(("ends with status 1 and the traceback of a %s task that fails"):format(kind), function()
      local path = temporary(how .. "(function()\n  require 'etherlua'.sleep(0.01)\n  local x = nil .. ''\nend)\n"
        .. "require 'etherlua'.sleep(10)\n")
      local status, out, err = etherlua("run " .. path)
      assert.same({ 1, "" }, { status, out })
      assert.equal(("etherlua: %s:3: attempt to concatenate a nil value\nstack traceback:\n"):format(path),
        err:match("^.-\n.-\n"))
    end)
  end

  -- ---- the client script ------------------------------------------------------------------------------------------

  root_it("prints a line a client and a summary", function()
    local status, out, err = etherlua("run dhcp4_client --lab --mac 02:00:00:00:00:01 --vlan 100.200 --count 2")
    assert.same({ 0, "" }, { status, err })
    for _, last in ipairs { "1", "2" } do
      assert.matches(("02:00:00:00:00:0%s vlan 100%%.200  10%%.0%%.0%%.1[01]/8  router 10%%.0%%.0%%.1  "
        .. "server 10%%.0%%.0%%.1  lease 3600 s  [%%d.]+ ms\n"):format(last), out)
    end
    assert.matches("\n2 of 2 bound in [%d.]+ s %(%d+/s%)\n$", out)
  end)

  root_it("prints JSON objects with exactly the promised names, one a line", function()
    local status, out = etherlua("run --json dhcp4_client --lab --mac 02:00:00:00:00:01 --vlan 0")
    assert.equal(0, status)
    local first, second = out:match("^([^\n]+)\n([^\n]+)\n$")
    assert.matches('^{"mac":"02:00:00:00:00:01","vlans":"0","ip":"10.0.0.10","mask":"255.0.0.0","router":"10.0.0.1",'
      .. '"server":"10.0.0.1","lease_time":3600,"elapsed_ms":[%d.e+-]+}$', first)
    assert.matches('^{"clients":1,"bound":1,"failed":0,"seconds":[%d.e+-]+,"rate":[%d.e+-]+}$', second)
    assert.is_true(cjson.decode(first).elapsed_ms > 0 and cjson.decode(second).seconds > 0)
  end)

  root_it("ends with status 3 when a client gets no lease, and says why", function()
    local ns = keep(lab.new()).near
    for json, expected in pairs { [""] = "  no lease: no offer\n0 of 1 bound ", ["--json"] = '"error":"no offer"}\n'
      .. '{"clients":1,"bound":0,"failed":1,' } do
      local client = start(ns, "run", "dhcp4_client", "-i", "eth0", "--tries", "1", "--timeout", "0.1",
        json ~= "" and json or nil)
      assert.equal(3, client:wait(5))
      assert.is_truthy(client:log():find(expected, 1, true), client:log())
    end
  end)

  root_it("enters the network namespace that --netns names, before or behind the script", function()
    local net = keep(lab.new())
    wait_for(start(net.far, "run", "dhcp4_server", "-i", "eth0", "--pool", "10.0.0.10-10.0.0.20"), "serving")
    local holder = net.near:start { "sleep", "60" }
    for _, arguments in ipairs { "--netns %d dhcp4_client -i eth0", "dhcp4_client -i eth0 --netns %d",
      "--netns /proc/%d/ns/net -i eth0 dhcp4_client" } do
      assert.equal(0, (etherlua("run " .. arguments:format(holder.pid))))
    end
  end)

  root_it("writes a capture that tcpdump reads, with the VLAN tags inside", function()
    local path = temporary()
    assert.equal(0, (etherlua(("run --capture %s dhcp4_client --lab --vlan 100.200"):format(path))))
    local text, count = "\n" .. output_of("tcpdump -enr " .. path .. " 2>/dev/null"), 0
    for line in text:gmatch("[^\n]+ vlan 100, p 0, ethertype 802%.1Q %(0x8100%), vlan 200, p 0[^\n]+") do
      if line:find("BOOTP/DHCP", 1, true) then count = count + 1 end
    end
    assert.equal(5, count, text) -- DISCOVER, OFFER, REQUEST, ACK, RELEASE
  end)

  root_it("works in a lab as user nobody, where user namespaces are allowed", function()
    if shell(nobody.AS .. "unshare -Un true") ~= 0 then return pending("user namespaces are not allowed here") end
    local status, out, err = shell(nobody.AS .. keep(nobody.copy()).path .. " run --lab dhcp4_client --vlan 100")
    assert.same({ 0, "" }, { status, err })
    assert.matches(" vlan 100  10%.0%.0%.10/8 ", out)
  end)

  root_it("does not complain when its reader goes away early", function()
    local _, out, err = shell(("timeout 20 %s run dhcp4_client --lab --count 100 | head -1"):format(ETHERLUA))
    assert.matches("^%S+  10%.0%.0%.%d+/8 [^\n]+\n$", out)
    assert.equal("", err)
  end)

  root_it("runs twice at once, on the same interface", function()
    local net, clients = keep(lab.new()), {}
    wait_for(start(net.far, "run", "dhcp4_server", "-i", "eth0", "--pool", "10.0.0.10-10.0.0.99"), "serving")
    for i = 1, 2 do
      clients[i] = start(net.near, "run", "dhcp4_client", "-i", "eth0", "--count", "20", "--mac",
        ("02:00:00:00:0%d:00"):format(i))
    end
    for _, client in ipairs(clients) do
      assert.equal(0, client:wait(10), client:log())
      assert.is_truthy(client:log():find("20 of 20 bound", 1, true))
    end
  end)

  -- ---- how it ends ------------------------------------------------------------------------------------------------

  for name, number in pairs { ["Ctrl-C"] = INT, SIGTERM = TERM, SIGHUP = HUP } do
    root_it("releases the leases that it holds and prints the summary on " .. name, function()
      local net = keep(lab.new())
      local server = start(net.far, "run", "dhcp4_server", "-i", "eth0", "--pool", "10.0.0.10-10.0.0.20")
      wait_for(server, "serving")
      local client = start(net.near, "run", "dhcp4_client", "-i", "eth0", "--hold", "--count", "2", "--mac",
        "02:00:00:00:00:01")
      wait_for(client, "02:00:00:00:00:01  10.0.0.1")
      wait_for(client, "02:00:00:00:00:02  10.0.0.1")
      os.execute("sleep 0.1")
      assert.is_nil(client:status())
      assert.equal(0, client:stop(number))
      assert.matches("\n2 of 2 bound in [%d.]+ s %(%d+/s%)\n$", client:log())
      assert.equal(0, server:stop(number))
      assert.matches("\ndiscover 2, offer 2, request 2, ack 2, release 2\n$", server:log())
    end)
  end

  root_it("prints the summary with status 3 on Ctrl-C while it still waits for an offer", function()
    local client = start(keep(lab.new()).near, "run", "dhcp4_client", "-i", "eth0", "--trace")
    wait_for(client, "DISCOVER")
    assert.equal(3, client:stop(INT))
    assert.matches("\n0 of 1 bound in [%d.]+ s %(0/s%)\n$", client:log())
  end)

  root_it("cancels a script's tasks on Ctrl-C, with status 130 unless it says another", function()
    local program = start(nil, "run", temporary [[
      local ether = require "etherlua"
      ether.defer(function() print("closed") end)
      print("up")
      ether.sleep(60)
      print("not cancelled")
    ]])
    wait_for(program, "up")
    assert.equal(130, program:stop(INT))
    assert.equal("up\nclosed\n", program:log())
  end)

  root_it("ends at once on the second Ctrl-C", function()
    local program = start(nil, "run", temporary [[
      local ether = require "etherlua"
      ether.defer(function() print("closing") ether.sleep(60) print("closed") end)
      print("up")
      ether.sleep(60)
    ]])
    wait_for(program, "up")
    signal(program, INT)
    wait_for(program, "closing")
    assert.is_nil(program:wait(0.2))
    signal(program, INT)
    assert.equal(128 + INT, program:wait(1))
    assert.equal("up\nclosing\n", program:log())
  end)

  root_it("says on SIGUSR1 what every task waits for, every time, and goes on", function()
    local program = start(nil, "run", temporary [[
      local ether = require "etherlua"
      local a = ether.wire()
      ether.spawn(function() a:conn { mac = "02:00:00:00:00:07" }:recv(60) end)
      ether.defer(function() print("deferred") end)
      print("up")
      ether.sleep(60)
    ]])
    wait_for(program, "up")
    for _ = 1, 3 do
      local before = #program:log()
      signal(program, USR1)
      assert.is_true(eventually(function()
        local said = program:log():sub(before + 1)
        return said:find "^task +for +waits in +where\n +1 +[%d.]+ s +sleep +lua_%w+:6\n"
          and said:find "\n +2 +[%d.]+ s +recv EtherConn 02:00:00:00:00:07 +lua_%w+:3\n$" and true
      end), program:log())
    end
    assert.is_nil(program:status())
    assert.equal(130, program:stop(INT))
    assert.matches("\ndeferred\n$", program:log())
  end)

  root_it("is not stopped in a system call by SIGUSR1, nor brought nearer to its end", function()
    local program = start(nil, "run", temporary [[
      local ether = require "etherlua"
      print("up")
      print(#io.popen("sleep 0.5; echo x"):read "*a")
      ether.sleep(0)
      print(require("etherlua.core.sched").was_interrupted())
    ]])
    wait_for(program, "up")
    for _ = 1, 3 do
      signal(program, USR1)
      os.execute "sleep 0.05"
    end
    assert.equal(0, program:wait(10))
    assert.matches("^up\n2\ntask [^\n]*\n[^\n]*\nfalse\n$", program:log())
  end)

  root_it("leaves no promiscuous interface behind when it is killed", function()
    local ns = keep(lab.new()).near
    local function promiscuity() return ns:run("ip -d link show eth0"):match("promiscuity (%d+)") end
    local program = start(ns, "run", "dhcp4_server", "-i", "eth0", "--pool", "10.0.0.10-10.0.0.20")
    wait_for(program, "serving")
    assert.equal("1", promiscuity())
    program:stop(KILL)
    assert.equal("0", promiscuity())
  end)

  root_it("leaves no namespace and no process behind when it is killed in a lab", function()
    local program = start(nil, "run", "dhcp4_client", "--lab", "--hold")
    wait_for(program, "lease")
    local inodes = {}
    for inode in output_of("ls -l /proc/" .. program.pid .. "/fd"):gmatch("net:%[(%d+)%]") do
      inodes[#inodes + 1] = inode
    end
    assert.equal(2, #inodes)
    local function is_held()
      local all = output_of("ls -l /proc/[0-9]*/ns/net /proc/[0-9]*/fd 2>/dev/null")
      for _, inode in ipairs(inodes) do
        if all:find("net:[" .. inode .. "]", 1, true) then return true end
      end
    end
    assert.is_true(is_held())
    local session = program.pid
    program:stop(KILL)
    assert.is_truthy(eventually(function() return not is_held() end))
    assert.equal("", output_of("ps -o pid= -s " .. session))
    assert.is_false(is_alive(session))
  end)
end)
