-- conserve.lua: random traffic for long, over one relay kind after the other, with every frame accounted for
-- (traffic.lua). A line for each kind and what became of its frames; the status is 1 when a frame is missing.
--
--   make conserve [FRAMES=10000000] [SEED=n] [RELAY=wire]

require "support.helper"
local chance = require "endure.chance"
local kinds = require "support.kinds"
local ledger = require "endure.ledger"
local traffic = require "endure.traffic"

local FRAMES, RELAY = tonumber(os.getenv "FRAMES") or 1e7, os.getenv "RELAY"
local FILE = 1e6 -- frames, after which the files of that kind are new

local function add(total, stats)
  for name, value in pairs(stats) do total[name] = (total[name] or 0) + value end
end

local function describe(stats)
  local words = {}
  for _, names in ipairs { { "rx_copies", "rx_reassembled", "rx_missed" }, ledger.RX, ledger.TX } do
    for _, name in ipairs(names) do
      if stats[name] > 0 then words[#words + 1] = ("%s %d"):format(name, stats[name]) end
    end
  end
  return table.concat(words, ", ")
end

-- Rounds over one kind. Returns frames sent, rounds, and the next seed.
local function conserve(kind, seed)
  local total, sent, checks, opened, begin = {}, 0, 0, 0, os.time()
  local most = kind.name == "file" and FILE or FRAMES
  repeat
    local problem, counts
    kinds.run(function()
      problem, counts = traffic.run(kind, { seed = seed, frames = math.min(most, FRAMES - sent) })
    end)
    if problem then
      print(("FAILED: SEED=%d, RELAY='%s': %s"):format(seed, kind.name, problem))
      os.exit(1)
    end
    add(total, counts.stats)
    sent, checks, opened, seed = sent + counts.sent, checks + counts.checks, opened + counts.opened, seed + 1
  until sent >= FRAMES
  print(("%s: %d frames in %d s, all accounted for after each of %d bursts; %d endpoints came and went"):format(
    kind.name, sent, os.time() - begin, checks, opened))
  print("  " .. describe(total))
end

io.stdout:setvbuf "line"
local seed = chance.seed()
print(("SEED=%d, %d frames over each kind"):format(seed, FRAMES))
for _, kind in ipairs(kinds.list) do
  local possible, reason = kind.possible()
  if (RELAY or "") == "" or kind.name == RELAY then
    if possible then conserve(kind, seed) else print(("%s: left out, %s"):format(kind.name, reason)) end
  end
end
kinds.close_labs()
