-- router.lua: a wire with a router at its far end that says what a spec has it say, and counts what it hears; and hosts
-- at the near end.

local addr = require "etherlua.net.addr"
local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local icmp6 = require "etherlua.proto.icmp6"
local ipv6 = require "etherlua.proto.ipv6"
local kinds = require "support.kinds"
local proto = require "etherlua.proto"
local sched = require "etherlua.core.sched"
local wait = require "support.wait"

local M = {}

M.MAC, M.IP, M.ROUTER_MAC = "02:00:00:00:00:01", "fe80::1", "02:dd:00:00:00:01"
M.ALL_NODES_MAC = "33:33:00:00:00:01"

local Router = {}
Router.__index = Router

function M.option(fields)
  local all = { type = 3, prefix = "2001:db8::", prefix_length = 64, on_link = true, autonomous = true,
    valid_lifetime = 86400, preferred_lifetime = 14400 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

-- A packet of ICMPv6. fields: src, dst, hop_limit, cut (octets of the message that are left).
function M.packet(message, fields)
  fields = fields or {}
  local src, dst = fields.src or M.IP, fields.dst or "ff02::1"
  local payload = icmp6.build(message, { src = src, dst = dst })
  if fields.cut then
    payload = payload:sub(1, fields.cut)
    local sum = bytes.checksum(payload:sub(1, 2) .. "\0\0" .. payload:sub(5),
      bytes.pseudo_sum({ src = src, dst = dst }, 58, #payload))
    payload = payload:sub(1, 2) .. string.char(math.floor(sum / 256), sum % 256) .. payload:sub(5)
  end
  return ipv6.build { src = src, dst = dst, hop_limit = fields.hop_limit or 255, protocol = 58, payload = payload }
end

local function advertisement(fields)
  local all = { type = 134, cur_hop_limit = 0, router_lifetime = 1800, options = { M.option() } }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

-- Sends a router advertisement to all.
function Router:say(fields, ip_fields, mac)
  self.conn:send(M.packet(advertisement(fields), ip_fields), mac or M.ALL_NODES_MAC, { src_mac = M.ROUTER_MAC })
  wait.settle()
end

-- How many messages of this type were heard.
function Router:heard(kind)
  local count = 0
  for _, one in ipairs(self.frames) do count = count + (one.icmp6 and one.icmp6.type == kind and 1 or 0) end
  return count
end

function Router:hear(text)
  local layers = { at = ether.now() }
  for _, layer in ipairs(proto.dissect(text)) do layers[layer.name] = layer.fields end
  table.insert(self.frames, layers)
  if self.answer then self.answer(layers) end
end

-- fn(relay, router) as a task.
function M.on_link(fn)
  return function()
    kinds.run_apart(function()
      local relay, far = ether.wire()
      local router = setmetatable({ conn = far:default_conn(), frames = {} }, Router)
      sched.spawn_background(function()
        for frame in function() return (router.conn:recv_frame()) end do router:hear(tostring(frame)) end
      end)
      fn(relay, router, far)
      relay:close()
      far:close()
      wait.settle()
    end)
  end
end

-- A host that does not wait for duplicates, and has its link-local address.
function M.quick_host(relay, more)
  local given = { mac = M.MAC, ip6 = "auto", dad = false }
  for name, value in pairs(more or {}) do given[name] = value end
  local host = relay:host(given)
  wait.settle()
  return host
end

function M.left(host, ip, name)
  return math.floor(host.addresses[ip][name] - ether.now() + 0.5)
end

function M.count(list)
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  return n
end

function M.next_hop(host, ip)
  local key = host.autoconf:hop(addr.ip_bytes(ip))
  return key and addr.ip_text(key)
end

return M
