-- What a test run leaves: the report for CI systems, and the frames of tests that failed.

local cjson = require "cjson"
local runners = require "support.runners"
local shell = require "support.shell"

-- An XML file as Python's parser reads it: { tag, attributes, text, children }.
local PARSE = [==[python3 -c '
import json, sys, xml.etree.ElementTree as tree
def node(e): return [e.tag, e.attrib, e.text or "", [node(c) for c in e]]
print(json.dumps(node(tree.parse(sys.argv[1]).getroot())))' '%s']==]

describe("the report of etherlua test -o junit", function()
  local folder

  before_each(function() folder = runners.new() end)
  after_each(function() folder:close() end)

  -- The test cases by name: { attributes, children }.
  local function report(text, arguments)
    if shell.missing "python3" then pending(shell.missing "python3") end
    folder:write("a_spec.lua", runners.HEAD .. text)
    local _, out = folder:shell(("%s a_spec.lua -o junit -Xoutput report.xml %s"):format(runners.TEST, arguments or ""))
    assert.equal("", out)
    local root = cjson.decode(runners.output_of(PARSE:format(folder.path .. "/report.xml")))
    local cases = {}
    for _, suite in ipairs(root[4]) do
      for _, case in ipairs(suite[4]) do cases[case[2].name] = { case[2], case[4] } end
    end
    return cases, root
  end

  it("names a case by its file and its words, and has the message of a failure in its attribute", function()
    local cases, root = report [[
      describe("a block", function()
        it("fails", function() assert.equal(1, 2) end)
        it("breaks", function() error "broken" end)
        it("passes", function() end)
        it("is pending", function() pending "later" end)
      end)
    ]]
    assert.same({ "4", "1", "1", "1" }, { root[2].tests, root[2].failures, root[2].errors, root[2].skipped })
    local fails = cases["a block fails"]
    assert.same({ "a_spec.lua", "a_spec.lua", "4" }, { fails[1].classname, fails[1].file, fails[1].line })
    assert.equal("failure", fails[2][1][1])
    assert.equal("a_spec.lua:4: Expected objects to be equal.", fails[2][1][2].message)
    assert.matches("Expected objects to be equal.\nPassed in:\n%(number%) 2", fails[2][1][3])
    assert.same({ "error", { message = "a_spec.lua:5: broken" } }, { unpack(cases["a block breaks"][2][1], 1, 2) })
    assert.same({}, cases["a block passes"][2])
    assert.same({ "skipped", { message = "a_spec.lua:7: later" } }, { unpack(cases["a block is pending"][2][1], 1, 2) })
  end)

  it("is XML whatever a test is named, and whatever it says", function()
    local cases = report [==[
      it([[<&>"']], function() assert.equal("\0\27]]>\n", "\255") end)
      it("UTF-8: \195\164", function() error "\195\164\r" end)
    ]==]
    assert.matches("\\x00\\x1b]]>", cases[ [[<&>"']] ][2][1][3], 1, true)
    assert.matches("\\xff", cases[ [[<&>"']] ][2][1][3], 1, true)
    assert.matches("\195\164\\x0d", cases["UTF-8: \195\164"][2][1][3], 1, true)
  end)

  it("has what fails around tests, and what a test leaves", function()
    local cases, root = report [[
      describe("a block", function()
        setup(function() error "no server" end)
        it("does not run", function() end)
      end)
      it("leaves something", function() ether.wire() end)
    ]]
    assert.equal("1", root[2].errors)
    assert.equal("error", cases["a block setup"][2][1][1])
    assert.matches("no server", cases["a block setup"][2][1][2].message)
    assert.matches("^left open: relay wire", cases["leaves something"][2][1][2].message)
    assert.equal(1, #cases["leaves something"][2])
  end)

  it("is refused before the tests where it cannot be written", function()
    folder:write("a_spec.lua", "it('a', function() print 'ran' end)")
    local status, out = folder:shell(runners.TEST .. " a_spec.lua -o junit -Xoutput /nowhere/x.xml")
    assert.same({ 2, "etherlua: cannot write the report /nowhere/x.xml: No such file or directory\n" }, { status, out })
  end)
end)

describe("the captures of etherlua test", function()
  local folder

  before_each(function() folder = runners.new() end)
  after_each(function() folder:close() end)

  local SPEC = runners.HEAD .. [[
    describe("a block", function()
      local shared
      setup(function() if os.getenv "SHARED" then shared = test.wire() end end)
      it("passes", function() test.wire() test.wire() end)
      it("fails: 10.0.0.1/24 is *lost*", function() test.wire() test.wire() error "so" end)
    end)
  ]]

  local function captures(arguments)
    folder:write("a_spec.lua", SPEC)
    local status, out = folder:shell(arguments:gsub("TEST", runners.TEST .. " a_spec.lua -o TAP"))
    assert.equal(1, status, out)
    return runners.output_of(("cd '%s' && find . -name '*.pcap' | sort"):format(folder.path)), out
  end

  it("are in the folder that --captures names, named by the test, those of tests that failed alone", function()
    local found, out = captures "TEST --captures 'my captures/here'"
    assert.equal("./my captures/here/a_spec-a-block-fails-10.0.0.1-24-is-lost.the-wire.2.pcap\n" ..
      "./my captures/here/a_spec-a-block-fails-10.0.0.1-24-is-lost.the-wire.pcap\n", found)
    assert.truthy(out:find("capture of the wire: " .. folder.path .. "/my captures/here/a_spec-a-block-fails", 1, true))
    assert.matches("%./my captures/here/a_spec%-a%-block%.the%-wire%.pcap\n",
      (captures "env SHARED=1 TEST --captures 'my captures/here'"))
  end)

  it("are in TMPDIR without it, those of tests that failed alone", function()
    assert.equal(2, select(2, captures "TEST":gsub("%./etherlua_%w+%.pcap\n", "")))
  end)

  it("are refused a folder that cannot be made", function()
    local status, out = folder:shell(runners.TEST .. " --captures /dev/null/x")
    assert.same({ 2, "etherlua: cannot make the folder /dev/null/x for captures (etherlua test --help tells more)\n" },
      { status, out })
  end)
end)
