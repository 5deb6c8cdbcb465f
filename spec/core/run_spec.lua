-- Runs: what they change in the process and put back, and that what is closed costs them nothing any more.

local closables = require "etherlua.core.closables"
local endpoint = require "etherlua.relay.endpoint"
local ether = require "etherlua"
local lab = require "etherlua.lab.lab"
local linux_it = require "support.linux_it"
local root_it = require "support.root_it"
local sched = require "etherlua.core.sched"
local shell = require "support.shell"

local function count(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

describe("coroutine.resume and coroutine.wrap", function()
  after_each(require("support.leaks").check)

  local function resume() return true, "mine" end
  local function wrap() return function() end end
  local before = { resume = coroutine.resume, wrap = coroutine.wrap }

  before_each(function()
    coroutine.resume, coroutine.wrap = resume, wrap -- luacheck: ignore 122
  end)

  after_each(function()
    coroutine.resume, coroutine.wrap = before.resume, before.wrap -- luacheck: ignore 122
  end)

  local function are_mine()
    return coroutine.resume == resume and coroutine.wrap == wrap
  end

  it("are others during a run, and behind it what they were before", function()
    assert.is_false(ether.run(are_mine))
    assert.is_true(are_mine())
  end)

  it("are what they were behind a run that failed", function()
    assert.is_false(pcall(ether.run, error, "boom"))
    assert.is_true(are_mine())
  end)

  it("stay as they are when a run is begun inside of a run", function()
    ether.run(function()
      ether.run(function() end)
      assert.is_false(are_mine())
      assert.equal("x", coroutine.wrap(function()
        ether.sleep(0)
        return "x"
      end)())
    end)
    assert.is_true(are_mine())
  end)

  it("are others from the first drive to the end of its run", function()
    sched.drive(function() assert.is_false(are_mine()) end)
    assert.is_false(are_mine())
    sched.end_run()
    assert.is_true(are_mine())
  end)

  linux_it("are left alone by those who only load etherlua", function()
    local pipe = io.popen(([[%s -e 'local resume, wrap = coroutine.resume, coroutine.wrap
      require "etherlua" print(coroutine.resume == resume and coroutine.wrap == wrap)' 2>&1]]):format(shell.LUAJIT))
    local output = pipe:read "*a"
    pipe:close()
    assert.equal("true\n", output)
  end)
end)

describe("what is closed at the end of a run", function()
  it("is closed in the order of opening, the last first", function()
    local log = {}
    ether.run(function()
      for i = 1, 4 do sched.close_at_end { close = function() log[#log + 1] = i end } end
    end)
    assert.same({ 4, 3, 2, 1 }, log)
  end)

  it("is not closed again when the run was told to forget it", function()
    local log, objects = {}, {}
    ether.run(function()
      for i = 1, 5 do
        objects[i] = { close = function() log[#log + 1] = i end }
        sched.close_at_end(objects[i])
      end
      for _, i in ipairs { 5, 1, 3, 3 } do sched.forget(objects[i]) end
      sched.forget {}
    end)
    assert.same({ 4, 2 }, log)
    sched.forget(objects[2])
  end)

  it("includes what is opened while others are closed", function()
    local closed
    ether.run(function()
      sched.close_at_end { close = function() sched.close_at_end { close = function() closed = true end } end }
    end)
    assert.is_true(closed)
  end)
end)

describe("a list of what is to be closed", function()
  it("tells what came behind a mark and is still open, in the order of opening", function()
    local list, objects = closables.new(), {}
    for i = 1, 6 do objects[i] = { i } end
    for i = 1, 3 do list:add(objects[i]) end
    local mark = list:mark()
    for i = 4, 6 do list:add(objects[i]) end
    assert.same({ { 4 }, { 5 }, { 6 } }, list:since(mark))
    assert.is_true(list:remove(objects[3]))
    assert.is_true(list:remove(objects[5]))
    assert.is_false(list:remove(objects[5]))
    assert.same({ { 4 }, { 6 } }, list:since(mark))
    assert.same({ { 1 }, { 2 }, { 4 }, { 6 } }, list:since(0))
  end)

  it("has one that is added again behind all others, once", function()
    local list, a, b = closables.new(), {}, {}
    for _, obj in ipairs { a, b, a } do list:add(obj) end
    assert.equal(2, list.count)
    assert.equal(a, list:pop())
    assert.equal(b, list:pop())
    assert.is_nil(list:pop())
  end)
end)

-- Kilobytes that are in use, and how much is in the registries of the scheduler and of endpoints.
local function held()
  jit.flush() -- compiled code holds what it works on
  for _ = 1, 3 do collectgarbage() end
  local _, list = sched.inventory()
  return collectgarbage "count", list.count + count(list.links) + sched.live_tasks() + count(endpoint.objects)
end

describe("a run that opens and closes again and again", function()
  after_each(require("support.leaks").check)

  local ROOM = 64 -- kilobytes, for what is loaded and compiled meanwhile; what was kept for 20,000 wires was 20,000

  local function assert_flat(times, warm, open_and_close)
    local function loop(n)
      for i = 1, n do
        open_and_close()
        if i % 100 == 0 then ether.sleep(0) end
      end
      ether.sleep(0)
    end
    loop(warm)
    local memory, entries = held()
    loop(times)
    local memory_then, entries_then = held()
    assert.equal(entries, entries_then)
    assert.is_true(memory_then - memory < ROOM, ("%.0f kB more"):format(memory_then - memory))
  end

  it("20,000 wires with endpoints on them keeps nothing of them", function()
    ether.run(assert_flat, 20000, 2000, function()
      local a, b = ether.wire { frames = 128 }
      a:conn { mac = "02:00:00:00:00:01" }:udp "10.0.0.1:1"
      b:close()
      a:close()
    end)
  end)

  it("20,000 files keeps nothing of them", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    ether.run(function()
      ether.wire { capture = path }:close()
      assert_flat(20000, 2000, function()
        local file = ether.open("file:" .. path, { frames = 128 })
        file:default_conn { mirror = true }
        file:close()
      end)
    end)
  end)

  it("relays with a capture keeps no task that watches it", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    ether.run(assert_flat, 500, 100, function()
      local a, b = ether.wire { frames = 128, capture = path }
      a:close()
      b:close()
    end)
  end)

  root_it("relays of a lab keeps nothing of them, nor of the lab", function()
    ether.run(function()
      local _, before = held()
      local net = lab.new()
      sched.close_at_end(net)
      assert_flat(30, 5, function()
        local relay = net:relay("afpacket", { frames = 128 })
        relay:conn {}
        relay:close()
      end)
      net:close()
      assert.equal(before, (select(2, held())))
    end)
  end)
end)
