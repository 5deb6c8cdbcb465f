-- digest_spec.lua: digests of texts, against the test vectors of SipHash's authors.

local bytes = require "etherlua.net.bytes"
local digest = require "etherlua.net.digest"

-- Bytes 0, 1, 2 and so on, as many as are asked for.
local function counting(count)
  local list = {}
  for i = 1, count do list[i] = string.char((i - 1) % 256) end
  return table.concat(list)
end

describe("a digest", function()
  it("is SipHash-2-4 of 128 bits, as its authors computed it", function()
    local secret = counting(16)
    for size, expected in pairs { [0] = "a3817f04ba25a8e66df67214c7550293", [1] = "da87c1d86b99af44347659119b22fc45",
      [2] = "8177228da4a45dc7fca38bdef60affe4", [7] = "a1f1ebbed8dbc153c0b84aa61ff08239",
      [8] = "3b62a9ba6258f5610f83e264f31497b4" } do
      assert.equal(expected, bytes.hex(digest.of(counting(size), secret)), size)
    end
  end)

  it("is of 16 bytes, the same for one text, and another for each text and secret", function()
    local seen = {}
    for size = 0, 600 do
      local one = digest.of(("x"):rep(size))
      assert.same({ 16, one }, { #one, digest.of(("x"):rep(size)) })
      assert.is_nil(seen[one])
      seen[one] = size
    end
    assert.not_equal(digest.of "text", digest.of("text", counting(16)))
  end)
end)
