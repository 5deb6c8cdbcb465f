-- core/queues.lua: queues of whole numbers, which stand for things that have numbers. A number leaves its queue from
-- any place, and all is done in constant time. Queues of the same links take numbers from one another: each number is
-- in one of them at the most. Consecutive numbers that a queue begins with take memory only when they are moved.

local bit = require "bit"
local ffi = require "ffi"

local band, rshift = bit.band, bit.rshift

local M = {}

local BITS, SIZE, LAST = 10, 1024, 1023
local chunk_t = ffi.typeof "struct { uint32_t before[1024], behind[1024]; }"

-- Which number is beside which, of all numbers that some queues have.
---@class etherlua.queue_links
local Links = {}
Links.__index = Links

-- See links:queue.
---@class etherlua.queue
---@field count integer numbers in it
local Queue = {}
Queue.__index = Queue

---@return etherlua.queue_links
function M.new()
  return setmetatable({ chunks = {} }, Links)
end

-- A queue of the numbers from first to last, or an empty one.
---@param first? integer from 0 to 2^32 - 1
---@param last? integer
---@return etherlua.queue
function Links:queue(first, last)
  return setmetatable({ links = self, head = first, tail = last, count = first and last - first + 1 or 0 }, Queue)
end

-- At first each number is between its neighbours, as in a queue of consecutive ones.
local function new_chunk(links, n)
  local chunk, base = chunk_t(), n * SIZE
  for i = 0, LAST do chunk.before[i], chunk.behind[i] = math.max(base + i - 1, 0), base + i + 1 end
  links.chunks[n] = chunk
  return chunk
end

local function chunk_of(links, number)
  local n = rshift(number, BITS)
  return links.chunks[n] or new_chunk(links, n)
end

local function before(links, number)
  return chunk_of(links, number).before[band(number, LAST)]
end

local function behind(links, number)
  return chunk_of(links, number).behind[band(number, LAST)]
end

local function join(links, one, other)
  chunk_of(links, one).behind[band(one, LAST)] = other
  chunk_of(links, other).before[band(other, LAST)] = one
end

-- The number that has been there for the longest.
---@return integer|nil nil: it is empty
function Queue:oldest()
  return self.count > 0 and self.head or nil
end

-- The one that came next after a number that is in it.
---@param number integer
---@return integer|nil nil: it is the last
function Queue:after(number)
  return number ~= self.tail and behind(self.links, number) or nil
end

-- Puts a number at its end, which no queue of these links has.
---@param number integer
function Queue:push(number)
  if self.count == 0 then self.head = number else join(self.links, self.tail, number) end
  self.tail, self.count = number, self.count + 1
end

-- Takes a number out, which it has.
---@param number integer
function Queue:remove(number)
  local links = self.links
  if number == self.head then
    self.head = behind(links, number)
  elseif number == self.tail then
    self.tail = before(links, number)
  else
    join(links, before(links, number), behind(links, number))
  end
  self.count = self.count - 1
end

return M
