-- soak.lua: hosts that come and go under load, for long: 10,000 at any time, each with an EtherConn, a RUDPConn, a task
-- and an address that no other one ever has. Each frame carries the address that it was sent to. The load is 80 % of
-- the limit, which is measured first: the rate at which this process, which sends as well, receives when it sends as
-- fast as it can. The status is 1 when a frame came to the wrong host, when one is in no counter, or when the process's
-- memory grows by 2 % after the first minute. On a terminal there is a line a minute, at the end a summary.
--
--   make soak SECONDS=1800 [RELAY=afpacket] [HOSTS=10000] [SEED=n]

require "support.helper"
local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local ether = require "etherlua"
local files = require "etherlua.core.files"
local frames = require "support.frames"
local chance = require "endure.chance"
local kinds = require "support.kinds"
local ledger = require "endure.ledger"

ffi.cdef "int isatty(int fd);"

local C = effi.C

local SECONDS = tonumber(os.getenv "SECONDS") or 1800
local HOSTS = tonumber(os.getenv "HOSTS") or 10000
local RELAY = os.getenv "RELAY" or "afpacket"
local SHARE, BURST = 0.8, 64           -- of the limit; frames sent in one go
local MEASURE = { math.min(1, SECONDS / 20), math.min(3, SECONDS / 10) } -- seconds at full speed: then these count
local LOOK = math.min(1, SECONDS / 20) -- seconds
local SETTLE = math.min(60, SECONDS / 2) -- seconds from the beginning, then the memory may not grow
local LIVES = { SETTLE / 12, SETTLE / 2 } -- seconds of a host, from and to: all of the first are gone by then
local GROWTH = 1.02
local PAGE = 4096

-- ---- addresses ------------------------------------------------------------------------------------------------------

-- A host's number says its MAC and IP address and its port. In a frame these stand where the headers have them, and
-- once more in front of the payload, as 12 bytes.
ffi.cdef [[
struct soak_address { uint8_t mac[6]; uint8_t ip[4]; uint8_t port[2]; };
struct soak_words { uint32_t word[3]; };
]]
local address_t, words_t = ffi.typeof "struct soak_address", ffi.typeof "const struct soak_words *"

local function address_of(number)
  local low, middle, high = number % 256, math.floor(number / 256) % 256, math.floor(number / 65536) % 256
  local port = 1024 + number % 60000
  return address_t({ 2, 0x50, 0, high, middle, low }, { 10, high, middle, low }, { math.floor(port / 256), port % 256 })
end

local function words_of(address)
  local mac, ip, port = address.mac, address.ip, address.port[0] * 256 + address.port[1]
  return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]),
    ("%d.%d.%d.%d:%d"):format(ip[0], ip[1], ip[2], ip[3], port)
end

-- ---- hosts ----------------------------------------------------------------------------------------------------------

local function same(a, b)
  return a.word[0] == b.word[0] and a.word[1] == b.word[1] and a.word[2] == b.word[2]
end

-- Reads until its time is over. The frame's payload says to whom it was sent.
local function listen(soak, udp, own, ends)
  while true do
    local frame = udp:recv_frame(math.max(0, ends - ether.now()))
    if not frame then return end
    soak.received = soak.received + 1
    if not same(ffi.cast(words_t, frame.data + frame.payload), own) then soak.misdelivered = soak.misdelivered + 1 end
    if ether.now() >= ends then return end
  end
end

local live_host

-- The host in the place i begins, as a task of its own; when it ends the next one begins.
local function spawn_host(soak, i)
  if soak.over then return end
  soak.born = soak.born + 1
  ether.spawn(live_host, soak, i, soak.born, LIVES[1] + (LIVES[2] - LIVES[1]) * soak.luck:upto(1000) / 1000)
end

live_host = function(soak, i, number, seconds)
  local address = address_of(number)
  local mac, ip = words_of(address)
  local conn = soak.b:conn { mac = mac }
  local udp = conn:udp(ip)
  soak.places[i] = address
  listen(soak, udp, ffi.cast(words_t, address), ether.now() + seconds)
  if number % 2 == 0 then udp:close() end -- with the EtherConn else
  conn:close()
  spawn_host(soak, i)
end

-- ---- the sender -----------------------------------------------------------------------------------------------------

