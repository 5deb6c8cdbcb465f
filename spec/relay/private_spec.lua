-- Whose the files are that frames are written to, and which file it is: in a folder that others may write to, too.

local ether = require "etherlua"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"

local LINK = "a link in a folder that others may write to is not followed"
local LAID = "it is somebody else's, in a folder that others may write to"

describe("a log of a program in a lab", function()
  root_it("is kept as captures are", function()
    local folder = shell.output_of "mktemp -d":gsub("\n", "")
    local net = lab.new()
    finally(function()
      net:close()
      os.execute("rm -rf " .. folder)
    end)
    shell.output_of(("cd %s && touch victim && ln -s victim link && chmod 1777 ."):format(folder))
    for i = 1, 2 do
      local process = net.near:start({ "echo", "hello" }, { log = folder .. "/log" })
      while not process:wait(1) do end
      assert.equal(("hello\n"):rep(i), process:log())
    end
    assert.equal("600\n", shell.output_of("stat -c %a " .. folder .. "/log"))
    local ok, reason = pcall(net.near.start, net.near, { "echo", "hello" }, { log = folder .. "/link" })
    assert.same({ false, ("cannot write the log %s/link: %s"):format(folder, LINK) }, { ok, reason })
    assert.equal("", files.read_all(folder .. "/victim"))
  end)
end)

describe("a capture", function()
  local folder, own, shared, victim

  before_each(function()
    folder = shell.output_of "mktemp -d":gsub("\n", "")
    own, shared, victim = folder .. "/own", folder .. "/shared", folder .. "/own/victim"
    shell.output_of(("chmod 755 %s; mkdir %s %s; chmod 1777 %s"):format(folder, own, shared, shared))
    files.write(victim, "precious")
  end)

  after_each(function() os.execute("rm -rf " .. folder) end)

  local function capture_to(path)
    local ok, reason = pcall(ether.run, function()
      local a, b = ether.wire { capture = path }
      a:close()
      b:close()
    end)
    return ok or reason:match ": ([^:\n]+)\n" or reason:match ": ([^:\n]+)$"
  end

  local function mode_of(path) return (shell.output_of("stat -c %a " .. path):gsub("\n", "")) end

  local function is_capture(path)
    return ("\212\195\178\161\77\60\178\161"):find(files.read_all(path):sub(1, 4), 1, true) ~= nil
  end

  it("is for its owner alone, whatever the umask, and also where there was a file of his", function()
    for _, place in ipairs { own, shared } do
      assert.is_true(capture_to(place .. "/new"))
      assert.equal("600", mode_of(place .. "/new"))
      files.write(place .. "/old", ("x"):rep(100000))
      shell.output_of(("chmod 644 %s/old"):format(place))
      assert.is_true(capture_to(place .. "/old"))
      assert.equal("600", mode_of(place .. "/old"))
      assert.is_true(is_capture(place .. "/old") and #files.read_all(place .. "/old") < 100)
    end
  end)

  it("follows no link in a folder that others may write to: not the last, not one on the way, not a dangling one",
    function()
      shell.output_of(("cd %s && ln -s %s to_file && ln -s %s to_folder && ln -s %s/new dangling"):format(shared,
        victim, own, own))
      shell.output_of(("ln -s %s/to_file %s/indirect"):format(shared, own))
      for _, path in ipairs { shared .. "/to_file", shared .. "/to_folder/victim", shared .. "/to_folder/new",
        shared .. "/dangling", own .. "/indirect" } do
        assert.equal(LINK, capture_to(path), path)
      end
      assert.equal("precious", files.read_all(victim))
      assert.is_false(shell.succeeds(("test -e %s/new"):format(own)))
    end)

  it("follows links in folders that are one's own, by any path", function()
    shell.output_of(("cd %s && ln -s victim to_file && ln -s ../own/to_file further && ln -s ../shared to_shared")
      :format(own))
    assert.is_true(capture_to(own .. "/further"))
    assert.is_true(is_capture(victim))
    assert.is_true(capture_to(own .. "//./to_shared/../own/to_shared/x"))
    assert.is_true(is_capture(shared .. "/x"))
    shell.output_of(("ln -s round %s/round"):format(own))
    assert.is_string(capture_to(own .. "/round"))
  end)

  it("is written to what is no file, too: standard output, a device", function()
    local program = ("%s run - <<'END'\nlocal e = require 'etherlua'\ne.wire { capture = %%q }\nEND"):format(
      os.getenv "ETHERLUA" or "build/etherlua")
    for _, path in ipairs { "/dev/stdout", "/proc/self/fd/1", "-" } do
      local pipe = io.popen(program:format(path))
      assert.equal(24, #pipe:read "*a", path)
      pipe:close()
    end
    assert.is_true(capture_to "/dev/null")
    assert.matches("^crw", shell.output_of "stat -c %A /dev/null")
  end)

  it("says what is wrong with a path", function()
    assert.equal("No such file or directory", capture_to(own .. "/no/file"))
    assert.equal("Not a directory", capture_to(victim .. "/file"))
    assert.equal("Is a directory", capture_to(own))
    assert.equal("Is a directory", capture_to(own .. "/"))
    assert.equal("File name too long", capture_to(own .. "/" .. ("x"):rep(300)))
    assert.equal("File name too long", capture_to(own .. ("/x"):rep(3000)))
  end)

  it("goes into no file with another name elsewhere", function()
    shell.output_of(("ln %s %s/hard"):format(victim, shared))
    assert.equal(LAID, capture_to(shared .. "/hard"))
    assert.equal("precious", files.read_all(victim))
  end)

  root_it("goes into no file that somebody else has laid there, nor by a link in somebody else's folder", function()
    shell.output_of(("cd %s && mkfifo fifo && touch file && chmod 666 fifo file && chown nobody fifo file"):format(
      shared))
    for _, name in ipairs { "fifo", "file" } do
      local text = capture_to(shared .. "/" .. name)
      assert.is_true(text == LAID or text == "Permission denied", name) -- the kernel's fs.protected_regular is first
    end
    shell.output_of(("mkdir %s/theirs && ln -s %s %s/theirs/link && chown -h nobody %s/theirs %s/theirs/link"):format(
      folder, victim, folder, folder, folder))
    assert.equal(LINK, capture_to(folder .. "/theirs/link"))
    assert.equal("precious", files.read_all(victim))
    assert.is_true(capture_to(folder .. "/theirs/new"))
  end)
end)
