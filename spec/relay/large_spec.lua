-- Frames of a capture file that no MTU lets be: put together by offloads, or of the loopback interface.

local ether = require "etherlua"
local capture = require "etherlua.relay.capture"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local pcap = require "support.pcap"

local SIZES = { 100, 15000, 16300, 20000, 40000, 64000, 65493, 70000, 262000 }

local function padded(size) return frames.frame(("x"):rep(size - 14), { ethertype = 0x88b5 }) end

-- fn as a task.
local function task_it(name, fn)
  it(name, function() kinds.run_apart(fn) end)
end

local function each_frame(endpoint, fn)
  local count = 0
  while true do
    local frame, reason = endpoint:recv_frame(5)
    if not frame then return count, reason end
    count = count + 1
    fn(frame, count)
  end
end

describe("a file relay", function()
  after_each(function()
    pcap.remove_files()
    leaks.check()
  end)

  for name, format in pairs(pcap.formats) do
    task_it("receives frames of any size whole, and they are written whole: of a " .. name .. " file", function()
      local list, path = {}, pcap.new_path()
      for i, size in ipairs(SIZES) do list[i] = padded(size) end
      local relay = ether.open("file:" .. pcap.write_file(format(list)), { filter = "" })
      local mirror, copy = relay:default_conn { mirror = true, invalid = true }, capture.new(path)
      assert.same({ #list, "closed" }, { each_frame(mirror, function(frame, i)
        assert.same({ SIZES[i], 0, false }, { frame.len, frame.cut, frame.invalid })
        assert.is_true(tostring(frame) == list[i])
        copy:write(frame, relay:wall(frame))
      end) })
      assert.is_true((copy:flush()))
      copy:close()
      for i, record in ipairs(pcap.records(path)) do
        assert.is_true(record[1] == list[i])
        assert.equal(SIZES[i], record.len)
      end
      frames.assert_balanced(relay)
    end)
  end

  task_it("gives large datagrams to the endpoints that they are for, and to a mirror", function()
    local list = {}
    for i, size in ipairs { 20, 20000, 65000 } do list[i] = frames.frame(frames.udp { payload = ("y"):rep(size) }) end
    local relay = ether.open("file:" .. pcap.file(list))
    local udp, mirror = relay:conn { mac = frames.MAC_B }:udp("10.0.0.2:2000"), relay:default_conn { mirror = true }
    for i, size in ipairs { 20, 20000, 65000 } do
      assert.equal(size, #udp:recv(1))
      local seen = mirror:recv_frame(1)
      assert.is_true(tostring(seen) == list[i])
      seen:release()
    end
  end)

  task_it("reads no further than there is memory for large frames, and loses none", function()
    local count, big = 320, padded(262144) -- more than 64 MB
    local path, list = pcap.new_path(), {}
    for i = 1, 40 do list[i] = big end
    local file = assert(io.open(path, "wb"))
    local first = pcap.with(pcap.le32, 0xa1b23c4d, 1e-9, list)
    file:write(first)
    for _ = 2, count / #list do file:write(first:sub(25)) end
    file:close()
    local relay = ether.open("file:" .. path, { filter = "" })
    local mirror = relay:default_conn { mirror = true }
    for _ = 1, 20 do ether.sleep(0) end -- nobody reads yet
    assert.same({ count, "closed" }, { each_frame(mirror, function(frame) assert.equal(262144, frame.len) end) })
    local stats = relay:stats()
    assert.same({ 0, 0, count }, { stats.rx_evicted, stats.rx_no_memory, stats.rx_delivered })
  end)

  task_it("tells how much of a frame the capture left out, however much", function()
    local relay = ether.open("file:" .. pcap.file { { padded(60), len = 200000 } }, { filter = "" })
    local frame = relay:default_conn { invalid = true }:recv_frame(1)
    assert.same({ 60, 199940, true }, { frame.len, frame.cut, frame.invalid })
    frame:release()
  end)
end)
