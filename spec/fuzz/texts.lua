-- texts.lua: what somebody types: addresses, VLAN stacks, ranges, rates, options, patterns. Every text is taken, or is
-- refused as misuse: by an error of one printable line that says what is allowed, at the line of whoever gave it. What
-- is taken means the same when it is written again, where it can be.

local addr = require "etherlua.net.addr"
local dhcp4_option = require "etherlua.program.dhcp4_option"
local ip_range = require "etherlua.net.ip_range"
local match = require "etherlua.proto.match"
local misuse = require "etherlua.core.misuse"
local mutator = require "fuzz.mutator"
local outside = require "etherlua.core.outside"
local packet = require "etherlua.proto.packet"
local prefix = require "etherlua.net.prefix"
local rate = require "etherlua.net.rate"
local rules = require "fuzz.rules"
local size_mix = require "etherlua.net.size_mix"
local vlan_range = require "etherlua.net.vlan_range"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

local function written(text, read, write)
  return function(given)
    local once = write(read(given))
    local again = write(read(once))
    if once ~= again then rules.fail("%s: %q is read as %q, and that as %q", text, given, once, again) end
  end
end

local function one_field(layer, name)
  return function(text) return packet[layer] { [name] = text }:build() end
end

local FRAME = match.decode((packet.ether { dst = "02:00:00:00:00:01", src = "02:00:00:00:00:02" }
  / packet.ip4 { src = "10.0.0.1", dst = "10.0.0.2" } / packet.udp { sport = 1, dport = 2 } / "data"):build())

-- By name: what reads a text, and texts that it takes.
M.readers = {
  ["addr.addr"] = { written("an address", addr.addr, tostring), "10.0.0.1:67", "[ff02::1:2]:547", "[fe80::1]:0" },
  ["addr.mac"] = { written("a MAC address", addr.mac, tostring), "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF" },
  ["addr.ip_bytes"] = { written("an IP address", addr.ip_bytes, addr.ip_text), "10.0.0.1", "2001:db8::1",
    "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8" },
  ["addr.ip4_number"] = { written("an IPv4 address", addr.ip4_number, addr.ip4_text), "10.0.0.1", "255.255.255.255" },
  ["vlan_stack.new"] = { written("a VLAN stack", vlan_stack.new, tostring), "", "100", "100.200", "88a8:100.200",
    "1.2.3.4" },
  ["vlan_range.new"] = { vlan_range.new, "100", "100.1-4094", "1-4.7-9", "" },
  ["prefix.new"] = { prefix.new, "10.0.0.5/24", "2001:db8::5/64", "10.0.0.1", "::/0" },
  ["ip_range.new"] = { ip_range.new, "10.0.0.0/24", "10.0.0.1-10.0.0.99", "10.0.0.7", "0.0.0.0/0" },
  ["rate.new"] = { rate.new, "100k", "1Gbit", "2.5Mbit/s", "10Mpps", "1e3" },
  ["size_mix.new"] = { size_mix.new, "512", "64:7,570:4,1518:1", "imix" },
  ["dhcp4_option.convert"] = { function(text)
    local pair, reason = dhcp4_option.convert(text)
    if not pair then error(reason, 0) end
  end, "60=text", "43=0x0102", "lease_time=600", "dns_servers=1.1.1.1,8.8.8.8", "121=10.0.0.0/8=10.0.0.1",
    "static_routes=192.168.5.0=10.0.0.1", "82=circuit_id=a,remote_id=b", "message_type=discover", "82=1=0x01",
    "parameter_request_list=1,3,routers", "domain_search=a.b", "ip_forwarding=true", "53=1", "time_offset=-1" },
  ["match.compile"] = { function(text) return match.difference(text, FRAME) end, "IPv4 10%.0%.0%.1", "^data$",
    "[%w]+" },
  ["a layer"] = { function(text) return match.compile { [text] = {} } end, "ip4", "udp", "ethernet", "data" },
  ["a field"] = { function(text) return match.compile { udp = { [text] = 1 } } end, "src_port", "sport", "payload" },
  ["a packet's layer"] = { function(text) return packet[text] end, "ether", "dhcp4", "padding" },
  ["ether.dst"] = { one_field("ether", "dst"), "02:00:00:00:00:01" },
  ["ip4.src"] = { one_field("ip4", "src"), "10.0.0.1" },
  ["ip6.dst"] = { one_field("ip6", "dst"), "2001:db8::1" },
  ["arp.spa"] = { one_field("arp", "spa"), "10.0.0.1" },
  ["dhcp4.yiaddr"] = { one_field("dhcp4", "yiaddr"), "10.0.0.1" },
}

M.names = {}
for name in pairs(M.readers) do M.names[#M.names + 1] = name end
table.sort(M.names)

-- ---- making them --------------------------------------------------------------------------------------------------

local WORDS = { ".", ":", "::", "-", "/", ",", "=", "0x", " ", "\n", "\0", "\27[1m", "%", "%d", "[", "]", "(", "-1",
  "0", "4095", "4096", "65535", "65536", "4294967295", "4294967296", "1e9", "1e309", "nan", "inf", "0x10", "33", "129",
  "\195\169", "\255", "%b", "%f", "auto", "k", "M", "G", "bit", "pps", "true", "\226\128\174" }

---@param chance table of endure/chance.lua
---@param name string of a reader
---@return string text
function M.make(chance, name)
  local reader = M.readers[name]
  local text = reader[1 + chance:upto(#reader - 1)]
  if chance:once_in(8) then
    local other = M.readers[chance:pick(M.names)]
    text = other[1 + chance:upto(#other - 1)]
  end
  for _ = 1, chance:upto(3) do
    local at = chance:upto(#text + 1)
    text = text:sub(1, at - 1) .. chance:pick(WORDS) .. text:sub(at + chance:upto(3) - 1)
  end
  if chance:once_in(4) then text = mutator.mutate(chance, text, chance:pick(WORDS)) end
  return text
end

-- ---- the rule -----------------------------------------------------------------------------------------------------

local INTERNAL = { "^lua/etherlua/", "attempt to ", "bad argument #", "stack overflow", "not enough memory" }

---@param name string of a reader
---@param text string
function M.check(name, text)
  local ok, failure = pcall(M.readers[name][1], text)
  if ok then return end
  if type(failure) == "table" then error(failure, 0) end
  for _, pattern in ipairs(INTERNAL) do
    if tostring(failure):find(pattern) then rules.fail("%s raises what is no misuse: %s", name, failure) end
  end
  local words = misuse.words(failure)
  if outside.shown(words) ~= words then rules.fail("%s refuses in words that are no line: %q", name, words) end
end

return M
