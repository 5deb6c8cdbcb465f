-- queues_spec.lua: queues of numbers, compared with lists.

local queues = require "etherlua.core.queues"

-- The numbers of a queue, the oldest first. Empties it.
local function drained(queue)
  local list = {}
  while queue.count > 0 do
    list[#list + 1] = queue:oldest()
    queue:remove(queue:oldest())
  end
  return list
end

local function index_of(list, number)
  for i, one in ipairs(list) do
    if one == number then return i end
  end
end

describe("a queue of numbers", function()
  it("gives back the oldest first", function()
    local queue = queues.new():queue()
    assert.is_nil(queue:oldest())
    for _, number in ipairs { 5, 3, 4000000000, 0 } do queue:push(number) end
    assert.same({ 4, 3, 0 }, { queue.count, queue:after(5), queue:after(4000000000) })
    assert.is_nil(queue:after(0))
    assert.same({ 5, 3, 4000000000, 0 }, drained(queue))
    assert.is_nil(queue:oldest())
  end)

  it("has all of a range, of which only what is moved takes memory", function()
    local links = queues.new()
    local queue, chunks = links:queue(0, 0xffffffff), 0
    for number = 0, 4095 do
      assert.equal(number, queue:oldest())
      queue:remove(number)
    end
    queue:remove(3000000000)
    queue:push(7)
    assert.same({ 4096, 7, 0xffffffff - 4096 + 1 }, { queue:oldest(), queue.tail, queue.count })
    queue:remove(2999999999)
    queue:push(3000000000)
    assert.same({ 7, 0xffffffff - 4096 + 1 }, { queue:oldest() == 4096 and 7, queue.count })
    for _ in pairs(links.chunks) do chunks = chunks + 1 end
    assert.is_true(chunks <= 8)
  end)

  it("passes numbers to others from any place, as lists would", function()
    math.randomseed(11)
    local links = queues.new()
    local all, lists = { links:queue(0, 49), links:queue(), links:queue() }, { {}, {}, {} }
    for number = 0, 49 do table.insert(lists[1], number) end
    for _ = 1, 20000 do
      local from, to, number = math.random(3), math.random(3), math.random(0, 49)
      local at = index_of(lists[from], number)
      if at then
        all[from]:remove(number)
        all[to]:push(number)
        table.insert(lists[to], table.remove(lists[from], at))
      end
      assert.same({ #lists[from], lists[from][1] }, { all[from].count, all[from]:oldest() })
    end
    for i, queue in ipairs(all) do assert.same(lists[i], drained(queue)) end
  end)
end)
