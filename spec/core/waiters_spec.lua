-- The tasks that wait for one thing: who is woken, in which order, and what one that leaves costs the others.

local ether = require "etherlua"
local waiters = require "etherlua.core.waiters"

local run, spawn, sleep = ether.run, ether.spawn, ether.sleep

describe("tasks that wait for one thing", function()
  after_each(require("support.leaks").check)

  it("are woken in the order in which they came, without those that have left, wherever they stood", function()
    math.randomseed(20260)
    local log, expected, left = {}, {}, {}
    run(function()
      local channel, tasks = ether.channel(), {}
      for i = 1, 500 do
        tasks[i] = spawn(function()
          channel:recv()
          log[#log + 1] = i
        end)
      end
      sleep(0)
      for _ = 1, 400 do left[math.random(500)] = true end
      for i in pairs(left) do tasks[i]:cancel() end
      sleep(0)
      for i = 1, 500 do
        if not left[i] then expected[#expected + 1] = i end
      end
      assert.equal(#expected, channel.waiters.count)
      channel:close()
    end)
    assert.is_true(#expected > 100 and #expected < 400)
    assert.same(expected, log)
  end)

  it("are there once, also when a select has the thing twice", function()
    run(function()
      local channel = ether.channel()
      local task = spawn(ether.select, { channel, channel, timeout = 10 })
      sleep(0)
      assert.equal(1, channel.waiters.count)
      channel:send "x"
      assert.equal(channel, (task:join()))
      assert.equal(0, channel.waiters.count)
    end)
  end)

  it("leave no places behind when they come and go beside one that stays", function()
    local list, stays = waiters.new(), {}
    list:add(stays)
    for _ = 1, 10000 do
      local one = {}
      list:add(one)
      list:remove(one)
    end
    assert.equal(1, list.count)
    assert.is_true(list.last < 100, list.last)
    list:remove(stays)
    list:remove(stays)
    assert.equal(0, list.count)
  end)

  -- Each one that looked for itself among all others would make it the square.
  it("leave in a time that does not depend on how many there are", function()
    local function seconds_of(count)
      local list, all = waiters.new(), {}
      for i = 1, count do
        all[i] = {}
        list:add(all[i])
      end
      local begin = os.clock()
      for i = 1, count do list:remove(all[count + 1 - i]) end
      return os.clock() - begin
    end
    seconds_of(2000)
    assert.is_true(seconds_of(64000) < 32 * 10 * math.max(seconds_of(2000), 1e-4))
  end)
end)
