-- nic_lab.lua: labs as lab.new makes them, but of two NICs of this machine that hear each other, one in each namespace
-- as eth0. The environment names them by their places on the PCI bus: NICS="0000:00:10.0 0000:00:11.0", the one under
-- test first, and NIC_FEATURES, the words of `ethtool -K` for that one, such as "rxvlan off". One lab at a time.

local lab = require "etherlua.lab.lab"
local shell = require "support.shell"
local eventually = require("support.wait").eventually

local M = {}

local NEAR, FAR = (os.getenv "NICS" or ""):match "^(%S+) (%S+)$"
local FEATURES = os.getenv "NIC_FEATURES" or ""
local UP_TRIES = 100 -- of 0.1 s and more: some drivers take seconds for a link

M.given = NEAR ~= nil
M.native = os.getenv "NIC_NATIVE" ~= "no" -- whether its driver runs XDP programs
M.zero_copy = os.getenv "NIC_ZERO_COPY" == "yes" -- whether it has zero-copy AF_XDP

local Lab = {}
Lab.__index = Lab

-- A NIC that still has a frame to send keeps its namespace, by the socket that the frame is from, and the namespace the
-- NIC: so it is set down, which drops such frames, and moved. It may have been unplugged.
local BACK = "ip link set dev eth0 down && ip link set dev eth0 netns 1 name %s || true"

function Lab:close()
  for name, ns in pairs { near = self.near, far = self.far } do
    if ns.fd >= 0 then ns:run(BACK:format(name)) end
    ns:close()
  end
end

-- The name of the NIC, which may be on its way back from the last lab.
---@param place string on the PCI bus
---@return string
function M.name_at(place)
  local command = ("ls -d /sys/bus/pci/devices/%s/net/* /sys/bus/pci/devices/%s/virtio*/net/* 2>/dev/null"):format(
    place, place)
  local path = eventually(function() return shell.run(command):match "[^\n]+" end, 2)
  assert(path and path ~= "", "no network interface at " .. place)
  return path:match "[^/]+$"
end

local own_mac = {} -- place -> the address that a NIC has unless a lab asks for another

local function move(place, ns)
  local name = M.name_at(place)
  own_mac[place] = own_mac[place] or shell.output_of("ethtool -P " .. name):match "%x+:%S+"
  shell.output_of(("ip link set dev %s down; ip link set dev %s netns %s name eth0"):format(name, name, ns:path()))
end

-- One command, for starting programs is what takes long in a machine that is emulated. Features that the NIC cannot
-- change stay as they are.
local UP = [[ip link set dev eth0 mtu %d address %s; ethtool -K eth0 %s >/dev/null 2>&1; %s ip link set dev eth0 up
  i=0; until ip link show dev eth0 | grep -q 'state UP'; do i=$((i + 1)); [ $i -lt %d ] ||
  { ip link show dev eth0; exit 1; }; sleep 0.1; done]]

local function configure(ns, place, mac, features, opts)
  local queues = opts.queues and ("ethtool -L eth0 combined %d || exit 1;"):format(opts.queues) or ""
  lab.set_ipv6(ns, "eth0", opts.ipv6 == true) -- a NIC keeps what it had elsewhere
  ns:run(UP:format(opts.mtu or 1500, mac or own_mac[place], features, queues, UP_TRIES))
end

---@param given? table as for lab.new
function M.new(given)
  local opts = given or {}
  local self = setmetatable({ near = lab.namespace(), far = lab.namespace(), is_real = true }, Lab)
  local tx = "tx " .. (opts.checksum == false and "off" or "on")
  local ok, failure = pcall(function()
    move(NEAR, self.near)
    move(FAR, self.far)
    configure(self.far, FAR, opts.far_mac, tx, opts)
    configure(self.near, NEAR, opts.near_mac, ("rxvlan on txvlan on %s %s"):format(tx, FEATURES), opts)
  end)
  if ok then return self end
  self:close() -- else the next one would find no NIC
  error(failure, 0)
end

return M
