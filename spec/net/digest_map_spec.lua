-- digest_map_spec.lua: numbers by digest, compared with a table.

local digest = require "etherlua.net.digest"
local digest_map = require "etherlua.net.digest_map"

describe("a map of digests", function()
  it("knows what was entered and not removed, as a table would", function()
    math.randomseed(5)
    local map, has, count, keys = digest_map.new(), {}, 0, {}
    for i = 0, 299 do keys[i] = digest.of("key " .. i) end
    for _ = 1, 60000 do
      local i = math.random(0, 299)
      assert.equal(has[i], map:get(keys[i]))
      if has[i] then
        map:remove(keys[i])
        has[i], count = nil, count - 1
      elseif math.random(3) > 1 then
        has[i], count = math.random(0, 0xfffffffe), count + 1
        map:add(keys[i], has[i])
      end
    end
    assert.equal(count, map.count)
    for i = 0, 299 do assert.equal(has[i], map:get(keys[i])) end
  end)

  it("finds digests that begin alike, and around its end", function()
    local map, list = digest_map.new(), {}
    for i = 1, 40 do list[i] = "\63\0\0\0" .. ("%012d"):format(i) end
    for i, one in ipairs(list) do map:add(one, i) end
    for i = 1, 40, 3 do map:remove(list[i]) end
    map:remove(list[1])
    for i, one in ipairs(list) do assert.equal(i % 3 ~= 1 and i or nil, map:get(one)) end
    assert.equal(26, map.count)
  end)
end)
