-- Tasks: that they run, wait, give way, end and are cancelled as ether.run, spawn, sleep, join, cancel and select
-- promise, and that blocking calls pass through whatever a script puts between itself and the scheduler.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local ether = require "etherlua"
local linux_it = require "support.linux_it"
local sched = require "etherlua.core.sched"

local C = effi.C
local run, spawn, sleep, defer, now = ether.run, ether.spawn, ether.sleep, ether.defer, ether.now

local FOREVER = 1000 -- seconds; no spec waits that long

local function pack(...) return { n = select("#", ...), ... } end

-- The error that fn raises, as text.
local function error_of(fn, ...)
  local ok, message = pcall(fn, ...)
  assert(not ok, "no error was raised")
  return tostring(message)
end

-- Two UDP endpoints that hear each other.
local function udp_pair()
  local a, b = ether.wire()
  local left = a:conn { mac = "02:00:00:00:00:01" }:udp "10.0.0.1:1"
  local right = b:conn { mac = "02:00:00:00:00:02", multicast = true }:udp "10.0.0.2:2"
  left:connect "10.0.0.2:2"
  return left, right
end

local function an_endpoint()
  return ether.wire():conn { mac = "02:00:00:00:00:01" }
end

describe("ether.run", function()
  after_each(require("support.leaks").check)

  it("returns what its function returned, nils included", function()
    assert.same(pack(1, nil, 3, nil), pack(run(function() return 1, nil, 3, nil end)))
  end)

  it("hands its further arguments to the function", function()
    assert.same(pack(1, nil, 3), pack(run(function(...) return ... end, 1, nil, 3)))
  end)

  it("returns only when all tasks that were spawned have ended", function()
    local ended = 0
    run(function()
      for i = 1, 3 do
        spawn(function()
          sleep(i / 1000)
          spawn(function()
            sleep(0.001)
            ended = ended + 1
          end)
        end)
      end
    end)
    assert.equal(3, ended)
  end)

  it("starts a spawned task only when the spawning one waits", function()
    local log = {}
    run(function()
      spawn(function() log[#log + 1] = "spawned" end)
      log[#log + 1] = "first"
      sleep(0)
      log[#log + 1] = "again"
    end)
    assert.same({ "first", "spawned", "again" }, log)
  end)

  it("inside a run just calls the function", function()
    local inner, same = run(function()
      local task = sched.current()
      return run(function(x) return x, sched.current() == task end, 7)
    end)
    assert.equal(7, inner)
    assert.is_true(same)
  end)

  it("can be called again after a run, and after a run that failed", function()
    assert.equal(1, run(function() return 1 end))
    assert.matches("boom", error_of(run, function() error "boom" end))
    assert.equal(2, run(function()
      sleep(0.001)
      return 2
    end))
  end)

  it("closes relays that were left open", function()
    local relay = run(function() return (ether.wire()) end)
    assert.is_nil(relay.handle)
  end)

  it("closes relays that were left open when it fails", function()
    local relay
    error_of(run, function()
      relay = ether.wire()
      error "boom"
    end)
    assert.is_nil(relay.handle)
  end)

  it("hands what spawn was given to the task, and as many", function()
    local list = setmetatable({ n = 2, 7 }, { __metatable = "hidden" })
    for _, given in ipairs { pack(), pack(nil), pack(false), pack(1), pack(list), pack("text"), pack(nil, nil),
      pack(list, nil, 3, nil) } do
      local got
      run(function() spawn(function(...) got = pack(...) end, unpack(given, 1, given.n)) end)
      assert.same(given, got)
    end
  end)

  it("refuses to spawn what is no function", function()
    assert.matches("bad task nil: a function is needed", error_of(run, function() spawn(nil) end))
  end)

  it("ends also when something that it opened cannot be closed, and says so", function()
    local closed = false
    local function open_two()
      sched.close_at_end { close = function() closed = true end }
      sched.close_at_end { close = function() error("the handle is stuck", 0) end }
    end
    assert.error_matches(function() ether.run(open_two) end, "the handle is stuck")
    assert.is_true(closed)
    assert.equal(7, ether.run(function() return 7 end))
  end)
end)

describe("an uncaught error", function()
  after_each(require("support.leaks").check)

  it("of any task is raised by the run with the traceback of that task", function()
    local function culprit() error "boom" end
    local message = error_of(run, function()
      spawn(function()
        sleep(0.001)
        culprit()
      end)
      sleep(FOREVER)
    end)
    assert.matches("sched_spec.lua:%d+: boom", message)
    assert.matches("in function 'culprit'", message)
  end)

  it("that is no string is shown as text", function()
    local failure = setmetatable({}, { __tostring = function() return "an object" end })
    assert.matches("an object", error_of(run, function() error(failure) end))
  end)

  it("cancels all other tasks, whose deferred functions run", function()
    local log = {}
    error_of(run, function()
      for _ = 1, 3 do
        spawn(function()
          defer(function() log[#log + 1] = "deferred" end)
          sleep(FOREVER)
        end)
      end
      sleep(0.001)
      error "boom"
    end)
    assert.same({ "deferred", "deferred", "deferred" }, log)
  end)

  it("runs the deferred functions of the task that failed", function()
    local ran
    error_of(run, function()
      defer(function() ran = true end)
      error "boom"
    end)
    assert.is_true(ran)
  end)

  it("in a deferred function is raised too, and the other deferred functions run", function()
    local ran
    local message = error_of(run, function()
      defer(function() ran = true end)
      defer(function() error "late" end)
    end)
    assert.matches("late", message)
    assert.is_true(ran)
  end)

  it("is the first one when several tasks fail", function()
    local message = error_of(run, function()
      defer(function() error "second" end)
      error "first"
    end)
    assert.matches("first", message)
    assert.not_matches("second", message)
  end)

  it("is a coroutine.yield that no coroutine of the task's own surrounds", function()
    assert.matches("coroutine.yield outside of a coroutine", error_of(run, function() coroutine.yield(1) end))
  end)
end)

describe("task:join", function()
  after_each(require("support.leaks").check)

  it("returns what the task's function returned", function()
    assert.same(pack(1, nil, 3), pack(run(function()
      return spawn(function(...)
        sleep(0.001)
        return ...
      end, 1, nil, 3):join()
    end)))
  end)

  it("returns at once for a task that has ended", function()
    assert.equal("done", run(function()
      local task = spawn(function() return "done" end)
      sleep(0)
      assert(task.done)
      return task:join()
    end))
  end)

  it("wakes all that wait", function()
    local results = run(function()
      local task = spawn(function()
        sleep(0.002)
        return "x"
      end)
      local joiners, out = {}, {}
      for i = 1, 3 do joiners[i] = spawn(function() return task:join() end) end
      for i = 1, 3 do out[i] = joiners[i]:join() end
      return out
    end)
    assert.same({ "x", "x", "x" }, results)
  end)

  it("returns nil and \"timeout\" when the task has not ended in time, and leaves it alone", function()
    local early, reason, late = run(function()
      local task = spawn(function()
        sleep(0.02)
        return "late"
      end)
      local a, b = task:join(0.001)
      return a, b, task:join()
    end)
    assert.is_nil(early)
    assert.equal("timeout", reason)
    assert.equal("late", late)
  end)

  it("returns nil and \"cancelled\" for a cancelled task", function()
    assert.same(pack(nil, "cancelled"), pack(run(function()
      local task = spawn(function() sleep(FOREVER) end)
      sleep(0)
      task:cancel()
      return task:join()
    end)))
  end)

  it("returns nil and \"failed\" in the deferred functions of a run that an error ends", function()
    local result
    error_of(run, function()
      local task = spawn(function() error "boom" end)
      defer(function() result = pack(task:join()) end)
      sleep(FOREVER)
    end)
    assert.same(pack(nil, "failed"), result)
  end)

  it("of the task itself is an error", function()
    assert.matches("a task cannot join itself", error_of(run, function() sched.current():join() end))
  end)
end)

describe("task:cancel", function()
  after_each(require("support.leaks").check)

  -- What a task does that is cancelled while it waits.
  local function cancelled_while(fn)
    return run(function()
      local task = spawn(fn)
      sleep(0.001)
      task:cancel()
      return task:join()
    end)
  end

  it("makes the blocking call raise an error that reads \"cancelled\"", function()
    local failure
    cancelled_while(function()
      local _
      _, failure = pcall(sleep, FOREVER)
    end)
    assert.equal("cancelled", tostring(failure))
  end)

  for name, block in pairs {
    ["a recv"] = function() an_endpoint():recv() end,
    ["a recv_frame"] = function() an_endpoint():recv_frame() end,
    ["a recv that has a timeout"] = function() an_endpoint():recv(FOREVER) end,
    ["a channel's recv"] = function() ether.channel():recv(FOREVER) end,
    ["a select"] = function() ether.select { an_endpoint(), ether.channel(), timeout = FOREVER } end,
    ["a join"] = function() spawn(sleep, 0.01):join() end,
  } do
    it("ends " .. name, function()
      assert.same(pack(nil, "cancelled"), pack(cancelled_while(block)))
    end)
  end

  it("is no error of the run", function()
    assert.equal("fine", run(function()
      spawn(function() sleep(FOREVER) end):cancel()
      return "fine"
    end))
  end)

  it("makes every later blocking call of the task raise as well", function()
    local failures = {}
    cancelled_while(function()
      for i = 1, 5 do failures[i] = not pcall(sleep, 0.001) end
    end)
    assert.same({ true, true, true, true, true }, failures)
  end)

  it("runs deferred functions, the last one first", function()
    local log = {}
    cancelled_while(function()
      defer(function() log[#log + 1] = "first" end)
      defer(function() log[#log + 1] = "second" end)
      sleep(FOREVER)
    end)
    assert.same({ "second", "first" }, log)
  end)

  it("lets deferred functions block", function()
    local ran
    cancelled_while(function()
      defer(function()
        sleep(0.001)
        ran = spawn(function()
          sleep(0.001)
          return true
        end):join()
      end)
      sleep(FOREVER)
    end)
    assert.is_true(ran)
  end)

  it("leaves deferred functions that run already alone, also when an error ends the run", function()
    local ran = 0
    error_of(run, function()
      local task = spawn(function()
        defer(function()
          sleep(0.01)
          ran = ran + 1
        end)
      end)
      sleep(0.001)
      task:cancel()
      sleep(0)
      error "boom"
    end)
    assert.equal(1, ran)
  end)

  it("abandons a task that blocks again whatever it is told", function()
    local stubborn = run(function()
      local task = spawn(function()
        while true do pcall(sleep, FOREVER) end
      end)
      sleep(0.001)
      task:cancel()
      return task
    end)
    assert.is_true(stubborn.done)
  end)

  it("abandons a task that works on without ever having to wait", function()
    local _, reason = cancelled_while(function()
      local channel = ether.channel()
      while true do
        pcall(channel.send, channel, 1, 0)
        pcall(channel.recv, channel, 0)
      end
    end)
    assert.equal("cancelled", reason)
  end)

  it("runs the deferred functions of a task that it abandons", function()
    local ran
    cancelled_while(function()
      defer(function() ran = true end)
      while true do pcall(sleep, FOREVER) end
    end)
    assert.is_true(ran)
  end)

  it("of a task that has ended does nothing", function()
    assert.equal("done", run(function()
      local task = spawn(function() return "done" end)
      task:join()
      task:cancel()
      return task:join()
    end))
  end)

  it("of the running task takes effect at its next blocking call", function()
    local before, after
    assert.same(pack(nil, "cancelled"), pack(run(function()
      sched.current():cancel()
      before = true
      sleep(0.001)
      after = true
    end)))
    assert.is_true(before)
    assert.is_nil(after)
  end)

  for name, wait in pairs {
    ["recv"] = function(endpoint) endpoint:recv() end,
    ["select"] = function(endpoint) ether.select { endpoint } end,
  } do
    it("leaves an endpoint that was waited for with " .. name .. " to other tasks", function()
      local _, reason = run(function()
        local endpoint = an_endpoint()
        local task = spawn(wait, endpoint)
        sleep(0)
        task:cancel()
        task:join()
        spawn(sleep, 0.01) -- has the number of the cancelled task now
        return endpoint:recv(0.001)
      end)
      assert.equal("timeout", reason)
    end)
  end
end)

describe("ether.sleep", function()
  after_each(require("support.leaks").check)

  it("lasts at least as long as it is told", function()
    run(function()
      for _, seconds in ipairs { 0.0001, 0.001, 0.0123 } do
        local start = now()
        sleep(seconds)
        assert(now() - start >= seconds)
      end
    end)
  end)

  it("of 1,000 tasks ends in the order of their deadlines, none early", function()
    local started, woken = {}, {}
    run(function()
      math.randomseed(1)
      for i = 1, 1000 do
        spawn(function()
          local seconds = math.random() / 5
          started[i] = { at = now(), seconds = seconds }
          sleep(seconds)
          assert(now() - started[i].at >= seconds)
          woken[#woken + 1] = i
        end)
      end
      spawn(function() started[1001] = { at = now() } end)
    end)
    -- A task has set its deadline by the time that the next one starts.
    for i = 2, #woken do
      local before, after = woken[i - 1], woken[i]
      assert(started[before].at + started[before].seconds <= started[after + 1].at + started[after].seconds)
    end
    assert.equal(1000, #woken)
  end)

  it("of 100,000 tasks ends within seconds", function()
    local start, ended = now(), 0
    run(function()
      for i = 1, 100000 do
        spawn(function()
          sleep(i * 7919 % 1000 / 2000)
          ended = ended + 1
        end)
      end
    end)
    assert.equal(100000, ended)
    assert(now() - start < 20)
  end)

  it("of no time at all lets every other ready task run once", function()
    local log = {}
    run(function()
      for i = 1, 2 do
        spawn(function()
          for _ = 1, 3 do
            log[#log + 1] = i
            sleep(0)
          end
        end)
      end
    end)
    assert.same({ 1, 2, 1, 2, 1, 2 }, log)
  end)

  it("refuses what is no number of seconds", function()
    for _, bad in ipairs { "1", {}, 0 / 0, true } do
      assert.matches("bad sleep .*: seconds as a number are needed", error_of(run, sleep, bad))
    end
    assert.matches("bad sleep nil", error_of(run, sleep))
  end)
end)

describe("the engine's timers", function()
  it("wake each task once, in the order of their deadlines, however often those were changed", function()
    local engine = ffi.gc(C.el_engine_open(), C.el_engine_close)
    local ids, deadline, order, count = ffi.new("const uint32_t *[1]"), {}, {}, 0
    local start = C.el_now(engine)
    math.randomseed(2)
    for _ = 1, 5000 do
      local task = math.random(1000)
      deadline[task] = math.random() < 0.2 and -1 or start + math.random() / 20
      C.el_timer(engine, task, deadline[task])
    end
    for _, at in pairs(deadline) do if at >= 0 then count = count + 1 end end
    while #order < count do
      C.el_wait(engine, -1)
      for i = 0, C.el_ready(engine, ids) - 1 do order[#order + 1] = ids[0][i] end
    end
    for i, task in ipairs(order) do
      assert(deadline[task] >= 0 and deadline[task] <= C.el_now(engine))
      assert(i == 1 or deadline[order[i - 1]] <= deadline[task])
    end
    assert.equal(0, C.el_wait(engine, 0.001))
  end)
end)

describe("ether.select", function()
  after_each(require("support.leaks").check)

  it("returns the endpoint that a frame arrives for, and its place in the list", function()
    local same, index = run(function()
      local left, right = udp_pair()
      spawn(function()
        sleep(0.001)
        left:send "x"
      end)
      local source, index = ether.select { left, right, timeout = 10 }
      return source == right, index
    end)
    assert.is_true(same)
    assert.equal(2, index)
  end)

  it("returns the channel that something is sent on", function()
    local index = run(function()
      local a, b = ether.channel(), ether.channel()
      spawn(function()
        sleep(0.001)
        b:send "x"
      end)
      return select(2, ether.select { a, b, timeout = 10 })
    end)
    assert.equal(2, index)
  end)

  it("returns the task that ends first", function()
    local index = run(function()
      local slow, quick = spawn(sleep, FOREVER), spawn(sleep, 0.001)
      local _, index = ether.select { slow, quick, timeout = 10 }
      slow:cancel()
      return index
    end)
    assert.equal(2, index)
  end)

  it("waits for endpoints, channels and tasks at the same time", function()
    local index = run(function()
      local _, right = udp_pair()
      return select(2, ether.select { right, ether.channel(), spawn(sleep, 0.001), timeout = 10 })
    end)
    assert.equal(3, index)
  end)

  it("prefers the first in the list when several are ready", function()
    local index = run(function()
      local a, b = ether.channel(), ether.channel()
      b:send "x"
      a:send "x"
      return select(2, ether.select { a, b })
    end)
    assert.equal(1, index)
  end)

  it("takes nothing out of what is ready", function()
    assert.equal("x", run(function()
      local channel = ether.channel()
      channel:send "x"
      ether.select { channel }
      return channel:recv(0)
    end))
  end)

  for name, source in pairs {
    ["an endpoint"] = an_endpoint,
    ["a channel"] = function() return ether.channel() end,
    ["a task"] = function() return spawn(sleep, 0.05) end,
  } do
    it("returns nil and \"timeout\" when " .. name .. " is not ready in time", function()
      local result, early = run(function()
        local start = now()
        local result = pack(ether.select { source(), timeout = 0.005 })
        return result, now() - start < 0.005
      end)
      assert.same(pack(nil, "timeout"), result)
      assert.is_false(early)
    end)
  end

  it("with a timeout of 0 only looks, at what the relays have too", function()
    local before, after = run(function()
      local left, right = udp_pair()
      local before = ether.select { right, timeout = 0 }
      left:send "x"
      return before, ether.select { right, timeout = 0 } == right
    end)
    assert.is_nil(before)
    assert.is_true(after)
  end)

  it("without any source is a sleep", function()
    assert.same(pack(nil, "timeout"), pack(run(ether.select, { timeout = 0.001 })))
  end)

  it("finds a closed endpoint ready, since reading it does not wait", function()
    local index, reason = run(function()
      local endpoint = an_endpoint()
      spawn(function()
        sleep(0.001)
        endpoint:close()
      end)
      local _, index = ether.select { endpoint, timeout = 10 }
      return index, error_of(endpoint.recv, endpoint)
    end)
    assert.equal(1, index)
    assert.matches("this endpoint is closed", reason)
  end)

  it("refuses an endpoint that another task reads, and lets go of the others in the list", function()
    local message, reason = run(function()
      local free, taken = an_endpoint(), an_endpoint()
      local reader = spawn(function() taken:recv() end)
      sleep(0)
      local message = error_of(ether.select, { free, taken })
      reader:cancel()
      return message, spawn(function() return select(2, free:recv(0.001)) end):join()
    end)
    assert.matches("another task is reading this endpoint already", message)
    assert.equal("timeout", reason)
  end)

  it("refuses a timeout that is no number", function()
    assert.matches("bad timeout x: seconds as a number are needed", error_of(run, ether.select, { timeout = "x" }))
  end)

  it("refuses what nobody knows, and what cannot be waited for", function()
    assert.matches('unknown option "timout" of ether.select, did you mean "timeout"',
      error_of(run, ether.select, { timout = 1 }))
    assert.matches("bad source 5: an endpoint, a channel or a task is needed", error_of(run, ether.select, { 5 }))
  end)
end)

describe("blocking calls pass through", function()
  after_each(require("support.leaks").check)

  -- Another task has to run meanwhile: the call blocks the task, not the process.
  local function with_witness(fn)
    local ran = 0
    local result = pack(run(function()
      local witness = spawn(function()
        while true do
          sleep(0)
          ran = ran + 1
        end
      end)
      sleep(0) -- from now on it has its turn before this task has, however late that is
      local result = pack(fn())
      witness:cancel()
      return unpack(result, 1, result.n)
    end))
    assert(ran > 0)
    return unpack(result, 1, result.n)
  end

  local function nap(...)
    sleep(0.001)
    return ...
  end

  it("coroutine.wrap", function()
    assert.equal("x", with_witness(function()
      return coroutine.wrap(function() return nap "x" end)()
    end))
  end)

  it("coroutine.resume, which returns true and the results", function()
    assert.same(pack(true, 1, nil), pack(with_witness(function()
      return coroutine.resume(coroutine.create(function(...) return nap(...) end), 1, nil)
    end)))
  end)

  it("coroutines in coroutines", function()
    assert.equal("xyz", with_witness(function()
      return coroutine.wrap(function()
        local inner = coroutine.wrap(function() return nap "x" .. nap "y" end)
        return inner() .. nap "z"
      end)()
    end))
  end)

  it("a generator, whose own values arrive in between", function()
    local values = with_witness(function()
      local out = {}
      for value in coroutine.wrap(function()
        for i = 1, 3 do
          sleep(0.001)
          coroutine.yield(i)
          sleep(0)
        end
      end) do
        out[#out + 1] = value
      end
      return out
    end)
    assert.same({ 1, 2, 3 }, values)
  end)

  it("a coroutine that is given values when it is resumed", function()
    local log = with_witness(function()
      local log = {}
      local co = coroutine.create(function(value)
        while value do
          log[#log + 1] = value
          sleep(0.001)
          value = coroutine.yield()
        end
      end)
      for i = 1, 3 do coroutine.resume(co, i) end
      coroutine.resume(co, nil)
      log[#log + 1] = coroutine.status(co)
      return log
    end)
    assert.same({ 1, 2, 3, "dead" }, log)
  end)

  it("pcall", function()
    assert.same(pack(true, "x"), pack(with_witness(function() return pcall(nap, "x") end)))
  end)

  it("pcall, with an error after the wait", function()
    assert.same(pack(false, "boom"), pack(with_witness(function()
      return pcall(function()
        sleep(0.001)
        error("boom", 0)
      end)
    end)))
  end)

  it("xpcall, whose handler sees the error", function()
    assert.same(pack(false, "seen boom"), pack(with_witness(function()
      return xpcall(function()
        sleep(0.001)
        error("boom", 0)
      end, function(message) return "seen " .. message end)
    end)))
  end)

  it("metamethods and iterators", function()
    local object = setmetatable({}, { __index = function(_, key) return nap(key) end })
    assert.equal("xyz", with_witness(function()
      local out = ""
      local function next_letter(_, last)
        if last ~= "z" then return nap(string.char(last:byte() + 1)) end
      end
      for letter in next_letter, nil, "w" do out = out .. object[letter] end
      return out
    end))
  end)

  it("a coroutine in which the task is then cancelled", function()
    local failure, _, reason
    _, reason = run(function()
      local task = spawn(function()
        coroutine.wrap(function()
          _, failure = pcall(sleep, FOREVER)
          sleep(FOREVER)
        end)()
      end)
      sleep(0.001)
      task:cancel()
      return task:join()
    end)
    assert.equal("cancelled", tostring(failure))
    assert.equal("cancelled", reason)
  end)
end)

describe("a coroutine that two tasks have", function()
  after_each(require("support.leaks").check)

  -- What the second one hears, and then the first; its wait is as long as it was to be.
  local function shared(wait)
    return run(function()
      local co = coroutine.create(function() return wait() end)
      local first = spawn(coroutine.resume, co)
      sleep(0)
      local second = pack(coroutine.resume(co))
      return second, pack(first:join()), pack(coroutine.resume(co))
    end)
  end

  for name, wait in pairs {
    sleep = function() return sleep(0.002) end,
    recv = function() return select(2, an_endpoint():recv(0.002)) end,
    select = function() return select(2, ether.select { ether.channel(), timeout = 0.002 }) end,
  } do
    it("can be resumed by one of them while the other waits in it with " .. name .. ", as little as one that runs",
      function()
        local second, first, later = shared(wait)
        assert.same(pack(false, "cannot resume a coroutine in which a task waits"), second)
        assert.is_true(first[1])
        assert.same(pack(false, "cannot resume dead coroutine"), later)
      end)
  end

  it("is the other's when the first does not wait in it any more", function()
    assert.same({ 1, 2, 3 }, run(function()
      local co, got = coroutine.wrap(function()
        for i = 1, 3 do
          sleep(0.001)
          coroutine.yield(i)
        end
      end), {}
      for i = 1, 3 do got[i] = spawn(co):join() end
      return got
    end))
  end)
end)

describe("an error inside a user's coroutine", function()
  after_each(require("support.leaks").check)

  local function broken()
    sleep(0.001)
    error("boom", 0)
  end

  it("makes coroutine.resume return false and the message", function()
    assert.same(pack(false, "boom"), pack(run(function() return coroutine.resume(coroutine.create(broken)) end)))
  end)

  it("is raised by the function that coroutine.wrap made", function()
    assert.matches("boom", error_of(run, function() coroutine.wrap(broken)() end))
  end)

  it("keeps an error object as it is", function()
    local object = {}
    local caught = run(function()
      return select(2, pcall(coroutine.wrap(function() error(object) end)))
    end)
    assert.equal(object, caught)
  end)

  it("leaves it dead, and resuming it says so", function()
    assert.same(pack(false, "cannot resume dead coroutine"), pack(run(function()
      local co = coroutine.create(broken)
      coroutine.resume(co)
      return coroutine.resume(co)
    end)))
  end)
end)

describe("a task that never has to wait", function()
  after_each(require("support.leaks").check)

  -- fn is called in a loop until a sleeping task says stop; at the latest after 20 s.
  local function is_fair(prepare)
    return run(function()
      local step, start, stopped = prepare(), now(), false
      spawn(function()
        sleep(0.005)
        stopped = true
      end)
      sleep(0)
      while not stopped and now() - start < 20 do step() end
      return stopped
    end)
  end

  for name, prepare in pairs {
    ["sends on a wire"] = function()
      local left = udp_pair()
      return function() left:send "x" end
    end,
    ["sends Ethernet payloads on a wire"] = function()
      local conn = an_endpoint()
      return function() conn:send("x", "ff:ff:ff:ff:ff:ff", { ethertype = 0x88b5 }) end
    end,
    ["sends and receives"] = function()
      local left, right = udp_pair()
      return function()
        for _ = 1, 64 do left:send "x" end
        for _ = 1, 64 do right:recv(1) end
      end
    end,
    ["only looks whether a frame is there"] = function()
      local conn = an_endpoint()
      return function() conn:recv(0) end
    end,
    ["sends and receives on a channel"] = function()
      local channel = ether.channel()
      return function()
        channel:send(1)
        channel:recv()
      end
    end,
    ["only looks with select"] = function()
      local channel = ether.channel()
      return function() ether.select { channel, timeout = 0 } end
    end,
    ["selects what is always ready"] = function()
      local channel = ether.channel()
      channel:send(1)
      return function() ether.select { channel } end
    end,
    ["sleeps for no time"] = function()
      return function() sleep(0) end
    end,
  } do
    it("lets timers and other tasks have their turn when it " .. name, function()
      assert.is_true(is_fair(prepare))
    end)
  end

  it("lets the reader of what it sends keep up", function()
    local lost = run(function()
      local left, right = udp_pair()
      local reader = spawn(function()
        local count = 0
        while count < 20000 and right:recv_frame(5) do count = count + 1 end
        return count
      end)
      for _ = 1, 20000 do left:send "x" end
      return 20000 - reader:join()
    end)
    assert.equal(0, lost)
  end)
end)

describe("closing an endpoint", function()
  after_each(require("support.leaks").check)

  for _, method in ipairs { "recv", "recv_frame" } do
    it("that only a waiting " .. method .. " still refers to ends the wait with nil and \"closed\"", function()
      local result = run(function()
        local relay = ether.wire()
        local task = spawn(function()
          local conn = relay:conn()
          return conn[method](conn)
        end)
        sleep(0)
        relay:close()
        collectgarbage() -- frees what is closed
        collectgarbage()
        return pack(task:join())
      end)
      assert.same(pack(nil, "closed"), result)
    end)
  end
end)

describe("misuse", function()
  after_each(require("support.leaks").check)

  it("of an endpoint by two reading tasks is an error that says so", function()
    assert.matches("another task is reading this endpoint already", error_of(run, function()
      local endpoint = an_endpoint()
      spawn(function() endpoint:recv() end)
      sleep(0)
      endpoint:recv()
    end))
  end)

  for name, block in pairs {
    ["sleep"] = function() sleep(0.001) end,
    ["select"] = function() ether.select { timeout = 0 } end,
    ["a channel's recv"] = function() ether.channel():recv() end,
    ["defer"] = function() defer(function() end) end,
    ["recv"] = function()
      local a, b = ether.wire()
      local ok, message = pcall(function() a:conn():recv(0.001) end)
      a:close()
      b:close()
      assert(ok, message)
    end,
  } do
    it("of " .. name .. " outside of a run is an error that names ether.run", function()
      assert.matches("this call blocks: it is possible only inside ether.run", error_of(block))
    end)
  end

  it("is no spawn outside of a run: the task starts with the next run", function()
    local ran
    spawn(function() ran = true end)
    run(function() end)
    assert.is_true(ran)
  end)
end)

describe("a deadlock", function()
  after_each(require("support.leaks").check)

  it("is raised, with the number of tasks that wait for each other", function()
    local message = error_of(run, function()
      local a, b
      a = spawn(function() b:join() end)
      b = spawn(function() a:join() end)
    end)
    assert.matches("deadlock: 2 tasks wait for each other", message)
  end)

  it("of channels is raised, and deferred functions run", function()
    local ran
    assert.matches("deadlock: 1 tasks", error_of(run, function()
      defer(function() ran = true end)
      ether.channel():recv()
    end))
    assert.is_true(ran)
  end)

  it("in a deferred function is raised", function()
    assert.matches("deadlock", error_of(run, function()
      defer(function() ether.channel():recv() end)
    end))
  end)

  it("in a deferred function of a background task is raised", function()
    assert.matches("deadlock", error_of(run, function()
      sched.spawn_background(function()
        defer(function() ether.channel():recv() end)
      end)
      sleep(0)
    end))
  end)

  linux_it("is none while a task waits for a time, a frame or a file", function()
    run(function()
      local channel = ether.channel()
      spawn(function()
        sleep(0.001)
        an_endpoint():recv(0.001)
        local pipe = io.popen "sleep 0.01; echo x"
        ffi.cdef "int fileno(void *);"
        sched.wait_fd(ffi.C.fileno(pipe))
        pipe:close()
        channel:send "x"
      end)
      assert(channel:recv() == "x")
    end)
  end)
end)

describe("a task that parks", function()
  after_each(require("support.leaks").check)

  it("ends at once when it was cancelled before it began", function()
    assert.is_true(run(function()
      local task = sched.spawn(function() sched.park(sched.current()) end)
      task:cancel()
      local _, reason = task:join(1)
      return reason == "cancelled"
    end))
  end)
end)

describe("a file descriptor", function()
  after_each(require("support.leaks").check)

  linux_it("is looked at also while there is always something else to do", function()
    run(function()
      local woken = false
      sched.spawn(function()
        local pipe = io.popen("sleep 0.05; echo x")
        sched.wait_fd(ffi.C.fileno(pipe))
        woken = true
        pipe:close()
      end)
      local deadline = sched.now() + 5
      while not woken and sched.now() < deadline do sleep(0) end
      assert.is_true(woken)
    end)
  end)
end)

describe("a background task", function()
  after_each(require("support.leaks").check)

  it("does not keep the run alive", function()
    assert.equal("done", run(function()
      sched.spawn_background(function() sleep(FOREVER) end)
      sched.spawn_background(function() an_endpoint():recv() end)
      sleep(0)
      return "done"
    end))
  end)

  it("is cancelled at the end of the run, and its deferred functions may block", function()
    local ran
    run(function()
      sched.spawn_background(function()
        defer(function()
          sleep(0.005)
          ran = true
        end)
        sleep(FOREVER)
      end)
      sleep(0)
    end)
    assert.is_true(ran)
  end)

  it("that is spawned by another one's deferred function ends with the run too", function()
    local task
    run(function()
      sched.spawn_background(function()
        defer(function() task = sched.spawn_background(sleep, FOREVER) end)
      end)
    end)
    assert.is_true(task.done)
  end)

  it("that fails ends the run", function()
    assert.matches("boom", error_of(run, function()
      sched.spawn_background(function() error "boom" end)
      sleep(FOREVER)
    end))
  end)
end)

describe("a signal that is caught", function()
  local CHILD = [[
    local ether, sched = require "etherlua", require "etherlua.core.sched"
    require("etherlua.core.ffi").C.el_signals_catch(sched.engine())
    print(ether.run(function()
      ether.spawn(function()
        ether.defer(function()
          ether.sleep(0.001)
          print "deferred"
        end)
        ether.sleep(1000)
      end)
      ether.sleep(0)
      os.execute "kill -TERM $PPID" -- system() ignores SIGINT while it waits
      ether.sleep(1000)
    end))
    print(sched.was_interrupted())
  ]]

  linux_it("cancels all tasks and lets their deferred functions run", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write(CHILD)
    file:close()
    local sanitizer = os.getenv "SANITIZER" and "LD_PRELOAD=" .. os.getenv "SANITIZER" or ""
    local pipe = io.popen(("%s LUA_PATH='%s' luajit %s 2>&1"):format(sanitizer, package.path, path))
    local output = pipe:read "*a"
    pipe:close()
    assert.equal("deferred\nnil\tcancelled\ntrue\n", output)
  end)
end)
