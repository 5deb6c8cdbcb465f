-- Channels: order, capacity, timeouts and closing, with one and with several tasks at each end.

local ether = require "etherlua"

local run, spawn, sleep = ether.run, ether.spawn, ether.sleep

local function pack(...) return { n = select("#", ...), ... } end

-- All that can be received until the channel is closed and empty.
local function drain(channel)
  local out = {}
  for value in function() return channel:recv() end do out[#out + 1] = value end
  return out
end

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("a channel", function()
  after_each(require("support.leaks").check)

  it("hands values over in the order in which they were sent", function()
    assert.same(numbers(100), run(function()
      local channel = ether.channel(7)
      spawn(function()
        for i = 1, 100 do channel:send(i) end
        channel:close()
      end)
      return drain(channel)
    end))
  end)

  it("carries false, tables and functions as they are", function()
    local sent = { false, {}, print }
    assert.same(sent, run(function()
      local channel, out = ether.channel(3), {}
      for i = 1, 3 do channel:send(sent[i]) end
      for i = 1, 3 do out[i] = channel:recv() end
      return out
    end))
  end)

  it("takes as many values as its capacity without a reader, and one when none is given", function()
    for capacity, channel in pairs { [1] = ether.channel(), [3] = ether.channel(3) } do
      run(function()
        for _ = 1, capacity do assert(channel:send("x", 0)) end
        assert(channel:count() == capacity)
        assert(not channel:send("x", 0))
      end)
    end
  end)

  it("blocks the sender while it is full", function()
    local before, after = run(function()
      local channel, sent = ether.channel(2), 0
      spawn(function()
        for _ = 1, 3 do
          channel:send "x"
          sent = sent + 1
        end
      end)
      sleep(0.001)
      local before = sent
      channel:recv()
      sleep(0.001)
      return before, sent
    end)
    assert.equal(2, before)
    assert.equal(3, after)
  end)

  it("blocks the reader while it is empty", function()
    assert.equal("x", run(function()
      local channel = ether.channel()
      spawn(function()
        sleep(0.002)
        channel:send "x"
      end)
      return channel:recv(10)
    end))
  end)

  it("gives up receiving with nil and \"timeout\"", function()
    for _, timeout in ipairs { 0, 0.001, -1 } do
      assert.same(pack(nil, "timeout"), pack(run(function() return ether.channel():recv(timeout) end)))
    end
  end)

  it("gives up sending with nil and \"timeout\", and the value is not sent", function()
    local result, left = run(function()
      local channel = ether.channel()
      channel:send "first"
      local result = pack(channel:send("second", 0.001))
      channel:recv()
      return result, channel:count()
    end)
    assert.same(pack(nil, "timeout"), result)
    assert.equal(0, left)
  end)

  it("can be used outside of a run as long as nothing has to wait", function()
    local channel = ether.channel(2)
    assert.is_true(channel:send "x")
    assert.equal("x", channel:recv())
  end)

  it("hands each value to one of several readers", function()
    local counts = run(function()
      local channel, counts = ether.channel(4), {}
      for _ = 1, 5 do
        spawn(function()
          for value in function() return channel:recv() end do
            counts[value] = (counts[value] or 0) + 1
            sleep(0)
          end
        end)
      end
      for i = 1, 200 do channel:send(i) end
      channel:close()
      sleep(0.001)
      return counts
    end)
    for i = 1, 200 do assert.equal(1, counts[i]) end
  end)

  it("takes values from several writers, those of each in order", function()
    local values = run(function()
      local channel, writers = ether.channel(2), {}
      for writer = 1, 5 do
        writers[writer] = spawn(function()
          for i = 1, 40 do channel:send { writer = writer, i = i } end
        end)
      end
      spawn(function()
        for _, task in ipairs(writers) do task:join() end
        channel:close()
      end)
      return drain(channel)
    end)
    local last = { 0, 0, 0, 0, 0 }
    for _, value in ipairs(values) do
      assert.equal(last[value.writer] + 1, value.i)
      last[value.writer] = value.i
    end
    assert.same({ 40, 40, 40, 40, 40 }, last)
  end)

  it("never holds more than its capacity, however many send", function()
    local most = run(function()
      local channel, most = ether.channel(2), 0
      for _ = 1, 10 do spawn(function() channel:send(1) end) end
      for _ = 1, 10 do
        sleep(0)
        most = math.max(most, channel:count())
        channel:recv()
      end
      return most
    end)
    assert.equal(2, most)
  end)

  it("refuses nil", function()
    assert.has_error(function() ether.channel():send(nil) end, "a channel cannot carry nil")
  end)

  it("refuses a capacity that is no whole number from 1, and says what was given", function()
    for _, bad in ipairs { 0, -1, 1.5, "x", {}, 0 / 0 } do
      local ok, message = pcall(ether.channel, bad)
      assert.is_false(ok)
      assert.matches("bad channel capacity .+: a whole number from 1 is needed", message)
    end
  end)

  it("refuses a timeout that is no number", function()
    local ok, message = pcall(run, function() ether.channel():recv "x" end)
    assert.is_false(ok)
    assert.matches("bad timeout x: seconds as a number are needed", message)
  end)
end)

describe("a closed channel", function()
  after_each(require("support.leaks").check)

  it("still hands out the values inside, then nil and \"closed\"", function()
    run(function()
      local channel = ether.channel(2)
      channel:send(1)
      channel:send(2)
      channel:close()
      assert.equal(1, channel:recv())
      assert.equal(2, channel:recv())
      assert.same(pack(nil, "closed"), pack(channel:recv()))
      assert.same(pack(nil, "closed"), pack(channel:recv()))
    end)
  end)

  it("takes no more values: nil and \"closed\"", function()
    local channel = ether.channel()
    channel:close()
    assert.same(pack(nil, "closed"), pack(channel:send "x"))
    assert.equal(0, channel:count())
  end)

  it("wakes all readers that wait", function()
    local reasons = run(function()
      local channel, tasks, reasons = ether.channel(), {}, {}
      for i = 1, 3 do tasks[i] = spawn(channel.recv, channel) end
      sleep(0)
      channel:close()
      for i = 1, 3 do reasons[i] = select(2, tasks[i]:join()) end
      return reasons
    end)
    assert.same({ "closed", "closed", "closed" }, reasons)
  end)

  it("wakes all senders that wait, whose values are not sent", function()
    local result, left = run(function()
      local channel = ether.channel()
      channel:send "first"
      local task = spawn(channel.send, channel, "second")
      sleep(0)
      channel:close()
      return pack(task:join()), channel:count()
    end)
    assert.same(pack(nil, "closed"), result)
    assert.equal(1, left)
  end)

  it("may be closed again", function()
    local channel = ether.channel()
    channel:close()
    channel:close()
    assert.same(pack(nil, "closed"), pack(channel:recv()))
  end)
end)
