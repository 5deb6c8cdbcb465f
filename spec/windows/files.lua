-- files.lua: prints the spec files that say something about Windows, and on standard error those that do not, and why.
--
--   luajit spec/windows/files.lua [1]
--
-- 1: a short list.

-- What these try is Linux's, or they ask programs of Linux.
local LINUX = {
  ["spec/core/jit_spec.lua"] = "starts a LuaJIT of its own",
  ["spec/core/pairs_spec.lua"] = "starts a LuaJIT of its own",
  ["spec/core/errno_spec.lua"] = "asks the C library of Linux",
  ["spec/core/loading_spec.lua"] = "starts a LuaJIT of its own",
  ["spec/core/torture_spec.lua"] = "waits for pipes",
  ["spec/core/stack_spec.lua"] = "starts a LuaJIT of its own",
  ["spec/core/trace_spec.lua"] = "waits for pipes",
  ["spec/relay/blocks_spec.lua"] = "is about packet sockets",
  ["spec/relay/link_spec.lua"] = "is about links of Linux",
  ["spec/relay/private_spec.lua"] = "is about permissions of Linux",
  ["spec/relay/rxvlan_spec.lua"] = "is about an offload of Linux",
  ["spec/relay/interface_spec.lua"] = "is about interfaces of Linux",
  ["spec/relay/resolve_kernel_spec.lua"] = "is about interfaces of Linux",
  ["spec/relay/stamp_spec.lua"] = "is about interfaces of Linux",
  ["spec/engine/abi_spec.lua"] = "asks a compiler",
  ["spec/engine/invariant_spec.lua"] = "is about sanitizers",
  ["spec/proto/scapy_spec.lua"] = "asks Scapy",
  ["spec/proto/tshark_spec.lua"] = "asks tshark",
}

local FOLDERS = arg[1] == "1" and "spec/relay/receive_spec.lua spec/relay/send_spec.lua spec/core/sched_spec.lua"
  or "spec/core spec/net spec/proto spec/relay spec/engine"

local pipe = assert(io.popen(("find %s -name '*_spec.lua' | sort"):format(FOLDERS)))
for path in pipe:lines() do
  local reason = LINUX[path] or path:find "/xdp" and "is about xdp"
  if reason then
    io.stderr:write(("  skipped: %s %s\n"):format(path, reason))
  else
    print(path)
  end
end
pipe:close()
