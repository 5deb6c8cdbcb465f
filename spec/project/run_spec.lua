-- The test run itself, on spec files made for it: what it prints, what it counts as failed, and that it leaves nothing.

local root_it = require "support.root_it"
local shell = require "support.shell"

local SANITIZER = os.getenv "SANITIZER"
local BUSTED = "BUSTED=\"env -u FAST %s luajit $(command -v busted) --ignore-lua %s\" "
local RUN = BUSTED .. "%s luajit spec/support/run.lua 4 %d %s/logs %s"

local folder

before_each(function() folder = shell.output_of("mktemp -d"):match "%S+" end)
after_each(function() os.execute("rm -r " .. folder) end)

local function write(name, text)
  local file = assert(io.open(("%s/%s_spec.lua"):format(folder, name), "w"))
  file:write(text)
  file:close()
end

-- What it prints, and its exit status. given: limit (seconds), arguments (of busted), before (a command that runs it).
local function run(sources, given)
  given = given or {}
  for name, text in pairs(sources) do write(name, text) end
  return shell.run(RUN:format(SANITIZER and "LD_PRELOAD=" .. SANITIZER or "", given.arguments or "", given.before or "",
    given.limit or 60, folder, folder))
end

local function last_line(text) return text:match "([^\n]*)\n$" end

local PASSES = 'it("passes", function() end)'

describe("the test run", function()
  it("prints a line for a file that passes, the slowest, and the totals last of all", function()
    local text, status = run { a = PASSES, b = PASSES .. 'it("waits", function() pending "no time" end)' }
    assert.same({ 0, "3 passed, 0 failed, 1 skipped" }, { status, (last_line(text):gsub("^2", "3")) })
    assert.matches("a_spec.lua +1 passed, 0 failed, 0 skipped", text)
    assert.matches("\nskipped: waits: no time\n", text)
    assert.matches("\nslowest:\n +%S+_spec.lua +[%d.]+ s\n", text)
  end)

  it("shows all that a file that fails has printed, with status 1", function()
    local text, status = run { a = 'it("fails", function() print "beside" assert.equal(1, 2) end)', b = PASSES }
    assert.same({ 1, "1 passed, 1 failed, 0 skipped" }, { status, last_line(text) })
    assert.matches("\n[^\n]*beside\n", text)
    assert.matches("FAILED: %S+a_spec.lua:1: fails\n", text)
    assert.matches("\nfailed:\n +%S+a_spec.lua +1\n", text)
  end)

  for what, case in pairs {
    ["crashes"] = { 'os.execute "kill -ABRT $PPID"', "ended without totals, with status 134, in: dies" },
    ["leaves early"] = { "os.exit(3)", "ended without totals, with status 3, in: dies" },
    ["hangs"] = { "while true do end", "took longer than 10 s and was ended, in: dies", 10 },
  } do
    it(("counts a file that %s as failed, says so, and runs the others"):format(what), function()
      local text, status = run({ a = ('it("dies", function() %s end)'):format(case[1]), b = PASSES },
        { limit = case[3] })
      assert.same({ 1, "1 passed, 1 failed, 0 skipped" }, { status, last_line(text) })
      assert.truthy(text:find("a_spec.lua " .. case[2] .. "\n", 1, true), text)
    end)
  end

  it("counts a file without tests as failed, but not when only some were asked for", function()
    local text, status = run { a = "", b = PASSES }
    assert.same({ 1, "1 passed, 1 failed, 0 skipped" }, { status, last_line(text) })
    assert.matches("a_spec.lua has no tests\n", text)
    text, status = run({ a = PASSES, b = 'it("runs", function() end)' }, { arguments = "--filter=runs" })
    assert.same({ 0, "1 passed, 0 failed, 0 skipped" }, { status, last_line(text) })
  end)

  it("fails when nothing ran at all", function()
    local text, status = run {}
    assert.same({ 1, "0 passed, 0 failed, 0 skipped" }, { status, last_line(text) })
  end)

  it("runs files side by side, and those that say so alone, behind the others", function()
    local NOTE = [[it("notes", function()
      local file = assert(io.open("%s/notes", "a"))
      file:setvbuf "no"
      file:write "begin "
      os.execute "sleep 0.5"
      file:write "end "
    end)]]
    local note = NOTE:format(folder)
    local alone = "-- Runs alone: for a spec.\n" .. note
    assert.equal(0, select(2, run { a = alone, b = note, c = note, d = alone }))
    assert.equal("begin begin end end begin end begin end ", shell.output_of(("cat %s/notes"):format(folder)))
  end)

  -- Whether a process with this word in its command is there.
  local function is_running(word)
    return shell.succeeds(("grep -qsz '^%s$' /proc/[0-9]*/cmdline"):format(word))
  end

  root_it.as_root("ends what a file has left behind", function()
    local word = "98" .. folder:byte(-1) .. folder:byte(-2) .. folder:byte(-3)
    local text, status = run { a = ([[it("leaves", function()
      os.execute "setsid sleep %s >/dev/null 2>&1 &"
    end)]]):format(word) }
    assert.equal(0, status, text)
    assert.is_false(is_running(word))
  end)

  root_it.as_root("ends all that it has started at Ctrl-C", function()
    local word = "97" .. folder:byte(-1) .. folder:byte(-2) .. folder:byte(-3)
    local source = ('it("sleeps", function() os.execute "touch %s/up; setsid sleep %s" end)'):format(folder, word)
    local interrupting = [[sh -c 'env --default-signal=INT "$@" & until [ -e %s/up ]; do sleep 0.05; done
      kill -INT $!; wait $!' sh]]
    local text, status = run({ a = source }, { before = interrupting:format(folder) })
    assert.not_equal(0, status, text)
    assert.is_true(shell.succeeds(("test -e %s/up"):format(folder)))
    require("support.wait").eventually(function() return not is_running(word) end)
    assert.is_false(is_running(word))
  end)
end)
