-- role/dhcp4_server.lua: the decisions of a DHCP server (RFC 2131 4.3): who gets which address, and what is refused.
-- It turns a client's message into a reply. Receiving and sending is gateway.lua's, who has which address is
-- dhcp4/pool.lua's. Clients are told apart by VLAN stack and client identifier, or hardware address without one. One
-- pool serves all VLAN stacks. It is no role but what one decides by.

local bit = require "bit"
local addr = require "etherlua.net.addr"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_options = require "etherlua.proto.dhcp4_options"
local digest = require "etherlua.net.digest"
local group = require "etherlua.net.group"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local pool = require "etherlua.role.dhcp4.pool"

local floor = math.floor

local M = {}

local ANY = "0.0.0.0"

-- See dhcp4_server.new.
---@class etherlua.dhcp4_server
---@field server string own address
---@field counters table<string, integer> messages: discover, request, release, decline, inform, offer, ack, nak;
---  ignored (that ask for nothing that can be done); exhausted (offers that could not be made, all addresses are
---  taken), limited (likewise, the VLAN stack has all that it may); withdrawn (offers that went to others before their
---  time), restored (declined addresses that can be offered before theirs)
local Server = {}
Server.__index = Server

local function bounds_of(text)
  local first, last = tostring(text):match("^%s*([%d.]+)%s*%-%s*([%d.]+)%s*$")
  if not first then
    misuse.raise("bad pool %q: FIRST-LAST such as 10.0.0.10-10.0.0.254 is needed", tostring(text))
  end
  first, last = addr.ip4_number(first), addr.ip4_number(last)
  if first > last then misuse.raise("bad pool %q: the first address is behind the last", text) end
  return first, last
end

-- The defaults are in brackets. Limits are for each VLAN stack.
---@class etherlua.dhcp4_server_opts
---@field pool string such as "10.0.0.10-10.0.0.254"
---@field server? string own address (10.0.0.1)
---@field mask? string (255.0.0.0)
---@field router? string that clients are told of (server)
---@field dns? string[] that clients are told of (none)
---@field lease_time? integer seconds (3600)
---@field offer_time? number seconds that an offered address is kept for its client (60)
---@field decline_time? number seconds that nobody gets an address that was declined (lease_time)
---@field max_leases? integer addresses that its clients may have at once (all)
---@field max_offers? integer offers that are kept when all addresses are taken; older ones go to others then, and to
---  those of other VLAN stacks also what is more than half of the pool (64)
---@field max_declined? integer addresses that its clients may have declined at once; older ones can be offered again (a
---  quarter of the pool, 64 at most)
---@field options? table more DHCP options, by name as in proto.dhcp4

M.OPTIONS = options.new("a DHCP server", {
  pool = options.text():needed(), server = options.text "10.0.0.1", mask = options.text "255.0.0.0",
  router = options.text(), dns = options.of_type("a list of addresses is needed", "table"),
  lease_time = options.number(0, 0xffffffff, 3600), offer_time = options.seconds(60),
  decline_time = options.seconds(), max_leases = options.whole(1), max_offers = options.whole(0, nil, 64),
  max_declined = options.whole(0), options = options.of_type("a table of DHCP options is needed", "table"),
})

-- What an option of ours means is said by the server for each message.
local OWN = { [53] = true, [61] = true, [82] = true }

