-- Frames of which no byte can be trusted: cut off at every length, with every byte flipped, and random ones. What gets
-- through has to be a frame whose parts lie inside of it; what does not is counted. With SAN=1 the bytes behind a frame
-- are out of bounds for the engine.

local bit = require "bit"
local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local BASES = require "support.bases"
local frames = require "support.frames"
local kinds = require "support.kinds"
local settle = require("support.wait").settle

local B = frames.MAC_B

-- What a view says about itself, or nil and what is wrong with it.
local function fault_in(frame)
  local len, tags_end = frame.len, 14 + 4 * frame.tags
  if frame.tags > 4 then return "more than four tags" end
  if frame.l3 ~= tags_end or frame.l3 + frame.l3_len > len then return "its l3 is outside" end
  if frame.payload < frame.l3 or frame.payload + frame.payload_len > frame.l3 + frame.l3_len then
    return "its payload is outside"
  end
  local l4 = frame.l4 - frame.l3
  if frame.l4 ~= 0 and (l4 < 20 or l4 > frame.l3_len) then return "its l4 is outside" end
  local is_udp = bit.band(frame.flags, 4) ~= 0
  if is_udp and (frame.fragment or l4 + 8 > frame.l3_len) then return "it is no UDP datagram" end
  if is_udp ~= (frame.src_port ~= nil) or is_udp ~= (frame.dst_port ~= nil) then return "it has ports without UDP" end
  if #frame.vlans ~= frame.tags or #frame.body ~= frame.payload_len then return "its fields are at odds" end
end

local function check_view(frame)
  local fault = fault_in(frame)
  if fault then error(("%s: %s"):format(fault, bytes.hex(tostring(frame))), 0) end
end

-- Endpoints of all sorts, so that frames of all sorts find somebody. Returns a function that empties their queues,
-- checks what it finds and counts it. With `hosts` some of them answer ARP and ND, beside what is counted.
local function readers_on(relay, hosts)
  local resolve = hosts and "arp" or nil
  local conn = relay:conn { mac = B, multicast = true }
  local tagged = relay:conn { mac = B, vlans = { { vid = 100, tpid = 0x88a8 }, 200 }, multicast = "all" }
  local list = {
    relay:default_conn { mirror = true }, conn, tagged, relay:conn { mac = B, ethertypes = { 0x88b5 } },
    conn:udp("10.0.0.2:2000"), conn:udp("[::]:2000"), conn:udp("0.0.0.0:1", { accept_any = true }),
    tagged:udp("10.0.0.2:2000", { resolve = resolve }), conn:udp("[2001:db8::2]:1", { resolve = resolve }),
  }
  return function()
    local count = 0
    for _, endpoint in ipairs(list) do
      while true do
        local frame = endpoint:recv_frame(0)
        if not frame then break end
        check_view(frame)
        count = count + 1
      end
    end
    return count
  end
end

-- Sends the frames that next_frame() makes over a wire until it makes no more. Returns the receiver's counters and how
-- many views were looked at.
local function survives(next_frame, hosts)
  local a, b = ether.wire()
  local inject, read = frames.injector(a), readers_on(b, hosts)
  local sent, seen = 0, 0
  for frame in next_frame do
    inject(frame)
    sent = sent + 1
    if sent % 50 == 0 then
      a:flush()
      seen = seen + read()
      ether.sleep(0)
      frames.assert_balanced(b)
    end
  end
  a:flush()
  seen = seen + read()
  settle()
  local stats = frames.assert_balanced(b)
  assert.equal(sent, stats.rx_frames)
  assert.same({ 0, 0, 0 }, { stats.rx_overflow, stats.rx_evicted, stats.rx_queued })
  return stats, seen
end

-- The wire's injector cannot send fewer than 2 bytes.
local function cut_off(frame)
  return coroutine.wrap(function()
    for size = 2, #frame do coroutine.yield(frame:sub(1, size)) end
  end)
end

-- The IP packet of an untagged frame cut off at every length behind its fixed header, which says so: the lengths are
-- right, and what follows that header is cut off where the frame ends.
local function shortened(frame)
  local four = frame:byte(13) == 8
  local at, base = four and 17 or 19, four and 0 or 40
  return coroutine.wrap(function()
    for size = base == 0 and 20 or 40, #frame - 14 do
      coroutine.yield(frame:sub(1, at - 1) .. bytes.put16("length", size - base) .. frame:sub(at + 2, 14 + size))
    end
  end)
end

local FLIPS = { 0x01, 0x10, 0x80, 0xff }

local function flipped(frame)
  return coroutine.wrap(function()
    for at = 1, #frame do
      for _, flip in ipairs(FLIPS) do
        local byte = string.char(bit.bxor(frame:byte(at), flip))
        coroutine.yield(frame:sub(1, at - 1) .. byte .. frame:sub(at + 1))
      end
    end
  end)
end

describe("a relay", function()
  after_each(require("support.leaks").check)

  for words, base in pairs(BASES) do
    it("survives " .. words .. " cut off at every length", function()
      kinds.run_apart(function()
        local stats = survives(cut_off(base))
        assert.is_true(stats.rx_invalid >= 12)
      end)
    end)

    if base:sub(13, 14) == "\8\0" or base:sub(13, 14) == "\134\221" then
      it("survives " .. words .. " whose IP packet is shorter and shorter", function()
        kinds.run_apart(function()
          local stats, seen = survives(shortened(base))
          assert.equal(stats.rx_frames + stats.rx_copies - stats.rx_invalid, seen)
        end)
      end)
    end

    it("survives " .. words .. " with every byte flipped", function()
      kinds.run_apart(function()
        local stats, seen = survives(flipped(base))
        assert.equal(#base * #FLIPS - stats.rx_invalid + stats.rx_copies, seen)
        assert.is_true(seen > #base)
      end)
    end)
  end

  it("takes no frame for valid that is cut off within its headers", function()
    kinds.run_apart(function()
      for words, base in pairs(BASES) do
        if not words:find("padded") and words ~= "five tags" then -- there is more behind these headers
          local stats = survives(cut_off(base:sub(1, #base - 1)))
          assert.equal(#base - 2, stats.rx_invalid, words)
        end
      end
    end)
  end)

  it("survives 20,000 frames that are random, or known ones with random bytes in them", function()
    math.randomseed(20240607)
    local bases = {}
    for _, base in pairs(BASES) do bases[#bases + 1] = base end
    table.sort(bases)

    local function noise(size)
      local octets = {}
      for i = 1, size do octets[i] = string.char(math.random(0, 255)) end
      return table.concat(octets)
    end

    local function mutant(frame)
      for _ = 1, math.random(6) do
        local at = math.random(13, #frame)
        frame = frame:sub(1, at - 1) .. noise(1) .. frame:sub(at + 1)
      end
      return math.random(3) == 1 and frame:sub(1, math.random(2, #frame)) or frame
    end

    local made = 0
    local function next_frame()
      made = made + 1
      if made > 20000 then return nil end
      if made % 4 > 0 then return mutant(bases[math.random(#bases)]) end
      local ethertype = ({ "\8\0", "\134\221", "\8\6", "\129\0", "\136\168", noise(2) })[math.random(6)]
      return "\2\0\0\0\0\11" .. noise(6) .. ethertype .. noise(math.random(0, 120))
    end

    kinds.run_apart(function()
      local stats, seen = survives(next_frame, true)
      assert.equal(20000, stats.rx_frames)
      assert.is_true(stats.rx_invalid > 5000 and seen > 5000)
    end)
  end)
end)
