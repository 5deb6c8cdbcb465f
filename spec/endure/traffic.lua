-- traffic.lua: traffic by chance between two relays, of which every frame has to be accounted for: bursts of all that
-- can come, right and wrong, to endpoints that open and close meanwhile, some of which read and some of which do not.
-- After every burst the sums have to be right (ledger.lua), at the end what was sent and what came.

local ether = require "etherlua"
local chance = require "endure.chance"
local fragments = require "support.fragments"
local frames = require "support.frames"
local ledger = require "endure.ledger"

local M = {}

local POOL, BURST, ENDPOINTS = 1500, 256, 48 -- frames to choose from; in a burst; open at the most
local FLOOD = 20                             -- times as many, now and then: more than the kernel has room for
local FRAMES, DEPTH = 256, 64                -- of memory of a relay, so that it runs out; queue of an endpoint

local STACKS = { {}, { 100 }, { 200 }, { 100, 200 }, { { vid = 100, tpid = 0x88a8 }, 200 } }
local FILTERS = { "", "", "", "ip", "ip6", "vlan 100", "not arp" }

local function mac(i) return ("02:00:00:00:0b:%02x"):format(i) end
local function ip4(i) return ("10.0.0.%d"):format(i) end
local function ip6(i) return ("2001:db8::%x"):format(i) end

-- ---- frames ---------------------------------------------------------------------------------------------------------

local function noise(luck, size)
  local octets = {}
  for i = 1, size do octets[i] = string.char(luck:upto(256) - 1) end
  return table.concat(octets)
end

local makers = {}

local function address(luck, fields)
  local i, six = luck:upto(4), luck:once_in(3)
  fields.src, fields.dst = six and "2001:db8::99" or "10.0.0.99", six and ip6(i) or ip4(i)
  return fields
end

function makers.datagram(luck)
  return frames.udp(address(luck, { dst_port = 2000 + luck:upto(4), payload = noise(luck, luck:upto(200)) }))
end

