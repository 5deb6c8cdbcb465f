-- Pacers: that slots come when the schedule says, that late ones are made up for or counted as lost, and that nobody is
-- kept waiting by a task that does not wait. That the hot path is compiled is in jit_spec.lua.
--
-- The machine may do other things at any time, so a task can always be late, but no slot can be early: that is checked
-- exactly. Where it matters that nothing was late, one of several attempts has to succeed, with limits that a busy
-- machine keeps. How exact a pacer is, the benchmark of that name measures.

local ether = require "etherlua"
local linux_it = require "support.linux_it"
local misuse = require "etherlua.core.misuse"
local told = require "support.told"
local wait = require "support.wait"

local one_works, settle = wait.one_works, wait.settle
local run, spawn, sleep, now = ether.run, ether.spawn, ether.sleep, ether.now

-- Keeps the processor without giving way.
local function stall(seconds)
  local till = now() + seconds
  repeat until now() >= till
end

-- Waits for `count` slots. Returns the time from before the first to after the last.
local function wait_for(pacer, count)
  local start = now()
  for _ = 1, count do pacer:wait() end
  return now() - start
end

-- Waits for `count` slots; after each fifth the task sleeps that long. None comes too early, and what the schedule says
-- of the next one does not depend on how late those before it were.
local function keeps_schedule(pacer, count, seconds)
  local start = now()
  for i = 0, count - 1 do
    pacer:wait()
    local late = now() - start - (i + pacer.slipped) / pacer.rate
    if late < 0 then error(("slot %d came %g s too early"):format(i, -late)) end
    if seconds and i % 5 == 0 then stall(seconds) end
  end
  assert.equal(count + pacer.slipped, pacer.slot)
  assert.near(pacer.start + pacer.slot / pacer.rate, pacer.due, 1e-9)
  return pacer
end

describe("a pacer", function()
  after_each(require("support.leaks").check)

  for _, rate in ipairs { 100, 1000, 20000, 200000 } do
    it(("gives %d slots a second, and is never ahead"):format(rate), function()
      run(function()
        assert.equal(0, keeps_schedule(ether.pacer { rate = rate, burst = 1e6 }, rate / 4).slipped)
      end)
    end)
  end

  it("gives the first slot at once, whenever that is asked for", function()
    run(function()
      local pacer = ether.pacer { rate = 0.001 }
      sleep(0.01)
      pacer:wait()
      assert.equal(0, pacer.slipped)
    end)
  end)

  it("does not drift: a slot that was used late moves none of those after it", function()
    run(function() keeps_schedule(ether.pacer { rate = 500, burst = 1e6 }, 100, 0.008) end)
  end)

  it("makes up for `burst` slots after a delay and counts the others as lost", function()
    run(function()
      local pacer, rate = ether.pacer { rate = 1000, burst = 5 }, 1000
      local earliest = now()
      pacer:wait()
      local latest = now()
      stall(0.05)
      local before = now()
      pacer:wait()
      local after = now()
      -- Slots that had passed when it came back, its own included; of these it may have 5.
      local least, most = math.floor((before - latest) * rate), math.floor((after - earliest) * rate)
      assert.is_true(pacer.slipped >= least - 5 and pacer.slipped <= most - 5, pacer.slipped)
      assert.is_true(pacer.slipped >= 44)
    end)
  end)

  it("goes at once with the slots of a delay, and then waits again", function()
    run(function()
      one_works(function()
        local pacer, start = ether.pacer { rate = 1000, burst = 20 }, now()
        pacer:wait()
        stall(0.01)
        local at_once = wait_for(pacer, 10)
        wait_for(pacer, 20)
        assert.is_true(now() - start >= (30 + pacer.slipped) / 1000)
        if at_once > 0.005 then return at_once .. " s for late slots" end -- 10 ms when each is waited for
      end)
    end)
  end)

  it("makes up for 10 ms when nothing is said about bursts", function()
    for rate, burst in pairs { [1] = 2, [100] = 2, [1000] = 11, [500000] = 5001 } do
      assert.equal(burst, ether.pacer { rate = rate }.burst)
    end
  end)

  it("loses or gives every slot: their sum is the time that passed", function()
    run(function()
      local pacer, rate = ether.pacer { rate = 10000, burst = 3 }, 10000
      local earliest, given = now(), 1
      pacer:wait()
      for i = 1, 24 do -- up to three late slots are given before it looks at the clock: of the last delay too
        if i % 4 == 0 and i < 24 then stall(0.003) end
        pacer:wait()
        given = given + 1
        assert.is_true(given + pacer.slipped <= (now() - earliest) * rate + 1.001)
      end
      assert.is_true(pacer.slipped >= 5 * (30 - 3 - 1), pacer.slipped)
    end)
  end)

  linux_it("sleeps while there is time", function()
    run(function()
      local pacer, before = ether.pacer { rate = 20 }, os.clock()
      local elapsed = wait_for(pacer, 9)
      local busy = os.clock() - before
      assert.is_true(busy < elapsed / 4, busy .. " s of CPU time")
    end)
  end)

  it("is shared by tasks: each slot is for one of them", function()
    run(function()
      local pacer, rate, workers, start = ether.pacer { rate = 2000 }, 2000, {}, now()
      for i = 1, 4 do workers[i] = spawn(function() return wait_for(pacer, 100) end) end
      for i = 1, 4 do assert(workers[i]:join()) end
      local planned = (400 - 1 + pacer.slipped) / rate
      assert.is_true(now() - start >= planned)
    end)
  end)

  it("blocks tasks only", function()
    local pacer = ether.pacer { rate = 1 }
    assert.error_matches(function() pacer:wait() end, "this call blocks")
  end)

  it("says what it is", function()
    assert.equal("pacer of 2500/s", tostring(ether.pacer { rate = 2500 }))
  end)

  it("makes no garbage while it waits", function()
    run(function()
      local pacer, count = ether.pacer { rate = 200000, jitter = true }, 50000
      local least = math.huge
      for _ = 1, 4 do -- the JIT makes some, once
        collectgarbage()
        collectgarbage "stop"
        local before = collectgarbage "count"
        wait_for(pacer, count)
        least = math.min(least, (collectgarbage "count" - before) * 1024)
        collectgarbage "restart"
      end
      assert.is_true(least < count, least .. " bytes")
    end)
  end)
end)

