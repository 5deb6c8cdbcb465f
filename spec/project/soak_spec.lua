-- `make soak` for a moment: that it ends well when all is right, and says so when it is not. What is wrong is done
-- behind its back, in a process of its own, which also believes that its memory is as large as it is told.

local files = require "etherlua.core.files"
local shell = require "support.shell"

local COMMAND = "SECONDS=1 HOSTS=200 SEED=5 RELAY=wire %s -e %s spec/endure/soak.lua"

local MEMORY = [[
local files = require "etherlua.core.files"
local read, looks = files.read, 0
function files.read(path)
  if path ~= "/proc/self/statm" then return read(path) end
  looks = looks + 1
  return "0 " .. 10000 + looks * (grows or 0)
end
]]

-- What it prints, and its exit status.
local function soak(wrong)
  return shell.run(COMMAND:format(shell.LUAJIT, files.quote((wrong or "") .. MEMORY)))
end

describe("a soak", function()
  it("says how many frames came to which hosts, and ends with status 0 when nothing is wrong", function()
    local text, status = soak()
    assert.equal(0, status, text)
    assert.matches("^wire, 1 s at %d+ frames/s, 80 %% of a limit of %d+: 200 hosts at a time, %d+ came and went\n",
      text)
    local sent, came = text:match "\n(%d+) sent, (%d+) came, 0 missed; of these %d+ delivered, "
    assert.is_true(tonumber(sent) > 100 and sent == came, text)
    assert.matches("\n0 misdelivered, 0 uncounted, memory 39.1 MB, later %+0.0 %%\n?$", text)
  end)

  for words, wrong in pairs {
    ["VIOLATION: memory grew from %d+.%d to %d+.%d MB\n"] = "grows = 300 ",
    ["VIOLATION: %d+ frames came to others\n"] = [[
      local relay = require "etherlua.relay.relay"
      local wire, sent = relay.wire, 0
      function relay.wire(...)
        local a, b = wire(...)
        local send = a.send
        rawset(a, "send", function(self, frame, len)
          sent = sent + 1
          if sent % 100 == 0 then frame[45] = frame[45] + 1 end
          return send(self, frame, len)
        end)
        return a, b
      end
    ]],
    ["VIOLATION: forth: %d+ frames were on the way, %d+ came to the relay, which missed 0\n"] = [[
      local relay = require "etherlua.relay.relay"
      local wire = relay.wire
      function relay.wire(...)
        local a, b = wire(...)
        local stats = a.stats
        rawset(a, "stats", function(self)
          local counts = stats(self)
          counts.tx_frames, counts.tx_sent = counts.tx_frames + counts.tx_sent, 2 * counts.tx_sent
          return counts
        end)
        return a, b
      end
    ]],
  } do
    it("ends with status 1, saying: " .. words, function()
      local text, status = soak(wrong)
      assert.equal(1, status, text)
      assert.matches(words, text)
    end)
  end
end)
