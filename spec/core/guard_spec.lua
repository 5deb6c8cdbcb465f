-- Whoever serves others outlives an error in the answer to one frame: the access network, the hosts of a relay,
-- responders. It is counted, told once, and the next frame is served.

local access = require "etherlua.lab.access"
local ether = require "etherlua"
local guard = require "etherlua.core.guard"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local p = require "etherlua.proto.packet"
local sched = require "etherlua.core.sched"
local wait = require "support.wait"

-- What is said on standard error while fn runs as a task.
local function said(fn)
  local real, texts = io.stderr, {}
  io.stderr = { write = function(_, ...) texts[#texts + 1] = table.concat { ... } end } -- luacheck: ignore 122
  local ok, reason = pcall(kinds.run, fn)
  io.stderr = real -- luacheck: ignore 122
  if not ok then error(reason, 0) end
  return table.concat(texts)
end

local function boom() error "boom" end

-- Said once, with the name of who serves and the place of the error.
local function assert_told(name, text)
  assert.matches("^etherlua: " .. name .. ": spec/core/guard_spec.lua:%d+: boom\nstack traceback:\n", text)
  assert.equal(1, select(2, text:gsub("boom", "")))
end

describe("an error in the answer to one frame", function()
  after_each(leaks.check)

  it("does not end the access network", function()
    assert_told("gateway on wire:b", said(function()
      local near, far = ether.wire()
      local gateway = access.new(far, {})
      sched.spawn_background(function() gateway:serve() end)
      local answer = gateway.server.answer
      gateway.server.answer = boom
      local client = near:conn { mac = "02:00:00:00:00:01" }
      local discover = p.ip4 { src = "0.0.0.0", dst = "255.255.255.255" } / p.udp { sport = 68, dport = 67 }
        / p.dhcp4 { op = 1, chaddr = "02:00:00:00:00:01", options = { message_type = "DISCOVER" } }
      for _ = 1, 3 do client:send(discover:build(), "ff:ff:ff:ff:ff:ff") end
      wait.eventually(function() return gateway:summary().failed == 3 end)
      gateway.server.answer = answer
      client:send(discover:build(), "ff:ff:ff:ff:ff:ff")
      assert(client:recv(1))
    end))
  end)

  it("does not end the hosts of a relay", function()
    assert_told("hosts on wire:b", said(function()
      local near, far = ether.wire()
      local asker = near:host { mac = "02:00:00:00:00:01", ip = "10.0.0.1/24" }
      local host = far:host { mac = "02:00:00:00:00:02", ip = "10.0.0.2/24" }
      host:watch_icmp(boom)
      for _ = 1, 3 do
        asker:send { dst = "10.0.0.2", protocol = 1, payload = p.icmp({ type = 3, code = 1 }):build() }
      end
      wait.eventually(function() return host.segment.tap.counters.failed == 3 end)
      assert.is_number((asker:ping "10.0.0.2"))
    end))
  end)

  it("is told with its place by whoever calls, and an end of the task is none", function()
    local server = setmetatable({ failed = 0 }, { __tostring = function() return "me" end })
    assert_told("me", said(function()
      assert.same({ true, 5 }, { guard.call(server, function() return 5 end) })
      assert.is_false((guard.call(server, boom)))
      assert.is_false((guard.call(server, boom)))
      local task = ether.spawn(guard.call, server, ether.sleep, 100)
      ether.sleep(0)
      task:cancel()
      assert.same({ [2] = "cancelled" }, { task:join() })
    end))
    assert.equal(2, server.failed)
    assert.matches("boom", server.last_error)
  end)
end)
