-- lab/shell.lua: the commands that labs are made with: running them, and what to install when one is missing.

local files = require "etherlua.core.files"

local M = {}

M.NO_SHELL = -1 -- a command's status when there is none to run it
M.NOT_FOUND = 127 -- that of one that there is not

-- What a command begins with. Ordinary users lack /sbin in PATH. An empty part of it is the current directory.
M.PATH = 'PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin"'

-- The status comes behind the output, because Lua 5.1's popen does not tell it.
local SHELL = M.PATH .. ' sh -c %s </dev/null 2>&1; printf "\\n%%d" $?'

-- Runs a shell command and waits for it.
---@param command string
---@return string output both standard output and errors
---@return integer status
function M.run(command)
  local pipe = io.popen(SHELL:format(files.quote(command)), "r")
  if not pipe then return "", M.NO_SHELL end
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*)\n(%d+)$")
  return output or text, tonumber(status) or M.NO_SHELL
end

-- What Debian calls the package of a program, where that is not the program's name.
local PACKAGES = { ip = "iproute2", tc = "iproute2", nft = "nftables", dnsmasq = "dnsmasq-base",
  ["kea-dhcp4"] = "kea-dhcp4-server", dhcrelay = "isc-dhcp-relay", dhclient = "isc-dhcp-client",
  arping = "iputils-arping" }

-- The name of a program and of the package that it is in, for messages.
---@param program string
---@return string such as "nft (Debian package nftables)"
function M.with_package(program)
  return ("%s (Debian package %s)"):format(program, PACKAGES[program] or program)
end

return M
