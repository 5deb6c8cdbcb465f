-- Where a task can wait: in what dofile and require load, as anywhere else. In a function that C calls it cannot, and
-- that is told.

local ether = require "etherlua"
local kinds = require "support.kinds"
local sched = require "etherlua.core.sched"

local HINT = "^spec/core/loading_spec.lua:%d+: this call waits, which is not possible inside a function that "
  .. "string.gsub, table.sort, load, .* calls: "

-- Modules that fn can require: name -> text.
local function with_modules(modules, fn)
  return function()
    local folder, path = os.tmpname(), package.path
    os.execute(("rm %s; mkdir %s"):format(folder, folder))
    for name, text in pairs(modules) do
      local file = assert(io.open(("%s/%s.lua"):format(folder, name), "w"))
      file:write(text)
      file:close()
    end
    package.path = folder .. "/?.lua;" .. path -- luacheck: ignore 122
    local ok, failure = pcall(kinds.run, fn, folder)
    package.path = path -- luacheck: ignore 122
    os.execute("rm -r " .. folder)
    for name in pairs(modules) do package.loaded[name] = nil end
    if not ok then error(failure, 0) end
  end
end

local WAITS = 'require("etherlua").sleep(0.001) return "value", ...'
local COUNTS = "package.count = (package.count or 0) + 1 require('etherlua').sleep(0.002) return { package.count }"

describe("dofile and require of what waits", function()
  after_each(function() rawset(package, "count", nil) end)

  it("just work", with_modules({ spec_waits = WAITS, spec_outer = 'return { require "spec_waits" }' }, function(folder)
    assert.equal("value", dofile(folder .. "/spec_waits.lua"))
    assert.same({ "value" }, require "spec_outer")
    assert.equal("value", package.loaded.spec_waits)
  end))

  it("load a module once, also when several tasks need it meanwhile", with_modules({ spec_counts = COUNTS }, function()
    local tasks, values = {}, {}
    for i = 1, 3 do tasks[i] = ether.spawn(function() values[i] = require "spec_counts" end) end
    for _, task in ipairs(tasks) do task:join() end
    assert.same({ { 1 }, { 1 }, { 1 } }, values)
    assert.is_true(values[1] == values[3])
  end))

  it("try again after an error, in this task and others", with_modules({
    spec_fails = COUNTS .. ", error('attempt ' .. package.count)" }, function()
    local function attempt() return tostring(select(2, pcall(require, "spec_fails"))) end
    assert.matches("attempt 1$", attempt())
    local task = ether.spawn(attempt)
    assert.matches("attempt 2$", task:join())
    assert.matches("attempt 3$", attempt())
  end))

  it("are what they were otherwise: values, errors, preloaded modules", with_modules({ spec_nothing = "",
    spec_broken = "x", spec_itself = 'return require "spec_itself"', spec_name = "return ..." }, function(folder)
    assert.is_true(require "spec_nothing")
    assert.equal("spec_name", require "spec_name")
    assert.equal(string, require "string")
    package.preload.spec_preloaded = function(name) return name .. "!" end
    assert.equal("spec_preloaded!", require "spec_preloaded")
    package.preload.spec_preloaded, package.loaded.spec_preloaded = nil, nil
    for name, words in pairs { spec_broken = "spec_broken.lua:1: ", spec_itself = "loop loading module 'spec_itself'",
      spec_missing = "module 'spec_missing' not found:\n\tno field package.preload" } do
      local ok, failure = pcall(require, name)
      assert.is_false(ok)
      assert.matches(words, failure, 1, true)
    end
    local ok, failure = pcall(dofile, folder .. "/spec_broken.lua")
    assert.matches("spec_broken.lua:1: ", tostring(not ok and failure))
    assert.matches("cannot open", select(2, pcall(dofile, folder .. "/nothing.lua")))
  end))

  it("are LuaJIT's own again after the run", function()
    local real = { dofile, require }
    ether.run(function() assert.is_true(dofile ~= real[1] and require ~= real[2]) end)
    assert.same(real, { dofile, require })
  end)
end)

describe("a function that C calls", function()
  -- fn(wait) has C call wait, and raises or returns what that raised.
  local CALLERS = {
    ["string.gsub"] = function(wait) ("x"):gsub("x", wait) end,
    ["table.sort"] = function(wait) table.sort({ 1, 2 }, wait) end,
    ["load"] = function(wait) error(select(2, load(wait)), 0) end,
    ["a coroutine inside of one"] = function(wait)
      ("x"):gsub("x", function()
        local ok, failure = coroutine.resume(coroutine.create(wait))
        if not ok then error(failure, 0) end
      end)
    end,
  }

  local function channel() return ether.channel() end

  -- What waits, and what has to be withdrawn when it cannot.
  local WAITS_FOR = {
    ["a time"] = function() return function() ether.sleep(0.001) end end,
    ["its turn"] = function() return function() ether.sleep(0) end end,
    ["a channel"] = function()
      local one = channel()
      return function() one:recv() end, function()
        one:send(1)
        assert.equal(1, one:recv(1))
      end
    end,
    ["a frame"] = function()
      local conn = ether.wire():conn()
      return function() conn:recv_frame(0.001) end, function()
        assert.equal("timeout", select(2, ether.spawn(function() return conn:recv_frame(0.001) end):join()))
      end
    end,
    ["a task"] = function()
      local task = ether.spawn(ether.sleep, 0.001)
      return function() task:join() end, function() task:join() end
    end,
    ["another task"] = function()
      local task
      return function()
        task = sched.current()
        sched.park(task)
      end
    end,
  }

  for caller, call in pairs(CALLERS) do
    for what, make in pairs(WAITS_FOR) do
      it(("cannot wait for %s, which is told with what to do: %s"):format(what, caller), function()
        kinds.run(function()
          local wait, afterwards = make()
          local ok, failure = pcall(call, wait)
          assert.is_false(ok)
          assert.matches(HINT, tostring(failure))
          if afterwards then afterwards() end
        end)
      end)
    end
  end
end)
