-- interface.lua: the doctor's checks of one interface, and the list of those that are there. Facts come from `ip` and
-- `ethtool` and from the engine, which is asked to open each kind of relay: /sys shows the interfaces of the namespace
-- that it was mounted in. The trials register no endpoint, so the host keeps its traffic, and close at once.
--
-- M.checks(facts) is the list: a name, and a function of M.facts(...) and the system (system.lua) that returns status,
-- detail and the command that mends it; nothing at all when there is nothing to say.

local cjson = require "cjson"
local misuse = require "etherlua.core.misuse"
local relay = require "etherlua.relay.relay"

local M = {}

-- ---- facts --------------------------------------------------------------------------------------------------------

local function links(sys, arguments)
  local ok, list = pcall(cjson.decode, (sys.output("ip -j -d link show " .. arguments)))
  return ok and type(list) == "table" and list or {}
end

-- "name: value" lines of ethtool's output.
local function ethtool(sys, option, name)
  local values = {}
  for key, value in sys.output(("ethtool %s %s"):format(option, name)):gmatch("%s*([^\n:]+):[ \t]*([^\n]*)") do
    values[key] = value
  end
  return values
end

-- Those in use: ethtool tells what is possible first, and the same names again.
local function queues(values)
  local rx, tx, combined = tonumber(values.RX) or 0, tonumber(values.TX) or 0, tonumber(values.Combined) or 0
  return rx + combined > 0 and { rx = rx + combined, tx = tx + combined, combined = combined } or nil
end

local TRIALS = {
  afpacket = { "afpacket" },
  pcap = { "pcap" },
  native = { "xdp", mode = "native" },
  generic = { "xdp", mode = "generic" },
  zerocopy = { "xdp", mode = "native", copy = "zerocopy" },
}

-- Opens and closes a relay. Not promiscuous: that would be a change, if for a moment, and all kinds can be.
local function try(name, trial)
  local ok, result = pcall(relay.open, trial[1] .. ":" .. name,
    { mode = trial.mode, copy = trial.copy, promiscuous = false })
  -- Without the engine's advice on privileges: there is a command for it.
  if not ok then return { works = false, detail = (misuse.words(result):gsub(" %(run as root.*%)$", "")) } end
  result:close()
  return { works = true, detail = result.detail }
end

-- XDP without the rights for it is not tried: the lines about capabilities say it, and libbpf would complain at length.
local function try_all(name, sys)
  local results = {}
  local xdp = sys:has("cap_net_admin") and sys:has("cap_bpf")
  for trial_name, trial in pairs(TRIALS) do
    if xdp or trial[1] ~= "xdp" then results[trial_name] = try(name, trial) end
  end
  return results
end

-- What relays can be opened on. nil: iproute2 is not there to tell.
local function is_ethernet(link)
  return not link or link.link_type == "ether" or link.link_type == "loopback"
end

local function flags(link)
  local set = {}
  for _, name in ipairs(link.flags or {}) do set[name] = true end
  return set
end

-- Everything that the checks look at. nil when there is no such interface.
---@param sys etherlua.system
---@param given string its name, or an alternative one
---@return table?
function M.facts(sys, given)
  local link = links(sys, "dev " .. sys.quote(given))[1]
  local name = link and link.ifname or given
  local quoted = sys.quote(name)
  local listed = ("\n" .. (sys.read("/proc/net/dev") or "")):find("\n%s*" .. name:gsub("%W", "%%%0") .. ":")
  if not link and not listed then return nil end
  local is = flags(link or {})
  return {
    name = name,
    quoted = quoted,
    link = link, -- nil without iproute2
    is = is,
    driver = ethtool(sys, "-i", quoted).driver or link and (link.linkinfo or {}).info_kind,
    speed = ethtool(sys, "", quoted).Speed,
    offloads = ethtool(sys, "-k", quoted),
    queues = queues(ethtool(sys, "-l", quoted)),
    filters = select(2, sys.output("tc filter show dev " .. quoted .. " ingress"):gsub("handle", "")),
    trials = (not link or is.UP) and is_ethernet(link) and try_all(name, sys) or {},
  }
end

-- ---- link ---------------------------------------------------------------------------------------------------------

local function state(facts, sys)
  if not facts.link then return end
  local name = facts.name
  if not facts.is.UP then
    return "problem", name .. " is down", sys:in_netns(("ip link set dev %s up"):format(facts.quoted))
  end
  if facts.is.LOWER_UP then return "ok", name .. " is up, with carrier" end
  local lower = facts.link.link -- the device below, or a veth's other end, when it is in this namespace
  return "problem", name .. " is up, but has no carrier (cable, far end)",
    lower and sys:in_netns(("ip link set dev %s up"):format(sys.quote(lower))) or nil
end

local function link_type(facts)
  if not is_ethernet(facts.link) then
    return "problem", ("%s is no Ethernet interface (%s): relays need one"):format(facts.name, facts.link.link_type)
  end
  if facts.is.LOOPBACK then return "note", facts.name .. " is the loopback: frames stay on this machine" end
