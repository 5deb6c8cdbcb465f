-- JSON as --json prints it.

local cjson = require "cjson"
local json = require "etherlua.program.json"
local script = require "etherlua.script"

describe("JSON", function()
  it("has the names of an object in the order that was given, others behind them by the alphabet", function()
    local values = json.ordered({ "zebra", "cat", "missing", "cat" },
      { cat = 1, zebra = { b = 1, a = { 2, 3 } }, dog = 4, bee = "x" })
    assert.equal('{"zebra":{"a":[2,3],"b":1},"cat":1,"bee":"x","dog":4}', json.encode(values))
    assert.equal('{"late":{"y":1,"x":2},"none":null,"few":0.3}\n', script.json_line({ "late", "none", "few" },
      { late = json.ordered({ "y" }, { x = 2, y = 1 }), few = 0.1 + 0.2 }))
  end)

  it("is the same as cjson's, but for the order", function()
    for _, value in ipairs { 1, 0.5, -1e9, "a \"b\" \n\\", true, { 1, { 2 }, "x" }, { a = { b = { { c = 1 } } } }, {},
      { list = { { x = 1 }, { y = cjson.null } } } } do
      assert.same(cjson.decode(cjson.encode { value }), cjson.decode(json.encode { value }))
    end
  end)

  it("takes numbers as names, and knows an ordered table from a list", function()
    assert.equal('{"2":"b","1":"a"}', json.encode(json.ordered({ 2, 1 }, { "a", "b" })))
    assert.equal('{"x":1,"1":"a"}', json.encode { "a", x = 1 })
    assert.equal('{"5":"a"}', json.encode { [5] = "a" })
  end)
end)
