-- What the prompt shows of packets: decode(x), hex(x) and print(x) take all that has bytes: what ether.sr1 returns,
-- frames, composed packets, texts.

local shell = require "support.shell"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"

-- What the lines print.
local function printed(lines)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write((lines:gsub("\n +", "\n")))
  file:close()
  local text = shell.output_of(("timeout 20 %s repl <%s 2>&1 || true"):format(ETHERLUA, path))
  os.remove(path)
  return text
end

local SETUP = [[
  a, b = ether.wire()
  h = a:host { mac = "02:00:00:00:00:01", ip = "10.0.0.1/24" }
  g = b:host { mac = "02:00:00:00:00:02", ip = "10.0.0.2/24" }
  ping = p.ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / p.icmp { type = 8 } / "ping"
]]

-- By name: an expression for it, and the first bytes of its dump.
local HAVE_BYTES = {
  ["what ether.sr1 returns"] = { "ether.sr1(h, ping)", "02 00 00 00 00 01" },
  ["a frame"] = { '(function() h:send(ping) return b:default_conn { mirror = true }:recv_frame(1) end)()', "02 00 00" },
  ["a composed packet"] = { "ping", "45 00 00 20" },
  ["a composed frame"] = { "p.ether { src = h.mac, dst = g.mac } / ping", "02 00 00 00 00 02" },
}

describe("at the prompt", function()
  for name, case in pairs(HAVE_BYTES) do
    it("decode, hex and print take " .. name, function()
      local text = printed(SETUP .. "x = " .. case[1] .. "\ndecode(x) hex(x)\nprint(x)\nprint('>', 1, nil)\n")
      local layers = "IPv4 10.0.0.[12] > 10.0.0.[12] .*\n +%d+  ipv4 +version 4, .*protocol 1 %(icmp%)"
        .. ".*\n +%d+  icmp +type [08] %(echo [^\n]*\n +%d+  data [^\n]*\n"
      assert.matches("^[^\n]*" .. layers .. "0000  " .. case[2] .. ".*" .. layers .. ">\t1\tnil\n$", text)
    end)
  end

  it("decode and hex take texts, decode is for frames then, and both say what they do not take", function()
    assert.matches("^malformed %(ethernet: 3 of 14 header bytes%)\n.*\n0000  61 62 63 ",
      printed [[decode "abc" hex "abc"]])
    assert.matches("bad bytes 5: a text, a frame or a packet is needed", printed "decode(5)")
  end)

  it("DHCP options are one a line, in the order of the wire", function()
    local text = printed [[ip = p.ip4 { src = "0.0.0.0", dst = "255.255.255.255" }
      ip / p.udp {} / p.dhcp4 { op = 1, options = { message_type = "DISCOVER", host_name = "x" } }]]
    assert.matches("\n +options message_type DISCOVER\n +options host_name x\n$", text)
  end)
end)
