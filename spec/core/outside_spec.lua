-- Text that came from outside, on a terminal and in JSON.

local cjson = require "cjson"
local outside = require "etherlua.core.outside"
local script = require "etherlua.script"
local show = require "etherlua.program.repl.show"
local tally = require "etherlua.core.tally"

-- What came -> what a terminal gets.
local SHOWN = {
  ["plain text, with \\ and \"quotes\""] = "plain text, with \\ and \"quotes\"",
  ["no\27[31m\7"] = "no\\x1b[31m\\x07",
  ["one\r\ntwo\ttabs\0"] = "one\\x0d\\x0atwo\\x09tabs\\x00",
  ["Adresse ung\195\188ltig \226\130\172 \240\159\152\128"] = "Adresse ung\195\188ltig \226\130\172 \240\159\152\128",
  ["csi \194\155 in UTF-8"] = "csi \\xc2\\x9b in UTF-8",
  ["csi \155 alone"] = "csi \\x9b alone",
  ["turned \226\128\174 around"] = "turned \\xe2\\x80\\xae around",
  ["line \226\128\168 separated"] = "line \\xe2\\x80\\xa8 separated",
  ["\239\187\191mark"] = "\\xef\\xbb\\xbfmark",
  ["cut \226\130"] = "cut \\xe2\\x82",
  ["overlong \192\175 surrogate \237\160\128 beyond \244\144\128\128"] =
    "overlong \\xc0\\xaf surrogate \\xed\\xa0\\x80 beyond \\xf4\\x90\\x80\\x80",
  [""] = "",
}

describe("text that came from outside", function()
  it("gives a terminal no commands and no lines, and keeps what can be read", function()
    for text, expected in pairs(SHOWN) do
      assert.equal(expected, outside.shown(text))
      assert.equal(expected, outside.shown(expected))
    end
  end)

  it("of every byte twice is printable", function()
    for first = 0, 255 do
      for second = 0, 255 do
        local shown = outside.shown(string.char(first, second, 33))
        assert.is_nil(shown:find "[%z\1-\31\127]")
        assert.equal(shown, outside.utf8(shown))
      end
    end
  end)

  it("keeps the lines and tabs of a message that has several", function()
    assert.equal("one\n\ttwo\\x1b", outside.lines "one\n\ttwo\27")
  end)

  it("is UTF-8 in JSON, where a byte that is none is \\xNN, in names and in tables too", function()
    local line = script.json_line({ "text", "list" },
      { text = "a\255b\27\195\188\226\128\174", list = { ["k\254"] = { "\192\175", 1, true } } })
    assert.is_nil(line:find "[\1-\9\11-\31\192\254\255]")
    assert.same({ text = "a\\xffb\27\195\188\226\128\174", list = { ["k\\xfe"] = { "\\xc0\\xaf", 1, true } } },
      cjson.decode(line))
  end)

  it("shows at the prompt without its escape sequences", function()
    for _, text in ipairs { "\27[31m", "\194\155[31m", "\226\128\174" } do
      assert.is_nil(show.value(text):find "[%z\1-\31\127-\255]")
      assert.is_nil(show.message("error: " .. text):find "[%z\1-\31\127-\255]")
    end
    assert.equal('"\195\188"', show.value "\195\188")
  end)
end)

describe("a tally", function()
  it("counts by reason, and says how often", function()
    local counts = tally.new()
    assert.equal("", counts:text())
    for _, reason in ipairs { "too late", "not understood", "not understood" } do counts:note(reason) end
    assert.same({ 3, "too late, not understood (2 times)" }, { counts.count, counts:text() })
    assert.same({ ["too late"] = 1, ["not understood"] = 2 }, counts:summary())
  end)

  it("keeps a bounded number of reasons, however many there are", function()
    local counts = tally.new()
    for i = 1, 1000 do counts:note("reason " .. i) end
    assert.same({ 1000, 992 }, { counts.count, counts:summary()["for other reasons"] })
    local reasons = 0
    for _ in pairs(counts:summary()) do reasons = reasons + 1 end
    assert.equal(9, reasons)
  end)
end)
