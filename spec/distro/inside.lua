-- inside.lua: one run of run.lua's, in namespaces that end with it: makes the root of a Debian, enters it, and does
-- there what somebody does who has just cloned the sources: make demo, make test. The root is kept for the next run,
-- with the packages that were installed in it; the clone and what was built are not.
--
--   luajit spec/distro/inside.lua DISTRO [SHORT]

local distro, short = arg[1], (arg[2] or "") ~= "" and arg[2] ~= "0"
local root = "build/distro/" .. distro
local log = root .. ".log"

-- With SHORT: labs, each relay kind, make install, portable and deb, and what other versions of others' programs may
-- see otherwise.
local FEW = "spec/lab spec/relay/receive_spec.lua spec/relay/xdp_spec.lua spec/relay/file_spec.lua "
  .. "spec/program/install_spec.lua spec/program/cli_spec.lua spec/role/interop_spec.lua spec/proto/scapy_spec.lua "
  .. "spec/proto/tshark_spec.lua spec/core/jit_spec.lua"

local totals = { passed = 0, failed = 0, skipped = 0 }

local function say(what, format, ...)
  io.write(("  %-14s %s\n"):format(what, format:format(...)))
  io.flush()
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What a command prints, errors too, and its exit status.
local function output_of(command)
  local pipe = assert(io.popen(("{ %s\n} 2>&1; printf '\\n%%d' $?"):format(command)))
  local text, status = pipe:read "*a":match "^(.*)\n(%d+)$"
  pipe:close()
  return text, tonumber(status)
end

-- Ends all with the totals.
local function finish()
  local size = output_of("du -sxh " .. root):match "^[%d.]+%a?"
  if size then say("disk", "%s in %s, kept for the next run; make clean removes it", size, root) end
  print(("%d passed, %d failed, %d skipped"):format(totals.passed, totals.failed, totals.skipped))
  os.exit(totals.failed == 0 and 0 or 1, true)
end

local function skip(reason)
  print("skipped: " .. reason)
  totals.skipped = totals.skipped + 1
  finish()
end

-- ---- the root -------------------------------------------------------------------------------------------------------

-- From where this machine has its packages. If those are not Debian's, debootstrap itself knows a place.
local MAKE = [[
rm -rf --one-file-system ROOT ROOT.part
[ -n "$http_proxy" ] || eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
export http_proxy
debootstrap --variant=minbase --include=make,ca-certificates DISTRO ROOT.part $(sh spec/support/mirror.sh) >LOG 2>&1 &&
  mv ROOT.part ROOT]]

-- Prints what is missing of the packages in it, or not installed to the end.
local AUDIT = "chroot ROOT dpkg --audit && chroot ROOT dpkg --verify | grep ^missing"

-- Mounts what a root needs, and puts a clone there: where a stranger's may be, and only root may enter.
local FURNISH = [[set -e
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e $file ] || cp -L $file ROOT$file
done
apt-config dump | grep -E '^Acquire::(https?::|Check|Retries|ForceIPv)' >ROOT/etc/apt/apt.conf.d/90machine || :
mount --bind ROOT ROOT
mount --rbind /dev ROOT/dev
mount --rbind /sys ROOT/sys
mount -t proc proc ROOT/proc
mount -t tmpfs -o mode=755 run ROOT/run
mount -t tmpfs -o mode=1777 tmp ROOT/tmp
mount -t tmpfs -o mode=700 root ROOT/root
mkdir ROOT/root/etherlua
tar --exclude=./build --exclude=./.git -c . | tar -C ROOT/root/etherlua --no-same-owner -x]]

local function shell(text)
  return output_of((text:gsub("%u%u+", { ROOT = root, DISTRO = distro, LOG = log })))
end

-- The last line of a text that tells of an error, or else the last one.
local function reason_in(text)
  local last, told
  for line in text:gmatch "[^\n]+" do
    last = line
    if line:find "^[EW]: " then told = line end
  end
  return told or last or "without a word"
end

local function make_root()
  local began = os.time()
  say("root", "is being made, which takes minutes: %s", log)
  local _, status = shell(MAKE)
  if status ~= 0 then skip(("no root of %s can be made: %s"):format(distro, reason_in((shell "cat LOG")))) end
  say("root", "made in %d s", os.time() - began)
end

-- That of an earlier run, when it is whole.
local function have_root()
  if select(2, shell "test -d ROOT") ~= 0 then return make_root() end
  local text = shell(AUDIT)
  if text == "" then return say("root", "that of an earlier run") end
  say("root", "that of an earlier run is broken: %s", text:match "[^\n]+")
  make_root()
end

-- ---- in it ----------------------------------------------------------------------------------------------------------

-- The old root goes altogether: below chroot(2) alone nobody can make a user namespace.
local ENTER = [[unshare --mount --propagation private sh -c '
  cd ROOT && pivot_root . . && umount -l . && exec chroot . env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
    http_proxy="$http_proxy" https_proxy="$https_proxy" no_proxy="$no_proxy" \
    sh -c "cd /root/etherlua && $0"' COMMAND]]

local function entering(command)
  return (ENTER:gsub("%u%u+", { ROOT = root, COMMAND = quoted(command) }))
end

-- What apt-get says when packages cannot be had; one that there is not is another matter.
local UNREACHABLE = "[EW]: Failed to fetch[^\n]*"

-- There is nothing more to do.
local function fail(what, status, text)
  if text:find(UNREACHABLE) then skip("packages cannot be had: " .. text:match(UNREACHABLE)) end
  totals.failed = totals.failed + 1
  print(("FAILED: %s, with status %d\n%s"):format(what, status, text))
  finish()
end

-- Runs a command there that has to succeed, and to print what `is_good` likes.
local function step(name, is_good)
  local began = os.time()
  local text, status = output_of(entering(name))
  if status ~= 0 or not is_good(text) then fail(name, status, text) end
  totals.passed = totals.passed + 1
  say(name, "ok, %d s", os.time() - began)
end

local function has_lease(text)
  return text:find "\naa:bb:cc:11:22:33 vlan 100  10%.0%.0%.%d+/8 "
end

local function make_test()
  local words = { "make test" }
  for _, name in ipairs { "TESTS", "JOBS", "LIMIT", "ARGS" } do
    local value = os.getenv(name) or name == "TESTS" and short and FEW
    if value then words[#words + 1] = quoted(name .. "=" .. value) end
  end
  return table.concat(words, " ")
end

-- Runs the specs, prints what they print, and adds their totals.
local function test()
  local command, found = make_test(), false
  print("  " .. command)
  local pipe = assert(io.popen(entering(command) .. " 2>&1"))
  for line in pipe:lines() do
    local passed, failed, skipped = line:match "^(%d+) passed, (%d+) failed, (%d+) skipped$"
    if passed then
      found = { passed = passed, failed = failed, skipped = skipped }
    else
      print(line)
      io.flush()
    end
  end
  pipe:close()
  for name, count in pairs(found or { failed = 1 }) do totals[name] = totals[name] + count end
end

local function main()
  print(distro)
  have_root()
  local text, status = shell(FURNISH)
  if status ~= 0 then fail("to enter the root", status, text) end
  say("Debian", "%s", output_of(entering "cat /etc/debian_version"):match "[^\n]+")
  step("make demo", has_lease)
  step("make deps-test", function() return true end)
  test()
  finish()
end

main()