-- One number is wrong.
function makers.broken(luck)
  local packet = makers.datagram(luck)
  local at = luck:upto(math.min(#packet, 48))
  return packet:sub(1, at - 1) .. noise(luck, 1) .. packet:sub(at + 1)
end

-- Two octets are left: behind a tag the kernel throws away what has fewer, before anybody sees it (skb_vlan_untag).
function makers.cut(luck)
  local packet = makers.datagram(luck)
  return packet:sub(1, 1 + luck:upto(#packet - 1))
end

-- One of few packets' fragments: whole packets come about, and overlaps, and doubles, and rests.
function makers.fragment(luck)
  local alone = luck:once_in(10) -- the rest of it never comes: its time runs out, in long runs
  local packet = fragments.packet(luck:once_in(3) and 6 or 4, fragments.pattern(184),
    { identification = alone and 1000 + luck:upto(60000) or luck:upto(16) })
  packet.dst = packet.version == 6 and ip6(1) or ip4(1)
  local offset = 64 * (luck:upto(3) - 1)
  if alone then offset = 0 elseif luck:once_in(20) then offset = 8 * (luck:upto(16) - 1) end
  return fragments.piece(packet, offset, 64, offset < 128), { dst = mac(luck:upto(2)), vlans = {} }
end

function makers.arp(luck)
  return "\0\1\8\0\6\4\0\1" .. noise(luck, luck:once_in(4) and luck:upto(20) or 20)
end

local KINDS = { "datagram", "datagram", "datagram", "datagram", "broken", "cut", "fragment", "fragment", "arp" }
local TYPES = { arp = frames.ARP }

local function make(luck)
  local kind = luck:pick(KINDS)
  local payload, fields = makers[kind](luck)
  fields = fields or { dst = luck:once_in(8) and frames.BROADCAST or mac(luck:upto(6)), vlans = luck:pick(STACKS) }
  fields.src = mac(99)
  fields.ethertype = TYPES[kind] or (payload:byte() or 0) >= 0x60 and frames.IP6 or frames.IP4
  return frames.frame(payload .. (luck:once_in(4) and ("\0"):rep(20) or ""), fields)
end

-- ---- endpoints ------------------------------------------------------------------------------------------------------

-- side: { relay, open = { endpoint -> true }, list, opened, filters }: what is open on one of the relays. Where the
-- kernel filters (packet sockets), nobody counts what it keeps.
local function new_side(relay, kind)
  return { relay = relay, open = {}, list = {}, opened = 0, filters = not kind.interface or kind.steers }
end

local function add(side, ok, endpoint)
  if not ok then -- what is taken already is refused, and nothing else
    local problem = tostring(endpoint)
    if not (problem:find "another" or problem:find "already") then error(endpoint, 0) end
    return
  end
  side.opened = side.opened + 1
  side.open[endpoint] = true
  side.list[#side.list + 1] = endpoint
  return endpoint
end

local function forget_closed(side)
  for i = #side.list, 1, -1 do
    local endpoint = side.list[i]
    if not endpoint:is_open() then
      side.open[endpoint] = nil
      table.remove(side.list, i)
    end
  end
end

local function depth(luck) return luck:once_in(2) and luck:upto(DEPTH) or nil end

local function open_conn(side, luck)
  local conn = add(side, pcall(side.relay.conn, side.relay, {
    mac = mac(luck:upto(4)), vlans = luck:pick(STACKS), multicast = luck:pick { false, true, "all" },
    reassemble = luck:once_in(2), recv_depth = depth(luck),
    ethertypes = luck:once_in(4) and { luck:pick { frames.IP4, frames.IP6, frames.ARP } } or nil }))
  if not conn then return end
  for _ = 1, luck:upto(4) do
    local i, six = luck:upto(4), luck:once_in(3)
    local text = ("%s:%d"):format(six and ("[%s]"):format(ip6(i)) or ip4(i), 2000 + luck:upto(4))
    add(side, pcall(conn.udp, conn, text, { recv_depth = depth(luck), accept_any = luck:once_in(6) }))
  end
end

local function open_default(side, luck)
  add(side, pcall(side.relay.default_conn, side.relay, { mirror = luck:once_in(2), invalid = luck:once_in(2),
    recv_depth = depth(luck) }))
end

local function change(side, luck)
  if #side.list < ENDPOINTS then
    if luck:once_in(6) then open_default(side, luck) else open_conn(side, luck) end
  end
  if luck:once_in(2) and #side.list > 0 then luck:pick(side.list):close() end
  if side.filters and luck:once_in(4) then side.relay:filter(luck:pick(FILTERS)) end
  forget_closed(side)
end

-- Some read all that they have, some a little, some keep what they borrowed, some do nothing.
local function read(side, luck)
  for _, endpoint in ipairs(side.list) do
    local count = endpoint.ep.count
    if luck:once_in(3) then count = 0 end
    if luck:once_in(3) then count = math.min(count, luck:upto(8)) end
    for _ = 1, count do
      local frame = endpoint:recv_frame(0)
      if frame and luck:once_in(2) then frame:release() end
    end
  end
end

-- ---- bursts ---------------------------------------------------------------------------------------------------------

-- Sends up to BURST frames of the pool. What the relay has no room for now is not its frame yet.
local function burst(relay, pool, luck, count)
  for _ = 1, count do relay:send(luck:pick(pool)) end
end

-- xdp: the kernel keeps frames that nobody asked for; so a relay that asks for all of a kind is opened.
local function open(kind)
  local given = { frames = FRAMES, recv_depth = DEPTH, steer = kind.steers and "all" or nil }
  return kind.open(given)
end

local function check(sides)
  for _, side in ipairs(sides) do
    local problem = ledger.check_relay(side.relay, side.open)
    if problem then return problem end
  end
end

-- Traffic over a relay kind until so many frames were sent, as a task.
---@param kind table of support/kinds.lua
---@param opts { seed: integer, frames: integer, skip?: function } skip: lets time pass, now and then
---@return string? problem
---@return table counts: sent; checks; opened; stats, both relays' at the end, added up
function M.run(kind, opts)
  local luck = chance.new(opts.seed)
  local pool = {}
  for i = 1, POOL do pool[i] = make(luck) end
  local a, b = open(kind)
  local sides, book = { new_side(a, kind), new_side(b, kind) }, ledger.open(a, b, kind.lab and kind.lab {})
  local counts = { sent = 0, checks = 0, opened = 0, stats = {} }
  local problem
  repeat
    for _, side in ipairs(sides) do
      change(side, luck)
      local many = luck:upto(BURST) * (luck:once_in(60) and FLOOD or 1)
      burst(side.relay, pool, luck, many)
      counts.sent = counts.sent + many
      ether.sleep(0)
      read(side, luck)
    end
    if opts.skip and luck:once_in(20) then opts.skip() end
    problem, counts.checks = check(sides), counts.checks + 1
  until problem or counts.sent >= opts.frames
  if not problem then
    problem, counts.forth, counts.back = ledger.check_ways(book)
    problem = problem or check(sides)
  end
  for _, side in ipairs(sides) do
    counts.opened = counts.opened + side.opened
    for name, value in pairs(side.relay:stats()) do counts.stats[name] = (counts.stats[name] or 0) + value end
    side.relay:close()
  end
  return problem, counts
end

return M
