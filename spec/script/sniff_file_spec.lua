-- sniff on capture files of other sorts: other link types, odd times, large frames, judged by tshark.

local cjson = require "cjson"
local frames = require "support.frames"
local packets = require "support.packets"
local pcap = require "support.pcap"
local program = require "support.program"
local shell = require "support.shell"

local le16, le32 = pcap.le16, pcap.le32

local function sniff(arguments) return program.run(nil, "sniff " .. arguments) end

-- What tshark says of each frame.
local function judged(path)
  return shell.output_of(("tshark -nr %s -T fields -e frame.time_epoch -e frame.len -e frame.cap_len " ..
    "-e frame.protocols -e ip.dst -e ipv6.dst -e udp.dstport 2>/dev/null"):format(path))
end

local SECTION = pcap.block(0x0a0d0d0a, le32(0x1a2b3c4d) .. le16(1) .. le16(0) .. ("\255"):rep(8))

local function interface(link, snap) return pcap.block(1, le16(link) .. le16(0) .. le32(snap)) end

local function packet_of(number, frame)
  return pcap.block(6, le32(number) .. le32(0) .. le32(0) .. le32(#frame) .. le32(#frame) .. frame)
end

-- A pcapng file whose interface counts from some seconds since 1970 on.
local function from(offset, list)
  local low = offset % 2 ^ 32
  local text = { SECTION, pcap.block(1, le16(1) .. le16(0) .. le32(0) .. le16(14) .. le16(8) .. le32(low)
    .. le32(math.floor(offset / 2 ^ 32) % 2 ^ 32) .. le32(0)) }
  for i, one in ipairs(list) do
    text[i + 2] = pcap.block(6, le32(0) .. le32(0) .. le32(one.us) .. le32(#one[1]) .. le32(#one[1]) .. one[1])
  end
  return pcap.write_file(table.concat(text))
end

after_each(pcap.remove_files)

describe("sniff on a file of the link type", function()
  local all = packets.of_other_links()
  local raw4, raw6 = frames.frame(frames.udp()):sub(15), frames.frame(frames.udp6()):sub(15)
  for name, case in pairs {
    ["Linux cooked"] = { 113, all.cooked:build(), "SLL to this host from 02:00:00:00:00:0a IPv4 10.0.0.1:1000 > ",
      "ip" },
    ["Linux cooked, with VLAN tags"] = { 113, all["cooked in tags"]:build(),
      "SLL sent from .* vlan 7.8 pcp 5.0 IPv6 " },
    ["Linux cooked 2"] = { 276, all["cooked 2"]:build(), "SLL2 interface 3 to this host from .* IPv6 ", "ip6" },
    ["BSD loopback"] = { 0, all.loopback:build(), "loopback IPv4 10.0.0.1:1000 > ", "udp port 2000" },
    ["OpenBSD loopback"] = { 108, "\0\0\0\2" .. raw4, "loopback IPv4 ", "udp port 2000" },
    ["OpenBSD loopback, version 6"] = { 108, "\0\0\0\24" .. raw6, "loopback IPv6 " },
    ["raw IP, version 4"] = { 101, raw4, "IPv4 10.0.0.1:1000 > 10.0.0.2:2000 UDP", "ip and less 200" },
    ["raw IP, version 6"] = { 101, raw6, "IPv6 ", "ip6" },
    ["IPv4"] = { 228, raw4, "IPv4 10.0.0.1:1000 > ", "ip" },
    ["IPv6"] = { 229, raw6, "IPv6 ", "ip6" },
  } do
    it(name .. " shows what is in it, filters it, and writes it as it was", function()
      local path, copy = pcap.file({ { case[2] }, { case[2]:sub(1, -2), len = #case[2], at = 0.5 } }, case[1]),
        pcap.new_path()
      local status, out, err = sniff(("-v -x -r %s -w %s"):format(path, copy))
      assert.same({ 0, "" }, { status, err }, out)
      assert.matches("^%d%d:%d%d:%d%d%.%d+ " .. case[3]:gsub("[%.]%f[%d]", "%%."), out)
      assert.matches("\n2 frames, %d+ bytes in [%d.]+ s, 1 cut short\n$", out)
      assert.equal(pcap.read_file(path), pcap.read_file(copy))
      assert.equal(judged(path), judged(copy))
      if not case[4] then return end
      assert.matches("^2 frames", select(2, sniff(("-q -r %s %s"):format(path, case[4]))))
      assert.matches("^0 frames", select(2, sniff(("-q -r %s tcp"):format(path))))
    end)
  end

  it("that nobody knows says its number, or its name", function()
    for number, name in pairs { [9999] = "9999", [127] = "IEEE802_11_RADIO" } do
      local path = pcap.file({ "x" }, number)
      local status, _, err = sniff("-r " .. path)
      assert.same({ 2, ("etherlua: %s has link type %s: Ethernet, LINUX_SLL, LINUX_SLL2, NULL, LOOP, RAW, IPV4 or " ..
        "IPV6 is possible\n"):format(path, name) }, { status, err })
    end
    local _, _, err = program.run(nil, ("replay %s -i file:%s"):format(pcap.file({}, 9999), pcap.file {}))
    assert.matches("has link type 9999: only Ethernet is possible\n$", err)
  end)
end)

describe("sniff on a file", function()
  local frame = frames.frame(frames.udp())

  it("tells times before 1970 and after 2038", function()
    for path, expected in pairs {
      [from(-10, { { frame, us = 500000 }, { frame, us = 9999999 }, { frame, us = 20500000 } })] =
        { "23:59:50.500000", "23:59:59.999999", "00:00:10.500000", "-9.500000000", "-0.000001000", "10.500000000" },
      [from(-100 * 86400, { { frame, us = 0 } })] = { "00:00:00.000000", "-8640000.000000000" },
      [from(4294967296 + 3600, { { frame, us = 7 } })] = { "07:28:16.000007", "4294970896.000007000" },
      [pcap.write_file(pcap.with(le32, 0xa1b2c3d4, 1e-6, { { frame, at = 4294967280.000001 - pcap.START } }))] =
        { "06:28:00.000001", "4294967280.000001000" },
    } do
      local seen = {}
      for line in select(2, sniff("-r " .. path)):gmatch "[^\n]+" do seen[#seen + 1] = line:match "^%d+:%d+:[%d.]+" end
      for line in select(2, sniff("--json -r " .. path)):gmatch "[^\n]+" do
        seen[#seen + 1] = cjson.decode(line).time
      end
      assert.same(expected, seen)
    end
  end)

  it("keeps the last digit of each time in a file of a clock that began at zero", function()
    local list = {}
    for i, at in ipairs { 0, 1700000000, 1700000000 + 1 / 512, 5, 4000000000 } do
      list[i] = { frame, at = at - pcap.START }
    end
    local path, copy = pcap.file(list), pcap.new_path()
    local text, at = pcap.read_file(path), 24
    for i = 1, #list do -- nanoseconds that a double has no room for
      text = text:sub(1, at + 4) .. le32(123456780 + i) .. text:sub(at + 9)
      at = at + 16 + #frame
    end
    path = pcap.write_file(text)
    local status, out = sniff(("--json -r %s -w %s --capture %s.2"):format(path, copy, copy))
    local other = pcap.read_file(copy .. ".2")
    os.remove(copy .. ".2")
    assert.equal(0, status, out)
    assert.is_truthy(out:find('"time":"1700000000.123456782"', 1, true), out)
    assert.is_true(text == pcap.read_file(copy) and text == other)
  end)

  it("survives times that cannot be", function()
    for _, offset in ipairs { -2 ^ 62, 2 ^ 62, 2 ^ 40, -2 ^ 40 } do
      local status, out, err = sniff("-r " .. from(offset, { { frame, us = 0 }, { frame, us = 1 } }))
      assert.same({ 0, "" }, { status, err }, out)
      assert.matches("\n2 frames, ", out)
    end
  end)

  it("keeps times after 2038 in what it writes, and says so where a pcap file has no word for one", function()
    local copy = pcap.new_path()
    assert.equal(0, (sniff(("-r %s -w %s"):format(from(4294967200, { { frame, us = 7 } }), copy))))
    assert.same({ 4294967200, 7000 }, { pcap.records(copy)[1].sec, pcap.records(copy)[1].ns })
    local status, _, err = sniff(("-r %s -w %s"):format(from(-10, { { frame, us = 7 } }), copy))
    assert.same({ 1, ("etherlua: cannot write %s: a time before 1970 or after 2106\n"):format(copy) }, { status, err })
  end)

  it("reads all interfaces and sections, and says why it cannot where they have packets of two kinds", function()
    local one, first = packet_of(0, frame), SECTION .. interface(1, 0)
    local whole = pcap.write_file(first .. interface(1, 20) .. interface(113, 0) .. one .. packet_of(1, frame) .. first
      .. one .. interface(1, 96) .. packet_of(1, frame))
    assert.matches("^4 frames, ", select(2, sniff("-q -r " .. whole)))
    for text, words in pairs {
      [first .. one .. interface(113, 0) .. packet_of(1, frame)] =
        "a packet has a link type that is not the first interface's: 113",
      [first .. one .. pcap.block(6, le32(7) .. ("\0"):rep(16))] =
        "a packet is of interface 7, which the section does not have",
    } do
      local path = pcap.write_file(text)
      local status, out, err = sniff("-r " .. path)
      assert.same({ 1, ("etherlua: file:%s: file broken behind frame 1: %s\n"):format(path, words) }, { status, err })
      assert.is_truthy(out:find("\n1 frame, ", 1, true), out)
      local replayed = { program.run(nil, ("replay --top-speed %s -i file:%s"):format(path, pcap.file {})) }
      assert.equal(("etherlua: %s: file broken behind frame 1: %s\n"):format(path, words), replayed[3])
    end
  end)

  it("shows frames that offloads have made large, and writes them whole", function()
    local list, copy = {}, pcap.new_path()
    for i, size in ipairs { 100, 16300, 20000, 40000, 64000 } do
      list[i] = frames.frame(frames.udp { payload = ("x"):rep(size) })
    end
    local path = pcap.file(list)
    local _, out = sniff(("-r %s -w %s"):format(path, copy))
    assert.is_truthy(out:find("UDP data 64000 bytes\n5 frames, ", 1, true), out)
    assert.is_nil(out:find "cut")
    assert.equal(pcap.read_file(path), pcap.read_file(copy))
  end)
end)
