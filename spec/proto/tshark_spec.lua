-- tshark as a judge that shares no code with us: nothing that the protocol modules build is malformed to it, and its
-- checksums are ours.

local packet = require "etherlua.proto.packet"
local packets = require "support.packets"
local pcap = require "support.pcap"
local shell = require "support.shell"

local output_of = shell.output_of

local CHECKS = "-o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE"

-- What tshark says of each frame, as with -V.
local function ask(list)
  local path = pcap.file(list)
  local text = output_of(("tshark -n -V %s -r %s 2>/dev/null"):format(CHECKS, path))
  pcap.remove_files()
  local said = {}
  for one in ("\n" .. text):gsub("\nFrame (%d+:)", "\1Frame %1"):gmatch("\1([^\1]*)") do said[#said + 1] = one end
  assert.equal(#list, #said)
  return said
end

-- Nothing that tshark warns of; what it merely notes is no fault.
local function fault_in(text)
  return text:match("[^\n]*[Mm]alformed[^\n]*") or text:match("[^\n]*[Ii]ncorrect[^\n]*")
    or text:match("[^\n]*Expert Info %(Error[^\n]*") or text:match("[^\n]*Expert Info %(Warning[^\n]*")
end

describe("tshark", function()
  local missing = shell.missing "tshark"

  local function judged_it(name, fn)
    it(name, function()
      if missing then return pending(missing) end
      fn()
    end)
  end

  judged_it("finds nothing malformed, and every checksum right, in a packet of every kind", function()
    local names, list = {}, {}
    for name, one in pairs(packets.all()) do
      names[#names + 1], list[#list + 1] = name, one:build()
    end
    assert.is_true(#list > 35)
    for i, text in ipairs(ask(list)) do assert.is_nil(fault_in(text), names[i]) end
  end)

  judged_it("finds what is wrong on purpose", function()
    local ether, ip4, ip6 = packet.ether { dst = "ff:ff:ff:ff:ff:ff" }, packet.ip4, packet.ip6
    local wrong = {
      ether / ip4 { dst = "10.0.0.1", header_checksum = 1 } / packet.udp { dst_port = 2000 } / "x",
      ether / ip4 { dst = "10.0.0.1" } / packet.udp { dst_port = 2000, checksum = 1 } / "x",
      ether / ip4 { dst = "10.0.0.1" } / packet.tcp { dst_port = 2000, checksum = 1 } / "x",
      ether / ip4 { dst = "10.0.0.1" } / packet.icmp { type = 8, checksum = 1 } / "x",
      ether / ip6 { dst = "fe80::1", hop_limit = 255 } / packet.icmp6 { type = 135, target = "fe80::1", checksum = 1 },
      ether / ip4 { dst = "10.0.0.1", protocol = 17 } / "short",
      ether / ip6 { dst = "fe80::1", protocol = 58 } / "\135\0\0\0\0\0\0\0cut off",
    }
    local list = {}
    for i, one in ipairs(wrong) do list[i] = one:build() end
    for i, text in ipairs(ask(list)) do assert.is_truthy(fault_in(text), i .. ": " .. text) end
  end)

  judged_it("reads the fields that were meant", function()
    local all = packets.all()
    local function says(name, ...)
      local text = ask({ all[name]:build() })[1]
      for _, part in ipairs { ... } do assert.is_truthy(text:find(part, 1, true), name .. ": " .. part) end
    end
    says("tcp syn", "Maximum segment size: 1460 bytes", "SACK permitted", "Shift count: 7", "Flags: 0x002 (SYN)")
    says("record route", "IP Option - Record Route", "Pointer: 8")
    says("router alert", "IP Option - Router Alert")
    says("fragmentation needed", "MTU of next hop: 1400", "Src: 10.0.0.2, Dst: 10.0.0.1")
    says("redirect", "Gateway Address: 10.0.0.254")
    says("parameter problem", "Pointer: 20")
    says("timestamp reply", "Originate Timestamp: 1000", "Receive Timestamp: 2000", "Transmit Timestamp: 86399999")
    says("packet too big", "MTU: 1280")
    says("router advertisement", "Router lifetime (s): 1800", "Reachable time (ms): 30000", "MTU: 1500",
      "Prefix: 2001:db8::", "Valid Lifetime: 86400", "Recursive DNS Servers: 2001:db8::53",
      "Prf (Default Router Preference): High", "Link-layer address: 02:00:00:00:00:0a")
    says("neighbour advertisement", "Target Address: fe80::a", "Solicited: Set", "Override: Set")
    says("redirect 6", "Target Address: fe80::c", "Destination Address: 2001:db8::9", "Redirected Packet")
    says("hop by hop", "Router Alert")
    says("routing", "Routing Header for IPv6")
    says("authentication", "AH SPI: 0x00000100", "AH Sequence: 1")
  end)
end)
