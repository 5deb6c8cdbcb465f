-- run.lua: the demo and the specs in another Debian, for `make test-distro`: whether that is possible here, and that
-- all of it ends with this process, however that happens. What is done is in inside.lua, which runs in namespaces of
-- its own: no mount of it is ever seen by anybody else.
--
--   luajit spec/distro/run.lua DISTRO [SHORT]
--
-- SHORT: 1 for fewer specs. TESTS, JOBS, LIMIT and ARGS of the environment go to `make test`. The last line is
-- "N passed, N failed, N skipped". Exit status: 1 when something failed, 2 when there is no such DISTRO.

local ffi = require "ffi"

local KNOWN = { "bookworm", "trixie" }
local distro, short = arg[1], arg[2] or ""

local INT = 2
local BUSY = 75       -- a status that nothing else has
local KILLED = 137
local LONGEST = 7200  -- seconds

local WITH_PARENT = "setpriv --pdeathsig KILL "
local NAMESPACES = "unshare --mount --propagation private --pid --fork --kill-child --mount-proc "
local COUNTS = "^%d+ passed, %d+ failed, %d+ skipped$"

local function succeeds(command)
  return os.execute(command .. " >/dev/null 2>&1") == 0
end

local function is_known(name)
  for _, known in ipairs(KNOWN) do
    if known == name then return true end
  end
  return false
end

-- Why it cannot be tried here, or nil.
local function missing()
  if not succeeds 'test "$(id -u)" = 0' then return "needs root" end
  for _, program in ipairs { "debootstrap", "unshare", "pivot_root", "setpriv", "flock" } do
    if not succeeds("command -v " .. program) then return "needs the program " .. program end
  end
  if not succeeds(NAMESPACES .. "true") then return "mount and PID namespaces are not allowed here" end
end

-- luajit's own way with Ctrl-C is to finish reading first; but then nothing would end.
ffi.cdef "void (*signal(int, void (*)(int)))(int);"
ffi.C.signal(INT, nil)

-- Each process ends with the one that started it. The lock is let go of when the last one has ended.
local COMMAND = ([[exec WITH_PARENT sh -c '
  WITH_PARENT flock --no-fork --nonblock --conflict-exit-code BUSY build/distro/$0.lock \
    timeout -s KILL LONGEST WITH_PARENT NAMESPACES luajit spec/distro/inside.lua "$0" "$1" </dev/null 2>&1
  echo status $?' DISTRO 'SHORT']]):gsub("%u[%u_]+", { WITH_PARENT = WITH_PARENT, NAMESPACES = NAMESPACES, BUSY = BUSY,
    LONGEST = LONGEST, DISTRO = distro, SHORT = short })

-- Runs it, and prints what it prints but for the totals, which are returned, and its exit status.
local function run()
  local status, counts
  local pipe = assert(io.popen(COMMAND))
  for line in pipe:lines() do
    local number = line:match "^status (%d+)$"
    if number then
      status = tonumber(number)
    elseif line:find(COUNTS) then
      counts = line
    else
      print(line)
      io.flush()
    end
  end
  pipe:close()
  return counts, status
end

-- What went wrong with all of it, or nil.
local function problem(counts, status)
  if status == BUSY then return "another run is in build/distro/" .. distro end
  if status == KILLED then return ("took longer than %d s and was ended"):format(LONGEST) end
  if not counts then return ("ended without totals, with status %d"):format(status) end
end

local function report(counts, status)
  local reason = problem(counts, status)
  if reason then print("FAILED: " .. reason) end
  counts = not reason and counts or "0 passed, 1 failed, 0 skipped"
  print(counts)
  return counts:find " 0 failed" and 0 or 1
end

local function main()
  if not is_known(distro) then
    io.stderr:write(("test-distro: DISTRO=%s is not known: %s are\n"):format(distro, table.concat(KNOWN, " and ")))
    return 2
  end
  local reason = missing()
  if reason then
    print("skipped: " .. reason .. "\n0 passed, 0 failed, 1 skipped")
    return 0
  end
  os.execute "mkdir -p build/distro"
  return report(run())
end

os.exit(main(), true)
