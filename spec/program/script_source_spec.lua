-- Where a script comes from: a file, a pipe, standard input; and what is said of one that cannot be read.

local files = require "support.files"
local nobody = require "support.nobody"
local shell = require "support.shell"

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local SCRIPT = 'print("run", ...)'

describe("a script", function()
  local path

  before_each(function() path = files.temporary(SCRIPT) end)

  after_each(function() os.remove(path) end)

  for name, command in pairs {
    ["standard input"] = "%s run - a b <%s",
    ["a pipe"] = "cat %2$s | %1$s run - a b",
    ["/dev/stdin"] = "%s run /dev/stdin a b <%s",
    ["/dev/stdin that is a pipe"] = "cat %2$s | %1$s run /dev/stdin a b",
    ["a FIFO"] = "mkfifo %2$s.fifo && { cat %2$s >%2$s.fifo & %1$s run %2$s.fifo a b; rm %2$s.fifo; }",
  } do
    it("is run from " .. name, function()
      local full = command:find("%1$s", 1, true) and command:gsub("%%1%$s", ETHERLUA):gsub("%%2%$s", path)
        or command:format(ETHERLUA, path)
      assert.same({ "run\ta\tb\n", 0 }, { shell.run(full) })
    end)
  end

  it("from standard input names that in its errors", function()
    local text, status = shell.run(("echo 'x = = 1' | %s run -"):format(ETHERLUA))
    assert.same({ "etherlua: cannot load the script: stdin:1: unexpected symbol near '='\n", 2 }, { text, status })
    text, status = shell.run(("echo 'error \"boom\"' | %s run -"):format(ETHERLUA))
    assert.equal(1, status)
    assert.matches("^etherlua: stdin:1: boom\n", text)
  end)

  it("may begin with a line for the shell", function()
    files.write(path, "#!/usr/bin/env etherlua\n" .. SCRIPT)
    assert.same({ "run\n", 0 }, { shell.run(ETHERLUA .. " run " .. path) })
  end)

  it("that cannot be read is told with the reason, in one line, with status 2", function()
    for given, words in pairs {
      ["run /tmp"] = "cannot read the script /tmp: Is a directory",
      ["repl /tmp"] = "cannot read the script /tmp: Is a directory",
      ["run /dev/null/x"] = "cannot read the script /dev/null/x: Not a directory",
      ["run - <&-"] = "cannot read the script -: Bad file descriptor",
    } do
      assert.same({ "etherlua: " .. words .. "\n", 2 }, { shell.run(ETHERLUA .. " " .. given) })
    end
    assert.matches("^etherlua: no such script: ./nosuch.lua ", (shell.run(ETHERLUA .. " run ./nosuch.lua")))
  end)

  it("that may not be read is told so", function()
    if not shell.is_root then return pending "needs root" end
    local copy = nobody.copy()
    finally(function() copy:close() end)
    os.execute("chmod 600 " .. path)
    assert.same({ ("etherlua: cannot read the script %s: Permission denied\n"):format(path), 2 },
      { shell.run(("%s%s run %s"):format(nobody.AS, copy.path, path)) })
  end)
end)
