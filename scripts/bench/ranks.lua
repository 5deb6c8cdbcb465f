-- ranks.lua: what a second core brings: two ranks, each on a core of its own, ask a network that answers in the kernel,
-- on the core of who asks (floor/everybody.bpf.c, rank.lua). The floor is twice what one rank does.

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local bench = require "bench"
local files = require "etherlua.core.files"
local script = require "etherlua.script"

local GOAL = bench.at_least(0.85)

local opts = script.parse(bench.parser("ranks", "Measure one rank and two."), arg)
local net = bench.lab { everybody = true }

-- Millions of frames a second, sent and received, of so many ranks.
local function rate(ranks, kind)
  local text = net.near:run(("taskset -c 0,1 %s run --ranks %d --pin %s %s:eth0 %g"):format(
    files.quote(bench.program()), ranks, files.quote(bench.folder .. "rank.lua"), kind, opts.seconds))
  local sent, received = text:match "(%d+) (%d+)\n$"
  if not sent then error("no rate but: " .. text, 0) end
  if received + 0 < 0.5 * sent then error(("%s of %s frames were answered"):format(received, sent), 0) end
  return (sent + received) / 1e6
end

for _, kind in ipairs(bench.kinds(opts, "afpacket")) do
  bench.case(opts, { case = "two ranks on one interface, " .. kind, unit = "M/s", goal = GOAL }, function()
    local rounds = bench.rounds(opts, function() return { rate = rate(2, kind) } end, function()
      return { rate = 2 * rate(1, kind) }
    end)
    return bench.summary(rounds, "rate")
  end)
end
