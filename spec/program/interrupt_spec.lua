-- Ctrl-C while code runs that never waits: at the prompt it ends that code and nothing else, of a script it ends the
-- run, whose deferred functions run where LuaJIT can be asked to leave the code.

local runners = require "support.runners"
local shell = require "support.shell"
local terminal = require "support.terminal"

describe("Ctrl-C at the prompt", function()
  local term, state

  before_each(function()
    if shell.missing "tmux" then return pending(shell.missing "tmux") end
    state = runners.new()
    term = terminal.start({ runners.PROGRAM, "repl" }, { env = { "XDG_STATE_HOME=" .. state.path } })
    term:wait_for_last ">"
  end)

  after_each(function()
    if not term then return end
    term:close()
    state:close()
  end)

  it("interrupts a line that never waits, whatever it does, and nothing else", function()
    term:enter "other = ether.spawn(function() ether.sleep(1000) end)"
    for i, code in ipairs {
      "while true do end",
      "while true do io.stderr:write('') end",
      "while true do ether.now() end",
      "while true do pcall(function() while true do end end) end",
      "coroutine.wrap(function() while true do end end)()",
    } do
      term:enter(("ether.defer(function() print('deferred %d') end) print('spins %d') %s"):format(i, i, code))
      term:wait_for(("\nspins %d\n"):format(i))
      term:key("C-c", "C-c") -- whoever is impatient does not lose the session
      term:wait_for(("interrupted at prompt:1\ndeferred %d\n>"):format(i))
    end
    term:enter "'other runs', not other.done"
    term:wait_for '"other runs"  true'
  end)

  it("ends a task of the background that never waits, and leaves the line that waits alone", function()
    term:enter("ether.spawn(function() ether.sleep(0.2) io.stderr:write('spins\\n') while true do end end)")
    term:enter "ether.sleep(0.5) print 'slept'"
    term:wait_for "\nspins\n"
    term:key "C-c"
    term:wait_for "interrupted at prompt:1\n"
    term:wait_for "slept\n>"
  end)
end)

describe("Ctrl-C of etherlua run", function()
  local folder

  before_each(function() folder = runners.new() end)
  after_each(function() folder:close() end)

  local function interrupted(body)
    folder:write("a.lua", 'local ether = require "etherlua" ether.defer(function() print "deferred" end) print "up"\n'
      .. body)
    local status, out = folder:interrupted("INT", "up", runners.PROGRAM .. " run a.lua")
    assert.equal(130, status, out)
    return out
  end

  it("ends a loop that never waits, says where, and runs what is deferred", function()
    for _, loop in ipairs {
      "while true do end",
      "local n = 0 while true do n = n + 1 ether.now() end",
      "while true do print(pcall(error)) end",
      "while true do pcall(function() while true do local _ = function() end end end) end",
      "coroutine.wrap(function() while true do coroutine.yield() end end)() while true do (function() end)() end",
    } do
      local out = interrupted(loop)
      assert.matches("etherlua: interrupted at a.lua:2, in code that never waits\n", out)
      assert.matches("\ndeferred\n$", out)
    end
  end)

  it("ends a task that catches its cancellation and goes on without waiting, and leaves it time for what it has to do",
    function()
      local out = interrupted [[
        pcall(ether.sleep, 100)
        local stop = ether.now() + 0.3
        while ether.now() < stop do local function f() end f() end
        print "summary"
        while true do local function f() end f() end
      ]]
      assert.matches("summary\netherlua: interrupted at a.lua:6, in code that never waits\ndeferred\n$", out)
    end)

  it("ends the process where there is no way out of compiled code, and says where and what did not run", function()
    local out = interrupted "local n = 0 while true do n = n + 1 if n < 0 then print(n) end end"
    assert.matches("\netherlua: interrupted at a.lua:2, in compiled code that never waits: " ..
      "deferred functions have not run\n$", out)
  end)
end)