-- One frame, in which send() writes address after address.
local function new_template()
  local text = frames.frame(frames.udp { payload = ("\0"):rep(18) })
  local buffer = ffi.new("uint8_t[?]", #text, text)
  buffer[14 + 20 + 6], buffer[14 + 20 + 7] = 0, 0 -- no UDP checksum (RFC 768)
  return buffer, #text
end

local IP, UDP = 14, 34

local function send(soak, address)
  local frame = soak.template
  ffi.copy(frame, address.mac, 6)
  ffi.copy(frame + IP + 16, address.ip, 4)
  ffi.copy(frame + UDP + 2, address.port, 2)
  ffi.copy(frame + UDP + 8, address, 12)
  frame[IP + 10], frame[IP + 11] = 0, 0
  local sum = C.el_checksum(frame + IP, 20, 0)
  frame[IP + 10], frame[IP + 11] = math.floor(sum / 256), sum % 256
  soak.a:send(frame, soak.size)
end

local function send_many(soak, count)
  for _ = 1, count do
    soak.at = soak.at % HOSTS + 1
    send(soak, soak.places[soak.at])
  end
  soak.sent = soak.sent + count
end

-- The limit: frames a second that arrive at full speed.
local function measure(soak)
  local counted, begin
  local first = ether.now() + MEASURE[1]
  repeat
    send_many(soak, BURST)
    ether.sleep(0)
    local now = ether.now()
    if not begin and now >= first then counted, begin = soak.received, now end
  until begin and now >= begin + MEASURE[2] and soak.received > counted
  return (soak.received - counted) / (ether.now() - begin)
end

-- Sends `rate` frames a second until the end.
local function keep_sending(soak, rate)
  local begin, sent = ether.now(), 0
  while not soak.over do
    local due = math.floor((ether.now() - begin) * rate) - sent
    local count = math.min(due, BURST)
    send_many(soak, count)
    sent = sent + count
    ether.sleep(due > BURST and 0 or BURST / rate / 2)
  end
end

-- ---- who looks ------------------------------------------------------------------------------------------------------

local function rss()
  return tonumber(files.read "/proc/self/statm":match "^%d+ (%d+)") * PAGE
end

local function complain(soak, ...)
  soak.violations = soak.violations + 1
  if soak.violations <= 10 then print("VIOLATION: " .. string.format(...)) end
end

-- The sums of both relays, and that what was delivered came to a task.
local function look_at_counters(soak)
  for _, relay in ipairs { soak.a, soak.b } do
    local problem = ledger.check_relay(relay)
    if problem then complain(soak, "%s", problem) end
  end
  local delivered = soak.b:stats().rx_delivered
  if delivered ~= soak.received then
    complain(soak, "%d frames were delivered, the tasks have %d", delivered, soak.received)
  end
end

-- The most memory in the second half of the time to settle is the measure of what comes later.
local function look_at_memory(soak, elapsed)
  local now = rss()
  soak.peak = math.max(soak.peak, now)
  if elapsed < SETTLE / 2 then return end
  if elapsed < SETTLE then soak.base = math.max(soak.base, now) return end
  if now > soak.base * GROWTH and now > soak.highest then
    complain(soak, "memory grew from %.1f to %.1f MB", soak.base / 2 ^ 20, now / 2 ^ 20)
  end
  soak.highest = math.max(soak.highest, now)
end

local function line(soak, elapsed)
  local stats = soak.b:stats()
  print(("%6d s  %d frames, %d/s  misdelivered %d  missed %d  overflow %d  hosts so far %d  %.1f MB"):format(elapsed,
    stats.rx_frames, stats.rx_frames / elapsed, soak.misdelivered, stats.rx_missed, stats.rx_overflow, soak.born,
    rss() / 2 ^ 20))
end

local function watch(soak)
  local begin, minutes, is_terminal = ether.now(), 0, ffi.C.isatty(1) == 1
  repeat
    ether.sleep(LOOK)
    local elapsed = ether.now() - begin
    look_at_counters(soak)
    look_at_memory(soak, elapsed)
    if is_terminal and elapsed >= 60 * (minutes + 1) then
      minutes = minutes + 1
      line(soak, elapsed)
    end
  until elapsed >= SECONDS
  return ether.now() - begin
end

-- ---- all of it ------------------------------------------------------------------------------------------------------

local function summary(soak, seconds, way)
  local stats = soak.b:stats()
  print(("%s, %d s at %d frames/s, %d %% of a limit of %d: %d hosts at a time, %d came and went"):format(RELAY, seconds,
    soak.rate, SHARE * 100, soak.limit, HOSTS, soak.born - HOSTS))
  print(("%d sent, %d came, %d missed; of these %d delivered, %d to hosts that were gone, %d overflowed, %d queued " ..
    "when they went"):format(way.sent, way.offered, way.missed, stats.rx_delivered, stats.rx_unclaimed,
    stats.rx_overflow, stats.rx_closed))
  print(("%d misdelivered, %d uncounted, memory %.1f MB, later %+.1f %%"):format(soak.misdelivered,
    way.sent - (way.refused or 0) - way.offered - way.missed, soak.base / 2 ^ 20,
    soak.highest > 0 and (soak.highest / soak.base - 1) * 100 or 0))
end

local function main(soak, kind)
  -- What is sent to hosts that are gone comes, too: xdp relays leave it to the kernel else, which counts it nowhere.
  soak.a, soak.b = kind.open { recv_depth = 256, steer = kind.steers and "all" or nil }
  soak.template, soak.size = new_template()
  local book = ledger.open(soak.a, soak.b, kind.lab and kind.lab {})
  for i = 1, HOSTS do spawn_host(soak, i) end
  ether.sleep(0)
  soak.limit = measure(soak)
  soak.rate = soak.limit * SHARE
  local sender = ether.spawn(keep_sending, soak, soak.rate)
  local seconds = watch(soak)
  soak.over = true
  sender:join()
  local problem, way = ledger.check_ways(book)
  if problem then complain(soak, "%s", problem) end
  look_at_counters(soak)
  if soak.misdelivered > 0 then complain(soak, "%d frames came to others", soak.misdelivered) end
  summary(soak, seconds, way)
  soak.b:close() -- the hosts end
end

local function find(name)
  for _, kind in ipairs(kinds.list) do
    if kind.name == name then return kind end
  end
  error(("RELAY=%s is no relay kind"):format(name), 0)
end

collectgarbage("setpause", 110) -- else the collector's own ups and downs are more than the growth that is looked for
io.stdout:setvbuf "line"
local kind = find(RELAY)
local possible, reason = kind.possible()
if not possible then error(reason, 0) end
local soak = { places = {}, received = 0, misdelivered = 0, sent = 0, born = 0, at = 0, violations = 0, peak = 0,
  base = 0, highest = 0, luck = chance.new(chance.seed()) }
kinds.run(main, soak, kind)
kinds.close_labs()
os.exit(soak.violations > 0 and 1 or 0, true)
