-- scapy.lua: Scapy as a judge, a program of the distribution's own that shares no code with us.

local cjson = require "cjson"

local M = {}

local function temporary(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

local function output_of(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- The distribution's Python first: it is the one that has the distribution's Scapy.
local python
for _, program in ipairs { "/usr/bin/python3", "python3" } do
  local answer = output_of(program .. " -c 'import scapy.all; print(42)' 2>/dev/null")
  python = python or answer == "42\n" and program or nil
end

-- Why there is no judge, or nil.
M.missing = (os.getenv "FAST" or not python) and "needs Scapy (Debian package python3-scapy)" or nil

-- What a Python program prints, which has to be JSON.
---@param program string
---@param list? string[] lines of a file whose path is its argument; without them it gets none
function M.ask(program, list)
  local script, input = temporary(program), list and temporary(table.concat(list, "\n") .. "\n")
  local text = output_of(("%s %s %s"):format(python, script, input or ""))
  os.remove(script)
  if input then os.remove(input) end
  return cjson.decode(text)
end

return M
