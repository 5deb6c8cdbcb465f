-- test/runner.lua: makes busted, unchanged, run each body (it, before_each, setup, a describe block, a spec file) as a
-- task, so that blocking calls work in it. A body has a time limit, an error in another task ends it, and what a test
-- left open is closed and fails it. All bodies of a spec file are of one run: what setup opens is there in the tests.
--
-- busted looks up its own safe() and safe_publish() in its core for each body and event, and these are what is replaced
-- here: by `etherlua test` when the core is made and for all files, under plain busted by `require "etherlua.test"` and
-- for the file in which it stands.

local effi = require "etherlua.core.ffi"
local misuse = require "etherlua.core.misuse"
local runaway = require "etherlua.core.runaway"
local scope = require "etherlua.test.scope"
local sched = require "etherlua.core.sched"

local M = {}

-- Seconds that a body may take, unless its scope says otherwise.
M.limit = 30

local LATER = 0.1 -- seconds after the limit: who waits is cancelled by then

local C = effi.C

local core               -- busted's
local safe, safe_publish, rewrite_message
local always, enabled    -- in all files; in this one
local scopes = {}        -- of the spec file, describe blocks and the test; the innermost last
local active             -- scope that the running body opens things in
local body               -- that runs: { task =, problem =, watchdog = }

-- ---- messages -----------------------------------------------------------------------------------------------------

-- What failed, where that is no test.
local WORDS = {
  strict_setup = "setup failed, so the tests behind it did not run: ",
  lazy_setup = "setup failed, so the tests behind it did not run: ",
  strict_teardown = "teardown failed: ", lazy_teardown = "teardown failed: ",
  before_each = "before_each failed, so the test did not run: ", after_each = "after_each failed: ",
}

local function problem_of_task()
  local traceback = sched.take_failure()
  return traceback and "another task failed: " .. traceback
end

local function capture_lines()
  if not active then return "" end
  active:keep_captures()
  return active:capture_lines()
end

local SIGNALS = { [1] = "SIGHUP", [2] = "SIGINT", [15] = "SIGTERM" }

-- Why no other test is run, or nil. Only signals that the program catches are counted.
---@return string?
function M.interruption()
  local number = C.el_signals_last()
  return number ~= 0 and ("interrupted by %s"):format(SIGNALS[number] or "signal " .. number) or nil
end

local function is_pending(message)
  return (debug.getmetatable(message) or {}).__type == "pending"
end

-- busted would name the line in etherlua from which an error without a place came.
local function with_place(message)
  local text = tostring(message)
  local place = not text:find("^[^\n]-:%d+: ") and scope.place_here()
  return place and place .. ": " .. text or message
end

local function rewrite(element, message, trace)
  if not enabled or is_pending(message) then return rewrite_message(element, message, trace) end
  if message == sched.CANCELLED then
    message = body and body.problem or problem_of_task() or with_place(M.interruption() or message)
  elseif type(message) == "string" or type(message) == "table" and message.exit_status then
    message = with_place(message)
  end
  return (WORDS[element.descriptor] or "") .. rewrite_message(element, message, trace) .. capture_lines()
end

-- ---- bodies -------------------------------------------------------------------------------------------------------

local function time_limit()
  local one = active
  while one and not one.limit do one = one.outer end
  return one and one.limit or M.limit
end

-- A stack without what is below the body: busted and this file.
local function without_runner(traceback)
  return (traceback:gsub("\n[^\n]*test/runner%.lua:.*", ""))
end

local WAITING, RUNNING = "%s: still waiting after %g s\n%s", "%s: still running after %g s, and has never waited\n%s"

local function out_of_time(this, words, place, seconds, traceback)
  this.problem = words:format(place or "in no code of the test", seconds, without_runner(traceback))
  this.task.ending = nil -- its deferred functions have no longer
  if sched.current() ~= this.task then this.task:cancel() end
end

