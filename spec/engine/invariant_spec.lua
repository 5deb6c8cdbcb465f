-- What the engine asserts of itself each turn when it is built with the sanitizers: that it notices when a count, a sum
-- or a frame's place is wrong, and finds nothing where all is right. Each case breaks one thing behind the engine's
-- back, in a process of its own, which has to abort.

local files = require "etherlua.core.files"
local shell = require "support.shell"

local SANITIZER = os.getenv "SANITIZER"

-- Three frames are queued at b's EtherConn `to`; a fourth was taken out by a reader.
local CHILD = [[
local ether = require "etherlua"
local C = require "etherlua.core.ffi".C
local A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"

ether.run(function()
  local a, b = ether.wire()
  local from, to, other = a:conn { mac = A }, b:conn { mac = B, ethertypes = { 0x88b5 } }, b:conn { mac = A }
  local function turn() ether.sleep(0.001) end
  local function send() from:send("x", B, { ethertype = 0x88b5 }) end
  for _ = 1, 4 do send() end
  turn()
  local ep, frame = to.ep, C.el_recv(to.ep)
  assert(ep.count == 3)
  turn()
  %s
  turn()
  io.stdout:write "unnoticed"
end)
]]

-- What the child printed, and its status, which is that of SIGABRT when an assertion failed.
local function run(broken)
  local path = shell.output_of("mktemp"):match "%S+"
  finally(function() os.remove(path) end)
  local file = assert(io.open(path, "w"))
  file:write((CHILD:format(broken)))
  file:close()
  return shell.run(("ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=%s LUA_PATH=%s luajit %s"):format(SANITIZER,
    files.quote(package.path), path))
end

local ABORTED = 128 + 6

describe("an engine with sanitizers", function()
  local function it_notices(what, broken, assertion)
    it("notices " .. what, function()
      if not SANITIZER then return pending "only a build with sanitizers checks itself: make test SAN=1" end
      local text, status = run(broken)
      assert.equal(ABORTED, status, text)
      assert.matches("Assertion.*" .. assertion, text)
      assert.not_matches("unnoticed", text)
    end)
  end

  it("finds nothing where nothing is wrong", function()
    if not SANITIZER then return pending "only a build with sanitizers checks itself: make test SAN=1" end
    local text, status = run "C.el_borrow(ep); send(); turn(); C.el_frame_free(frame); to:close()"
    assert.equal("unnoticed", text)
    assert.equal(0, status)
  end)

  it_notices("a count that is not the length of the queue", "ep.count = 2", "length of its queue")
  it_notices("a queue whose end is elsewhere", "ep.tail = ep.head", "tail")
  it_notices("a queue that is not what the relay says to be queued", "ep.head, ep.count = ep.head.next, 2",
    "rx_queued")
  it_notices("a frame in two queues", [[
    other.ep.head, other.ep.tail, other.ep.count = ep.head, ep.tail, 3]], "owner == ep")
  it_notices("a frame that is queued twice", "ep.head.next = ep.head", "in two places")
  it_notices("a frame that is free and read", "frame.state = C.EL_FRAME_UNUSED", "in no place")
  it_notices("a frame that nobody has", "frame.owner = nil", "nobody's")
  it_notices("counters that do not add up", "ep.relay = a.handle; send()", "rx_frames %+ s%->rx_copies")
end)
