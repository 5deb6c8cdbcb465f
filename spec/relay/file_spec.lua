-- Relays on capture files, read once and written.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local linux_it = require "support.linux_it"
local misuse = require "etherlua.core.misuse"
local pcap = require "support.pcap"

local A, B = frames.MAC_A, frames.MAC_B
local RAW_IP, LINUX_SLL = 101, 113 -- link types
local START, FORMATS, pcap_with, le32 = pcap.START, pcap.formats, pcap.with, pcap.le32
local pcap_file, records, remove_files, new_path = pcap.file, pcap.records, pcap.remove_files, pcap.new_path
local write_file, read_file, numbered, many = pcap.write_file, pcap.read_file, pcap.numbered, pcap.many
local read_all, one_to = pcap.read_all, pcap.one_to

-- fn as a task. define: busted's `it`, or linux_it.
local function task_it(name, fn, define)
  (define or it)(name, function() kinds.run_apart(fn) end)
end

describe("a file relay", function()
  after_each(function()
    remove_files()
    leaks.check()
  end)

  for name, format in pairs(FORMATS) do
    task_it("receives every frame of a " .. name .. " file in order, each at its endpoint", function()
      local list = {}
      for i = 1, 300 do
        local fields = i % 3 == 0 and { vlans = { { vid = 100, pcp = 5 }, 200 } } or i % 3 == 1 and { dst = A } or nil
        list[i] = { numbered(i, fields), at = i * 0.001 }
      end
      local relay = ether.open("file:" .. write_file(format(list)))
      local tagged, other = relay:conn { mac = B, vlans = "100.200" }, relay:conn { mac = A }
      local udp, rest = other:udp("10.0.0.2:2000"), relay:default_conn()
      for i = 3, 300, 3 do
        local frame = tagged:recv_frame(1)
        frames.assert_same_bytes(list[i][1], tostring(frame))
        frame:release()
      end
      assert.same({ one_to(300, 3), "closed" }, { read_all(udp) })
      assert.same({ 100, "closed" }, { #read_all(rest), select(2, rest:recv(1)) })
      assert.same({ 300, 300 }, { frames.assert_balanced(relay).rx_frames, relay:stats().rx_delivered })
    end)

    task_it("keeps the distances of the timestamps of a " .. name .. " file", function()
      local relay = ether.open("file:" .. write_file(format { { numbered(1), at = 0 }, { numbered(2), at = 0.000123 },
        { numbered(3), at = 3600.5 } }))
      local conn, stamps = relay:conn { mac = B }, {}
      for i = 1, 3 do stamps[i] = conn:recv_frame(1).timestamp end
      assert.is_true(math.abs(stamps[2] - stamps[1] - 0.000123) < 1e-6)
      assert.is_true(math.abs(stamps[3] - stamps[1] - 3600.5) < 1e-6)
    end)
  end

  for name, format in pairs(FORMATS) do
    task_it("knows the time of each frame to the last digit of a " .. name .. " file", function()
      local list, unit = {}, (name:find("nano") or name == "pcapng") and 1 or 1000
      for i = 1, 500 do list[i] = { numbered(i), at = i * 7.000123 } end
      local path = write_file(format(list))
      local relay = ether.open("file:" .. path)
      local conn = relay:conn { mac = B }
      for i = 1, 500 do
        local at = START + list[i].at
        local expected = math.floor(at) * 1000000000LL + math.floor((at % 1) * 1e9 / unit + 0.5) * unit
        assert.equal(tostring(expected), tostring(relay:wall(conn:recv_frame(1).timestamp)))
      end
    end)
  end

  task_it("hands what is not valid to a default endpoint that asks for it, with as much of it as there is", function()
    local list = { { numbered(1):sub(1, 40), len = #numbered(1) }, numbered(1):sub(1, 40), "tiny", "",
      numbered(2):sub(1, 30), numbered(3) }
    local relay = ether.open("file:" .. pcap_file(list), { filter = "" })
    local rest = relay:default_conn { mirror = true, invalid = true }
    local cuts = { #numbered(1) - 40, 0, 0, 0, 0, 0 }
    for i, cut in ipairs(cuts) do
      local frame, whole = assert(rest:recv_frame(1)), type(list[i]) == "table" and list[i][1] or list[i]
      frames.assert_same_bytes(whole, tostring(frame))
      assert.same({ i < 6, cut }, { frame.invalid, frame.cut })
      if i < 6 then
        assert.same({ #frame.body, 0, 0 }, { frame.len, #frame.vlans, frame.ethertype })
        assert.is_nil(frame.src_ip)
        assert.equal(frame.len >= 12, frame.src_mac ~= nil)
      end
    end
    assert.same({ 6, 0 }, { frames.assert_balanced(relay).rx_delivered, relay:stats().rx_invalid })
  end)

  task_it('tells readers "closed" behind the last frame, those that come late too', function()
    local relay = ether.open("file:" .. pcap_file(many(10)))
    local conn, empty = relay:conn { mac = B }, relay:conn { mac = A }
    assert.same({ nil, "closed" }, { empty:recv() })
    ether.sleep(0.02)
    assert.same({ one_to(10), "closed" }, { read_all(conn) })
    assert.same({ nil, "closed" }, { conn:recv() })
    assert.same({ nil, "closed" }, { conn:recv(0) })
    assert.equal(conn, (ether.select { conn, timeout = 1 }))
    assert.same({ nil, "closed" }, { relay:conn({ mac = "02:00:00:00:00:0c" }):recv() })
  end)

  local hundred_thousand -- made once
  local SLOW = {
    ["sleeps now and then"] = { {}, function(i) if i % 5000 == 0 then ether.sleep(0.01) end end },
    ["gives way between frames"] = { {}, function() ether.sleep(0) end },
    ["has a short queue"] = { { recv_depth = 100 }, function(i) if i % 999 == 0 then ether.sleep(0.001) end end },
    ["has a queue of one"] = { { recv_depth = 1 }, function(i) if i % 9999 == 0 then ether.sleep(0.001) end end },
    ["has little frame memory"] = { { frames = 128 }, function(i) if i % 999 == 0 then ether.sleep(0.001) end end },
  }
  for words, case in pairs(SLOW) do
    task_it("loses none of 100,000 frames to a reader that " .. words, function()
      hundred_thousand = hundred_thousand or pcap_with(le32, 0xa1b23c4d, 1e-9, many(100000))
      local relay = ether.open("file:" .. write_file(hundred_thousand), case[1])
      local list, reason = read_all(relay:conn { mac = B }, case[2])
      assert.same({ 100000, "closed" }, { #list, reason })
      assert.equal(100000, list[100000])
      assert.equal(100000, frames.assert_balanced(relay).rx_delivered)
    end)
  end

  task_it("loses none of 10,000 frames to a reader that sets no timeout", function()
    local conn = ether.open("file:" .. pcap_file(many(10000)), { recv_depth = 10 }):conn { mac = B }
    for i = 1, 10000 do
      assert.equal(i, tonumber((conn:recv()):sub(-6)))
      ether.sleep(0)
    end
    assert.same({ nil, "closed" }, { conn:recv() })
  end)

  task_it("loses none to several readers of which one is slow", function()
    local list = {}
    for i = 1, 20000 do list[i] = numbered(i, i % 2 == 0 and { dst = A } or nil) end
    local relay = ether.open("file:" .. pcap_file(list))
    local fast, slow = relay:conn { mac = A }, relay:conn { mac = B }
    local task = ether.spawn(function() return #read_all(slow, function(i)
      if i % 1000 == 0 then ether.sleep(0.005) end
    end) end)
    assert.equal(10000, #read_all(fast))
    assert.equal(10000, task:join())
  end)

  task_it("is not held up by an endpoint that nobody reads", function()
    local list = {}
    for i = 1, 20000 do list[i] = numbered(i, i % 2 == 0 and { dst = A } or nil) end
    local relay = ether.open("file:" .. pcap_file(list))
    local read = relay:conn { mac = A }
    relay:conn { mac = B }
    local before = ether.now()
    assert.same({ 10000, "closed" }, { #read_all(read), select(2, read:recv(60)) })
    assert.is_true(ether.now() - before < 30)
    assert.equal(10000 - 1024, frames.assert_balanced(relay).rx_overflow)
  end)

  for name, start in pairs { ["any time"] = 0, ["the epoch"] = -START } do
    task_it("takes the time that the file took with timing = true, begun at " .. name, function()
      local gaps, list = { 0, 0.05, 0.06, 0.2, 0.2, 0.1 }, {} -- the last one went back in time
      for i, gap in ipairs(gaps) do list[i] = { numbered(i), at = start + gap } end
      local path, before = pcap_file(list), ether.now() -- the first frame is no earlier than that
      local conn = ether.open("file:" .. path, { timing = true }):conn { mac = B }
      for i, gap in ipairs { 0, 0.05, 0.06, 0.2, 0.2, 0.2 } do
        local payload = assert(conn:recv(10))
        local late = ether.now() - before - gap
        assert.equal(i, tonumber(payload:sub(-6)))
        assert.is_true(late >= 0 and late < 5, ("frame %d is %g s late"):format(i, late))
      end
      assert.same({ nil, "closed" }, { conn:recv(1) })
    end)
  end

  -- ---- what is sent -------------------------------------------------------------------------------------------------

  task_it("writes what is sent to the output file, and to none unless it is named one", function()
    local input, path = pcap_file(many(1)), new_path()
    for _, output in ipairs { false, path } do
      local relay = ether.open("file:" .. input, { output = output or nil })
      local conn = relay:conn { mac = B, vlans = { { vid = 7, tpid = 0x88a8, pcp = 3 } } }
      assert.equal("closed", select(2, read_all(relay:conn { mac = B })))
      for i = 1, 100 do assert.is_true(conn:send(frames.udp { payload = ("%06d"):format(i) }, A)) end
      relay:flush()
      assert.equal(100, frames.assert_balanced(relay).tx_sent)
      relay:close()
      assert.equal(output and 100 or 0, output and #records(path) or #read_file(path))
    end
    for i, record in ipairs(records(path)) do
      local fields = { src = B, dst = A, vlans = { { vid = 7, tpid = 0x88a8, pcp = 3 } } }
      frames.assert_same_bytes(numbered(i, fields), record[1])
      assert.is_true(math.abs(record.sec - os.time()) < 10)
    end
    assert.equal(1, #records(input))
  end)

  task_it("has its output in the file by the end of the turn, or when it is flushed", function()
    local path = new_path()
    local relay = ether.open("file:" .. pcap_file {}, { output = path })
    assert.equal(24, #read_file(path))
    local conn = relay:conn { mac = B }
    conn:send(frames.udp(), A)
    relay:flush()
    assert.equal(1, #records(path))
    conn:send(frames.udp(), A)
    ether.sleep(0)
    assert.equal(2, #records(path))
  end)

  task_it("has an MTU of 9216, or the one that it is given", function()
    local path = pcap_file {}
    assert.equal(9216, ether.open("file:" .. path).mtu)
    local relay = ether.open("file:" .. path, { mtu = 576 })
    assert.equal(576, relay.mtu)
    assert.error_matches(function() relay:conn({ mac = B }):send(("x"):rep(577), A, { ethertype = 0x88b5 }) end,
      "payload of 577 bytes does not fit: up to 576 are allowed")
    for _, mtu in ipairs { 67, 65001 } do
      assert.error_matches(function() ether.open("file:" .. path, { mtu = mtu }) end,
        ("^bad MTU %d: 68 to 65000 is allowed$"):format(mtu))
    end
  end)

  task_it("counts what its output file has no room for", function()
    local relay = ether.open("file:" .. pcap_file(many(1)), { output = "/dev/full" })
    local conn = relay:conn { mac = B }
    for i = 1, 100 do conn:send(frames.udp { payload = ("%06d"):format(i) }, A) end
    relay:flush()
    local stats = frames.assert_balanced(relay)
    assert.same({ 0, 100 }, { stats.tx_sent, stats.tx_error })
  end, linux_it)

  -- ---- files of other sorts -----------------------------------------------------------------------------------------

  task_it("counts frames that the capture cut short, or that are too short, as invalid", function()
    local relay = ether.open("file:" .. pcap_file { { numbered(1):sub(1, 40), len = #numbered(1) }, "tiny", "",
      { numbered(2), len = #numbered(2) + 1 }, numbered(3) }, { filter = "" })
    assert.same({ { 3 }, "closed" }, { read_all(relay:conn { mac = B }) })
    local stats = frames.assert_balanced(relay)
    assert.same({ 5, 4 }, { stats.rx_frames, stats.rx_invalid })
  end)

  local good = pcap_with(le32, 0xa1b2c3d4, 1e-6, many(3))
  local record = 16 + #numbered(1)
  for words, text in pairs {
    ["in the middle of a frame"] = good:sub(1, 24 + 2 * record + 30),
    ["in the middle of a record's header"] = good:sub(1, 24 + 2 * record + 7),
    ["where a length makes no sense"] = good:sub(1, 24 + 2 * record + 8) .. ("\255"):rep(8) .. good:sub(-50),
  } do
    task_it("says so where the file breaks off, behind the last frame: " .. words, function()
      local relay = ether.open("file:" .. write_file(text))
      assert.same({ { 1, 2 }, "file broken" }, { read_all(relay:conn { mac = B }) })
      assert.equal(2, frames.assert_balanced(relay).rx_frames)
    end)
  end

  task_it('ends at once with a file without frames', function()
    for _, format in pairs(FORMATS) do
      local conn = ether.open("file:" .. write_file(format {})):conn { mac = B }
      assert.same({ nil, "closed" }, { conn:recv(1) })
    end
  end)

  for words, case in pairs {
    ["is not there"] = { function() return "/nowhere/x.pcap" end, "/nowhere/x.pcap: No such file or directory" },
    ["is a folder"] = { function() return "/tmp" end, jit.os == "Linux" and "/tmp: .*directory" or "/tmp: " },
    ["is empty"] = { function() return write_file "" end, ": .*truncated" },
    ["is no capture"] = { function() return write_file(("hello "):rep(100)) end, ": unknown file format" },
    ["has half a header"] = { function() return write_file(good:sub(1, 20)) end, ": .*truncated" },
    ["is of IP packets"] = { function() return pcap_file({}, RAW_IP) end, "^%S+ has link type RAW: only Ethernet" },
    ["is of any interface"] = { function() return pcap_file({}, LINUX_SLL) end, "has link type LINUX_SLL: only Ether" },
  } do
    task_it("says in one line that the file " .. words, function()
      local ok, message = pcall(ether.open, "file:" .. case[1]())
      assert.is_false(ok)
      assert.matches(case[2], misuse.words(message))
      assert.is_nil(message:find("\n"), message)
    end)
  end

  task_it("says in one line that its output cannot be written", function()
    local ok, message = pcall(ether.open, "file:" .. pcap_file(many(1)), { output = "/nowhere/x.pcap" })
    assert.is_false(ok)
    assert.matches("^cannot write capture file /nowhere/x.pcap: No such file or directory$", misuse.words(message))
  end)

  task_it("hands only frames that its filter matches to endpoints", function()
    local relay = ether.open("file:" .. pcap_file { numbered(1), numbered(2, { vlans = { 100 } }), numbered(3) },
      { filter = "vlan 100 and udp" })
    assert.same({ { 2 }, "closed" }, { read_all(relay:default_conn()) })
    assert.equal(2, frames.assert_balanced(relay).rx_filtered)
  end)
end)
