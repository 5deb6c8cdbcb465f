-- What names and addresses become in the commands that labs are made with: words, whatever is in them.

local root_it = require "support.root_it"
local servers = require "etherlua.test.servers"
local shell = require "support.shell"
local test_lab = require "etherlua.test.lab"

describe("a command of a lab", function()
  local folder, trap

  before_each(function()
    folder = shell.output_of "mktemp -d":gsub("\n", "")
    trap = ("; touch %s/trapped; '$(touch %s/trapped)'"):format(folder, folder)
  end)

  after_each(function()
    assert.is_false(shell.succeeds(("test -e %s/trapped"):format(folder)))
    os.execute("rm -rf " .. folder)
  end)

  local function fails(fn, ...) assert.is_false((pcall(fn, ...))) end

  it("has the name of a program as one word", function()
    if servers.missing() then return pending(servers.missing()) end
    assert.matches("^needs the program", servers.missing("no-such-program" .. trap))
  end)

  root_it("has addresses and interfaces as one word each", function()
    fails(test_lab.new, { addresses = { ["near:eth0"] = "10.0.0.1/24" .. trap } })
    fails(test_lab.new, { addresses = { ["near:eth0" .. trap] = "10.0.0.1/24" } })
    fails(test_lab.new, { links = { { "near:eth0" .. trap, "far:eth0" } } })
    fails(test_lab.new, { switch = { ["red" .. trap] = 100 } })
    fails(test_lab.new, { switch = { red = "100" .. trap } })
    local net = test_lab.new()
    finally(function() net:close() end)
    fails(servers.dnsmasq, net:host "far", { address = "10.0.0.1/24" .. trap, pool = "10.0.0.10-10.0.0.20" })
    fails(servers.dnsmasq, net:host "far", { iface = "eth0" .. trap, address = "10.0.0.1/24", pool = "10.0.0.9" })
  end)

  it("is written nowhere with quotes of its own: files.quote knows how", function()
    local found = shell.run [[grep -rnE "(execute|popen|configure|:run)\(.*'%s'" lua scripts]]
    assert.equal("", found)
  end)
end)