-- What all clients are told, by name where it is typed, and names of what is not told as the caller gives the bytes.
local function terms_of(opts)
  local terms = { subnet_mask = opts.mask, routers = { opts.router or opts.server }, dns_servers = opts.dns }
  local more, displaced = opts.options or {}, {}
  dhcp4.build { options = more } -- raises for values that are none
  for key in pairs(more) do
    local code = dhcp4_options.code_of(key)
    local name = dhcp4_options.kind_of(code)
    if OWN[code] then misuse.raise("bad option %q of a DHCP server: it says this one itself", tostring(key)) end
    if name and name ~= key then displaced[#displaced + 1] = name end
  end
  for _, name in ipairs(displaced) do terms[name] = nil end
  for key, value in pairs(more) do terms[key] = value end
  dhcp4.build { options = terms }
  return terms, displaced
end

-- Who has these addresses is known already.
local function reserve(addresses, opts)
  addresses:reserve(addr.ip4_number(opts.server))
  addresses:reserve(addr.ip4_number(opts.router or opts.server))
  for _, ip in ipairs(opts.dns or {}) do addresses:reserve(addr.ip4_number(ip)) end
end

local function pool_of(opts)
  local first, last = bounds_of(opts.pool)
  local addresses = pool.new { first = first, last = last, lease_time = opts.lease_time,
    offer_time = opts.offer_time, decline_time = opts.decline_time or opts.lease_time,
    max_leases = opts.max_leases or math.huge, max_offers = opts.max_offers,
    max_declined = opts.max_declined or math.min(64, math.ceil((last - first + 1) / 4)) }
  reserve(addresses, opts)
  return addresses
end

---@param given etherlua.dhcp4_server_opts
---@return etherlua.dhcp4_server
function M.new(given)
  local opts = M.OPTIONS:read(given)
  if opts.dns and next(opts.dns) == nil then opts.dns = nil end
  local addresses, mask = pool_of(opts), addr.ip4_number(opts.mask)
  local terms, displaced = terms_of(opts)
  local self = setmetatable({
    pool = addresses, by_client = addresses.bindings, server = opts.server, mask = mask, terms = terms,
    displaced = displaced, lease_time = floor(opts.lease_time), counters = addresses.counters }, Server)
  for _, name in ipairs { "discover", "request", "release", "decline", "inform", "offer", "ack", "nak", "ignored" } do
    self.counters[name] = 0
  end
  return self
end

-- ---- clients ------------------------------------------------------------------------------------------------------

local ID_MIN = 2 -- octets (RFC 2132 9.14)

-- Who a client is: its VLAN stack, and its identifier (RFC 2131 4.2), or its hardware address where it has none.
-- Strangers choose both: a letter tells them apart, and of any length there is a digest.
local function key_of(message, vlans)
  local id = message.options.client_id
  return digest.of(id and #id >= ID_MIN and vlans .. "|i" .. id or vlans .. "|h" .. message.chaddr)
end

local function is_host(ip)
  return ip ~= ANY and ip ~= nil and not group.is_group_ip(ip)
end

-- Whether a message is for this server: it names it, or none. One that names it badly is nobody's.
local function is_for(self, message)
  local server_id = message.options.server_id
  return (server_id == nil or server_id == self.server) and message.options[dhcp4.option_codes.server_id] == nil
end

-- Of the network that the mask says.
local function is_of_network(self, number)
  local function network(ip) return bit.band(bit.tobit(ip), bit.tobit(self.mask)) end
  return network(number) == network(addr.ip4_number(self.server)) or self.pool:has(number)
end

-- ---- replies ------------------------------------------------------------------------------------------------------

local function add_terms(self, sent)
  for _, name in ipairs(self.displaced) do sent[name] = nil end
  for name, value in pairs(self.terms) do sent[name] = value end
  return sent
end

-- What is returned as it came, whether it is understood or not: the client identifier (RFC 6842 3) and all that a relay
-- agent said (RFC 3046 2.2).
local ECHOED = { "client_id", "relay_agent", dhcp4.option_codes.relay_agent }
local ECHOED_CODES = { dhcp4.option_codes.client_id, dhcp4.option_codes.relay_agent }

-- The parts that they came in, where these are kept.
local function echoed_bytes(message)
  local kept, echoed = message.option_bytes, nil
  for _, code in ipairs(kept and ECHOED_CODES or {}) do
    if kept[code] then
      echoed = echoed or {}
      echoed[code] = kept[code]
    end
  end
  return echoed
end

-- RFC 2131 4.3.1 table 3.
local function reply(message, kind, sent, yiaddr, ciaddr)
  sent.message_type = kind
  for _, key in ipairs(ECHOED) do sent[key] = message.options[key] end
  return {
    op = 2, xid = message.xid, flags = message.flags, giaddr = message.giaddr, chaddr = message.chaddr,
    hlen = message.hlen, htype = message.htype, yiaddr = yiaddr, ciaddr = ciaddr, options = sent,
    option_bytes = echoed_bytes(message),
  }
end

local function grant(self, message, kind, binding, ciaddr)
  local sent = add_terms(self, { server_id = self.server, lease_time = self.lease_time,
    renewal_time = floor(self.lease_time / 2), rebinding_time = floor(self.lease_time * 7 / 8) })
  return reply(message, kind, sent, addr.ip4_text(binding.ip), ciaddr)
end

-- A relay agent broadcasts a NAK, for the client has no address to reach it at (RFC 2131 4.3.2).
local function refuse(self, message, why)
  self.counters.nak = self.counters.nak + 1
  local out = reply(message, "NAK", { server_id = self.server, message = why })
  out.broadcast = message.giaddr ~= ANY or nil
  return out
end

local function acknowledge(self, message, binding)
  self.pool:lease(binding)
  self.counters.ack = self.counters.ack + 1
  return grant(self, message, "ACK", binding, message.ciaddr)
end

local function ignore(self)
  self.counters.ignored = self.counters.ignored + 1
  return nil
end

-- ---- messages -----------------------------------------------------------------------------------------------------

---@private
local handlers = {}

function handlers.DISCOVER(self, message, key, vlans)
  local binding, wanted = self.pool:binding(key), message.options.requested_address
  if binding then
    self.pool:offer_again(binding)
  else
    binding = self.pool:offer(key, digest.of(vlans), wanted and addr.ip4_number(wanted))
  end
  if not binding then return nil end
  self.counters.offer = self.counters.offer + 1
  return grant(self, message, "OFFER", binding)
end

-- The address that a REQUEST is about; nil when it names none. RFC 2131 4.3.2: a client that selects or reboots says it
-- in the option, one that renews or rebinds has it already.
local function asked_address(message)
  local requested, ciaddr = message.options.requested_address or ANY, message.ciaddr
  if ciaddr ~= ANY and (not message.options.server_id or requested == ANY) then return ciaddr end
  return requested ~= ANY and requested or nil
end

-- A client took another server's offer, or it cannot be told whose.
local function not_chosen(self, message, binding)
  if not message.options.server_id then return ignore(self) end
  if binding and (binding.state == "offered" or binding.state == "spare") then self.pool:drop(binding) end
  return nil
end

-- RFC 2131 4.3.2: the state of the client is seen from which of the fields are set.
function handlers.REQUEST(self, message, key)
  local binding, server_id, asked = self.pool:binding(key), message.options.server_id, asked_address(message)
  if not is_for(self, message) then return not_chosen(self, message, binding) end
  if not asked and not server_id then return ignore(self) end
  if binding and addr.ip4_text(binding.ip) == asked then return acknowledge(self, message, binding) end
  if binding or server_id or message.ciaddr ~= ANY then
    return refuse(self, message, "this address is not yours")
  end
  if not is_of_network(self, addr.ip4_number(asked)) then
    return refuse(self, message, "this address is not of this network")
  end
  return nil -- INIT-REBOOT of a client that is not known: others may know it
end

function handlers.RELEASE(self, message, key)
  local binding = is_for(self, message) and self.pool:binding(key)
  if not binding or addr.ip4_text(binding.ip) ~= message.ciaddr then return ignore(self) end
  self.pool:drop(binding)
end

-- Somebody else uses the address.
function handlers.DECLINE(self, message, key)
  local binding = is_for(self, message) and self.pool:binding(key)
  if not binding or addr.ip4_text(binding.ip) ~= message.options.requested_address then return ignore(self) end
  self.pool:decline(binding)
end

-- RFC 2131 4.3.5: no address and no lease times. A client that leaves out ciaddr, which it must not (4.4.3), is
-- answered at the address that it sends from; one that has none can be answered nowhere.
function handlers.INFORM(self, message, _, _, source)
  if not is_host(message.ciaddr) and not is_host(source) then return ignore(self) end
  self.counters.ack = self.counters.ack + 1
  return reply(message, "ACK", add_terms(self, { server_id = self.server }), nil, message.ciaddr)
end

-- Decides about one message.
---@param message table as from proto.dhcp4 parse
---@param vlans string the VLAN stack that it came from
---@param source? string IP address that it came from (not known)
---@return table|nil reply fields for proto.dhcp4 build; nil when there is none
function Server:answer(message, vlans, source)
  local on_ethernet = message.htype == 1 and message.hlen == 6
  local handler = message.op == 1 and on_ethernet and handlers[message.options.message_type]
  if not handler then return ignore(self) end
  local name = message.options.message_type:lower()
  self.counters[name] = self.counters[name] + 1
  return handler(self, message, key_of(message, vlans), vlans, source)
end

-- Where a reply goes (RFC 2131 4.1).
---@param message table the request
---@param out table the reply
---@param source? string IP address that the request came from
---@return string ip
---@return integer port
---@return string|nil mac nil: the sender's of the request
function M.destination(message, out, source)
  if message.giaddr ~= ANY then return message.giaddr, 67, nil end
  if out.options.message_type == "NAK" then return group.BROADCAST4, 68, group.BROADCAST end
  if is_host(message.ciaddr) then return message.ciaddr, 68, nil end
  if message.options.message_type == "INFORM" then return source, 68, nil end
  if message.broadcast then return group.BROADCAST4, 68, group.BROADCAST end
  return out.yiaddr, 68, message.chaddr
end

---@return integer leases that are in use now
function Server:bound()
  return self.pool:bound()
end

---@return table<string, integer> counters and the leases that are in use now, as bound
function Server:summary()
  local summary = { bound = self:bound() }
  for name, value in pairs(self.counters) do summary[name] = value end
  return summary
end

return M
