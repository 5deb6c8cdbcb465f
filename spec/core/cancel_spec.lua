-- What a cancellation reaches: tasks that have not begun, and those that are spawned behind it. What it does to a task
-- that waits is sched_spec.lua's.

local ether = require "etherlua"
local files = require "support.files"
local linux_it = require "support.linux_it"
local program = require "support.program"
local sched = require "etherlua.core.sched"

local run, spawn, sleep, defer = ether.run, ether.spawn, ether.sleep, ether.defer
local FOREVER = 1000

describe("a task that is cancelled before it begins", function()
  after_each(require("support.leaks").check)

  it("does not begin", function()
    local begun = false
    run(function()
      spawn(function() begun = true end):cancel()
      sleep(0)
    end)
    assert.is_false(begun)
  end)

  it("is ended for those that join it", function()
    run(function()
      local task = spawn(sleep, FOREVER)
      task:cancel()
      assert.same({ [2] = "cancelled" }, { task:join() })
      assert.is_true(task.done)
    end)
  end)

  it("does not begin either when an error ends the run, or all are cancelled", function()
    for _, ending in ipairs { function() error "boom" end, sched.cancel_all } do
      local begun = false
      pcall(run, function()
        spawn(function() begun = true end)
        ending()
      end)
      assert.is_false(begun)
    end
  end)

  it("has begun when nothing ends the run early, be it a background task", function()
    local begun = 0
    run(function()
      spawn(function() begun = begun + 1 end)
      sched.spawn_background(function() begun = begun + 1 end)
    end)
    assert.equal(2, begun)
  end)
end)

describe("a task that is spawned behind a cancellation", function()
  after_each(require("support.leaks").check)

  -- Tasks that spawn each other, whatever they are told.
  local begun
  local function breed()
    begun = begun + 1
    if begun > 100 then return end
    pcall(sleep, 0.001)
    spawn(breed)
    spawn(breed)
  end

  it("of all does not begin, and the run ends", function()
    begun = 0
    run(function()
      spawn(breed)
      sleep(0)
      sched.cancel_all()
    end)
    assert.equal(1, begun)
  end)

  it("of its spawner does not begin", function()
    local begun_behind, reason = false, nil
    run(function()
      local task = spawn(function()
        pcall(sleep, FOREVER)
        local child = spawn(function() begun_behind = true end)
        defer(function() reason = select(2, child:join()) end)
      end)
      sleep(0)
      task:cancel()
    end)
    assert.is_false(begun_behind)
    assert.equal("cancelled", reason)
  end)

  it("of its spawner begins when it serves others", function()
    local begun_behind = false
    run(function()
      local task = spawn(function()
        pcall(sleep, FOREVER)
        sched.spawn_background(function() begun_behind = true end)
      end)
      sleep(0)
      task:cancel()
      task:join()
      sleep(0)
    end)
    assert.is_true(begun_behind)
  end)

  for _, name in ipairs { "spawn", "spawn_background" } do
    it(("of all helps a deferred function, with %s, as do its own"):format(name), function()
      local results = {}
      run(function()
        defer(function()
          sched[name](function()
            results[1] = sched[name](function()
              sleep(0.001)
              return "helped"
            end):join()
          end):join()
        end)
        sched.cancel_all()
        sleep(FOREVER)
      end)
      assert.same({ "helped" }, results)
    end)
  end

  it("of all ends when the deferred function has ended that it helped", function()
    local helper, cleaned, outlived
    run(function()
      defer(function()
        helper = spawn(function()
          defer(function() cleaned = true end)
          sleep(0.5)
          outlived = true
        end)
        sleep(0)
      end)
      sched.cancel_all()
    end)
    assert.is_true(helper.done and cleaned)
    assert.is_nil(outlived)
  end)

  it("of all is not cancelled in the next run", function()
    run(sched.cancel_all)
    assert.equal("fine", run(function() return spawn(function() return "fine" end):join() end))
  end)
end)

describe("a script that spawns tasks all the time", function()
  local SCRIPT = [[
    local ether = require "etherlua"
    local served = 0
    local function serve()
      served = served + 1
      pcall(ether.sleep, 0.001)
      if served < 10000 then ether.spawn(serve) else print "not ended" end
    end
    ether.defer(function() print "cleaned up" end)
    for _ = 1, 50 do ether.spawn(serve) end
    os.execute "kill -TERM $PPID"
    while true do ether.sleep(1) end]]

  linux_it("ends on SIGTERM", function()
    local path = files.temporary(SCRIPT)
    finally(function() os.remove(path) end)
    assert.same({ 130, "cleaned up\n" }, { program.said(nil, path) })
  end)
end)