end

local function driver(facts)
  if not facts.driver then return end
  local speed = (facts.speed or ""):match("^%d+")
  return "ok", ("driver %s%s"):format(facts.driver, speed and (", %s Mb/s"):format(speed) or "")
end

local XDP_QUEUES = 64 -- STEER_QUEUES_MAX

local function queue_count(facts, sys)
  local now = facts.queues
  if not now then return end
  local detail = ("queues: %d receive, %d transmit"):format(now.rx, now.tx)
  if now.rx <= XDP_QUEUES then return "ok", detail end
  return "problem", ("%s: xdp serves up to %d"):format(detail, XDP_QUEUES),
    sys:in_netns(("ethtool -L %s combined %d"):format(facts.quoted, XDP_QUEUES))
end

-- AF_XDP receives into one page, of which 256 bytes are the kernel's and the rest has to hold Ethernet header and tags;
-- drivers want some of it for themselves in native mode. Larger frames come in several pages, where kernel (Linux 6.6)
-- and driver can do that: the trials tell.
local NATIVE_MTU, XDP_MTU = 3500, 3810

local function mtu(facts, sys)
  local size = facts.link and facts.link.mtu
  if not size then return end
  if size <= NATIVE_MTU then return "ok", ("MTU %d: afpacket, pcap, xdp"):format(size) end
  local fix = not facts.is.LOOPBACK and sys:in_netns(("ip link set dev %s mtu %d"):format(facts.quoted, NATIVE_MTU))
    or nil
  if size <= XDP_MTU then
    return "note", ("MTU %d: afpacket, pcap; xdp perhaps only generic"):format(size), fix
  end
  local trial = facts.trials and facts.trials.generic
  if trial and trial.works then return "ok", ("MTU %d: afpacket, pcap; xdp in several buffers a frame"):format(size) end
  return "note", ("MTU %d: afpacket, pcap; xdp only up to %d"):format(size, NATIVE_MTU), fix
end

-- ---- offloads -----------------------------------------------------------------------------------------------------

-- "on", "off" or nil; and whether it can be changed.
local function offload(facts, name)
  local value = facts.offloads[name] or ""
  return value:match("^%a+"), not value:find("fixed", 1, true)
end

local function turn_off(facts, sys, names)
  return #names > 0 and
    sys:in_netns(("ethtool -K %s %s off"):format(facts.quoted, table.concat(names, " off "))) or nil
end

local function vlan_offload(facts)
  local value, changeable = offload(facts, "rx-vlan-offload")
  if value == "on" and not changeable then
    return "note", "rxvlan on, fixed: xdp sees VLAN tags only where the driver tells (afpacket, pcap do)"
  end
  if value == "on" then return "ok", "rxvlan on: an xdp relay switches it off while it is open" end
  if value then return "ok", "rxvlan off: xdp sees VLAN tags" end
end

local MERGING = { { "gro", "generic-receive-offload" }, { "lro", "large-receive-offload" } }

