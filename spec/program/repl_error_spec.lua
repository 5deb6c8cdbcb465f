-- What the prompt says of errors: a caller's mistake is a line, and the calls that led to it are told on request.

local runners = require "support.runners"

describe("an error at the prompt", function()
  local folder

  before_each(function() folder = runners.new() end)
  after_each(function() folder:close() end)

  local function said(lines)
    folder:write("lines", "a, b = ether.wire()\nc = a:conn { mac = '02:00:00:00:00:01' }\n" .. lines .. "\n")
    return select(2, folder:shell(runners.PROGRAM .. " repl <lines"))
  end

  it("is one line for misuse: what was given and what is allowed", function()
    for line, words in pairs {
      ["c:snd('x')"] = 'stdin:3: unknown member "snd" of an EtherConn, did you mean "send"? known are: ',
      ["c:send('x', 'zz')"] = 'stdin:3: bad MAC address "zz": six pairs of hex digits are needed',
      ["ether.pacer { rte = 1 }"] = 'stdin:3: unknown option "rte" of a pacer, did you mean "rate"? known are: ',
      ["c:recv('x')"] = "stdin:3: bad timeout x: seconds as a number are needed\n",
      ["ether.sleep()"] = "stdin:3: bad sleep nil: seconds as a number are needed\n",
      ["dhcp4_client.lease(c, { tris = 1 })"] = 'stdin:3: unknown option "tris" of a DHCP client, did you mean "tries"',
      ["ether.open 'nosuch0'"] = "stdin:3: ",
      ["ether.spawn(function() c:snd() end) ether.sleep(0)"] = 'task 3: stdin:3: unknown member "snd" of an EtherConn',
      ["(function() return c:snd() end)()"] = 'stdin:3: unknown member "snd" of an EtherConn',
      ["sniff(5)"] = "stdin:3: bad relay 5: ",
    } do
      local out = said(line)
      assert.truthy(out:find(words, 1, true), out)
      assert.equal(1, select(2, out:gsub("\n", "")), out)
    end
  end)

  it("is told with its calls by traceback()", function()
    local out = said "function f() c:snd() end\nf()\nprint '--'\ntraceback()"
    assert.matches("^stdin:3: unknown member[^\n]+\n%-%-\nstdin:3: unknown member [^\n]+\n\t", out)
    assert.matches("\n\tstdin:3: in function 'f'\n\tstdin:4: in the line\n$", out)
  end)

  it("has its calls at once where the code of the lines raised it", function()
    local out = said "function f() error 'down' end\nfunction g() local x = nil + 1 end\nf()\ng()"
    assert.matches("^stdin:3: down\n\t[^\n]+\n\tstdin:3: in function 'f'\n\tstdin:5: in the line\n", out)
    assert.matches("stdin:4: attempt to perform arithmetic on a nil value\n\tstdin[^\n]* in function 'g'\n", out)
  end)

  it("is none where there was none", function()
    assert.equal("the last error was in the line itself, or there was none\n", said "traceback()")
  end)
end)
