-- --user: the process gives up its rights when its relays are open, and goes on without.

local files = require "support.files"
local lab = require "etherlua.lab.lab"
local nobody = require "support.nobody"
local program = require "support.program"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"
local terminal = require "support.terminal"

local TELL = [[
  local status = io.open("/proc/self/status"):read "*a"
  local function tell() print(status:match "Uid:\t%d+", status:match "Gid:\t%d+", status:match "Groups:[^\n]*",
    status:match "CapEff:%s*0+\n" and status:match "CapPrm:%s*0+\n" and "no capability",
    status:match "NoNewPrivs:\t1") end
]]
local NOBODY = "Uid:\t65534\tGid:\t65534\tGroups:\t65534 \tno capability\tNoNewPrivs:\t1\n"

describe("--user", function()
  local net, everybodys, own_path

  -- Modules that are not loaded yet have to be where that user may read them.
  setup(function()
    everybodys, own_path = nobody.copy(), program.PATH
    program.PATH = everybodys.path
  end)

  teardown(function()
    program.PATH = own_path
    everybodys:close()
  end)

  after_each(function()
    if net then net:close() end
    net = nil
  end)

  local function run(arguments, script)
    net = net or lab.new()
    local path = script and files.temporary(script)
    if path then shell.output_of("chmod 644 " .. path) end
    local status, out, err = program.run(net.near, arguments .. " " .. (path and path .. " " or ""))
    if path then os.remove(path) end
    return status, out, err
  end

  for _, kind in ipairs { "afpacket", "xdp", "pcap" } do
    root_it(("makes the process that user when the relay is open, which goes on: %s"):format(kind), function()
      net = lab.new()
      local before = net.near:run "ethtool -k eth0 | grep rx-vlan-offload"
      local far = net.far:enter(require("etherlua").open, "afpacket:eth0", { filter = "" })
      local status, out, err = run(("-i %s:eth0 --user nobody"):format(kind), [[
        local ether = require "etherlua"
        local relay = ether.relay()
      ]] .. TELL .. [[
        tell()
        local conn = relay:conn { mac = "02:00:00:00:00:09" }
        relay:conn { mac = "02:00:00:00:00:0a", ethertypes = { 0x88b5 } }
        relay:filter "arp"
        conn:send(("x"):rep(46), "02:00:00:00:00:01", { ethertype = 0x88b5 })
        ether.sleep(0.01)
        print(tonumber(relay:stats().tx_sent))]])
      far:close()
      assert.same({ 0, NOBODY .. "1\n", "" }, { status, out, err })
      assert.is_nil(net.near:run "ip -d link show eth0":find "xdp")
      assert.equal(before, net.near:run "ethtool -k eth0 | grep rx-vlan-offload")
      assert.is_nil(net.near:run "ip -d link show eth0":find "promiscuity [1-9]")
    end)
  end

  root_it("waits for the relays that a script opens by itself, until it waits first", function()
    local status, out = run("--user nobody", [[
      local ether = require "etherlua"
      local a, b = ether.open "eth0", ether.open "eth0"
      ether.sleep(0)
    ]] .. TELL .. [[
      tell()
      print(select(2, pcall(ether.open, "eth0")))
      print(select(2, pcall(ether.lab)))]])
    assert.equal(0, status)
    assert.equal(NOBODY, out:match "^[^\n]*\n")
    assert.matches("CAP_NET_RAW is missing.*%(rights were given up for %-%-user nobody: relays are opened before%)\n",
      out)
    assert.matches("labs and their namespaces need the rights that %-%-user nobody gives up\n$", out)
  end)

  root_it("goes for a script that opens no relay, and may stand behind its name", function()
    local path = files.temporary(TELL:gsub("local status", "require('etherlua').sleep(0) %0") .. " tell()")
    shell.output_of("chmod 644 " .. path)
    net = lab.new()
    assert.same({ 0, NOBODY, "" }, { program.run(net.near, "--user=nobody " .. path) })
    os.remove(path)
    local status, _, err = program.run(net.near, "traffic -i eth0 --to eth0 --user nobody --count 1 --rate 1000 --json")
    assert.is_true(status == 3 or status == 0, err) -- eth0 hears nothing of itself
    assert.is_nil(err:find "privilege")
  end)

  root_it("captures on, and what is opened later is that user's", function()
    local folder = shell.output_of "mktemp -d":gsub("\n", "")
    finally(function() os.execute("rm -rf " .. folder) end)
    shell.output_of("chmod 777 " .. folder)
    local status = run(("--user nobody sniff -i eth0 --capture %s/all --write %s/shown --duration 0.05"):format(folder,
      folder))
    assert.equal(0, status)
    assert.equal("600 root\n600 nobody\n", shell.output_of(("cd %s && stat -c '%%a %%U' all shown"):format(folder)))
  end)

  root_it("is refused up front where it cannot be, with one line", function()
    local function refused(arguments, words)
      local status, out, err = run(arguments)
      assert.same({ 2, "" }, { status, out }, err)
      assert.equal(("etherlua: %s\n"):format(words), err)
    end
    refused("--user nosuchuser sniff -i eth0", "there is no user nosuchuser")
    refused("sniff --user root -i eth0", "root has all rights: another user than root is needed")
    refused("ping --lab --user nobody 10.0.0.1", "--lab and --user given: one of them is allowed, for labs need rights")
    local text, status = shell.run("setpriv --reuid=1 --regid=1 --clear-groups env -u ETHERLUA_LIB " ..
      program.PATH .. " run --user nobody sniff -i eth0")
    assert.same({ "etherlua: only root may become another user, such as nobody\n", 2 }, { text, status })
    text, status = shell.run(program.PATH .. " repl --user nobody")
    assert.same({ "etherlua: --user needs -i: later no relay can be opened\n", 2 }, { text, status })
    text, status = shell.run(program.PATH .. " test --user nobody spec")
    assert.equal(2, status)
    assert.matches("^etherlua: %-%-user is for run and repl: each test opens relays", text)
  end)

  root_it("is good for the user's own name: the rights of the program's file go", function()
    local copy = nobody.copy()
    finally(function() copy:close() end)
    shell.output_of("setcap cap_net_raw+ep " .. copy.path)
    net = lab.new()
    local script = copy.folder .. "/script.lua"
    files.write(script, "local relay = require('etherlua').relay()\n" .. TELL .. "tell()")
    local out = net.near:run(("%s%s run -i eth0 --user nobody %s"):format(nobody.AS, copy.path, script))
    assert.equal((NOBODY:gsub("65534 \t", " \t")), out)
  end)

  root_it("is there for the prompt, whose history is kept on", function()
    local missing = shell.missing "tmux"
    if missing then return pending(missing) end
    local state = shell.output_of "mktemp -d":gsub("\n", "")
    finally(function() os.execute("rm -rf " .. state) end)
    local term = shell.keep(terminal.start({ program.PATH, "repl", "-i", "lo", "--user", "nobody" },
      { env = { "XDG_STATE_HOME=" .. state } }))
    finally(function() shell.close_all() os.execute("rm -rf " .. state) end)
    term:wait_for "\n>"
    term:enter "io.open('/proc/self/status'):read('*a'):match('Uid:.%d+')"
    term:wait_for "65534"
    assert.matches("Uid", files.read_all(state .. "/etherlua/history"))
    assert.equal("600\n700\n", shell.output_of(("cd %s/etherlua && stat -c %%a history ."):format(state)))
  end)
end)
