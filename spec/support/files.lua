-- files.lua: reading files in specs.

local M = {}

-- A whole file; an error when it cannot be read.
---@param path string
---@return string
function M.read_all(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- How many file descriptors this process has open.
---@return integer
function M.descriptors()
  local pid = M.read_all("/proc/self/stat"):match("^%d+")
  -- Not at once: until popen returns this process has the other end of the pipe too.
  local pipe = assert(io.popen(("sleep 0.02; ls /proc/%s/fd | wc -l"):format(pid)))
  local count = pipe:read("*n")
  pipe:close()
  return assert(count)
end

return M
