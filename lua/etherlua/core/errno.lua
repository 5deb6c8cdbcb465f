-- core/errno.lua: the error numbers of Linux by name (errno(3)), and the reasons for them in the words that the API
-- uses. The engine returns them negated. Nobody else writes them as digits.

local M = {
  EPERM = 1, ENOENT = 2, EIO = 5, ENXIO = 6, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EBUSY = 16, ENODEV = 19,
  EINVAL = 22, EFBIG = 27, ENOSPC = 28, EPIPE = 32, ENOSYS = 38, ENODATA = 61, EBADMSG = 74, EOVERFLOW = 75,
  EMSGSIZE = 90, EPROTONOSUPPORT = 93, EAFNOSUPPORT = 97, EADDRINUSE = 98, EADDRNOTAVAIL = 99, ENETDOWN = 100,
  ENOBUFS = 105, ESTALE = 116, EDQUOT = 122,
}

local ENFILE, EMFILE = 23, 24 -- nobody asks for these by name

local REASONS = {
  [ENFILE] = "too many open files on this machine", [EMFILE] = "too many open files: ulimit -n",
  [M.EPERM] = "not permitted", [M.ENOENT] = "no such file", [M.EIO] = "Input/output error",
  [M.ENXIO] = "interface gone", [M.EBADF] = "closed", [M.EAGAIN] = "full", [M.ENOMEM] = "out of memory",
  [M.EACCES] = "not permitted", [M.EBUSY] = "busy", [M.ENODEV] = "no such interface", [M.EFBIG] = "File too large",
  [M.ENOSPC] = "No space left on device",
  [M.ENOSYS] = jit.os == "Linux" and "not in this kernel" or "needs Linux",
  [M.ENODATA] = "closed", [M.EBADMSG] = "file broken",
  [M.EOVERFLOW] = "a time before 1970 or after 2106",
  [M.EMSGSIZE] = "too long", [M.EPROTONOSUPPORT] = "neither IPv4 nor IPv6",
  [M.EAFNOSUPPORT] = "address family mismatch", [M.EADDRINUSE] = "in use", [M.ENETDOWN] = "link down",
  [M.ENOBUFS] = "full", [M.ESTALE] = "file gone", [M.EDQUOT] = "Disk quota exceeded",
}

-- The reason for what a call of the engine returned.
---@param code integer 0 or -errno
---@return string
function M.reason(code)
  return REASONS[-code] or ("error " .. -code)
end

return M
