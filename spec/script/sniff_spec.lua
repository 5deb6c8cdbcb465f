-- The script sniff as a user runs it: what it shows, writes and counts, judged by tcpdump and tshark, and how it ends.

local bytes = require "etherlua.net.bytes"
local cjson = require "cjson"
local files = require "support.files"
local frames = require "support.frames"
local lab = require "etherlua.lab.lab"
local nobody = require "support.nobody"
local pcap = require "support.pcap"
local program = require "support.program"
local proto = require "etherlua.proto"
local root_it = require "support.root_it"
local shell = require "support.shell"
local terminal = require "support.terminal"

local A, B = frames.MAC_A, frames.MAC_B
local INT = 2
local keep, output_of = shell.keep, shell.output_of

local arp = proto.arp.build { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }
local LIST = {
  { frames.frame(arp, { dst = frames.BROADCAST, ethertype = 0x0806 }), at = 0 },
  { frames.frame(arp, { ethertype = 0x0806, vlans = { 100, { vid = 200, tpid = 0x8100, pcp = 5 } } }), at = 0.5 },
  { frames.frame(frames.udp { payload = "\1\2\255" }), at = 1.123456789 },
  { frames.frame("\69" .. ("\255"):rep(60), { ethertype = 0x0800 }), at = 2 }, -- an IP length that cannot be
  { frames.frame(frames.udp()):sub(1, 30), len = 1000, at = 3 }, -- cut by the capture
  { "tiny", at = 4 },
  { frames.frame(frames.udp6(), { vlans = { { vid = 7, tpid = 0x88a8 } } }), at = 3600 },
}

local function run(arguments, filter) return program.run(nil, "sniff " .. arguments, filter) end

-- The objects of --json, the last of them the summary.
local function objects(out)
  local list = {}
  for line in out:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(line) end
  return list
end

local function lines_of(out)
  local list = {}
  for line in out:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

after_each(function()
  shell.close_all()
  pcap.remove_files()
end)

