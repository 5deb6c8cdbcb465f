-- The way from a negative errno to the words of the API.

local reason = require("etherlua.core.ffi").reason

describe("the reason for an errno", function()
  it("is in the words that the API promises", function()
    for errno, words in pairs { [6] = "interface gone", [9] = "closed", [11] = "full", [90] = "too long",
      [100] = "link down", [105] = "full" } do
      assert.equal(words, reason(-errno))
    end
  end)

  it("is its number when there are no words for it", function()
    assert.equal("error 9999", reason(-9999))
  end)
end)
