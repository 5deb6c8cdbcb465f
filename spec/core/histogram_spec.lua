-- Histograms of times: that what they say is right to 1 %, whatever is put in.

local ether = require "etherlua"

local INF, NAN = math.huge, 0 / 0

local function histogram_of(...)
  local histogram = ether.histogram()
  for i = 1, select("#", ...) do histogram:record((select(i, ...))) end
  return histogram
end

-- Times from 10 ns to 10,000 s, evenly spread over the orders of magnitude, always the same.
local function spread(count)
  local values, state = {}, 1
  for i = 1, count do
    state = (state * 16807) % 2147483647 -- Park and Miller's minimal standard generator
    values[i] = 10 ^ (-8 + 12 * state / 2147483647)
  end
  return values
end

describe("a histogram", function()
  it("that is empty knows no times", function()
    local histogram = ether.histogram()
    assert.equal(0, histogram.count)
    assert.equal(0, histogram.invalid)
    for _, field in ipairs { "min", "max", "mean" } do assert.is_nil(histogram[field]) end
    assert.is_nil(histogram:percentile(0.5))
    assert.same({ count = 0 }, histogram:summary())
  end)

  it("knows number, least, greatest and mean of the times exactly", function()
    local histogram = histogram_of(0.25, 0.001, 3, 0.75)
    assert.equal(4, histogram.count)
    assert.equal(0.001, histogram.min)
    assert.equal(3, histogram.max)
    assert.equal((0.25 + 0.001 + 3 + 0.75) / 4, histogram.mean)
    assert.equal("histogram of 4 times", tostring(histogram))
  end)

  it("gives a single time back as every percentile", function()
    for _, seconds in ipairs { 10e-9, 1e-6, 0.1, 1, 4096, 10000 } do
      local histogram = histogram_of(seconds)
      for _, share in ipairs { 0, 0.001, 0.5, 1 } do assert.equal(seconds, histogram:percentile(share)) end
    end
  end)

  it("is never below a percentile, and at most 1 % above, from 10 ns to 10,000 s", function()
    local values = spread(20000)
    local histogram = histogram_of()
    for _, seconds in ipairs(values) do histogram:record(seconds) end
    table.sort(values)
    for rank = 1, #values do
      local exact, told = values[rank], histogram:percentile(rank / #values)
      if not (told >= exact and told <= exact * 1.01) then
        error(("rank %d: %.9g instead of %.9g"):format(rank, told, exact))
      end
    end
    assert.equal(values[1], histogram:percentile(0))
    assert.equal(values[#values], histogram:percentile(1))
  end)

  it("keeps to 1 % at the edges of its buckets", function()
    for exponent = -30, 13 do
      for part = 0, 127 do
        local edge = 2 ^ exponent * (1 + part / 128)
        for _, seconds in ipairs { edge * (1 - 2 ^ -53), edge } do
          local told = histogram_of(seconds, 20000):percentile(0.5)
          assert.is_true(told >= seconds and told <= seconds * 1.01, ("%.17g for %.17g"):format(told, seconds))
        end
      end
    end
  end)

  it("counts a share of the values as people do", function()
    local histogram = ether.histogram()
    for i = 1, 100 do histogram:record(2 ^ (i - 1) * 1e-9) end
    for i = 1, 40 do -- whatever i / 100 * 100 is in binary
      local told, exact = histogram:percentile(i / 100), 2 ^ (i - 1) * 1e-9
      assert.is_true(told >= exact and told < exact * 1.01, i)
    end
  end)

  it("counts what is shorter than 1 ns, zero included, as no more than that", function()
    for _, seconds in ipairs { 0, -0, 5e-324, 1e-300, 1e-12 } do
      local histogram = histogram_of(seconds, 1)
      assert.equal(2, histogram.count)
      assert.equal(seconds, histogram.min)
      local told = histogram:percentile(0.5)
      assert.is_true(told >= seconds and told <= 1e-9, seconds)
    end
  end)

  it("counts what is longer than its range as the longest of all", function()
    local histogram = histogram_of(1, 20000, 1e300)
    assert.equal(3, histogram.count)
    assert.equal(1e300, histogram.max)
    assert.equal(1e300, histogram:percentile(0.6))
    assert.is_true(histogram:percentile(0.3) <= 1.01)
  end)

  it("leaves out what is no time, and counts it", function()
    local histogram = histogram_of(NAN, -NAN, -1, -1e-300, INF, -INF, 0.5)
    assert.equal(1, histogram.count)
    assert.equal(6, histogram.invalid)
    assert.equal(0.5, histogram.min)
    assert.equal(0.5, histogram.max)
    assert.equal(0.5, histogram.mean)
    assert.equal(0.5, histogram:percentile(0.5))
  end)

  it("takes in another one as if it had recorded that one's times", function()
    local values, all, halves = spread(1000), ether.histogram(), { [0] = ether.histogram(), ether.histogram() }
    for i, seconds in ipairs(values) do
      all:record(seconds)
      halves[i % 2]:record(seconds)
    end
    halves[1]:record(-1)
    halves[0]:add(halves[1])
    local expected, summary = all:summary(), halves[0]:summary()
    assert.near(expected.mean, summary.mean, expected.mean * 1e-9) -- sums in another order
    expected.mean, summary.mean = nil, nil
    assert.same(expected, summary)
    assert.equal(1, halves[0].invalid)
    assert.equal(500, halves[1].count)
  end)

  it("takes in an empty one, and as an empty one another, without inventing a zero", function()
    local histogram, empty = histogram_of(2, 3), ether.histogram()
    histogram:add(empty)
    assert.equal(2, histogram.min)
    empty:add(histogram)
    assert.same(histogram:summary(), empty:summary())
    histogram:add(histogram)
    assert.equal(4, histogram.count)
  end)

  it("is empty again after a reset", function()
    local histogram = histogram_of(1, 2, -1)
    histogram:reset()
    assert.same({ count = 0 }, histogram:summary())
    assert.equal(0, histogram.invalid)
    histogram:record(5)
    assert.same({ 5, 5, 5 }, { histogram.min, histogram.max, histogram:percentile(0.5) })
  end)

  it("sums itself up in seconds", function()
    local histogram = ether.histogram()
    for i = 1, 1000 do histogram:record(i / 1000) end
    local summary = histogram:summary()
    assert.same({ 1000, 0.001, 1 }, { summary.count, summary.min, summary.max })
    assert.near(0.5005, summary.mean, 1e-9)
    for name, exact in pairs { p50 = 0.5, p90 = 0.9, p99 = 0.99, p99_9 = 0.999 } do
      assert.is_true(summary[name] >= exact and summary[name] <= exact * 1.01, name)
    end
  end)

  it("names what it cannot use", function()
    local histogram = ether.histogram()
    assert.error_matches(function() histogram:record "1" end, "bad time 1: seconds as a number are needed")
    assert.error_matches(function() histogram:record() end, "bad time nil: seconds as a number")
    for _, share in ipairs { -0.1, 1.1, 50, NAN, "0.5" } do
      assert.error_matches(function() histogram:percentile(share) end,
        "bad share " .. tostring(share) .. ": 0 to 1 is allowed", nil, true)
    end
    assert.error_matches(function() histogram:add {} end, "bad histogram table: .*: an ether.histogram is needed")
    assert.error_matches(function() histogram:add(nil) end, "bad histogram nil")
  end)

  it("records without making garbage", function()
    local histogram = ether.histogram()
    local function record(count)
      for i = 1, count do histogram:record(i * 1e-9) end
    end
    record(1000)
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    record(1e6)
    local garbage = (collectgarbage "count" - before) * 1024
    collectgarbage "restart"
    assert.is_true(garbage < 1e5, garbage .. " bytes for a million")
    assert.equal(1001000, histogram.count)
  end)
end)
