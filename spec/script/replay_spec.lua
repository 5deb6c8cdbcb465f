-- The script replay as a user runs it: what arrives, when, how it is changed, judged by tcpdump in another namespace;
-- and its role, which is to make no garbage.

local addr = require "etherlua.net.addr"
local alone = require "support.alone"
local cjson = require "cjson"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local pacer = require "etherlua.core.pacer"
local pcap = require "support.pcap"
local program = require "support.program"
local replay = require "etherlua.role.replay"
local rewrite = require "etherlua.relay.rewrite"
local root_it = require "support.root_it"
local shell = require "support.shell"
local terminal = require "support.terminal"
local wait = require "support.wait"

local A, B, C = frames.MAC_A, frames.MAC_B, "02:00:00:00:00:0c"
local INT = 2
local keep = shell.keep

local TAGS = { { vid = 100, tpid = 0x88a8, pcp = 5, dei = true }, 200 }
local LIST = { -- short, tagged, padded, malformed, with an 802.3 length
  { frames.frame(frames.udp()), at = 0 },
  { frames.frame(frames.udp(), { vlans = TAGS }), at = 0.3 },
  { frames.frame(frames.udp() .. ("\170"):rep(30)), at = 0.3 },
  { frames.frame("\69" .. ("\255"):rep(60), { ethertype = 0x0800 }), at = 0.7 },
  { frames.frame("\66\66\3" .. ("\0"):rep(43), { ethertype = 46 }), at = 0.8 },
  { frames.frame("x", { ethertype = 0x88b5 }):sub(1, 14), at = 0.6 }, -- it goes back in time
  { frames.frame(("y"):rep(1500), { ethertype = 0x88b5, vlans = { 9 } }), at = 1 },
}

after_each(function()
  shell.close_all()
  pcap.remove_files()
  leaks.check()
end)

