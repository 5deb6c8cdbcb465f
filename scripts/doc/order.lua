-- order.lua: what stands below what, for structure.lua, and the exceptions.

local M = {}

-- Rooms of lua/etherlua, the lowest first. "api" is what lies in no room: init.lua and the names that users write.
M.ROOMS = { "core", "net", "ranks", "proto", "relay", "host", "role", "ask", "lab", "api", "test", "program" }

-- Units of engine, the lowest first: x.c with x.h. Those of one line stand side by side: none needs another. kinds/* is
-- all of kinds/ that is not named, so that a new relay kind needs no line here.
M.UNITS = {
  "abi", "common", "os/pages os/sockaddr os/windows/control", "descriptors os/inherited", "abi_text engine wire_format",
  "addr checksum histogram fail live table clock os/private_file os/carrier os/turn os/file_changes os/random",
  "pool frame parse os/dump os/windows/npcap os/windows/input",
  "filter capture savefile tasks", "kind", "watch", "signals os/netdev os/netns os/process os/socket os/user",
  "os/whereabouts os/shortage os/interfaces", "endpoint", "tap frame_memory",
  "incomplete", "reassemble", "demux", "transmit", "ethernet", "fragment", "udp", "conn", "ahead", "relay",
  "kinds/packet_socket kinds/socket_filter kinds/steer_peer kinds/offload kinds/xdp_queue",
  "kinds/packet_blocks kinds/steer",
  "kinds/xdp_pieces", "kinds/xdp_rings", "os/windows/absent kinds/*", "kinds/list",
  "open", "invariant rest", "loop",
  "program/embedded program/alarm program/output program/terminal program/line_history",
  "program/environment program/interrupt program/preload program/tree",
  "program/console", "program/main",
}

-- Arrows that point up and may, each with its reason. All of them are lazy: they load what they need when it is called.
M.FORWARDERS = {
  ["relay/relay -> host/host"] = "relay:host() reads better than host.open(relay)",
  ["relay/conn -> ask/responder"] = "conn:answer() likewise",
  ["relay/udp -> host/resolver"] = "conn:udp(address, { resolve = \"arp\" }): what finds next hops is a host's organ",
  ["host/host -> role/ping"] = "host:ping() likewise",
}

-- Files that may be longer, each with its reason.
M.LONG = {
  ["engine/abi.h"] = "the one boundary is one file: the library carries its text",
}

return M
