-- rank.lua: what ranks.lua starts as a rank, once or several times: asks by ARP for one address after the other, as
-- often as it can, and prints how many frames all ranks have sent and received in a second, together.
--
--   etherlua run --ranks 2 --pin rank.lua RELAY SECONDS

local addr = require "etherlua.net.addr"
local arp_fast = require "etherlua.proto.arp_fast"
local ether = require "etherlua"

local ranks = ether.ranks
local TURN, WARM_UP = 64, 0.3 -- frames between two looks at the answers; seconds in which the JIT compiles

local relay = ether.open(arg[1])
local conn = relay:conn { mac = ether.mac_add("02:00:00:00:20:00", ranks.rank), ethertypes = { 0x0806 },
  recv_depth = 4096 }
local template, everybody = arp_fast.template { spa = "10.255.0.1" }, addr.mac "ff:ff:ff:ff:ff:ff"
local SEND_OPTS = { ethertype = 0x0806 }
local first, received = ranks.rank * 2 ^ 16, 0

local function read()
  for _ in conn:frames() do received = received + 1 end
end

-- Asks for so long; returns how many frames went out.
local function ask(seconds)
  local deadline, sent = ether.now() + seconds, 0
  while ether.now() < deadline do
    for i = 1, TURN do
      template:ask(conn.mac.byte, 0x0a000000 + first + (sent + i) % 2 ^ 16)
      conn:send(template.data, template.size, everybody, SEND_OPTS)
    end
    sent = sent + TURN
    ether.sleep(0)
  end
  return sent
end

local reader = ether.spawn(read)
ask(WARM_UP)
ranks.barrier()
received = 0
local seconds = tonumber(arg[2])
local sum = ranks.reduce { sent = ask(seconds), received = received }
if sum then print(("%.0f %.0f"):format(sum.sent / seconds, sum.received / seconds)) end
ranks.barrier()
conn:close()
reader:join()