-- What tcpdump has written of what arrives in the far namespace while the near one replays.
local function judged(kind, path, arguments)
  local net, copy, log = keep(lab.new()), pcap.new_path(), pcap.new_path()
  -- The ring of tcpdump has few slots when each could hold the longest frame that there is.
  local judge = net.far:start({ "tcpdump", "--immediate-mode", "-B", "8192", "-s", "2000", "-Uni", "eth0",
    "--time-stamp-precision=nano", "-w", copy }, { log = log })
  wait.for_log(judge, "listening on")
  local status, out, err = program.run(net.near, ("replay --json %s -i %s:eth0 %s"):format(path, kind, arguments or ""))
  -- It writes each frame at once, but reads it when it can.
  local expected = out ~= "" and cjson.decode(out).frames or 0
  wait.eventually(function() return #pcap.records(copy) >= expected end, 3)
  judge:stop(INT)
  return pcap.records(copy), out ~= "" and cjson.decode(out) or nil, status, err
end

local function assert_frames(expected, got)
  assert.equal(#expected, #got)
  for i, frame in ipairs(expected) do frames.assert_same_bytes(frame, got[i][1]) end
end

local function originals(times)
  local list = {}
  for _ = 1, times or 1 do
    for _, one in ipairs(LIST) do list[#list + 1] = one[1] end
  end
  return list
end

local function after(got, i)
  return got[i].sec - got[1].sec + (got[i].ns - got[1].ns) / 1e9
end

describe("replay", function()
  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    root_it(("sends each frame byte for byte, with the gaps of the file: over %s"):format(kind), function()
      wait.one_works(function()
        local got, said, status, err = judged(kind, pcap.file(LIST))
        assert.same({ 0, "" }, { status, err })
        assert_frames(originals(), got)
        local size = #table.concat(originals())
        assert.same({ 7, size, 1, 0, 7 }, { said.frames, said.bytes, said.passes, said.lost, said.late_ms.count })
        assert.is_true(said.seconds >= 1)
        if said.late_ms.max >= 150 then return ("one was %g ms late"):format(said.late_ms.max) end
        for i, at in ipairs { 0, 0.3, 0.3, 0.7, 0.8, 0.8, 1 } do
          local late = after(got, i) - at
          if math.abs(late) >= 0.15 then return ("frame %d is %g s late"):format(i, late) end
        end
      end)
    end)
  end

  for name, format in pairs(pcap.formats) do
    root_it(("reads a %s file"):format(name), function()
      local got, _, status = judged("afpacket", pcap.write_file(format(LIST)), "--top-speed")
      assert.equal(0, status)
      assert_frames(originals(), got)
    end)
  end

  for arguments, case in pairs {
    ["--speed 10"] = { 0.1, 0.4 }, ["--speed 0.5"] = { 2, 2.4 }, ["--rate 10"] = { 0.6, 0.9 },
    ["--rate 0.01k"] = { 0.6, 0.9 }, ["--rate 20kbit"] = { 0.15, 0.4 }, ["--top-speed"] = { 0, 0.2 },
    ["--rate 10 --loop 3"] = { 2, 2.4, 21 }, ["--loop 2"] = { 2, 2.4, 14 }, ["--top-speed --loop 100 --count 50"] = { 0,
      0.5, 50 },
  } do
    root_it(("takes the time that it is told: %s"):format(arguments), function()
      wait.one_works(function()
        local got, said, status = judged("afpacket", pcap.file(LIST), arguments)
        local count = case[3] or 7
        assert.same({ 0, count, count }, { status, said.frames, #got })
        local all = originals(math.ceil(count / 7))
        assert_frames({ unpack(all, 1, count) }, got)
        local seconds = after(got, count)
        if seconds < case[1] - 0.05 or seconds > case[2] then return seconds .. " s" end
      end)
    end)
  end

  root_it("sends what a filter matches alone, in VLAN tags or not", function()
    local got, said, status = judged("afpacket", pcap.file(LIST), "--top-speed --filter 'udp port 2000'")
    assert.same({ 0, 3 }, { status, said.frames })
    assert_frames({ LIST[1][1], LIST[2][1], LIST[3][1] }, got)
  end)

  local udp = frames.udp()
  for arguments, fields in pairs {
    ["--src-mac " .. C] = { src = C, vlans = TAGS },
    ["--dst-mac ff:ff:ff:ff:ff:ff"] = { dst = frames.BROADCAST, vlans = TAGS },
    [("--map-mac %s=%s --map-mac %s=%s"):format(A, B, B, A)] = { src = B, dst = A, vlans = TAGS },
    [("--map-mac %s=%s --src-mac %s"):format(A, B, C)] = { src = C, vlans = TAGS },
    ["--vlan 1.2.3"] = { vlans = { 1, 2, 3 } },
    ["--vlan ''"] = {},
    ["--pop-vlan"] = { vlans = { 200 } },
    ["--pop-vlan --pop-vlan --pop-vlan"] = {},
    ["--push-vlan 7"] = { vlans = { 7, TAGS[1], 200 } },
    ["--pop-vlan --push-vlan 7.8"] = { vlans = { 7, 8, 200 } },
  } do
    root_it("rewrites a frame with " .. arguments, function()
      local got, _, status = judged("afpacket", pcap.file { LIST[2] }, arguments)
      assert.equal(0, status)
      assert_frames({ frames.frame(udp, fields) }, got)
    end)
  end

  root_it("tells what is too long, too short or cut, sends the rest and ends with status 3", function()
    local long = frames.frame(("y"):rep(1501), { ethertype = 0x88b5 })
    local huge = frames.frame(("y"):rep(30000), { ethertype = 0x88b5 })
    local list = { LIST[1], long, "tiny", huge, { LIST[1][1]:sub(1, 20), len = #LIST[1][1] }, LIST[5] }
    local got, said, status, err = judged("afpacket", pcap.file(list), "--top-speed")
    assert.same({ 3, "" }, { status, err })
    assert.same({ ["too long"] = 2, ["too short"] = 1, ["cut short"] = 1 }, said.skipped)
    assert.same({ ["too long"] = { 2, 4 }, ["too short"] = { 3 }, ["cut short"] = { 5 } }, said.skipped_frames)
    assert_frames({ LIST[1][1], LIST[5][1] }, got)
    local _, out = program.run(keep(lab.new()).near, ("replay %s -i eth0 --top-speed"):format(pcap.file(list)))
    assert.matches("^2 frames, 109 bytes in [%d.]+ s %(", out)
    assert.matches("\n  2 not sent: too long for MTU 1500: frames 2, 4\n  1 not sent: too short: frame 3\n", out)
  end)

  root_it("is shown by sniff in the other namespace, whose file has the same frames", function()
    local net, copy = keep(lab.new()), pcap.new_path()
    local sniffer = program.start(net.far, "sniff -i eth0 -c 7 -w " .. copy)
    program.wait_for_socket(net.far)
    assert.equal(0, (program.run(net.near, ("replay %s -i eth0 --speed 4"):format(pcap.file(LIST)))))
    assert.equal(0, (sniffer:finish()))
    assert_frames(originals(), pcap.records(copy))
    assert.equal(0, (program.run(net.near, ("replay %s -i eth0 --speed 4"):format(copy))))
  end)

  root_it("goes on for ever with --loop 0: Ctrl-C ends it with the summary and status 0", function()
    local net = keep(lab.new())
    local endless = program.start(net.near, ("replay %s -i eth0 --rate 100 --loop 0"):format(pcap.file(LIST)))
    program.wait_for_frames(net.far, 20)
    local status, out = endless:finish(INT)
    assert.equal(0, status)
    local count = tonumber(out:match("^(%d+) frames, %d+ bytes in [%d.]+ s %([%d.]+/s, [%d.]+ [kM]?bit/s%)\n"))
    assert.is_true(count > 10, out)
    assert.matches("\n  late ms  min [%d.]+  mean ", out)
  end)

  root_it("ends with status 3 when Ctrl-C comes before the end of the file", function()
    local net = keep(lab.new())
    local slow = program.start(net.near, ("replay %s -i eth0 --speed 0.01"):format(pcap.file(LIST)))
    program.wait_for_frames(net.far, 1)
    local status, out = slow:finish(INT)
    assert.equal(3, status)
    assert.matches("^1 frame, ", out)
  end)

  root_it("tells what is lost while the link is down, and that the interface is gone", function()
    local net = keep(lab.new())
    local down = program.start(net.near, ("replay %s -i eth0 --rate 50 --loop 10"):format(pcap.file(LIST)))
    program.wait_for_frames(net.far, 10)
    net.near:run("ip link set eth0 down")
    local status, out, err = down:finish()
    assert.same({ 3, "" }, { status, err })
    local sent, lost = tonumber(out:match("^(%d+) frames")), tonumber(out:match("\n  (%d+) lost on sending\n"))
    assert.equal(70, sent + lost)
    net.near:run("ip link set eth0 up")
    wait.eventually(function() return net.near:run("ip link show eth0"):find "state UP" end)
    local gone = program.start(net.near, ("replay %s -i eth0 --rate 50 --loop 0"):format(pcap.file(LIST)))
    program.wait_for_frames(net.far, 80)
    net.near:run("ip link del eth0")
    status, out, err = gone:finish()
    assert.equal(1, status)
    assert.matches("^etherlua: /%S+: interface gone behind frame %d+\n$", err)
    assert.matches("^%d+ frames, ", out)
  end)

  root_it("sends what there is of a file that breaks off, and says so with status 1", function()
    local text = pcap.read_file(pcap.file(LIST))
    local path = pcap.write_file(text:sub(1, 24 + 2 * 16 + #LIST[1][1] + #LIST[2][1] + 20))
    local got, said, status, err = judged("afpacket", path, "--loop 0 --top-speed")
    assert.same({ 1, ("etherlua: %s: file broken behind frame 2\n"):format(path), 2 }, { status, err, said.frames })
    assert_frames({ LIST[1][1], LIST[2][1] }, got)
  end)

  root_it("does not try a file for ever of which nothing can be sent", function()
    for path, status in pairs { [pcap.file {}] = 0, [pcap.file { "tiny" }] = 3 } do
      local near = keep(lab.new()).near
      assert.equal(status, (program.run(near, ("replay %s -i eth0 --loop 0 --top-speed"):format(path))))
    end
  end)

  root_it("shows its progress on a terminal of 40 columns, and takes it away", function()
    local path = pcap.file { LIST[1], { LIST[1][1], at = 4 } }
    local term = keep(terminal.start({ program.PATH, "run", "replay", path, "--lab" }, { columns = 40 }))
    term:wait_for("1 frames, pass 1, ")
    local screen = term:wait_for("status 0")
    assert.is_nil(screen:find("pass 1", 1, true), screen)
    assert.is_nil(screen:find("spoilt", 1, true))
  end)

  root_it("answers what makes no sense with one line and status 2", function()
    local near, path = keep(lab.new()).near, pcap.file(LIST)
    for arguments, said in pairs {
      [""] = "missing argument 'file' (replay --help tells more)",
      [path] = "no relay: give -i SPEC",
      [path .. " -i nosuchif"] = "no such interface: nosuchif",
      ["/nowhere/x -i eth0"] = "cannot read capture file /nowhere/x: No such file or directory",
      ["/tmp -i eth0"] = "cannot read capture file /tmp: ",
      [pcap.write_file "" .. " -i eth0"] = "truncated",
      [pcap.write_file(("hello "):rep(100)) .. " -i eth0"] = "unknown file format",
      [pcap.file({}, 101) .. " -i eth0"] = "has link type RAW: only Ethernet",
      [path .. " -i eth0 --filter 'arp and'"] = 'bad filter "arp and": ',
      [path .. " -i eth0 --rate 10kilo"] = 'bad rate "10kilo": packets a second such as 5000, ',
      [path .. " -i eth0 --rate 0"] = 'bad rate "0": ',
      [path .. " -i eth0 --speed 0"] = 'bad value "0": 1e-06 to ',
      [path .. " -i eth0 --speed 2 --top-speed"] = "can not be used together with",
      [path .. " -i eth0 --vlan 4095"] = "bad VLAN ID 4095: 0 to 4094 is allowed",
      [path .. " -i eth0 --vlan 1 --pop-vlan"] = "--vlan replaces all tags",
      [path .. " -i eth0 --map-mac 02:00"] = 'bad --map-mac "02:00": OLD=NEW is needed',
      [path .. " -i eth0 --map-mac 02:00=x"] = 'bad MAC address "02:00": ',
      [path .. " -i eth0 --src-mac x"] = 'bad MAC address "x": ',
      [path .. " -i eth0 --loop=-1"] = 'bad value "-1": a whole number from 0',
    } do
      local status, out, err = program.run(near, "replay " .. arguments)
      assert.same({ 2, "" }, { status, out }, arguments)
      assert.is_truthy(err:find("^etherlua: ") and err:find(said, 1, true), err)
      assert.equal(1, select(2, err:gsub("\n", "")), err)
    end
  end)
end)

describe("the role replay", function()
  local COUNT = 100000

  -- Bytes of garbage for each frame of a file, the first pass not counted, which is when code is compiled.
  local function garbage(opts)
    local path, each = pcap.file(pcap.many(COUNT)), nil
    kinds.run_apart(function()
      local a, b = ether.wire()
      opts.path = path
      for _ = 1, 2 do
        local player = replay.new(a, opts)
        collectgarbage()
        collectgarbage "stop"
        local before = collectgarbage "count"
        assert.is_true(player:run())
        each = (collectgarbage "count" - before) * 1024 / COUNT
        collectgarbage "restart"
        assert.equal(COUNT, player.frames)
      end
      a:close()
      b:close()
    end)
    return each
  end

  for words, opts in pairs {
    ["at top speed"] = { top_speed = true },
    ["at a rate"] = { rate = 1e9 },
    ["with its timing"] = { speed = 1e9 },
    ["with changed frames"] = { top_speed = true, rewrite = rewrite.new { src_mac = C, map = { [B] = A }, pop = 1,
      push = "100.200" } },
  } do
    alone.it("makes no garbage for a frame: " .. words, function()
      local each = garbage(opts)
      assert.is_true(each < 10, each .. " bytes a frame")
    end)
  end

  it("starts its schedule again after a delay, when it has a rate, rather than sending a burst", function()
    kinds.run_apart(function()
      local a = ether.wire()
      local player = replay.new(a, { path = pcap.file(pcap.many(100)), rate = 1000 })
      local send, began = a.send, ether.now()
      a.send = function(...)
        if player.frames == 50 then pacer.wait_until(ether.now() + 0.2) end
        return send(...)
      end
      player:run()
      assert.is_true(ether.now() - began > 0.29)
    end)
  end)

  it("needs MAC addresses and VLAN stacks that are some", function()
    assert.error_matches(function() rewrite.new { src_mac = "x" } end, '^bad MAC address "x"')
    assert.error_matches(function() rewrite.new { map = { [A] = "x" } } end, '^bad MAC address "x"')
    assert.error_matches(function() rewrite.new { push = 4095 } end, "^bad VLAN ID 4095")
    assert.equal(6, #addr.mac_bytes(A))
  end)
end)
