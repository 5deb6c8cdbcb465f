-- bases.lua: a frame of each sort that the engine looks into, for specs that cut and flip them, and to begin fuzzing
-- with.

local arp = require "etherlua.proto.arp"
local frames = require "support.frames"

local A = frames.MAC_A

local EXTENSIONS = { { type = 0, data = "\5\2\0\0\1\0" }, { type = 60, data = ("o"):rep(14) }, { type = 43 },
  { type = 44, identification = 9 }, { type = 51, data = ("a"):rep(22) } }
local FRAGMENT = { { type = 0 }, { type = 44, mf = true, identification = 9 } }

return {
  ["an ARP request"] = frames.frame(arp.build { sha = A, spa = "10.0.0.1", tpa = "10.0.0.2" }, { ethertype = 0x0806 }),
  ["an ARP request in a broadcast"] =
    frames.frame(arp.build { sha = A, tpa = "10.0.0.2" }, { ethertype = 0x0806, dst = frames.BROADCAST }),
  ["a UDP datagram"] = frames.frame(frames.udp()),
  ["a UDP datagram behind options"] = frames.frame(frames.udp { options = ("\1"):rep(40) }),
  ["a first fragment"] = frames.frame(frames.udp { mf = true }),
  ["a later fragment"] = frames.frame(frames.udp { fragment_offset = 100 }),
  ["a padded datagram"] = frames.frame(frames.udp { payload = "" } .. ("\0"):rep(18)),
  ["a UDP datagram over IPv6"] = frames.frame(frames.udp6()),
  ["a UDP datagram behind all IPv6 extension headers"] = frames.frame(frames.udp6 { extension_headers = EXTENSIONS }),
  ["an IPv6 fragment"] = frames.frame(frames.udp6 { extension_headers = FRAGMENT }),
  ["a neighbour solicitation"] = frames.frame(frames.udp6 { protocol = 58, hop_limit = 255 }),
  ["QinQ"] = frames.frame(frames.udp(), { vlans = { { vid = 100, tpid = 0x88a8, pcp = 5 }, 200 } }),
  ["five tags"] = frames.frame(frames.udp(), { vlans = { 1, 2, 3, { vid = 4, tpid = 0x9100 }, 5 } }),
}
