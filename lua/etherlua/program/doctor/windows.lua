-- windows.lua: the doctor's checks where relays are Npcap's. As host.lua and interface.lua have it: a check returns
-- status, detail and what mends it; nothing at all when there is nothing to say.

local interfaces = require "etherlua.net.interfaces"
local misuse = require "etherlua.core.misuse"
local relay = require "etherlua.relay.relay"

local M = { host = {}, interface = {}, system = {} }

local NPCAP = "install Npcap, from https://npcap.com"

-- ---- the machine --------------------------------------------------------------------------------------------------

-- Nothing but the engine is asked.
function M.system.new()
  return {}
end

local function luajit()
  if not jit.status() then return "problem", jit.version .. ": its compiler is off, scripts will be slow" end
  return "ok", jit.version .. ", compiler on"
end

local function npcap()
  local words, reason = interfaces.pcap()
  if not words then return "problem", reason, NPCAP end
  if not words:find "Npcap" then return "note", words .. ": not Npcap, which alone wakes up who waits" end
  return "ok", words
end

local function linux_alone()
  return "note", "afpacket, xdp, labs, ranks, --netns and --user need Linux"
end

M.host.checks = { { "luajit", luajit }, { "npcap", npcap }, { "linux", linux_alone } }

-- ---- an interface -------------------------------------------------------------------------------------------------

local function is_meant(one, i, given)
  return given == one.name or given == one.description or given == one.device or given == tostring(i)
end

-- Opens and closes a relay.
local function try(device)
  local ok, result = pcall(relay.open, "pcap:" .. device)
  if not ok then return { works = false, detail = misuse.words(result) } end
  result:close()
  return { works = true }
end

---@param _ table the system
---@param given string any of its names, or its number in the list
---@return table? nil when there is no such interface
function M.interface.facts(_, given)
  for i, one in ipairs(interfaces.list() or {}) do
    if is_meant(one, i, given) then
      one.trial = try(one.device)
      return one
    end
  end
end

local function names(facts)
  return "ok", ("%s, %s"):format(facts.description, facts.device)
end

local function state(facts)
  if facts.up then return "ok", facts.name .. " is up" end
  return "problem", facts.name .. " is down, or has no carrier (cable, far end)"
end

local function addresses(facts)
  local list = #facts.addresses > 0 and table.concat(facts.addresses, ", ") or "no IP address"
  return "ok", ("MAC %s, %s"):format(facts.mac or "none", list)
end

local function mtu(facts)
  return "ok", "MTU " .. facts.mtu
end

local function tags()
  return "note", "VLAN tags: many drivers take them off before Npcap sees a frame; a setting of the card " ..
    '("Priority & VLAN", or MonitorModeEnabled of Intel\'s) has them stay'
end

local function pcap(facts)
  if facts.trial.works then return "ok", "pcap works" end
  return "problem", "pcap: " .. facts.trial.detail
end

local CHECKS = { { "names", names }, { "state", state }, { "addresses", addresses }, { "mtu", mtu }, { "vlan", tags },
  { "pcap", pcap } }

function M.interface.checks()
  return CHECKS
end

-- Each with the number that stands for it.
---@return table[] findings
function M.interface.list()
  local list, reason = interfaces.list()
  if not list then return { { check = "interfaces", status = "problem", detail = reason, fix = NPCAP } } end
  local found = {}
  for i, one in ipairs(list) do
    found[i] = { check = one.name, status = "note", detail = ("%d  %s  %s  %s  MTU %d  %s  %s"):format(i, one.name,
      one.up and "up" or "down", one.mac or "no MAC address", one.mtu, table.concat(one.addresses, ", "),
      one.description) }
  end
  return found
end

return M
