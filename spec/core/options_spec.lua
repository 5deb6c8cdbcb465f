-- options_spec.lua: tables of options, and how a caller's mistake is told.

local errno = require "etherlua.core.errno"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.core.options"
local suggest = require "etherlua.core.suggest"

local HERE = "spec/core/options_spec.lua"

-- The words of an error, which has to name a line of this file.
local function message_of(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(HERE, message:match "^([^:]+):%d+: ")
  return misuse.words(message)
end

describe("options", function()
  local OPTIONS = options.new("a pacer", {
    rate = options.number(1e-6, 1e9):needed(), burst = options.whole(1), jitter = options.boolean(false),
    mode = options.one_of({ "auto", "native", false }, "auto"), timeout = options.seconds(), name = options.text(),
    file = options.path(), depth = options.whole(1, 10), hook = options.of_type("a function is needed", "function"),
    vlans = options.any(),
  })

  it("are read with defaults, into a new table", function()
    local given = { rate = 5 }
    local opts = OPTIONS:read(given)
    assert.same({ rate = 5, jitter = false, mode = "auto" }, opts)
    assert.same({ rate = 5 }, given)
  end)

  it("refuse a name that nobody knows, with the known ones and a suggestion", function()
    assert.equal('unknown option "vlan" of a pacer, did you mean "vlans"? known are: burst, depth, file, hook, ' ..
      "jitter, mode, name, rate, timeout, vlans", message_of(OPTIONS.read, OPTIONS, { rate = 1, vlan = 100 }))
    assert.matches('^unknown option "zzz" of a pacer: known are: burst, ',
      message_of(OPTIONS.check, OPTIONS, { zzz = 1 }))
    assert.matches('^unknown option "1" of a pacer: known are: ', message_of(OPTIONS.check, OPTIONS, { 5 }))
  end)

  it("refuse values that are not allowed, and say what is", function()
    local cases = {
      { { rate = 0 }, "bad rate 0: 1e-06 to 1000000000 is allowed" },
      { { rate = 0 / 0 }, "bad rate %-?nan: 1e%-06 to 1000000000 is allowed" },
      { { burst = 1.5 }, "bad burst 1.5: a whole number from 1 is needed" },
      { { depth = 11 }, "bad depth 11: 1 to 10 is allowed" },
      { { jitter = 1 }, "bad jitter 1: true or false is allowed" },
      { { mode = "x" }, 'bad mode x: "auto", "native" or false is allowed' },
      { { timeout = -1 }, "bad timeout -1: seconds as a number are needed" },
      { { timeout = math.huge }, "bad timeout inf: seconds as a number are needed" },
      { { name = 5 }, "bad name 5: a text is needed" },
      { { file = "" }, "bad file : the path of a file is needed" },
      { { hook = {} }, "bad hook table: 0x%x+: a function is needed" },
    }
    for _, case in ipairs(cases) do
      local message = message_of(OPTIONS.check, OPTIONS, case[1])
      assert.is_true(message == case[2] or message:match("^" .. case[2] .. "$") ~= nil, message)
    end
  end)

  it("refuse what is no table, and what is left out but needed", function()
    assert.equal("bad options 5 of a pacer: a table is needed", message_of(OPTIONS.read, OPTIONS, 5))
    assert.equal("no rate given to a pacer: 1e-06 to 1000000000 is allowed", message_of(OPTIONS.read, OPTIONS, {}))
    assert.equal("no rate given to a pacer: 1e-06 to 1000000000 is allowed", message_of(OPTIONS.read, OPTIONS))
  end)

  it("may have a second name, whose value is checked like the first one's", function()
    local client = options.new("a client", { timeout = options.seconds(4), first_timeout = options.alias "timeout" })
    assert.same({ timeout = 1 }, client:read { first_timeout = 1 })
    assert.same({ timeout = 4 }, client:read {})
    assert.equal("bad timeout x: seconds as a number are needed", message_of(client.read, client,
      { first_timeout = "x" }))
    assert.same({ "timeout" }, client:names())
  end)

  it("may be another thing's with some of their own", function()
    local more = options.new("a loader", { clients = options.whole(1, nil, 10) }, OPTIONS)
    assert.same({ rate = 1, clients = 10, jitter = false, mode = "auto" }, more:read { rate = 1 })
  end)
end)

describe("suggest", function()
  it("finds what is a letter or two away, or the beginning of one another", function()
    local names = { "src_mac", "vlans", "ethertype", "timeout", "send", "mac" }
    assert.equal("src_mac", suggest.nearest("srcmac", names))
    assert.equal("src_mac", suggest.nearest("src_mca", names))
    assert.equal("vlans", suggest.nearest("vlan", names))
    assert.equal("ethertype", suggest.nearest("ethertypes", names))
    assert.equal("timeout", suggest.nearest("tiemout", names))
    assert.equal("send", suggest.nearest("snd", names))
    assert.is_nil(suggest.nearest("frobnicate", names))
    assert.is_nil(suggest.nearest("xy", names))
    assert.is_nil(suggest.nearest(17, names))
  end)
end)

describe("a caller's mistake", function()
  it("is told at the line of the innermost code that is not etherlua's", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() misuse.raise("bad %s %d", "thing", 5) end)
    assert.is_false(ok)
    assert.equal(("%s:%d: bad thing 5"):format(HERE, line), message)
  end)

  it("keeps words that look like a place", function()
    assert.equal("bad thing", misuse.words "a/b.lua:12: bad thing")
    assert.equal("bad thing", misuse.words '[string "x = 1"]:12: bad thing')
    assert.equal("cannot use address 10.0.0.2:2: in use", misuse.words "cannot use address 10.0.0.2:2: in use")
    assert.equal("cannot use address 10.0.0.2:2: in use", misuse.words "x.lua:1: cannot use address 10.0.0.2:2: in use")
  end)

  it("has no place when all of the stack is etherlua's", function()
    local co = coroutine.create(misuse.raise)
    local _, message = coroutine.resume(co, "bad thing")
    assert.equal("bad thing", message)
  end)
end)

describe("errno", function()
  it("has the numbers of Linux, and words for those that the API tells", function()
    assert.same({ 16, 11, 61, 100 }, { errno.EBUSY, errno.EAGAIN, errno.ENODATA, errno.ENETDOWN })
    assert.equal("link down", errno.reason(-errno.ENETDOWN))
    assert.equal("error 4095", errno.reason(-4095))
  end)
end)
