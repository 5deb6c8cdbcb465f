-- load.lua: the load under which the program is killed and disturbed, for programs that run in the tree's own folder:
--
--   local load = dofile "spec/faults/load.lua"
--   load.run(relay, { steps = 100, burst = 10 })
--
-- A host sends numbered frames and counts what comes back of them; load.echo is the other end. At the end it prints the
-- relay's counters beside the kernel's, as one JSON object.

local cjson = require "cjson"
local ether = require "etherlua"
local files = require "etherlua.core.files"
local script = require "etherlua.script"

local M = {}

local A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local SEND = { ethertype = 0x0800 }
local PACKET = "\69\0\0\46\0\0\0\0\64\253\0\0\10\9\0\1\10\9\0\2%08d" .. ("x"):rep(18) -- IP protocol 253: RFC 3692
local SETTLE = 0.05 -- seconds for what is under way
local PATIENCE = 1  -- seconds of silence behind which nothing more comes: the other end may have to wait for its turn

-- What the kernel counts on eth0: out of a text as in /proc/net/dev.
function M.counters(text)
  local n = {}
  for number in (text:match "eth[07]:([^\n]*)" or ""):gmatch "%d+" do n[#n + 1] = tonumber(number) end
  return { rx = n[2], rx_dropped = n[4], tx = n[10], tx_dropped = n[12] }
end

-- The same in the namespace that this process is in.
function M.kernel()
  return M.counters(files.read "/proc/thread-self/net/dev" or "")
end

local function report(state, relay, kernel)
  ether.sleep(SETTLE)
  state.stats = {}
  for name, value in pairs(relay:stats()) do state.stats[name] = tonumber(value) end
  state.after = kernel()
  print(cjson.encode(state))
end

-- Reads until nothing more can come, and says why.
local function read(conn, state)
  local payload, why = conn:recv()
  while payload do
    state.back, state.last = state.back + 1, math.max(state.last, tonumber(payload:sub(21, 28)) or 0)
    payload, why = conn:recv()
  end
  state.reason = why
end

-- Waits for what was sent last to come back, while anything does.
local function settle(state, reader)
  local before, still
  repeat
    before = state.back
    ether.sleep(SETTLE)
    still = state.back == before and (still or 0) + 1 or 0
  until reader.done or state.last == state.sent or still * SETTLE >= PATIENCE
end

local function send(conn, state, opts, reader)
  for _ = 1, opts.steps do
    for _ = 1, opts.burst do
      state.told = state.told + 1 -- until it has gone: a signal may end this between two steps
      state.sent = state.sent + 1
      if conn:send(PACKET:format(state.sent), B, SEND) then state.told = state.told - 1 end
    end
    ether.sleep(0.001)
    if reader.done then return end
  end
  settle(state, reader)
end

-- Sends opts.burst frames each millisecond, opts.steps times. opts.before: counters of before the relay was opened.
---@return string? reason why nothing more can come, before it is done
function M.run(relay, opts)
  local kernel = opts.kernel or M.kernel
  local conn = relay:conn { mac = A }
  local state = { sent = 0, told = 0, back = 0, last = 0, before = opts.before }
  local reader = ether.spawn(read, conn, state)
  ether.defer(function() report(state, relay, kernel) end)
  print "ready"
  send(conn, state, opts, reader)
  reader:cancel()
  return state.reason
end

-- Sends back what comes, until it is cancelled.
function M.echo(relay)
  local conn = relay:conn { mac = B }
  local payload, from = conn:recv()
  while payload do
    conn:send(payload, from.mac, SEND)
    payload, from = conn:recv()
  end
end

-- Sends so many frames to the host, as fast as it can. They have no number.
function M.flood(relay, count)
  local conn = relay:conn { mac = B }
  for _ = 1, count do conn:send(PACKET:format(0), A, SEND) end
end

-- M.run() between two relays at the ends of a lab, with a program in it.
function M.in_lab(net, opts)
  local function kernel() return net.near:enter(M.kernel) end
  opts.kernel, opts.before = kernel, kernel()
  local near = script.check(net.relay, net, nil, { filter = "" })
  local far = script.check(net.far.enter, net.far, ether.open, "eth0", { filter = "" })
  net.far:start { "sleep", "100" }
  local echo = ether.spawn(M.echo, far)
  ether.sleep(0) -- it listens
  M.run(near, opts)
  echo:cancel()
end

return M
