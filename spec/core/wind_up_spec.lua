-- A run winds up whatever went wrong: deferred functions run and what was opened is closed, also when the error is an
-- object of which no text can be made, or one of the loop itself, such as no memory.

local ether = require "etherlua"
local failures = require "etherlua.core.failure"
local guard = require "etherlua.core.guard"
local leaks = require "support.leaks"
local sched = require "etherlua.core.sched"

local function boom() error "boom" end

-- Error values that cannot be told, by name.
local UNSPEAKABLE = {
  ["an object whose __tostring raises"] = setmetatable({}, { __tostring = boom }),
  ["an object whose __tostring returns no text"] = setmetatable({}, { __tostring = function() return {} end }),
  ["an object whose fields raise"] = setmetatable({}, { __tostring = boom, __index = boom }),
}
local WORDS = "an error that is a table of which no text can be made"

-- Runs fn as a task, which fails; returns with what, and what its deferred functions and another task's have noted.
local function run(fn)
  local notes, relay = {}, nil
  local ok, failure = pcall(ether.run, function()
    relay = ether.wire()
    ether.defer(function() table.insert(notes, "first") end)
    ether.spawn(function()
      ether.defer(function()
        ether.sleep(0.001)
        table.insert(notes, "other")
      end)
      ether.sleep(60)
    end)
    ether.sleep(0)
    fn(notes)
  end)
  assert.is_false(ok)
  assert.is_nil(relay.handle)
  table.sort(notes)
  return tostring(failure), table.concat(notes, " ")
end

describe("a run ends as it should with", function()
  after_each(leaks.check)

  for name, value in pairs(UNSPEAKABLE) do
    it(name .. ", in a task", function()
      local failure, notes = run(function() error(value) end)
      assert.matches(WORDS, failure, 1, true)
      assert.matches("wind_up_spec.lua", failure, 1, true) -- its traceback
      assert.equal("first other", notes)
    end)

    it(name .. ", in a deferred function", function()
      local failure, notes = run(function() ether.defer(function() error(value) end) end)
      assert.matches(WORDS, failure, 1, true)
      assert.equal("first other", notes)
    end)

    it(name .. ", where something is closed", function()
      local failure, notes = run(function()
        sched.close_at_end { close = function() error(value) end }
        sched.cancel_all()
      end)
      assert.matches(WORDS, failure, 1, true)
      assert.equal("first other", notes)
    end)

    it(name .. ", where a frame is answered", function()
      local real, said = io.stderr, {}
      local server = setmetatable({ failed = 0 }, { __tostring = function() return "server" end })
      io.stderr = { write = function(_, text) table.insert(said, text) end } -- luacheck: ignore 122
      local ok, failed = pcall(ether.run, guard.call, server, error, value)
      io.stderr = real -- luacheck: ignore 122
      assert.same({ true, false, 1 }, { ok, failed, server.failed })
      assert.matches("server: (" .. WORDS, table.concat(said), 1, true)
    end)
  end

  it("no memory for what the loop does, and loses no deferred function", function()
    local create, failing = coroutine.create, 0
    local failure, notes = run(function(notes)
      ether.defer(function() table.insert(notes, "last") end)
      coroutine.create = function(...) -- luacheck: ignore 122
        failing = failing + 1
        if failing > 3 then coroutine.create = create end -- luacheck: ignore 122
        if failing % 2 == 1 then error("not enough memory", 0) end
        return create(...)
      end
    end)
    coroutine.create = create -- luacheck: ignore 122
    assert.matches("^not enough memory", failure)
    assert.equal("first last other", notes)
    assert.same({ 7 }, { ether.run(function() return ether.spawn(function() return 7 end):join() end) })
  end)

  it("an error of whom the run tells of errors", function()
    local failure, notes = run(function()
      sched.attend { failed = boom }
      ether.spawn(error, "lost", 0)
      ether.sleep(0.001)
    end)
    assert.matches("boom", failure)
    assert.equal("first other", notes)
  end)
end)

describe("the text of an error", function()
  it("can always be made", function()
    assert.same({ "x", "nil", "5", "cancelled" }, { failures.text "x", failures.text(nil), failures.text(5),
      failures.text(sched.CANCELLED) })
    for _, value in pairs(UNSPEAKABLE) do
      assert.equal("(" .. WORDS .. ")", failures.text(value))
      assert.is_nil(failures.exit_status(value))
    end
    assert.equal(3, failures.exit_status { exit_status = 3 })
  end)
end)
