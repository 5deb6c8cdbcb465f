-- Relays on capture files, and the captures that relays of all kinds write. The files are made here byte by byte
-- (pcap: draft-ietf-opsawg-pcap, pcapng: draft-ietf-opsawg-pcapng), so that nothing of the engine vouches for itself.

local bytes = require "etherlua.bytes"
local ether = require "etherlua"
local ffi = require "ffi"
local files = require "support.files"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab"
local leaks = require "support.leaks"

local A, B = frames.MAC_A, frames.MAC_B
local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local START = 1700000000.25 -- of the frames in a file, seconds
local ETHERNET, RAW_IP, LINUX_SLL = 1, 101, 113

-- ---- files ----------------------------------------------------------------------------------------------------------

local made = {}

local function remove_files()
  for _, path in ipairs(made) do os.remove(path) end
  made = {}
end

local function new_path()
  made[#made + 1] = os.tmpname()
  return made[#made]
end

local function write_file(text)
  local path = new_path()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function le16(value) return string.char(value % 256, math.floor(value / 256)) end
local function le32(value) return le16(value % 65536) .. le16(math.floor(value / 65536)) end
local function be32(value) return le32(value):reverse() end

-- A frame is a string, or { frame, at = seconds behind START, len = its length on the wire }.
local function parts(one, i)
  local frame = type(one) == "table" and one[1] or one
  return frame, START + (type(one) == "table" and one.at or (i - 1) * 1e-3), type(one) == "table" and one.len or #frame
end

local function pcap_with(word, magic, unit, list, link)
  local text = { word(magic), word == le32 and le16(2) .. le16(4) or "\0\2\0\4", word(0), word(0), word(65535),
    word(link or ETHERNET) }
  for i, one in ipairs(list) do
    local frame, at, len = parts(one, i)
    local fraction = math.floor((at % 1) / unit + 0.5)
    table.insert(text, word(math.floor(at)) .. word(fraction) .. word(#frame) .. word(len) .. frame)
  end
  return table.concat(text)
end

local function block(kind, body)
  body = body .. ("\0"):rep(-#body % 4)
  return le32(kind) .. le32(#body + 12) .. body .. le32(#body + 12)
end

local FORMATS = {
  ["pcap in microseconds"] = function(list) return pcap_with(le32, 0xa1b2c3d4, 1e-6, list) end,
  ["pcap in nanoseconds"] = function(list) return pcap_with(le32, 0xa1b23c4d, 1e-9, list) end,
  ["pcap of a big-endian machine"] = function(list) return pcap_with(be32, 0xa1b2c3d4, 1e-6, list) end,
  ["pcapng"] = function(list)
    local text = { block(0x0a0d0d0a, le32(0x1a2b3c4d) .. le16(1) .. le16(0) .. ("\255"):rep(8)),
      block(1, le16(ETHERNET) .. le16(0) .. le32(0) .. le16(9) .. le16(1) .. "\9\0\0\0" .. le32(0)) }
    for i, one in ipairs(list) do
      local frame, at, len = parts(one, i)
      local ns = 1000000000ULL * math.floor(at) + math.floor((at % 1) * 1e9 + 0.5)
      table.insert(text, block(6, le32(0) .. le32(tonumber(ns / 2 ^ 32)) .. le32(tonumber(ns % 2 ^ 32)) .. le32(#frame)
        .. le32(len) .. frame))
    end
    return table.concat(text)
  end,
}

local function pcap_file(list, link) return write_file(pcap_with(le32, 0xa1b23c4d, 1e-9, list, link)) end

-- The records of a pcap file that this machine wrote: list of { frame, sec =, ns =, len = }.
local function records(path)
  local text, list = read_file(path), {}
  assert.equal(bytes.hex(le32(0xa1b23c4d)), bytes.hex(text:sub(1, 4))) -- nanoseconds
  local at, words = 24, ffi.cast("const char *", text)
  while at < #text do
    local head = ffi.cast("const uint32_t *", words + at)
    list[#list + 1] = { text:sub(at + 17, at + 16 + head[2]), sec = head[0], ns = head[1], len = head[3] }
    at = at + 16 + head[2]
  end
  return list
end

local function tcpdump(path)
  local pipe = assert(io.popen("tcpdump -enr " .. path .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- ---- frames ---------------------------------------------------------------------------------------------------------

local function numbered(i, fields) return frames.frame(frames.udp { payload = ("%06d"):format(i) }, fields) end

local function many(n)
  local list = {}
  for i = 1, n do list[i] = numbered(i) end
  return list
end

-- The numbers that a reader gets until the end of the file, with what it says then.
local function read_all(endpoint, between, timeout)
  local list = {}
  while true do
    local payload, reason = endpoint:recv(timeout or 5)
    if not payload then return list, reason end
    list[#list + 1] = tonumber(payload:sub(-6))
    if between then between(#list) end
  end
end

local function one_to(n, step)
  local list = {}
  for i = 1, n, step or 1 do list[#list + 1] = i end
  return list
end

-- fn as a task.
local function task_it(name, fn)
  it(name, function() kinds.run(fn) end)
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
    assert.same({ 10000, "closed" }, { #read_all(read), select(2, read:recv(5)) })
    assert.is_true(ether.now() - before < 4)
    assert.equal(10000 - 1024, frames.assert_balanced(relay).rx_overflow)
  end)

  for name, start in pairs { ["any time"] = 0, ["the epoch"] = -START } do
    task_it("takes the time that the file took with timing = true, begun at " .. name, function()
      local gaps, list = { 0, 0.05, 0.06, 0.2, 0.2, 0.1 }, {} -- the last one went back in time
      for i, gap in ipairs(gaps) do list[i] = { numbered(i), at = start + gap } end
      local relay = ether.open("file:" .. pcap_file(list), { timing = true })
      local conn, before = relay:conn { mac = B }, nil
      for i, gap in ipairs { 0, 0.05, 0.06, 0.2, 0.2, 0.2 } do
        local payload = assert(conn:recv(1))
        before = before or ether.now()
        local late = ether.now() - before - gap
        assert.equal(i, tonumber(payload:sub(-6)))
        assert.is_true(late > -0.01 and late < 0.15, ("frame %d is %g s late"):format(i, late))
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
  end)

  -- ---- files of other sorts -----------------------------------------------------------------------------------------

  task_it("counts frames that the capture cut short, or that are too long or short, as invalid", function()
    local long = frames.frame(("\0"):rep(60000), { ethertype = 0x88b5 })
    local relay = ether.open("file:" .. pcap_file { { numbered(1):sub(1, 40), len = #numbered(1) }, long, "tiny", "",
      { numbered(2), len = #numbered(2) + 1 }, numbered(3) }, { filter = "" })
    assert.same({ { 3 }, "closed" }, { read_all(relay:conn { mac = B }) })
    local stats = frames.assert_balanced(relay)
    assert.same({ 6, 5 }, { stats.rx_frames, stats.rx_invalid })
  end)

  local good = pcap_with(le32, 0xa1b2c3d4, 1e-6, many(3))
  local record = 16 + #numbered(1)
  for words, text in pairs {
    ["in the middle of a frame"] = good:sub(1, 24 + 2 * record + 30),
    ["in the middle of a record's header"] = good:sub(1, 24 + 2 * record + 7),
    ["where a length makes no sense"] = good:sub(1, 24 + 2 * record + 8) .. ("\255"):rep(8) .. good:sub(-50),
  } do
    task_it("ends cleanly where the file breaks off: " .. words, function()
      local relay = ether.open("file:" .. write_file(text))
      assert.same({ { 1, 2 }, "closed" }, { read_all(relay:conn { mac = B }) })
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
    ["is a folder"] = { function() return "/tmp" end, "/tmp: .*directory" },
    ["is empty"] = { function() return write_file "" end, "/.*: .*truncated" },
    ["is no capture"] = { function() return write_file(("hello "):rep(100)) end, "/.*: unknown file format" },
    ["has half a header"] = { function() return write_file(good:sub(1, 20)) end, "/.*: .*truncated" },
    ["is of IP packets"] = { function() return pcap_file({}, RAW_IP) end, "^/.* has link type RAW: only Ethernet" },
    ["is of any interface"] = { function() return pcap_file({}, LINUX_SLL) end, "has link type LINUX_SLL: only Ether" },
  } do
    task_it("says in one line that the file " .. words, function()
      local ok, message = pcall(ether.open, "file:" .. case[1]())
      assert.is_false(ok)
      assert.matches(case[2], message)
      assert.is_nil(message:find("\n"), message)
    end)
  end

  task_it("says in one line that its output cannot be written", function()
    local ok, message = pcall(ether.open, "file:" .. pcap_file(many(1)), { output = "/nowhere/x.pcap" })
    assert.is_false(ok)
    assert.matches("^cannot write capture file /nowhere/x.pcap: No such file or directory$", message)
  end)

  task_it("hands only frames that its filter matches to endpoints", function()
    local relay = ether.open("file:" .. pcap_file { numbered(1), numbered(2, { vlans = { 100 } }), numbered(3) },
      { filter = "vlan 100 and udp" })
    assert.same({ { 2 }, "closed" }, { read_all(relay:default_conn()) })
    assert.equal(2, frames.assert_balanced(relay).rx_filtered)
  end)
end)

-- ---- files that are followed ----------------------------------------------------------------------------------------

local function append(path, text)
  local file = assert(io.open(path, "ab"))
  file:write(text)
  file:close()
end

-- The bytes that a capture grows by with these frames.
local function appended(format, list) return format(list):sub(#format({}) + 1) end

-- Seconds of the processor that waiting takes.
local function cost_of_waiting(seconds)
  local before = os.clock()
  ether.sleep(seconds)
  return os.clock() - before
end

describe("a file relay that follows", function()
  after_each(function()
    remove_files()
    leaks.check()
  end)

  local function follow(path, opts)
    opts = opts or {}
    opts.follow = true
    return ether.open("file:" .. path, opts)
  end

  for name, format in pairs(FORMATS) do
    if name ~= "pcapng" then
      task_it("receives each frame of a " .. name .. " file once its last byte is written", function()
        local path = write_file(format { numbered(1) })
        local conn = follow(path):conn { mac = B }
        assert.same({ { 1 }, "timeout" }, { read_all(conn, nil, 0) })
        for i = 2, 4 do
          local text = appended(format, { numbered(i) })
          for at = 1, #text do
            assert.same({ nil, "timeout" }, { conn:recv(0) })
            append(path, text:sub(at, at))
          end
          assert.equal(i, tonumber(conn:recv(1):sub(-6)))
        end
      end)
    end
  end

  local nanoseconds = FORMATS["pcap in nanoseconds"]
  local function more(...) return appended(nanoseconds, { ... }) end

  task_it("wakes its readers when another process writes", function()
    local path, rest = pcap_file {}, write_file(more(numbered(1), numbered(2)))
    local relay = follow(path)
    local conn = relay:conn { mac = B }
    local pipe = io.popen(("sleep 0.05; head -c 70 %s >> %s; sleep 0.05; tail -c +71 %s >> %s"):format(rest, path, rest,
      path))
    for i = 1, 2 do assert.equal(i, tonumber(conn:recv(5):sub(-6))) end
    pipe:close()
    assert.same({ nil, "timeout" }, { conn:recv(0) })
    assert.equal(2, frames.assert_balanced(relay).rx_frames)
  end)

  task_it("may be open before the file's writer starts anew", function()
    local path = pcap_file {}
    local conn = follow(path):conn { mac = B }
    assert.same({ nil, "timeout" }, { conn:recv(0) })
    io.open(path, "wb"):close()
    assert.same({ nil, "timeout" }, { conn:recv(0.01) })
    append(path, nanoseconds { numbered(1) })
    assert.same({ { 1 }, "timeout" }, { read_all(conn, nil, 0.01) })
  end)

  task_it("and writes to another one talks to a script that does so the other way round", function()
    local there, back = pcap_file {}, pcap_file {}
    local near = follow(back, { output = there }):conn { mac = A }
    local script = write_file(([[
      local ether = require "etherlua"
      local conn = ether.open("file:%s", { follow = true, output = "%s" }):conn { mac = "%s" }
      for _ = 1, 100 do
        local payload, from = assert(conn:recv(10))
        conn:send(payload, from.mac)
      end]]):format(there, back, B))
    local pipe = io.popen(("%s run %s 2>&1"):format(ETHERLUA, script))
    for i = 1, 100 do
      near:send(frames.udp { payload = ("%06d"):format(i) }, B)
      assert.equal(i, tonumber((near:recv(10) or ""):sub(-6)))
    end
    assert.equal("", pipe:read("*a"))
    pipe:close()
  end)

  task_it("waits for nobody: the oldest frames of a full queue are lost", function()
    local path = pcap_file(many(1000))
    local relay = follow(path, { recv_depth = 10 })
    local conn = relay:conn { mac = B }
    ether.sleep(0.01)
    append(path, more(numbered(1001)))
    local list = { 992, 993, 994, 995, 996, 997, 998, 999, 1000, 1001 }
    ether.sleep(0.01)
    assert.same({ list, "timeout" }, { read_all(conn, nil, 0) })
    assert.same({ 1001, 991 }, { frames.assert_balanced(relay).rx_frames, relay:stats().rx_overflow })
  end)

  task_it("takes time stamps for the time on the wall, however old the file is", function()
    local path = pcap_file { { numbered(1), at = 0 } }
    local conn = follow(path):conn { mac = B }
    local old = conn:recv_frame(1).timestamp
    local now = os.time()
    append(path, more({ numbered(2), at = now - START + 0.5 }))
    local new = conn:recv_frame(1).timestamp
    assert.is_true(math.abs(new - ether.now()) < 5)
    assert.is_true(math.abs(new - old - (now - START + 0.5)) < 1e-3)
  end)

  -- What may happen to the file behind its first frame; a second one is there to be read where said so.
  local ENDS = {
    ["is emptied"] = { function(path) io.open(path, "wb"):close() end, "file broken" },
    ["is written anew, shorter"] = { function(path)
      local header = read_file(path):sub(1, 24)
      io.open(path, "wb"):close()
      append(path, header)
    end, "file broken" },
    ["has a record that cannot be"] = { function(path) append(path, ("\255"):rep(16)) end, "file broken" },
    ["is deleted"] = { os.remove, "file gone" },
    ["is deleted behind another frame"] = { function(path)
      append(path, more(numbered(2)))
      os.remove(path)
    end, "file gone", 2 },
    ["is deleted in the middle of a frame"] = { function(path)
      append(path, more(numbered(2)):sub(1, 30))
      os.remove(path)
    end, "file gone" },
    ["is replaced by another file"] = { function(path)
      append(path, more(numbered(2)))
      os.rename(pcap_file(many(9)), path)
    end, "file gone", 2 },
  }
  for words, case in pairs(ENDS) do
    task_it(('tells its readers "%s" when that %s, and goes on to send'):format(case[2], words), function()
      local path, output = pcap_file { numbered(1) }, new_path()
      local relay = follow(path, { output = output })
      local conn, idle = relay:conn { mac = B }, relay:conn { mac = A }
      local reader = ether.spawn(function() return idle:recv() end)
      assert.equal("000001", conn:recv(1):sub(-6))
      case[1](path)
      assert.same({ { case[3] }, case[2] }, { read_all(conn, nil, 5) })
      assert.same({ nil, case[2] }, { reader:join(1) })
      assert.same({ nil, case[2] }, { conn:recv(0) })
      assert.is_true(cost_of_waiting(0.3) < 0.1)
      conn:send(frames.udp(), A)
      relay:flush()
      assert.equal(1, #records(output))
      assert.equal(case[3] or 1, frames.assert_balanced(relay).rx_frames)
    end)
  end

  task_it("goes on when the file gets another name", function()
    local path, other = pcap_file { numbered(1) }, new_path()
    local conn = follow(path):conn { mac = B }
    os.rename(path, other)
    append(other, more(numbered(2)))
    assert.same({ { 1, 2 }, "timeout" }, { read_all(conn, nil, 0.1) })
  end)

  task_it("sleeps at the end of the file, and at half a frame", function()
    local path = pcap_file(many(3))
    local conn = follow(path):conn { mac = B }
    for _, text in ipairs { "", more(numbered(4)):sub(1, 9), more(numbered(4)):sub(10, 30) } do
      append(path, text)
      ether.sleep(0.01)
      local cost = cost_of_waiting(0.3)
      assert.is_true(cost < 0.1, cost)
    end
    assert.same({ { 1, 2, 3 }, "timeout" }, { read_all(conn, nil, 0) })
  end)

  task_it("gives back what it opened", function()
    local path, before = pcap_file(many(1)), files.descriptors()
    for _ = 1, 5 do
      follow(path):close()
      assert.is_false(pcall(follow, path, { output = "/nowhere/x.pcap" }))
      assert.is_false(pcall(follow, path, { timing = true }))
    end
    assert.equal(before, files.descriptors())
  end)

  for words, case in pairs {
    ["with its timing"] = { function() return pcap_file {} end, " with its timing: follow or timing is possible",
      { timing = true } },
    ["when it is of pcapng"] = { function() return write_file(FORMATS.pcapng {}) end,
      ": it is a pcapng file, only pcap is possible" },
    ["when it is a pipe"] = { function()
      local path, pipe = pcap_file {}, new_path()
      os.execute(("rm %s; mkfifo %s; cat %s > %s &"):format(pipe, pipe, path, pipe))
      return pipe
    end, ": it is no regular file" },
  } do
    task_it("refuses in one line to follow a file " .. words, function()
      local path, output = case[1](), new_path()
      local opts = case[3] or {}
      opts.output = output
      local ok, message = pcall(follow, path, opts)
      assert.same({ false, "cannot follow " .. path .. case[2] }, { ok, message })
      assert.equal("", read_file(output))
    end)
  end
end)

-- ---- captures -------------------------------------------------------------------------------------------------------

-- What relay.lua says on standard error while fn runs.
local function said(fn)
  local real, texts = io.stderr, {}
  io.stderr = { write = function(_, ...) texts[#texts + 1] = table.concat { ... } end } -- luacheck: ignore 122
  local ok, reason = pcall(fn, texts)
  io.stderr = real -- luacheck: ignore 122
  if not ok then error(reason, 0) end
  return table.concat(texts)
end

local function sorted_hex(list)
  local out = {}
  for i, frame in ipairs(list) do out[i] = bytes.hex(frame) end
  table.sort(out)
  return out
end

-- open(opts) of each kind: a relay that captures, one that hears it (nil: none) and one to send to it.
local captures = {}
for _, kind in ipairs(kinds.list) do captures[kind.name] = { possible = kind.possible, open = kind.open } end
captures["file that is read once"] = {
  possible = function() return true end,
  open = function(opts) return ether.open("file:" .. pcap_file(many(1)), opts) end,
}

for name, kind in pairs(captures) do
  describe("a capture of a relay over " .. name, function()
    local labs = {} -- kinds.lua shares its labs between the specs of its own suites only

    after_each(function()
      for _, one in ipairs(labs) do one:close() end
      labs = {}
      remove_files()
      leaks.check()
    end)

    local function open(opts)
      if not name:find("wire") and not name:find("file") then
        local l, spec = lab.new(), name:match("%w+") .. ":eth0"
        labs[1] = l
        local mode = name:find("xdp") and (name:find("generic") and "generic" or "native") or nil
        local given = { filter = "", capture = opts.capture, mode = mode }
        return l.near:enter(ether.open, spec, given), l.far:enter(ether.open, "afpacket:eth0", { filter = "" })
      end
      return kind.open { filter = "", capture = opts.capture }
    end

    local function capture_it(words, fn)
      it(words, function()
        local possible, reason = kind.possible()
        if not possible then return pending(reason) end
        kinds.run(fn)
      end)
    end

    local TAGS = { { vid = 100, tpid = 0x88a8, pcp = 5, dei = true }, { vid = 200, pcp = 1 } }

    capture_it("has every frame in and out, its tags and nanoseconds, as soon as the relay is closed", function()
      local path, expected = new_path(), {}
      local a, b = open { capture = path }
      local near = a:conn { mac = A, vlans = TAGS, multicast = true }
      if b then
        local far = b:conn { mac = B, vlans = TAGS }
        for i = 1, 50 do
          far:send(frames.udp { payload = ("%06d"):format(i) }, i % 2 == 0 and A or frames.BROADCAST)
          local fields = { src = B, dst = i % 2 == 0 and A or frames.BROADCAST, vlans = TAGS }
          table.insert(expected, numbered(i, fields))
        end
        for _ = 1, 50 do assert(near:recv(1)) end
      else
        expected[1] = numbered(1)
        assert.equal("closed", select(2, near:recv(1)))
      end
      for i = 51, 100 do
        near:send(frames.udp { payload = ("%06d"):format(i) }, B)
        table.insert(expected, numbered(i, { vlans = TAGS }))
      end
      a:close()
      local got, fine = {}, false
      for i, record in ipairs(records(path)) do
        got[i] = record[1]
        assert.equal(#record[1], record.len)
        local recent = math.abs(record.sec - os.time()) < 10 or not b and i == 1 and record.sec == math.floor(START)
        assert.is_true(recent, ("record %d of second %d"):format(i, record.sec))
        fine = fine or record.ns % 1000 > 0
      end
      assert.same(sorted_hex(expected), sorted_hex(got))
      assert.is_true(fine)
      local text = tcpdump(path)
      local _, lines = text:gsub("vlan 100, p 5, DEI[^\n]* vlan 200, p 1", "")
      assert.equal(b and 100 or 50, lines, text)
    end)

    capture_it("that finds the disk full says so once, within a second; traffic goes on", function()
      local text = said(function(texts)
        local a, b = open { capture = "/dev/full" }
        local near, far = a:conn { mac = A }, b and b:conn { mac = B }
        for i = 1, 200 do
          near:send(frames.udp { payload = ("%06d"):format(i) }, B)
          if far then assert(far:recv(1)) end
        end
        a:flush()
        assert.equal("No space left on device", a:stats().capture_error)
        ether.sleep(1)
        assert.equal(1, #texts)
        near:send(frames.udp(), B)
        if far then assert(far:recv(1)) end
        assert.equal(201, frames.assert_balanced(a).tx_sent + a:stats().tx_pending)
        a:close()
      end)
      assert.equal("etherlua: capture to /dev/full stopped: No space left on device\n", text)
    end)

    capture_it("that finds the disk full at the very end says so", function()
      local text = said(function()
        local a = open { capture = "/dev/full" }
        a:conn({ mac = A }):send(frames.udp(), B)
        a:close()
      end)
      assert.equal("etherlua: capture to /dev/full stopped: No space left on device\n", text)
    end)
  end)
end

describe("a capture", function()
  after_each(function()
    remove_files()
    leaks.check()
  end)

  it("outside of a run says when the relay is closed that the disk was full", function()
    local text = said(function()
      local a, b = ether.wire { capture = "/dev/full" }
      b:close()
      a:close()
    end)
    assert.equal("etherlua: capture to /dev/full stopped: No space left on device\n", text)
  end)

  it("on a small disk has what there was room for, and the program goes on", function()
    local possible, reason = lab.root()
    if not possible then return pending(reason) end
    local script, copy = write_file [[
      local ether = require "etherlua"
      local a, b = ether.wire { capture = "small/x.pcap" }
      local near, far = a:conn { mac = "02:00:00:00:00:0a" }, b:conn { mac = "02:00:00:00:00:0b" }
      for i = 1, 1000 do
        near:send("\69" .. ("x"):rep(999), "02:00:00:00:00:0b", { ethertype = 0x0806 })
        assert(far:recv(1))
      end
      print(a:stats().capture_error, a:stats().tx_sent, b:stats().rx_delivered)]], new_path()
    local command = ("cd $(mktemp -d) && mkdir small && mount -t tmpfs -o size=64k none small && " ..
      "%s run %s 2>&1; echo status $?; cp small/x.pcap %s; umount small; rmdir small; rmdir $PWD"):format(
      ETHERLUA:sub(1, 1) == "/" and ETHERLUA or "$OLDPWD/" .. ETHERLUA, script, copy)
    local pipe = assert(io.popen("unshare -m sh -c '" .. command .. "'"))
    local text = pipe:read("*a")
    pipe:close()
    assert.equal("No space left on device\t1000\t1000\n" ..
      "etherlua: capture to small/x.pcap stopped: No space left on device\nstatus 0\n", text)
    assert.equal(65536, #read_file(copy))
    local whole = select(2, tcpdump(copy):gsub("ethertype ARP", ""))
    assert.equal(math.floor((65536 - 24) / (16 + 1014)), whole)
  end)
end)
