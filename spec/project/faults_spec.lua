-- The kill and fault matrix notices what it is there for. (`make faults` is the whole of it.)

local account = require "faults.account"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"

-- What the matrix says of one case, and its status, with a program that does something else first.
local function matrix(case, first)
  local folder = shell.output_of "mktemp -d":match "%S+"
  local file = io.open(folder .. "/etherlua", "w")
  file:write("#!/bin/sh\n", first, '\nexec "', shell.output_of("realpath " .. ETHERLUA):match "%S+", '" "$@"\n')
  file:close()
  local text, status = shell.run(("chmod +x %s/etherlua; cp %s/etherlua build/faults_program; " ..
    "ETHERLUA=build/faults_program %s spec/faults/all.lua 1 7 '%s'"):format(folder, folder, shell.LUAJIT, case))
  os.execute("rm -r build/faults_program " .. folder)
  return text, status
end

describe("the kill and fault matrix", function()
  root_it("is content with a program that leaves nothing", function()
    local text, status = matrix("afpacket: SIGKILL", "")
    assert.equal(0, status, text)
    assert.matches("afpacket: SIGKILL +1 +yes +yes +0\n", text)
  end)

  for words, case in pairs {
    ["leaves a process"] = { "setsid sleep 20 >/dev/null 2>&1 &", "afpacket: SIGKILL", "left: process sleep" },
    ["leaves an offload off"] = { "ethtool -K eth0 rxvlan off", "afpacket: SIGKILL", "left: rx%-vlan%-offload: off" },
  } do
    root_it("notices a program that " .. words, function()
      local text, status = matrix(case[2], case[1])
      assert.equal(1, status)
      assert.matches(case[3], text)
    end)
  end
end)

describe("the account of frames", function()
  local STATS = { "rx_frames", "rx_copies", "rx_reassembled", "rx_delivered", "rx_queued", "rx_invalid", "rx_filtered",
    "rx_unclaimed", "rx_overflow", "rx_evicted", "rx_no_memory", "rx_closed", "rx_fragments", "rx_merged",
    "rx_frag_duplicate", "rx_frag_timeout", "rx_frag_overlap", "rx_frag_invalid", "rx_frag_limit", "rx_missed",
    "tx_frames", "tx_sent", "tx_pending", "tx_link_down", "tx_refused", "tx_error" }

  local function unaccounted(changes, kernel)
    local stats = {}
    for _, name in ipairs(STATS) do stats[name] = 0 end
    stats.tx_frames, stats.tx_sent, stats.rx_frames, stats.rx_delivered = 10, 10, 10, 10
    for name, value in pairs(changes) do stats[name] = value end
    local after = { rx = 110, tx = 110, rx_dropped = 0, tx_dropped = 0 }
    for name, value in pairs(kernel or {}) do after[name] = value end
    return account.unaccounted { sent = 10, told = 0, stats = stats, after = after,
      before = { rx = 100, tx = 100, rx_dropped = 0, tx_dropped = 0 } }
  end

  it("is even when each frame is in one counter, of the relay's or of the kernel's", function()
    assert.equal(0, unaccounted {})
    assert.equal(0, unaccounted({ rx_frames = 7, rx_delivered = 7, rx_missed = 3 }))
    assert.equal(0, unaccounted({ rx_frames = 7, rx_delivered = 5, rx_unclaimed = 2 }, { rx = 107 }))
    assert.equal(0, unaccounted({}, { tx = 106, tx_dropped = 4 }))
  end)

  it("tells how many frames are in none, or in two", function()
    assert.equal(3, unaccounted { rx_frames = 7, rx_delivered = 7 })
    assert.equal(1, unaccounted { rx_delivered = 9 })
    assert.equal(2, unaccounted { rx_unclaimed = 2 })
    assert.equal(4, unaccounted({}, { tx = 106 }))
    assert.equal(5, unaccounted({}, { rx = 115 }))
  end)
end)
