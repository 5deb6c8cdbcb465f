-- The hot loops of sending and receiving: that the JIT compiles them, and that they make no garbage. Each is measured
-- in a process of its own, so that nothing else that was compiled before can help or harm.
-- Runs alone: it compares times.

-- Sends and receives bursts of datagrams over a wire, and prints "name value" lines about all but the first of them.
local CHILD = [[
  local how, compiled = arg[1], arg[2] == "compiled"
  if not compiled then jit.off() end
  local ether = require "etherlua"
  local util, vmdef, profile = require "jit.util", require "jit.vmdef", require "jit.profile"

  local PACKETS = 200000
  local aborts, refused, samples, interpreted = 0, "", 0, 0

  local HOT = { ["udp.lua"] = true, ["conn.lua"] = true, ["endpoint.lua"] = true, ["addr.lua"] = true,
    ["pacer.lua"] = true, ["histogram.lua"] = true }

  -- A place is refused for good when it does what cannot be compiled; other aborts are the JIT trying another loop.
  jit.attach(function(what, _, func, pc, number)
    if what ~= "abort" then return end
    aborts = aborts + 1
    local place, reason = util.funcinfo(func, pc).loc or "?", vmdef.traceerr[number] or "?"
    if HOT[place:match "^[^:]+"] and (reason:find "NYI" or reason:find "blacklisted") then
      refused = refused .. place .. " " .. reason .. "; "
    end
  end, "trace")

  local hosts = {}

  local function open_hosts()
    local a, b = ether.wire()
    hosts.conn = a:conn { mac = "02:00:00:00:00:01" }
    hosts.to_conn = b:conn { mac = "02:00:00:00:00:02", multicast = true }
    hosts.udp, hosts.to_udp = hosts.conn:udp "10.0.0.1:1", hosts.to_conn:udp "10.0.0.2:2"
    hosts.text, hosts.addr, hosts.mac = "10.0.0.2:2", ether.addr "10.0.0.2:2", ether.mac "02:00:00:00:00:02"
    hosts.payload = "\69\0\0\64" .. ("\0"):rep(60) -- also a valid IPv4 packet
  end

  local function reader_of(endpoint, method)
    return function(count)
      local recv = endpoint[method]
      for i = 1, count do
        if not recv(endpoint, 5) then return i - 1 end
      end
      return count
    end
  end

  local function sender_of(endpoint, to)
    local payload = hosts.payload
    return function(count)
      for _ = 1, count do endpoint:send(payload, to) end
    end
  end

  -- Each packet is waited for.
  local function single_sender_of(endpoint, to)
    local payload = hosts.payload
    return function(count)
      for _ = 1, count do
        ether.sleep(0)
        endpoint:send(payload, to)
      end
    end
  end

  -- The rate is one that it is always late for: what is measured is not the waiting.
  local function paced_sender_of(endpoint, to)
    local payload, pacer = hosts.payload, ether.pacer { rate = 1e9, jitter = true }
    return function(count)
      for _ = 1, count do
        pacer:wait()
        endpoint:send(payload, to)
      end
    end
  end

  local pairs_of = {
    ["udp recv_frame"] = function()
      return sender_of(hosts.udp, hosts.addr), reader_of(hosts.to_udp, "recv_frame")
    end,
    ["udp paced"] = function()
      return paced_sender_of(hosts.udp, hosts.addr), reader_of(hosts.to_udp, "recv_frame")
    end,
    ["udp recv"] = function() return sender_of(hosts.udp, hosts.addr), reader_of(hosts.to_udp, "recv") end,
    ["udp recv, one by one"] = function()
      return single_sender_of(hosts.udp, hosts.addr), reader_of(hosts.to_udp, "recv")
    end,
    ["udp text"] = function() return sender_of(hosts.udp, hosts.text), reader_of(hosts.to_udp, "recv_frame") end,
    ["conn recv_frame"] = function()
      return sender_of(hosts.conn, hosts.mac), reader_of(hosts.to_conn, "recv_frame")
    end,
  }

  ether.run(function()
    open_hosts()
    local send, recv = pairs_of[how]()
    local function burst(count)
      local reader = ether.spawn(recv, count)
      send(count)
      return reader:join()
    end
    if compiled then
      profile.start("i1", function(_, count, state)
        samples = samples + count
        if state == "I" or state == "C" then interpreted = interpreted + count end -- C: called by the interpreter
      end)
      for _ = 1, 5 do burst(PACKETS) end
      samples, interpreted = 0, 0
      for _ = 1, 10 do burst(PACKETS) end
      profile.stop()
    end
    for _ = 1, 5 do burst(PACKETS / 5) end
    collectgarbage()
    collectgarbage "stop"
    local before, memory, start = aborts, collectgarbage "count", os.clock()
    print("received", burst(PACKETS))
    print("seconds", os.clock() - start)
    print("garbage", (collectgarbage "count" - memory) * 1024 / PACKETS)
    print("aborts", aborts - before)
    print("interpreted", interpreted / samples)
    print("refused", refused)
  end)
]]

local PACKETS = 200000
local SANITIZED = (os.getenv "ETHERLUA_LIB" or ""):find "/san/" ~= nil

-- What the child printed, by name.
local function measure(how, mode)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(CHILD)
  file:close()
  local pipe = io.popen(("LUA_PATH='%s;;' luajit %s '%s' %s 2>&1"):format(package.path, path, how, mode))
  local output = pipe:read "*a"
  pipe:close()
  os.remove(path)
  local out = {}
  for name, value in output:gmatch "(%w+)\t([^\n]*)\n" do out[name] = tonumber(value) or value end
  assert(out.refused, output)
  return out
end

local ONE_BY_ONE = "udp recv, one by one"

for _, how in ipairs { "udp recv_frame", "udp recv", ONE_BY_ONE, "udp text", "udp paced", "conn recv_frame" } do
  describe("sending and receiving with " .. how, function()
    local compiled, interpreted

    if SANITIZED then
      it("is compiled", function() pending "a library with sanitizers is not measured" end)
      return
    end

    setup(function()
      compiled, interpreted = measure(how, "compiled"), measure(how, "interpreted")
    end)

    it("loses nothing", function()
      assert.equal(PACKETS, compiled.received)
    end)

    it("does nothing that the JIT cannot compile", function()
      assert.equal("", compiled.refused)
    end)

    it("is compiled once: the JIT gives up on next to nothing after the first bursts", function()
      assert.is_true(compiled.aborts <= 5, compiled.aborts .. " aborts")
    end)

    it("spends little of its time in the interpreter, which is what switches tasks", function()
      local limit = how == ONE_BY_ONE and 0.3 or 0.1
      assert.is_true(compiled.interpreted < limit, ("%.2f of it"):format(compiled.interpreted))
    end)

    it("takes less than half the time that the interpreter needs", function()
      local ratio = interpreted.seconds / compiled.seconds
      assert.is_true(ratio > 2, ("ratio %.1f"):format(ratio))
    end)

    it("makes less than a byte of garbage per packet", function()
      assert.is_true(compiled.garbage < 1, ("%.2f bytes"):format(compiled.garbage))
    end)
  end)
end
