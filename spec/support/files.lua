-- files.lua: reading and writing files in specs.

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

-- Writes a whole file.
---@param path string
---@param text string
function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- A new file with this text, which the caller removes.
---@param text string
---@return string path
function M.temporary(text)
  local path = os.tmpname()
  M.write(path, text)
  return path
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
