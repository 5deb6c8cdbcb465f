-- What is counted of a flow: sequence numbers against a plain model of RFC 4737's definitions, and times. Rates and
-- frame sizes as people write them.

local bit = require "bit"
local counts = require "etherlua.role.traffic_counts"
local misuse = require "etherlua.core.misuse"
local rate = require "etherlua.net.rate"
local size_mix = require "etherlua.net.size_mix"

local WINDOW = 1024
local NO_BOUND = math.huge

local function refusal(fn, ...)
  local ok, reason = pcall(fn, ...)
  assert.is_false(ok)
  return misuse.words(reason)
end

-- The same with a table that remembers every number.
local function model()
  local flow = { seen = {}, next = 0, received = 0, duplicates = 0, reordered = 0, outside = 0 }
  function flow.arrive(number)
    local is_new = number >= flow.next
    if not is_new and flow.next - number > WINDOW then
      flow.outside = flow.outside + 1
    elseif flow.seen[number] then
      flow.duplicates = flow.duplicates + 1
    else
      flow.seen[number], flow.received = true, flow.received + 1
      if not is_new then flow.reordered = flow.reordered + 1 end
      flow.next = math.max(flow.next, number + 1)
    end
  end
  return flow
end

local NAMES = { "next", "received", "duplicates", "reordered", "outside" }

local function values_of(flow)
  local values = {}
  for i, name in ipairs(NAMES) do values[i] = tonumber(flow[name]) end
  return values
end

local function arrive_all(numbers, from_zero, bound)
  local flow = counts.new(1, from_zero)[0]
  for _, number in ipairs(numbers) do counts.arrive(flow, bit.tobit(number), bound or NO_BOUND) end
  return flow
end

