-- role/dhcp4_server.lua: the decisions of a DHCP server (RFC 2131 4.3): who gets which address, and what is refused.
-- It turns a client's message into a reply and keeps the leases; receiving and sending is gateway.lua's. Clients are
-- told apart by VLAN stack and client identifier, or hardware address without one. One pool serves all VLAN stacks.
-- It is no role but what one decides by.

local addr = require "etherlua.net.addr"
local group = require "etherlua.net.group"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local random = require "etherlua.net.random"
local sched = require "etherlua.core.sched"

local M = {}

local ANY = "0.0.0.0"
local OFFER_TIME = 60 -- seconds that an offered address is kept for its client

-- See dhcp4_server.new.
---@class etherlua.dhcp4_server
---@field server string own address
---@field counters table<string, integer> discover, offer, request, ack, nak, and so on
local Server = {}
Server.__index = Server

local function pool_of(text)
  local first, last = tostring(text):match("^%s*([%d.]+)%s*%-%s*([%d.]+)%s*$")
  if not first then
    misuse.raise("bad pool %q: FIRST-LAST such as 10.0.0.10-10.0.0.254 is needed", tostring(text))
  end
  first, last = addr.ip4_number(first), addr.ip4_number(last)
  if first > last then misuse.raise("bad pool %q: the first address is behind the last", text) end
  return first, last
end

-- The defaults are in brackets.
---@class etherlua.dhcp4_server_opts
---@field pool string such as "10.0.0.10-10.0.0.254"
---@field server? string own address (10.0.0.1)
---@field mask? string (255.0.0.0)
---@field router? string that clients are told of (server)
---@field dns? string[] that clients are told of (none)
---@field lease_time? integer seconds (3600)
---@field options? table more DHCP options, by name as in proto.dhcp4

M.OPTIONS = options.new("a DHCP server", {
  pool = options.text():needed(), server = options.text "10.0.0.1", mask = options.text "255.0.0.0",
  router = options.text(), dns = options.of_type("a list of addresses is needed", "table"),
  lease_time = options.number(0, 0xffffffff, 3600),
  options = options.of_type("a table of DHCP options is needed", "table"),
})

---@param given etherlua.dhcp4_server_opts
---@return etherlua.dhcp4_server
function M.new(given)
  local opts = M.OPTIONS:read(given)
  local first, last = pool_of(opts.pool)
  addr.ip4_number(opts.server)
  return setmetatable({
    first = first, last = last, next = first,
    server = opts.server,
    mask = opts.mask,
    router = opts.router or opts.server,
    dns = opts.dns,
    lease_time = opts.lease_time,
    options = opts.options or {},
    by_client = {},   -- key -> binding { ip, key, state = "offered" | "bound", expires }
    by_ip = {},       -- number -> binding
    returned = {},    -- numbers that were given back, oldest first
    returned_first = 1,
    counters = { discover = 0, request = 0, release = 0, decline = 0, inform = 0, offer = 0, ack = 0, nak = 0,
      exhausted = 0, ignored = 0 },
  }, Server)
end

-- ---- bindings -----------------------------------------------------------------------------------------------------

local function key_of(message, vlans)
  return vlans .. "|" .. (message.options.client_id or message.chaddr)
end

local function drop(self, binding)
  self.by_client[binding.key] = nil
  self.by_ip[binding.ip] = nil
end

local function is_over(binding)
  return binding.expires <= sched.now()
end

-- The address is nobody's, or its lease is over.
local function is_free(self, number)
  local binding = self.by_ip[number]
  if binding and is_over(binding) then
    drop(self, binding)
    binding = nil
  end
  return not binding and number ~= addr.ip4_number(self.server)
end

local function take_returned(self)
  while self.returned_first <= #self.returned do
    local number = self.returned[self.returned_first]
    self.returned[self.returned_first] = false
    self.returned_first = self.returned_first + 1
    if is_free(self, number) then return number end
  end
  self.returned, self.returned_first = {}, 1
end

-- An address that was never used, else one that came back, else one whose lease is over.
local function free_address(self)
  while self.next <= self.last do
    self.next = self.next + 1
    if is_free(self, self.next - 1) then return self.next - 1 end
  end
  local number = take_returned(self)
  if number then return number end
  for candidate = self.first, self.last do
    if is_free(self, candidate) then return candidate end
  end
end

local function in_pool(self, number)
  return number >= self.first and number <= self.last
end

local function wanted_address(self, message)
  local text = message.options.requested_address
  local number = text and addr.ip4_number(text)
  return number and in_pool(self, number) and is_free(self, number) and number or nil
end

local function bind(self, key, number, state, seconds)
  local binding = { key = key, ip = number, state = state, expires = sched.now() + seconds }
  self.by_client[key], self.by_ip[number] = binding, binding
  return binding
end

local function binding_of(self, key)
  local binding = self.by_client[key]
  if binding and is_over(binding) then
    drop(self, binding)
    return nil
  end
  return binding
end

-- ---- replies ------------------------------------------------------------------------------------------------------

local function add_terms(self, sent)
  sent.subnet_mask, sent.routers = self.mask, { self.router }
  sent.dns_servers = self.dns
  for name, value in pairs(self.options) do sent[name] = value end
