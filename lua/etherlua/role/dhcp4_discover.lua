-- role/dhcp4_discover.lua: which DHCP servers (RFC 2131) there are on a VLAN stack, or on each of many: sends
-- DISCOVERs and collects the offers. It never sends a REQUEST, so nothing is leased: a server takes what it offered
-- back by itself.
--
--   local discover = dhcp4_discover.new(relay, { vlans = vlan_range.new "100-199", mac = MAC })
--   discover:run()
--   for _, offer in ipairs(discover:offers()) do print(offer.server_id, offer.vlans) end
--
-- Each DISCOVER has a MAC address and transaction id of its own, counted up from the first: so an offer tells which one
-- it answers, and one that came with another VLAN stack is known as a leak. An EtherConn each hears the unicast offers;
-- the first one on a VLAN stack hears the broadcast ones too, and the relay's default endpoint those with a stack that
-- is none of them. How many offers are kept is limited: anybody can send them.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local dhcp4 = require "etherlua.proto.dhcp4"
local group = require "etherlua.net.group"
local misuse = require "etherlua.core.misuse"
local memory = require "etherlua.net.memory"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local pacer = require "etherlua.core.pacer"
local random = require "etherlua.net.random"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local tally = require "etherlua.core.tally"
local vlan_stack = require "etherlua.net.vlan_stack"

local load32 = memory.load32

local M = {}

local LOCAL, SERVERS, ANY = addr.addr("0.0.0.0:68"), addr.addr(group.BROADCAST4 .. ":67"), "0.0.0.0"
local IPV4 = { numbers.ethertype.IPV4 }
local XID_AT, CHADDR_AT = 4, 28
local HEADER_SIZE = 240       -- up to the options
local OFFERS_MAX = 10000
local PAUSE = 1               -- seconds between the tries on one VLAN stack

-- DISCOVERs of one run: as many endpoints as an xdp relay steers (bpf/steer.h).
M.DISCOVERS_MAX = 200000

-- What people look for in an offer of a server that they do not know; with routes, WPAD (252) and where to boot from.
local PARAMETERS = { 1, 121, 249, 3, 33, 6, 15, 42, 43, 51, 54, 58, 59, 66, 67, 114, 119, 150, 252 }

-- See dhcp4_discover.new.
---@class etherlua.dhcp4_discover
local Discover = {}
Discover.__index = Discover

-- ---- offers -------------------------------------------------------------------------------------------------------

-- The number of the DISCOVER that a message answers by its transaction id and hardware address; nil for a stranger's.
-- Looked at where the frame lies (JIT 5): foreign traffic may be a flood.
local function number_of(discover, frame)
  if frame.payload_len < HEADER_SIZE then return nil end
  local data = frame.data + frame.payload
  local i = (load32(data, XID_AT) - discover.xid) % 2 ^ 32
  if i >= discover.count or not discover.sent_at[i] then return nil end
  local mac = addr.mac_text(ffi.string(data + CHADDR_AT, 6))
  return mac == addr.mac_add(discover.mac, i) and i or nil
end

-- What a server offers, with the message as it came.
---@class etherlua.dhcp4_offer
---@field stack integer number of the VLAN stack that was asked, from 0
---@field vlans string that stack, such as "100.200"; "" untagged
---@field came_with? string the stack that the offer came with, where that is another one
---@field server_id? string
---@field mac string source of the frame
---@field source string source of the packet
---@field relay? string relay agent (giaddr)
---@field ip string that is offered
---@field options table DHCP options, by name or code as in proto.dhcp4
---@field message table the whole message
---@field seconds number since the DISCOVER
---@field count integer offers of this server on this stack

local function offer_of(discover, i, frame, message)
  local stack = i % discover.vlans.count
  local asked, came, source = discover.vlans:at(stack), frame.vlans, frame.src_ip or ANY
  return { stack = stack, vlans = tostring(asked),
    came_with = not vlan_stack.same_vlan(came, asked) and vlan_stack.text(came, asked) or nil,
    server_id = message.options.server_id, mac = frame.src_mac, source = source,
    relay = message.giaddr ~= ANY and message.giaddr or nil, ip = message.yiaddr, options = message.options,
    message = message, seconds = math.max(0, frame.timestamp - discover.sent_at[i]), count = 1 }
end

-- Who offers: by it an offer is new or has been there.
local function key_of(offer)
  return table.concat({ offer.stack, offer.came_with or "-", offer.server_id or "-", offer.mac, offer.source,
    offer.relay or "-" }, " ")
end

