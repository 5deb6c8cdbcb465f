-- The captures that relays of all kinds write.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local linux_it = require "support.linux_it"
local pcap = require "support.pcap"
local shell = require "support.shell"

local A, B = frames.MAC_A, frames.MAC_B
local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local START, pcap_file, records, tcpdump = pcap.START, pcap.file, pcap.records, pcap.tcpdump
local remove_files, new_path, write_file, read_file = pcap.remove_files, pcap.new_path, pcap.write_file, pcap.read_file
local numbered, many = pcap.numbered, pcap.many

-- What relay.lua says on standard error while fn runs.
local function said(fn)
  local real, texts = io.stderr, {}
  io.stderr = { write = function(_, ...) texts[#texts + 1] = table.concat { ... } end } -- luacheck: ignore 122
  local ok, reason = pcall(fn, texts)
  io.stderr = real -- luacheck: ignore 122
  if not ok then error(reason, 0) end
  return table.concat(texts)
end

-- open(opts) of each kind: a relay that captures, one that hears it (nil: none) and one to send to it.
local captures = {}
for _, kind in ipairs(kinds.list) do captures[kind.name] = kind end
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
      if kind.lab then
        local l, spec = lab.new(), name:match("%w+") .. ":eth0"
        labs[1] = l
        local mode = name:find("xdp") and (name:find("generic") and "generic" or "native") or nil
        local given = { filter = "", capture = opts.capture, mode = mode }
        return l.near:enter(ether.open, spec, given), l.far:enter(ether.open, "afpacket:eth0", { filter = "" })
      end
      return kind.open { filter = "", capture = opts.capture }
    end

    local function capture_it(words, fn, define)
      (define or it)(words, function()
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
      assert.same(frames.sorted_hex(expected), frames.sorted_hex(got))
      assert.is_true(fine)
      if shell.missing "tcpdump" then return end
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
    end, linux_it)

    capture_it("that finds the disk full at the very end says so", function()
      local text = said(function()
        local a = open { capture = "/dev/full" }
        a:conn({ mac = A }):send(frames.udp(), B)
        a:close()
      end)
      assert.equal("etherlua: capture to /dev/full stopped: No space left on device\n", text)
    end, linux_it)
  end)
end

describe("a capture", function()
  after_each(function()
    remove_files()
    leaks.check()
  end)

  linux_it("outside of a run says when the relay is closed that the disk was full", function()
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