describe("while a task waits for its slot", function()
  after_each(require("support.leaks").check)

  local MAC = ether.mac "02:00:00:00:00:02"
  local PAYLOAD = "\69\0\0\64" .. ("\0"):rep(60) -- a valid IPv4 packet

  local function conns()
    local a, b = ether.wire()
    return a:conn { mac = "02:00:00:00:00:01" }, b:conn { mac = MAC }, a
  end

  for _, rate in ipairs { 1000, 20000 } do -- sleeping and not
    it(("of %g a second, what it sent leaves and is received"):format(rate), function()
      run(function()
        one_works(function()
          local from, to, relay = conns()
          local pacer, count, received, at_once = ether.pacer { rate = rate }, rate / 10, 0, 0
          local reader = spawn(function()
            while to:recv_frame() do received = received + 1 end
          end)
          pacer:wait()
          for i = 1, count do
            from:send(PAYLOAD, MAC)
            pacer:wait()
            if received == i and relay:stats().tx_pending == 0 then at_once = at_once + 1 end
          end
          settle()
          assert.equal(count, received)
          to:close()
          reader:join()
          -- Those that went late, several at once, leave later, but each 256th gives way in any case.
          if at_once <= 1 + 2 * count / 256 then return ("%d of %d were received"):format(at_once, count) end
        end)
      end)
    end)
  end

  for _, rate in ipairs { 1000, 50000, 1e9 } do
    it(("of %g a second, others receive, and their sleeps end"):format(rate), function()
      run(function()
        local from, to = conns()
        local pacer, slept, received = ether.pacer { rate = rate }, false, 0
        spawn(function()
          for _ = 1, 10 do sleep(0.002) end
          slept = true
        end)
        local reader = spawn(function()
          while to:recv_frame() do received = received + 1 end
        end)
        local sent, till = 0, now() + 5
        while not slept do
          pacer:wait()
          from:send(PAYLOAD, MAC)
          sent = sent + 1
          assert(now() < till, "the other task never got its turn")
        end
        settle()
        assert.equal(sent, received)
        to:close()
        reader:join()
      end)
    end)
  end

  it("one that is always late gives way every 256 slots", function()
    run(function()
      local pacer, turns, ended = ether.pacer { rate = 1e9, burst = 1e6 }, 0, false
      spawn(function()
        while not ended do
          turns = turns + 1
          sleep(0)
        end
      end)
      wait_for(pacer, 25600)
      ended = true
      assert.is_true(turns >= 99, turns)
    end)
  end)

  for _, rate in ipairs { 0.01, 1000, 50000, 1e9 } do
    it(("of %g a second, it can be cancelled"):format(rate), function()
      local ok, reason, deferred = run(function()
        local ran = false
        local task = spawn(function()
          ether.defer(function() ran = true end)
          local pacer, till = ether.pacer { rate = rate }, now() + 5
          while now() < till do pacer:wait() end
        end)
        sleep(0.005)
        task:cancel()
        local result, why = task:join(5)
        return result, why, ran
      end)
      assert.is_nil(ok)
      assert.equal("cancelled", reason)
      assert.is_true(deferred)
    end)
  end

  it("one that cancels itself does not get to the end", function()
    for _, rate in ipairs { 0.1, 20000, 1e9 } do
      local ended = false
      run(function()
        spawn(function()
          local pacer = ether.pacer { rate = rate }
          pacer:wait()
          require("etherlua.core.sched").current():cancel()
          wait_for(pacer, 1000)
          ended = true
        end)
      end)
      assert.is_false(ended)
    end
  end)
end)

