-- monitor.lua: qemu's monitor (QMP), from inside the machine: it listens on a port of the machine's, which the
-- environment names, VM_MONITOR. So the guest pulls its own cables and cards.

local cjson = require "cjson"

local M = {}

local port

-- Events and what an earlier process asked for come in between.
local function answer_to(id)
  for line in port:lines() do
    local ok, reply = pcall(cjson.decode, line)
    if ok and reply.id == id then return reply end
  end
  error "the monitor's port was closed"
end

local asked = 0

local function ask(execute, arguments)
  asked = asked + 1
  local id = ("%s %d"):format(tostring(port), asked)
  assert(port:write(cjson.encode { execute = execute, arguments = arguments, id = id }, "\n"))
  port:flush()
  return answer_to(id)
end

-- Its first command is one that may be given only once, whoever does it.
local function open()
  port = assert(io.open(assert(os.getenv "VM_MONITOR", "VM_MONITOR is not set"), "r+"))
  port:setvbuf "no"
  ask "qmp_capabilities"
end

-- Blocks the thread until the monitor has answered.
---@param execute string a command of QMP
---@param arguments? table
---@return table answer
function M.run(execute, arguments)
  if not port then open() end
  local reply = ask(execute, arguments)
  if reply.error then error(("%s: %s"):format(execute, reply.error.desc)) end
  return reply["return"]
end

-- Plugs the cable of the NIC under test in, or pulls it.
---@param up boolean
function M.set_link(up)
  M.run("set_link", { name = "nic", up = up })
end

-- Puts a NIC in, like the one that boot.sh began with, where there is none.
function M.plug_in()
  local device, queues = os.getenv "DEVICE", tonumber(os.getenv "QUEUES")
  local nic = { driver = device, id = "nic", netdev = "n0", mac = "02:00:00:00:00:01", addr = "0x10", romfile = "" }
  if device == "virtio-net-pci" and queues > 1 then nic.mq, nic.vectors = true, 2 * queues + 2 end
  M.run("device_add", nic)
end

return M
