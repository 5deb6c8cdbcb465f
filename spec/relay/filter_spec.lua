-- Filters: pcap-filter text means the same on every relay kind. What it means is tcpdump's to say: it reads a file of
-- the very frames, as they are on the wire, and names those that match.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local nic_lab = require "support.nic_lab"
local settle = require("support.wait").settle
local shell = require "support.shell"

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
    if nic_lab.given then frame = frame .. ("\0"):rep(60 - #frame) end -- as a card would
    FRAMES[#FRAMES + 1], NAMES[#NAMES + 1] = frame, ("[%s] %s"):format(stack, payload[1])
    NUMBERS[frame] = #FRAMES
  end
end

local FILTERS = { "vlan", "not vlan", "vlan 100", "vlan 200", "vlan 100 and udp", "vlan and not udp",
  "vlan and vlan and arp", "vlan 100 and vlan 200", "vlan and vlan 200", "vlan 5 and vlan 100",
  "vlan and vlan and vlan",
  "vlan and vlan and vlan and vlan and udp", "vlan and udp port 67", "vlan 100 and (udp port 67 or ip6)",
  "udp or (vlan and udp) or (vlan and vlan and udp)", "not vlan and udp", "vlan or udp", "udp or vlan",
  "ether host " .. B, "ether src " .. A, "ether dst " .. A, "greater 100", "broadcast", "tcp", "ether[0] = 2",
  -- Without the word vlan in front of them these look at the first EtherType, or at lengths.
  "udp port 67", "udp", "not udp", "ip6", "arp", "port 67", "src host 10.0.0.1", "net 10.0.0.0/8",
  "ether proto 0x88b5", "ether proto 0x8100", "ip or (vlan and ip)", "less 60", "len = 60",
  -- At a tag, behind it, and across its borders.
  "ether[12:2] = 0x8100", "ether[12:2] = 0x0800", "udp[8:4] = 0x7061796c", "ether[12] = 0x81", "ether[13] = 0xa8",
  "ether[14] = 0", "ether[15] = 100", "ether[14:2] = 100", "ether[15] & 1 = 1", "ether[12:4] = 0x81000064",
  "ether[14:4] = 0x00640800", "ether[10:4] = 0x000a88a8", "ether[16:2] = 0x0800", "ether[ether[5] + 1] = 0x81",
  "ether[len - 1] = 0", "not ether[12:2] = 0x8100 and not ether[17] = 0", "vlan and ether[15] = 5" }

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
  local missing = shell.missing "tcpdump"
  if missing then pending(missing) end
  write_frames(path)
  judged = {}
  for _, filter in ipairs(FILTERS) do judged[filter] = found_by_tcpdump(path, filter) end
end

-- Frames that are in one set and not in the other, by name.
local function assert_same_frames(filter, got)
  local wrong = {}
  for i, name in ipairs(NAMES) do
    if (judged[filter][i] or false) ~= (got[i] or false) then
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

-- Frames that came just before a change of the filter are looked at again by the engine; later ones only by the kernel.
local SETTLE = { afpacket = 0.06, pcap = 0.06 }

kinds.each("a filter", function(it, kind)
  it("means what tcpdump says of the frames on the wire", function(a, b)
    if not judged then judge() end
    local inject, readers = frames.injector(a), endpoints(b)
    -- What comes until all is there that should be, and a little longer.
    local function received(filter)
      b:filter(filter)
      ether.sleep(SETTLE[kind.name] or 0)
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
    frames.assert_balanced(b)
  end)

  it("that is changed holds for what is sent from then on", { filter = "ether proto 0x88b5" }, function(a, b)
    local near, rest = a:conn { mac = A }, b:default_conn()
    for round = 1, 20 do
      local wanted, other = 0x88b5, 0x88b6
      if round % 2 == 0 then wanted, other = other, wanted end
      if round > 1 then b:filter(("ether proto 0x%x"):format(wanted)) end
      for i = 1, 10 do
        near:send(("%04d"):format(round) .. ("\0"):rep(42), B, { ethertype = i % 2 == 0 and wanted or other })
      end
      for _ = 1, 5 do
        local payload, from = rest:recv(1)
        assert.same({ round, wanted }, { tonumber(payload:sub(1, 4)), from.ethertype })
      end
      if nic_lab.given then settle() end -- the filter is to change when all have come, and a NIC may send those last
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

  it("that is longer than the kernel takes works all the same", function(a, b)
    b:filter "udp port 7"
    b:filter(any_of(2300))
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    near:send(frames.udp(), B, { src_mac = "02:00:00:00:ff:ff" })
    near:send(frames.udp(), B, { src_mac = "02:00:00:00:00:01", vlans = { 7 } })
    near:send(frames.udp(), B, { src_mac = "02:00:00:00:00:01" })
    assert.equal(frames.udp(), (far:recv(1)))
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
