-- Tracing tasks: each event says what happened to which task, for what and by whom, and when.

local ether = require "etherlua"
local ffi = require "ffi"
local sched = require "etherlua.core.sched"
local trace = require "etherlua.program.trace"
local shell = require "support.shell"

-- The events of a run, and the lines that the program prints of them, without their times.
local function traced(fn)
  local events, lines = {}, {}
  local ok, failure = pcall(ether.run, function()
    sched.trace(function(event)
      events[#events + 1], lines[#lines + 1] = event, trace.line(event):gsub("^%d+%.%d+ ", "")
    end)
    fn()
  end)
  sched.trace(nil)
  if not ok then error(failure, 0) end
  return events, lines
end

local function find(events, kind, task)
  for _, event in ipairs(events) do
    if event.kind == kind and (not task or event.task == task) then return event end
  end
end

local function with_relays(fn)
  return traced(function()
    local a, b = ether.wire()
    local function conn(relay, mac) return relay:conn { mac = mac, ethertypes = { 0x88b5 } } end
    fn(conn(a, "02:00:00:00:00:01"), conn(b, "02:00:00:00:00:02"))
  end)
end

describe("a trace of tasks", function()
  after_each(require("support.leaks").check)

  it("tells of a task's whole life", function()
    local task
    local events, lines = with_relays(function(left, right)
      task = ether.spawn(function() return right:recv(5) end)
      ether.sleep(0)
      left:send("x", "02:00:00:00:00:02", { ethertype = 0x88b5 })
      assert.equal("x", (task:join()))
    end)
    local text = table.concat(lines, "\n"):gsub("[%d.]+ s at most", "5.000 s at most")
      :gsub("task (%d+)", function(id) return tonumber(id) == task.id and "reader" or "main" end)
    assert.equal([[
reader spawned by main
main gives way
reader waits for a frame of EtherConn 02:00:00:00:00:02, 5.000 s at most
main waits for reader
reader woken by the engine
reader ends: returned
main woken by reader
main ends: returned]], text)
    assert.equal(task, find(events, "park", task).task)
  end)

  it("has the engine's time, which does not go back", function()
    local before = ether.now()
    local events = traced(function() for _ = 1, 5 do ether.sleep(0.001) end end)
    for _, event in ipairs(events) do
      assert.is_true(event.time >= before and event.time <= ether.now())
      before = event.time
    end
  end)

  it("says for what a task waits", function()
    local pipe = io.popen "sleep 0.02; echo x"
    pcall(ffi.cdef, "int fileno(void *);")
    local fd = ffi.C.fileno(pipe)
    local endpoint, channel
    local events = with_relays(function(left, right)
      endpoint, channel = right, ether.channel()
      local parked = ether.spawn(function() sched.park(sched.current()) end)
      ether.select { channel, left, timeout = 0.001 }
      parked:cancel()
      ether.sleep(0.001)
      right:recv(0.001)
      sched.wait_fd(fd)
      channel:send(1)
      channel:send(2, 0.001)
    end)
    pipe:close()
    local waits = {}
    for _, event in ipairs(events) do
      if event.kind == "park" and event.what ~= "turn" then waits[#waits + 1] = event end
    end
    local select, wake, time, frame, file, room = unpack(waits)
    assert.same({ "select", "wake", "time", "frame", "file", "select" }, { select.what, wake.what, time.what,
      frame.what, file.what, room.what })
    assert.equal(channel, select.object[1])
    assert.is_true(select.deadline > select.time)
    assert.is_nil(wake.deadline)
    assert.is_true(time.deadline > time.time)
    assert.equal(endpoint, frame.object)
    assert.equal(fd, file.object)
    assert.matches("waits for room in channel %(1 of 1%), 0%.00%d s at most$", trace.line(room))
  end)

  it("says how tasks end, and who woke one that is cancelled", function()
    local victim, culprit
    local events = {}
    sched.trace(function(event) events[#events + 1] = event end)
    assert.is_false(pcall(ether.run, function()
      victim = ether.spawn(ether.sleep, 1000)
      culprit = ether.spawn(function()
        ether.sleep(0)
        victim:cancel()
        victim:join()
        error "boom"
      end)
    end))
    sched.trace(nil)
    assert.equal("cancelled", find(events, "end", victim).how)
    assert.equal("failed", find(events, "end", culprit).how)
    assert.equal(culprit, find(events, "wake", victim).by)
  end)

  it("ends when it is switched off", function()
    local count = 0
    ether.run(function()
      sched.trace(function() count = count + 1 end)
      ether.sleep(0)
      sched.trace(nil)
      ether.sleep(0)
    end)
    assert.equal(1, count)
  end)

  it("ends with a line when its function fails, and the tasks go on", function()
    local pipe = io.popen(([[%s -e 'local ether = require "etherlua"
      require("etherlua.core.sched").trace(function() error("no ink", 0) end)
      print(ether.run(function() ether.sleep(0.001) return "done" end))' 2>&1]]):format(shell.LUAJIT))
    local output = pipe:read "*a"
    pipe:close()
    assert.equal("etherlua: tasks are traced no more: no ink\ndone\n", output)
  end)
end)
