-- all.lua: `make test-vm`: for each NIC boots a machine that has it, and another kernel, and runs the specs of relays
-- there. It prints a line for each spec file, what became of a NIC behind its own, and the totals last. The exit status
-- is 1 when something failed, 2 for a NIC that is not known.
--
--   luajit spec/vm/all.lua FOLDER FORM ACCELERATOR [NIC ...]
--
-- FOLDER, build/vm, gets all that is made. FORM is "full", or "short": a part of the specs. ACCELERATOR is qemu's.
-- Without names all NICs of nics.lua are tried. The environment names the command, BUSTED, as for support/run.lua, and
-- may say how many seconds a machine has, VM_LIMIT, and from which Debian its kernel is, DISTRO. All processes and
-- mounts are in namespaces, which end with this process, however that ends.

package.path = "lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local ffi = require "ffi"
local files = require "etherlua.core.files"
local nics = require "vm.nics"

-- Ctrl-C ends this process at once, and so all others: LuaJIT would wait for the next line of the machine's.
ffi.cdef "intptr_t signal(int number, intptr_t handler);"
local SIGINT, SIG_DFL = 2, 0
ffi.C.signal(SIGINT, SIG_DFL)

local folder, form, accelerator = arg[1], arg[2], arg[3]

-- How long a machine may take in all, and one spec file, in seconds.
local LIMITS = { short = { boot = 900, file = 400 }, full = { boot = 3 * 3600, file = 1800 } }
local CONSOLE_LINES = 20 -- of a machine that ended too early

-- What relays of any kind promise. Specs of xdp relays alone count what only veth counts.
local SUITE = "$(grep -l 'kinds\\.each' spec/relay/*_spec.lua)"
-- Those in which tags matter most.
local TAGS = "spec/relay/receive_spec.lua spec/relay/send_spec.lua"
-- Those last that pull the cable or take the NIC out: qemu's vmxnet3 receives no frames over 3072 bytes afterwards,
-- from the kernel's own ping neither.
local ROUGH = "spec/vm/guest/link.lua spec/vm/guest/unplug.lua"
local GENTLE = "$(ls spec/vm/guest/*.lua | grep -v -e link.lua -e unplug.lua)"
local PART = "spec/relay/priority_spec.lua spec/vm/guest/driver.lua spec/vm/guest/lease.lua"

-- What is run, each part with the offloads of the NIC under test set like this. Switching rxvlan off resets some NICs,
-- which takes seconds, at each opening of an xdp relay: so most of it runs where it is off already.
local PARTS = {
  short = { { "rxvlan on txvlan on", PART } },
  full = { { "rxvlan off txvlan off", SUITE }, { "rxvlan on txvlan on", TAGS .. " " .. GENTLE },
    { "rxvlan on txvlan on", ROUGH } },
}

