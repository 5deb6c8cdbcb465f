-- What is built, as an ELF file: what the compiler and the linker were told to make of a mistake.

local shell = require "support.shell"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local LIBRARY = os.getenv "ETHERLUA_LIB" or "build/libetherlua.so"
local SANITIZED = os.getenv "SANITIZER" ~= nil

local missing = shell.missing "readelf" or shell.missing "objdump"

local function readelf(options, path)
  return shell.output_of(("LC_ALL=C readelf -W %s %s"):format(options, path))
end

for name, path in pairs { ["the program"] = ETHERLUA, ["the library"] = LIBRARY } do
  describe(name, function()
    local function check(sentence, fn)
      it(sentence, function()
        if missing then return pending(missing) end
        fn()
      end)
    end

    check("is loaded at an address that nobody knows", function()
      assert.matches("Type: +DYN", readelf("-h", path))
      if path == ETHERLUA then assert.matches("FLAGS_1[^\n]*PIE", readelf("-d", path)) end
    end)

    check("has no addresses of functions that could be overwritten later", function()
      assert.matches("GNU_RELRO", readelf("-l", path))
      assert.matches("BIND_NOW", readelf("-d", path))
    end)

    check("runs no code on its stack, and writes into none of its code", function()
      assert.matches("GNU_STACK[^\n]* RW ", readelf("-l", path))
      assert.is_nil(readelf("-l", path):find "LOAD[^\n]* RWE")
      assert.is_nil(readelf("-d", path):find "TEXTREL")
    end)

    check("ends when its stack was overwritten, or a buffer would be", function()
      local symbols = readelf("--dyn-syms", path)
      assert.matches("__stack_chk_fail", symbols)
      if not SANITIZED then assert.matches("__memcpy_chk", symbols) end
    end)
  end)
end

describe("the library", function()
  it("can be called at the beginning of a function alone, where the processor checks that", function()
    if missing then return pending(missing) end
    if not shell.output_of "uname -m":find "x86_64" then return pending "endbr64 is of x86-64" end
    local code = shell.output_of("objdump -d --no-show-raw-insn " .. LIBRARY)
    local count = 0
    for called, first in code:gmatch "\n%x+ <(el_[%w_]+)>:\n *%x+:\t(%w+)" do
      count = count + 1
      assert.equal("endbr64", first, called)
    end
    assert.is_true(count > 50)
  end)
end)
