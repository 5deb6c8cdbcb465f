-- `make test-distro` itself, where no Debian is made: what it refuses, why it is skipped, and that nothing of it is
-- left. debootstrap(8) is a stand-in here: the real one needs a mirror, and minutes.

local files = require "support.files"
local nobody = require "support.nobody"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"
local wait = require "support.wait"

local SKIPPED = "\n0 passed, 0 failed, 1 skipped\n$"

describe("testing in another Debian", function()
  local folder, luajit

  -- A folder with what it is made of, everybody's to enter, and programs of the test's own in front of the machine's.
  before_each(function()
    folder = shell.output_of "mktemp -d":match "%S+"
    luajit = shell.output_of "command -v luajit":match "%S+"
    shell.output_of(("mkdir -p %s/bin %s/spec && cp -r spec/distro %s/spec && chmod -R a+rX %s"):format(folder, folder,
      folder, folder))
  end)

  after_each(function() os.execute("rm -rf " .. folder) end)

  local function program(name, text)
    files.write(("%s/bin/%s"):format(folder, name), "#!/bin/sh\n" .. text .. "\n")
    shell.output_of(("chmod 755 %s/bin/%s"):format(folder, name))
  end

  -- words: in front of it. path: where else programs are.
  local function command(arguments, words, path)
    return ("env -u LD_PRELOAD -C %s PATH=%s/bin:%s %s %s spec/distro/run.lua %s"):format(folder, folder,
      path or "$PATH", words or "", luajit, arguments)
  end

  local function exists(name) return shell.succeeds(("test -e %s/build/distro/%s"):format(folder, name)) end

  it("refuses one that it does not know, and says which ones it does, with status 2", function()
    assert.same({ "test-distro: DISTRO=sid is not known: bookworm and trixie are\n", 2 },
      { shell.run(command "sid") })
    assert.same({ "test-distro: DISTRO= is not known: bookworm and trixie are\n", 2 }, { shell.run(command "''") })
  end)

  root_it("is skipped for ordinary users", function()
    assert.same({ "skipped: needs root\n0 passed, 0 failed, 1 skipped\n", 0 },
      { shell.run(command("trixie", nobody.AS)) })
  end)

  root_it("is skipped, with the reason, without debootstrap", function()
    program("id", "echo 0")
    assert.same({ "skipped: needs the program debootstrap\n0 passed, 0 failed, 1 skipped\n", 0 },
      { shell.run(command("trixie", "", "/nowhere")) })
  end)

  root_it("is skipped, with what debootstrap says, where it cannot make one", function()
    program("debootstrap", "mkdir $4; echo I: trying; echo E: no such mirror; echo I: bye; exit 1")
    local text, status = shell.run(command "trixie")
    assert.equal(0, status)
    assert.matches("\nskipped: no root of trixie can be made: E: no such mirror" .. SKIPPED, text)
    assert.is_false(exists "trixie")
  end)

  root_it("makes one anew where that of an earlier run is broken", function()
    program("debootstrap", "echo E: asked for $3; exit 1")
    shell.output_of(("mkdir -p %s/build/distro/trixie/etc"):format(folder))
    local text = shell.run(command "trixie")
    assert.matches("\n  root +that of an earlier run is broken: [^\n]+\n  root +is being made", text)
    assert.matches("\nskipped: no root of trixie can be made: E: asked for trixie" .. SKIPPED, text)
    assert.is_false(exists "trixie")
  end)

  -- Starts it in a process group of its own, as a terminal does; returns the group once debootstrap has mounted, and
  -- then sleeps.
  local function start(seconds)
    program("debootstrap", ("mkdir -p $4/proc; mount -t proc proc $4/proc; touch up; exec sleep %s"):format(seconds))
    local group = shell.output_of(("setsid %s >/dev/null 2>&1 & echo $!"):format(command "trixie")):match "%d+"
    assert.is_true(wait.eventually(function() return shell.succeeds(("test -e %s/up"):format(folder)) end))
    return group
  end

  for signal, who in pairs { INT = "-%s", KILL = "%s" } do -- Ctrl-C is for the group
    root_it("leaves no process and no mount behind SIG" .. signal, function()
      local seconds = "96" .. folder:byte(-1) .. folder:byte(-2) .. folder:byte(-3)
      local group = start(seconds)
      local function is_running() return shell.succeeds(("grep -qsz '^%s$' /proc/[0-9]*/cmdline"):format(seconds)) end
      assert.is_true(wait.eventually(is_running)) -- soon after that
      shell.output_of(("kill -%s "):format(signal) .. who:format(group))
      assert.is_true(wait.eventually(function() return not is_running() end))
      assert.is_false(shell.succeeds("grep -qs " .. folder .. " /proc/mounts"))
    end)
  end

  root_it("is not done twice at once", function()
    local group = start(60)
    local text, status = shell.run(command "trixie")
    os.execute("kill -KILL " .. group)
    assert.same({ "FAILED: another run is in build/distro/trixie\n0 passed, 1 failed, 0 skipped\n", 1 },
      { text, status })
  end)
end)