describe("pacer:set_rate", function()
  after_each(require("support.leaks").check)

  it("reaches a task that waits already", function()
    run(function()
      local pacer = ether.pacer { rate = 0.001 }
      local task = spawn(function() return wait_for(pacer, 3) end)
      sleep(0.02)
      pacer:set_rate(1000)
      assert.is_true(assert(task:join(5)) >= 0.02)
      assert.equal(1000, pacer.rate)
      assert.equal(11, pacer.burst)
    end)
  end)

  it("before the first slot is as if it had been given at the start", function()
    run(function()
      local pacer = ether.pacer { rate = 0.001, burst = 7 }
      pacer:set_rate(1000)
      assert.is_true(wait_for(pacer, 11) >= 0.01)
      assert.equal(7, pacer.burst)
    end)
  end)

  it("in many steps gives as many slots as the rates promise", function()
    run(function()
      one_works(function()
        local pacer, given, least, most = ether.pacer { rate = 1000 }, 0, 1, 1
        local changed = now()
        for step = 1, 40 do
          repeat
            pacer:wait()
            given = given + 1
          until now() >= changed + 0.005
          local before, rate, new = now(), pacer.rate, 1000 * (1 + step % 7)
          pacer:set_rate(new)
          local after = now() -- between these times either rate may have counted
          least = least + (before - changed) * rate + (after - before) * math.min(rate, new)
          most = most + (before - changed) * rate + (after - before) * math.max(rate, new)
          changed = after
        end
        while pacer.due <= now() do -- slots that are late still, on a busy machine many
          pacer:wait()
          given = given + 1
        end
        most = most + (now() - changed) * pacer.rate
        assert.is_true(given + pacer.slipped <= most * 1.001 + 1, given .. " of " .. most)
        if given + pacer.slipped < least * 0.995 - 2 then return given .. " of " .. least end
      end)
    end)
  end)

  it("keeps the number of late slots, not the time they are late", function()
    run(function()
      local pacer = ether.pacer { rate = 1000, burst = 1000 }
      local earliest = now()
      pacer:wait()
      stall(0.01)
      local before = now()
      pacer:set_rate(100000)
      local owed = (now() - earliest) * 1000 + 1
      wait_for(pacer, 1000)
      -- At most those owed went at once; the others had to wait for their slots of 10 us.
      local time = now() - before
      assert.is_true(time >= (1000 - owed) / 100000, time)
    end)
  end)
end)

describe("the gaps of a pacer", function()
  after_each(require("support.leaks").check)

  it("are measured when asked for: one less than slots, and no longer than the time", function()
    run(function()
      local pacer = ether.pacer { rate = 2000, jitter = true }
      local elapsed = wait_for(pacer, 101)
      assert.equal(100, pacer.gaps.count)
      assert.equal(0, pacer.gaps.invalid)
      local sum = pacer.gaps.mean * 100
      assert.is_true(sum <= elapsed and sum >= 0.0495, sum) -- the first may have been up to a slot late
      assert.is_true(pacer.gaps.max >= 0.0005 * 0.99)
    end)
  end)

  it("are not measured otherwise", function()
    assert.is_nil(ether.pacer { rate = 2000 }.gaps)
  end)
end)

describe("ether.pacer", function()
  local function message(fn, ...)
    local ok, problem = pcall(fn, ...)
    assert.is_false(ok)
    return misuse.words(problem)
  end

  it("names a rate that cannot be, and what can", function()
    for _, rate in ipairs { 0, -1, 0 / 0, 1 / 0, 1e10, 1e-7, "1000", {} } do
      assert.equal(("bad rate %s: 1e-06 to 1000000000 is allowed"):format(tostring(rate)),
        message(ether.pacer, { rate = rate }))
    end
    assert.equal("no rate given to a pacer: 1e-06 to 1000000000 is allowed", message(ether.pacer, {}))
    local pacer = ether.pacer { rate = 5 }
    told(function() pacer:set_rate(-5) end, "bad rate -5: 1e-06 to 1000000000 is allowed")
    assert.equal(5, pacer.rate)
  end)

  it("names a burst that cannot be", function()
    for _, burst in ipairs { 0, -1, 1.5, 0 / 0, 1 / 0, "5" } do
      assert.equal(("bad burst %s: a whole number from 1 is needed"):format(tostring(burst)),
        message(ether.pacer, { rate = 1, burst = burst }))
    end
  end)

  it("names what is no option, and what is no table", function()
    assert.equal('unknown option "speed" of a pacer: known are: burst, jitter, rate',
      message(ether.pacer, { rate = 1, speed = 2 }))
    assert.equal("bad options 1000 of a pacer: a table is needed", message(ether.pacer, 1000))
    told(function() ether.pacer { rate = 0 } end, "bad rate 0: 1e-06 to 1000000000 is allowed")
  end)
end)