describe("the counts of a flow", function()
  it("are those of a model that remembers everything, whatever comes in whatever order", function()
    math.randomseed(4737)
    for _ = 1, 20 do
      local flows, expected = counts.new(3, true), model()
      local at = 0
      for _ = 1, 5000 do
        local spread = ({ 1, 8, 1100 })[math.random(3)]
        at = at + (math.random(200) == 1 and math.random(3000) or 1)
        local number = math.max(0, at - math.random(0, spread - 1))
        counts.arrive(flows[1], number, NO_BOUND)
        expected.arrive(number)
      end
      assert.same(values_of(expected), values_of(flows[1]))
      assert.same({ 0, 0, 0, 0, 0 }, values_of(flows[0]))
      assert.same({ 0, 0, 0, 0, 0 }, values_of(flows[2]))
    end
  end)

  it("know a duplicate of the oldest number that is remembered, and not of the one before", function()
    local numbers = {}
    for i = 0, WINDOW do numbers[#numbers + 1] = i end
    numbers[#numbers + 1] = 1
    numbers[#numbers + 1] = 0
    assert.same({ WINDOW + 1, WINDOW + 1, 1, 0, 1 }, values_of(arrive_all(numbers, true)))
  end)

  it("call what comes late reordered, not what came in its place (RFC 4737 section 3.3)", function()
    assert.same({ 5, 5, 0, 1, 0 }, values_of(arrive_all({ 0, 1, 3, 4, 2 }, true)))
    assert.same({ 5, 5, 0, 3, 0 }, values_of(arrive_all({ 0, 4, 1, 2, 3 }, true)))
  end)

  it("go on behind the last of 32 bits", function()
    local flow = arrive_all({ 0xfffffffe, 0xffffffff, 1, 0, 2, 0xffffffff }, false)
    assert.same({ 2 ^ 32 + 3, 5, 1, 1, 0 }, values_of(flow))
    assert.equal(0xfffffffe, flow.first)
  end)

  it("begin with whichever packet comes first, when nobody knows how many there were", function()
    local flow = arrive_all({ 1000, 1001, 999, 1003 }, false)
    assert.same({ 1004, 4, 0, 1, 0 }, values_of(flow))
    assert.equal(999, flow.first)
  end)

  it("do not believe numbers that cannot have been sent", function()
    assert.same({ 2, 2, 0, 0, 3 }, values_of(arrive_all({ 0, 10, 1, 0x7fffffff, 0xffffffff }, true, 10)))
  end)

  it("keep times exactly in their bounds, and percentiles to 10 %", function()
    local flow = counts.new(1, true)[0]
    assert.same({ count = 0 }, counts.summary(flow))
    for i = 1, 1000 do counts.time(flow, i * 1e-6) end
    local times = counts.summary(flow)
    assert.same({ 1000, 1e-6, 1e-3 }, { times.count, times.min, times.max })
    assert.is_true(math.abs(times.mean - 500.5e-6) < 1e-9)
    for name, exact in pairs { p50 = 500e-6, p90 = 900e-6, p99 = 990e-6, p99_9 = 999e-6 } do
      assert.is_true(times[name] >= exact and times[name] <= exact * 1.102, name .. " " .. times[name])
    end
    assert.is_true(times.p99_9 <= times.max)
  end)

  it("take times from nothing to an hour", function()
    local flow = counts.new(1, true)[0]
    counts.time(flow, 0)
    counts.time(flow, 3600)
    local times = counts.summary(flow)
    assert.same({ 2, 0, 3600, 3600 }, { times.count, times.min, times.max, times.p99 })
  end)
end)

describe("a rate", function()
  it("is packets or bits a second", function()
    local cases = { ["5000"] = { 5000 }, ["100k"] = { 1e5 }, ["1.5Mpps"] = { 1.5e6 }, ["0.1"] = { 0.1 },
      ["50Mbit"] = { nil, 5e7 }, ["1Gbps"] = { nil, 1e9 }, ["64kbit/s"] = { nil, 64000 } }
    for text, expected in pairs(cases) do
      local one = rate.new(text)
      assert.same({ expected[1], expected[2] }, { one.pps, one.bps }, text)
    end
    assert.equal(1e5, rate.new("100k"):packets(64))
    assert.equal(1e6, rate.new("512Mbit"):packets(64))
  end)

  it("is refused when it says neither", function()
    for _, bad in ipairs { "", "x", "0", "-1", "1G", "1Gb", "1e5", "1.2.3", "100 k", "2Gpps", "0bit" } do
      assert.matches("^bad rate \"" .. bad:gsub("%p", "%%%0") .. '": packets a second such as', refusal(rate.new, bad))
    end
  end)
end)

describe("a mix of sizes", function()
  it("has each size as often as its share, spread evenly", function()
    local mix = size_mix.new "imix"
    assert.same({ 64, 1518, 12 }, { mix.smallest, mix.largest, #mix.pattern })
    assert.equal((7 * 64 + 4 * 570 + 1518) / 12, mix.mean)
    local seen, run, longest = {}, 0, 0
    for i, size in ipairs(mix.pattern) do
      seen[size] = (seen[size] or 0) + 1
      run = size == mix.pattern[i - 1] and run + 1 or 1
      longest = math.max(longest, run)
    end
    assert.same({ [64] = 7, [570] = 4, [1518] = 1 }, seen)
    assert.is_true(longest <= 2)
    assert.same({ 512 }, size_mix.new("512").pattern)
    assert.same({ 64, 128 }, size_mix.new("64,128").pattern)
  end)

  it("has room for what frames need", function()
    assert.same({ 84, 12 }, { size_mix.new("imix", 84).smallest, #size_mix.new("imix", 84).pattern })
    assert.equal('bad size "64:7,570:4": these frames need 84 bytes or more', refusal(size_mix.new, "64:7,570:4", 84))
  end)

  it("says what it cannot be", function()
    for bad, reason in pairs { ["64:7,x"] = "such as 64, 64:7,570:4,1518:1 or imix is needed", [""] = "such as 64",
      ["63"] = "64 to 65000 is allowed", ["65001"] = "64 to 65000 is allowed", ["64:0"] = "shares of 1 to 1000 in all",
      ["64:1001"] = "shares of 1 to 1000 in all" } do
      local said = refusal(size_mix.new, bad)
      assert.equal(('bad size "%s": %s'):format(bad, reason), said:sub(1, #bad + 13 + #reason))
    end
  end)
end)