end

-- RFC 2131 4.3.1 table 3; the client identifier is returned (RFC 6842), and so is the relay agent's option (RFC 3046).
local function reply(message, kind, sent, yiaddr, ciaddr)
  sent.message_type = kind
  sent.client_id, sent.relay_agent = message.options.client_id, message.options.relay_agent
  return {
    op = 2, xid = message.xid, flags = message.flags, giaddr = message.giaddr, chaddr = message.chaddr,
    hlen = message.hlen, htype = message.htype, yiaddr = yiaddr, ciaddr = ciaddr, options = sent,
  }
end

local function grant(self, message, kind, binding, ciaddr)
  local sent = { server_id = self.server, lease_time = self.lease_time,
    renewal_time = math.floor(self.lease_time / 2), rebinding_time = math.floor(self.lease_time * 7 / 8) }
  add_terms(self, sent)
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
  binding.state, binding.expires = "bound", sched.now() + self.lease_time
  self.counters.ack = self.counters.ack + 1
  return grant(self, message, "ACK", binding, message.ciaddr)
end

-- ---- messages -----------------------------------------------------------------------------------------------------

---@private
local handlers = {}

function handlers.DISCOVER(self, message, key)
  local binding = binding_of(self, key)
  if not binding then
    local number = wanted_address(self, message) or free_address(self)
    if not number then
      self.counters.exhausted = self.counters.exhausted + 1
      return nil
    end
    binding = bind(self, key, number, "offered", OFFER_TIME)
  end
  binding.expires = math.max(binding.expires, sched.now() + OFFER_TIME)
  self.counters.offer = self.counters.offer + 1
  return grant(self, message, "OFFER", binding)
end

-- RFC 2131 4.3.2: the state of the client is seen from which of the fields are set.
function handlers.REQUEST(self, message, key)
  local binding, server_id = binding_of(self, key), message.options.server_id
  local asked = message.options.requested_address or message.ciaddr
  if server_id and server_id ~= self.server then
    if binding and binding.state == "offered" then drop(self, binding) end
    return nil
  end
  if binding and addr.ip4_text(binding.ip) == asked then return acknowledge(self, message, binding) end
  if binding or server_id or message.ciaddr ~= ANY then
    return refuse(self, message, "this address is not yours")
  end
  if not in_pool(self, addr.ip4_number(asked)) then
    return refuse(self, message, "this address is not of this network")
  end
  return nil -- INIT-REBOOT of a client that is not known: others may know it
end

function handlers.RELEASE(self, message, key)
  local binding = binding_of(self, key)
  if binding and addr.ip4_text(binding.ip) == message.ciaddr then
    drop(self, binding)
    table.insert(self.returned, binding.ip)
  end
end

-- Somebody else uses the address: it is kept from all clients for the time of a lease.
function handlers.DECLINE(self, message, key)
  local binding = binding_of(self, key)
  if not binding or addr.ip4_text(binding.ip) ~= message.options.requested_address then return end
  drop(self, binding)
  bind(self, ("declined|%d|%d"):format(binding.ip, random.u32()), binding.ip, "declined", self.lease_time)
end

-- RFC 2131 4.3.5: no address and no lease times. A client that leaves out ciaddr, which it must not (4.4.3), is
-- answered at the address that it sends from; one that has none can be answered nowhere.
function handlers.INFORM(self, message, _, source)
  if message.ciaddr == ANY and (source or ANY) == ANY then
    self.counters.ignored = self.counters.ignored + 1
    return nil
  end
  local sent = { server_id = self.server }
  add_terms(self, sent)
  self.counters.ack = self.counters.ack + 1
  return reply(message, "ACK", sent, nil, message.ciaddr)
end

-- Decides about one message.
---@param message table as from proto.dhcp4 parse
---@param vlans string the VLAN stack that it came from
---@param source? string IP address that it came from (not known)
---@return table|nil reply fields for proto.dhcp4 build; nil when there is none
function Server:answer(message, vlans, source)
  local on_ethernet = message.htype == 1 and message.hlen == 6
  local handler = message.op == 1 and on_ethernet and handlers[message.options.message_type]
  if not handler then
    self.counters.ignored = self.counters.ignored + 1
    return nil
  end
  local name = message.options.message_type:lower()
  self.counters[name] = self.counters[name] + 1
  return handler(self, message, key_of(message, vlans), source)
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
  if message.ciaddr ~= ANY then return message.ciaddr, 68, nil end
  if message.options.message_type == "INFORM" then return source, 68, nil end
  if message.broadcast then return group.BROADCAST4, 68, group.BROADCAST end
  return out.yiaddr, 68, message.chaddr
end

---@return integer leases that are in use now
function Server:bound()
  local count = 0
  for _, binding in pairs(self.by_ip) do
    if binding.state == "bound" and not is_over(binding) then count = count + 1 end
  end
  return count
end

---@return table<string, integer> counters and the leases that are in use now, as bound
function Server:summary()
  local summary = { bound = self:bound() }
  for name, value in pairs(self.counters) do summary[name] = value end
  return summary
end

return M
