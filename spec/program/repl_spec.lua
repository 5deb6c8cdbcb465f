-- The prompt as a person meets it, in a real terminal, and as a program does, through a pipe.

local files = require "support.files"
local shell = require "support.shell"
local terminal = require "support.terminal"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"

local root_it = require("support.root_it").as_root
local output_of, keep, close_all = shell.output_of, shell.keep, shell.close_all

local function folder()
  local path = output_of("mktemp -d"):match("[^\n]+")
  keep { close = function() os.execute("rm -rf '" .. path .. "'") end }
  return path
end

local function temporary(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  keep { close = function() os.remove(path) end }
  return path
end

-- A prompt that waits for its first line.
---@param arguments? string[]
---@param opts? table as terminal.start; state: folder of the history
local function prompt(arguments, opts)
  if shell.missing "tmux" then pending(shell.missing "tmux") end
  opts = opts or {}
  local env = { "XDG_STATE_HOME=" .. (opts.state or folder()), unpack(opts.env or {}) }
  local term = keep(terminal.start({ ETHERLUA, "repl", unpack(arguments or {}) },
    { columns = opts.columns, rows = opts.rows, env = env }))
  term:wait_for_last(">")
  return term
end

local function count(text, part)
  local n, at = 0, 1
  while true do
    local first, last = text:find(part, at, true)
    if not first then return n end
    n, at = n + 1, last + 1
  end
end

describe("the prompt", function()
  after_each(close_all)

  it("runs each line, prints the values of expressions, and ends at Ctrl-D as it found the terminal", function()
    local term = prompt()
    term:enter("x = 20 + 1")
    term:enter("2 * x, 'text', nil")
    term:wait_for('\n42  "text"  nil\n')
    term:enter("= x -- the old way")
    term:wait_for("\n21\n")
    term:key("C-d")
    assert.not_matches("spoilt", term:wait_for("status 0"))
  end)

  it("takes a statement of several lines, and gives it up at Ctrl-C", function()
    local term = prompt()
    term:enter("for i = 1, 2 do")
    term:wait_for_last(">>")
    term:enter("print('round ' .. i)")
    term:enter("end")
    term:wait_for("round 1\nround 2\n>")
    term:enter("print('never',")
    term:wait_for_last(">>")
    term:key("C-c")
    term:wait_for_last(">")
    term:enter("'still' .. 'here'")
    assert.not_matches("\nnever", term:wait_for('"stillhere"'))
  end)

  it("says what is wrong with a line and lives", function()
    local term = prompt()
    term:enter("foo bar")
    term:wait_for("prompt:1: '=' expected near 'bar'")
    term:enter("error('boom')")
    term:wait_for("\nprompt:1: boom\n>")
    term:enter("local function deep() error('down') end deep()")
    term:wait_for("in function 'deep'")
    term:enter("'alive' .. '!'")
    term:wait_for('"alive!"')
  end)

  it("completes globals, fields, methods and names of relays", function()
    local term = prompt()
    term:type("ether.sp")
    term:key("Tab")
    term:wait_for_last("> ether.spawn(")
    term:key("C-u")
    term:type("dhcp4_cl")
    term:key("Tab")
    term:wait_for_last("> dhcp4_client")
    term:key("C-u")
    term:enter("a, b = ether.wire() c = a:conn{}")
    term:type("c:recv")
    term:key("Tab")
    assert.matches("recv +recv_frame\n> c:recv$", term:wait_for("recv_frame"))
    term:key("C-u")
    term:type("p.ip")
    term:key("Tab")
    assert.matches("ip4 +ip6 +ipv4 +ipv6\n> p.ip$", term:wait_for("ipv6"))
    term:key("C-u")
    term:type("ether.open('afpacket:l")
    term:key("Tab")
    term:wait_for_last("> ether.open('afpacket:lo")
    term:key("C-u")
    term:type("dofile('dhcp4_cl")
    term:key("Tab")
    term:wait_for_last("> dofile('dhcp4_client")
  end)

  it("shows packets as lines and layers, and the answers to them as lines", function()
    local term = prompt()
    term:enter("a, b = ether.wire() c = a:conn{} h = b:conn{ mac = '02:00:00:00:00:02', multicast = true }")
    term:enter("p.ether { dst = '02:00:00:00:00:02' } / p.arp { tpa = '10.0.0.2' }")
    term:wait_for("ARP who-has 10.0.0.2 tell 0.0.0.0\n    0  ethernet")
    term:enter("{ p.arp { tpa = '10.0.0.7' } }")
    term:wait_for("{ ARP who-has 10.0.0.7 tell 0.0.0.0 }")
    term:enter("h:answer { match = { arp = { op = 1 } }, reply = p.arp {} }")
    term:wait_for("responder on EtherConn 02:00:00:00:00:02: 0 matched")
    term:enter("ether.sr(c, p.arp { tpa = '10.0.0.2' })")
    assert.matches("  ==>  .* is.at 02:00:00:00:00:02  [%d.]+ ms", (term:wait_for(" ms  none\n"):gsub("\n", "")))
  end)

  it("cancels the line that waits on Ctrl-C, and nothing else", function()
    local term = prompt()
    term:enter("a, b = ether.wire() udp = a:conn{}:udp('10.0.0.1:5')")
    term:enter("other = ether.spawn(function() ether.sleep(1000) end)")
    term:enter("ether.defer(function() print('cleaned up') end) print('waits') udp:recv(1000)")
    term:wait_for("\nwaits\n")
    term:key("C-c")
    term:wait_for("cleaned up\n>")
    term:enter("'other runs', not other.done")
    term:wait_for('"other runs"  true')
    term:enter("udp:recv(0)")
    term:wait_for('nil  "timeout"')
  end)

  it("comes back at a second Ctrl-C when a line takes its time to clean up", function()
    local term = prompt()
    term:enter("ether.defer(function() ether.sleep(1000) end) print('waits') ether.sleep(1000)")
    term:wait_for("\nwaits\n")
    term:key("C-c")
    term:wait_for("\n^C")
    os.execute("sleep 0.1") -- else the two may count as one
    term:key("C-c")
    term:wait_for("goes on at its deferred functions")
    term:enter("'back' .. 'again'")
    term:wait_for('"backagain"')
    term:key("C-d")
  end)

  it("gives up the line that is typed on Ctrl-C", function()
    local term = prompt()
    term:type("print('one'")
    term:wait_for_last("> print('one'")
    term:key("C-c")
    term:wait_for("> print('one'^C\n>")
    term:enter("1 + 1")
    term:wait_for("\n2\n")
  end)

  it("can be interrupted when its tasks wait for each other", function()
    local term = prompt()
    term:enter("print('stuck') ether.channel():recv()")
    term:wait_for("\nstuck\n")
    term:key("C-c")
    term:enter("'free' .. 'd'")
    term:wait_for('"freed"')
  end)

  for _, columns in ipairs { 100, 40 } do
    it(("prints what tasks say above the line that is being typed, on %d columns"):format(columns), function()
      local term = prompt(nil, { columns = columns })
      term:enter("t = ether.spawn(function() for i = 1, 5 do ether.sleep(0.2) print('tick ' .. i) end end)")
      local line = "> return 'a line of more than forty columns, which is not touched'"
      term:type(line:sub(3))
      local screen = term:wait_for("tick 5")
      local shown = screen:gsub("\n", "")
      assert.equal(1, count(shown, "a line of more than forty columns"), screen)
      assert.equal(line, shown:sub(-#line))
      for i = 1, 5 do assert.equal(1, count(screen, "tick " .. i)) end
      term:key("Home", "Right", "Right", "Right", "Right", "Right", "Right")
      term:type(" ")
      term:key("BSpace", "Enter")
      term:wait(function(text)
        return text:gsub("\n", ""):find('"a line of more than forty columns, which is not touched"', 1, true)
      end, "the value")
    end)
  end

  it("shows an error in a task of the background with its traceback, and lives", function()
    local term = prompt()
    term:enter("function culprit() local x = nil .. '' end")
    term:enter("t = ether.spawn(function() ether.sleep(0.3) culprit() end)")
    term:type("'half a line' ..")
    local screen = term:wait_for("in function 'culprit'")
    assert.matches("task %d+: prompt:1: attempt to concatenate a nil value\n.*\n> 'half a line' ..$", screen)
    term:enter(" ' and the rest'")
    term:wait_for('"half a line and the rest"')
  end)

  it("tells what tasks wait for, since when and where", function()
    local term = prompt()
    term:enter("a, b = ether.wire() u = a:conn{}:udp('10.0.0.1:5')")
    term:enter("t = ether.spawn(function() u:recv() end)")
    term:enter("tasks()")
    term:wait(function(screen)
      return screen:find("%d+ +%d%.%d s +recv +RUDPConn 10%.0%.0%.1:5 +prompt:1\n") or
        screen:find("%d+ +%d%.%d s +recv RUDPConn 10%.0%.0%.1:5 +prompt:1\n")
    end, "the task")
    term:enter("tasks(t.id)")
    term:wait_for("prompt:1: in function <prompt:1>")
  end)

  it("leaves print, io.write and file:write as it found them", function()
    local script = temporary [[
      local write = getmetatable(io.stdout).__index.write
      local before = { print, io.write, write }
      local function same()
        return print == before[1] and io.write == before[2] and getmetatable(io.stdout).__index.write == before[3]
      end
      local guarded
      require("etherlua.program.repl.repl").main({ "x" }, { scripts = {}, catch_signals = function() end,
        load = function() return function() guarded = not same() end end })
      print(("guarded %s, then as before %s"):format(guarded, same()))
    ]]
    local term = keep(terminal.start({ ETHERLUA, "run", script }, { env = { "XDG_STATE_HOME=" .. folder() } }))
    term:wait_for_last(">")
    term:key("C-d")
    term:wait_for("guarded true, then as before true")
  end)

  it("keeps its history from one run to the next, and searches it", function()
    local state = folder()
    local term = prompt(nil, { state = state })
    term:enter("'first ' .. 1")
    term:enter("'second ' .. 2")
    term:wait_for('"second 2"')
    term:key("C-d")
    term:wait_for("status 0")
    assert.matches("second", files.read_all(state .. "/etherlua/history"))

    term = prompt(nil, { state = state })
    term:key("Up", "Up", "Enter")
    term:wait_for('\n"first 1"')
    term:key("C-r")
    term:type("sec")
    term:wait_for("bck:sec")
    term:key("Enter")
    term:wait_for('\n"second 2"')
  end)

  it("is in colours, unless NO_COLOR is set", function()
    local function colours(env)
      local term = prompt(nil, { env = env })
      term:enter("'col' .. 'our'")
      term:wait_for('"colour"')
      local pipe = assert(io.popen(("tmux -S %s capture-pane -e -p -t spec"):format(term.socket)))
      local text = pipe:read("*a")
      pipe:close()
      return text:find("\27[32m", 1, true) ~= nil
    end
    assert.is_true(colours {})
    assert.is_false(colours { "NO_COLOR=1" })
  end)

  it("runs a script first, whose globals the lines see", function()
    local term = prompt { temporary("answer = 42 print('script ran')") }
    term:enter("answer + 1")
    assert.matches("script ran", term:wait_for("\n43\n"))
  end)

  it("cancels at the end what is still running", function()
    local term = prompt()
    term:enter("ether.spawn(function() ether.defer(function() print('closed') end) ether.sleep(1000) end)")
    term:wait_for("task ")
    term:key("C-d")
    assert.matches("closed\n", term:wait_for("status 0"))
  end)

  it("leaves the terminal as it was when SIGTERM ends it", function()
    local term = prompt()
    term:enter("'pid ' .. io.open('/proc/self/stat'):read('*n')")
    local pid = term:wait_for('"pid '):match('"pid (%d+)"')
    os.execute("kill " .. pid)
    assert.not_matches("spoilt", term:wait_for("status"))
  end)

  root_it("leases an address in its lab, talks with the echo service, and sees the frames", function()
    local term = prompt { "--lab" }
    term:enter("lease = dhcp4_client.lease(conn)")
    term:enter("lease.ip, lease.router")
    term:wait_for('"10.0.0.10"  "10.0.0.1"')
    term:enter("udp:set_addr(lease.ip .. ':5000')")
    term:enter("ether.spawn(function() ether.sleep(0.3) udp:send('hello', '10.0.0.1:7') end)")
    term:enter("sniff(relay, 'vlan 100 and udp port 7')")
    term:wait_for("IPv4 10.0.0.10:5000 > 10.0.0.1:7")
    term:wait_for("IPv4 10.0.0.1:7 > 10.0.0.10:5000")
    term:key("C-c")
    term:wait_for("2 frames\n>")
    term:enter("udp:recv(1)")
    term:wait_for('"hello"  10.0.0.1:7')
    term:enter("stats()")
    term:wait_for("RUDPConn 10.0.0.10:5000  received 1")
  end)
end)

-- ---- no terminal --------------------------------------------------------------------------------------------------

describe("lines through a pipe", function()
  after_each(close_all)

  -- Exit status and output, errors included.
  local function piped(lines, arguments)
    local out = output_of(("timeout 20 %s repl %s <%s 2>&1; echo status $?"):format(ETHERLUA, arguments or "",
      temporary(lines)))
    local text, status = out:match("^(.*)status (%d+)\n$")
    return tonumber(status), text
  end

  it("are run, their values printed without a prompt or colours, with status 0", function()
    assert.same({ 0, '3\n"x"  nil\nhi\n' }, { piped("1 + 2\n'x', nil\nprint('hi')\n") })
    assert.same({ 0, "7\n" }, { piped("function f()\n  return 7\nend\nf()") })
  end)

  it("end with status 1 when one of them failed, and are all run", function()
    assert.same({ 1, "stdin:2: boom\n3\n" }, { piped("x = 1\nerror('boom')\n3\n") })
    assert.same({ 1, "stdin:1: '=' expected near 'bar'\n3\n" }, { piped("foo bar\n3\n") })
    local status, text = piped("for i = 1, 2 do\n")
    assert.equal(1, status)
    assert.matches("'end' expected", text)
  end)

  it("may block, and spawned tasks are waited for", function()
    assert.same({ 0, "task 3\nnow\nlate\n" }, { piped("ether.spawn(function() ether.sleep(0.1) print('late') end)\n"
      .. "ether.sleep(0.01) print('now')\n") })
  end)

  it("end with status 1 when a task of theirs fails", function()
    local status, text = piped("t = ether.spawn(function() error('lost') end)\nether.sleep(0.05)\n'on'\n")
    assert.equal(1, status)
    assert.matches('task %d+: stdin:1: lost\n"on"\n$', text)
  end)

  it("show frames layer by layer, and bytes", function()
    local status, text = piped((([[
      a, b = ether.wire()
      conn, peer = a:conn{ mac = "02:00:00:00:00:01", vlans = "100.200" }, b:default_conn()
      conn:udp("10.0.0.1:5"):send("hello", "10.0.0.2:7")
      peer:recv_frame(1)
      hex("hello")]]):gsub("\n +", "\n"):gsub("^ +", "")))
    assert.equal(0, status)
    assert.matches("\n +0  ethernet +.*\n +22  ipv4 +.*\n +42  udp +.*\n +50  data +.*\n0000  68 65 6c 6c 6f", text)
  end)

  it("sniff as the tool does: a filter is about what is behind the tags; of a host what is its own", function()
    local _, text = piped((([[
      a, b = ether.wire()
      h, x = a:host { mac = "02:00:00:00:00:01", vlans = "5.6" }, a:conn { mac = "02:00:00:00:00:02", vlans = 7 }
      function send() h.conn:send(ping, "02:00:00:00:00:09"); x:send(ping, "02:00:00:00:00:09") a:flush() end
      ping = p.ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / p.icmp { type = 8 }
      function try(...) t = ether.spawn(sniff, ...) ether.sleep(0.01) send() ether.sleep(0.01) t:cancel() t:join() end
      try(a, "icmp")
      try(b, "udp")
      try(h, "icmp")
      try(x)]]):gsub("\n +", "\n"):gsub("^ +", "")))
    assert.same({ "2", "0", "1", "1" }, { text:match "(%d) frames.-(%d) frames.-(%d) frames.-(%d) frames" })
    assert.matches("00:01 > [%x:]+ vlan 5.6 [^\n]*\n1 frames\n.*00:02 > [%x:]+ vlan 7 [^\n]*\n1 frames\n$", text)
  end)

  it("can ask for help", function()
    local _, text = piped("help()\nhelp(ether.sleep)\nhelp(ether)\nhelp(sniff)\n")
    assert.matches("tasks%(%)", text)
    assert.matches("Prints every frame in and out", text)
  end)

  root_it("get a clear word when there is no such interface", function()
    local status, text = piped("", "-i nosuchif")
    assert.equal(2, status)
    assert.matches("^etherlua: no such interface: nosuchif\n", text)
  end)

  it("get a clear word when the command line is wrong", function()
    local status, text = piped("", "--vlan 5000")
    assert.same({ 2, "etherlua: bad VLAN ID 5000: 0 to 4094 is allowed (etherlua repl --help tells more)\n" },
      { status, text })
    status, text = piped("", "nosuch")
    assert.equal(2, status)
    assert.matches("^etherlua: no such script: nosuch", text)
  end)
end)
