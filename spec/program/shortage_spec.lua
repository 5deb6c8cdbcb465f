-- What is said when something has run out, or is not there: the true cause, in one line, whatever libraries make of it.

local lab = require "etherlua.lab.lab"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local SANITIZED = os.getenv "SANITIZER" and "sanitizers need more themselves"

describe("too few", function()
  local net

  setup(function()
    if shell.is_root then net = lab.new() end
  end)

  teardown(function()
    if net then net:close() end
  end)

  -- Runs it with a limit in the near namespace: it works, or says these words in one line.
  local function check(limit, arguments, words)
    local text, status = net.near:enter(shell.run, ("( %s; exec %s run %s )"):format(limit, ETHERLUA, arguments))
    if status == 0 then return true end
    assert.matches(words, text, limit)
    assert.equal(1, select(2, text:gsub("\n", "")), text)
    return false
  end

  -- All limits from where the program starts to where it works.
  local function check_all(format, first, last, step, arguments, words)
    local failed = 0
    for limit = first, last, step do
      if not check(format:format(limit), arguments, words) then failed = failed + 1 end
    end
    assert.is_true(failed > 0, "no limit was too low")
    assert.is_true(check(format:format(last), arguments, words), "even the highest limit was too low")
  end

  for kind, last in pairs { afpacket = 8, pcap = 10, xdp = 24 } do
    root_it(("file descriptors for %s are said to be too many open files"):format(kind), function()
      if SANITIZED then return pending(SANITIZED) end
      check_all("ulimit -n %d", 5, last, 1, ("sniff -i %s:eth0 --duration 0.01"):format(kind), "oo many open files")
    end)
  end

  root_it("file descriptors for a lab are said to be too many open files, and no missing right", function()
    if SANITIZED then return pending(SANITIZED) end
    check_all("ulimit -n %d", 5, 20, 5, "ping --lab --count 1 10.0.0.1", "oo many open files")
    check("ulimit -n 6", "ping --lab --count 1 10.0.0.1", "labs need a network namespace: too many open files")
  end)

  for kind, first in pairs { afpacket = 20000, pcap = 20000, xdp = 40000 } do
    root_it(("kilobytes of memory for %s are said to be that"):format(kind), function()
      if SANITIZED then return pending(SANITIZED) end
      check_all("ulimit -v %d", first, first + 60000, 15000, ("sniff -i %s:eth0 --duration 0.01"):format(kind), "emory")
    end)
  end

  root_it("kilobytes of memory for a lab are said to be that, in one line", function()
    if SANITIZED then return pending(SANITIZED) end
    check("ulimit -v 20000", "ping --lab --count 1 10.0.0.1", "^etherlua: [^\n]*memory[^\n]*\n$")
  end)

  root_it("file systems, such as no /sys, are what an xdp relay names", function()
    local command = "unshare -m sh -c 'umount -l /sys && exec %s run sniff -i xdp:eth0 --duration 0.01'"
    local text, status = net.near:enter(shell.run, command:format(ETHERLUA))
    local words = "etherlua: cannot load the steering program: no /sys/kernel/btf/vmlinux (mount -t sysfs sysfs /sys)\n"
    assert.same({ words, 2 }, { text, status })
  end)
end)

describe("a module of etherlua that may not be read", function()
  root_it("is not said to be missing", function()
    local folder = shell.output_of "mktemp -d":gsub("\n", "")
    finally(function() os.execute("rm -rf " .. folder) end)
    shell.output_of(([[mkdir %s/build && cp %s %s/libetherlua.so %s/build/ && cp -r lua scripts %s
      chmod -R go+rX %s && chmod 600 %s/lua/etherlua/role/ping.lua]]):format(folder, ETHERLUA, ETHERLUA:match "^(.*)/",
      folder, folder, folder, folder))
    local text, status = shell.run(("env -u ETHERLUA_LIB setpriv --reuid=65534 --regid=65534 --clear-groups " ..
      "%s/build/etherlua run ping --help"):format(folder))
    assert.equal(1, status)
    assert.matches("^etherlua: cannot load etherlua.role.ping: /[^\n]*: Permission denied\n$", text)
  end)
end)