local function merging_offloads(facts, sys)
  local on, changeable = {}, {}
  for _, one in ipairs(MERGING) do
    local value, can_change = offload(facts, one[2])
    if value == "on" then on[#on + 1] = one[1] end
    if value == "on" and can_change then changeable[#changeable + 1] = one[1] end
    if not value then return end
  end
  if #on == 0 then return "ok", "gro, lro off: frames arrive as sent" end
  return "note", table.concat(on, ", ") .. " on: TCP joined to frames over the MTU, which relays drop",
    turn_off(facts, sys, changeable)
end

-- A card cuts them up before the wire, a veth hands them over as they are.
local function segmenting_offload(facts, sys)
  local value, changeable = offload(facts, "tcp-segmentation-offload")
  if not value or facts.driver ~= "veth" then return end
  if value == "off" then return "ok", "tso off: TCP leaves in frames of the MTU" end
  return "note", "tso on: the far end gets TCP in frames over the MTU",
    turn_off(facts, sys, changeable and { "tso" } or {})
end

-- ---- who else is there --------------------------------------------------------------------------------------------

local MODES = { "xdpdrv", "xdpgeneric", "xdpoffload" } -- by the number that ip gives

-- The process that holds the link of an XDP program; only root sees those of others.
local function holder(sys, id)
  local list = sys.output(("grep -lsE '^prog_id:[[:space:]]+%d$' /proc/[0-9]*/fdinfo/*"):format(id))
  for path, pid in list:gmatch("(/proc/(%d+)/%S+)") do
    if (sys.read(path) or ""):find("link_type:%s*xdp") then
      return pid, (sys.read(("/proc/%s/comm"):format(pid)) or "?"):match("[^\n]*")
    end
  end
end

local function attached(facts, sys)
  local xdp = facts.link and facts.link.xdp
  if not xdp or not xdp.prog then return "ok", "no XDP program attached" end
  local name = ("%s (id %d)"):format(xdp.prog.name or "XDP program", xdp.prog.id)
  local pid, command = holder(sys, xdp.prog.id)
  if pid then
    return "problem", ("%s is attached by %s, process %s: xdp cannot be used"):format(name, command, pid),
      sys:as_root("kill " .. pid)
  end
  -- What another process holds cannot be taken off, and only root sees whether one does.
  local detail = name .. " is attached: xdp cannot be used"
  if sys.euid ~= 0 then return "problem", detail, sys:in_netns(sys.quote(sys.program) .. " doctor " .. facts.quoted) end
  return "problem", detail, sys:in_netns(("ip link set dev %s %s off"):format(facts.quoted, MODES[xdp.mode] or "xdp"))
end

local function promiscuity(facts)
  local count = facts.link and facts.link.promiscuity
  if count == 0 then return "ok", "not promiscuous now" end
  if count then return "note", ("promiscuous now, for %d user%s"):format(count, count == 1 and "" or "s") end
end

local function tc_filters(facts)
  if facts.filters == 0 then return end
  return "note", "tc ingress filters present: relays see frames before them, the host after them"
end

-- ---- trials -------------------------------------------------------------------------------------------------------

-- A line above says already why xdp does not work here.
local function is_explained(facts)
  local link = facts.link or {}
  return link.xdp ~= nil or (link.mtu or 0) > XDP_MTU
end

local function privilege(reason, sys)
  local name = reason:match("CAP_%u+_%u+") or reason:match("CAP_%u+")
  return name and sys:grant(name:lower()) or nil
end

-- virtio_net has too few queues for XDP beside those in use: the engine's reason says so.
local function fewer_queues(facts, reason, sys)
  local combined = facts.queues and facts.queues.combined or 0
  if combined < 2 or not reason:find("too few queues", 1, true) then return nil end
  return sys:in_netns(("ethtool -L %s combined %d"):format(facts.quoted, math.floor(combined / 2)))
end

local function plain(name)
  return function(facts, sys)
    local trial = facts.trials[name]
    if not trial then return end
    if trial.works then return "ok", name .. " works" end
    return "problem", ("%s: %s"):format(name, trial.detail), privilege(trial.detail, sys)
  end
end

-- Native mode is no must, where generic mode works.
local function xdp(name)
  return function(facts, sys)
    local trial = facts.trials[name]
    if not trial then return end
    if trial.works then return "ok", ("xdp works: %s"):format(trial.detail) end
    local minor = is_explained(facts) or name == "native" and facts.trials.generic.works
    return minor and "note" or "problem", ("xdp %s: %s"):format(name, trial.detail),
      privilege(trial.detail, sys) or fewer_queues(facts, trial.detail, sys)
  end
end

local function zero_copy(facts)
  local native, trial = facts.trials.native, facts.trials.zerocopy
  if not native or not native.works then return end
  if trial.works then return "ok", "xdp works: zero-copy" end
  return "note", "xdp zero-copy: " .. trial.detail
end

local function untried(facts, sys)
  if facts.link and not facts.is.UP then return "note", "relays not tried: the interface is down" end
  if not facts.trials.native then
    local missing = {}
    for _, name in ipairs { "cap_net_admin", "cap_bpf" } do
      if not sys:has(name) then missing[#missing + 1] = name:upper() end
    end
    return "note", ("xdp not tried, without %s"):format(table.concat(missing, " and "))
  end
end

-- ---- the lists ----------------------------------------------------------------------------------------------------

local CHECKS = {
  { "state", state },
  { "link_type", link_type },
  { "driver", driver },
  { "queues", queue_count },
  { "mtu", mtu },
  { "rxvlan", vlan_offload },
  { "gro", merging_offloads },
  { "tso", segmenting_offload },
  { "xdp_program", attached },
  { "promiscuous", promiscuity },
  { "tc_ingress", tc_filters },
  { "afpacket", plain "afpacket" },
  { "pcap", plain "pcap" },
  { "xdp_native", xdp "native" },
  { "xdp_generic", xdp "generic" },
  { "xdp_zero_copy", zero_copy },
  { "not_tried", untried },
}

local OF_OTHERS = { { "link_type", link_type }, { "driver", driver } } -- relays are not possible: no word about them

---@param facts table of M.facts()
---@return table[] see above
function M.checks(facts)
  return is_ethernet(facts.link) and CHECKS or OF_OTHERS
end

local function state_word(is)
  return is.UP and (is.LOWER_UP and "up" or "no carrier") or "down"
end

-- A finding for each interface: name, state, MTU and kind.
---@param sys etherlua.system
---@return table[]
function M.list(sys)
  local found, width = {}, 0
  local all = links(sys, "")
  for _, link in ipairs(all) do width = math.max(width, #link.ifname) end
  for _, link in ipairs(all) do
    local kind = link.linkinfo and link.linkinfo.info_kind or link.link_type
    local detail = ("%-" .. width .. "s  %-10s  MTU %-5d  %s"):format(link.ifname, state_word(flags(link)), link.mtu,
      kind)
    found[#found + 1] = { check = "interface " .. link.ifname, status = "note", detail = detail }
  end
  return found
end

return M
