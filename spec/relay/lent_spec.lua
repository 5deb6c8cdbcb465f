-- Frames that are gone: what a script does with a frame that was given back, or whose endpoint or relay was closed, is
-- an error, on every relay kind; what it does with one that is there is not.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local told = require "support.told"

local A, B, C = frames.MAC_A, frames.MAC_B, "02:00:00:00:00:0c"
local GONE = "this frame was given back, or its endpoint is closed"
local MEMBERS = { "len", "data", "payload", "payload_len", "timestamp", "ethertype", "cut", "body", "src_mac",
  "dst_mac", "src_ip", "dst_ip", "src_port", "dst_port", "vlans", "outgoing", "invalid", "fragment" }

local function lent_by(from, reader)
  from:send(frames.udp(), B)
  local frame = assert(reader:recv_frame(5))
  for _, name in ipairs(MEMBERS) do assert.not_nil(frame[name], name) end
  return frame
end

local function assert_gone(frame)
  for _, name in ipairs(MEMBERS) do
    told(function() local _ = frame[name] end, GONE)
  end
  told(function() local _ = tostring(frame) end, GONE)
  frame:release()
end

kinds.each("a frame", function(it)
  it("is an error after release, and may be released again", function(a, b)
    local frame = lent_by(a:conn { mac = A }, b:conn { mac = B })
    frame:release()
    assert_gone(frame)
  end)

  it("is an error after its EtherConn was closed, also while others receive", function(a, b)
    local from, reader, other = a:conn { mac = A }, b:conn { mac = B }, b:conn { mac = C }
    local frame = lent_by(from, reader)
    reader:close()
    for _ = 1, 40 do
      from:send(frames.udp(), C)
      assert(other:recv_frame(5))
    end
    assert_gone(frame)
  end)

  it("is an error after its RUDPConn was closed", function(a, b)
    local udp = b:conn { mac = B }:udp "10.0.0.2:9"
    a:conn({ mac = A }):udp("10.0.0.1:9"):send("x", "10.0.0.2:9", { mac = B })
    local frame = assert(udp:recv_frame(5))
    assert.equal("x", frame.body)
    udp:close()
    assert_gone(frame)
  end)

  it("is an error after its relay was closed", function(a, b)
    local frame = lent_by(a:conn { mac = A }, b:conn { mac = B })
    b:close()
    a:close()
    assert_gone(frame)
  end)
end)

describe("a frame", function()
  local function run_it(name, fn)
    it(name, function() ether.run(fn) end)
  end

  run_it("of a closed relay does no harm however many relays are opened and closed afterwards", function()
    local a, b = ether.wire()
    local frame = lent_by(a:conn { mac = A }, b:conn { mac = B })
    a:close()
    b:close()
    for _ = 1, 200 do
      local c, d = ether.wire()
      lent_by(c:conn { mac = A }, d:conn { mac = B })
      c:close()
      d:close()
      pcall(tostring, frame)
    end
    assert_gone(frame)
  end)

  run_it("of one of many closed endpoints does not use up the relay's memory", function()
    local a, b = ether.wire { frames = 512 }
    local from = a:conn { mac = A }
    for _ = 1, 2000 do
      local reader = b:conn { mac = B }
      lent_by(from, reader)
      reader:close()
    end
    assert.equal(0, b:stats().rx_no_memory)
    assert.equal(0, b:stats().rx_evicted)
  end)

  run_it("has only members that are known", function()
    local a, b = ether.wire()
    local frame = lent_by(a:conn { mac = A }, b:conn { mac = B })
    local ok, failure = pcall(function() return frame.lenght end)
    assert.is_false(ok)
    assert.matches('unknown member "lenght" of a frame, did you mean "len"', failure, 1, true)
  end)
end)
