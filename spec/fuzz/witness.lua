-- witness.lua: what is asked of everything that one of the honest sends, whatever it was told: well-formed packets with
-- right checksums, from addresses that a host can have; of a DHCP client that it has no address but one that it was
-- acknowledged, and of a DHCP server that no address is two clients' at once.

local group = require "etherlua.net.group"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"

local M = {}

local Witness = {}
Witness.__index = Witness

-- What is behind these is somebody else's: an echo.
local WELL_FORMED = { ethernet = true, arp = true, ipv4 = true, ipv6 = true, udp = true, icmp = true, icmp6 = true }
local ECHOES = { icmp = { [0] = true }, icmp6 = { [129] = true } } -- have the checksum of what was asked

---@param name string who it is that is watched
---@param options table leases: it may have no IPv4 address but those that it is acknowledged; server: { first, last },
---  addresses that it may lease; raw: it sends whatever it is given
function M.new(name, options)
  return setmetatable({ name = name, options = options, acknowledged = { ["0.0.0.0"] = true }, leases = {} }, Witness)
end

local function note(self, ...)
  self.fault = self.fault or ("%s %s"):format(self.name, string.format(...))
end

local function find(layers, name)
  for i, layer in ipairs(layers) do
    if layer.name == name then return layer.fields, i end
  end
end

-- ---- packets ------------------------------------------------------------------------------------------------------

local function check_checksum(self, layers, i)
  local layer, outer = layers[i], layers[i - 1]
  local module = proto[layer.name]
  local echoes = ECHOES[layer.name]
  if not module.checksum_ok or echoes and echoes[layer.fields.type] then return end
  if module.checksum_ok(outer.fields.payload, outer.fields) then return end
  note(self, "sends a wrong checksum of %s", layer.name)
end

-- As far as it is its own: what an ICMP error quotes is not.
local function check_layers(self, layers)
  for i, layer in ipairs(layers) do
    if layer.name == "malformed" and WELL_FORMED[layer.fields.protocol] then
      return note(self, "sends what is malformed: %s", layer.fields.reason)
    elseif not WELL_FORMED[layer.name] then
      return
    end
    if i > 1 then check_checksum(self, layers, i) end
    local module = proto[layer.name]
    if module.is_error and module.is_error(layer.fields) then return end
  end
end

local function check_source(self, layers)
  local ethernet = layers[1].fields
  if group.is_group_mac(ethernet.src) then note(self, "sends from the group address %s", ethernet.src) end
  local ip = layers[2] and layers[2].fields
  if not ip or not ip.src or not proto[layers[2].name].is_group then return end
  if group.is_group_ip(ip.src) then note(self, "sends from the group address %s", ip.src) end
end

-- ---- DHCP ---------------------------------------------------------------------------------------------------------

local function check_client(self, layers)
  local ip, arp = find(layers, "ipv4"), find(layers, "arp")
  local used = ip and ip.src or arp and arp.spa
  if used and not self.acknowledged[used] then note(self, "uses %s, which nobody has acknowledged", used) end
end

local function client_of(message, vlans)
  local id = message.options.client_id
  return ("%s %s"):format(vlans, id and #id > 1 and "i" .. id or "h" .. message.chaddr)
end

local function check_server(self, layers)
  local message = find(layers, "dhcp4")
  if not message or message.op ~= 2 or message.options.message_type ~= "ACK" then return end
  local ip = message.yiaddr
  if ip == "0.0.0.0" then return end -- the answer to an INFORM
  local vlans = {}
  for i, tag in ipairs(layers[1].fields.vlans or {}) do vlans[i] = tag.vid end
  local client, lease = client_of(message, table.concat(vlans, ".")), self.leases[ip]
  if not self.options.server[ip] then note(self, "leases %s, which is not of its pool", ip) end
  if lease and lease.client ~= client and lease.ends > sched.now() then
    note(self, "leases %s to two at once", ip)
  end
  self.leases[ip] = { client = client, ends = sched.now() + (message.options.lease_time or 0) }
end

-- ---- what is seen -------------------------------------------------------------------------------------------------

-- It sends a frame.
---@param frame string
function Witness:sent(frame)
  if self.options.raw then return end
  local layers = proto.dissect(frame)
  if #layers == 1 then return end
  check_layers(self, layers)
  check_source(self, layers)
  if self.options.leases then check_client(self, layers) end
  if self.options.server then check_server(self, layers) end
end

local GIVES_BACK = { RELEASE = "ciaddr", DECLINE = "requested_address" }

-- A frame is sent to it. What it may take from there it may do from now on.
---@param frame string
function Witness:told(frame)
  if not (self.options.leases or self.options.server) then return end
  local message = find(proto.dissect(frame), "dhcp4")
  if not message then return end
  if message.op == 2 and not group.no_host(message.yiaddr) then self.acknowledged[message.yiaddr] = true end
  local field = GIVES_BACK[message.options.message_type]
  local ip = field and (message[field] or message.options[field])
  if ip then self.leases[ip] = nil end
end

return M
