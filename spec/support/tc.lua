-- tc.lua: BPF programs that tests have tc run on the frames of an interface. They are compiled for every test, with
-- what is to be set as macros. Needs root (BPF), clang, libbpf-dev and iproute2.

local lab = require "etherlua.lab.lab"

local M = {}

-- clang for BPF does not look into the folder of the machine's own headers, where asm/types.h is on Debian.
local COMPILE = "clang -O2 -g -Wall -Werror -target bpf -idirafter /usr/include/$(uname -m)-linux-gnu %s -c %s -o %s"
local CLSACT = "tc qdisc replace dev %s clsact"
-- tc mounts /sys/fs/bpf where it is missing, and would leave it: so in a mount namespace of its own.
local ATTACH = "unshare -m tc filter add dev %s %s bpf da obj %s sec tc/%s"

---@param ns etherlua.namespace
---@param name string of an interface
---@return integer
function M.ifindex(ns, name)
  -- Not at the beginning: ip(8) may complain first, of what changed while it looked.
  local text = ns:run("ip -o link show dev " .. name)
  return tonumber(text:match("(%d+): " .. name)) or error("no interface " .. name .. ":\n" .. text)
end

-- Has tc run programs of a source on frames of interfaces; the object file is needed only meanwhile.
---@param ns etherlua.namespace
---@param source string path
---@param defines string options of the compiler
---@param list table[] of { interface, "ingress" or "egress", name of the section without tc/ }
function M.attach(ns, source, defines, list)
  local object = os.tmpname()
  local ok, reason = pcall(function()
    ns:run(COMPILE:format(defines, source, object))
    for _, one in ipairs(list) do
      ns:run(CLSACT:format(one[1]))
      ns:run(ATTACH:format(one[1], one[2], object, one[3]))
    end
  end)
  os.remove(object)
  if not ok then error(reason, 0) end
end

-- Why that is not possible here.
---@return string? reason nil when it is
function M.missing()
  local possible, reason = lab.root()
  if not possible then return reason end
  for _, program in ipairs { "clang", "tc", "ip" } do
    if os.execute("command -v " .. program .. " >/dev/null") ~= 0 then return "needs the program " .. program end
  end
  if not io.open("/usr/include/bpf/bpf_helpers.h") then return "needs libbpf-dev" end
end

return M
