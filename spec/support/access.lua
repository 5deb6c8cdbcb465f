-- access.lua: an access node for tests, made of tc and BPF, since VLAN devices may not be there:
--
--     client                        node                          server
--   .--------.  tagged frames  .------------.  untagged frames  .--------.
--   |   eth0 |-----------------| cli    srv |-------------------| eth0   |
--   '--------'   "100.200"     '------------'                   '--------'
--
-- What comes from the client with exactly the configured VLAN stack goes to the server without it, what comes from the
-- server goes to the client with it, everything else is dropped. MAC addresses are left alone: it is a wire, not a
-- bridge. It owns its three namespaces; it does not look into IP. Needs root (BPF), clang, libbpf-dev and iproute2.

local lab = require "etherlua.lab.lab"
local tc = require "support.tc"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

local MTU = 1500
local SOURCE = debug.getinfo(1, "S").source:match("^@(.*)%.lua$") .. ".bpf.c"

-- The stack as text of the two macros: TAG(0x88a8, 100) || TAG(0x8100, 200), and from the inside out.
local function macros(vlans)
  local list, reversed = {}, {}
  for i = 1, #vlans do
    local text = ("TAG(%#x, %d)"):format(vlans[i].tpid, vlans[i].vid)
    list[i] = text
    table.insert(reversed, 1, text)
  end
  if #list == 0 then list, reversed = { "0" }, { "0" } end
  return ("-DTAGS='%s' -DTAGS_REVERSED='%s'"):format(table.concat(list, " || "), table.concat(reversed, " || "))
end

-- Has tc run a program on frames of interfaces.
---@param ns etherlua.namespace
---@param peer integer ifindex that frames go to, 0: none
---@param list table[] of { interface, "ingress" or "egress", "pop" or "push" }
local function attach(ns, vlans, peer, list)
  tc.attach(ns, SOURCE, ("%s -DPEER=%d"):format(macros(vlans), peer), list)
end

---@class support.access
---@field client etherlua.namespace tagged side, interface "eth0"
---@field server etherlua.namespace untagged side, interface "eth0"
---@field node etherlua.namespace in the middle, interfaces "cli" and "srv"
---@field vlans ffi.cdata* struct el_vlans
local access = {}
access.__index = access

function access:close()
  for _, name in ipairs { "client", "server", "node" } do
    if self[name] then self[name]:close() end
  end
end

-- Gives the client's own kernel the VLAN stack too, so that ordinary programs can be the client: tc on its eth0 puts
-- the tags on what leaves and takes them off what arrives. AF_PACKET readers of all protocols (dhclient, tcpdump) sit
-- before tc and still see tagged frames; readers of one protocol (udhcpc) see untagged ones.
function access:tag_client()
  attach(self.client, self.vlans, 0, { { "eth0", "egress", "push" }, { "eth0", "ingress", "pop" } })
end

-- The outer tag's TPID is the caller's choice; the inner ones are 0x8100 then.
local function stack(vlans, tpid)
  local result = vlan_stack.new(vlans)
  if tpid and #result > 0 then
    result = vlan_stack.new(tostring(result))
    result.tag[0].tpid = tpid
  end
  return result
end

local function build(self, opts)
  self.client, self.node, self.server = lab.namespace(), lab.namespace(), lab.namespace()
  -- A veth lets a frame pass that is four bytes too long, and one tag travels beside the frame; more need more room.
  local tagged = { mtu = MTU + 4 * #self.vlans, queues = opts.queues, mac_a = opts.client_mac, ipv6 = opts.ipv6 }
  lab.veth(self.client, "eth0", self.node, "cli", tagged)
  lab.veth(self.server, "eth0", self.node, "srv", { mtu = MTU, mac_a = opts.server_mac, ipv6 = opts.ipv6 })
  attach(self.node, self.vlans, tc.ifindex(self.node, "srv"), { { "cli", "ingress", "pop" } })
  attach(self.node, self.vlans, tc.ifindex(self.node, "cli"), { { "srv", "ingress", "push" } })
end

---@class support.access_opts
---@field vlans? any as of relay:conn, outer tag first; default untagged
---@field tpid? integer of the outer tag
---@field queues? integer of the client's eth0
---@field client_mac? string
---@field server_mac? string
---@field ipv6? boolean true: the kernels' IPv6 stays on

---@param opts? support.access_opts
---@return support.access
function M.new(opts)
  opts = opts or {}
  local self = setmetatable({ vlans = stack(opts.vlans, opts.tpid) }, access)
  local ok, reason = pcall(build, self, opts)
  if not ok then
    self:close()
    error(reason, 0)
  end
  return self
end

-- Why there can be none here.
---@return string? reason nil when there can
M.missing = tc.missing

return M
