-- Relays on capture files that are followed while something else writes them.

local ether = require "etherlua"
local files = require "support.files"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local linux_it = require "support.linux_it"
local misuse = require "etherlua.core.misuse"
local pcap = require "support.pcap"
local settle = require("support.wait").settle

local A, B = frames.MAC_A, frames.MAC_B
local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local START, FORMATS, pcap_file, records = pcap.START, pcap.formats, pcap.file, pcap.records
local remove_files, new_path, write_file, read_file = pcap.remove_files, pcap.new_path, pcap.write_file, pcap.read_file
local numbered, many, read_all = pcap.numbered, pcap.many, pcap.read_all

-- fn as a task. define: busted's `it`, or linux_it.
local function task_it(name, fn, define)
  (define or it)(name, function() kinds.run(fn) end)
end

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
  end, linux_it)

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
  end, linux_it)

  task_it("waits for nobody: the oldest frames of a full queue are lost", function()
    local path = pcap_file(many(1000))
    local relay = follow(path, { recv_depth = 10 })
    local conn = relay:conn { mac = B }
    settle()
    append(path, more(numbered(1001)))
    local list = { 992, 993, 994, 995, 996, 997, 998, 999, 1000, 1001 }
    settle()
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
    end, linux_it)
  end

  task_it("goes on when the file gets another name", function()
    local path, other = pcap_file { numbered(1) }, new_path()
    local conn = follow(path):conn { mac = B }
    os.rename(path, other)
    append(other, more(numbered(2)))
    assert.same({ { 1, 2 }, "timeout" }, { read_all(conn, nil, 0.1) })
  end, linux_it)

  task_it("sleeps at the end of the file, and at half a frame", function()
    local path = pcap_file(many(3))
    local conn = follow(path):conn { mac = B }
    for _, text in ipairs { "", more(numbered(4)):sub(1, 9), more(numbered(4)):sub(10, 30) } do
      append(path, text)
      settle()
      local cost = cost_of_waiting(0.3)
      assert.is_true(cost < 0.1, cost)
    end
    assert.same({ { 1, 2, 3 }, "timeout" }, { read_all(conn, nil, 0) })
  end, linux_it)

  task_it("gives back what it opened", function()
    local path, before = pcap_file(many(1)), files.descriptors()
    for _ = 1, 5 do
      follow(path):close()
      assert.is_false(pcall(follow, path, { output = "/nowhere/x.pcap" }))
      assert.is_false(pcall(follow, path, { timing = true }))
    end
    assert.equal(before, files.descriptors())
  end, linux_it)

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
      assert.same({ false, "cannot follow " .. path .. case[2] }, { ok, misuse.words(message) })
      assert.equal("", read_file(output))
    end, words:find "pipe" and linux_it)
  end
end)