-- Ends the body when its time is up: it is cancelled where it waits. Where it never does, runaway.lua ends it.
local function watch(this, seconds)
  if this.watchdog then this.watchdog:cancel() end
  this.watchdog = sched.spawn_background(function()
    sched.sleep(seconds)
    local co = this.task.co
    out_of_time(this, WAITING, scope.place(co), seconds, debug.traceback(co))
  end)
  runaway.set_limit(seconds + LATER, function(...) out_of_time(this, RUNNING, (...), seconds, (select(2, ...))) end)
end

local function end_watch(this)
  if this.watchdog then this.watchdog:cancel() end
  runaway.set_limit(nil)
end

-- An error of which safe() did not hear: the body was abandoned in the middle of it, or ran out of time behind it, at
-- its deferred functions.
local function fail_behind(element, problem)
  core.publish({ "error", element.descriptor }, element, core.context.parent(element), problem .. capture_lines(),
    element.trace)
  return core.status("error")
end

-- The loop has it before the bodies that clean up run, which it would cancel else.
local function hear_of_signals()
  sched.drive(function() sched.sleep(0) end)
end

local function run_body(descriptor, run, element)
  local this, outcome = {}, nil
  body = this
  sched.drive(function()
    this.task = sched.current()
    watch(this, time_limit())
    outcome = { safe(descriptor, function()
      run()
      this.problem = this.problem or problem_of_task()
      if this.problem then error(this.problem, 0) end -- a cancellation that the body has swallowed
    end, element) }
  end)
  end_watch(this)
  body = nil
  if M.interruption() then hear_of_signals() end
  if not outcome then -- swallowed its cancellation so often that it was abandoned
    core.context.pop()
    return fail_behind(element, this.problem or "cancelled")
  end
  if this.problem and outcome[1]:success() then return fail_behind(element, this.problem) end
  return unpack(outcome)
end

-- ---- scopes -------------------------------------------------------------------------------------------------------

-- Of a test with the blocks and the file around it, as paths have it.
local function name_of(element)
  local names, one = {}, element
  while one and one.descriptor ~= "suite" do
    table.insert(names, 1, one.descriptor == "file" and tostring(one.name):match "([^/]*)%.lua$" or one.name)
    one = core.context.parent(one)
  end
  return table.concat(names, " ")
end