local function add(discover, offer)
  local key = key_of(offer)
  local known = discover.by_key[key]
  if known then
    known.count, discover.repeated = known.count + 1, discover.repeated + 1
  elseif #discover.found >= OFFERS_MAX then
    discover.unlisted = discover.unlisted + 1
  else
    discover.by_key[key], discover.found[#discover.found + 1] = offer, offer
  end
end

local function hear(discover, frame)
  local i = number_of(discover, frame)
  local message, reason
  if i then message, reason = dhcp4.parse(frame.body) end
  if reason then discover.misread:note(reason) end
  if not message or message.op ~= 2 or message.options.message_type ~= "OFFER" then
    discover.ignored = discover.ignored + 1
    return
  end
  add(discover, offer_of(discover, i, frame, message))
end

local function read(discover, udp)
  for frame in udp:frames() do hear(discover, frame) end
end

-- What a default endpoint hears besides is nobody's.
local function drain(conn)
  for _ in conn:frames() do end -- luacheck: ignore 542
end

-- ---- DISCOVERs ----------------------------------------------------------------------------------------------------

-- Returns why it is of no use to go on, if so.
local function ask(discover, i)
  local message = dhcp4.build { xid = (discover.xid + i) % 2 ^ 32, chaddr = addr.mac_add(discover.mac, i),
    broadcast = discover.broadcast, options = discover.options }
  discover.sent_at[i] = sched.now()
  local sent, reason = discover.udps[i]:send(message, SERVERS)
  if sent then
    discover.sent = discover.sent + 1
    return
  end
  discover.unsent, discover.reason = discover.unsent + 1, reason
  if reason ~= "link down" then return reason end -- a link may come back
end

local function run(discover)
  discover:open()
  local pace, stacks = pacer.new { rate = discover.rate }, discover.vlans.count
  for i = 0, discover.count - 1 do
    local before = i >= stacks and discover.sent_at[i - stacks]
    if before then sched.sleep(math.max(0, before + PAUSE - sched.now())) end
    pace:wait()
    local reason = ask(discover, i)
    if reason then return nil, reason end
  end
  sched.sleep(discover.timeout)
  return true
end

-- Sends all DISCOVERs, one a VLAN stack and try, and waits for the last offers. Blocks until that is done.
---@return true|nil
---@return string|nil reason why it could not go on, such as "interface gone"
function Discover:run()
  return role.run(self, run)
end

-- ---- what came of it ----------------------------------------------------------------------------------------------

-- One offer of each server and VLAN stack, in the order in which they came.
---@return etherlua.dhcp4_offer[]
function Discover:offers()
  return role.copy(self.found)
end

---@class etherlua.dhcp4_discover_summary
---@field discovers integer that are to be sent
---@field sent integer
---@field unsent integer for the reason that is in `reason`
---@field reason? string
---@field servers integer those who have offered, by VLAN stack
---@field repeated integer more offers of the same
---@field ignored integer DHCP messages to clients that are no offers to us
---@field misread table<string, integer> those of the ignored that answer us but are not understood, by the reason
---@field unlisted integer offers beyond the limit

---@return etherlua.dhcp4_discover_summary
function Discover:summary()
  return { discovers = self.count, sent = self.sent, unsent = self.unsent, reason = self.reason,
    servers = #self.found, repeated = self.repeated, ignored = self.ignored, misread = self.misread:summary(),
    unlisted = self.unlisted }
end

-- ---- opening ------------------------------------------------------------------------------------------------------

-- The defaults are in brackets.
---@class etherlua.dhcp4_discover_opts
---@field vlans etherlua.vlan_range on which VLAN stacks
---@field mac string MAC address of the first DISCOVER; it counts up
---@field tries? integer DISCOVERs on each VLAN stack, a second apart at least (1)
---@field rate? number DISCOVERs a second (1000)
---@field timeout? number seconds to wait for offers behind the last one (3)
---@field broadcast? boolean ask the servers to broadcast their offers (false)
---@field options? table more DHCP options, by name or code as in proto.dhcp4

local OPTIONS = options.new("a search for DHCP servers", {
  vlans = options.of_type("what vlan_range.new returns is needed", "table"):needed(), mac = options.any():needed(),
  tries = options.whole(1, nil, 1), rate = options.number(1e-6, 1e9, 1000), timeout = options.seconds(3),
  wait = options.alias "timeout", broadcast = options.boolean(),
  options = options.of_type("a table of DHCP options is needed", "table"),
})

local function message_options(given)
  local sent = { parameter_request_list = PARAMETERS, max_message_size = 1500 }
  for name, value in pairs(given or {}) do sent[name] = value end
  sent.message_type = "DISCOVER"
  return sent
end

-- Raises an error for options that are none, and when the search is too large: without a relay yet.
---@param given etherlua.dhcp4_discover_opts
---@return table opts all of them
---@return integer count DISCOVERs
function M.check(given)
  local opts = OPTIONS:read(given)
  local count = opts.vlans.count * opts.tries
  if count > M.DISCOVERS_MAX then
    misuse.raise("%.0f DISCOVERs (VLAN stacks times tries) are too many: up to %d are possible", count, M.DISCOVERS_MAX)
  end
  return opts, count
end

-- A search; nothing is opened yet. Raises as check().
---@param relay etherlua.relay
---@param given etherlua.dhcp4_discover_opts
---@return etherlua.dhcp4_discover
function M.new(relay, given)
  role.check("a search for DHCP servers", relay, "relay")
  local opts, count = M.check(given)
  return setmetatable({ relay = relay, vlans = opts.vlans, mac = tostring(addr.mac(opts.mac)), count = count,
    rate = opts.rate, timeout = opts.timeout, broadcast = opts.broadcast, options = message_options(opts.options),
    xid = random.u32(), udps = {}, conns = {}, sent_at = {}, found = {}, by_key = {}, sent = 0, unsent = 0,
    repeated = 0, ignored = 0, misread = tally.new(), unlisted = 0 }, Discover)
end

local function listen(discover, conn)
  local udp = conn:udp(LOCAL)
  discover.conns[#discover.conns + 1] = conn
  role.help(discover, read, discover, udp)
  return udp
end

-- Opens an endpoint for each DISCOVER and the relay's default one, which nobody else may have then.
function Discover:open()
  if self.is_open or self.closed then return end
  self.is_open = true
  local relay = self.relay
  for i = 0, self.count - 1 do
    self.udps[i] = listen(self, relay:conn { mac = addr.mac_add(self.mac, i), vlans = self.vlans:at(i),
      ethertypes = IPV4, multicast = i < self.vlans.count, reassemble = true })
    if i % 1000 == 999 then sched.sleep(0) end
  end
  local stray = relay:default_host_conn()
  listen(self, stray)
  role.help(self, drain, stray)
end

-- Closes what open() opened.
function Discover:close()
  if not role.close(self) then return end
  for _, conn in ipairs(self.conns) do conn:close() end
end

return M
