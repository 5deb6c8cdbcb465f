-- Tasks that do by chance what tasks can, and cancellations at every place where one waits. SEED=n takes another seed;
-- `make torture` does the same for long.

local chance = require "endure.chance"
local parks = require "endure.parks"
local schedule = require "endure.schedule"

local SEED = chance.seed(20260)
local TASKS, AT_ONCE = 2000, 100
local FEW = 10

local function assert_fine(verdict)
  if verdict then error(("SEED=%d: %s"):format(SEED, verdict), 0) end
end

describe("the scheduler", function()
  after_each(require("support.leaks").check)

  for words, judged in pairs { ["while they are traced"] = true, ["while nobody looks"] = false } do
    it("wakes each of 2,000 tasks that do by chance what tasks can when it should and never else, " .. words, function()
      local world = schedule.run { seed = SEED, tasks = TASKS, at_once = AT_ONCE, judged = judged }
      assert_fine(world.verdict)
      assert.equal(TASKS, world.born)
      for _, name in ipairs { "received", "read", "cancels", "failures" } do assert.is_true(world[name] > 0, name) end
    end)
  end

  for moment in pairs(parks.MOMENTS) do
    it("loses nothing when a task is cancelled at any one of its waits, at the moment: " .. moment, function()
      local hit, verdict = parks.run { seed = SEED, tasks = FEW, moment = moment }
      assert_fine(verdict)
      assert.is_true(hit.count > FEW)
    end)
  end
end)

-- That the judge is one: what the scheduler must not do is done behind its back.
describe("the judge of the scheduler", function()
  local channel = require "etherlua.core.channel"
  local select_source = require "etherlua.core.select"

  local function finds(words, of, name, broken)
    it("finds " .. words, function()
      local right = of[name]
      finally(function() of[name] = right end)
      of[name] = broken(right)
      local world = schedule.run { seed = SEED, tasks = 300, at_once = 50, judged = true }
      assert.is_string(world.verdict)
    end)
  end

  local methods = getmetatable(channel.new()).__index

  finds("a channel that wakes nobody when it is closed", methods, "close", function()
    return function(self) self.closed = true end
  end)
  finds("values that come out twice", methods, "recv", function(recv)
    return function(self, timeout)
      local value, reason = recv(self, timeout)
      if value and value % 50 == 0 then
        self.first = self.first - 1
        self[self.first] = value
      end
      return value, reason
    end
  end)
  finds("a wait that ends before its time", select_source, "await", function(wait)
    return function(sources, ...)
      if sources.timeout and sources.timeout > 0 then return nil, "timeout" end
      return wait(sources, ...)
    end
  end)
end)
