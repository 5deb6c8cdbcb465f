-- The error numbers of the engine: that they are Linux's, and the words of the API for them.

local ffi = require "ffi"
local errno = require "etherlua.core.errno"

-- Name -> the words that the API promises.
local WORDS = {
  EPERM = "not permitted", ENOENT = "no such file", EIO = "Input/output error", ENXIO = "interface gone",
  EBADF = "closed", EAGAIN = "full", ENOMEM = "out of memory", EACCES = "not permitted", EBUSY = "busy",
  ENODEV = "no such interface", EFBIG = "File too large", ENOSPC = "No space left on device", ENODATA = "closed",
  EBADMSG = "file broken", EOVERFLOW = "a time before 1970 or after 2106", EMSGSIZE = "too long",
  ENOSYS = "not in this kernel", EPROTONOSUPPORT = "neither IPv4 nor IPv6",
  EAFNOSUPPORT = "address family mismatch", EADDRINUSE = "in use", ENETDOWN = "link down", ENOBUFS = "full",
  ESTALE = "file gone", EDQUOT = "Disk quota exceeded",
}

-- What strerror(3) says of each number.
local SYSTEM = {
  EPERM = "Operation not permitted", ENOENT = "No such file or directory", EIO = "Input/output error",
  ENXIO = "No such device or address", EBADF = "Bad file descriptor", EAGAIN = "Resource temporarily unavailable",
  ENOMEM = "Cannot allocate memory", EACCES = "Permission denied", EBUSY = "Device or resource busy",
  ENODEV = "No such device", EINVAL = "Invalid argument", EFBIG = "File too large",
  ENOSPC = "No space left on device", EPIPE = "Broken pipe", ENODATA = "No data available",
  EBADMSG = "Bad message", EOVERFLOW = "Value too large for defined data type", EMSGSIZE = "Message too long",
  ENOSYS = "Function not implemented", EPROTONOSUPPORT = "Protocol not supported",
  EAFNOSUPPORT = "Address family not supported by protocol", EADDRINUSE = "Address already in use",
  EADDRNOTAVAIL = "Cannot assign requested address", ENETDOWN = "Network is down",
  ENOBUFS = "No buffer space available", ESTALE = "Stale file handle", EDQUOT = "Disk quota exceeded",
}

ffi.cdef "char *strerror(int number);"

describe("an error number", function()
  it("is Linux's, for each name", function()
    for name, number in pairs(errno) do
      if type(number) == "number" then assert.equal(SYSTEM[name], ffi.string(ffi.C.strerror(number)), name) end
    end
  end)

  it("has the words that the API promises, and there are no others", function()
    for name, number in pairs(errno) do
      if type(number) == "number" then
        assert.equal(WORDS[name] or "error " .. number, errno.reason(-number), name)
      end
    end
  end)

  it("is told as it is when there are no words for it", function()
    assert.equal("error 9999", errno.reason(-9999))
  end)
end)