local function push(element)
  active = scope.new(scopes[#scopes], name_of(element))
  active.element = element
  scopes[#scopes + 1] = active
  return active
end

-- Ends the innermost scope.
---@return string? message about what was left in it
local function pop()
  local names, stuck
  runaway.set_limit(time_limit(), function(place) stuck = place .. ": a task still runs, and has never waited" end)
  local one = table.remove(scopes)
  sched.drive(function() names = one:settle() end)
  runaway.set_limit(nil)
  local problem = problem_of_task() or stuck
  if #scopes == 0 then problem = sched.end_run() or problem end
  if not problem and names and #names > 0 then problem = "left open: " .. table.concat(names, ", ") end
  if one.keep then problem = nil end -- what failed says enough
  if problem then problem = problem .. capture_lines() end
  active = scopes[#scopes]
  one:drop_captures()
  return problem
end

-- A lazy setup runs within the first test that needs it and is of the block in which it stands.
local function in_scope_of(owner, fn, ...)
  local at = #scopes
  while at > 0 and scopes[at].element ~= owner do at = at - 1 end
  if at == 0 then return fn(...) end
  active = scopes[at]
  local outcome = { fn(...) }
  for i = at + 1, #scopes do scopes[i]:mark() end
  active = scopes[#scopes]
  return unpack(outcome)
end

-- Its end is announced after all of it, after_each too, has run, with what it left.
local function announce(one, problem)
  if not one.announcement then return end
  local descriptor, channel, element, parent, status = unpack(one.announcement)
  if problem and status == "success" then
    core.publish({ "failure", "it" }, element, parent, problem, element.trace)
    status = "failure"
  end
  safe_publish(descriptor, channel, element, parent, status)
end

-- A test with the before_each and after_each around it.
local function run_test(descriptor, run, element)
  return safe(descriptor, function()
    local one = push(element)
    run()
    announce(one, pop())
  end, element)
end

-- After a signal what has begun is cleaned up, and nothing else begins.
local BEGINS = { it = true, pending = true, describe = true, file = true }

local function skips(descriptor, run, element)
  if not BEGINS[descriptor] or run == element.run or not M.interruption() then return false end
  core.skipAll = true
  return true
end

local function run_safe(descriptor, run, element)
  if skips(descriptor, run, element) then
    return core.status("success")
  elseif not enabled then
    return safe(descriptor, run, element)
  elseif descriptor == "it" and element.descriptor == "it" and run ~= element.run then
    return run_test(descriptor, run, element)
  elseif run ~= element.run and descriptor ~= "finally" then
    return safe(descriptor, run, element)
  elseif descriptor == "lazy_setup" then
    return in_scope_of(core.context.parent(element), run_body, descriptor, run, element)
  end
  return run_body(descriptor, run, element)
end

local function publish_safely(descriptor, channel, element, ...)
  if active and active.element == element and channel[1] == "test" and channel[2] == "end" then
    active.announcement = { descriptor, channel, element, ... }
    return true
  end
  return safe_publish(descriptor, channel, element, ...)
end

-- ---- events -------------------------------------------------------------------------------------------------------

local modules = {} -- ours: busted forgets at the end of a file what it loaded, but C types can be declared only once

-- All but the one whose require() enables it.
local function remember_modules()
  for name, module in pairs(package.loaded) do
    if name:find("^etherlua") and name ~= "etherlua.test" then modules[name] = module end
  end
end

local function file_start()
  for name, module in pairs(modules) do package.loaded[name] = module end
  enabled = always
end

local function block_start(element)
  if enabled then push(element) end
end

local function block_end(element)
  if not active or active.element ~= element then return end
  local problem = pop()
  if not problem then return end
  local trace = element.trace or { short_src = element.name, currentline = 0, traceback = "" }
  core.publish({ "error", element.descriptor }, element, core.context.parent(element), problem, trace)
end

local function subscribe(descriptor, event, fn)
  core.subscribe({ descriptor, event }, function(element)
    fn(element)
    return nil, true
  end)
end

-- Those that have begun already: `require "etherlua.test"` stands in them.
local function push_begun(element)
  if not element or element.descriptor == "suite" then return end
  push_begun(core.context.parent(element))
  push(element)
end

local function hook(of_busted)
  core = of_busted
  safe, safe_publish, rewrite_message = core.safe, core.safe_publish, core.rewriteMessage
  core.safe, core.safe_publish, core.rewriteMessage = run_safe, publish_safely, rewrite
  subscribe("file", "start", file_start)
  for _, descriptor in ipairs { "file", "describe" } do
    subscribe(descriptor, "start", block_start)
    subscribe(descriptor, "end", block_end)
  end
end

-- Makes the bodies of the spec file that busted is at tasks.
---@param of_busted table as made by busted.core
---@param all? boolean those of all files
function M.install(of_busted, all)
  if not core then hook(of_busted) end
  remember_modules()
  if enabled then return end
  always, enabled = all, true
  push_begun(core.context.get())
end

-- The core of a busted that runs already. It is nowhere to be had but as an upvalue of what busted exports.
---@return table? core
function M.running_core()
  local it = package.loaded.busted and package.loaded.busted.it
  for i = 1, math.huge do
    local name, value = debug.getupvalue(it or print, i)
    if not name then return nil end
    if name == "busted" then return value end
  end
end

-- How long a body of the innermost scope may take, the one that runs too, which has so long from now.
---@param seconds number
function M.set_limit(seconds)
  M.scope().limit = seconds
  if body then watch(body, seconds) end
end

-- The scope of the running test or block, which owns what etherlua.test hands out.
---@return table
function M.scope()
  return active or misuse.raise("this needs busted: run the file with etherlua test or busted --lua=luajit")
end

return M
