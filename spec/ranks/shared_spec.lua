-- Ranks of one host on one interface: each frame reaches the rank that has its endpoint, once; frames to groups reach
-- all. Nothing is lost or doubled while endpoints are opened and closed, and a rank ends.

local ether = require "etherlua"
local files = require "support.files"
local lab = require "etherlua.lab.lab"
local program = require "support.program"
local shell = require "support.shell"

local RANKS, ENDPOINTS, FRAMES = 4, 50, 40 -- endpoints of a rank; frames to each endpoint, and to the group
local TYPE = 0x88b5 -- for experiments
local MAC, ALL = "02:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"

-- A frame says who it is for, and which one of these it is. The last rank ends when half of them have been sent.
local RECEIVERS = [[
local ether = require "etherlua"
local ranks = ether.ranks
local ENDPOINTS, TYPE, MAC = ]] .. ("%d, %d, %q"):format(ENDPOINTS, TYPE, MAC) .. [[

local relay = ether.open(arg[1], { filter = "", shared = arg[2] == "true" })
local got = { own = 0, wrong = 0, doubled = 0, group = 0 }
local seen, ended, over = {}, ether.channel(), false

local function note(mac, payload)
  local to, name = payload:match "^(%S+) (%S+)"
  local kind = to == "all" and "group" or to == mac and "own" or "wrong"
  if kind ~= "group" and seen[payload] then kind = "doubled" end
  seen[payload] = true
  got[kind] = got[kind] + 1
  return to == "all" and name
end

local function receive(mac, multicast)
  local conn = relay:conn { mac = mac, ethertypes = { TYPE }, multicast = multicast }
  ether.spawn(function()
    for payload in function() return (conn:recv()) end do
      local name = note(mac, payload)
      if name == "end" or name == "half" and ranks.rank == ranks.size - 1 then ended:close() end
    end
  end)
end

for i = 1, ENDPOINTS do receive(ether.mac_add(MAC, ranks.rank * ENDPOINTS + i), i == 1) end
ether.spawn(function()
  local round = 0
  while not over do
    local conn = relay:conn { mac = ether.mac_add("02:00:00:01:00:00", ranks.rank * 256 + round % 256) }
    ether.sleep(0.001)
    conn:close()
    round = round + 1
  end
  relay:close()
end)
ranks.barrier()
if ranks.rank == 0 then print(relay.detail) end
ended:recv(20)
over = true
if ranks.rank == ranks.size - 1 then return end
local sum = ranks.reduce(got)
if sum then print(sum.own, sum.wrong, sum.doubled, sum.group) end
]]

local function send_all(relay)
  local conn = relay:conn { mac = "02:00:00:02:00:00", ethertypes = { TYPE } }
  for frame = 1, FRAMES do
    for endpoint = 1, RANKS * ENDPOINTS do
      local mac = ether.mac_add(MAC, endpoint)
      conn:send(("%s %d "):format(mac, frame), mac, { ethertype = TYPE })
    end
    local name = frame == FRAMES / 2 and "half" or frame == FRAMES and "end" or frame
    conn:send(("all %s "):format(name), ALL, { ethertype = TYPE })
    ether.sleep(0.01)
  end
end

local function run(kind, shared)
  local net = shell.keep(lab.new { queues = RANKS })
  local path = files.temporary(RECEIVERS)
  local running = program.start(net.far, ("--ranks %d %s %s:eth0 %s"):format(RANKS, path, kind, shared))
  running:wait_for "\n"
  ether.run(function() send_all(net.near:enter(ether.open, "eth0")) end)
  local status, out, err = running:finish()
  os.remove(path)
  assert.same({ 0, "" }, { status, err })
  return out
end

describe("ranks that share an interface", function()
  after_each(shell.close_all)

  local WAYS = {
    ["afpacket, where the kernel looks"] = { "afpacket", true, "shared, frames for others are dropped by the kernel" },
    ["afpacket, where the demux looks"] = { "afpacket", false, "" },
    ["pcap"] = { "pcap", true, "" },
    ["xdp, each with a queue"] = { "xdp", true, "native mode, 1 of 4 queues" },
  }
  for name, way in pairs(WAYS) do
    it(("each get what is theirs, once, and all get what is for groups: %s"):format(name), function()
      if not lab.root() then return pending(select(2, lab.root())) end
      local detail, rest = run(way[1], way[2]):match "^([^\n]*)\n(.*)$"
      local others = RANKS - 1
      assert.equal(way[3], detail)
      assert.equal(("%d\t0\t0\t%d\n"):format(others * ENDPOINTS * FRAMES, others * FRAMES), rest)
    end)
  end

  it("leave it to the demux whose a frame is, where the kernel may not be given a program", function()
    if not shell.is_root then return pending "needs root" end
    local path = files.temporary 'print(require("etherlua").open("afpacket:lo", { shared = true }).detail)'
    local out, status = shell.run(("setpriv --bounding-set=-bpf,-sys_admin %s run %s"):format(program.PATH, path))
    os.remove(path)
    assert.same({ 0, "shared, frames for others are dropped by the demux\n" }, { status, out })
  end)
end)
