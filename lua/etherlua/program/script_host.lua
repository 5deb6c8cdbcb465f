-- program/script_host.lua: the invented host that a script speaks as: its options, and the host, ready to be used. Its
-- address is leased by DHCP, or taken from a router, unless the options say which; a lease is kept, and given back at
-- the end. For scripts alone: what does not work ends the script with one line.

local addr = require "etherlua.net.addr"
local dhcp4_client = require "etherlua.role.dhcp4_client"
local misuse = require "etherlua.core.misuse"
local neighbour = require "etherlua.host.neighbour"
local outside = require "etherlua.core.outside"
local prefix = require "etherlua.net.prefix"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"
local script = require "etherlua.program.script"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

local DHCP = "dhcp"
local LEASE = { tries = 3, timeout = 1, probe = "quick" } -- who waits for a ping does not wait a minute for this
local READY_TIMEOUT = 10 -- seconds; RFC 4861 section 10: three router solicitations, four seconds apart

-- ---- options ------------------------------------------------------------------------------------------------------

local function with_length(text, version)
  local own = prefix.new(text)
  if own.version ~= version or not text:find("/", 1, true) then
    misuse.raise("bad address %q: IPv%d with the length of its prefix is needed, such as %s", text, version,
      version == 4 and "10.0.0.5/24" or "2001:db8::5/64")
  end
end

local function ip4(text)
  if text ~= DHCP then with_length(text, 4) end
end

local function ip6(text)
  if text ~= "auto" and text ~= "link" then with_length(text, 6) end
end

local function gateway6(text)
  if #addr.ip_bytes(text) ~= 16 then misuse.raise("bad IPv6 address %q: such as fe80::1 is needed", text) end
end

-- For script.accepted_by(): refuses what cannot be the address of one host.
---@param text string
function M.target(text)
  local bytes = addr.ip_bytes(text)
  local first = bytes:byte()
  local is_group = #bytes == 16 and first == 0xff or #bytes == 4 and first >= 224
  if is_group or bytes == ("\0"):rep(#bytes) then
    misuse.raise("bad target %s: the address of one host is needed", text)
  end
end

-- Adds the options that say who the script speaks as.
---@param parser table from script.parser
function M.add(parser)
  local accepted = script.accepted_by
  parser:option("--mac", "MAC address of the host (default: a random one)."):argname("MAC")
    :convert(accepted(script.host_mac))
  parser:option("--vlan", "VLAN stack of the host, outer tag first: 100 or 100.200."):argname("VLANS")
    :convert(accepted(vlan_stack.new))
  parser:option("--ip", "IPv4 address of the host, with the length of its prefix, such as 10.0.0.5/24; dhcp: " ..
    "leased, which is the default where an IPv4 address is needed."):argname("IP/LEN"):convert(accepted(ip4))
  parser:option("--gateway", "IPv4 gateway of the host (default: the one that DHCP names)."):argname("IP")
    :convert(accepted(addr.ip4_number))
  parser:option("--ip6", "IPv6 address of the host, with the length of its prefix; auto: from a router, which is " ..
    "the default where an IPv6 address is needed; link: the link-local one alone."):argname("IP6/LEN")
    :convert(accepted(ip6))
  parser:option("--gateway6", "IPv6 gateway of the host (default: the router that is heard)."):argname("IP6")
    :convert(accepted(gateway6))
end

-- ---- addresses ----------------------------------------------------------------------------------------------------

local function give_up(format, ...)
  script.exit(script.REFUSED, format:format(...))
end

-- One that was given by hand: somebody may have it already.
local function use_static(host, opts)
  local ip = prefix.new(opts.ip).ip
  local free, mac = neighbour.of(host.conn):probe(ip, neighbour.PROBES.quick)
  if not free then give_up("address %s is in use by %s", ip, mac) end
  host:set_ip(opts.ip, opts.gateway)
end

local function say(format, ...)
  io.stderr:write("etherlua: ", outside.shown(format:format(...)), "\n")
end

-- A gateway of the user's own comes before that of the lease.
local function use_lease(host, opts, lease)
  host:set_ip(("%s/%d"):format(lease.ip, lease.prefix_length), opts.gateway or lease.router, lease.routes)
end

-- Renews until it is lost; then the host has no address any more. Each ACK may have other routes.
local function keep(host, opts, lease)
  local _, reason = lease:hold(function() use_lease(host, opts, lease) end)
  say("lease of %s lost: %s", lease.ip, reason)
  host:set_ip(nil)
end

local function use_dhcp(host, opts)
  local lease, reason = dhcp4_client.lease(host.conn, LEASE)
  if not lease then give_up("no DHCP lease: %s (--ip ADDRESS/LENGTH does without)", reason) end
  sched.defer(function() lease:close() end)
  for _, note in ipairs(lease.notes) do say("lease of %s: %s", lease.ip, note) end
  use_lease(host, opts, lease)
  sched.spawn_background(keep, host, opts, lease)
end

local function use_ip6(host)
  local ok, reason = host:ready(READY_TIMEOUT)
  if not ok then give_up("no IPv6 address: %s (--ip6 ADDRESS/LENGTH does without a router)", reason) end
end

-- What is asked for, or else what the target needs.
local function kinds_of(opts, target)
  local ip, ip6_kind = opts.ip, opts.ip6
  if target and target:find(":", 1, true) then
    ip6_kind = ip6_kind or (prefix.new("fe80::/10"):contains(target) and "link" or "auto")
  elseif target or not ip6_kind then
    ip = ip or DHCP
  end
  return ip, ip6_kind
end

-- The host that the options name, with an address. Blocks until it has one; ends the script when it gets none.
---@param opts table options of M.add
---@param relay etherlua.relay
---@param target? string IP address that it has to be able to speak to; nil: an IPv4 address is leased, unless the
---  options name an address of either kind
---@return etherlua.host
function M.host_of(opts, relay, target)
  local ip, ip6_kind = kinds_of(opts, target)
  if opts.gateway and not ip then script.exit(script.USAGE, "--gateway needs --ip") end
  if opts.gateway6 and not ip6_kind then script.exit(script.USAGE, "--gateway6 needs --ip6") end
  script.progress(function() return ("waiting for an address (%s)"):format(ip or ip6_kind) end)
  local host = script.check(relay.host, relay, { mac = opts.mac or random.mac(), vlans = opts.vlan, ip6 = ip6_kind,
    gateway6 = opts.gateway6 })
  if ip == DHCP then use_dhcp(host, opts) elseif ip then use_static(host, opts) end
  if ip6_kind then use_ip6(host) end
  script.end_progress()
  return host
end

-- Who the host is, for people.
---@param host etherlua.host
---@return string such as "02:00:00:11:22:33 vlan 100.200"
function M.name_of(host)
  return host.mac .. script.tag_text(tostring(host.conn.vlans))
end

return M