local function output_of(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function succeeds(command)
  return os.execute(command .. " >/dev/null 2>&1") == 0
end

local function fail(status, ...)
  io.stderr:write("test-vm: ", string.format(...), "\n")
  os.exit(status, true)
end

-- ---- which NICs -----------------------------------------------------------------------------------------------------

local function known_names()
  local names = {}
  for _, nic in ipairs(nics) do names[#names + 1] = nic.name end
  return table.concat(names, " ")
end

local function find(name)
  for _, nic in ipairs(nics) do
    if nic.name == name then return nic end
  end
  fail(2, "unknown NIC %q: any of %s are allowed", name, known_names())
end

local function chosen(names)
  if #names == 0 then return nics end
  local list = {}
  for _, name in ipairs(names) do list[#list + 1] = find(name) end
  return list
end

-- ---- whether it is possible -----------------------------------------------------------------------------------------

local PROGRAMS = { { "qemu-system-x86_64", "qemu-system-x86" }, { "cpio", "cpio" }, { "depmod", "kmod" },
  { "busybox", "busybox" }, { "unshare", "util-linux" } }
local CONFINED = "unshare --mount --net --pid --fork --kill-child --mount-proc "

-- Why no machine can be booted here, or nil.
local function obstacle()
  for _, one in ipairs(PROGRAMS) do
    if not succeeds("command -v " .. one[1]) then return ("no %s (Debian package %s)"):format(one[1], one[2]) end
  end
  if output_of "uname -m" ~= "x86_64\n" then return "the machine is made for x86-64" end
  if output_of "id -u" ~= "0\n" then return "needs root, for mounts and taps in namespaces" end
  if not succeeds(CONFINED .. "true") then return "no namespaces: " .. output_of(CONFINED .. "true"):match "[^\n]*" end
  if not succeeds "test -c /dev/net/tun" then return "no /dev/net/tun" end
end

-- The version of the machine's kernel; nil and why there is none.
local function kernel()
  local distro = files.quote(os.getenv "DISTRO" or "")
  local text = output_of(("sh spec/vm/kernel.sh %s %s || echo FAILED"):format(folder, distro))
  local version = text:match "^(%d%S*)\n$"
  if version then return version end
  return nil, "no kernel: " .. (text:match "([^\n]+)\nFAILED" or text)
end

-- ---- one machine ----------------------------------------------------------------------------------------------------

local RUN = "NIC_FEATURES='%s' luajit spec/support/run.lua 1 %d %s/log %s"

-- A version of the kernel as a number: 6.1 is before 6.12.
local function number_of(version)
  local major, minor = version:match "^(%d+)%.(%d+)"
  return major * 1000 + minor
end

-- What guest.sh is told.
local function write_plan(nic, version)
  local commands = {}
  for i, part in ipairs(PARTS[form]) do
    commands[i] = RUN:format(part[1], LIMITS[form].file, folder, part[2])
  end
  local function since(first) return first and number_of(version) >= number_of(first) and "yes" or "no" end
  local file = assert(io.open(folder .. "/plan.sh", "w"))
  for _, pair in ipairs {
    { "ROOT", output_of("pwd"):match "[^\n]+" }, { "DEVICE", nic.device }, { "DRIVER", nic.driver },
    { "QUEUES", nic.queues }, { "NIC_NATIVE", since(nic.native) }, { "NIC_ZERO_COPY", since(nic.zero_copy) },
    { "BUSTED", assert(os.getenv "BUSTED", "BUSTED is not set") }, { "COMMAND", table.concat(commands, "\n") },
  } do
    file:write("export ", pair[1], "=", files.quote(tostring(pair[2])), "\n")
  end
  file:close()
end

local is_terminal = succeeds "test -t 1"

local function progress(...)
  if not is_terminal then return end
  io.write("\r\27[K", string.format(...))
  io.flush()
end

local function print_line(line)
  io.write(is_terminal and "\r\27[K" or "", line, "\n")
  io.flush()
end

local function add(result, passed, failed, skipped)
  result.passed, result.failed = result.passed + passed, result.failed + failed
  result.skipped = result.skipped + skipped
end

local COUNTS = "(%d+) passed, (%d+) failed, (%d+) skipped"

-- Reads what one part printed: a line a spec file; what failed, whole; the slowest, and the totals. Tests that are
-- skipped for the same reason are told together.
local function read_line(result, line)
  local reason = line:match "^skipped: .*: (.-)$"
  local passed, failed, skipped = line:match("^" .. COUNTS .. "$")
  local of_file = { line:match("^%[%d+/%d+%] %S+ +" .. COUNTS) }
  if reason then
    if not result.reasons[reason] then result.reasons[#result.reasons + 1] = reason end
    result.reasons[reason] = (result.reasons[reason] or 0) + 1
  elseif passed and result.slowest then -- those of one file have no list of the slowest before them
    add(result, passed, failed, skipped)
    result.files, result.parts, result.slowest = {}, result.parts + 1, false
  elseif line == "slowest:" then
    result.slowest = true
  elseif not result.slowest and line ~= "" then
    print_line("  " .. line)
    if of_file[1] then result.files[#result.files + 1] = of_file end
  end
end

local function print_console()
  local lines = {}
  for line in (files.read(folder .. "/console") or ""):gmatch "[^\r\n]+" do lines[#lines + 1] = line end
  print_line "  the last lines of its console:"
  for i = math.max(1, #lines - CONSOLE_LINES + 1), #lines do print_line("  | " .. lines[i]) end
end

local WITH_PARENT = "setpriv --pdeathsig KILL "
local BOOT = "exec " .. WITH_PARENT .. "timeout -s KILL %d " .. WITH_PARENT .. "%s sh spec/vm/boot.sh %s %s %d %s 2>&1"

-- Boots the machine; it is over when its results are.
local function run(nic, version)
  local result = { passed = 0, failed = 0, skipped = 0, parts = 0, reasons = {}, files = {} }
  local begin, limit = os.time(), tonumber(os.getenv "VM_LIMIT") or LIMITS[form].boot
  write_plan(nic, version)
  os.remove(folder .. "/console")
  progress("%s: booting", nic.name)
  local pipe = assert(io.popen(BOOT:format(limit, CONFINED, folder, nic.device, nic.queues, accelerator)))
  for line in pipe:lines() do
    read_line(result, line)
    progress("%s: %d s", nic.name, os.time() - begin)
  end
  pipe:close()
  progress ""
  result.seconds = os.time() - begin
  if result.parts < #PARTS[form] then
    for _, counts in ipairs(result.files) do add(result, unpack(counts)) end -- of a part that has no totals
    result.failed = result.failed + 1
    print_line(("FAILED: %s: %s"):format(nic.name, result.seconds >= limit and
      ("took longer than %d s and was ended"):format(limit) or "the machine ended before its tests did"))
    print_console()
  end
  return result
end

-- ---- all of it ------------------------------------------------------------------------------------------------------

local function finish(passed, failed, skipped)
  print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  os.exit(failed == 0 and 0 or 1, true)
end

local function skip(reason)
  print("skipped: " .. reason)
  finish(0, 0, 1)
end

local SUMMARY = "  %-10s %5d passed, %d failed, %d skipped  %d s"

local function main()
  if not PARTS[form] then fail(2, "unknown form %q: short or full is allowed", tostring(form)) end
  local list = chosen { unpack(arg, 4) }
  local reason, version = obstacle(), nil
  if not reason then version, reason = kernel() end
  if reason then skip(reason) end
  local summary, passed, failed, skipped = {}, 0, 0, 0
  for _, nic in ipairs(list) do
    print_line(("%s: %s, %d queue%s, Linux %s"):format(nic.name, nic.driver, nic.queues, nic.queues > 1 and "s" or "",
      version))
    local result = run(nic, version)
    for _, why in ipairs(result.reasons) do print_line(("  skipped: %d times: %s"):format(result.reasons[why], why)) end
    passed, failed = passed + result.passed, failed + result.failed
    skipped = skipped + result.skipped
    summary[#summary + 1] = SUMMARY:format(nic.name, result.passed, result.failed, result.skipped, result.seconds)
    print_line(summary[#summary])
  end
  print_line "\nin all:"
  for _, line in ipairs(summary) do print_line(line) end
  finish(passed, failed, skipped)
end

main()
