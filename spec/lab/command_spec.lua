-- Commands and programs in a namespace as tasks wait for them: other tasks go on meanwhile.

local ether = require "etherlua"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local root_it = require "support.root_it"
local shell = require "support.shell"
local eventually = require("support.wait").eventually

-- Runs fn as a task with a namespace.
local function with_namespace(fn)
  ether.run(function()
    local ns = lab.namespace()
    ether.defer(function() ns:close() end)
    fn(ns)
  end)
end

-- A file that commands find by its path.
local function with_file(fn)
  local path = os.tmpname()
  local ok, failure = pcall(fn, path)
  os.remove(path)
  if not ok then error(failure, 0) end
end

describe("a task that runs a command", function()
  root_it("waits alone: another task ends the command", function()
    with_namespace(function(ns)
      with_file(function(path)
        ether.spawn(function()
          assert(eventually(function() return files.read_all(path) == "waits\n" end))
          os.execute("echo go >" .. path)
        end)
        assert.equal("went\n", ns:run(("echo waits >%s; until grep -q go %s; do sleep 0.01; done; echo went")
          :format(path, path)))
      end)
    end)
  end)

  root_it("hears what it printed when it fails, as elsewhere", function()
    with_namespace(function(ns)
      local COMMAND = "echo out; echo err >&2; exit 3"
      local ok, message = pcall(ns.run, ns, COMMAND)
      assert.same({ false, ("command failed with status 3: %s\nout\nerr\n"):format(COMMAND) }, { ok, message })
    end)
  end)

  root_it("ends the command, and what that has started, when it is cancelled, and leaves nothing open", function()
    with_namespace(function(ns)
      with_file(function(path)
        local before = files.descriptors()
        local task = ether.spawn(function() ns:run(("echo $$ >%s; sleep 100"):format(path)) end)
        assert(eventually(function() return files.read_all(path):find "\n" end))
        task:cancel()
        assert.same({ nil, "cancelled" }, { task:join() })
        assert.is_false(shell.succeeds("ps -s " .. files.read_all(path):match "%d+"))
        assert.equal(before, files.descriptors())
      end)
    end)
  end)

  root_it("leaves what the command put into the background", function()
    with_namespace(function(ns)
      local pid = ns:run "sleep 100 >/dev/null 2>&1 & echo $!"
      assert.matches("sleep", ns:run("cat /proc/" .. pid:gsub("\n", "") .. "/cmdline"))
      ns:run("kill " .. pid)
    end)
  end)

  root_it("blocks the thread where waiting is not possible", function()
    local ns = lab.namespace()
    assert.equal("out\n", ns:run "echo out")
    ns:close()
    with_namespace(function(inner)
      assert.equal("in\n", inner:enter(function() return inner:run "echo in" end))
    end)
  end)
end)

describe("a task that waits for a program", function()
  root_it("waits alone, so long at the most, and hears how it ended", function()
    with_namespace(function(ns)
      local turns = 0
      local other = ether.spawn(function() while true do turns = turns + 1 ether.sleep(0.001) end end)
      local one = ns:start { "sh", "-c", "sleep 0.1; exit 5" }
      assert.is_nil(one:wait(0.01))
      assert.equal(5, one:wait(10))
      assert.equal(5, one:wait())
      assert.is_true(turns > 5)
      other:cancel()
      one = ns:start { "sleep", "100" }
      local waits = ether.spawn(function() one:wait() end)
      ether.sleep(0.01)
      one:stop()
      assert.is_nil((waits:join()))
      assert.equal(128 + 15, one.exit)
    end)
  end)
end)
