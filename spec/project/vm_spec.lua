-- The runner of `make test-vm`, with a qemu that boots nothing: what it says of machines that cannot be, that end too
-- early, hang or have failures, and that it leaves nothing.

local files = require "support.files"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"
local eventually = require("support.wait").eventually

local TOTALS = "echo slowest:; echo '2 passed, 0 failed, 1 skipped'\n"

local folder

before_each(function() folder = shell.output_of("mktemp -d"):match "%S+" end)
after_each(function() os.execute("rm -r " .. folder) end)

local function program(name, text)
  files.write(folder .. "/bin/" .. name, "#!/bin/sh\n" .. text)
  shell.output_of(("chmod +x %s/bin/%s"):format(folder, name))
end

-- The command that runs it, with programs of ours in place of qemu, and of those that make an initramfs.
local function command(qemu, variables, arguments)
  shell.output_of(("mkdir -p %s/bin %s/kernel/lib/modules/6.1.0-test && touch %s/kernel/vmlinuz"):format(folder, folder,
    folder))
  program("qemu-system-x86_64", qemu)
  for _, name in ipairs { "cpio", "depmod", "modprobe" } do program(name, "exit 0") end
  return ("PATH=%s/bin:$PATH BUSTED=false %s %s spec/vm/all.lua %s full tcg %s"):format(folder, variables or "",
    shell.LUAJIT, folder, arguments or "e1000")
end

local function last_line(text) return text:match "([^\n]*)\n?$" end

describe("make test-vm", function()
  it("names the NICs that there are, when it does not know one", function()
    local text, status = shell.run(command("", "", "virtio ne2000"))
    assert.equal(2, status)
    assert.equal('test-vm: unknown NIC "ne2000": any of virtio virtio4 vmxnet3 e1000e e1000 are allowed\n', text)
  end)

  it("is skipped where there is no qemu, and says so", function()
    local text, status = shell.run("luajit=$(command -v luajit); LD_PRELOAD= PATH=/nowhere $luajit spec/vm/all.lua " ..
      folder .. " full tcg")
    assert.same({ 0, "0 passed, 0 failed, 1 skipped" }, { status, last_line(text) })
    assert.matches("^skipped: no qemu%-system%-x86_64 %(Debian package qemu%-system%-x86%)\n", text)
  end)

  root_it("is skipped where the kernel cannot be downloaded, and says so", function()
    local line = command ""
    program("apt-cache", "exit 100")
    os.execute(("rm -r %s/kernel"):format(folder))
    local text, status = shell.run(line)
    assert.same({ 0, "0 passed, 0 failed, 1 skipped" }, { status, last_line(text) })
    assert.matches("^skipped: no kernel: apt%-get knows no package linux%-image%-amd64", text)
  end)

  root_it("adds up what the parts of a machine's run print, and tells equal reasons of skipping together", function()
    local text, status = shell.run(command("echo 'skipped: one: no need'; echo 'skipped: two: no need'\n" ..
      TOTALS:rep(3)))
    assert.same({ 0, "6 passed, 0 failed, 3 skipped" }, { status, last_line(text) })
    assert.matches("\n  skipped: 2 times: no need\n", text, 1, true)
  end)

  root_it("has status 1 when a spec failed, and shows what that printed", function()
    local text, status = shell.run(command("echo '1 passed, 1 failed, 0 skipped'; echo 'FAILED: it breaks'\n" ..
      "echo slowest:; echo '1 passed, 1 failed, 0 skipped'\n" .. TOTALS:rep(2)))
    assert.same({ 1, "5 passed, 1 failed, 2 skipped" }, { status, last_line(text) })
    assert.matches("FAILED: it breaks", text, 1, true)
  end)

  root_it("has status 1 when the machine ended early, and shows what its console said", function()
    local text, status = shell.run(command(("echo 'Kernel panic - not syncing: no' >%s/console\n"):format(folder) ..
      TOTALS .. "echo '[1/2] spec/x_spec.lua   3 passed, 0 failed, 0 skipped  1.00 s'"))
    assert.same({ 1, "5 passed, 1 failed, 1 skipped" }, { status, last_line(text) })
    assert.matches("\nFAILED: e1000: the machine ended before its tests did\n", text, 1, true)
    assert.matches("| Kernel panic - not syncing: no\n", text, 1, true)
  end)

  root_it("has status 1 when the machine hangs, which it ends", function()
    local text, status = shell.run(command("exec sleep 12345", "VM_LIMIT=1"))
    assert.same({ 1, "0 passed, 1 failed, 0 skipped" }, { status, last_line(text) })
    assert.matches("\nFAILED: e1000: took longer than 1 s and was ended\n", text, 1, true)
    assert.is_false(shell.succeeds "pgrep -f '^sleep 12345$'")
  end)

  for _, signal in ipairs { "INT", "KILL" } do
    root_it("leaves nothing when it is ended by SIG" .. signal, function()
      files.write(folder .. "/run.sh", "exec env --default-signal=INT " ..
        command(("echo >%s/runs; exec sleep 23456"):format(folder)))
      local pid = shell.output_of(("setsid sh %s/run.sh >/dev/null 2>&1 & echo $!"):format(folder)):match "%d+"
      assert.is_true(eventually(function() return shell.succeeds(("test -e %s/runs"):format(folder)) end, 60))
      shell.output_of(("kill -%s %s"):format(signal, pid))
      assert.is_true(eventually(function() return not shell.succeeds "pgrep -f '^sleep 23456$'" end))
      assert.is_nil(files.read_all("/proc/mounts"):find(folder, 1, true))
      assert.is_false(shell.succeeds "ip link show near")
    end)
  end
end)
