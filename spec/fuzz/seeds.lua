-- seeds.lua: inputs to begin fuzzing with, made of what the specs send. The heads of the targets say how one is read.
-- Capture files that are named become seeds, too.
--
--   luajit spec/fuzz/seeds.lua FOLDER [CAPTURE FILE ...]
--
-- Each target has a folder of its own below FOLDER.

package.path = "lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local bases = require "support.bases"
local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local files = require "support.files"
local fragments = require "support.fragments"
local frames = require "support.frames"
local ipv6 = require "etherlua.proto.ipv6"
local pcap = require "support.pcap"

local folder = arg[1]
local made = {}

local function write(target, seed)
  made[target] = (made[target] or 0) + 1
  local file = assert(io.open(("%s/%s/seed-%03d"):format(folder, target, made[target]), "wb"))
  file:write(seed)
  file:close()
end

local function step(op, argument, text)
  text = text or ""
  return string.char(op, argument) .. bytes.put16("length", #text) .. text
end

local function sorted(list)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- ---- ingress --------------------------------------------------------------------------------------------------------

local RECEIVE, RECEIVE_CUT, RECEIVE_OWN, RECEIVE_MANY, SEND, WAIT, READ, CLOSE = 0, 1, 2, 3, 4, 5, 6, 7
local ENDPOINTS, TAKEN, LENT, KEPT, WAYS = 14, 0, 1, 2, 3
-- Options: nothing but EtherConns; they put fragments together; all; all, and the tap does not take copies.
local NONE, REASSEMBLE, ALL, NO_COPIES = 0, 8 + 1, 255 - 64, 255 - 64 - 32

local function ingress(options, list, failure, depth)
  write("ingress", string.char(options, failure or 0, depth or 0) .. table.concat(list))
end

local function received(list, op, argument)
  local steps = {}
  for i, frame in ipairs(list) do steps[i] = step(op or RECEIVE, argument or 0, frame) end
  return table.concat(steps)
end

local function read_all()
  local steps = {}
  for i = 0, ENDPOINTS - 1 do steps[#steps + 1] = step(READ, WAYS * i + i % 2):rep(2) end
  return table.concat(steps)
end

local function close_all()
  local steps = {}
  for i = ENDPOINTS - 1, 0, -1 do steps[#steps + 1] = step(CLOSE, i) end
  return table.concat(steps)
end

-- Frames with the fragments of a packet, the first to the last, and one that overlaps the first.
local function cut_frames(packet, size)
  local list = {}
  for i, piece in ipairs(fragments.cut(packet, size)) do list[i] = frames.frame(piece) end
  return list, frames.frame(fragments.piece(packet, 8, size))
end

local function seed_packet(packet, size)
  local list, overlap = cut_frames(packet, size)
  local backwards = {}
  for i = #list, 1, -1 do backwards[#backwards + 1] = list[i] end
  for _, options in ipairs { REASSEMBLE, ALL } do
    ingress(options, { received(list), read_all() })
    ingress(options, { received(backwards), close_all() })
    ingress(options, { received(backwards), received { list[#list] }, received(backwards), received { overlap } })
    ingress(options, { received { list[1], list[1], overlap, list[2] }, step(WAIT, 61), received(list) })
    ingress(options, { received { list[1] }, close_all() })
  end
  for failure = 18, 60 do ingress(REASSEMBLE, { received(list) }, failure) end
end

local function seed_fragments()
  for _, version in ipairs { 4, 6 } do
    for _, first in ipairs { "\128", "\135", "\200" } do -- echo request, neighbour solicitation, no message
      local packet = fragments.packet(version, fragments.pattern(160), { protocol = 58 })
      packet.payload = first .. packet.payload
      seed_packet(packet, 48)
    end
    local large = fragments.packet(version, fragments.pattern(2500), { protocol = 200 })
    seed_packet(large, 1024)
    local list = cut_frames(large, 1024)
    ingress(REASSEMBLE, { received { list[1], list[2], list[2] } })
  end
end

-- First fragments in which a header of the chain is missing, or the end of one.
local function seed_chains()
  for _, data in ipairs { ("o"):rep(6), ("o"):rep(14) } do
    local packet = frames.udp6 { extension_headers = { { type = 44, mf = true, identification = 9 },
      { type = 60, data = data }, { type = 60 } } }
    local short = packet:sub(1, 4) .. bytes.put16("length", 16) .. packet:sub(7, 56)
    ingress(REASSEMBLE, { received { frames.frame(short) } })
  end
end

-- Headers in a frame of 64 KB up to where an offset has no room for more.
local function seed_long()
  local list = {}
  for i = 1, 31 do list[i] = { type = 60, data = ("o"):rep(2046) } end
  list[32], list[33] = { type = 51, data = ("a"):rep(1026) }, { type = 51, data = ("a"):rep(958) }
  local packet = ipv6.build { src = "2001:db8::1", dst = "2001:db8::2", protocol = 59, extension_headers = list,
    payload = "" }
  ingress(ALL, { received { frames.frame(packet) } })
end

local function fragment_frame(packet, offset, size)
  return frames.frame(fragments.piece(packet, offset, size, true))
end

-- Nearly as many bytes as are kept, which begin with a small packet; it is the oldest and grows, and that is too much.
-- before: what is there already, more: how many large ones there still is room for.
local function seed_growing(large, before, more)
  local late, list = fragment_frame(large, 64000, 24), { before, step(WAIT, 1) }
  large.identification = 60000
  list[3] = received { fragment_frame(large, 0, 24) }
  list[4] = step(RECEIVE_MANY, 14, late)
  for i = 1, more do
    large.identification = 60000 + i
    list[#list + 1] = received { fragment_frame(large, 64000, 24) }
  end
  large.identification = 60000
  list[#list + 1] = received { fragment_frame(large, 64000, 24) }
  ingress(REASSEMBLE, list)
end

-- More packets than are kept, and more bytes.
local function seed_many()
  local small = fragments.packet(4, fragments.pattern(40))
  local large, six = fragments.packet(4, fragments.pattern(65000)), fragments.packet(6, fragments.pattern(65000))
  ingress(REASSEMBLE, { step(RECEIVE_MANY, 129, fragment_frame(small, 0, 24)), step(RECEIVE_MANY, 1) })
  seed_growing(large, "", 5)
  seed_growing(large, "", 7)
  seed_growing(large, received { fragment_frame(six, 64000, 24) }, 5)
end

-- A reader keeps nearly all memory: of the last frame there is one copy, and none for the mirror.
local function seed_kept()
  local keep = {}
  for i = 0, ENDPOINTS - 1 do keep[i + 1] = step(READ, WAYS * i + KEPT) end
  for _, frame in pairs(bases) do
    ingress(ALL, { step(RECEIVE_MANY, 4, frame), read_all() }, 0, 0)
    for _, last in ipairs { RECEIVE, SEND } do
      for _, lender in ipairs { 0, 2, 6 } do -- an EtherConn, one with tags, the mirror
        local lent = step(READ, WAYS * lender + LENT)
        ingress(ALL, { step(RECEIVE_MANY, 5, frame), lent, table.concat(keep), lent, step(last, 0, frame),
          step(WAIT, 0), received { frame }, step(READ, TAKEN) }, 0, 255)
      end
    end
  end
end

-- Other addresses with the hash of an EtherConn's.
local function seed_hashes()
  local twin = frames.frame(frames.udp(), { dst = "02:00:00:01:de:9b" })
  local tags = { { vid = 729, tpid = 0x9100 }, 231 }
  local group = frames.frame(frames.udp(), { dst = frames.BROADCAST, vlans = tags })
  ingress(ALL, { received { twin, group }, read_all() })
end

local function seed_ingress()
  local all = {}
  for i, name in ipairs(sorted(bases)) do
    all[i] = bases[name]
    for _, options in ipairs { NONE, REASSEMBLE, ALL, NO_COPIES, 255 } do
      ingress(options, { received { bases[name] } })
    end
  end
  ingress(ALL, { received(all), read_all(), close_all(), received(all) }, 0, 2)
  ingress(ALL, { received(all, RECEIVE_CUT, 1), received(all, RECEIVE_OWN), received(all, SEND), step(WAIT, 1) })
  seed_fragments()
  seed_chains()
  seed_long()
  seed_many()
  seed_kept()
  seed_hashes()
end

-- ---- send -----------------------------------------------------------------------------------------------------------

local SEND_IP, SEND_AS, SEND_UDP, LIMIT, DOWN = 0, 1, 2, 5, 6
local MEND, NO_DF = 1, 2 -- arguments
local FRAGMENT, SMALL_POOL, NO_CHECKSUM = 4, 8, 32 -- options

-- Headers that cannot be cut, on links where little fits.
local function seed_uncut()
  local chain = frames.udp6 { protocol = 59, extension_headers = { { type = 0 }, { type = 51, data = ("a"):rep(10) },
    { type = 60 } } }
  local limited = step(LIMIT, 1)
  local short = frames.udp6 { extension_headers = { { type = 44 } } }
  for _, case in ipairs { { "\79", 57 }, { "\79", 70 }, { "\64", 1600 }, { "\67", 1600 }, { "\96", 30 },
    { chain, #chain - 12 }, { chain, 63 }, { chain, 58 }, { short, 1600 } } do
    local try = step(SEND_IP, MEND + NO_DF, bytes.put16("length", case[2]) .. case[1]:sub(1, case[2]))
    write("send", string.char(FRAGMENT + 3, 0, 0, 0) .. try .. limited .. try)
  end
  for failure = 10, 45 do
    local try = step(SEND_IP, MEND, bytes.put16("length", 500) .. frames.udp())
    write("send", string.char(FRAGMENT, failure, 0, 0) .. try)
  end
end

local function seed_send()
  seed_uncut()
  local options = frames.udp { options = "\131\3\4\1\7\4\4\0", protocol = 6 }
  local chain = frames.udp6 { protocol = 59, extension_headers = { { type = 0 }, { type = 43 }, { type = 60 } } }
  for _, packet in ipairs { frames.udp(), frames.udp6(), options, chain } do
    for _, len in ipairs { 0, 100, 1500, 9000, 65535 } do
      for _, setup in ipairs { 0, FRAGMENT, FRAGMENT + 2, FRAGMENT + SMALL_POOL + NO_CHECKSUM } do
        local text = bytes.put16("length", len) .. packet
        local list = { step(SEND_IP, MEND, text), step(SEND_IP, MEND + NO_DF, text), step(SEND_AS, MEND, text),
          step(SEND_UDP, len % 256, text), step(SEND_UDP, 64, text), step(LIMIT, 80) }
        local body = table.concat(list):rep(2) .. step(DOWN, 1) .. step(SEND_IP, 0, text)
        write("send", string.char(setup, 0) .. bytes.put16("mtu", len == 100 and 0 or 1432) .. body)
        write("send", string.char(setup, 40) .. bytes.put16("mtu", 200) .. body)
      end
    end
  end
end

-- ---- file -----------------------------------------------------------------------------------------------------------

local TIMING, FOLLOW, WITH_OUTPUT, INVALID, SMALL_FRAMES, DELETED, EMPTIED = 1, 2, 4, 8, 16, 64, 128
local ANY_LINK, KEEP, CAPTURE = 256, 512, 1024

local function file_seed(options, text, failure, first)
  local head = bytes.put16("options", options) .. string.char(failure or 0) .. bytes.put16("first", first or 0)
  write("file", head .. text)
end

local function file_seeds(text)
  for _, options in ipairs { 0, TIMING, WITH_OUTPUT + 32, INVALID + SMALL_FRAMES, INVALID + WITH_OUTPUT + 32 } do
    file_seed(options, text)
  end
  file_seed(CAPTURE + ANY_LINK, text)
  for _, spoiled in ipairs { 0, DELETED, EMPTIED, DELETED + EMPTIED } do
    for _, first in ipairs { 24, 50, math.min(#text, 65535) } do
      file_seed(FOLLOW + spoiled, text, 0, first)
    end
  end
end

local le16, le32, be32 = pcap.le16, pcap.le32, pcap.be32
local SECTION = pcap.block(0x0a0d0d0a, le32(0x1a2b3c4d) .. le16(1) .. le16(0) .. ("\255"):rep(8))

local function interface(options, link, snaplen)
  return pcap.block(1, le16(link or 1) .. le16(0) .. le32(snaplen or 0) .. (options or ""))
end

-- Blocks for a packet: the usual one, the simple one, the obsolete one.
local function packet(stamp, number)
  return pcap.block(6, le32(number or 0) .. stamp .. le32(20) .. le32(20) .. ("\2"):rep(20))
end
local SIMPLE, OLD = pcap.block(3, le32(20) .. ("\2"):rep(20)),
  pcap.block(2, le16(0) .. le16(0) .. le32(0) .. le32(1) .. le32(20) .. le32(60) .. ("\2"):rep(20))

-- A section of the other byte order.
local function big_block(kind, body) return be32(kind) .. be32(#body + 12) .. body .. be32(#body + 12) end
local BIG = big_block(0x0a0d0d0a, be32(0x1a2b3c4d) .. "\0\1\0\0" .. ("\255"):rep(8)) ..
  big_block(1, "\0\1\0\0" .. be32(0)) .. big_block(6, be32(0):rep(3) .. be32(4):rep(2) .. "\2\2\2\2")

local ZERO, FULL = ("\0"):rep(8), ("\255"):rep(8)

local function resolution(digits) return le16(9) .. le16(1) .. string.char(digits) .. "\0\0\0" end
local function offset(text) return le16(14) .. le16(8) .. text end

local function seed_pcapng()
  for _, options in ipairs { resolution(0), resolution(9), resolution(19), resolution(20), resolution(128 + 10),
    resolution(128 + 63), resolution(255), offset(FULL), offset(FULL:sub(2) .. "\127"), offset("\0\0\0\0\1\0\0\0"),
    "\1\0\5\0abcde\0\0\0" .. resolution(3) .. le32(0) .. resolution(200), le16(9) .. le16(60000) } do
    local stamps = packet(ZERO) .. packet(FULL) .. packet(("\255\255\255\127"):rep(2))
    file_seeds(SECTION .. interface(options) .. stamps .. packet("\1" .. ZERO:sub(2)))
  end
  local head = SECTION .. interface()
  for _, blocks in ipairs { SIMPLE, OLD, OLD .. SIMPLE, pcap.block(99, "abc") .. OLD, SECTION .. interface() .. OLD,
    BIG, interface(nil, 101) .. packet(ZERO, 1), packet(ZERO, 7), SECTION .. packet(ZERO), pcap.block(3, ""),
    pcap.block(6, "abcd"), pcap.block(1, "abc"), pcap.block(3, le32(21)), le32(6) .. le32(8), le32(6) .. FULL,
    pcap.block(0x0a0d0d0a, le32(0x1a2b3c4d)), pcap.block(0x0a0d0d0a, le32(5) .. ZERO .. ZERO) } do
    file_seed(CAPTURE, head .. blocks .. OLD)
    file_seed(KEEP, SECTION .. interface(nil, 1, 10) .. SIMPLE .. blocks:sub(1, -3))
    file_seed(0, SECTION .. blocks)
  end
  file_seed(0, BIG .. head .. OLD)
end

local function seed_file()
  local list = { pcap.numbered(1), { pcap.numbered(2), at = 1.5 }, { pcap.numbered(3), at = 1, len = 2000 } }
  seed_pcapng()
  local extended = pcap.with(le32, 0xa1b2cd34, 1e-6, list):gsub("(\2%z%z%z%z\11)", "12345678%1")
  file_seeds(extended)
  file_seeds(pcap.with(be32, 0xa1b23c4d, 1e-9, list))
  for _, name in ipairs(sorted(pcap.formats)) do file_seeds(pcap.formats[name](list)) end
  for failure = 1, 24 do
    file_seed(WITH_OUTPUT, pcap.formats.pcapng(list), failure)
    file_seed(FOLLOW, pcap.formats["pcap in nanoseconds"](list), failure, 50)
  end
  local many = {}
  for i = 1, 150 do many[i] = frames.frame("E", { ethertype = 0x88b5 }) end
  file_seed(INVALID + KEEP, pcap.with(pcap.le32, 0xa1b2c3d4, 1e-6, many))
  for _, options in ipairs { 0, FOLLOW } do
    file_seed(options + ANY_LINK, pcap.with(pcap.le32, 0xa1b2c3d4, 1e-6, list, 101))
    file_seed(options, pcap.with(pcap.le32, 0xa1b2c3d4, 1e-6, list, 77777))
    file_seed(options + TIMING, "no capture file")
  end
end

-- ---- filter, address ------------------------------------------------------------------------------------------------

local FILTERS = { "", "udp port 67 or arp", "vlan 100 and vlan 200 and ip6", "ether host 02:00:00:00:00:0b", "not ip",
  "ip[6:2] & 0x3fff != 0 and len > 60", "ether proto 0x88b5 || icmp6", "net 10.0.0.0/8 and dst portrange 1-2000",
  "tcp[tcpflags] & tcp-syn != 0", "ip6 protochain 17", "gateway nobody", "vlan && (pppoes or mpls 5)", "less 64",
  "host 2001:db8::2 and ether multicast", "broadcast or (vlan 5 and ether[12:4] = 1)", "nonsense (", "inbound" }

local function seed_filter()
  for _, text in ipairs(FILTERS) do
    local steps = {}
    for i, name in ipairs(sorted(bases)) do steps[i] = step(RECEIVE, 0, bases[name]) end
    write("filter", string.char(#text) .. text .. table.concat(steps))
  end
end

local ADDRESSES = { "10.0.0.1", "255.255.255.255", "::", "2001:db8::1", "fe80::1%1", "::ffff:10.0.0.1",
  "1:2:3:4:5:6:7:8", "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aa:bb:cc:dd:ee:ff0", "0a.1.2.3", "1.2.3",
  "" }

-- ---- captures -------------------------------------------------------------------------------------------------------

local LONGEST, MANY = 60000, 40 -- bytes, frames in one input

-- The first frames of a capture, and the file itself.
local function seed_capture(path)
  local text, steps = files.read_all(path), {}
  if #text < LONGEST then file_seeds(text) end
  local relay = ether.open("file:" .. path)
  local conn = relay:default_conn { mirror = true }
  for i = 1, MANY do
    local frame = frames.whole(conn)
    if not frame then break end
    steps[i] = step(RECEIVE, 0, #frame < 2048 and frame or frame:sub(1, 2048))
  end
  relay:close()
  ingress(ALL, steps)
end

for _, target in ipairs { "ingress", "send", "file", "filter", "address" } do
  assert(os.execute(("mkdir -p '%s/%s'"):format(folder, target)) == 0)
end
seed_ingress()
seed_send()
seed_file()
seed_filter()
for _, text in ipairs(ADDRESSES) do write("address", text) end
ether.run(function()
  for i = 2, #arg do
    local ok, reason = pcall(seed_capture, arg[i])
    if not ok then io.stderr:write(("no seed: %s: %s\n"):format(arg[i], reason)) end
  end
end)
