-- ranks/stream.lua: lines of text over a socket. Reading and writing block the calling task alone. One task reads at a
-- time; any may write.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local loop = require "etherlua.core.loop"

local C = effi.C

local M = {}

local CHUNK = 65536
local FULL_PAUSE = 0.001 -- seconds until the other end is tried again

local buffer = ffi.new("uint8_t[?]", CHUNK)

-- pending: what came and is no line yet. unsent: what is to be written, of all tasks. limit: bytes of a line.
---@class etherlua.ranks.stream
---@field fd? integer
---@field limit integer
local Stream = {}
Stream.__index = Stream

---@param fd integer a socket, from now on the stream's
---@param limit? integer bytes that a line may have (no limit)
---@return etherlua.ranks.stream
function M.new(fd, limit)
  return setmetatable({ fd = fd, pending = "", unsent = "", limit = limit or math.huge }, Stream)
end

-- The next line of what is there, without its end.
local function take_line(self)
  local line = self.pending:match "^[^\n]*\n"
  if not line then return nil end
  self.pending = self.pending:sub(#line + 1)
  return line:sub(1, -2)
end

-- Reads what has come. Returns 0 when the other end has closed, a negative number when it has broken.
local function read_more(self)
  local count = C.el_socket_read(self.fd, buffer, CHUNK)
  if count > 0 then self.pending = self.pending .. ffi.string(buffer, count) end
  return count
end

-- Blocks until a line has come.
---@param deadline? number time of the engine's clock (none)
---@return string? line
---@return string? reason "closed", "timeout", or what has broken it
function Stream:read_line(deadline)
  while true do
    local line = take_line(self)
    if line then return line end
    if not self.fd then return nil, "closed" end
    if #self.pending > self.limit then return nil, "too long" end
    local count = read_more(self)
    if count == 0 then return nil, "closed" end
    if count == -errno.EAGAIN then
      if deadline and loop.now() >= deadline then return nil, "timeout" end
      loop.wait_fd(self.fd, deadline)
    elseif count < 0 then
      return nil, errno.reason(count)
    end
  end
end

-- Writes as much as the other end takes. Returns nil and the reason when it cannot be reached.
local function write_some(self)
  local count = C.el_socket_write(self.fd, self.unsent, #self.unsent)
  if count < 0 and count ~= -errno.EAGAIN then return nil, errno.reason(count) end
  self.unsent = self.unsent:sub(math.max(0, count) + 1)
  return true
end

-- Blocks while the other end does not read. What a task that is cancelled, or has no more time, leaves behind is
-- written ahead of the next line.
---@param line string without its end
---@param deadline? number time of the engine's clock (none)
---@return boolean? sent
---@return string? reason
function Stream:write_line(line, deadline)
  self.unsent = self.unsent .. line .. "\n"
  while self.fd do
    local ok, reason = write_some(self)
    if not ok then return nil, reason end
    if self.unsent == "" then return true end
    if deadline and loop.now() >= deadline then return nil, "timeout" end
    loop.sleep(FULL_PAUSE)
  end
  return nil, "closed"
end

function Stream:close()
  if self.fd then C.el_fd_close(self.fd) end
  self.fd = nil
end

return M
