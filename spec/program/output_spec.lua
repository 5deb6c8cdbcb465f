-- Output that cannot be written: said, and no success, whoever prints; quiet when the reader is gone.

local files = require "support.files"
local shell = require "support.shell"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local NO_ROOM = "etherlua: cannot write the output: No space left on device\n"

describe("output that finds no room", function()
  local path

  before_each(function() path = files.temporary 'print "x"' end)

  after_each(function() os.remove(path) end)

  local function run(arguments, input)
    return shell.run(("%s %s >/dev/full%s"):format(ETHERLUA, arguments, input and " <" .. path or ""))
  end

  for _, arguments in ipairs { "--version", "--help", "run --help", "run ping --help", "test --help", "test --version",
    "repl --help", "doctor --help", "doctor lo" } do
    it("makes `etherlua " .. arguments .. "` say so and fail", function()
      assert.same({ NO_ROOM, 1 }, { run(arguments) })
    end)
  end

  for name, source in pairs {
    ["print"] = 'print "x"', ["io.write"] = 'io.write "x"', ["much of it"] = 'io.write(("x"):rep(100000))',
    ["os.exit"] = 'print "x" os.exit(0)', ["a script that ends with 3"] = 'print "x" return 3',
    ["--json"] = 'require("etherlua.script").print_json({ "a" }, { a = 1 })',
    ["script.write"] = 'require("etherlua.script").write "x"',
    ["a deferred function"] = 'require("etherlua").defer(function() print "x" end)',
  } do
    it("makes a script fail that prints with " .. name, function()
      files.write(path, source)
      assert.same({ NO_ROOM, 1 }, { run("run " .. path) })
    end)
  end

  it("makes the prompt and a test run fail", function()
    assert.same({ NO_ROOM, 1 }, { run("repl", true) })
    files.write(path, 'it("passes", function() end)')
    assert.same({ NO_ROOM, 1 }, { run("test " .. path) })
  end)

  it("is no failure of what prints nothing, and no end of what goes on", function()
    files.write(path, "")
    assert.same({ "", 0 }, { run("run " .. path) })
    files.write(path, 'print "x" io.stderr:write "went on\\n"')
    assert.same({ "went on\n" .. NO_ROOM, 1 }, { run("run " .. path) })
  end)

  it("is told also when a part of it found room", function()
    local fifo = path .. ".fifo"
    finally(function() os.remove(fifo) end)
    files.write(path, [[
      for _ = 1, 3 do print(("x"):rep(4096)) end
      io.stderr:write "printed\n"]])
    local text, status = shell.run(("ulimit -f 8; trap '' XFSZ; %s run %s >%s"):format(ETHERLUA, path, fifo))
    assert.same({ "printed\netherlua: cannot write the output: File too large\n", 1 }, { text, status })
  end)
end)

describe("standard output", function()
  it("that is closed is told, and nothing else gets its number", function()
    local path = files.temporary 'io.open "/dev/null" print "x"'
    finally(function() os.remove(path) end)
    assert.same({ "etherlua: cannot write the output: Bad file descriptor\n", 1 },
      { shell.run(("%s run %s >&-"):format(ETHERLUA, path)) })
  end)

  it("whose reader is gone is no failure, and nothing is said", function()
    local path = files.temporary "require('etherlua').sleep(0.05) for i = 1, 3 do print(i) end"
    finally(function() os.remove(path) end)
    local command = "trap '' PIPE; { %s run %s; echo $? >&2; } | true"
    assert.equal("0\n", (shell.run(command:format(ETHERLUA, path))))
  end)

  it("that is full for a while, or does not block, loses nothing", function()
    local path = files.temporary "for i = 1, 20000 do print(i) end"
    finally(function() os.remove(path) end)
    local NONBLOCKING = [[python3 -c 'import os, sys; os.set_blocking(1, False); os.execvp(sys.argv[1], sys.argv[1:])']]
    for _, before in ipairs { "", not shell.missing "python3" and NONBLOCKING or nil } do
      local text = shell.run(("%s %s run %s | { sleep 0.05; tail -n 1; }"):format(before, ETHERLUA, path))
      assert.equal("20000\n", text)
    end
  end)
end)