describe("sniff on a file", function()
  it("shows a line for each frame, what is malformed or cut too, and a summary", function()
    local status, out, err = run("--relative -r " .. pcap.file(LIST))
    local lines = lines_of(out)
    assert.same({ 0, "", 8 }, { status, err, #lines }, out)
    assert.matches("^   0%.000000 " .. A .. " > ff:ff:ff:ff:ff:ff ARP who%-has 10%.0%.0%.2 tell 10%.0%.0%.1$", lines[1])
    assert.matches("^   0%.500000 %S+ > %S+ vlan 100%.200 pcp 0%.5 ARP ", lines[2])
    assert.matches("^   1%.12345[67] %S+ > %S+ IPv4 10%.0%.0%.1:1000 > 10%.0%.0%.2:2000 UDP", lines[3])
    assert.matches(" malformed %(ipv4: [^)]+%)$", lines[4])
    assert.matches(" %(cut: 30 of 1000 bytes%)$", lines[5])
    assert.matches(" malformed %(ethernet: 4 of 14 header bytes%)$", lines[6])
    assert.matches("^3600%.000000 %S+ > %S+ vlan 7 IPv6 ", lines[7])
    assert.matches("^7 frames, %d+ bytes in [%d.]+ s, 2 malformed, 1 cut short$", lines[8])
  end)

  for name, format in pairs(pcap.formats) do
    it(("writes what it shows, with times and tags: of a %s file"):format(name), function()
      local path, copy = pcap.write_file(format(LIST)), pcap.new_path()
      assert.equal(0, (run(("-r %s -w %s"):format(path, copy))))
      local again = pcap.records(copy)
      assert.equal(#LIST, #again)
      local unit = name:find "nano" and 1 or name == "pcapng" and 1 or 1000
      for i, one in ipairs(LIST) do
        local at = pcap.START + one.at
        frames.assert_same_bytes(one[1], again[i][1])
        assert.same({ one.len or #one[1], math.floor(at) }, { again[i].len, again[i].sec })
        assert.equal(math.floor((at % 1) * 1e9 / unit + 0.5) * unit, again[i].ns)
      end
    end)
  end

  it("prints JSON with all names in the order of the wire, in every run", function()
    local message = proto.dhcp4.build { options = { message_type = "REQUEST", host_name = "x", requested_address =
      "10.0.0.9", client_id = "\1\2", relay_agent = { remote_id = "r", circuit_id = "c" } },
      option_order = { "client_id", "message_type", 12 } }
    local path = pcap.file { frames.frame(proto.ipv4.build { src = "0.0.0.0", dst = "10.0.0.1", protocol = 17,
      options = { { type = 148, data = "\0\0" } }, payload = proto.udp.build { src_port = 68, dst_port = 67,
      checksum = 0, payload = message } }, { ethertype = 0x0800, vlans = { 7 } }) }
    local _, out = run("--json -r " .. path)
    local names, at = {}, 1
    for name in out:match("[^\n]+"):gmatch '"([%w_]+)":' do names[#names + 1] = name end
    for _, name in ipairs { "frame", "time", "length", "vlans", "malformed", "layers", "name", "fields", "dst", "src",
      "vlans", "tpid", "pcp", "dei", "vid", "ethertype", "version", "ihl", "tos", "total_length", "ttl", "protocol",
      "src", "dst", "options", "type", "data", "src_port", "dst_port", "length", "checksum", "op", "htype", "xid",
      "ciaddr", "options", "client_id", "message_type", "host_name", "requested_address", "relay_agent", "circuit_id",
      "remote_id" } do
      local before = at
      while names[at] and names[at] ~= name do at = at + 1 end
      assert.is_truthy(names[at], ("%s is not behind %s in %s"):format(name, names[before - 1], out))
      at = at + 1
    end
    local seconds = '"seconds":[^}]+'
    for _ = 1, 3 do assert.equal((out:gsub(seconds, "")), (select(2, run("--json -r " .. path)):gsub(seconds, ""))) end
  end)

  it("agrees with tshark and tcpdump on what it wrote: count, times, lengths, VLANs", function()
    local missing = shell.missing "tshark" or shell.missing "tcpdump"
    if missing then return pending(missing) end
    local copy = pcap.new_path()
    local status, out = run(("--json -r %s -w %s"):format(pcap.file(LIST), copy))
    local list = objects(out)
    assert.same({ 0, 8 }, { status, #list })
    local text = shell.run(("tshark -nr %s -T fields -e frame.time_epoch -e frame.len -e frame.cap_len -e vlan.id " ..
      "-E separator=';' 2>/dev/null"):format(copy))
    local rows = lines_of(text)
    assert.equal(7, #rows, text)
    for i, row in ipairs(rows) do
      local time, len, kept = row:match("^([%d.]+);(%d+);(%d+);")
      local one = list[i]
      assert.same({ one.time, one.length, one.length - one.cut }, { time, tonumber(len), tonumber(kept) })
    end
    assert.equal(1, select(2, text:gsub(";100,200\n", "")), text)
    local _, count = output_of("tcpdump -nr " .. copy .. " 2>/dev/null"):gsub("%d%d:%d%d:%d%d%.%d+ ", "")
    assert.equal(7, count)
    assert.equal(7, list[8].shown)
  end)

  it("prints an object for each frame with --json, bytes in hex, and one for the summary", function()
    local status, out = run("--json -r " .. pcap.file(LIST))
    local list = objects(out)
    assert.equal(0, status)
    assert.same({ 2, "1700000000.750000000", cjson.null, #LIST[2][1], 0, "100.200", false },
      { list[2].frame, list[2].time, list[2].direction, list[2].length, list[2].cut, list[2].vlans, list[2].malformed })
    assert.same({ "ethernet", "arp" }, { list[2].layers[1].name, list[2].layers[2].name })
    assert.equal("10.0.0.2", list[2].layers[2].fields.tpa)
    assert.same({ name = "data", fields = { payload = "0102ff" } }, list[3].layers[#list[3].layers])
    assert.same({ true, false, true }, { list[4].malformed, list[5].malformed, list[6].malformed })
    assert.equal(970, list[5].cut)
    local last = list[8]
    assert.same({ 7, 2, 1, 0, 0, 0 },
      { last.shown, last.malformed, last.cut, last.lost, last.missed, last.overflow })
  end)

  it("has frames behind VLAN tags in its filters, as arguments or as an option", function()
    local path = pcap.file(LIST)
    for text, count in pairs { ["arp"] = 2, ["udp port 2000"] = 2, ["not arp and not ip"] = 1, ["vlan 100"] = 1,
      ["--filter arp"] = 2, ["--filter 'ip6 or arp'"] = 3, ["ip6 or arp"] = 3 } do
      local status, out = run(("--json -r %s %s"):format(path, text))
      assert.same({ 0, count }, { status, objects(out)[count + 1].shown }, text)
    end
  end)

  it("shows layers with -v, bytes with -x, nothing with -q, and ends after --count", function()
    local path = pcap.file(LIST)
    local _, out = run("-v -c 1 -r " .. path)
    assert.matches("\n0000  ethernet, 14 bytes\n.*\n000e  arp, 28 bytes\n.*  000e  00 01 08 00 06 04 ", out)
    _, out = run("-x -c 1 -r " .. path)
    assert.matches("\n0000  ff ff ff ff ff ff 02 00 .*\n1 frame, 42 bytes in [%d.]+ s\n$", out)
    _, out = run("-q -r " .. path)
    assert.matches("^7 frames, [^\n]+\n$", out)
    local copy = pcap.new_path()
    run(("-q -c 3 -w %s -r %s"):format(copy, path))
    assert.equal(3, #pcap.records(copy))
  end)

  it("says where a file breaks off, behind what it could show, with status 1", function()
    local text = pcap.read_file(pcap.file(LIST))
    local path = pcap.write_file(text:sub(1, 24 + 2 * 16 + #LIST[1][1] + #LIST[2][1] + 20))
    local status, out, err = run("-r " .. path)
    assert.same({ 1, ("etherlua: file:%s: file broken behind frame 2\n"):format(path) }, { status, err })
    assert.matches("\n2 frames, ", out)
  end)

  it("ends quietly when its reader goes away, also where a broken pipe is no signal", function()
    local path = pcap.file(pcap.many(5000))
    for _, before in ipairs { "", "trap '' PIPE; " } do
      local text = output_of(("{ %stimeout 20 %s run sniff -r %s; } | head -n 1"):format(before, program.PATH, path))
      assert.matches("^[%d:.]+ %S+ > %S+ IPv4 [^\n]+\n$", text)
    end
  end)

  for words, case in pairs {
    ["has no room"] = { "-w /dev/full -r %s", "cannot write /dev/full: No space left on device", "\n7 frames, " },
    ["is standard output"] = { "-r %s >/dev/full", "cannot write the output: No space left on device" },
  } do
    it(("says that what it writes to %s, with status 1"):format(words), function()
      local path = pcap.file(LIST)
      local text, status = shell.run(program.PATH .. " run sniff " .. case[1]:format(path))
      assert.equal(1, status)
      local _, count = text:gsub("etherlua: " .. case[2]:gsub("%p", "%%%0") .. "\n", "")
      assert.equal(1, count, text)
      if case[3] then assert.is_truthy(text:find(case[3], 1, true), text) end
    end)
  end

  root_it("answers with one line and status 2 that there is no such interface", function()
    local status, out, err = run "-i nosuchif"
    assert.same({ 2, "", "etherlua: no such interface: nosuchif\n" }, { status, out, err })
  end)

  it("answers what makes no sense with one line and status 2", function()
    local path = pcap.file(LIST)
    for arguments, said in pairs {
      [""] = "no relay: give -i SPEC",
      ["-r /nowhere/x"] = "cannot read capture file /nowhere/x: No such file or directory",
      ["-r /tmp"] = "cannot read capture file /tmp: ",
      ["-r " .. pcap.write_file ""] = "truncated",
      ["-r " .. pcap.file({}, 127)] = "has link type IEEE802_11_RADIO: Ethernet, LINUX_SLL, ",
      ["-i lo -r " .. path] = "-i and --read given: one of them is allowed",
      ["-w /nowhere/x -r " .. path] = "cannot write capture file /nowhere/x: No such file or directory",
      [("-w %s -r %s"):format(path, path)] = "cannot write to the file that is read: " .. path,
      ["arp and -r " .. path] = 'bad filter "arp and": ',
      ["--filter arp ip -r " .. path] = "two filters given",
      ["-c 0 -r " .. path] = 'bad value "0": a whole number from 1',
      ["--duration x -r " .. path] = 'bad value "x": 0 to anything is allowed',
      ["--frob -r " .. path] = "unknown option '--frob' (sniff --help tells more)",
    } do
      local status, out, err = run(arguments)
      assert.same({ 2, "" }, { status, out }, arguments)
      assert.is_truthy(err:find("^etherlua: ") and err:find(said, 1, true), err)
      assert.equal(1, select(2, err:gsub("\n", "")), err)
    end
    assert.equal(#LIST, #pcap.records(path))
  end)

  it("leaves a terminal of 40 columns as it was", function()
    if shell.missing "tmux" then return pending(shell.missing "tmux") end
    local term = keep(terminal.start({ program.PATH, "run", "sniff", "-r", pcap.file(LIST), "arp" }, { columns = 40 }))
    assert.is_nil(term:wait_for("status 0"):find("spoilt"))
  end)
end)

describe("sniff on an interface", function()
  local PING = "ip addr add 10.0.0.1/24 dev eth0; ip neigh replace 10.0.0.2 dev eth0 lladdr 02:00:00:00:00:99; " ..
    "ping -c 1 -W 1 10.0.0.2 >/dev/null || true"

  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    root_it(("shows both directions as they happen: over %s"):format(kind), function()
      local net = keep(lab.new())
      local sniffer = program.start(net.near, ("sniff --json -i %s:eth0 icmp"):format(kind))
      for _ = 1, 100 do -- until it hears
        net.near:run(PING)
        if sniffer:output() ~= "" then break end
      end
      net.far:run(PING)
      sniffer:wait_for('"direction":"in"')
      local status, out, err = sniffer:finish(INT)
      local list = objects(out)
      assert.same({ 0, "" }, { status, err })
      assert.equal("out", list[1].direction)
      assert.equal("icmp", list[1].layers[3].name)
      assert.is_true(math.abs(tonumber(list[1].time) - os.time()) < 30)
      assert.equal(#list - 1, list[#list].shown)
    end)
  end

  root_it("ends after --duration, and tells that nothing came", function()
    local status, out = program.run(keep(lab.new()).near, "sniff -i eth0 --duration 0.2")
    assert.equal(0, status)
    local seconds = tonumber(out:match "^0 frames, 0 bytes in ([%d.]+) s\n$")
    assert.is_true(seconds >= 0.2, out)
  end)

  root_it("accounts for each frame of a flood, shown or lost, and says so with status 3", function()
    local net, count = keep(lab.new()), 60000
    local path, copy = pcap.file(pcap.many(1000)), pcap.new_path()
    -- Its reader sleeps: what it prints has nowhere to go meanwhile.
    local sniffer = program.start(net.near, "sniff --json -i eth0 -c 1000000 -w " .. copy,
      "sleep 4; cat")
    program.wait_for_socket(net.near)
    local sent = program.run(net.far, ("replay %s -i eth0 --top-speed --loop %d"):format(path, count / 1000))
    assert.equal(0, sent)
    os.execute "sleep 4"
    repeat -- until it has nothing more to write
      local before = #files.read_all(copy)
      os.execute "sleep 2"
    until before > 0 and #files.read_all(copy) == before
    local _, out, err = sniffer:interrupt()
    local last = cjson.decode(out:match("([^\n]+)\n$"))
    assert.equal("", err)
    assert.is_true(last.lost > 0)
    assert.equal(count, last.shown + last.lost)
    assert.equal(last.shown, #pcap.records(copy))
    assert.equal(last.shown, select(2, out:gsub("\n", "")) - 1)
  end)

  -- UDP_SEGMENT, which the veth pair takes over from the kernel: one frame of eight datagrams.
  local SEGMENTED = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(17, 103, 1000); "
    .. "s.sendto(bytes(8000), ('10.0.0.2', 7777))"

  root_it("shows what the kernel's offloads have put together, cut where it has no room", function()
    local net, copy = keep(lab.new()), pcap.new_path()
    net.near:run("ip addr add 10.0.0.1/24 dev eth0")
    net.far:run("ip addr add 10.0.0.2/24 dev eth0")
    local sniffer = program.start(net.near, "sniff --json -i eth0 -c 1 -w " .. copy .. " udp port 7777")
    program.wait_for_socket(net.near)
    net.near:run(('python3 -c "%s"'):format(SEGMENTED))
    local status, out = sniffer:finish()
    local list, size = objects(out), 14 + 20 + 8 + 8000
    assert.same({ 0, size, "out", false }, { status, list[1].length, list[1].direction, list[1].malformed })
    assert.same({ 1, 0 }, { list[2].cut, list[2].malformed })
    local record = pcap.records(copy)[1]
    assert.same({ size, size - list[1].cut }, { record.len, #record[1] })
    assert.is_true(list[1].cut > 0)
  end)

  root_it("says so when the interface goes away, with status 1", function()
    local net = keep(lab.new())
    local sniffer = program.start(net.near, "sniff -i eth0")
    program.wait_for_socket(net.near)
    net.far:run("ip link del eth0")
    local status, out, err = sniffer:finish()
    assert.same({ 1, "etherlua: afpacket:eth0: interface gone behind frame 0\n" }, { status, err })
    assert.matches("^0 frames, ", out)
  end)

  root_it("names the right that is missing, with status 1", function()
    local text, status = shell.run(nobody.AS .. keep(nobody.copy()).path .. " run sniff -i lo")
    assert.equal(1, status, text)
    assert.matches("^etherlua: no privilege to open lo: CAP_NET_RAW is missing ", text)
  end)
end)

describe("a frame in hex", function()
  it("is what it was", function()
    local whole = LIST[3][1]
    local _, out = run(("-x -c 1 -r %s ip"):format(pcap.file { LIST[3] }))
    local digits = {}
    for row in out:gmatch("\n%x%x%x%x  ([%x ]+)") do digits[#digits + 1] = row:sub(1, 48) end
    frames.assert_same_bytes(whole, bytes.unhex(table.concat(digits)))
    assert.equal(B, whole:sub(1, 6):gsub(".", function(c) return (":%02x"):format(c:byte()) end):sub(2))
  end)
end)
