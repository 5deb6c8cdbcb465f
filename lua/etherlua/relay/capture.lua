-- relay/capture.lua: a pcap file, with nanoseconds, of the frames that a script chooses. (A relay's own option
-- `capture` writes every frame in and out.) An object owns the engine's struct el_capture, and closes with the run at
-- the latest.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local frames = require "etherlua.relay.frame"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

-- See capture.new.
---@class etherlua.capture
---@field path string
local Capture = {}
Capture.__index = Capture

local err = ffi.new("char[?]", C.EL_ERR_MAX)

-- Begins a file, in place of what was there. Raises a one-line error when that is not possible.
---@param path string
---@param link_type? integer what the frames begin with, as relay.link_type says it (Ethernet)
---@return etherlua.capture
function M.new(path, link_type)
  local handle = C.el_capture_open(path, link_type or C.EL_LINK_ETHERNET, err)
  if handle == nil then misuse.raise("%s", ffi.string(err)) end
  local self = setmetatable({ path = path, handle = handle }, Capture)
  sched.close_at_end(self)
  return self
end

-- Writes a frame; flush() brings it to the file, and tells whether it got there.
---@param frame etherlua.frame
---@param wall ffi.cdata* nanoseconds since 1970, from relay:wall()
function Capture:write(frame, wall)
  C.el_capture_frame(self.handle, frames.of(frame), wall)
end

---@return true|nil
---@return string? reason why nothing more is written, such as "No space left on device"
function Capture:flush()
  C.el_capture_flush(self.handle)
  local code = C.el_capture_error(self.handle)
  if code == 0 then return true end
  return nil, errno.reason(-code)
end

-- flush() tells whether all of it is in the file.
function Capture:close()
  if not self.handle then return end
  sched.forget(self)
  C.el_capture_close(self.handle)
  self.handle = nil
end

return M
