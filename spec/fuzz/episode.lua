-- episode.lua: a role, or something else that speaks protocols as tasks, for some virtual time at a wire to an honest
-- gateway, with a liar in between; then it is closed. Everything is decided by the seed. Nothing raises, whoever is
-- closed ends at once, and nothing is left.

local chance = require "endure.chance"
local effi = require "etherlua.core.ffi"
local ether = require "etherlua"
local ffi = require "ffi"
local gateway = require "etherlua.role.gateway"
local guard = require "etherlua.core.guard"
local json = require "etherlua.program.json"
local liars = require "fuzz.liar"
local packet = require "etherlua.proto.packet"
local packets = require "support.packets"
local pcap = require "support.pcap"
local random = require "etherlua.net.random"
local role = require "etherlua.role.role"
local roles = require "support.roles"
local sched = require "etherlua.core.sched"
local sr = require "etherlua.ask.sr"
local witnesses = require "fuzz.witness"

local M = {}

local MAC, ME, PEER = "02:00:00:00:00:01", "10.0.0.5", "10.0.0.9"
local ENDS_WITHIN = 5  -- seconds that whoever was closed may still need
local MEMORY = 64e6    -- bytes that an episode may leave behind before they are collected
local LEASES = { dhcp4_client = true, dhcp4_load = true, dhcp4_discover = true }
local RAW = { replay = true } -- sends what is in a file

-- ---- who is tried -------------------------------------------------------------------------------------------------

-- What is no role, but as exposed: name -> function of a relay to an object with run() and close(). summary() is a
-- role's.
local OTHERS = {}

-- run: what it does, as a role does it, so that close() ends it.
local function serving(object, run)
  local one = { summary = function() return {} end }
  function one:run() return role.run(self, run or function() ether.sleep(1e9) end) end
  function one:close() if role.close(self) then object:close() end end
  return one
end

OTHERS["a host"] = function(relay, draw)
  local host = relay:host { mac = MAC, ip = ME .. "/24", gateway = "10.0.0.1", ip6 = draw:pick { "auto", "link" },
    dad = draw:once_in(2) }
  return serving(host, function()
    for _ = 1, 20 do
      host:send { dst = draw:pick { PEER, "10.0.0.1", "192.0.2.1", "2001:db8::1", "fe80::1" }, protocol = 253,
        payload = "an experiment" }
      ether.sleep(draw:upto(50))
    end
  end)
end

OTHERS["a RUDPConn that resolves"] = function(relay, draw)
  local conn = relay:conn { mac = MAC, multicast = true, reassemble = draw:once_in(2) }
  local four = conn:udp(ME .. ":5000", { resolve = "arp" })
  local six = conn:udp("[fe80::ff:fe00:1]:5000", { resolve = "arp" })
  return serving(conn, function()
    for _ = 1, 20 do
      four:send("x", draw:pick { PEER, "10.0.0.1" } .. ":7")
      six:send("x", "[fe80::1]:7")
      four:recv(draw:upto(3))
      six:recv(0.1)
    end
  end)
end

OTHERS["a question and its answer"] = function(relay, draw)
  local conn = relay:conn { mac = MAC, multicast = true }
  return serving(conn, function()
    for _ = 1, 10 do
      sr.sr1(conn, packet.arp { sha = MAC, spa = ME, tpa = PEER }, { timeout = draw:upto(4), retry = draw:upto(3) })
      sr.sr1(conn, packet.ip4 { src = ME, dst = "10.0.0.1" } / packet.icmp { type = 8 } / "ping", { timeout = 1 })
    end
  end)
end

OTHERS["a responder"] = function(relay)
  local conn = relay:conn { mac = MAC, multicast = true }
  conn:answer { match = { arp = { op = 1 } }, reply = packet.arp { sha = MAC, op = 2 } }
  conn:answer { match = { ip = { dst = ME }, icmp = { type = 8 } }, reply = packet.icmp { type = 0 } }
  conn:answer { match = { ip = { dst = ME }, udp = {}, icmp = false, icmp6 = false }, reply = "answer" }
  return serving(conn)
