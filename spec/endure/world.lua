-- world.lua: what the tasks of schedule.lua share: channels, endpoints on a wire, pipes, and each other; and what has
-- to be right about these when all is over.

local ffi = require "ffi"
local ether = require "etherlua"
local files = require "etherlua.core.files"
local judges = require "endure.judge"

ffi.cdef [[
int pipe2(int fds[2], int flags);
ssize_t write(int fd, const void *data, size_t size);
int close(int fd);
]]

local M = {}

local SHARE = 8 -- tasks to a channel, and to an endpoint
local PIPES, NONBLOCK = 4, 2048
local A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
M.MAC = B

-- An error of the tasks' own, so that it is not taken for one of the engine's.
M.BOOM = "boom of the torture"

-- channels: { it, values }: what should be inside. endpoints: { it, busy }. known: tasks. fates: task -> how its
-- function ended, and with what. all: every task, in a table with weak keys.
---@param opts table as of schedule.run
---@return table world
function M.new(opts)
  return { opts = opts, judge = judges.new(), channels = {}, endpoints = {}, pipes = {}, known = {}, fates = {},
    all = setmetatable({}, { __mode = "k" }), born = 0, ops = 0, values = 0, received = 0, read = 0, sent = 0,
    cancels = 0, failures = 0, stirred = 0 }
end

function M.new_channel(world, i, luck)
  world.channels[i] = { it = ether.channel(luck:upto(3)), values = {}, first = 1 }
end

function M.new_endpoint(world, i)
  world.ports = (world.ports or 0) + 1
  world.endpoints[i] = { it = world.far:udp(("10.0.0.2:%d"):format(1000 + world.ports % 60000)) }
end

-- Those that wait for the first end wait for a byte; what is read from it later is never waited for.
local function new_pipe()
  local ends = ffi.new "int[2]"
  assert(ffi.C.pipe2(ends, NONBLOCK) == 0)
  return { out = ends[0], into = ends[1], close = function()
    ffi.C.close(ends[0])
    ffi.C.close(ends[1])
  end }
end

function M.ring(pipe)
  ffi.C.write(pipe.into, "x", 1)
end

function M.furnish(world, luck)
  local a, b = ether.wire { recv_depth = 16 }
  world.a, world.b = a, b
  local count = math.max(4, math.floor(world.opts.at_once / SHARE))
  world.near, world.far = a:conn({ mac = A }):udp "10.0.0.1:1", b:conn { mac = B }
  for i = 1, count do M.new_channel(world, i, luck) end
  for i = 1, count do M.new_endpoint(world, i) end
  for i = 1, PIPES do world.pipes[i] = new_pipe() end
end

-- One that has been cancelled may end as that.
function M.cancel(world, task)
  if task == world.warden or task.done then return end
  task.torture_cancelled = true
  world.cancels = world.cancels + 1
  task:cancel()
end

-- ---- when all is over --------------------------------------------------------------------------------------------

-- What channels took is what came out of them and what is inside.
local function check_channels(world)
  for _, channel in ipairs(world.channels) do
    if channel.it.waiters.count > 0 then world.judge:complain "a channel still knows tasks" end
    if #channel.values - channel.first + 1 ~= channel.it:count() then world.judge:complain "a channel lost values" end
  end
end

local function check_frames(world)
  ether.sleep(0.001)
  local out, stats = world.a:stats(), world.b:stats()
  if out.tx_sent ~= stats.rx_frames then
    world.judge:complain("%d frames were sent, %d received", out.tx_sent, stats.rx_frames)
  end
  if stats.rx_delivered ~= world.read then
    world.judge:complain("%d frames were delivered, %d read", stats.rx_delivered, world.read)
  end
end

-- What the epoll instances among the process's first files look at, as /proc tells.
local function watched_files()
  local list = {}
  for fd = 0, 63 do
    local text = files.read("/proc/self/fdinfo/" .. fd) or ""
    for watched in text:gmatch "tfd:%s+(%d+)" do list[tonumber(watched)] = true end
  end
  return list
end

local function check_pipes(world)
  local watched = watched_files()
  for _, pipe in ipairs(world.pipes) do
    if watched[pipe.out] then world.judge:complain "a file is looked at for nobody" end
    pipe.close()
  end
end

-- What is wrong with what the tasks shared is told to the judge.
function M.check(world)
  check_channels(world)
  check_frames(world)
  check_pipes(world)
end

-- Nothing of it refers to anything any more but the judge, the counts and `all`.
function M.clear(world)
  world.warden, world.shared, world.near, world.far, world.a, world.b = nil, nil, nil, nil, nil, nil
  world.known, world.fates, world.channels, world.endpoints, world.pipes = {}, {}, {}, {}, {}
end

return M
