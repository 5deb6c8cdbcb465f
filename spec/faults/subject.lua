-- subject.lua: what is killed and disturbed. See load.lua.
--
--   etherlua run spec/faults/subject.lua lab|KIND MODE STEPS FRAMES [CAPTURE]      (MODE: of xdp; FRAMES a millisecond)

local ether = require "etherlua"
local load = dofile "spec/faults/load.lua"
local sched = require "etherlua.core.sched"
local script = require "etherlua.script"

local kind, mode, capture = arg[1], arg[2], arg[5]
local opts = { steps = tonumber(arg[3]), burst = tonumber(arg[4]) }

-- Sets the clock of the wall an hour ahead and back again, all the time: see ../support/clock.c.
if os.getenv "FAULTS_CLOCK" then
  local ffi = require "ffi"
  ffi.cdef "double spec_wall_ahead;"
  sched.spawn_background(function()
    while true do
      ffi.C.spec_wall_ahead = ffi.C.spec_wall_ahead == 0 and 3600 or 0
      ether.sleep(0.01)
    end
  end)
end

if kind == "lab" then return load.in_lab(script.new_lab(), opts) end

opts.before = load.kernel()
local relay = script.check(ether.open, kind .. ":eth0", { mode = mode ~= "-" and mode or nil, filter = "",
  capture = capture })
local reason = load.run(relay, opts)
if reason then
  io.stderr:write("subject: ", reason, "\n")
  return 3
end