end

-- Options that roles have in common, with values to be busy by.
local VARIED = { timeout = { 0.01, 0.5, 5, 60 }, interval = { 0.05, 1, 60 }, tries = { 1, 2, 5 }, rate = { 1, 20, 200 },
  probe = { "rfc", "quick" }, broadcast = { true }, dad = { true, false }, announce = { true }, first = { true },
  icmp = { true }, flood = { true }, quiet = { true }, rounds = { 1, 3 }, release = { false }, any_port = { true },
  window = { 1, 16 }, lease_time = { 0, 1, 30, 4294967295 }, offer_time = { 0, 1, 60 }, decline_time = { 0, 5 },
  max_offers = { 0, 1, 64 }, max_declined = { 0, 1 }, max_leases = { 1, 5 }, decline_pause = { 0.1, 10 },
  target = { PEER, "10.0.0.1", "192.0.2.1", "fe80::1", "2001:db8::1" } }

local function sorted(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- A role made with some of its options changed, of those that it has.
local function new_role(draw, name, place, opts)
  local module = require("etherlua.role." .. name)
  local one, reason
  for _, option in ipairs(draw:once_in(4) and {} or sorted(VARIED)) do
    if draw:once_in(3) then
      local old = opts[option]
      opts[option] = draw:pick(VARIED[option])
      local ok, made = pcall(module.new, place, opts)
      if ok and made then made:close() else opts[option] = old end
    end
  end
  one, reason = module.new(place, opts)
  return one, reason
end

---@return string[] names of all that can be tried
function M.names()
  local names = sorted(roles.busy)
  for _, name in ipairs(sorted(OTHERS)) do names[#names + 1] = name end
  return names
end

-- ---- what is asked of them -----------------------------------------------------------------------------------------

-- Names of a summary: the first is the sum of the others, or no less than the second.
local SUMS = { { "clients", "bound", "failed", "unfinished" }, { "expected", "received", "lost" } }
local NOT_LESS = { { "questions", "answered" }, { "clients", "opened" }, { "answers", "answered" },
  { "hosts", "ready" } }

local function all_there(summary, names)
  for _, name in ipairs(names) do
    if type(summary[name]) ~= "number" then return false end
  end
  return true
end

local function check_numbers(values, path)
  for name, value in pairs(values) do
    local at = path .. tostring(name)
    if type(value) == "table" then
      check_numbers(value, at .. ".")
    elseif type(value) == "number" and (value ~= value or value < 0 or value == math.huge) then
      error(("the summary has %s = %s"):format(at, tostring(value)), 0)
    end
  end
end

local function check_summary(summary)
  check_numbers(summary, "")
  json.encode(summary)
  for _, names in ipairs(SUMS) do
    if all_there(summary, names) then
      local sum = 0
      for i = 2, #names do sum = sum + summary[names[i]] end
      if sum ~= summary[names[1]] then error(("the summary does not add up to %s"):format(names[1]), 0) end
    end
  end
  for _, names in ipairs(NOT_LESS) do
    if all_there(summary, names) and summary[names[1]] < summary[names[2]] then
      error(("the summary has more %s than %s"):format(names[2], names[1]), 0)
    end
  end
end

-- An error in an answer is survived and counted, but is a fault all the same: the first of an episode.
local survived

function guard.fail(server, reason)
  server.failed, server.last_error = server.failed + 1, reason
  survived = survived or ("%s: an answer failed: %s"):format(tostring(server), reason)
end

-- ---- one episode --------------------------------------------------------------------------------------------------

local function pool_of(first, last)
  local addresses = {}
  for i = first, last do addresses["10.0.0." .. i] = true end
  return addresses
end

local POOL = pool_of(10, 20)

local seeds = {} -- frames that the liar begins with

local own = packets.all()
for i, name in ipairs(sorted(own)) do seeds[i] = own[name]:build() end

-- The liar knows one more frame.
---@param frame string
function M.add_seed(frame)
  seeds[#seeds + 1] = frame
end

-- Random numbers that the seed decides, instead of the operating system's.
local function seed_chance(seed)
  local draw = chance.new(seed, 2)
  random.u32 = function() return (draw:upto(65536) - 1) * 65536 + draw:upto(65536) - 1 end
end

local function watch(name)
  return witnesses.new(name, { raw = RAW[name], leases = LEASES[name], server = name == "gateway" and POOL or nil })
end

local function make(draw, name, near, far)
  if OTHERS[name] then return OTHERS[name](near, draw) end
  return new_role(draw, name, roles.busy[name](near, far))
end

-- It runs for so long, or until it is done; then it is closed, and has to end. Returns what run() raised.
local function live(one, seconds)
  local failure
  local task = sched.spawn_background(function()
    local ok, reason = pcall(one.run or one.serve, one, function() end)
    if not ok and reason ~= sched.CANCELLED then failure = reason end
  end)
  task:join(seconds)
  check_summary(one:summary())
  one:close()
  local began = sched.now()
  if not task.done and not task:join(ENDS_WITHIN) and not task.done then
    error(("it was closed, but does not end within %d s"):format(ENDS_WITHIN), 0)
  end
  if failure then error(failure, 0) end
  if sched.now() - began > ENDS_WITHIN then error("it ended late", 0) end
  check_summary(one:summary())
  one:close()
end

local function play(draw, name)
  local near, left = ether.wire { filter = "" }
  local right, far = ether.wire { filter = "" }
  local honest = name ~= "traffic_direction" and gateway.new(far, { pool = "10.0.0.10-10.0.0.20", ip6 = "2001:db8::/64",
    lease_time = draw:pick { 0, 5, 30, 3600 } }) or nil
  local sides = { { relay = left, witness = watch(name) },
    { relay = right, witness = watch(honest and "gateway" or "peer") } }
  local liar = liars.new(draw, sides, seeds)
  if honest then sched.spawn_background(honest.serve, honest) end
  for i = 1, 2 do sched.spawn_background(liar.listen, liar, i) end
  sched.spawn_background(liar.talk, liar)
  local one, reason = make(draw, name, near, far)
  if one then live(one, draw:pick { 0.01, 1, 20, 100 }) elseif type(reason) ~= "string" then error("no reason", 0) end
  for _, side in ipairs(sides) do
    if side.witness.fault then error(side.witness.fault, 0) end
  end
  if honest then
    check_summary(honest:summary())
    honest:close()
  end
  for _, relay in ipairs { near, left, right, far } do relay:close() end
  if survived then error(survived, 0) end
end

-- Closed objects are freed by the collector; see support/leaks.lua.
local function live_objects()
  jit.flush()
  collectgarbage()
  collectgarbage()
  local live_now = ffi.new "struct el_live"
  effi.C.el_live(live_now)
  return tonumber(live_now.relays + live_now.conns + live_now.udps + live_now.taps)
end

-- What was wrong with one episode; nil: nothing.
---@param seed integer
---@param name? string who is tried (each in turn)
---@return string? reason
---@return string name
function M.play(seed, name)
  local draw, names = chance.new(seed, 1), M.names()
  name, survived = name or names[seed % #names + 1], nil
  seed_chance(seed)
  collectgarbage()
  local before = collectgarbage "count"
  local ok, failure = pcall(ether.run, play, draw, name)
  pcap.remove_files()
  if not ok then return ("%s: %s"):format(name, tostring(failure)), name end
  if sched.live_tasks() > 0 then return name .. ": a task is left", name end
  if (collectgarbage "count" - before) * 1024 > MEMORY then return name .. ": it takes too much memory", name end
  return nil, name
end

-- What is still open of all episodes so far.
---@return string? reason
function M.left()
  local count = live_objects()
  return count > 0 and ("%d objects of the engine are left"):format(count) or nil
end

return M
