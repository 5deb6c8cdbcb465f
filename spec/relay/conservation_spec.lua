-- Every frame is accounted for, whatever comes and whoever opens and closes meanwhile: by both sums of a relay's
-- counters after each burst, and in the end by what one relay sent, what the kernel says that its interfaces carried,
-- and what the other relay was offered or missed. SEED=n takes another seed; `make conserve` does the same for long.

local chance = require "endure.chance"
local clock = require "support.clock"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local ledger = require "endure.ledger"
local linux_it = require "support.linux_it"
local traffic = require "endure.traffic"

local SEED = chance.seed(20261)
local FRAMES = 20000

for _, kind in ipairs(kinds.list) do
  describe("random traffic over " .. kind.name, function()
    after_each(require("support.leaks").check)
    teardown(kinds.close_labs)

    it("loses no frame that no counter has, at the relays and in the kernel between them", function()
      local possible, reason = kind.possible()
      if not possible then return pending(reason) end
      if kind.interface and not kind.lab then return pending "nobody tells what the kernel between them drops" end
      kinds.run(function()
        local problem, counts = traffic.run(kind, { seed = SEED, frames = FRAMES })
        assert.is_nil(problem, ("SEED=%d: %s"):format(SEED, tostring(problem)))
        for _, name in ipairs { "rx_delivered", "rx_invalid", "rx_overflow", "rx_closed", "rx_copies" } do
          assert.is_true(counts.stats[name] > 0, name)
        end
      end)
    end)
  end)
end

-- Moves the clock of its process by more than fragments wait for the rest of their packet.
local CHILD = [[
  local ffi = require "ffi"
  local kinds, traffic = require "support.kinds", require "endure.traffic"
  ffi.cdef "extern double spec_clock_ahead;"
  kinds.run(function()
    local problem, counts = traffic.run(kinds.list[1], { seed = tonumber(arg[1]), frames = tonumber(arg[2]),
      skip = function() ffi.C.spec_clock_ahead = ffi.C.spec_clock_ahead + 61 end })
    io.write(tostring(problem), " ", counts.stats.rx_frag_timeout > 0 and "some" or "none")
  end)
]]

describe("random traffic while minutes pass", function()
  linux_it("loses no fragment whose time is over that no counter has", function()
    assert.equal("nil some", clock.run(CHILD, SEED, 10 * FRAMES))
  end)
end)

describe("the ledger of two relays", function()
  after_each(require("support.leaks").check)

  -- What it says when `wrong` changes what one of the relays says to have counted.
  local function says(wrong)
    return ether.run(function()
      local a, b = ether.wire { filter = "" }
      local book, conn = ledger.open(a, b), b:conn { mac = frames.MAC_B }
      for _ = 1, 3 do a:send(frames.frame(frames.udp())) end
      ether.sleep(0.001)
      local stats, open = b.stats, { [conn] = true }
      b.stats = function(relay)
        local counts = stats(relay)
        wrong(counts, open, conn)
        return counts
      end
      return ledger.check_relay(b, open) or ledger.check_ways(book) or "nothing"
    end)
  end

  it("finds nothing where nothing is wrong", function()
    assert.equal("nothing", says(function() end))
  end)

  for words, wrong in pairs {
    ["wire:b: 2 frames came, 3 ended"] = function(stats) stats.rx_frames = stats.rx_frames - 1 end,
    ["wire:b: 1 frames were to be sent, 0 were"] = function(stats) stats.tx_frames = stats.tx_frames + 1 end,
    ["wire:b: 3 frames are queued, its endpoints have 0"] = function(_, open, conn) open[conn] = nil end,
    ["forth: 3 frames were on the way, 2 came to the relay, which missed 0"] = function(stats)
      stats.rx_frames, stats.rx_delivered = stats.rx_frames - 1, stats.rx_delivered - 1
    end,
  } do
    it("says: " .. words, function() assert.equal(words, says(wrong)) end)
  end
end)
