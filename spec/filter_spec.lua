-- Filters: pcap-filter text means the same on every relay kind. What it means is tcpdump's to say: it reads a file of
-- the very frames, as they are on the wire, and names those that match.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"

local A, B = frames.MAC_A, frames.MAC_B

-- ---- the table ------------------------------------------------------------------------------------------------------

local STACKS = { "", "100", "200", "88a8:100", "9100:5", "100.200", "88a8:100.200", "9100:5.100", "100.200.300",
  "1.2.3.4" }

local PAYLOADS = {
  { "udp 67", frames.udp { dst_port = 67 }, frames.IP4 },
  { "long udp", frames.udp { payload = ("x"):rep(70) }, frames.IP4 },
  { "arp", ("\0"):rep(46), frames.ARP },
  { "udp6 67", frames.udp6 { dst_port = 67 }, frames.IP6 },
  { "other", ("\0"):rep(46), 0x88b5 },
}

local function vlans(stack)
  local list = {}
  for tag in stack:gmatch("[^.]+") do
    local tpid, vid = tag:match("^(%x+):(%d+)$")
    list[#list + 1] = tpid and { tpid = tonumber(tpid, 16), vid = tonumber(vid) } or tonumber(tag)
  end
  return list
end

-- Frames by number, and their names; both directions of the table.
local FRAMES, NAMES, NUMBERS = {}, {}, {}
for _, stack in ipairs(STACKS) do
  for _, payload in ipairs(PAYLOADS) do
    local frame = frames.frame(payload[2], { vlans = vlans(stack), ethertype = payload[3] })
    FRAMES[#FRAMES + 1], NAMES[#NAMES + 1] = frame, ("[%s] %s"):format(stack, payload[1])
    NUMBERS[frame] = #FRAMES
  end
end

-- These decide by what is behind the tags that they name themselves, if any: the kernel's filters find it too.
local FILTERS = { "vlan", "not vlan", "vlan 100", "vlan 200", "vlan 100 and udp", "vlan and not udp",
  "vlan and vlan and arp", "vlan 100 and vlan 200", "vlan and vlan 200", "vlan 5 and vlan 100",
  "vlan and vlan and vlan",
  "vlan and vlan and vlan and vlan and udp", "vlan and udp port 67", "vlan 100 and (udp port 67 or ip6)",
  "udp or (vlan and udp) or (vlan and vlan and udp)", "not vlan and udp", "vlan or udp", "udp or vlan",
  "ether host " .. B, "ether src " .. A, "ether dst " .. A, "greater 100", "broadcast", "tcp", "ether[0] = 2" }

-- Without the word vlan in front of them these look at the first EtherType, or at lengths. The kernel shows its filters
-- (afpacket, pcap) a frame without the outer tag, so there they say of a frame with one tag what is true without it; so
-- does tcpdump on a live interface. On an untagged frame all kinds agree.
local AT_THE_FRONT = { "udp port 67", "udp", "not udp", "ip6", "arp", "port 67", "src host 10.0.0.1", "net 10.0.0.0/8",
  "ether proto 0x88b5", "ether proto 0x8100", "ether[12:2] = 0x8100", "ether[12:2] = 0x0800", "udp[8:4] = 0x7061796c",
  "ip or (vlan and ip)", "less 60", "len = 60" }

-- ---- the judge ------------------------------------------------------------------------------------------------------

local function le32(value)
  return string.char(value % 256, math.floor(value / 256) % 256, math.floor(value / 65536) % 256,
    math.floor(value / 16777216))
end

-- All frames as a pcap file; the number of each is its second.
local function write_frames(path)
  local file = assert(io.open(path, "wb"))
  file:write(le32(0xa1b2c3d4), "\2\0\4\0", le32(0), le32(0), le32(65535), le32(1))
  for i, frame in ipairs(FRAMES) do file:write(le32(i), le32(0), le32(#frame), le32(#frame), frame) end
  file:close()
end

-- What tcpdump finds: set of numbers, and how many.
local function found_by_tcpdump(path, filter)
  local pipe = assert(io.popen(("tcpdump -nn -tt -r %s '%s' 2>/dev/null; echo status $?"):format(path, filter)))
  local found, count = {}, 0
  for line in pipe:lines() do
    local number = tonumber(line:match("^(%d+)%.000000 "))
    if number then found[number], count = true, count + 1 end
    assert(line ~= "status 1" and line ~= "status 127", "tcpdump refuses " .. filter)
  end
  pipe:close()
  return found, count
end

local judged -- filter -> set of numbers
local path = os.tmpname()

local function judge()
  write_frames(path)
  judged = {}
  for _, list in ipairs { FILTERS, AT_THE_FRONT } do
    for _, filter in ipairs(list) do judged[filter] = found_by_tcpdump(path, filter) end
  end
end

-- Frames that are in one set and not in the other, by name.
local function assert_same_frames(filter, got, only)
  local wrong = {}
  for i, name in ipairs(NAMES) do
    if (not only or only(name)) and (judged[filter][i] or false) ~= (got[i] or false) then
      wrong[#wrong + 1] = (got[i] and "+ " or "- ") .. name
    end
  end
  assert.same({}, wrong, filter)
end

-- Numbers of all frames that wait at the endpoints.
local function take(endpoints)
  local got = {}
  for _, endpoint in ipairs(endpoints) do
    for frame in function() return (endpoint:recv_frame(0)) end do
      got[assert(NUMBERS[tostring(frame)], "a frame that was never sent")] = true
    end
  end
  return got
end

-- An endpoint for some of the frames and one for the rest: they take different ways into an xdp relay.
local function endpoints(relay)
  local list = { relay:default_conn() }
  for i = 1, #STACKS, 2 do
    list[#list + 1] = relay:conn { mac = B, vlans = vlans(STACKS[i]), ethertypes = {} }
  end
  return list
end

local function untagged(name) return name:find("^%[%]") ~= nil end

describe("the table of filters", function()
  it("tells the frames apart: each filter but a few matches some and not others", function()
    judge()
    local all_or_none = {}
    for filter, found in pairs(judged) do
      local count = 0
      for _ in pairs(found) do count = count + 1 end
      if count == 0 or count == #FRAMES then all_or_none[filter] = count end
    end
    assert.same({ ["ether host " .. B] = #FRAMES, ["ether src " .. A] = #FRAMES, ["ether dst " .. A] = 0,
      broadcast = 0, tcp = 0, ["not vlan and udp"] = 0, -- libpcap looks for udp behind a tag all the same
      ["ether[0] = 2"] = #FRAMES }, all_or_none)
  end)
end)

kinds.each("a filter", function(it, kind)
  local in_kernel = kind.name == "afpacket" or kind.name == "pcap"

  it("means what tcpdump says of the frames on the wire", function(a, b)
    if not judged then judge() end
    local inject, readers = frames.injector(a), endpoints(b)
    -- What comes until all is there that should be, and a little longer.
    local function received(filter)
      b:filter(filter)
      for _, frame in ipairs(FRAMES) do inject(frame) end
      a:flush()
      local got, deadline = {}, ether.now() + 1
      repeat
        local complete = true
        for number in pairs(judged[filter]) do complete = complete and got[number] end
        ether.sleep(0.002)
        for number in pairs(take(readers)) do got[number] = true end
      until complete or ether.now() > deadline
      return got
    end
    for _, filter in ipairs(FILTERS) do assert_same_frames(filter, received(filter)) end
    for _, filter in ipairs(AT_THE_FRONT) do
      assert_same_frames(filter, received(filter), in_kernel and untagged or nil)
    end
    frames.assert_balanced(b)
  end)

  it("that is changed holds for what is sent from then on", { filter = "ether proto 0x88b5" }, function(a, b)
    local near, rest = a:conn { mac = A }, b:default_conn()
    for round = 1, 20 do
      local wanted = round % 2 == 0 and 0x88b6 or 0x88b5
      if round > 1 then b:filter(("ether proto 0x%x"):format(wanted)) end
      for i = 1, 10 do
        near:send(("%04d"):format(round) .. ("\0"):rep(42), B, { ethertype = 0x88b5 + i % 2 })
      end
      for _ = 1, 5 do
        local payload, from = rest:recv(1)
        assert.same({ round, wanted }, { tonumber(payload:sub(1, 4)), from.ethertype })
      end
    end
    assert.is_nil(rest:recv(0.02))
    frames.assert_balanced(b)
  end)

  it("that matches nothing lets nothing in, until it is taken away",
    { filter = "ether src 02:ff:ff:ff:ff:ff and ip6" }, function(a, b)
      local near, far, rest = a:conn { mac = A }, b:conn { mac = B }, b:default_conn()
      for _ = 1, 10 do
        near:send(frames.udp(), B)
        near:send(frames.udp6(), frames.BROADCAST)
      end
      assert.is_nil(far:recv(0.05))
      assert.is_nil(rest:recv(0))
      b:filter ""
      near:send(frames.udp(), B)
      assert.equal(frames.udp(), (far:recv(1)))
      frames.assert_balanced(b)
    end)

  it("that can never match is refused, with libpcap's reason", { filter = "udp" }, function(_, b)
    assert.error_matches(function() b:filter "ip and arp" end,
      '^bad filter "ip and arp": expression rejects all packets$')
  end)

  local function any_of(count)
    local list = {}
    for i = 1, count do list[i] = ("ether src 02:00:00:00:%02x:%02x"):format(math.floor(i / 256), i % 256) end
    return table.concat(list, " or ")
  end

  it("may be as long as 30,000 characters", { filter = any_of(1000) }, function(a, b)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    near:send("no", B, { src_mac = "02:00:00:00:ff:ff", ethertype = frames.IP4 })
    near:send(frames.udp { payload = "last" }, B, { src_mac = "02:00:00:00:03:e8" })
    near:send(frames.udp { payload = "first" }, B, { src_mac = "02:00:00:00:00:01" })
    assert.equal("last", (far:recv(1)):sub(29))
    assert.equal("first", (far:recv(1)):sub(29))
  end)

  it("that is longer than the kernel takes is refused in one line, or works where the kernel has no say", function(a, b)
    b:filter "udp port 7"
    local ok, message = pcall(b.filter, b, any_of(2300))
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    assert.equal(not in_kernel, ok)
    if ok then
      near:send(frames.udp(), B, { src_mac = "02:00:00:00:ff:ff" })
      near:send(frames.udp(), B, { src_mac = "02:00:00:00:00:01" })
    else
      assert.matches('^bad filter "ether src 02:[^\n]*": %d+ instructions long, the kernel takes 4096$', message)
      near:send(frames.udp(), B)
      near:send(frames.udp { dst_port = 7 }, B)
    end
    assert.equal(ok and frames.udp() or frames.udp { dst_port = 7 }, (far:recv(1)))
    assert.is_nil(far:recv(0.02))
  end)
end)

describe("a filter", function()
  teardown(function() os.remove(path) end)

  it("means what tcpdump says of the frames of a file", function()
    if not judged then judge() end
    kinds.run(function()
      for filter in pairs(judged) do
        local relay = ether.open("file:" .. path, { filter = filter })
        local rest = relay:default_conn()
        local got = {}
        for frame in function() return (rest:recv_frame(1)) end do got[NUMBERS[tostring(frame)]] = true end
        assert_same_frames(filter, got)
        frames.assert_balanced(relay)
        relay:close()
      end
    end)
  end)
end)
